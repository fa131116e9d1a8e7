"""What a person names → photos, one after another: files, folders, patterns, stdin, lists of paths.

Knows the file system and stdin. Does not know what is in a photo: one that is not there is told by who reads it.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from io import TextIOWrapper
from itertools import chain, takewhile
from pathlib import Path, PurePath
from typing import BinaryIO

from garbage_cli.errors import ImageError
from garbage_cli.images import DEFAULT_LIMITS, SUFFIXES, find_names
from garbage_cli.prediction import Photo

STDIN = "-"
"""The name under which stdin is asked for, and that its photo has."""

_LONGEST = 32_768
"""Bytes of a line in a list of paths: what a path may have on any system."""
_PATIENCE = 2.0
"""Seconds that counting may take: it is for a bar only."""

Filter = Callable[[Iterator[Photo]], Iterator[Photo]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What was named on the command line, in its order, then what is in the list."""

    names: tuple[str, ...] = ()
    """Files, folders, patterns with `* ? [ ]` or `**`, and `-` for a photo on stdin."""
    listed: str | None = None
    """A file of paths, one a line; `-` is stdin."""
    apart: Path | None = None
    """A folder that is passed over when folders are looked through: that of the pictures we make."""
    max_bytes: int = DEFAULT_LIMITS.max_bytes
    """Of a photo on stdin."""

    def photos(self) -> Iterator[Photo]:
        """Find the photos, lazily and sorted within each folder.

        Raises ImageError at once if there is none at all, or for a pattern or list that can't be what was meant.
        """
        self._check()
        found = self._found()
        if (first := next(found, None)) is None:
            raise ImageError(f"no photo in {self._places()} (looked for .jpg, .png, .webp and the like)")
        return chain((first,), found)

    def count(self, through: Filter = iter) -> int | None:
        """Say how many photos there are, of those that come `through`; None where it takes long or can't be known."""
        if self.listed is not None and (self.listed == STDIN or not Path(self.listed).is_file()):
            return None
        number, until = 0, time.monotonic() + _PATIENCE
        for _ in through(self._found(read=False)):
            number += 1
            if number % 1000 == 0 and time.monotonic() > until:
                return None
        return number

    def _found(self, *, read: bool = True) -> Iterator[Photo]:
        for name in self.names:
            if name == STDIN:
                yield Photo(STDIN, _from_stdin(self.max_bytes) if read else b"")
            elif is_pattern(name):
                yield from map(_photo, self._outside(_matching(name), _fixed(name)))
            elif Path(name).is_dir():
                yield from map(_photo, self._outside(find_names(Path(name)), Path(name)))
            else:
                yield _photo(str(Path(name)))
        if self.listed is not None:
            yield from map(_photo, read_list(self.listed))

    def _check(self) -> None:
        """Raise ImageError for what can be seen to be wrong before any work."""
        if [*self.names, self.listed].count(STDIN) > 1:
            raise ImageError("stdin can be read once only; name - once, as a photo or as a list")
        for name in self.names:
            if name != STDIN:
                self._check_name(name)
        if self.listed is not None and self.listed != STDIN:
            Path(self.listed).stat()
            if Path(self.listed).is_dir():
                raise ImageError(f"{self.listed} is a folder, not a list of paths; name it without --list")

    def _check_name(self, name: str) -> None:
        pattern = is_pattern(name)
        if pattern and next(_matching(name), None) is None:
            raise ImageError(f"no photo matches {name}")
        start = _fixed(name) if pattern else Path(name)
        if start.is_dir() and self._within(start) == Path():
            raise ImageError(f"photos are looked for in {start} itself; name another folder for the pictures")

    def _places(self) -> str:
        names = [*self.names, *(() if self.listed is None else ("the list " + _where(self.listed),))]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "nothing"

    def _outside(self, names: Iterable[str], start: Path) -> Iterator[str]:
        """The names below a folder without those in the folder that is kept apart."""
        within = self._within(start)
        passed = None if within is None else str(start / within) + os.sep
        return iter(names) if passed is None else (name for name in names if not name.startswith(passed))

    def _within(self, start: Path) -> Path | None:
        """Where the folder that is kept apart lies below this one, if it does."""
        if self.apart is None:
            return None
        pairs = ((self.apart.absolute(), start.absolute()), (self.apart.resolve(), start.resolve()))
        return next((apart.relative_to(above) for apart, above in pairs if apart.is_relative_to(above)), None)


def _photo(name: str) -> Photo:
    return Photo(name, Path(name))


# ---- patterns


def is_pattern(name: str) -> bool:
    """Say whether a name is a pattern: it holds one of `* ? [`, and nothing is there under this very name."""
    return _is_magic(name) and not os.path.lexists(name)


