"""A file in an archive before it is written."""

from collections.abc import Callable
from dataclasses import dataclass

Sink = Callable[[bytes], object]
"""Takes the pieces of a file, in order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member's name and the way to its content. Entries are used in turn: pour one before asking for the next."""

    name: str
    pour: Callable[[Sink], None]
    """Calls the sink with each piece of the content."""
    done: Callable[[], int] | None = None
    """Bytes of the archive read so far, for formats that don't know what they unfold into."""
    copy_of: str | None = None
    """An earlier member with the same content, where the archive stores a reference instead."""
