"""The values that reading a data set gives: photos with their class, and what does not hold together."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

ProblemKind = Literal["bad-line", "outside", "missing", "unnamed-class"]
"""A list line of no known form; one that leads out of the folder; one without a file; a class without a name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo and the class its data set says it is of."""

    path: Path
    class_id: int
    line: int = field(default=0, compare=False)
    """Its line in the list of its split, from 1; 0 where there is no list."""
    source: str = field(default="", compare=False)
    """The text that names it, where photos have one each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A photo that the data set names but that can't be used: it is in no split."""

    kind: ProblemKind
    split: Split
    where: str
    """The list and line, or the folder."""
    path: str
    """The photo or line as it stands there."""
    reason: str
    class_id: int | None = None
