"""tar files, plain or compressed: their members, as entries to pour out.

Knows tar, and the streams around it. Does not know where the content goes.
"""

import bz2
import gzip
import lzma
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, cast

from garbage_cli.archive.damage import RestError, broken, plain
from garbage_cli.archive.entry import Entries, Entry, Listing, Sink, Stream
from garbage_cli.errors import ArchiveError, MissingExtraError

_STREAMS: dict[bytes, tuple[str, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": ("gzip", lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw))),
    b"BZh": ("bzip2", lambda raw: cast(IO[bytes], bz2.BZ2File(raw))),
    b"\xfd7zXZ\x00": ("xz", lambda raw: cast(IO[bytes], lzma.LZMAFile(raw))),  # noqa: SIM115
    b"\x28\xb5\x2f\xfd": ("zstd", lambda raw: _zstd(raw)),
}


def open_tar(raw: IO[bytes], path: Path, size: int) -> Listing | None:
    """Open a tar archive; None if it is nothing of the kind."""
    raw.seek(0)
    head = raw.read(8)
    raw.seek(0)
    kind, opener = next((stream for magic, stream in _STREAMS.items() if head.startswith(magic)), ("", None))
    stream = Stream(opener(raw) if opener else raw)
    content = cast(IO[bytes], stream)
    try:
        archive = tarfile.open(fileobj=content, mode="r:", tarinfo=_TarInfo)  # noqa: SIM115 - closed with the entries
    except tarfile.ReadError:
        if not opener:
            return None
        _read_some(content)  # damage is the likelier reason, and is found by reading
        raise ArchiveError(
            f"{path} is one file compressed by {kind}, with no tar archive in it; decompress it by itself"
        ) from None
    return Listing(_entries(archive, raw, path), size, None, stream)


def _read_some(content: IO[bytes]) -> None:
    content.seek(0)
    for _ in range(16):
        content.read(1 << 20)


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile
    else:
        try:
            from backports.zstd import ZstdFile
        except ImportError:
            raise MissingExtraError("reading tar.zst archives", package="backports.zstd", extra="archives") from None
    return cast(IO[bytes], ZstdFile(raw))


class _TarInfo(tarfile.TarInfo):
    """Refuses the records that carry long names once they are larger than any name: tarfile reads them whole."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _NAME_RECORDS and self.size > 1 << 20:
            raise RestError(f"{tarfile_.name!s}: a record of {self.size:,} bytes for a name; nothing was extracted")
        return super()._proc_member(tarfile_)  # type: ignore[misc, no-any-return]


_NAME_RECORDS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def _entries(archive: tarfile.TarFile, raw: IO[bytes], path: Path) -> Entries:
    """Yield the members; their progress is the position in the archive file."""
    with archive:
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined] # it keeps all that it has seen
            refused = "" if member.isreg() or member.isdir() else "is a link or device"
            pour = partial(_pour, archive, member)
            yield Entry(_name(member), pour, folder=member.isdir(), refused=refused, done=raw.tell)
        _check_end(archive, path)


def _pour(archive: tarfile.TarFile, member: tarfile.TarInfo, sink: Sink) -> None:
    content = archive.extractfile(member)
    assert content is not None  # a regular file has one
    with content:
        try:
            while piece := content.read(1 << 20):
                sink(piece)
        except tarfile.ReadError as error:  # "unexpected end of data"
            raise EOFError(plain(error)) from None


def _name(member: tarfile.TarInfo) -> str:
    """The name as it was meant: bytes that are no UTF-8 were written by Windows, in GBK."""
    try:
        member.name.encode()
    except UnicodeEncodeError:
        return member.name.encode(errors="surrogateescape").decode("gb18030", errors="replace")
    return member.name


def _check_end(archive: tarfile.TarFile, path: Path) -> None:
    """A whole archive ends in zeros; tarfile takes a damaged header, or a cut between members, for the end."""
    content = archive.fileobj
    assert content is not None
    content.seek(archive.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise broken(path, "it breaks off between two members")
    while content.read(1 << 20):  # to the end, where compressed streams keep their check sum
        pass
