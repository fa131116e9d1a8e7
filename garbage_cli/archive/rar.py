"""RAR files: listed by rarfile; stored members read by it too, compressed ones by the unrar library.

The library comes in the wheel of unrar2-cffi, so that no system package is needed. Where there is no such wheel,
rarfile looks for a tool (unrar, unar, 7z, bsdtar) on the PATH.
"""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rarfile

from garbage_cli.archive.entry import Entry, Sink
from garbage_cli.errors import ArchiveError

_HARD_LINK, _FILE_COPY = 4, 5
_CHANGE_VOLUME, _PROCESS_DATA, _CHANGE_VOLUME_WIDE = 0, 1, 3
_GO_ON, _STOP = 1, -1
_SPLIT_BEFORE, _ENCRYPTED, _UNIX = 0x01, 0x04, 3


def rar_total(path: Path) -> int:
    """Return the bytes that a RAR archive says it unfolds into."""
    archive = _open(path)
    if archive is None:
        return _library_total(_library(), path)
    with archive:
        return sum(info.file_size for info in archive.infolist())


def rar_entries(path: Path) -> Iterator[Entry]:
    """Yield the files of a RAR archive, of several volumes too if this is the first."""
    archive = _open(path)
    if archive is None:
        yield from _library_alone(_library(), path)
        return
    with archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        for info in infos:
            _check(info, path)
        compressed = any(info.compress_type != rarfile.RAR_M0 for info in infos)
        library = _library() if compressed else None
        yield from _by_library(library, path, infos) if library else _by_rarfile(archive, infos)


def _open(path: Path) -> rarfile.RarFile | None:
    """Open with rarfile; None if it can't read even the list (an old archive's compressed comment) but unrar can."""
    try:
        archive = rarfile.RarFile(path)
    except rarfile.RarCannotExec:
        if _library():
            return None
        raise _needs_tool(path) from None
    except (rarfile.Error, OSError) as error:
        raise ArchiveError(f"{path} is a damaged rar archive, or lacks a volume: {error}; download it again") from None
    if archive.needs_password():
        raise _encrypted(path)
    return archive


def _encrypted(path: Path) -> ArchiveError:
    return ArchiveError(f"{path} is encrypted; extract it with its password first")


def _check(info: rarfile.RarInfo, path: Path) -> None:
    redirection = getattr(info, "file_redir", None)
    if info.is_symlink() or (redirection and redirection[0] not in (_HARD_LINK, _FILE_COPY)):
        raise ArchiveError(f"{path}: member {info.filename!r} is a link or device; nothing was extracted")


def _needs_tool(path: Path) -> ArchiveError:
    return ArchiveError(
        f"{path} is compressed in a way that needs the unrar library; "
        "install it with: pip install unrar2-cffi (or put unrar, unar, 7z or bsdtar on the PATH)"
    )


def _by_rarfile(archive: rarfile.RarFile, infos: list[rarfile.RarInfo]) -> Iterator[Entry]:
    for info in infos:
        yield Entry(info.filename, _rarfile_pourer(archive, info), copy_of=_copied(info))


def _rarfile_pourer(archive: rarfile.RarFile, info: rarfile.RarInfo) -> Callable[[Sink], None]:
    def pour(sink: Sink) -> None:
        for piece in _pieces(archive, info):
            sink(piece)

    return pour


def _pieces(archive: rarfile.RarFile, info: rarfile.RarInfo) -> Iterator[bytes]:
    """The content of a member; what goes wrong in reading it (not in writing it) becomes ArchiveError."""
    try:
        with archive.open(info) as source:
            while piece := source.read(1 << 20):
                yield piece
    except rarfile.RarCannotExec:
        raise _needs_tool(Path(archive.filename)) from None
    except FileNotFoundError as error:
        raise ArchiveError(f"{archive.filename} lacks a volume: no file {error.filename}") from None


def _copied(info: rarfile.RarInfo) -> str | None:
    redirection = getattr(info, "file_redir", None)
    return redirection[2] if redirection else None


def _library() -> Any:
    """The unrar library, if its wheel is installed."""
    try:
        from unrar.cffi import unrarlib
    except ImportError:
        return None
    return unrarlib


def _by_library(library: Any, path: Path, infos: list[rarfile.RarInfo]) -> Iterator[Entry]:
    """One pass over the archive, which a solid one needs: each member builds on those before it."""
    listed = {info.filename: info for info in infos}
    with library.RarArchive.open_for_processing(path) as archive:
        for header in archive.iterate_headers():
            info = listed.pop(header.FileNameW.replace("\\", "/"), None)
            if info is None or (source := _copied(info)):
                if info is not None:
                    yield Entry(info.filename, lambda sink: None, copy_of=source)
                header.skip()
            else:
                yield Entry(info.filename, _library_pourer(library, header))
    if listed:
        raise ArchiveError(f"{path} is damaged or incomplete: {min(listed)!r} can't be reached; download it again")


def _library_total(library: Any, path: Path) -> int:
    with library.RarArchive.open_for_metadata(path) as archive:
        total = 0
        for header in archive.iterate_headers():
            if not header.Flags & _SPLIT_BEFORE:
                total += header.UnpSize + (header.UnpSizeHigh << 32)
            header.skip()
        return total


def _library_alone(library: Any, path: Path) -> Iterator[Entry]:
    """RAR 1.5 to 3, which know no references; links show in the Unix mode."""
    with library.RarArchive.open_for_processing(path) as archive:
        for header in archive.iterate_headers():
            if header.Flags & _ENCRYPTED:
                raise _encrypted(path)
            if header.HostOS == _UNIX and stat.S_ISLNK(header.headerDataEx.FileAttr):
                raise ArchiveError(f"{path}: member {header.FileNameW!r} is a link; nothing was extracted")
            if header.Flags & library.FLAGS_RHDF_DIRECTORY:
                header.skip()
            else:
                yield Entry(header.FileNameW.replace("\\", "/"), _library_pourer(library, header))


def _library_pourer(library: Any, header: Any) -> Callable[[Sink], None]:
    from unrar.cffi._unrarlib import ffi

    def pour(sink: Sink) -> None:
        raised: list[BaseException] = []

        def on_event(message: int, first: Any, second: Any) -> int:
            if message != _PROCESS_DATA:  # a missing volume or password: never wait for anyone
                return _GO_ON if message in (_CHANGE_VOLUME, _CHANGE_VOLUME_WIDE) and second == 1 else _STOP
            try:
                sink(bytes(ffi.buffer(ffi.cast("char *", first), second)))
            except BaseException as error:  # noqa: BLE001 - C code calls this; it is raised again below
                raised.append(error)
                return _STOP
            return _GO_ON

        handle = ffi.new_handle(on_event)
        library.RARSetCallbackPtr(header.handle, library.PyUNRARCALLBACKStub, handle)
        result = library.RARProcessFileW(header.handle, library.C_RAR_TEST, ffi.NULL, ffi.NULL)
        library.RARSetCallbackPtr(header.handle, ffi.NULL, ffi.NULL)
        if raised:
            raise raised[0]
        if result != library.FLAGS_SUCCESS:
            raise rarfile.BadRarFile(f"unrar error {result}")

    return pour
