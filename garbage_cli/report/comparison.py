"""A comparison of two models → the page `comparison.html`.

Knows what is on the page and how much of it. Does not know HTML, files or how figures are made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.evaluation.values import Comparison, Difference, Disagreement, Estimate, Evaluation
from garbage_cli.labels import Label
from garbage_cli.report import words
from garbage_cli.report.page import THUMB
from garbage_cli.report.template import render as fill
from garbage_cli.thumbnails import data_urls

PICTURED = 36
"""Photos of one verdict that are shown."""
TITLES = {"b": "B is right, A is wrong", "a": "A is right, B is wrong", "neither": "Neither is right"}


@dataclass(frozen=True, slots=True)
class Tile:
    """A difference of the headline."""

    title: str
    words: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of both models, in words."""

    title: str
    a: str
    b: str
    difference: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """F1 of a kind that both models know."""

    label: Label
    photos: int
    a: Estimate
    b: Estimate

    @property
    def difference(self) -> float:
        """B less A."""
        return self.b.value - self.a.value


@dataclass(frozen=True, slots=True)
class Group:
    """The photos of one verdict."""

    title: str
    number: int
    shown: tuple[Disagreement, ...]

    @property
    def more(self) -> int:
        """That are not shown."""
        return self.number - len(self.shown)


def render(comparison: Comparison, *, photos: Mapping[str, Path]) -> str:
    """Return the page."""
    groups = list(_groups(comparison))
    names = [each.name for group in groups for each in group.shown]
    return fill(
        "comparison.html.j2",
        c=comparison,
        tiles=list(_tiles(comparison)),
        notes=list(_notes(comparison)),
        rows=list(_rows(comparison)),
        kinds=sorted(_kinds(comparison), key=lambda each: each.difference),
        groups=groups,
        pictures=data_urls({name: photos[name] for name in names if name in photos}, side=THUMB),
    )


def _tiles(comparison: Comparison) -> Iterator[Tile]:
    if comparison.bin_accuracy:
        bins = comparison.bin_accuracy
        yield Tile("Right bin", words.of_difference(bins, "bin"), bins.difference)
    yield Tile("Right kind (top-1)", words.of_difference(comparison.top1, "kind"), comparison.top1.difference)
    said = "An interval, no test: it says how large the difference may be."
    yield Tile("Macro-F1", said, comparison.macro_f1)


def _notes(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Each note with whose it is; nobody's where it is both's."""
    a, b = comparison.a.notes, comparison.b.notes
    yield from (("", note) for note in a if note in b)
    yield from (("A", note) for note in a if note not in b)
    yield from (("B", note) for note in b if note not in a)


def _rows(comparison: Comparison) -> Iterator[Row]:
    a, b = comparison.a, comparison.b
    if comparison.bin_accuracy:
        yield _compared("right bin", comparison.bin_accuracy)
    yield _compared("right kind (top-1)", comparison.top1)
    f1 = comparison.macro_f1
    yield Row(
        "macro-F1", words.percent(comparison.a_macro_f1), words.percent(comparison.b_macro_f1),
        words.points(f1.value), f"{words.points_interval(f1)}, an interval, no test",
    )  # fmt: skip
    yield Row("calibration error (ECE)", words.percent(a.calibration.ece), words.percent(b.calibration.ece))
    yield Row("answered at its threshold", _answered(a), _answered(b))
    yield Row("photos a second", _rate(a), _rate(b))


def _compared(title: str, difference: Difference) -> Row:
    return Row(
        title,
        words.percent(difference.a),
        words.percent(difference.b),
        words.points(difference.difference.value),
        f"{words.points_interval(difference.difference)}, {words.chance(difference.p)}",
    )


def _answered(evaluation: Evaluation) -> str:
    rejection = evaluation.rejection
    return "always (no threshold)" if rejection.proposed else words.percent(rejection.coverage.value)


def _rate(evaluation: Evaluation) -> str:
    return words.rate(evaluation.speed.images_per_second) if evaluation.speed else "—"


def _kinds(comparison: Comparison) -> Iterator[Kind]:
    known = {each.label.text: each.f1 for each in comparison.a.kinds}
    for each in comparison.b.kinds:
        if each.f1 and (f1 := known.get(each.label.text)):
            yield Kind(each.label, each.photos, f1, each.f1)


def _groups(comparison: Comparison) -> Iterator[Group]:
    for verdict, title in TITLES.items():
        found = tuple(each for each in comparison.disagreements if each.verdict == verdict)
        if found:
            yield Group(title, len(found), found[:PICTURED])
