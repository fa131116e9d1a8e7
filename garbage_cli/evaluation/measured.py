"""The figures that go along with a model: into its bundle's manifest, its model card, and back from `metrics.json`.

Knows the keys. Does not know files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from garbage_cli.evaluation import Served
from garbage_cli.evaluation.values import Evaluation


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model, on which photos; shares from 0 to 1."""

    split: str
    photos: int
    top1: float
    top5: float
    top5_k: int
    macro_f1: float
    bin_accuracy: float | None
    """None where labels name no bins."""
    ece: float
    """Of the scores as they are served."""
    ece_uncalibrated: float
    temperature: float
    threshold: float
    asked_precision: float
    precision_of: str
    """"bin" or "kind"."""
    precision_reached: bool
    coverage: float
    """The share of photos that is answered at this threshold."""
    precision: float | None
    """Of those; None if none is."""

    @classmethod
    def of(cls, evaluation: Evaluation) -> "Measured":
        """Pick from an evaluation."""
        calibration, rejection = evaluation.calibration, evaluation.rejection
        return cls(
            split=evaluation.source.split,
            photos=evaluation.photos,
            top1=evaluation.top1.value,
            top5=evaluation.top5.value,
            top5_k=evaluation.top5_k,
            macro_f1=evaluation.macro_f1.value,
            bin_accuracy=evaluation.bin_accuracy.value if evaluation.bin_accuracy else None,
            ece=calibration.ece,
            ece_uncalibrated=calibration.ece_uncalibrated,
            temperature=calibration.temperature,
            threshold=rejection.threshold,
            asked_precision=rejection.asked,
            precision_of=rejection.of,
            precision_reached=rejection.reached,
            coverage=rejection.coverage.value,
            precision=rejection.precision.value if rejection.precision else None,
        )

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> "Measured":
        """Read what `asdict` gave; raise ValueError for what can't be."""
        values: dict[str, Any] = {f.name: tree.get(f.name) for f in fields(cls)}
        for name in ("split", "precision_of"):
            if not isinstance(values[name], str):
                raise ValueError(f"{name} is {values[name]!r}")
        for name in ("photos", "top5_k"):
            if not isinstance(values[name], int) or values[name] < 1:
                raise ValueError(f"{name} is {values[name]!r}")
        for name in ("top1", "top5", "macro_f1", "ece", "ece_uncalibrated", "threshold", "asked_precision", "coverage"):
            _check_share(name, values[name])
        for name in ("bin_accuracy", "precision"):
            if values[name] is not None:
                _check_share(name, values[name])
        check_temperature(values["temperature"])
        return cls(**{**values, "precision_reached": bool(values["precision_reached"])})

    @property
    def served(self) -> Served:
        """What a bundle with these figures comes with."""
        return Served(self.temperature, self.threshold)


def _check_share(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}, not a share from 0 to 1")


def check_temperature(value: object) -> None:
    """Raise ValueError for what is no temperature."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    if not good:
        raise ValueError(f"temperature is {value!r}, not a number above 0")
