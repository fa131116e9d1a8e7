"""zip and tar files: their members, as entries to pour out."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from garbage_cli.archive.entry import Entry, Sink
from garbage_cli.errors import ArchiveError


def zip_entries(path: Path) -> Iterator[Entry]:
    """Yield the files of a zip archive."""
    with _zip(path) as archive:
        for info in archive.infolist():
            name = _zip_name(info)
            if info.is_dir():
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise ArchiveError(f"{path}: member {name!r} is a link or device; nothing was extracted")
            if info.flag_bits & 1:
                raise ArchiveError(f"{path}: member {name!r} is encrypted; extract it with its password first")
            yield Entry(name, _pourer(partial(archive.open, info)))


def zip_total(path: Path) -> int:
    """Return the bytes that a zip archive says it unfolds into."""
    with _zip(path) as archive:
        return sum(info.file_size for info in archive.infolist())


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ArchiveError(f"{path} is a damaged zip archive: {error}; download it again") from None


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name as it was meant: without the UTF-8 flag, Python reads bytes as code page 437; Windows wrote GBK."""
    if info.flag_bits & 0x800:
        return info.filename
    raw = info.filename.encode("cp437", errors="replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


class _TarInfo(tarfile.TarInfo):
    """Refuses the records that carry long names once they are larger than any name: tarfile reads them whole."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _NAME_RECORDS and self.size > 1 << 20:
            raise ArchiveError(f"{tarfile_.name!s}: a record of {self.size:,} bytes for a name; nothing was extracted")
        return super()._proc_member(tarfile_)  # type: ignore[misc, no-any-return]


_NAME_RECORDS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def is_tar(path: Path) -> bool:
    """Say whether a file is a tar archive, plain or compressed in a way this Python reads."""
    try:
        with tarfile.open(path, tarinfo=_TarInfo):
            return True
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError):
        return False


def tar_entries(path: Path) -> Iterator[Entry]:
    """Yield the files of a tar archive; their progress is the position in the archive file."""
    with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*", tarinfo=_TarInfo) as archive:
        while member := archive.next():
            if member.isdir():
                continue
            name = _tar_name(member)
            if not member.isreg():
                raise ArchiveError(f"{path}: member {name!r} is a link or device; nothing was extracted")
            yield Entry(name, _pourer(partial(_content, archive, member)), done=raw.tell)
        _check_end(archive, path)


def _tar_name(member: tarfile.TarInfo) -> str:
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
        raise ArchiveError(f"{path} is damaged or incomplete: it breaks off between two members; download it again")
    while content.read(1 << 20):  # to the end, where compressed streams keep their check sum
        pass


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    assert content is not None  # a regular file has one
    return content


def _pourer(opener: Callable[[], IO[bytes]]) -> Callable[[Sink], None]:
    def pour(sink: Sink) -> None:
        with opener() as source:
            while piece := source.read(1 << 20):
                sink(piece)

    return pour
