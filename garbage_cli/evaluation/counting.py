"""Right and wrong answers → shares with intervals, per kind and per bin.

Knows scikit-learn's metrics and SciPy's intervals. Does not know photos or scores.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from garbage_cli.evaluation.values import Counts, Estimate, Figures, Ids
from garbage_cli.labels import Label

LEVEL = 0.95
DRAWS = 2000
"""Of a bootstrap."""
_SEED = 0


def share(right: int, of: int) -> Estimate | None:
    """Return a share with Wilson's interval; None of nothing."""
    if not of:
        return None
    from scipy.stats import binomtest

    interval = binomtest(right, of).proportion_ci(LEVEL, method="wilson")
    return Estimate(right / of, float(interval.low), float(interval.high))


def f1(right: int, photos: int, answered: int) -> Estimate | None:
    """Return F1 with an interval; None without a photo.

    F1 is 2J / (1 + J) of the Jaccard index J, the share of right ones among those that are or are said to be of the
    kind. J is a share like any other, and its interval (Wilson's) goes the same way: unlike a bootstrap's it does not
    shrink to nothing where no mistake was seen.
    """
    if not photos:
        return None
    jaccard = share(right, photos + answered - right)
    assert jaccard is not None
    return Estimate(*(2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high)))


def confusion(true: Ids, answered: Ids, *, classes: int) -> Counts:
    """Count photos by [true, answered]."""
    from sklearn.metrics import confusion_matrix

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found")  # a model of one kind is told its labels
        return np.asarray(confusion_matrix(true, answered, labels=np.arange(classes)), np.int64)


def per_class(counts: Counts, labels: Sequence[Label]) -> tuple[Figures, ...]:
    """Return each class's figures from counts by [true, answered]."""
    photos, answered, right = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    return tuple(
        Figures(
            label, p, a, r,
            precision=share(r, a) if p else None,
            recall=share(r, p),
            f1=f1(r, p, a),
        )
        for label, p, a, r in zip(labels, photos.tolist(), answered.tolist(), right.tolist(), strict=True)
    )  # fmt: skip


def macro(true: Ids, answered: Ids, counts: Counts) -> tuple[Estimate, Estimate, Estimate]:
    """Return precision, recall and F1, each the mean over the classes that have photos.

    The intervals are a bootstrap's over the photos; where there is no mistake to draw, that of the share of right ones.
    """
    from sklearn.metrics import precision_recall_fscore_support

    present = np.flatnonzero(counts.sum(axis=1))
    values = precision_recall_fscore_support(true, answered, labels=present, average="macro", zero_division=0)[:3]
    if counts.trace() == counts.sum():
        sure = share(len(true), len(true))
        assert sure is not None
        return sure, sure, sure
    ends = np.quantile(_macro_of(_redrawn(counts), present), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T
    p, r, f = (Estimate(float(v), float(lo), float(hi)) for v, (lo, hi) in zip(values, ends, strict=True))
    return p, r, f


Sums = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _redrawn(counts: Counts) -> Sums:
    """True, answered and right photos per class, (draws, classes) each, of photos drawn again with replacement."""
    rows, columns = np.nonzero(counts)  # drawing photos is drawing cells: fewer than the matrix has, or the photos are
    cells = counts[rows, columns]
    drawn = np.random.default_rng(_SEED).multinomial(cells.sum(), cells / cells.sum(), size=DRAWS).astype(np.float64)
    return _sums(drawn, rows, columns, classes=len(counts))


def _sums(drawn: NDArray[np.float64], rows: Ids, columns: Ids, *, classes: int) -> Sums:
    is_true = (rows[:, None] == np.arange(classes)).astype(np.float64)
    is_answered = (columns[:, None] == np.arange(classes)).astype(np.float64)
    return drawn @ is_true, drawn @ is_answered, drawn @ (is_true * is_answered)


def _macro_of(sums: Sums, present: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro precision, recall and F1 of each draw, (draws, 3)."""
    true, answered, right = (each[:, present] for each in sums)
    parts = (right / np.maximum(answered, 1), right / np.maximum(true, 1), 2 * right / np.maximum(true + answered, 1))
    there = true > 0
    return np.stack([(part * there).sum(axis=1) / there.sum(axis=1) for part in parts], axis=1)
