"""Who is taken for whom, as cells with a strength and a colour: by kinds, and by bins.

Knows what a mistake costs. Does not know who draws it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from garbage_cli.evaluation.mistakes import cost as cost_of
from garbage_cli.evaluation.values import Cost, Counts, Evaluation
from garbage_cli.labels import Label

COLOURS = {
    "right": (58, 123, 213),
    "hazardous": (217, 48, 50),
    "spoils": (232, 119, 34),
    "misplaced": (214, 170, 12),
    "name-only": (126, 140, 160),
}
"""sRGB, of what is right and of the costs."""
RIGHT = "right"
KEYS = {
    Cost.HAZARDOUS: "hazardous",
    Cost.SPOILS: "spoils",
    Cost.MISPLACED: "misplaced",
    Cost.NAME_ONLY: "name-only",
}

WORDS = {RIGHT: "right"} | {KEYS[cost]: cost.words for cost in Cost}
NO_BINS = {RIGHT: "right", "misplaced": "wrong kind"}
"""Where no label names a bin, a mistake costs what nobody knows."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Photos of one kind that were taken for one kind."""

    photos: int
    share: float
    """Of the photos of the true kind."""
    strength: float
    """Of its colour, 0 to 1; a single photo of many can be seen too."""
    key: str
    """Of its colour."""


@dataclass(frozen=True)
class Heat:
    """A confusion matrix, [true, answered]."""

    labels: tuple[Label, ...]
    counts: Counts
    keys: NDArray[np.str_]
    """Of the colours, (n, n)."""
    words: Mapping[str, str]
    """What the colours mean, in the order of what they cost."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of the photos of each true kind, (n, n); 0 where there are none."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1), np.float64)

    @property
    def strengths(self) -> NDArray[np.float64]:
        """Of the colours, (n, n)."""
        return np.asarray(np.where(self.counts > 0, 0.2 + 0.8 * np.sqrt(self.shares), 0), np.float64)

    def rows(self) -> Iterator[tuple[Label, list[Cell]]]:
        """Yield each true kind with its cells."""
        values = (self.counts.tolist(), self.shares.tolist(), self.strengths.round(3).tolist(), self.keys.tolist())
        for label, *row in zip(self.labels, *values, strict=True):
            yield label, [Cell(*each) for each in zip(*row, strict=True)]


def of_kinds(evaluation: Evaluation) -> Heat:
    """Return the confusion of the kinds."""
    keys = _keys(len(evaluation.labels))
    if evaluation.bins:
        for each in evaluation.confusions:
            keys[each.true.class_id, each.answered.class_id] = KEYS[each.cost]
    return Heat(evaluation.labels.items, evaluation.confusion, keys, WORDS if evaluation.bins else NO_BINS)


def of_bins(evaluation: Evaluation) -> Heat:
    """Return the confusion of the bins."""
    labels = tuple(each.label for each in evaluation.bins)
    keys = _keys(len(labels))
    for i, true in enumerate(labels):
        for j, answered in enumerate(labels):
            keys[i, j] = RIGHT if i == j else KEYS[cost_of(true, answered)]
    return Heat(labels, evaluation.bin_confusion, keys, WORDS)


def _keys(size: int) -> NDArray[np.str_]:
    keys = np.full((size, size), "misplaced", "<U10")
    np.fill_diagonal(keys, RIGHT)
    return keys
