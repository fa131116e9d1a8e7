"""Whether scores hold what they promise, and the one number that mends most of it: a temperature.

Knows probabilities. Does not know labels. Guo et al., "On Calibration of Modern Neural Networks" (2017).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from garbage_cli.evaluation.values import Calibration, Ids, ScoreBin, Scores

RANGES = 15
"""Equal ranges of the score in the reliability diagram and in the expected calibration error."""
FOLDS = 5
COLDEST, HOTTEST = 0.1, 10.0
"""Between which a temperature is looked for."""
FEWEST = 20
"""Photos from which on one is fitted."""
MOST = 20_000
"""Photos that it is fitted on: more change no digit that counts."""
DRAWS = 50
"""Of outcomes, for what chance makes of the error."""


def tempered(scores: Scores, temperature: float) -> Scores:
    """Return what a softmax of the logits divided by `temperature` gives, from a softmax of the logits, (n, classes).

    The order of the classes stays. A softmax's logarithm is its logits less a constant, which the next softmax drops.
    """
    if temperature == 1 or not scores.size:
        return scores
    from scipy.special import softmax

    return np.asarray(softmax(_log(scores) / temperature, axis=1), np.float32)


def _log(scores: Scores) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float32).tiny)), np.float64)


def fit_temperature(scores: Scores, true: Ids) -> float:
    """Return the temperature of the least log loss; 1 where there are too few photos or no mistake to learn from."""
    right = scores.argmax(axis=1) == true
    if len(true) < FEWEST or right.all() or not right.any():
        return 1.0
    if len(true) > MOST:
        chosen = np.random.default_rng(0).choice(len(true), MOST, replace=False)
        scores, true = scores[chosen], true[chosen]
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logs, rows = _log(scores), np.arange(len(true))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logs / np.exp(log_temperature), axis=1)[rows, true].mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def score_bins(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ScoreBin, ...]:
    """Group photos by score into equal ranges; empty ones are left out."""
    edges = np.linspace(0, 1, RANGES + 1)
    place = np.searchsorted(edges[1:-1], confidences)
    groups = ((i, confidences[place == i], right[place == i]) for i in np.unique(place))
    return tuple(
        ScoreBin(float(edges[i]), float(edges[i + 1]), len(ok), float(scores.mean()), float(ok.mean()))
        for i, scores, ok in groups
    )


def expected_error(bins: tuple[ScoreBin, ...]) -> float:
    """Return the expected calibration error: the mean distance of promise and outcome, weighted by photos."""
    photos = sum(each.photos for each in bins)
    return sum(each.photos * abs(each.score - each.right) for each in bins) / photos


def calibrate(scores: Scores, true: Ids, *, temperature: float | None) -> tuple[Calibration, Scores]:
    """Return the calibration, and the scores as they are served.

    Without a `temperature` the scores are the network's own and one is fitted; with one, they have been divided by it.
    """
    own = scores if temperature is None else tempered(scores, 1 / temperature)
    best = fit_temperature(own, true)
    served = tempered(own, best) if temperature is None else scores
    right = scores.argmax(axis=1) == true  # of those that came: the others' ties may be broken otherwise
    confidences = served.max(axis=1).astype(np.float64)
    bins, bins_own = (score_bins(each, right) for each in (confidences, own.max(axis=1).astype(np.float64)))
    return Calibration(
        temperature=best if temperature is None else temperature,
        fitted_here=temperature is None,
        ece=expected_error(bins),
        ece_uncalibrated=expected_error(bins_own),
        noise=_noise(confidences),
        ece_cross_fitted=_cross_fitted(own, true) if temperature is None else None,
        best_temperature=best,
        bins=bins,
        bins_uncalibrated=bins_own,
    ), served


def _noise(confidences: NDArray[np.float64]) -> float:
    """The mean error of outcomes that are drawn by these very scores."""
    rng = np.random.default_rng(0)
    errors = [expected_error(score_bins(confidences, rng.random(len(confidences)) < confidences)) for _ in range(DRAWS)]
    return float(np.mean(errors))


def _cross_fitted(scores: Scores, true: Ids) -> float | None:
    """The error of scores whose temperature has not seen them."""
    if len(true) < 2 * FOLDS:
        return None
    served = np.empty_like(scores)
    for learn, test in folds(len(true)):
        served[test] = tempered(scores[test], fit_temperature(scores[learn], true[learn]))
    return expected_error(score_bins(served.max(axis=1).astype(np.float64), served.argmax(axis=1) == true))


def folds(photos: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield photos to learn from and photos to test on, five times; every photo is tested once."""
    from sklearn.model_selection import KFold

    yield from KFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(photos))
