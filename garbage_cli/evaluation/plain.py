"""An evaluation as plain values, for JSON; and the few of them that a bundle carries.

Knows the keys. Does not know files.
"""

from dataclasses import asdict
from typing import Any

from garbage_cli.dataset.text import printable
from garbage_cli.evaluation.values import (
    Comparison,
    Difference,
    Estimate,
    Evaluation,
    Figures,
    Rejection,
)

FORMAT = 1
METRICS_FILE = "metrics.json"
"""What the file with `as_json` is called in a report."""


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return `metrics.json`: the headline figures first, shares from 0 to 1."""
    bins = evaluation.bin_accuracy
    headline = {
        "top1": evaluation.top1, "top5": evaluation.top5, "macro_precision": evaluation.macro_precision,
        "macro_recall": evaluation.macro_recall, "macro_f1": evaluation.macro_f1, "bin_accuracy": bins,
    }  # fmt: skip
    calibration = asdict(evaluation.calibration)
    return {
        "format": FORMAT,
        "photos": evaluation.photos,
        **{key: each.value if each else None for key, each in headline.items()},
        "top5_k": evaluation.top5_k,
        "ece": calibration["ece"],
        "intervals": {key: [each.low, each.high] if each else None for key, each in headline.items()},
        "notes": list(evaluation.notes),
        "per_class": [_figures(each) for each in evaluation.kinds],
        "per_bin": [_figures(each, kind=False) for each in evaluation.bins],
        "confusion": evaluation.confusion.tolist(),
        "bin_confusion": evaluation.bin_confusion.tolist(),
        "confusions": [
            {
                "true": each.true.text, "answered": each.answered.text, "photos": each.photos, "share": each.share,
                "cost": each.cost.words,
            }
            for each in evaluation.confusions
        ],
        "calibration": calibration,
        "rejection": _rejection(evaluation.rejection),
        "speed": asdict(evaluation.speed) if evaluation.speed else None,
        "model": asdict(evaluation.subject),
        "data": asdict(evaluation.source),
        "unreadable": [{"image": printable(each.name), "reason": each.reason} for each in evaluation.unreadable],
        "mistakes": [
            {
                "image": printable(each.name), "true": each.true.text, "answered": each.answered.text,
                "score": each.score, "true_score": each.true_score, "cost": each.cost.words, "refused": each.refused,
            }
            for each in evaluation.mistakes
        ],
    }  # fmt: skip


def _figures(each: Figures, *, kind: bool = True) -> dict[str, Any]:
    parts = {"precision": each.precision, "recall": each.recall, "f1": each.f1}
    named = {"class_id": each.label.class_id, "name": each.label.name, "bin": each.label.bin_name}
    return {
        **(named if kind else {"bin": each.label.name}),
        "photos": each.photos,
        "answered": each.answered,
        "right": each.right,
        **{key: part.value if part else None for key, part in parts.items()},
        "intervals": {key: [part.low, part.high] if part else None for key, part in parts.items()},
    }


def _rejection(rejection: Rejection) -> dict[str, Any]:
    def pair(name: str, each: Estimate | None) -> dict[str, Any]:
        return {name: each.value if each else None, f"{name}_interval": [each.low, each.high] if each else None}

    parts = asdict(rejection)
    return {
        **parts,
        **pair("coverage", rejection.coverage),
        **pair("precision", rejection.precision),
        **pair("top1", rejection.top1),
    }


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Return `comparison.json`: differences are b less a."""
    f1 = comparison.macro_f1
    return {
        "format": FORMAT,
        "a": comparison.a.subject.source,
        "b": comparison.b.subject.source,
        "photos": comparison.photos,
        "top1": _difference(comparison.top1),
        "bin_accuracy": _difference(comparison.bin_accuracy) if comparison.bin_accuracy else None,
        "macro_f1": {
            "a": comparison.a_macro_f1, "b": comparison.b_macro_f1, "difference": f1.value,
            "interval": [f1.low, f1.high],
        },
        "disagreements": [
            {
                "image": printable(each.name), "true": each.true.text, "a": each.a.text, "a_score": each.a_score,
                "b": each.b.text, "b_score": each.b_score, "right": each.verdict,
            }
            for each in comparison.disagreements
        ],
    }  # fmt: skip


def _difference(each: Difference) -> dict[str, Any]:
    interval = [each.difference.low, each.difference.high]
    return {
        "a": each.a, "b": each.b, "difference": each.difference.value, "interval": interval, "only_a": each.only_a,
        "only_b": each.only_b, "p": each.p, "significant": each.significant,
    }  # fmt: skip
