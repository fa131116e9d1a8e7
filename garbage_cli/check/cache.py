"""What was found out about files before, as long as they have not changed: one SQLite file a data set.

Knows where it lies and when it no longer holds. Does not know what the records mean.
"""

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from garbage_cli.check.inspection import VERSION, Inspected, Record, values_of
from garbage_cli.images import DEFAULT_LIMITS

_Result = TypeVar("_Result")
_DAMAGED = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What reading a damaged file raises; its messages may be no text either."""
_COLUMNS = [field.name for field in fields(Record)]
_TABLE = (
    "CREATE TABLE IF NOT EXISTS seen (path BLOB PRIMARY KEY, stamp TEXT, "
    + ", ".join(f'"{name}"' for name in _COLUMNS)
    + ", sum INTEGER) WITHOUT ROWID"
)
_INSERT = f"INSERT OR REPLACE INTO seen VALUES ({', '.join('?' * (3 + len(_COLUMNS)))})"


def cache_file(root: Path) -> Path:
    """Return where the cache of a data set lies: it depends on the folder and on what decodes."""
    import PIL
    from platformdirs import user_cache_path

    decoder = f"{VERSION} {PIL.__version__} {DEFAULT_LIMITS}"
    key = hashlib.sha256(f"{root.resolve()}\0{decoder}".encode(errors="surrogateescape")).hexdigest()
    return user_cache_path("garbage") / "check" / f"{key[:32]}.sqlite"


class Cache:
    """Records by path and stamp. A cache that can't be used is done without; a damaged one is made anew."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = _connect(self._path)
        except (OSError, *_DAMAGED):
            self._connection = None

    def load(self) -> dict[str, Inspected]:
        """Return all records, by path from the root."""
        rows = self._try(lambda connection: connection.execute("SELECT * FROM seen").fetchall()) or []
        return {os.fsdecode(row[0]): _parse(row) for row in rows if row[-1] == _sum(row[:-1])}

    def save(self, found: Iterable[tuple[str, Inspected]]) -> None:
        """Keep records of files that did not change while they were read."""
        rows = [
            _summed((os.fsencode(name), " ".join(map(str, each.stamp)), *values_of(each.record)))
            for name, each in found
            if each.stamp
        ]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany(_INSERT, rows)

        self._try(write)

    def close(self) -> None:
        """Let the file go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        """Do something with the file; if it is in use or the disk is full, go on without; if damaged, make it anew."""
        if self._connection is None:
            return None
        try:
            return work(self._connection)
        except sqlite3.OperationalError as error:
            self.close()
            if "no such" in str(error) or "columns" in str(error):  # another's table under our name
                self._start_anew()
        except _DAMAGED:
            self.close()
            self._start_anew()
        return None

    def _start_anew(self) -> None:
        with suppress(OSError):
            if self._path is not None:
                _delete(self._path)
        self._open()


_Row = tuple[Any, ...]


def _sum(row: _Row) -> int:
    """A check sum: a damaged file may hold other values than were written, and read well."""
    return zlib.crc32(repr(row).encode(errors="surrogateescape"))


def _summed(row: _Row) -> _Row:
    plain = tuple(int(value) if isinstance(value, bool) else value for value in row)  # as SQLite gives it back
    return (*plain, _sum(plain))


def _parse(row: _Row) -> Inspected:
    size, changed, moved, number = map(int, row[1].split())
    return Inspected((size, changed, moved, number), Record(*row[2:-1]))


def _delete(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


@contextmanager
def open_cache(root: Path) -> Iterator[Cache]:
    """Give the cache of a data set; one that keeps nothing where the cache folder can't be used."""
    try:
        path = cache_file(root)
    except (OSError, RuntimeError):  # no home folder
        path = None
    cache = Cache(path)
    try:
        yield cache
    finally:
        cache.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return _prepared(path)
    except sqlite3.OperationalError:  # in use, or no room
        raise
    except _DAMAGED:  # it is only a cache
        _delete(path)
        return _prepared(path)


def _prepared(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection
