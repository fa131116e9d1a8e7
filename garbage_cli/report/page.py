"""An evaluation → the page `report.html`.

Knows what is on the page and how much of it. Does not know HTML, files or how figures are made.
"""

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.evaluation.values import Cost, Estimate, Evaluation, Figures
from garbage_cli.report import charts, heat, words
from garbage_cli.report.strict import dumps, tamed
from garbage_cli.report.template import render as fill
from garbage_cli.thumbnails import data_urls

THUMB = 256
"""Pixels of a thumbnail's longer side."""
PICTURED = 48
"""Mistakes that are shown."""
PAIRS = 16
"""Confusions that are shown."""
NAMED = 100
"""Unreadable photos that are named."""
CELLS = 60
"""Kinds, or bins, up to which a confusion is a table, above only a picture."""
FACTS = 100_000
"""Characters of the run's config, or the bundle's manifest, that are shown."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure of the headline."""

    title: str
    value: str
    words: str
    estimate: Estimate | None = None


def render(evaluation: Evaluation, *, photos: Mapping[str, Path], confusion: bytes) -> str:
    """Return the page; `confusion` is the plot that stands in where there are too many kinds for a table."""
    evaluation = tamed(evaluation)
    shown = evaluation.mistakes[:PICTURED]
    few = len(evaluation.labels) <= CELLS
    return fill(
        "report.html.j2",
        e=evaluation,
        subject=evaluation.subject,
        source=evaluation.source,
        tiles=tiles(evaluation),
        hazard=words.of_hazard([(each.label, each.photos, each.right) for each in evaluation.bins]),
        bin_heat=heat.of_bins(evaluation) if len(evaluation.bins) <= CELLS else None,
        kind_heat=heat.of_kinds(evaluation) if few else None,
        confusion_png="" if few else f"data:image/png;base64,{base64.b64encode(confusion).decode()}",
        colour_words=heat.WORDS if evaluation.bins else heat.NO_BINS,
        costs=_costs(evaluation),
        confusions=evaluation.confusions[:PAIRS],
        more_confusions=len(evaluation.confusions[PAIRS:]),
        kinds=sorted(evaluation.kinds, key=_worst_first),
        of_calibration=words.of_calibration(evaluation.calibration),
        reliability=charts.reliability(evaluation.calibration),
        of_threshold=words.of_threshold(evaluation.rejection),
        of_choice=words.of_choice(evaluation.rejection, number=evaluation.photos),
        coverage=charts.coverage(evaluation.rejection),
        strangers=evaluation.rejection.strangers,
        of_speed=words.of_speed(evaluation.speed) if evaluation.speed else "",
        mistakes=shown,
        more_mistakes=len(evaluation.mistakes[PICTURED:]),
        pictures=data_urls({each.name: photos[each.name] for each in shown if each.name in photos}, side=THUMB),
        unreadable=evaluation.unreadable[:NAMED],
        more_unreadable=len(evaluation.unreadable[NAMED:]),
        config=_shown(dumps(evaluation.subject.config)).split("\n"),
    )


def _shown(text: str) -> str:
    return text if len(text) <= FACTS else f"{text[:FACTS]}\n… {len(text) - FACTS:,} characters more in metrics.json"


def tiles(evaluation: Evaluation) -> list[Tile]:
    """Return the headline figures, in the order of what they mean at the bin."""
    return [
        _bin_tile(evaluation.bin_accuracy),
        _tile("Right kind (top-1)", evaluation.top1, "The first answer names the right kind."),
        _top5_tile(evaluation),
        _tile(
            "Macro-F1", evaluation.macro_f1, "Precision and recall in one, every kind counting the same, rare or not."
        ),
        Tile(
            "Calibration error (ECE)",
            words.percent(evaluation.calibration.ece),
            "How far scores are from the share that proves right, among photos of like scores. "
            + words.of_noise(evaluation.calibration),
        ),
        _speed_tile(evaluation),
    ]


def _tile(title: str, estimate: Estimate, said: str) -> Tile:
    return Tile(title, words.percent(estimate.value), said, estimate)


def _bin_tile(accuracy: Estimate | None) -> Tile:
    if accuracy is None:
        return Tile("Right bin", "—", "The labels name no bins.")
    return _tile("Right bin", accuracy, "Thrown where it belongs, even if the kind is wrong.")


def _top5_tile(evaluation: Evaluation) -> Tile:
    k = evaluation.top5_k
    said = (
        f"The model knows no more than {k} {'kind' if k == 1 else 'kinds'}, so this is always 100{words.NO_BREAK}%."
        if k >= len(evaluation.labels)
        else f"The right kind is among the first {k}."
    )
    return _tile(f"Among the first {k} (top-{k})", evaluation.top5, said)


def _speed_tile(evaluation: Evaluation) -> Tile:
    speed = evaluation.speed
    if speed is None:
        return Tile("Photos a second", "—", "Not measured.")
    cores = "1 core" if speed.cores == 1 else f"{speed.cores} cores"
    return Tile(
        "Photos a second", words.rate(speed.images_per_second), f"From file to answer, {speed.engine}, {cores}."
    )


def _costs(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    """Key, words and photos of each cost, the dearest first."""
    photos: Counter[Cost] = Counter()
    for each in evaluation.confusions:
        photos[each.cost] += each.photos
    return [(heat.KEYS[cost], cost.words, photos[cost]) for cost in Cost]


def _worst_first(figures: Figures) -> tuple[bool, float, int]:
    return figures.f1 is None, figures.f1.value if figures.f1 else 0.0, figures.label.class_id
