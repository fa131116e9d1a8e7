"""Right and wrong answers → shares with intervals, per kind and per bin.

Knows scikit-learn's metrics and SciPy's intervals. Does not know photos or scores.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from garbage_cli.evaluation.values import Counts, Estimate, Figures, Ids
from garbage_cli.labels import Label

LEVEL = 0.95


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


def macro(kinds: Sequence[Figures]) -> tuple[Estimate, Estimate, Estimate]:
    """Return precision, recall and F1, each the mean over the classes that have photos.

    A class that is never answered counts with a precision of 0, as in scikit-learn. The intervals are put together from
    those of the classes (Zou and Donner, "Construction of confidence limits about effect measures", 2008), so that a
    class of few photos widens them also where no mistake was seen.
    """
    present = [each for each in kinds if each.photos]
    nothing = Estimate(0.0, 0.0, 1.0)
    parts = ([getattr(each, name) or nothing for each in present] for name in ("precision", "recall", "f1"))
    precision, recall, f1_ = (_mean(estimates) for estimates in parts)
    return precision, recall, f1_


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    value, low, high = (
        np.array([getattr(each, name) for each in estimates], np.float64) for name in ("value", "low", "high")
    )
    below, above = (float(np.sqrt((each**2).sum())) / len(estimates) for each in (value - low, high - value))
    mean = float(value.mean())
    return Estimate(mean, max(0.0, mean - below), min(1.0, mean + above))
