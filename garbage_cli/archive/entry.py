"""A member of an archive before it is written, and the list of them that each format gives.

Knows what the formats have in common. Does not know any of them.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from garbage_cli.errors import ArchiveError

Sink = Callable[[bytes], object]
"""Takes the pieces of a file, in order."""


def _nothing(sink: Sink) -> None:
    """The content of a member that has none of its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member's name and the way to its content. Entries are used in turn: pour one, or not, then ask for the next."""

    name: str
    pour: Callable[[Sink], None] = _nothing
    """Calls the sink with each piece of the content."""
    folder: bool = False
    refused: str = ""
    """Why it can't be had at all: "is a link or device"."""
    encrypted: bool = False
    copy_of: str | None = None
    """An earlier member with the same content, where the archive stores a reference instead."""
    done: Callable[[], int] | None = None
    """Bytes of the archive read so far, for formats that don't know what they unfold into."""


Entries = Generator[Entry, None, None]


@dataclass(frozen=True, slots=True)
class Listing:
    """An archive that has been opened."""

    entries: Entries
    """In the archive's own order. To close it closes the archive."""
    size: int
    """Bytes of the archive's files, all volumes."""
    sizes: list[int] | None
    """What each member unfolds into by the archive's own account; None for tar, which has no list."""
    broken: ArchiveError | None = None
    """What kept the list from being read to its end: only what comes before can be had."""

    @property
    def total(self) -> int:
        """What progress runs to: bytes extracted, or read of the archive."""
        return self.size if self.sizes is None else sum(self.sizes)
