"""Predictions → a CSV file that spreadsheets read, one row a photo, and going on with one that was broken off.

Knows the file's columns and how cells are written. Does not know where predictions come from, or the terminal.

A cell that a spreadsheet would take for a formula, or that holds what is no text, is escaped: it begins with an
apostrophe, and after that a backslash stands as `\\\\` and a character that can't be shown as `\\u000a`. Every row is
therefore one line, and every name can be had back.
"""

import csv
import os
import re
import stat
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from garbage_cli.errors import ConfigError
from garbage_cli.labels import BIDI
from garbage_cli.prediction import Photo, Prediction

COLUMNS = ("image", "bin", "kind", "score", "sure", "error")
STDOUT = "-"

_MARK = "\ufeff"
"""By which spreadsheets know UTF-8."""
_HEADER = ",".join(COLUMNS)
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
"""What a formula begins with, in full width too; and the apostrophe, so that it is never one of a name's own."""
_ESCAPE = re.compile(r"\\(\\|u[0-9a-f]{4})")


@dataclass(frozen=True)
class Sheet:
    """A CSV file that answers go into: a new one, or one that is gone on with. Opened when the first is asked for."""

    path: Path | None
    """None is stdout."""
    done: Counter[str] = field(default_factory=Counter)
    """The photos that have a row already, and how many each has."""
    end: int = 0
    """Where the last whole row ends, in bytes."""
    size: int | None = None
    """Bytes of the file when it was read; None if there was none."""

    @classmethod
    def open(cls, where: str, *, resume: bool = False) -> "Sheet":
        """Look at what is there, and change nothing: with `resume` its rows are read, else there may be none.

        Raises ConfigError if the file holds rows and is not to be gone on with, or is none of ours.
        """
        if where == STDOUT:
            return cls(None)
        path = Path(where)
        if not path.exists() or _is_stream(path):
            return cls(path)
        sheet = _read(path)
        if sheet.done and not resume:
            raise ConfigError(f"{path} has answers in it; go on with --resume, name another file, or delete it")
        return sheet

    @property
    def rows(self) -> int:
        """How many rows there were when the file was opened."""
        return self.done.total()

    def left(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """Yield the photos that have no row yet; one that is named twice has two."""
        done = self.done.copy()
        for photo in photos:
            if done[photo.name] > 0:
                done[photo.name] -= 1
            else:
                yield photo

    def keep(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Write each prediction's row and yield it. A row that was yielded is in the file, whatever happens then."""
        with self._opened() as file:
            for prediction in predictions:
                file.write(row(prediction).encode())
                file.flush()
                yield prediction

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self.path is None:
            sys.stdout.buffer.write(f"{_HEADER}\n".encode())
            yield sys.stdout.buffer
            return
        try:
            with self.path.open("r+b" if self.size is not None else "wb" if _is_stream(self.path) else "xb") as file:
                self._begin(file)
                yield file
        except OSError as error:
            if error.filename is None and error.errno is not None:
                error.filename = str(self.path)  # a full disk names none
            raise

    def _begin(self, file: BinaryIO) -> None:
        """Have the file for oneself, cut what is half-written, and go to the end."""
        if self.path is not None and not _is_stream(self.path):
            _lock(file, self.path)
        if self.size is not None:
            if os.fstat(file.fileno()).st_size != self.size:
                raise ConfigError(f"{self.path} has changed since it was read; is another process writing it?")
            file.truncate(self.end)
            file.seek(self.end)
        if not self.end:
            file.write(f"{_MARK}{_HEADER}\n".encode())
            file.flush()


def row(prediction: Prediction) -> str:
    """Return the line of one prediction. Nine digits hold any score of 32 bits; an unsure answer has no bin."""
    best = prediction.best
    sure = prediction.sure and prediction.error is None
    cells = (
        prediction.image,
        prediction.bin_name or "",
        best.label.name if best else "",
        f"{best.score:.9g}" if best else "",
        "true" if sure else "false",
        prediction.error or "",
    )
    return ",".join(_quoted(escape(cell)) for cell in cells) + "\n"


def escape(text: str) -> str:
    """Return the cell of a text: itself, or escaped where it could do harm."""
    if not text.startswith(_FORMULA) and not any(map(_is_odd, text)):
        return text
    return "'" + "".join(
        "\\\\" if letter == "\\" else f"\\u{ord(letter):04x}" if _is_odd(letter) else letter for letter in text
    )


def unescape(cell: str) -> str:
    """Return the text of a cell."""
    if not cell.startswith("'"):
        return cell
    return _ESCAPE.sub(lambda match: "\\" if match[1] == "\\" else chr(int(match[1][1:], 16)), cell[1:])


def _is_odd(letter: str) -> bool:
    """Whether a character ends lines, turns them round, or is no text: as the terminal shows by codes."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI or letter == _MARK


def _quoted(cell: str) -> str:
    """Quotes where a spreadsheet of any country would split the cell."""
    return '"' + cell.replace('"', '""') + '"' if re.search(r'[,;"]|^\s|\s$', cell) else cell


def _read(path: Path) -> Sheet:
    """The rows that a file holds whole. Raises ConfigError if it is none of ours."""
    done: Counter[str] = Counter()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = file.readline(1000)
        if f"{_MARK}{_HEADER}\n".encode().startswith(first) and not first.endswith(b"\n"):
            return Sheet(path, size=size)  # nothing, or the first line broke off
        _check_header(path, first)
        end = len(first)
        for number, line in enumerate(file, start=2):
            if line.endswith(b"\n"):
                done[_name(path, line, number)] += 1
                end += len(line)
    return Sheet(path, done, end, size)


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device: what goes in there can't be gone on with."""
    mode = path.stat().st_mode if path.exists() else 0
    return bool(mode) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _check_header(path: Path, line: bytes) -> None:
    if line.decode("utf-8-sig", "replace").rstrip("\r\n") != _HEADER:
        raise ConfigError(f"{path} is not a file of answers: it does not begin with {_HEADER}; name another")


def _name(path: Path, line: bytes, number: int) -> str:
    """The photo that a row is of."""
    try:
        cells = next(csv.reader([line.decode().rstrip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        cells = []
    if len(cells) != len(COLUMNS):
        raise ConfigError(f"{path}, line {number}, is not a row of answers; put it right, or name another file")
    return unescape(cells[0])


def _lock(file: BinaryIO, path: Path) -> None:
    """Hold the file for this process, where there are locks; raise ConfigError if another one does."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{path} is being written by another process") from None
    except OSError:  # a network drive without locks
        return
