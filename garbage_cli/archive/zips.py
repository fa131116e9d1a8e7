"""zip files: their members, as entries to pour out.

Knows zip, encrypted in either way. Does not know where the content goes.
"""

import stat
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, cast

from garbage_cli.archive.damage import MemberError, reading
from garbage_cli.archive.entry import Entries, Entry, Listing, Sink
from garbage_cli.archive.password import Password
from garbage_cli.errors import ArchiveError, MissingExtraError

_ENCRYPTED, _STRONG, _UTF8 = 0x01, 0x40, 0x800
_DOS_FOLDER = 0x10
_AES = 99
_READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, _AES}
if sys.version_info >= (3, 14):
    _READABLE |= {zipfile.ZIP_ZSTANDARD}
_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "xz", 97: "WavPack", 98: "PPMd"}
_SPLIT = b"PK\x07\x08"
"""How the first piece of a zip archive in pieces begins."""


def open_zip(file: IO[bytes], path: Path, size: int, password: Password) -> Listing | None:
    """Open a zip archive; None if it is nothing of the kind."""
    _check_whole(file, path)
    if not zipfile.is_zipfile(file):
        return None
    with reading(path):
        archive = zipfile.ZipFile(file)
        infos = archive.infolist()
        if any(info.flag_bits & _ENCRYPTED for info in infos):
            password.get()
            if any(info.compress_type == _AES for info in infos):
                archive = _aes(file)
                infos = archive.infolist()
    return Listing(_entries(archive, infos, password), size, [info.file_size for info in infos])


def _check_whole(file: IO[bytes], path: Path) -> None:
    """Refuse the pieces of a zip archive in pieces (.z01, .z02, …, .zip): Python can't join them."""
    file.seek(0)
    split = file.read(4) == _SPLIT
    file.seek(max(0, file.seek(0, 2) - (1 << 16) - 22))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    disk = int.from_bytes(tail[end + 4 : end + 6], "little") if end >= 0 else 0
    if split or 0 < disk < 0xFFFF:
        raise ArchiveError(
            f"{path} is a zip archive in pieces (.z01, .z02 …), which Python can't join; "
            "extract it with 7-Zip (7z x FILE.zip), and pack that as one archive"
        )


def _aes(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        import pyzipper
    except ImportError:
        raise MissingExtraError("reading zip archives encrypted by AES", package="pyzipper", extra="archives") from None
    return cast(zipfile.ZipFile, pyzipper.AESZipFile(file))


def _entries(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], password: Password) -> Entries:
    with archive:
        for info in infos:
            name = _name(info)
            folder = name.endswith(("/", "\\")) or bool(info.external_attr & _DOS_FOLDER)
            kind = stat.S_IFMT(info.external_attr >> 16)
            refused = "" if folder or kind in (0, stat.S_IFREG) else "is a link or device"
            encrypted = bool(info.flag_bits & _ENCRYPTED)
            opener = _decrypted if encrypted else _plain
            pour = partial(_pour, partial(opener, archive, info, password), _unreadable(info, name))
            yield Entry(name, pour, folder=folder, refused=refused, encrypted=encrypted)


def _name(info: zipfile.ZipInfo) -> str:
    """The name as it was meant: without the UTF-8 flag, Python reads bytes as code page 437; Windows wrote GBK."""
    if info.flag_bits & _UTF8:
        return info.filename
    raw = info.filename.encode("cp437", errors="replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _unreadable(info: zipfile.ZipInfo, name: str) -> MemberError | None:
    """The error of a member that is whole, but beyond Python's zipfile; Windows writes Deflate64 from 2 GB on."""
    if info.flag_bits & _STRONG:
        way = "encrypted in PKWARE's own way"
    elif info.compress_type not in _READABLE:
        way = f"compressed by {_METHODS.get(info.compress_type, 'an unusual method')} (method {info.compress_type})"
    else:
        return None
    remedy = "extract it with 7-Zip, and pack that as zip with Deflate, or as tar.gz"
    return MemberError(name, f"is {way}, which Python does not read", remedy=remedy)


def _pour(opener: Callable[[], IO[bytes]], unreadable: MemberError | None, sink: Sink) -> None:
    if unreadable:
        raise unreadable
    with opener() as source:
        while piece := source.read(1 << 20):
            sink(piece)


def _plain(archive: zipfile.ZipFile, info: zipfile.ZipInfo, password: Password) -> IO[bytes]:
    return archive.open(info)


def _decrypted(archive: zipfile.ZipFile, info: zipfile.ZipInfo, password: Password) -> IO[bytes]:
    """Open with the password in UTF-8, or as a Chinese Windows writes it."""
    given = password.get()
    for encoded in dict.fromkeys((given.encode(), given.encode("gb18030", errors="replace"))):
        try:
            return archive.open(info, pwd=encoded)
        except RuntimeError as error:  # zipfile has no class for it
            if "password" not in str(error):
                raise
    if password.proved:
        raise MemberError(info.filename, "has another password than those before it")
    raise password.wrong()
