"""Files and folders that are either whole or absent: temporary name first, then one rename.

Knows the file system. Does not know what is stored.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from garbage_cli.errors import DatasetError


def require_room(folder: Path) -> None:
    """Raise DatasetError if a report can't be written into this folder, before the work is done for nothing."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise DatasetError(f"{place} is a file; name another folder with --report")
    if not os.access(place, os.W_OK):
        raise DatasetError(f"{place} can't be written to; name another folder with --report")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: readers see the old content or all of the new one."""
    with staged_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, Chinese unescaped."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write; rename it to `path` on success, remove it on failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _named(path, temporary):
            yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _named(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give an error that names no file (a full disk), or the temporary one, the name of what was being written."""
    try:
        yield
    except OSError as error:
        hidden = temporary is not None and error.filename in (str(temporary), temporary)
        if (error.filename is None or hidden) and error.errno is not None:
            error.filename = str(path)
        raise


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def staged_folder(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give an empty temporary sibling of `target`; on success it becomes `target`, replacing what was there.

    What was there is moved aside first and deleted last, so that a failure at any step leaves it in place. What a
    killed process left is cleaned up, here and by `clean_up`: the siblings are locked while somebody is at them.
    Without `replace`, FileExistsError is raised at the end if meanwhile somebody else has made the folder.
    """
    with _parents(target):
        clean_up(target)
        with _sibling(target, "part") as staging:
            with _named(target):
                yield staging
            staging.chmod(0o777 & ~_umask())
            _swap_in(staging, target, replace=replace)


@contextmanager
def _parents(target: Path) -> Iterator[None]:
    """Make the folders above; those that were not there go again if what should go into them fails."""
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def clean_up(target: Path) -> None:
    """Finish what a killed process left of `staged_folder`: put back what it had moved aside, delete the rest."""
    if not target.parent.is_dir():
        return
    shape = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}\.(part|old)")
    left = [path for path in target.parent.iterdir() if shape.fullmatch(path.name) and path.is_dir()]
    for path in sorted(left, key=lambda path: path.suffix):  # .old first: it may hold what was at the target
        with _lock(path) as free:
            if free:
                _clean_up(path, target)


def _clean_up(left: Path, target: Path) -> None:
    kept = left / target.name
    if left.suffix == ".old" and kept.exists() and not target.exists():
        kept.rename(target)
    shutil.rmtree(left, ignore_errors=True)


def _swap_in(staging: Path, target: Path, *, replace: bool) -> None:
    if not target.exists():
        staging.rename(target)
        return
    if not replace:
        _fill(target, staging)
        return
    with _sibling(target, "old") as old:
        try:
            target.rename(old / target.name)
            staging.rename(target)
        except BaseException:  # Ctrl-C too: what was there goes back before anything is deleted
            if not target.exists() and (old / target.name).exists():
                (old / target.name).rename(target)
            raise


def _fill(target: Path, staging: Path) -> None:
    """Put a folder in the place of an empty one."""
    try:
        target.rmdir()
    except OSError as error:
        reason = "exists by now, and is not empty" if any(target.iterdir()) else error.strerror
        raise FileExistsError(error.errno, reason, str(target)) from None
    staging.rename(target)


@contextmanager
def _sibling(target: Path, kind: str) -> Iterator[Path]:
    """Give a new hidden folder beside `target`, locked; delete it in the end, if it is still there."""
    while True:
        try:
            path = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=f".{kind}", dir=target.parent))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(target)) from None
        with _lock(path, wait=True):
            if not path.exists():  # cleaned up by somebody else before it was locked
                continue
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
            return


@contextmanager
def _lock(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a folder's lock, which goes with the process however that ends; say whether it could be had.

    Where folders have no locks (Windows, some network drives) nobody can tell a leftover from one in use: False.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
