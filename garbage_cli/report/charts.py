"""Two charts of shares against shares: what scores promise and hold, and what answering less often gives.

Knows what is drawn where, between 0 and 1. Does not know who draws it: the page does as SVG, `plots` as PNG.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from garbage_cli.evaluation.values import Calibration, Rejection, ScoreBin
from garbage_cli.report.words import percent

Style = Literal["even", "first", "second"]

WIDTH, HEIGHT = 360, 272
"""Of the SVG, in its own units; letters are 11 high."""
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 42
"""Of the SVG's margins, in the same units."""
SMALLEST, LARGEST = 2.0, 7.0
"""Radius of a dot with one photo, and with as many as any."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a line, and how many photos stand behind it."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """Points that are joined."""

    name: str
    style: Style
    points: tuple[tuple[float, float], ...]
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over a square whose sides are shares."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    low: float = 0.0
    """Where the y axis begins."""
    mark: float | None = None
    """Where on the x axis a line stands."""
    mark_text: str = ""

    @property
    def x_ticks(self) -> tuple[float, ...]:
        """Where the x axis has numbers."""
        return (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    @property
    def y_ticks(self) -> tuple[float, ...]:
        """Where the y axis has numbers."""
        step = 0.2 if self.low < 0.5 else 0.1 if self.low < 0.8 else 0.05 if self.low < 0.9 else 0.02
        return tuple(1 - step * i for i in reversed(range(math.floor((1 - self.low) / step + 1e-9) + 1)))

    def across(self, share: float) -> float:
        """Return the place of a share on the SVG's x axis."""
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def down(self, share: float) -> float:
        """Return the place of a share on the SVG's y axis."""
        part = (share - self.low) / (1 - self.low)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, line: Line) -> str:
        """Return a line as SVG's `points`."""
        return " ".join(f"{self.across(x)},{self.down(y)}" for x, y in line.points)


def reliability(calibration: Calibration) -> Chart:
    """Draw what came against what the scores promised, before and after calibration."""
    most = max((each.photos for each in (*calibration.bins, *calibration.bins_uncalibrated)), default=1)
    served = _promised("as they are served", "first", calibration.bins, most)
    own = _promised("without the temperature", "second", calibration.bins_uncalibrated, most)
    even = Line("a score that holds", "even", ((0.0, 0.0), (1.0, 1.0)))
    lines = (even, served) if calibration.temperature == 1 else (even, own, served)
    return Chart("Reliability of the scores", "score, %", "right, %", lines)


def _promised(name: str, style: Style, bins: Sequence[ScoreBin], most: int) -> Line:
    dots = tuple(
        Dot(each.score, each.right, _radius(each.photos, most), _of_range(each)) for each in bins if each.photos
    )
    return Line(name, style, tuple((dot.x, dot.y) for dot in dots), dots)


def _radius(photos: int, most: int) -> float:
    return round(SMALLEST + (LARGEST - SMALLEST) * math.sqrt(photos / most), 2)


def _of_range(each: ScoreBin) -> str:
    return f"{each.photos} photos with a mean score of {percent(each.score)}: {percent(each.right)} right"


def coverage(rejection: Rejection) -> Chart:
    """Draw the share of right answers against the share of photos that are answered; the threshold is marked."""
    kinds = Line("right kind", "second", tuple((point.coverage, point.top1) for point in rejection.curve))
    by_bin = [(point.coverage, point.bin_accuracy) for point in rejection.curve]
    bins = Line("right bin", "first", tuple((x, y) for x, y in by_bin if y is not None))
    lines = (kinds, bins) if bins.points else (Line(kinds.name, "first", kinds.points),)
    lowest = min((y for line in lines for _, y in line.points), default=0.0)
    return Chart(
        "Accuracy against coverage", "photos answered, %", "right of those answered, %", lines,
        low=min(0.9, math.floor(10 * lowest) / 10), mark=rejection.coverage.value,
        mark_text=f"{'proposed ' if rejection.proposed else ''}threshold {rejection.threshold:.2f}",
    )  # fmt: skip
