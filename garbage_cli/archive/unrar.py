"""The unrar library of the wheel unrar2-cffi: one pass over a RAR archive, which never waits for anyone.

Knows the library's C functions and their codes. Does not know what an entry is.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from garbage_cli.archive.damage import RestError, broken
from garbage_cli.archive.entry import Sink
from garbage_cli.archive.password import Password

HARD_LINK, FILE_COPY = 4, 5
SPLIT_BEFORE, ENCRYPTED, FOLDER, UNIX = 0x01, 0x04, 0x20, 3
VOLUME, NEW_NUMBERING, HEADERS_ENCRYPTED, FIRST_VOLUME = 0x01, 0x10, 0x80, 0x100
_LIST_ALL_PARTS, _EXTRACT = 2, 1
_SKIP, _TEST = 0, 1
_CHANGE_VOLUME, _CHANGE_VOLUME_NARROW, _PROCESS_DATA, _NEED_PASSWORD = 3, 0, 1, 4
_NOTIFY = 1
_GO_ON, _STOP = 1, -1
_DONE, _END, _BAD_DATA, _BAD_PASSWORD = 0, 10, 12, 24
_WHY = {
    11: "out of memory", _BAD_DATA: "its check sum does not fit", 13: "its headers don't hold together",
    14: "an unknown format", 15: "it can't be opened", 18: "it can't be read",
    23: "it refers to a member that is not there", 25: "it needs too much memory",
}  # fmt: skip
_NAME_ROOM = 1 << 16


def library() -> Any:
    """The library's functions, if its wheel is installed."""
    try:
        from unrar.cffi import unrarlib
    except ImportError:
        return None
    return unrarlib


class Pass:
    """One way through an archive, header by header; between two of them a member may be poured.

    An `old` one may have comments within its headers (RAR before 3), for which the library calls them broken though
    it reads them well: there the check sum of the content decides.
    """

    def __init__(self, path: Path, password: Password, *, listing: bool = False, old: bool = False) -> None:
        from unrar.cffi._unrarlib import ffi, lib

        self._ffi, self._lib, self._path, self._password = ffi, lib, path, password
        self._sink: Sink | None = None
        self._raised: list[BaseException] = []
        self._missing: str | None = None
        self._old, self._doubtful, self._failed = old, False, False
        self._header: Any = None
        self.volumes = [path]
        self._names = [ffi.new("wchar_t[]", _NAME_ROOM) for _ in range(2)]
        self._me = ffi.new_handle(self._on_event)  # must live as long as the library may call
        self._path_text = ffi.new("wchar_t[]", str(path))
        data = ffi.new("struct RAROpenArchiveDataEx *")
        data.ArcNameW, data.OpenMode = self._path_text, _LIST_ALL_PARTS if listing else _EXTRACT
        data.Callback = ffi.cast("int(*)(unsigned int, long, long, long)", lib.PyUNRARCALLBACKStub)
        data.UserData = ffi.cast("long", self._me)
        self._handle = lib.RAROpenArchiveEx(data)
        self._check(data.OpenResult)
        self.flags: int = data.Flags

    def close(self) -> None:
        """Let the library's memory and files go."""
        if self._handle:
            self._lib.RARCloseArchive(self._handle)
        self._handle = self._ffi.NULL

    def headers(self) -> Iterator[Any]:
        """Yield each header; who has not poured its member passes it over."""
        while (result := self._read()) != _END or self._raised:
            named = bool(self.name(self._header))
            self._doubtful |= self._old and result == _BAD_DATA and named
            if self._doubtful and not named:
                return
            stale = result == _BAD_DATA and named and (self._failed or self._doubtful)
            self._check(_DONE if stale else result)
            yield self._header

    def _read(self) -> int:
        self._clean()
        self._header = header = self._ffi.new("struct RARHeaderDataEx *")
        for name in self._names:
            name[0] = "\0"
        header.FileNameEx, header.RedirName = self._names
        header.FileNameExSize = header.RedirNameSize = _NAME_ROOM
        result: int = self._lib.RARReadHeaderEx(self._handle, header)
        return result

    def _process(self, how: int) -> int:
        self._clean()
        result: int = self._lib.RARProcessFileW(self._handle, how, self._ffi.NULL, self._ffi.NULL)
        self._failed |= result != _DONE
        return result

    def _clean(self) -> None:
        """Make the library forget an error of the member before, which it would give for each one after it.

        It forgets when another archive is opened; here one that can't be.
        """
        if self._failed or self._doubtful:
            data = self._ffi.new("struct RAROpenArchiveDataEx *")
            data.ArcNameW = nowhere = self._ffi.new("wchar_t[]", "")
            self._lib.RAROpenArchiveEx(data)
            del nowhere

    def name(self, header: Any) -> str:
        """A member's name. RAR 3 may have it in UTF-16, of which the library joins no pairs."""
        text: str = self._ffi.string(header.FileNameEx) or self._ffi.string(header.FileNameW)
        if any("\ud800" <= char <= "\udbff" for char in text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text

    def source(self, header: Any) -> str:
        """The earlier member that a hard link or copy refers to."""
        text: str = self._ffi.string(header.RedirName)
        return text

    def skip(self) -> None:
        """Pass the member over."""
        result = self._process(_SKIP)
        self._check(_DONE if result == _BAD_DATA and self._doubtful else result)

    def pour(self, sink: Sink) -> None:
        """Give the sink the member's content."""
        check = 0

        def counting(piece: bytes) -> None:
            nonlocal check
            check = zlib.crc32(piece, check)
            sink(piece)

        self._sink = counting if self._doubtful else sink
        result = self._process(_TEST)
        self._sink = None
        if result == _BAD_DATA and self._doubtful and check == self._header.FileCRC:
            return
        if result in _WHY and not self._raised and not self._missing:
            raise OSError(_WHY[result])  # of this member alone
        self._check(result)

    def _check(self, result: int) -> None:
        """Raise what a callback raised, or what the library's code means."""
        if self._raised:
            raise self._raised[0]
        if result == _DONE:
            return
        if self._missing:
            raise RestError(f"{self._path} lacks a volume: no file {self._missing}; put it beside the others")
        if result == _BAD_PASSWORD:
            raise self._password.wrong()
        raise broken(self._path, _WHY.get(result, f"unrar's error {result}"))

    def _on_event(self, message: int, first: int, second: int) -> int:
        """What the library asks; C code calls this, so that nothing may be raised."""
        answers: dict[int, Callable[[int, int], int]] = {
            _PROCESS_DATA: self._take, _CHANGE_VOLUME: self._turn, _NEED_PASSWORD: self._open_up,
            _CHANGE_VOLUME_NARROW: lambda name, why: _GO_ON if why == _NOTIFY else _STOP,
        }  # fmt: skip
        try:
            return answers[message](first, second) if message in answers and not self._raised else _STOP
        except BaseException as error:  # noqa: BLE001 - raised again by _check
            self._raised.append(error)
            return _STOP

    def _take(self, address: int, size: int) -> int:
        if self._sink:
            self._sink(bytes(self._ffi.buffer(self._ffi.cast("char *", address), size)))
        return _GO_ON

    def _turn(self, address: int, why: int) -> int:
        volume = self._ffi.string(self._ffi.cast("wchar_t *", address))
        if why != _NOTIFY:
            self._missing = volume
            return _STOP
        self.volumes.append(Path(volume))
        return _GO_ON

    def _open_up(self, address: int, room: int) -> int:
        text = self._ffi.cast("wchar_t *", address)
        password = self._password.get()[: room - 1]
        for place, char in enumerate([*password, "\0"]):
            text[place] = char
        return _GO_ON
