"""What was found out about files before, as long as they have not changed: one SQLite file a data set.

Knows where it lies and when it no longer holds. Does not know what the records mean.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from garbage_cli.check.inspection import VERSION, Inspected, Record, values_of
from garbage_cli.images import DEFAULT_LIMITS

_COLUMNS = [field.name for field in fields(Record)]
_TABLE = (
    "CREATE TABLE IF NOT EXISTS seen (path BLOB PRIMARY KEY, bytes, changed, moved, number, "
    + ", ".join(f'"{name}"' for name in _COLUMNS)
    + ") WITHOUT ROWID"
)
_INSERT = f"INSERT OR REPLACE INTO seen VALUES ({', '.join('?' * (5 + len(_COLUMNS)))})"


def cache_file(root: Path) -> Path:
    """Return where the cache of a data set lies: it depends on the folder and on what decodes."""
    import PIL
    from platformdirs import user_cache_path

    decoder = f"{VERSION} {PIL.__version__} {DEFAULT_LIMITS}"
    key = hashlib.sha256(f"{root.resolve()}\0{decoder}".encode(errors="surrogateescape")).hexdigest()
    return user_cache_path("garbage") / "check" / f"{key[:32]}.sqlite"


class Cache:
    """Records by path and stamp. A cache that can't be written or read is done without."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def load(self) -> dict[str, Inspected]:
        """Return all records, by path from the root."""
        if self._connection is None:
            return {}
        try:
            rows = self._connection.execute("SELECT * FROM seen").fetchall()
            return {os.fsdecode(row[0]): Inspected(row[1:5], Record(*row[5:])) for row in rows}
        except (sqlite3.Error, TypeError):
            return {}

    def save(self, found: Iterable[tuple[str, Inspected]]) -> None:
        """Keep records of files that did not change while they were read."""
        rows = [(os.fsencode(name), *each.stamp, *values_of(each.record)) for name, each in found if each.stamp]
        if self._connection is None or not rows:
            return
        try:
            with self._connection:
                self._connection.executemany(_INSERT, rows)
        except sqlite3.Error:  # a full disk, say: the check goes on without
            self._connection = None


@contextmanager
def open_cache(root: Path) -> Iterator[Cache]:
    """Give the cache of a data set; an empty one that keeps nothing where the cache folder can't be used."""
    connection = None
    try:
        path = cache_file(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(path)
    except (OSError, sqlite3.Error):
        pass
    try:
        yield Cache(connection)
    finally:
        if connection is not None:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return _prepared(path)
    except sqlite3.OperationalError:  # in use, or no room
        raise
    except sqlite3.DatabaseError:  # damaged: it is only a cache
        path.unlink(missing_ok=True)
        return _prepared(path)


def _prepared(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_TABLE)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
