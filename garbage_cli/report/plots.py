"""An evaluation's plots, as PNG.

Knows matplotlib. Does not know pages or files. Class names are Chinese where a font of this machine has them, else
English, else numbers; nothing in them is taken for a formula.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.evaluation.values import Estimate, Evaluation, Figures
from garbage_cli.labels import Label
from garbage_cli.pictures import CHINESE_FONTS, figure, font, png
from garbage_cli.report import charts, heat
from garbage_cli.report.words import bin_of, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 60
"""Kinds whose names a plot has room for."""
COUNTED = 12
"""Kinds whose cells have room for numbers."""
LONGEST = 18
"""Columns of a class name; a Chinese character takes two."""

_INK, _QUIET, _OTHER = "#18202a", "#6b7785", "#8a94a0"
_LINES = {"even": _QUIET, "first": "#2f6fd0", "second": "#d9731a"}


def all_plots(evaluation: Evaluation) -> dict[str, bytes]:
    """Return PNG by file name; what there is nothing to draw of is left out."""
    plots = {
        "confusion.png": confusion(evaluation),
        "reliability.png": chart(charts.reliability(evaluation.calibration)),
        "coverage.png": chart(charts.coverage(evaluation.rejection)),
        "classes.png": classes(evaluation),
    }
    return plots | ({"bins.png": bins(evaluation)} if evaluation.bins else {})


def confusion(evaluation: Evaluation) -> bytes:
    """Draw who is taken for whom, by kind."""
    return _matrix(heat.of_kinds(evaluation), "kinds: rows are true, columns are answers")


def bins(evaluation: Evaluation) -> bytes:
    """Draw who is taken for whom, by bin."""
    return _matrix(heat.of_bins(evaluation), "bins: rows are true, columns are answers")


def classes(evaluation: Evaluation) -> bytes:
    """Draw F1 of each kind with its interval, the worst first, in the colour of its bin."""
    known = [(each, each.f1) for each in evaluation.kinds if each.f1]
    worst = sorted(known, key=lambda pair: pair[1].value)[:NAMED]
    drawing = _empty(6.4, 1.1 + 0.24 * max(len(worst), 3))
    axes = drawing.subplots()
    _bars(axes, worst)
    axes.set_title(_of_how_many(len(worst), len(known)), fontsize=10, loc="left")
    axes.set_xlabel("F1 with its 95 % interval, %", fontsize=9)
    return png(drawing)


def _of_how_many(shown: int, known: int) -> str:
    return "F1 of each kind" if shown == known else f"F1 of the {shown} worst of {known} kinds"


def _bars(axes: "Axes", worst: Sequence[tuple[Figures, Estimate]]) -> None:
    places = np.arange(len(worst))
    colours = [bin_.colour if (bin_ := bin_of(each.label)) else _OTHER for each, _ in worst]
    axes.barh(places, [100 * f1.value for _, f1 in worst], color=colours, height=0.7)
    for place, (_, f1) in zip(places.tolist(), worst, strict=True):
        axes.plot([100 * f1.low, 100 * f1.high], [place, place], color=_INK, linewidth=1.2)
        axes.text(101.5, place, percent(f1.value), fontsize=7.5, verticalalignment="center", color=_INK)
    axes.set_yticks(places, _names([each.label for each, _ in worst]), **_text(8))
    axes.set_ylim(len(worst) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


# ---- matrices


def _matrix(cells: heat.Heat, title: str) -> bytes:
    size = len(cells.labels)
    side = 7.5 if size > NAMED else 2.6 + max(2.2, 0.2 * size)
    drawing = _empty(side + 0.6, side)
    axes = drawing.subplots()
    if size > NAMED:
        _scatter(axes, cells)
    else:
        axes.imshow(_coloured(cells), aspect="equal", interpolation="nearest")
        _name_both(axes, cells)
    if size <= COUNTED:
        _count(axes, cells)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylabel("true", fontsize=9)
    axes.set_xlabel("answered", fontsize=9)
    _explain(drawing, cells)
    return png(drawing)


def _explain(drawing: "Figure", cells: heat.Heat) -> None:
    """Say what the colours that were drawn mean."""
    from matplotlib.patches import Patch

    there = set(cells.keys[cells.counts > 0].tolist())
    handles = [
        Patch(color=(red / 255, green / 255, blue / 255), label=words)
        for key, words in cells.words.items()
        for red, green, blue in (heat.COLOURS[key],)
        if key in there
    ]
    drawing.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=7.5, frameon=False)


def _scatter(axes: "Axes", cells: heat.Heat) -> None:
    """Draw a dot for each cell that has photos: of many kinds, a cell would be smaller than a pixel."""
    rows, columns = np.nonzero(cells.counts)
    order = np.argsort(rows != columns, kind="stable")
    rows, columns = rows[order], columns[order]
    colours = np.array([heat.COLOURS[key] for key in cells.keys[rows, columns].tolist()]) / 255
    visible = np.column_stack([colours, 0.4 + 0.6 * cells.shares[rows, columns]])
    axes.scatter(columns, rows, s=5, c=visible, marker="s", linewidths=0)
    axes.set_xlim(-0.5, len(cells.labels) - 0.5)
    axes.set_ylim(len(cells.labels) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8)


def _coloured(cells: heat.Heat) -> NDArray[np.float64]:
    """The cells as sRGB over white, (n, n, 3)."""
    colours = np.zeros((*cells.counts.shape, 3))
    for key, colour in heat.COLOURS.items():
        colours[cells.keys == key] = np.array(colour) / 255
    strength = 0.8 * cells.strengths[..., None]
    return np.asarray(1 - strength * (1 - colours), np.float64)


def _name_both(axes: "Axes", cells: heat.Heat) -> None:
    names, places = _names(cells.labels), np.arange(len(cells.labels))
    size = 9 if len(names) <= COUNTED else 7
    axes.set_yticks(places, names, **_text(size))
    axes.set_xticks(places, names, rotation=90 if len(names) > 6 else 30, **_text(size))
    if len(names) <= 6:
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("right")
    axes.set_xticks(places[:-1] + 0.5, minor=True)
    axes.set_yticks(places[:-1] + 0.5, minor=True)
    axes.grid(which="minor", color="#e3e7ec", linewidth=0.6)
    axes.tick_params(which="both", length=0)


def _count(axes: "Axes", cells: heat.Heat) -> None:
    for i, row in enumerate(cells.counts.tolist()):
        for j, count in enumerate(row):
            if count:
                axes.text(j, i, str(count), fontsize=8, color=_INK, **_CENTRED)


_CENTRED: dict[str, Any] = {"horizontalalignment": "center", "verticalalignment": "center"}


# ---- charts


def chart(chart: charts.Chart) -> bytes:
    """Draw a chart of shares."""
    drawing = _empty(5.2, 4.0)
    axes = drawing.subplots()
    for line in chart.lines:
        _line(axes, line)
    if chart.mark is not None:
        axes.axvline(100 * chart.mark, color=_INK, linewidth=1, linestyle="--", label=chart.mark_text)
    axes.set_title(chart.title, fontsize=10, loc="left")
    axes.set_xlabel(chart.x, fontsize=9)
    axes.set_ylabel(chart.y, fontsize=9)
    axes.set_xlim(-1, 101)
    axes.set_ylim(100 * chart.low, 100 + (1 - chart.low))
    axes.set_yticks([100 * tick for tick in chart.y_ticks])
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return png(drawing)


def _line(axes: "Axes", line: charts.Line) -> None:
    x, y = ([100 * point[axis] for point in line.points] for axis in (0, 1))
    dashes = ":" if line.style == "even" else "-"
    axes.plot(x, y, color=_LINES[line.style], label=line.name, linewidth=1.6, linestyle=dashes)
    sizes = [(2 * dot.radius) ** 2 * 0.5 for dot in line.dots]
    axes.scatter([100 * dot.x for dot in line.dots], [100 * dot.y for dot in line.dots], sizes, _LINES[line.style])


# ---- text


def _empty(width: float, height: float) -> "Figure":
    drawing = figure(width, height, extra="evaluate")
    drawing.set_layout_engine("constrained")
    return drawing


def _text(size: float) -> dict[str, Any]:
    """How a class name is set."""
    properties = font(CHINESE_FONTS)[0].copy()
    properties.set_size(size)
    return {"fontproperties": properties, "parse_math": False}


def _names(labels: Sequence[Label]) -> list[str]:
    _, has = font(CHINESE_FONTS)
    return [_name(label, has) for label in labels]


def _name(label: Label, has: Callable[[str], bool]) -> str:
    """What a kind can be called with the characters that there are."""
    bin_ = bin_of(label) if label.name == label.bin_name else None
    for name in (label.name, bin_.english if bin_ else label.english or ""):
        text = " ".join(name.split())
        if text and all(has(character) for character in text):
            return _cut(text, "…" if has("…") else "")
    return str(label.class_id)


def _cut(text: str, end: str) -> str:
    widths = np.cumsum([2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text])
    return text if widths[-1] <= LONGEST else text[: int(np.searchsorted(widths, LONGEST - 1, "right"))].rstrip() + end
