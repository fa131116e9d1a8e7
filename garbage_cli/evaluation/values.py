"""What is known of a model after it has answered labelled photos: plain values, shares from 0 to 1.

Knows nothing but their shapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.labels import Label, Labels

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

TOP = 5
"""Of "top-5": the true kind is among so many, or among all kinds where a model knows fewer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A photo that got no answer."""

    name: str
    reason: str


@dataclass(frozen=True)
class Answers:
    """What a model says of the photos of a split."""

    labels: Labels
    """The model's."""
    names: tuple[str, ...]
    """The photos that were answered and whose kind the model knows, by their path in the data set, (n,)."""
    true: Ids
    """Their kinds by the model's numbers, (n,)."""
    scores: Scores
    """The probabilities of the kinds, as they are served, (n, kinds)."""
    unreadable: tuple[Unreadable, ...] = ()
    strangers: tuple[str, ...] = ()
    """Photos of kinds that the model does not know, (m,)."""
    stranger_kinds: tuple[str, ...] = ()
    """What the data set calls their kinds, (m,)."""
    stranger_scores: Scores = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(m, kinds)"""

    @property
    def answered(self) -> Ids:
        """The likeliest kind of each photo, (n,); of equals the lower number."""
        return np.asarray(self.scores.argmax(axis=1), np.int64)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """The probability of the likeliest kind, (n,)."""
        return np.asarray(self.scores.max(axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class Figures:
    """One kind, or one bin. What can't be known is None: recall and F1 without a photo, precision without an answer."""

    label: Label
    """Of a bin: a label with the bin's name as its name."""
    photos: int
    """That are of it."""
    answered: int
    """That the model says are of it."""
    right: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


class Cost(IntEnum):
    """What a mistake costs at the bin, the dearest first."""

    HAZARDOUS = 0
    SPOILS = 1
    MISPLACED = 2
    NAME_ONLY = 3

    @property
    def words(self) -> str:
        """In words."""
        return _COSTS[self]


_COSTS = {
    Cost.HAZARDOUS: "hazardous thrown elsewhere",
    Cost.SPOILS: "spoils recyclables or compost",
    Cost.MISPLACED: "lost to the wrong bin",
    Cost.NAME_ONLY: "wrong kind, right bin",
}


