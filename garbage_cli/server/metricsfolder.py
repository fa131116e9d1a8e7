"""The folder in which the workers of a server count, and the files in it. Does not know what is counted.

The files are mapped into memory, and a write to a mapped page that the disk has no room for kills the process. So
every file gets its room before it is mapped.
"""

import importlib
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""What names the folder to the workers; prometheus_client's own."""
_PREFIX = "garbage-metrics-"
_ROOM = 16 * 1024 * 1024
"""Bytes that memory's own file system must have free, or the folder is made on the disk."""
_YOUNG = 60.0
"""Seconds for which a folder may not have its lock yet."""
BROKEN = (OSError, RuntimeError, ValueError, KeyError, struct.error)
"""What reading the files of other processes can raise."""


class MetricsFolder:
    """The private folder in which workers count, for as long as the supervisor is in it.

    Its variable is set for processes that are started meanwhile. The folder is locked: one that isn't was left behind
    by a server that was killed, and the next server of the same user removes it.
    """

    def __init__(self, *, tell: Callable[[str], object] = lambda text: None) -> None:
        self.path: Path | None = None
        """None where no folder could be made: each worker then counts for itself."""
        self._tell = tell
        self._handle = -1
        self._before: str | None = None

    def __enter__(self) -> "MetricsFolder":
        places = _places()
        for place in places:
            _remove_leftovers(place)
        self._before = os.environ.get(VARIABLE)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_roomy(places)))
        except OSError as error:
            self._tell(f"no folder for metrics ({error.strerror}): each worker counts for itself")
            os.environ.pop(VARIABLE, None)
            return self
        self._handle = os.open(self.path, os.O_RDONLY)
        with suppress(OSError):
            _lock(self._handle)
        os.environ[VARIABLE] = str(self.path)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._before
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._handle)
            self.path = None

    def forget(self, pid: int) -> None:
        """Drop the gauges of a dead worker, and keep its counts: they are added to those of the dead before it."""
        if self.path is None:
            return
        with suppress(OSError), guarded(self.path, exclusive=True):
            library("multiprocess").mark_process_dead(pid, str(self.path))
            (self.path / f"model_{pid}.json").unlink(missing_ok=True)
            for kind in ("counter", "histogram"):
                _inherit(self.path / f"{kind}_{pid}.db", self.path / f"{kind}_0.db")


def reserve(path: Path, size: int) -> None:
    """Give a file at least this much room on the disk. A new file appears with all of it."""
    if path.exists():
        with path.open("r+b") as file:
            _allocate(file.fileno(), size)
        return
    staged = path.with_suffix(".new")
    try:
        with staged.open("w+b") as file:
            _allocate(file.fileno(), size)
        staged.rename(path)
    finally:
        staged.unlink(missing_ok=True)


def _allocate(handle: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(handle, 0, size)
    else:
        end = os.lseek(handle, 0, os.SEEK_END)
        os.write(handle, bytes(max(0, size - end)))


def entry_bytes(key: str) -> int:
    """How much a value takes in a file of the library, at most: two lengths, the key, padding, two floats."""
    return len(key.encode()) + 28


def _inherit(dead: Path, kept: Path) -> None:
    """Add the values of a dead worker's file to those of the dead before it, and remove the file."""
    if not dead.exists():
        return
    if not kept.exists():
        dead.rename(kept)
        return
    try:
        values, before = _values(dead), _values(kept)
    except BROKEN:
        dead.unlink()  # one that can't be read would keep everyone from being asked
        return
    reserve(kept, 8 + sum(map(entry_bytes, {**before, **values})))
    book = library("mmap_dict").MmapedDict(str(kept))
    for key, value in values.items():
        book.write_value(key, before.get(key, 0.0) + value, 0.0)
    book.close()
    dead.unlink()


def _values(path: Path) -> dict[str, float]:
    reading = library("mmap_dict").MmapedDict.read_all_values_from_file(path)
    return {key: value for key, value, *_ in reading}


def library(module: str) -> Any:
    """Give a module of the library that has no types."""
    return importlib.import_module(f"prometheus_client.{module}")


@contextmanager
def guarded(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Keep reading all files, and moving a dead worker's counts from one to another, apart."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, shared=not exclusive, wait=True)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file or folder until it is closed; raise OSError if another holds it."""
    import fcntl

    fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def _places() -> list[Path]:
    """Where a folder may be: in memory, then on the disk."""
    return [place for place in (Path("/dev/shm"), Path(tempfile.gettempdir())) if place.is_dir()]


def _roomy(places: list[Path]) -> Path | None:
    for place in places[:-1]:
        with suppress(OSError):
            if os.access(place, os.W_OK) and shutil.disk_usage(place).free >= _ROOM:
                return place
    return places[-1] if places else None


def _remove_leftovers(place: Path) -> None:
    """Remove our own folders whose server was killed: nobody holds their lock."""
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            known = folder.lstat()
            if folder.is_symlink() or known.st_uid != os.geteuid() or time.time() - known.st_mtime < _YOUNG:
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                _lock(handle)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
