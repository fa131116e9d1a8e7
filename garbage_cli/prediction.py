"""What goes into a classifier and what comes out: `Photo` in, `Prediction` out, here or over the network.

Knows labels. Does not know how scores are made or where.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from garbage_cli.errors import ImageError
from garbage_cli.labels import Label


@dataclass(frozen=True, slots=True)
class Photo:
    """An encoded image under the name the person gave it: a file, bytes already in hand, or what fetches them."""

    name: str
    source: Path | bytes | Callable[[int], bytes]
    """A function gets the limit in bytes, and raises ImageError as `read` does."""

    @classmethod
    def from_path(cls, path: Path) -> "Photo":
        """A photo that is read from its file when it is needed."""
        return cls(str(path), path)

    def read(self, *, max_bytes: int) -> bytes:
        """Return the encoded bytes; raise ImageError if there are none, or more than `max_bytes`."""
        if isinstance(self.source, bytes):
            return self.source
        if not isinstance(self.source, Path):
            return self.source(max_bytes)
        try:
            status = self.source.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                raise ImageError(_what_else(self.source, status.st_mode), fault="unreadable")
            size = status.st_size
            if size > max_bytes:
                raise ImageError(f"{size:,} bytes; the limit is {max_bytes:,}", fault="enormous")
            return self.source.read_bytes()
        except OSError as error:
            raise ImageError(error.strerror or str(error), fault="unreadable") from None


def _what_else(path: Path, mode: int) -> str:
    """What a path is that is no regular file; raises OSError for a folder that can't be opened."""
    if not stat.S_ISDIR(mode):
        return "not a regular file"
    next(path.iterdir(), None)
    return "is a folder"


@dataclass(frozen=True, slots=True)
class Score:
    """One class with the probability the model gives it, 0…1."""

    label: Label
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one photo: the likeliest classes, best first, or an error."""

    image: str
    scores: tuple[Score, ...] = ()
    error: str | None = None
    sure: bool = True
    """Whether the best score reaches the model's threshold; else the answer is "not sure"."""

    @property
    def best(self) -> Score | None:
        """The likeliest class; None if the photo could not be classified."""
        return self.scores[0] if self.scores else None

    @property
    def bin_name(self) -> str | None:
        """The bin to use, that of the likeliest class, in the data set's own word; None where that is not sure."""
        return self.best.label.bin_name if self.best and self.sure else None


class Classifier(Protocol):
    """Anything that answers photos, in order, one answer each: the model here, or a server."""

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yield one Prediction per photo, in input order; a bad photo gives one with `error` set."""
        ...
