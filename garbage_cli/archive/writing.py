"""One member → one file in the folder being made.

Knows entries, names and limits. Does not know formats, nor what becomes of the folder.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from garbage_cli.archive.damage import MemberError, damaged
from garbage_cli.archive.entry import Entry
from garbage_cli.archive.limits import Meter, writing
from garbage_cli.archive.names import Names
from garbage_cli.archive.password import Password
from garbage_cli.errors import GarbageError

_NAME_REFUSED = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class Writer:
    """Writes the members of one archive, and counts them."""

    def __init__(self, folder: Path, out: Path, names: Names, meter: Meter, password: Password) -> None:
        self._folder, self._out, self._names = folder, out, names
        self._meter, self._password = meter, password
        self.kept = 0
        """Bytes of the members that are whole."""

    @property
    def written(self) -> int:
        """Bytes so far, of members too that turned out damaged."""
        return self._meter.bytes

    def write(self, entry: Entry) -> bool:
        """Write one member, unless it is a folder: those come with what is in them. Raises MemberError."""
        self._meter.add_member()
        if entry.folder:
            return False
        if entry.refused:
            raise MemberError(entry.name, entry.refused)
        target, before = self._folder / self._names.claim(entry.name), self._meter.bytes
        with writing(self._out), self._new_file(entry.name, target) as file:
            if entry.copy_of is not None:
                self._copy(entry.name, entry.copy_of, file)
            else:
                self._pour(entry, file)
        self.kept += self._meter.bytes - before
        return True

    @contextmanager
    def _new_file(self, name: str, target: Path) -> Iterator[IO[bytes]]:
        """Give the file to write; it is gone again if that fails."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError):  # on a file system with rules of its own
            raise MemberError(name, "is there twice, as the file system sees it") from None
        except OSError as error:
            if error.errno not in _NAME_REFUSED:
                raise
            raise MemberError(name, f"has a name that the file system refuses ({error.strerror})") from None
        try:
            with file:
                yield file
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _pour(self, entry: Entry, file: IO[bytes]) -> None:
        """Let the entry's content run into the file; tell errors of reading from those of writing."""
        failed: list[BaseException] = []

        def sink(piece: bytes) -> None:
            try:
                self._meter.add(len(piece))
                file.write(piece)
            except BaseException as error:
                failed.append(error)
                raise

        try:
            entry.pour(sink)
        except GarbageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library raises over damage
            if failed:
                raise failed[0] from None
            if entry.encrypted and not self._password.proved:
                raise self._password.doubtful() from None
            raise damaged(entry.name, error) from None
        self._password.proved |= entry.encrypted

    def _copy(self, name: str, source: str, file: IO[bytes]) -> None:
        """Copy a member that was extracted before: there are no links among those."""
        path = self._folder / self._names.check(source)
        if not path.is_file() or path.samefile(file.name):
            raise MemberError(name, f"repeats {source!r}, which is not there")
        with path.open("rb") as original:
            while piece := original.read(1 << 20):
                self._meter.add(len(piece))
                file.write(piece)
