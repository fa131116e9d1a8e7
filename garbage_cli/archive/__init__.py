"""rar, zip and tar archives from strangers → a folder, whole or not at all.

Knows archive formats and which member names are safe. Does not know labels or images.
"""

import shutil
import zipfile
from collections.abc import Callable, Iterator
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
    entries, total = _open(path)
    with staged_folder(out) as staging:
        done = 0
        for number, entry in enumerate(entries, start=1):
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
    if any(len(part.encode()) > 255 for part in parts):
        raise ArchiveError(f"{archive}: member {name[:60]!r}… has a name of over 255 bytes; nothing was extracted")
    return path


def _write(entry: Entry, folder: Path, *, archive: Path, room: int) -> int:
    """Pour one entry into its file; return its size. Reading errors become ArchiveError, writing errors pass."""
    target = folder / _safe(entry.name, archive)
    written = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(f"{archive}: member {entry.name!r} is there twice; nothing was extracted") from None
    with file:

        def sink(piece: bytes) -> None:
            nonlocal written
            written += len(piece)
            if written > room:
                raise ArchiveError(f"{archive} unfolds into more than the limit; nothing was extracted")
            file.write(piece)

        if entry.copy_of:
            _copy(folder / _safe(entry.copy_of, archive), target, archive=archive)
            return target.stat().st_size
        try:
            entry.pour(sink)
        except _damage() as error:
            reason = " ".join(str(error).split())
            raise ArchiveError(f"{archive}: member {entry.name!r} is damaged: {reason}; download it again") from None
    return written


def _copy(source: Path, target: Path, *, archive: Path) -> None:
    """Only files that were extracted before can be copied: there are no links among them."""
    if not source.is_file():
        raise ArchiveError(f"{archive}: member {target.name!r} repeats {source.name!r}, which is not there")
    shutil.copyfile(source, target)


def _damage() -> tuple[type[Exception], ...]:
    from garbage_cli.archive import rar, ziptar

    return (*rar.DAMAGE, *ziptar.DAMAGE)


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
