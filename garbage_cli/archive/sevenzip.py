"""7z files: their members, as entries to pour out.

Knows py7zr, which pushes what it decodes; entries are pulled, so that it runs in a thread of its own. No name of the
archive reaches py7zr's own writing, nor does it write: it sees numbers, and hands its pieces over.
"""

import queue
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from garbage_cli.archive.damage import MemberError, broken, plain, reading
from garbage_cli.archive.entry import Entries, Entry, Listing, Sink
from garbage_cli.archive.password import Password
from garbage_cli.errors import ArchiveError, MissingExtraError

MAGIC = b"7z\xbc\xaf\x27\x1c"
_FOLDER, _REPARSE_POINT, _UNIX = 0x10, 0x400, 0x8000
_AES = b"\x06\xf1\x07\x01"
_LOST = "can't be reached: it is packed together with a damaged one"
_UNREADABLE = "packed in a way that py7zr does not read"
_REPACK = "extract it with 7-Zip, and pack that as zip or tar.xz"
_NAME = "garbage-member-{}"
"""What py7zr takes for a member's name."""


def open_7z(file: IO[bytes], path: Path, size: int, password: Password) -> Listing:
    """Open a 7z archive."""
    archive = _archive(file, path, password)
    with reading(path):
        members = _members(archive)
    return Listing(_entries(archive, members, path), size, [member.size for member in members])


def _archive(file: IO[bytes], path: Path, password: Password) -> Any:
    """Open with py7zr; where the list itself is encrypted, ask first."""
    try:
        import py7zr
    except ImportError:
        raise MissingExtraError("reading 7z archives", package="py7zr", extra="archives") from None
    try:
        file.seek(0)
        archive = py7zr.SevenZipFile(file)
        if not archive.needs_password():
            return archive
    except py7zr.PasswordRequired:
        archive = None
    except py7zr.UnsupportedCompressionMethodError as error:
        raise ArchiveError(f"{path} is {_UNREADABLE} ({plain(error.message)}); {_REPACK}") from None
    except Exception as error:  # noqa: BLE001 - py7zr's list of what it raises is not complete
        raise broken(path, error) from None
    given = password.get()
    file.seek(0)
    try:
        opened = py7zr.SevenZipFile(file, password=given)
    except Exception:  # noqa: BLE001 - a wrong password decrypts into nonsense
        raise password.doubtful() from None
    password.proved = archive is None
    return opened


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of the archive."""

    name: str
    size: int
    folder: bool
    refused: str
    block: Any
    """What it is packed together with, py7zr's word for which is folder; None for an empty file."""
    encrypted: bool


def _members(archive: Any) -> list[_Member]:
    """Read the list, by the numbers that py7zr gets to know members by instead of their names.

    Those without content go to the end: py7zr counts on the members of a block being next to one another.
    """
    files = archive.files.files_list
    flags = iter(archive.header.files_info.emptyfiles if files else ())
    for info in files:
        info["emptyfile"] = bool(info["emptystream"]) and next(flags, False)
    files.sort(key=lambda info: bool(info["emptystream"]))
    members = [_member(info) for info in files]
    for number, info in reversed(list(enumerate(files))):
        info["filename"] = _NAME.format(number)
        if info["folder"] is not None:
            info["folder"].files.offset = number
    return members


def _member(info: dict[str, Any]) -> _Member:
    attributes = info.get("attributes") or 0
    kind = stat.S_IFMT(attributes >> 16) if attributes & _UNIX else 0
    marked = bool(attributes & _FOLDER) or kind == stat.S_IFDIR
    folder = marked or bool(info["emptystream"] and not info["emptyfile"] and not kind)
    special = attributes & _REPARSE_POINT or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    block = info["folder"]
    encrypted = block is not None and any(coder["method"] == _AES for coder in block.coders)
    return _Member(
        info["filename"], info["uncompressed"], folder, "is a link or device" if special else "", block, encrypted
    )


def _entries(archive: Any, members: list[_Member], path: Path) -> Entries:
    for member in members:
        if member.refused or member.folder:
            yield Entry(member.name, folder=member.folder, refused=member.refused)
    waiting = {number for number, member in enumerate(members) if not member.refused and not member.folder}
    while waiting:
        with _feed(archive, waiting) as feed:
            number = None
            while (number := feed.next()) is not None:
                waiting.discard(number)
                member = members[number]
                yield Entry(member.name, partial(_pour, feed, member), encrypted=member.encrypted)
                if feed.failed:
                    break
        if number is None:
            break
        for lost in [other for other in sorted(waiting) if members[other].block is members[number].block]:
            waiting.discard(lost)
            yield Entry(members[lost].name, refused=_LOST)
    if waiting:
        raise broken(path, f"{len(waiting):,} of its members are not in it")


def _pour(feed: "_Feed", member: _Member, sink: Sink) -> None:
    import py7zr

    name = member.name

    try:
        feed.pour(sink)
    except py7zr.exceptions.CrcError:
        what = "damaged, or the password is wrong" if member.encrypted else "damaged"
        raise MemberError(name, f"is {what} (its check sum does not fit)", remedy="download it again") from None
    except py7zr.UnsupportedCompressionMethodError as error:
        raise MemberError(name, f"is {_UNREADABLE} ({plain(error.message)})", remedy=_REPACK) from None


@contextmanager
def _feed(archive: Any, numbers: set[int]) -> Iterator["_Feed"]:
    """Decode these members in a thread, which has ended when this ends."""
    archive.reset()
    names = [_NAME.format(number) for number in numbers]
    feed = _Feed(lambda factory: archive.extract(targets=names, factory=factory))
    try:
        yield feed
    finally:
        feed.stop()


class _Stopped(Exception):
    """Nobody wants the rest."""


class _Feed:
    """Turns py7zr's pushing into pulling; for py7zr it is both the maker of files and the file being written."""

    def __init__(self, work: Callable[["_Feed"], object]) -> None:
        self._items: queue.Queue[int | bytes | BaseException | None] = queue.Queue(maxsize=2)
        self._stopping = threading.Event()
        self._reading = False
        self.failed = False
        self._thread = threading.Thread(target=self._run, args=(work,), name="7z", daemon=True)
        self._thread.start()

    # ---- our side

    def next(self) -> int | None:
        """Return the number of the next member, what is left of the last one passed over; None after all of them."""
        if self._reading:
            self.pour(lambda piece: None)
        item = self._take()
        assert item is None or isinstance(item, int)
        self._reading = item is not None
        return item

    def pour(self, sink: Sink) -> None:
        """Give the sink the member's content."""
        while isinstance(piece := self._take(), bytes):
            sink(piece)
        self._reading = False

    def stop(self) -> None:
        """End the thread, which may be waiting for room."""
        self._stopping.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._items.get(timeout=0.05)
        self._thread.join()

    def _take(self) -> int | bytes | None:
        item = self._items.get()
        if isinstance(item, BaseException):
            self.failed = True
            raise item
        return item

    # ---- py7zr's side, in the thread

    def _run(self, work: Callable[["_Feed"], object]) -> None:
        try:
            work(self)
            self._put(None)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again on the other side
            with suppress(_Stopped):
                self._put(error)

    def _put(self, item: int | bytes | BaseException | None) -> None:
        if self._stopping.is_set():
            raise _Stopped
        self._items.put(item)

    def create(self, name: str) -> "_Feed":
        self._put(int(name.rpartition("-")[2]))
        return self

    def write(self, piece: bytes) -> int:
        self._put(bytes(piece))
        return len(piece)

    def close(self) -> None:
        self._put(None)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass
