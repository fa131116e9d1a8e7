"""Which format a file has, whatever its name says.

Knows the formats' first bytes. Does not know their insides.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from garbage_cli.archive import rar, sevenzip, tars, volumes, zips
from garbage_cli.archive.damage import RestError, reading
from garbage_cli.archive.entry import Listing
from garbage_cli.archive.password import Password
from garbage_cli.errors import ArchiveError

_RAR = b"Rar!\x1a\x07"
_PROGRAMS = (b"MZ", b"\x7fELF")
"""How a program begins; an archive may be appended to one that extracts it."""


@contextmanager
def opened(path: Path, password: Password) -> Iterator[Listing]:
    """Give an archive's list of members; raise ArchiveError if it is none, or damaged before the first member."""
    paths = volumes.pieces(path)
    with volumes.open_pieces(paths) as file:
        size = sum(piece.stat().st_size for piece in paths)
        try:
            with reading(path):
                listing = _open(file, path, size, password)
        except RestError as error:
            raise ArchiveError(str(error)) from None
        with closing(listing.entries):
            yield listing


def _open(file: IO[bytes], path: Path, size: int, password: Password) -> Listing:
    head = file.read(16)
    if head.startswith(_RAR) or (head.startswith(_PROGRAMS) and _holds_rar(path)):
        return rar.open_rar(path, password)
    if head.startswith(sevenzip.MAGIC):
        return sevenzip.open_7z(file, path, size, password)
    listing = zips.open_zip(file, path, size, password) or tars.open_tar(file, path, size)
    if listing is None:
        raise ArchiveError(f"{path} is no rar, zip, tar or 7z archive{_looks_like(head, path)}")
    return listing


def _holds_rar(path: Path) -> bool:
    import rarfile

    return bool(rarfile.is_rarfile_sfx(path))


def _looks_like(head: bytes, path: Path) -> str:
    if first := volumes.first_piece(path):
        return f": it is a later piece of one; give the first: {first}"
    if not head:
        return " (it is empty); download it again"
    if head.lstrip().lower().startswith((b"<!", b"<htm")):
        return " (it is a web page, perhaps of a login); download it again"
    if head.startswith(b"PK\x03\x04"):
        return " (it begins like a zip archive: damaged or incomplete); download it again"
    return f" (it begins with {head[:8].hex(' ')}); download it again"
