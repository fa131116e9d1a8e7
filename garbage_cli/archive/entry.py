"""A member of an archive before it is written, and the list of them that each format gives.

Knows what the formats have in common. Does not know any of them.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import IO

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


class Stream:
    """A compressed file as what it unfolds into, which says how far that is. Enough of a file for tarfile."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.check: Callable[[int], object] = lambda position: None
        """Called with the position after each step, in bytes unfolded."""

    def read(self, size: int = -1) -> bytes:
        """Read a piece: who asks for no more than a mebibyte unfolds no more than that unseen."""
        piece = self._content.read(size)
        self.check(self._content.tell())
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go on to a place, which unfolds all that lies before it, or back."""
        while whence == 0 and offset - self._content.tell() > _STEP:
            before = self._content.tell()
            if self._content.seek(before + _STEP) <= before:
                break
            self.check(self._content.tell())
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """Return the position, in bytes unfolded."""
        return self._content.tell()

    def close(self) -> None:
        """Let the file go."""
        self._content.close()


_STEP = 16 << 20


@dataclass(frozen=True, slots=True)
class Listing:
    """An archive that has been opened."""

    entries: Entries
    """In the archive's own order. To close it closes the archive."""
    size: int
    """Bytes of the archive's files, all volumes."""
    sizes: list[int] | None
    """What each member unfolds into by the archive's own account; None for tar, which has no list."""
    stream: "Stream | None" = None
    """What the members are read from, where it unfolds as it is read."""
    broken: ArchiveError | None = None
    """What kept the list from being read to its end: only what comes before can be had."""

    @property
    def total(self) -> int:
        """What progress runs to: bytes extracted, or read of the archive."""
        return self.size if self.sizes is None else sum(self.sizes)
