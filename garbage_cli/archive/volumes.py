"""Archives that were cut into pieces name.001, name.002 …, as 7-Zip and `split` do it, read as one file.

Knows the pieces' names. Does not know what is in them. RAR's volumes are another thing: they have headers.
"""

import io
import re
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import IO, cast

from garbage_cli.errors import ArchiveError

_PIECE = re.compile(r"(.+\.)(\d{3,})")


def pieces(path: Path) -> list[Path]:
    """Return the pieces of an archive, of which `path` is the first; raise ArchiveError if one is missing."""
    match = _PIECE.fullmatch(path.name)
    if not match or int(match[2]) != 1:
        return [path]
    width = len(match[2])
    found = {number: file for file in path.parent.iterdir() if (number := _number(file, match[1], width))}
    missing = next((number for number in range(1, max(found)) if number not in found), None)
    if missing:
        raise ArchiveError(f"{path} lacks a volume: no file {match[1]}{missing:0{width}}; put it beside the others")
    return [found[number] for number in sorted(found)]


def first_piece(path: Path) -> Path | None:
    """Return the piece to start from, if `path` is a later one and that is there."""
    match = _PIECE.fullmatch(path.name)
    first = path.with_name(f"{match[1]}{1:0{len(match[2])}}") if match else path
    return first if first != path and first.is_file() else None


def _number(file: Path, stem: str, width: int) -> int | None:
    match = _PIECE.fullmatch(file.name)
    return int(match[2]) if match and match[1] == stem and len(match[2]) == width else None


def open_pieces(paths: list[Path]) -> IO[bytes]:
    """Open files as one, for reading."""
    if len(paths) == 1:
        return paths[0].open("rb")
    return cast(IO[bytes], io.BufferedReader(_Joined(paths), buffer_size=1 << 16))


class _Joined(io.RawIOBase):
    """Files end to end."""

    def __init__(self, paths: list[Path]) -> None:
        self._files = [path.open("rb", buffering=0) for path in paths]
        self._starts = [0, *accumulate(path.stat().st_size for path in paths)]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + [0, self._position, self._starts[-1]][whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # the base class says Buffer, from 3.12
        which = bisect_right(self._starts, self._position) - 1
        if which >= len(self._files):
            return 0
        file = self._files[which]
        file.seek(self._position - self._starts[which])
        count = file.readinto(buffer) or 0
        self._position += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
