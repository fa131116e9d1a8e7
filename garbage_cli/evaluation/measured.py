"""The figures that go along with a model: into its bundle's manifest and its model card, by way of `metrics.json`.

Knows the keys. Does not know files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from garbage_cli.evaluation.calibration import COLDEST, HOTTEST


@dataclass(frozen=True, slots=True)
class MeasuredKind:
    """One kind; None is what can't be known."""

    name: str
    photos: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model, on which photos; shares from 0 to 1."""

    data: str
    """The name of the data set's folder."""
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
    precision_interval: tuple[float, float] | None
    cross_fitted: float | None
    """The precision on photos that the threshold was not chosen on."""
    notes: tuple[str, ...]
    kinds: tuple[MeasuredKind, ...]

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> "Measured":
        """Pick from the content of `metrics.json`; raise KeyError, TypeError or ValueError for what can't be."""
        calibration, rejection, source = metrics["calibration"], metrics["rejection"], metrics["data"]
        temperature = calibration["temperature"]
        if isinstance(temperature, bool) or not COLDEST <= temperature <= HOTTEST:
            raise ValueError(f"temperature {temperature!r}")
        if rejection["of"] not in ("bin", "kind") or not isinstance(metrics["notes"], list):
            raise ValueError("no figures of ours")
        return cls(
            data=str(source["root"]).replace("\\", "/").rstrip("/").rpartition("/")[2],
            split=str(source["split"]),
            photos=_count(metrics["photos"]),
            top1=_share(metrics["top1"]),
            top5=_share(metrics["top5"]),
            top5_k=_count(metrics["top5_k"]),
            macro_f1=_share(metrics["macro_f1"]),
            bin_accuracy=_share_or_none(metrics["bin_accuracy"]),
            ece=_share(metrics["ece"]),
            ece_uncalibrated=_share(calibration["ece_uncalibrated"]),
            temperature=float(temperature),
            threshold=_share(rejection["threshold"]),
            asked_precision=_share(rejection["asked"]),
            precision_of=str(rejection["of"]),
            precision_reached=bool(rejection["reached"]),
            coverage=_share(rejection["coverage"]),
            precision=_share_or_none(rejection["precision"]),
            precision_interval=_interval(rejection["precision_interval"]),
            cross_fitted=_share_or_none(rejection["cross_fitted"]),
            notes=tuple(str(note) for note in metrics["notes"]),
            kinds=tuple(_kind(each) for each in metrics["per_class"]),
        )


def _kind(row: Mapping[str, Any]) -> MeasuredKind:
    parts = (_share_or_none(row[key]) for key in ("precision", "recall", "f1"))
    return MeasuredKind(str(row["name"]), _count(row["photos"]), *parts)


def _interval(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{value!r} is no interval")
    return _share(value[0]), _share(value[1])


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of photos")
    return value


def _share_or_none(value: object) -> float | None:
    return None if value is None else _share(value)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no share from 0 to 1")
    return float(value)
