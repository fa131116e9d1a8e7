"""What training says of itself as it goes: values that someone else draws.

Knows nothing but their shapes.
"""

from dataclasses import dataclass
from pathlib import Path

from garbage_cli.config import TrainConfig
from garbage_cli.dataset import Dataset
from garbage_cli.zoo import Fetched, Fit


@dataclass(frozen=True, slots=True)
class BadPhoto:
    """A photo that could not be decoded and was left out."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch, trained and evaluated. These are the columns of `results.csv`."""

    epoch: int
    train_loss: float
    train_top1: float
    """On augmented photos, 0…1."""
    val_loss: float
    val_top1: float
    """0…1."""
    val_macro_f1: float
    """The mean F1 of the classes that have validation photos, 0…1."""
    learning_rate: float
    """At the last step."""
    images_per_second: float
    seconds: float
    """Training and evaluation."""
    best: bool
    """Whether no earlier epoch had as high a figure of those that `select_by` names."""


@dataclass(frozen=True, slots=True)
class Started:
    """What is about to be trained, once it is known to work."""

    run: Path
    config: TrainConfig
    device: str
    dataset: Dataset
    fit: Fit | None
    """How the pretrained weights went in; None from scratch or when resumed."""
    multipliers_used: bool
    tuned: str
    """What is trained: all of it, or which layers' weights; in words."""
    processes: int
    epoch: int
    """The epoch that is trained next, from 1."""
    step: int
    """Steps of that epoch already done."""
    moved: Path | None = None
    """Where an earlier run of this name was moved."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimiser step."""

    epoch: int
    step: int
    steps: int
    loss: float
    """Mean over the epoch so far."""


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """Progress of what is computed once: the output of the frozen part."""

    done: int
    """Photos so far."""
    total: int
    engine: str
    """What computes."""
    validation: bool
    """Whether these are the validation photos."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Photos that could not be decoded, named once each."""

    photos: tuple[BadPhoto, ...]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Training was asked to stop; what is done is saved and `resume` goes on from here."""

    run: Path
    epoch: int
    step: int
    best: EpochReport | None
    """The best epoch so far, if one is done."""
    seconds: float
    """Of the epochs that are done."""
    time_is_up: bool = False
    """Whether the time limit stopped it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """All epochs are done, or there was none better for as many as `patience` says."""

    run: Path
    best: EpochReport
    seconds: float
    """Of all epochs."""
    stopped_early: bool = False


Report = Started | Fetched | FeatureReport | StepReport | EpochReport | LeftOut | Interrupted | Finished
