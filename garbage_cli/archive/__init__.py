"""rar, zip and tar archives from strangers → a folder, whole or not at all.

Knows archive formats and which member names are safe. Does not know labels or images.
"""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from garbage_cli.archive.entry import Entry
from garbage_cli.errors import ArchiveError, GarbageError
from garbage_cli.storage import staged_folder


@dataclass(frozen=True, slots=True)
class Member:
    """A file just extracted, and how far the work is."""

    name: str
    done: int
    """Bytes so far: extracted ones, or for tar those read of the archive, whose total is known."""
    total: int


MAX_DEPTH = 64
"""Folders within folders that a member's name may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may unfold into."""

    max_bytes: int = 64 * 1024**3
    max_members: int = 2_000_000


def extract(
    path: Path,
    out: Path,
    *,
    force: bool = False,
    limits: Limits | None = None,
    accept: Callable[[Path], object] = lambda folder: None,
) -> Iterator[Member]:
    """Extract an archive to the folder `out`, which appears when all of it is there; yield each file.

    Raises ArchiveError, and leaves nothing behind, if the archive is damaged, encrypted or too large, or if a
    member would leave `out` or is no plain file. A folder that exists is replaced only with `force`, and only if
    `accept`, which is given what was extracted, raises no GarbageError.
    """
    _check_target(path, out, force=force)
    limits = limits or Limits()
    with _reading(path):
        entries, total = _open(path)
    with staged_folder(out) as staging:
        done = 0
        for number, entry in enumerate(_translated(entries, path), start=1):
            if number > limits.max_members:
                raise ArchiveError(f"{path} holds more than {limits.max_members:,} files")
            done += _write(entry, staging, archive=path, room=limits.max_bytes - done)
            yield Member(entry.name, entry.done() if entry.done else done, total)
        if not done:
            raise ArchiveError(f"{path} holds no file, or only empty ones")
        if out.exists():
            try:
                accept(staging)
            except GarbageError as error:
                reason = str(error).replace(str(staging), path.name)
                raise ArchiveError(f"{reason}; {out} is kept as it was") from None


def _check_target(path: Path, out: Path, *, force: bool) -> None:
    if not path.is_file():
        raise ArchiveError(f"no file {path}" if not path.exists() else f"{path} is a folder, not an archive")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ArchiveError(f"{out} is a file; choose another folder with --out")
    if not force:
        raise ArchiveError(f"{out} exists; replace it with --force, or choose another folder with --out")
    resolved = out.resolve()
    for kept in (Path.cwd().resolve(), path.resolve(), Path.home().resolve()):
        if kept == resolved or resolved in kept.parents:
            raise ArchiveError(f"--force would delete {out}, which holds {kept}; choose another folder with --out")


def _safe(name: str, archive: Path) -> PurePosixPath:
    """Return a member's path, known to stay inside the folder it is put into."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    if path.is_absolute() or ".." in parts or not parts or ":" in parts[0] or "\0" in name:
        raise ArchiveError(f"{archive}: member {name!r} would be written outside the folder; nothing was extracted")
    if len(parts) > MAX_DEPTH or any(len(part.encode(errors="surrogateescape")) > 255 for part in parts):
        raise ArchiveError(f"{archive}: member {name[:60]!r}… has too long or too deep a name; nothing was extracted")
    return path


@contextmanager
def _reading(archive: Path, member: str = "", writing: list[OSError] | None = None) -> Iterator[None]:
    """Turn whatever the libraries raise over a damaged archive into ArchiveError; errors of `writing` pass as they are.

    The libraries' own lists of what they raise are not complete: mutated archives gave ValueError, IndexError,
    UnicodeDecodeError and more.
    """
    try:
        yield
    except GarbageError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        if writing:
            raise writing[0] from None
        where = f"{archive}: member {member!r} is damaged" if member else f"{archive} is damaged or incomplete"
        raise ArchiveError(f"{where}: {' '.join(str(error).split())}; download it again") from None


def _write(entry: Entry, folder: Path, *, archive: Path, room: int) -> int:
    """Pour one entry into its file; return its size."""
    target = folder / _safe(entry.name, archive)
    written, failed = 0, list[OSError]()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(f"{archive}: member {entry.name!r} is there twice; nothing was extracted") from None
    with file:

        def sink(piece: bytes) -> None:
            nonlocal written
            written += len(piece)
            _check_room(written, room, archive)
            try:
                file.write(piece)
            except OSError as error:
                failed.append(error)
                raise

        if entry.copy_of:
            return _copy(folder / _safe(entry.copy_of, archive), target, archive=archive, room=room)
        with _reading(archive, entry.name, failed):
            entry.pour(sink)
    return written


def _check_room(size: int, room: int, archive: Path) -> None:
    if size > room:
        raise ArchiveError(f"{archive} unfolds into more than the limit; nothing was extracted")


def _copy(source: Path, target: Path, *, archive: Path, room: int) -> int:
    """Copy a member that was extracted before: there are no links among those."""
    if not source.is_file() or source == target:
        raise ArchiveError(f"{archive}: member {target.name!r} repeats {source.name!r}, which is not there")
    _check_room(source.stat().st_size, room, archive)
    shutil.copyfile(source, target)
    return target.stat().st_size


def _translated(entries: Iterator[Entry], archive: Path) -> Iterator[Entry]:
    while True:
        with _reading(archive):
            entry = next(entries, None)
        if entry is None:
            return
        yield entry


def _open(path: Path) -> tuple[Iterator[Entry], int]:
    """Return the entries of an archive, in its own order, and the total that their progress runs to."""
    from garbage_cli.archive import rar, ziptar

    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"Rar!\x1a\x07"):
        return rar.rar_entries(path), rar.rar_total(path)
    if zipfile.is_zipfile(path):
        return ziptar.zip_entries(path), ziptar.zip_total(path)
    if ziptar.is_tar(path):
        return ziptar.tar_entries(path), path.stat().st_size
    raise ArchiveError(f"{path} is no rar, zip or tar archive{_looks_like(head)}; download it again")


def _looks_like(head: bytes) -> str:
    if not head:
        return " (it is empty)"
    if head.lstrip().lower().startswith((b"<!", b"<htm")):
        return " (it is a web page, perhaps of a login)"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return " (it begins like one: damaged or incomplete)"
    return f" (it begins with {head[:8].hex(' ')})"
