"""Archives from strangers → a folder, whole or not at all.

Knows in what order things are checked and written. Does not know labels or images.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.archive.damage import MemberError, RestError, plain, reading, shown
from garbage_cli.archive.entry import Entry, Listing
from garbage_cli.archive.formats import opened
from garbage_cli.archive.limits import Limits, Meter, check_space
from garbage_cli.archive.names import Names
from garbage_cli.archive.password import Password, read_password
from garbage_cli.archive.target import check_target
from garbage_cli.archive.writing import Writer
from garbage_cli.errors import ArchiveError, GarbageError
from garbage_cli.storage import clean_up, staged_folder

__all__ = ["Limits", "Member", "Report", "Skipped", "extract", "read_password"]


@dataclass(frozen=True, slots=True)
class Member:
    """A file just extracted, and how far the work is."""

    name: str
    done: int
    """Bytes so far: extracted ones, or for tar those read of the archive, whose total is known."""
    total: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A member that could not be had, and why."""

    name: str
    """Empty where it is the rest of the archive."""
    reason: str
    rest: bool = False

    def __str__(self) -> str:
        return f"the rest can't be reached: {self.reason}" if self.rest else f"{shown(self.name)} {self.reason}"


Report = Member | Skipped


def extract(
    path: Path,
    out: Path,
    *,
    force: bool = False,
    keep_going: bool = False,
    limits: Limits | None = None,
    password: Callable[[], str | None] = lambda: None,
    accept: Callable[[Path], object] = lambda folder: None,
) -> Generator[Report, None, None]:
    """Extract an archive to the folder `out`, which appears when all of it is there; yield each file.

    Raises ArchiveError, and leaves nothing behind, if the archive is damaged or too large, or if a member would leave
    `out` or is no plain file; with `keep_going`, such a member is yielded as Skipped and the others are kept.
    `password` is asked once, and only if the archive is encrypted. A folder that exists is replaced only with `force`,
    and only if `accept`, which is given what was extracted, raises no GarbageError.
    """
    if not path.is_file():
        what = "is a folder, not an archive" if path.is_dir() else "is no regular file"
        raise ArchiveError(f"{path} {what}" if path.exists() else f"no file {path}")
    clean_up(out)
    check_target(path, out, force=force)
    key = Password(password, path)
    with opened(path, key) as listing:
        meter = Meter(path, limits or Limits(), listing.size)
        if listing.stream:
            listing.stream.check = meter.pass_by
        _check_listing(listing, meter, out, keep_going=keep_going)
        with staged_folder(out, replace=force) as staging:
            writer = Writer(staging, out, Names(staging), meter, key)
            yield from _pour(listing, writer, path, keep_going=keep_going)
            if out.exists():
                _accept(accept, staging, path, out)


def _check_listing(listing: Listing, meter: Meter, out: Path, *, keep_going: bool) -> None:
    """Hold what the archive says of itself against the limits and the disk, before anything is written."""
    if listing.broken and not keep_going:
        raise listing.broken
    if listing.sizes is not None:
        meter.expect(listing.sizes)
    check_space(out, [listing.size] if listing.sizes is None else listing.sizes)


def _pour(listing: Listing, writer: Writer, path: Path, *, keep_going: bool) -> Generator[Report, None, None]:
    """Write each member; what can't be had is an error, or skipped."""
    total, first = listing.total, ""
    try:
        for entry in _translated(listing, path):
            try:
                if writer.write(entry):
                    yield Member(entry.name, entry.done() if entry.done else writer.written, total)
            except MemberError as error:
                if not keep_going:
                    raise error.final(path) from None
                skipped = Skipped(error.name, error.reason)
                first = first or f"; the first: {skipped}"
                yield skipped
    except RestError as error:
        if not keep_going or not writer.kept:
            raise
        yield Skipped("", plain(error), rest=True)
    if not writer.kept:
        raise ArchiveError(
            f"{path} holds no file, or only empty ones" if not first else f"nothing in {path} can be had{first}"
        )


def _translated(listing: Listing, path: Path) -> Generator[Entry, None, None]:
    while True:
        with reading(path):
            entry = next(listing.entries, None)
        if entry is None:
            return
        yield entry


def _accept(accept: Callable[[Path], object], staging: Path, path: Path, out: Path) -> None:
    try:
        accept(staging)
    except GarbageError as error:
        reason = str(error).replace(str(staging), path.name)
        raise ArchiveError(f"{reason}; {out} is kept as it was") from None
