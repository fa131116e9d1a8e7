"""Under which score "not sure" is the better answer.

Knows scores and which answers were right. Does not know labels or photos.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from garbage_cli.evaluation.calibration import FOLDS, folds
from garbage_cli.evaluation.counting import share
from garbage_cli.evaluation.values import Point, Rejection, Strangers

PRECISION = 0.99
"""That is asked for where nobody says another."""
KEEP = 0.99
"""The share of the right answers that is given in any case."""
FEWEST = 20
"""Answers without which a precision is no figure, or half of the photos if that is less."""
DIGIT = 1e-6
"""How far apart scores are that no engine confuses."""
POINTS = 200

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The photos of an evaluation: how sure the answer is, and whether kind and bin are right, (n,) each."""

    confidences: Numbers
    right_kind: Flags
    right_bin: Flags | None
    """None where labels name no bins."""

    @property
    def right(self) -> Flags:
        """What precision is asked of: the bin where there are bins."""
        return self.right_kind if self.right_bin is None else self.right_bin

    def __getitem__(self, which: NDArray[np.int64]) -> "Outcome":
        bins = None if self.right_bin is None else self.right_bin[which]
        return Outcome(self.confidences[which], self.right_kind[which], bins)


def choose(outcome: Outcome, precision: float) -> float:
    """Return the lowest threshold whose answers are right that often, if there is one that leaves enough answers.

    It is never so low that a photo less sure than 99 of 100 right answers is answered: of a model without a mistake, on
    photos like those it was trained on, precision alone would have everything answered. Where no threshold gives the
    precision, only this remains. It lies between two scores that are a little apart, so that the last digit of a score,
    which differs between engines, does not decide.
    """
    scores, accepted, right = _cumulated(outcome.confidences, outcome.right)
    kept = _cumulated(outcome.confidences, outcome.right_kind)[2]
    below = np.append(scores[1:], 0.98 * scores[-1])
    apart = scores - below > DIGIT
    apart[-1] = True
    enough = apart & (kept >= KEEP * kept[-1] - 1e-9)
    last = int(np.flatnonzero(enough)[0])
    fewest = min(FEWEST, -(-len(outcome.confidences) // 2))
    good = apart & (accepted >= fewest) & (right / accepted >= precision - 1e-12)
    reached = np.flatnonzero(good[: last + 1])
    place = int(reached[-1]) if len(reached) else last
    return float((scores[place] + below[place]) / 2)


def _cumulated(confidences: Numbers, right: Flags) -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]]:
    """The different scores, highest first, with the photos that have at least so much, and the right ones of them."""
    order = np.argsort(-confidences, kind="stable")
    scores = confidences[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    return scores[last], last + 1, np.cumsum(right[order])[last]


def reject(
    outcome: Outcome,
    strangers: Numbers,
    kinds: tuple[str, ...],
    *,
    precision: float,
    threshold: float | None,
    proposed: bool,
) -> Rejection:
    """Return what a threshold gives: `threshold`, which came with a bundle, or else the one that gives `precision`."""
    chosen = choose(outcome, precision) if threshold is None else threshold
    answered = outcome.confidences >= chosen
    of_those = share(int(outcome.right[answered].sum()), int(answered.sum()))
    coverage = share(int(answered.sum()), len(answered))
    assert coverage is not None
    return Rejection(
        threshold=chosen,
        asked=precision,
        of="kind" if outcome.right_bin is None else "bin",
        reached=of_those is not None and of_those.value >= precision - 1e-12,
        fitted_here=threshold is None,
        coverage=coverage,
        precision=of_those,
        top1=share(int(outcome.right_kind[answered].sum()), int(answered.sum())),
        cross_fitted=_cross_fitted(outcome, precision) if threshold is None else None,
        curve=curve(outcome),
        strangers=_of_strangers(outcome.confidences, strangers, kinds, chosen) if len(strangers) else None,
        proposed=proposed,
    )


def _cross_fitted(outcome: Outcome, precision: float) -> float | None:
    """The precision of answers whose threshold has not seen them."""
    if len(outcome.confidences) < 2 * FOLDS:
        return None
    answered = np.zeros(len(outcome.confidences), np.bool_)
    for learn, test in folds(len(answered)):
        answered[test] = outcome.confidences[test] >= choose(outcome[learn], precision)
    return float(outcome.right[answered].mean()) if answered.any() else None


def curve(outcome: Outcome) -> tuple[Point, ...]:
    """Return accuracy against coverage, all photos answered first."""
    scores, accepted, right = _cumulated(outcome.confidences, outcome.right_kind)
    bins = None if outcome.right_bin is None else _cumulated(outcome.confidences, outcome.right_bin)[2]
    total = len(outcome.confidences)
    places = np.unique(np.linspace(0, len(scores) - 1, min(POINTS, len(scores))).astype(int))[::-1]
    return tuple(
        Point(
            float(scores[i]),
            float(accepted[i] / total),
            float(right[i] / accepted[i]),
            None if bins is None else float(bins[i] / accepted[i]),
        )
        for i in places
    )


def _of_strangers(known: Numbers, strangers: Numbers, kinds: tuple[str, ...], threshold: float) -> Strangers:
    from sklearn.metrics import roc_auc_score

    is_known = np.concatenate([np.ones(len(known)), np.zeros(len(strangers))])
    auroc = roc_auc_score(is_known, np.concatenate([known, strangers]))
    return Strangers(len(strangers), kinds, float((strangers < threshold).mean()), float(auroc))
