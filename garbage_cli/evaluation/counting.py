"""Right and wrong answers → shares with intervals, per kind and per bin.

Knows scikit-learn's metrics and SciPy's intervals. Does not know photos or scores.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from garbage_cli.evaluation.values import Counts, Estimate, Figures, Ids
from garbage_cli.labels import Label

LEVEL = 0.95
DRAWS = 2000
"""Of a bootstrap."""
CHUNK = 100
"""Of them at a time."""

Numbers = NDArray[np.float64]


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
            precision=share(r, a),
            recall=share(r, p),
            f1=f1(r, p, a),
        )
        for label, p, a, r in zip(labels, photos.tolist(), answered.tolist(), right.tolist(), strict=True)
    )  # fmt: skip


def macro(kinds: Sequence[Figures], counts: Counts) -> tuple[Estimate, Estimate, Estimate]:
    """Return precision, recall and F1, each the mean over the classes that have photos.

    A class that is never answered counts with a precision of 0, as in scikit-learn. An interval holds two: one put
    together from those of the classes (Zou and Donner, "Construction of confidence limits about effect measures",
    2008), which a class of few photos widens also where no mistake was seen; and a bootstrap's over the photos, which
    knows that one mistake counts against two classes.
    """
    present = [each for each in kinds if each.photos]
    nothing = Estimate(0.0, 0.0, 1.0)
    parts = [[getattr(each, name) or nothing for each in present] for name in ("precision", "recall", "f1")]
    drawn = np.concatenate([_macro_of(*sums) for sums in _redrawn(counts)])
    ends = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T
    precision, recall, f1_ = (
        Estimate(each.value, min(each.low, float(low)), max(each.high, float(high)))
        for each, (low, high) in zip(map(_mean, parts), ends, strict=True)
    )
    return precision, recall, f1_


def _redrawn(counts: Counts) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """True, answered and right photos per class, (draws, classes) each, of photos drawn again with replacement."""
    from scipy.sparse import csr_matrix

    rows, columns = np.nonzero(counts)  # drawing photos is drawing cells: fewer than the matrix has, or the photos are
    cells, rng = counts[rows, columns], np.random.default_rng(0)
    members = [
        csr_matrix((which.astype(np.float64), (ids, np.arange(len(ids)))), shape=(len(counts), len(ids)))
        for ids, which in ((rows, rows >= 0), (columns, rows >= 0), (rows, rows == columns))
    ]
    for _ in range(DRAWS // CHUNK):
        drawn = rng.multinomial(cells.sum(), cells / cells.sum(), size=CHUNK).T.astype(np.float64)
        true, answered, right = (np.asarray((member @ drawn).T, np.float64) for member in members)
        yield true, answered, right


def _macro_of(true: Numbers, answered: Numbers, right: Numbers) -> Numbers:
    """Macro precision, recall and F1 of each draw, (draws, 3), over the classes that were drawn."""
    there = true > 0
    parts = (right / np.maximum(answered, 1), right / np.maximum(true, 1), 2 * right / np.maximum(true + answered, 1))
    return np.stack([(part * there).sum(axis=1) / there.sum(axis=1) for part in parts], axis=1)


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    value, low, high = (
        np.array([getattr(each, name) for each in estimates], np.float64) for name in ("value", "low", "high")
    )
    below, above = (float(np.sqrt((each**2).sum())) / len(estimates) for each in (value - low, high - value))
    mean = float(value.mean())
    return Estimate(mean, max(0.0, mean - below), min(1.0, mean + above))