@dataclass(frozen=True, slots=True)
class Confusion:
    """Photos of one kind that were taken for another."""

    true: Label
    answered: Label
    photos: int
    share: float
    """Of the photos of the true kind."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class Mistake:
    """One photo that was taken for another kind."""

    name: str
    true: Label
    answered: Label
    score: float
    """Of the answered kind."""
    true_score: float
    cost: Cost
    refused: bool
    """Whether the score is under the threshold, so that "not sure" is said."""


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """The photos whose score lies in a range: what the scores promise, and what came."""

    low: float
    high: float
    photos: int
    score: float
    """Their mean score."""
    right: float
    """The share of right kinds among them."""


@dataclass(frozen=True)
class Calibration:
    """Whether a score of 80 % is right four times of five."""

    temperature: float
    """What the network's logits are divided by in the scores of this evaluation; 1 is the network's own scores."""
    fitted_here: bool
    """Whether it was fitted on these very photos; else it came with the bundle."""
    ece: float
    """Expected calibration error of the scores as they are served."""
    ece_uncalibrated: float
    """The same at temperature 1."""
    noise: float | None
    """The error that scores which hold what they promise would show on so many photos, by chance."""
    ece_cross_fitted: float | None
    """The same with the temperature fitted on four fifths of the photos for the other fifth; None if it came along."""
    best_temperature: float
    """That fits these photos best."""
    bins: tuple[ScoreBin, ...]
    """The reliability diagram of the scores as they are served; empty ranges are left out."""
    bins_uncalibrated: tuple[ScoreBin, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """What follows if only photos from this score up are answered."""

    threshold: float
    coverage: float
    """The share of photos that are answered."""
    top1: float
    """The share of right kinds among those."""
    bin_accuracy: float | None
    """The share of right bins among those."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """Photos of kinds that the model does not know."""

    photos: int
    kinds: tuple[str, ...]
    refused: float
    """The share under the threshold."""
    auroc: float
    """How well the score parts them from photos of known kinds: 0.5 is chance, 1 without fault."""


@dataclass(frozen=True)
class Rejection:
    """Under which score the answer is "not sure", and what that gives."""

    threshold: float
    asked: float
    """The precision that was asked for."""
    of: str
    """What it is a precision of: "bin", or "kind" where labels name no bins."""
    reached: bool
    """Whether the threshold gives it on these photos; where none does, it keeps 99 % of the right answers."""
    fitted_here: bool
    """Whether it was chosen on these very photos; else it came with the bundle."""
    coverage: Estimate
    """The share of photos that are answered at all."""
    precision: Estimate | None
    """Of those answered, the share with the right bin (or kind, see `of`); None if none is."""
    top1: Estimate | None
    """Of those answered, the share with the right kind."""
    cross_fitted: float | None
    """The precision on fifths of the photos with the threshold chosen on the others; None if it came along."""
    curve: tuple[Point, ...]
    """From all photos answered to few, at most 200 points."""
    strangers: Strangers | None
    proposed: bool = False
    """Whether the model as it is has no threshold and always answers: this one would be its."""


@dataclass(frozen=True, slots=True)
class Speed:
    """On this machine, from file to answer."""

    engine: str
    cores: int
    photos: int
    """In the rate."""
    images_per_second: float
    """All photos in a row, decoded ahead."""
    single: int
    """Photos that were timed one by one."""
    ms_p50: float
    ms_p99: float


@dataclass(frozen=True, slots=True)
class Subject:
    """The model."""

    name: str
    """Of the network."""
    source: str
    """The path that was given."""
    form: str
    """"checkpoint" or "bundle"."""
    weights: str
    """The file's name."""
    sha256: str
    """Of that file."""
    crop: int
    """The side of its inputs, pixels."""
    epoch: int | None
    """Of the run it comes from, where known."""
    config: Mapping[str, Any]
    """Of the run, or the manifest of the bundle without its list of files."""
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """The photos."""

    root: str
    split: str
    layout: str
    photos: int
    """In the split."""
    problems: int
    """Lines of its lists that could not be used."""


@dataclass(frozen=True)
class Evaluation:
    """All of it."""

    subject: Subject
    source: Source
    labels: Labels
    photos: int
    """That the figures are of."""
    top1: Estimate
    top5: Estimate
    top5_k: int
    """TOP, or the number of kinds where there are fewer."""
    macro_precision: Estimate
    """Means over the kinds that have photos."""
    macro_recall: Estimate
    macro_f1: Estimate
    bin_accuracy: Estimate | None
    """None where no label names a bin."""
    kinds: tuple[Figures, ...]
    """By the model's numbers."""
    bins: tuple[Figures, ...]
    """In the order of the national standard, other words after; empty where no label names a bin."""
    confusion: Counts
    """[true kind, answered kind], (kinds, kinds)"""
    bin_confusion: Counts
    """The same by `bins`."""
    confusions: tuple[Confusion, ...]
    """The dearest first, then the most frequent."""
    mistakes: tuple[Mistake, ...]
    """The dearest first, then those with the highest score."""
    calibration: Calibration
    rejection: Rejection
    speed: Speed | None
    unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...]
    """What a reader must know of the figures."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of two models on the same photos, b less a."""

    a: float
    b: float
    difference: Estimate
    only_a: int
    """Photos that only a has right."""
    only_b: int
    p: float
    """McNemar's exact test, two-sided: how likely so uneven a split is if both are equally good."""

    @property
    def significant(self) -> bool:
        """At the level of 5 %."""
        return self.p < 0.05


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A photo that two models answer differently."""

    name: str
    true: Label
    a: Label
    a_score: float
    b: Label
    b_score: float
    verdict: str
    """Who is right: "a", "b" or "neither"."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the same photos."""

    a: Evaluation
    b: Evaluation
    photos: int
    """That both answered, of kinds that both know."""
    top1: Difference
    bin_accuracy: Difference | None
    a_macro_f1: float
    b_macro_f1: float
    macro_f1: Estimate
    """Their difference, b less a, with the interval of a paired bootstrap."""
    disagreements: tuple[Disagreement, ...]
    """Those that one of them has right first."""
