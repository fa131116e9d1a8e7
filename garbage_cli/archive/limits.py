"""How much an archive may unfold into, and whether the disk has room for it.

Knows bytes and counts. Does not know formats or names.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.config.sizes import human
from garbage_cli.errors import ArchiveError

GIB = 1024**3
FREE_RATIO = 100 * 1024**2
"""Bytes that may come out of an archive however small it is: less does no harm, and black pictures compress well."""
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may unfold into."""

    max_bytes: int = 64 * GIB
    max_members: int = 2_000_000
    """Files, folders, links."""
    max_ratio: float = 200
    """Bytes that come out for each byte of the archive, from `FREE_RATIO` on. Photos have about 1."""


class Meter:
    """Counts what comes out of one archive; raises ArchiveError at a limit."""

    def __init__(self, archive: Path, limits: Limits, size: int) -> None:
        self._archive, self._limits, self._size = archive, limits, size
        self.bytes = self.members = 0

    def expect(self, sizes: list[int]) -> None:
        """Hold what the archive declares against the limits, before anything is written."""
        self._check(sum(sizes), len(sizes))

    def add_member(self) -> None:
        """Count a member."""
        self.members += 1
        self._check(self.bytes, self.members)

    def add(self, size: int) -> None:
        """Count bytes that are about to be written."""
        self.bytes += size
        self._check(self.bytes, self.members)

    def pass_by(self, position: int) -> None:
        """Hold against the limits how far a stream has unfolded, members that are passed over and its end included.

        Twice the bytes are allowed, and a little more, since headers and padding are among them.
        """
        self._check((position - FREE_RATIO) // 2, self.members)
        if position > max(FREE_RATIO, self._limits.max_ratio * self._size):
            self._refuse_ratio()

    def _check(self, size: int, members: int) -> None:
        limits = self._limits
        if size > limits.max_bytes:
            self._refuse(f"unfolds into more than {human(limits.max_bytes)}", "--max-size 200G, say")
        if members > limits.max_members:
            self._refuse(f"holds more than {limits.max_members:,} members", "--max-members")
        if size > FREE_RATIO and size > limits.max_ratio * self._size:
            self._refuse_ratio()

    def _refuse_ratio(self) -> None:
        self._refuse(f"unfolds into more than {self._limits.max_ratio:g} times its own size", "--max-ratio")

    def _refuse(self, what: str, option: str) -> None:
        raise ArchiveError(
            f"{self._archive} {what}; nothing was extracted; if you trust it, raise the limit with {option}"
        )


def check_space(out: Path, sizes: list[int]) -> None:
    """Raise ArchiveError if files of these sizes do not fit on the disk of `out`."""
    needed = sum(-(-size // BLOCK) * BLOCK for size in sizes)
    if needed > (free := _free(out)):
        raise ArchiveError(
            f"not enough space for {out}: {human(needed)} are needed and {human(free)} are free; "
            "nothing was extracted; make room, or choose another disk with --out"
        )


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Say of a full disk how full it is; other errors of the file system pass as they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ArchiveError(
            f"no space left for {out} ({error.strerror}; {human(_free(out))} are free); "
            "nothing was extracted; make room, or choose another disk with --out"
        ) from None


def _free(out: Path) -> int:
    existing = next(folder for folder in out.absolute().parents if folder.exists())
    return shutil.disk_usage(existing).free