def _is_magic(part: str) -> bool:
    return any(letter in part for letter in "*?[")


def _fixed(pattern: str) -> Path:
    """The folder that a pattern begins in."""
    return Path(*takewhile(lambda part: not _is_magic(part), PurePath(pattern).parts))


def _matching(pattern: str) -> Iterator[str]:
    """Yield the photos that match, sorted within each folder, each once; of a folder that matches, those below it.

    A file needs the suffix of a photo unless the pattern spells a suffix out. Links to folders are followed only where
    they match themselves; hidden names only where the pattern has the dot.
    """
    base = _fixed(pattern)
    wanted = PurePath(pattern).parts[len(base.parts) :]
    suffix = PurePath(wanted[-1]).suffix
    any_suffix = bool(suffix) and not _is_magic(suffix)
    for where, folders, files in os.walk(base):
        above = Path(where).parts[len(base.parts) :]
        for name in sorted(files):
            if (any_suffix or PurePath(name).suffix.lower() in SUFFIXES) and _fits((*above, name), wanted):
                yield str(Path(where, name))
        whole = sorted(name for name in folders if _fits((*above, name), wanted))
        for name in whole:
            yield from find_names(Path(where, name))
        folders[:] = sorted(name for name in set(folders) - set(whole) if _leads((*above, name), wanted))


def _fits(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether a path is one that the pattern describes; `**` is any row of folders, at the end with what is in them."""
    if not wanted:
        return not parts
    if wanted[0] == "**":
        here = _fits(parts, wanted[1:] or ("*",))
        return here or (bool(parts) and _is(parts[0], "*") and _fits(parts[1:], wanted))
    return bool(parts) and _is(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def _leads(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether something below this folder may fit."""
    if not parts or not wanted:
        return bool(wanted)
    if wanted[0] == "**":
        return _leads(parts, wanted[1:]) or (_is(parts[0], "*") and _leads(parts[1:], wanted))
    return _is(parts[0], wanted[0]) and _leads(parts[1:], wanted[1:])


def _is(name: str, pattern: str) -> bool:
    return (not name.startswith(".") or pattern.startswith(".")) and fnmatch(name, pattern)


# ---- stdin and lists


def _from_stdin(max_bytes: int) -> bytes:
    """All of stdin, or one byte more than is allowed: who decodes it then says that it is too large."""
    with _stdin("a photo") as stream:
        return stream.read(max_bytes + 1)


@contextmanager
def _stdin(what: str) -> Iterator[BinaryIO]:
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError(f"- reads {what} from stdin; pipe one into it")
    yield sys.stdin.buffer


def read_list(where: str) -> Iterator[str]:
    """Yield the paths of a list, one a line: UTF-8, GBK, or UTF-16 with its mark. Raises ImageError for what is none.

    Names are taken as they are, spaces at their ends only where the file has them. Blank lines are passed over.
    """
    with _stdin("a list") if where == STDIN else Path(where).open("rb") as file:
        head = file.peek(2)[:2] if hasattr(file, "peek") else b""
        yield from _wide(file, where) if head in (b"\xff\xfe", b"\xfe\xff") else _narrow(file, where)


def _narrow(file: BinaryIO, where: str) -> Iterator[str]:
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST or b"\0" in line:
            raise ImageError(f"{_where(where)}, line {number}, is no path; a list has one a line, and no photos in it")
        line = line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
        if line.strip():
            yield _spelled(line)


def _wide(file: BinaryIO, where: str) -> Iterator[str]:
    """UTF-16, as PowerShell writes it."""
    text = TextIOWrapper(file, encoding="utf-16")
    try:
        for line in text:
            if line.strip() and "\0" not in line:
                yield _there([line.rstrip("\n")])
    except UnicodeDecodeError:
        raise ImageError(f"{_where(where)} is no text; a list has one path a line") from None
    finally:
        text.detach()


def _spelled(line: bytes) -> str:
    """The path that a line means. Where it is no ASCII, UTF-8 is tried, the bytes themselves, and GBK (GB 18030)."""
    if line.isascii():
        return _there([line.decode()])
    names = []
    for encoding, errors in (("utf-8", "strict"), ("gb18030", "strict"), ("utf-8", "surrogateescape")):
        try:
            names.append(line.decode(encoding, errors))
        except UnicodeDecodeError:
            continue
    return _there(names)


def _there(names: list[str]) -> str:
    """The first of these spellings under which something is there, else the first; as Path writes it."""
    if len(names) > 1 or names[0] != names[0].strip():
        names = [*names, *(name.strip() for name in names)]
        return str(Path(next((name for name in names if os.path.lexists(name)), names[0].strip())))
    return str(Path(names[0]))


def _where(listed: str) -> str:
    return "stdin" if listed == STDIN else listed
