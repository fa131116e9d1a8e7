"""RAR files, 1.5 to 5: their members, as entries to pour out.

Read by the unrar library, which comes in the wheel of unrar2-cffi, so that no system package is needed. Where there is
no such wheel, by rarfile: stored members by itself, compressed ones with a tool (unrar, unar, 7z, bsdtar) on the PATH.
Does not know where the content goes.
"""

import re
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from garbage_cli.archive import unrar
from garbage_cli.archive.damage import RestError, broken
from garbage_cli.archive.entry import Entries, Entry, Listing, Sink
from garbage_cli.archive.password import Password
from garbage_cli.errors import ArchiveError

_RAR_5 = b"Rar!\x1a\x07\x01\x00"
_UNKNOWN_SIZE = 1 << 62
"""From here on a size means that whoever packed did not know it."""


def open_rar(path: Path, password: Password) -> Listing:
    """Open a RAR archive, of which `path` is the only or the first volume."""
    scan = _scan(path)
    if unrar.library():
        return _open_by_library(path, password, scan)
    return _open_by_rarfile(path, scan)


@dataclass(frozen=True, slots=True)
class _Scan:
    """What rarfile makes of the headers."""

    archive: Any
    """A rarfile.RarFile; None if that can't read even the list: an old archive's compressed comment, damage."""
    ends: bool
    """No block for the end is missing, as far as one can tell."""
    needs_tool: bool


def _scan(path: Path) -> _Scan:
    import rarfile

    blocks: list[Any] = []
    archive, needs_tool = None, False
    try:
        archive = rarfile.RarFile(path, info_callback=blocks.append)
    except rarfile.NeedFirstVolume:
        raise _later_volume(path) from None
    except rarfile.RarCannotExec:
        needs_tool = True
    except Exception:  # noqa: BLE001 - the library says better what is wrong
        pass
    return _Scan(archive, archive is None or archive.needs_password() or _ends(path, blocks), needs_tool)


def _ends(path: Path, blocks: list[Any]) -> bool:
    """Say whether the last block is the one for the end; the library takes a cut between two members for it.

    RAR writes that block since version 3 (29 in the members' headers).
    """
    import rarfile

    with path.open("rb") as file:
        modern = file.read(8) == _RAR_5
    modern = modern or any(getattr(block, "extract_version", 0) >= 29 for block in blocks)
    return not modern or (bool(blocks) and blocks[-1].type == rarfile.RAR_BLOCK_ENDARC)


def _later_volume(path: Path) -> ArchiveError:
    first = re.sub(r"(?i)\.part(\d+)\.rar$", lambda match: f".part{1:0{len(match[1])}}.rar", path.name)
    first = re.sub(r"(?i)\.[r-z]\d\d$", ".rar", first)
    named = f": {path.with_name(first)}" if first != path.name else ""
    return ArchiveError(f"{path} is not the first volume of its archive; give the first volume{named}")


def _open_by_library(path: Path, password: Password, scan: _Scan) -> Listing:
    sizes, volumes, broken_off = _list(path, password, old=scan.needs_tool)
    size = sum(volume.stat().st_size for volume in volumes)
    return Listing(_by_library(path, password, scan), size, sizes, broken=broken_off)


def _list(path: Path, password: Password, *, old: bool) -> tuple[list[int], list[Path], RestError | None]:
    """Go through the headers alone, and ask for the password if one will be needed."""
    sizes: list[int] = []
    way = unrar.Pass(path, password, listing=True, old=old)
    try:
        marks = way.flags & (unrar.VOLUME | unrar.NEW_NUMBERING | unrar.FIRST_VOLUME)
        if marks == unrar.VOLUME | unrar.NEW_NUMBERING:  # older ones are found by their first header, below
            raise _later_volume(path)
        for header in way.headers():
            if not header.Flags & unrar.SPLIT_BEFORE:
                sizes.append(_size(header))
            elif not sizes:
                raise _later_volume(path)
            if header.Flags & unrar.ENCRYPTED:
                password.get()
            way.skip()
    except RestError as error:
        if way.flags & unrar.HEADERS_ENCRYPTED and not sizes:
            raise password.doubtful() from None
        return sizes, way.volumes, error
    finally:
        way.close()
    password.proved = bool(way.flags & unrar.HEADERS_ENCRYPTED)
    return sizes, way.volumes, None


def _size(header: Any) -> int:
    size: int = header.UnpSize + (header.UnpSizeHigh << 32)
    return size if size < _UNKNOWN_SIZE else 0


def _by_library(path: Path, password: Password, scan: _Scan) -> Entries:
    """One pass over the archive, which a solid one needs: each member builds on those before it."""
    way = unrar.Pass(path, password, old=scan.needs_tool)
    try:
        for header in way.headers():
            poured = _Once(way)
            yield _entry(way, header, poured)
            poured.finish()
        if not scan.ends:
            raise broken(path, "it breaks off between two members")
    finally:
        way.close()


class _Once:
    """A member that is poured, or passed over if nobody wanted it."""

    def __init__(self, way: unrar.Pass) -> None:
        self._way, self._poured = way, False

    def pour(self, sink: Sink) -> None:
        self._poured = True
        self._way.pour(sink)

    def finish(self) -> None:
        if not self._poured:
            self._way.skip()


def _entry(way: unrar.Pass, header: Any, poured: _Once) -> Entry:
    redirection = header.RedirType
    copied = redirection in (unrar.HARD_LINK, unrar.FILE_COPY)
    link = header.HostOS == unrar.UNIX and stat.S_ISLNK(header.FileAttr)
    return Entry(
        way.name(header).replace("\\", "/"),
        poured.pour,
        folder=bool(header.Flags & unrar.FOLDER),
        refused="is a link" if link or (redirection and not copied) else "",
        encrypted=bool(header.Flags & unrar.ENCRYPTED),
        copy_of=way.source(header).replace("\\", "/") if copied else None,
    )


def _open_by_rarfile(path: Path, scan: _Scan) -> Listing:
    if scan.archive is None and not scan.needs_tool:
        raise ArchiveError(f"{path} is a damaged rar archive, or lacks a volume; download it again")
    if scan.archive is None or scan.archive.needs_password():
        raise _needs_tool(path)
    infos = scan.archive.infolist()
    size = sum(Path(volume).stat().st_size for volume in scan.archive.volumelist())
    return Listing(_by_rarfile(path, scan, infos), size, [info.file_size for info in infos])


def _needs_tool(path: Path) -> ArchiveError:
    return ArchiveError(
        f"{path} is encrypted, or compressed in a way that needs the unrar library; "
        "install it with: pip install unrar2-cffi (or put unrar, unar, 7z or bsdtar on the PATH)"
    )


def _by_rarfile(path: Path, scan: _Scan, infos: list[Any]) -> Entries:
    with scan.archive as archive:
        for info in infos:
            redirection: tuple[int, int, str] = getattr(info, "file_redir", None) or (0, 0, "")
            copied = redirection[0] in (unrar.HARD_LINK, unrar.FILE_COPY)
            yield Entry(
                info.filename,
                partial(_pour, archive, info, path),
                folder=info.is_dir(),
                refused="is a link" if info.is_symlink() or (redirection[0] and not copied) else "",
                copy_of=redirection[2] if copied else None,
            )
        if not scan.ends:
            raise broken(path, "it breaks off between two members")


def _pour(archive: Any, info: Any, path: Path, sink: Sink) -> None:
    import rarfile

    try:
        source = archive.open(info)
    except rarfile.RarCannotExec:
        raise _needs_tool(path) from None
    except FileNotFoundError as error:
        raise RestError(f"{path} lacks a volume: no file {error.filename}; put it beside the others") from None
    with source:
        while piece := source.read(1 << 20):
            sink(piece)
