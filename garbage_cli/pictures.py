"""What a run looks like: its curves, and its first batch as the network sees it, as PNG.

Knows matplotlib, and fonts with Chinese. Does not know files, the terminal or training. No pyplot: no window system is
asked for, and nothing is kept between pictures. The same values give the same bytes on the same machine.
"""

import io
import logging
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.config import PreprocessConfig
from garbage_cli.reports import EpochReport
from garbage_cli.vendor import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "Heiti TC", "STHeiti", "SimHei",
    "SimSun", "Droid Sans Fallback", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR", "Source Han Sans",
    "Arial Unicode MS", "Noto Serif CJK SC",
)  # fmt: skip
"""Families that have the characters of Chinese class names, as systems name them; the first that is there is taken."""

_TRAIN, _VAL, _THIRD, _QUIET = "#2c7fb8", "#d95f0e", "#7b3294", "#8a8a8a"
_DPI = 120
_TILE, _GAP, _TITLE = 180, 8, 20
"""Of the first batch: a photo's side, what is between them, a title's height, pixels."""
_LONGEST_TITLE = 24
"""Columns; a Chinese character takes two."""


def results_png(history: Sequence[EpochReport]) -> bytes:
    """Draw loss, accuracy and learning rate over the epochs of a run; the best epoch is marked.

    Raises ValueError if there is no epoch, and MissingExtraError without matplotlib.
    """
    if not history:
        raise ValueError("a run without an epoch has no curves")
    drawing = figure(10.5, 3.5, extra="train")
    drawing.set_layout_engine("constrained")
    losses, accuracies, rates = drawing.subplots(1, 3)
    epochs = [report.epoch for report in history]
    best = max(history, key=lambda report: (report.best, report.epoch))
    _curve(losses, epochs, [report.train_loss for report in history], "training", _TRAIN)
    _curve(losses, epochs, [report.val_loss for report in history], "validation", _VAL)
    _curve(accuracies, epochs, [100 * report.train_top1 for report in history], "training", _TRAIN)
    _curve(accuracies, epochs, [100 * report.val_top1 for report in history], "validation", _VAL)
    _curve(accuracies, epochs, [100 * report.val_macro_f1 for report in history], "validation, macro-F1", _THIRD)
    _curve(rates, epochs, [report.learning_rate for report in history], "learning rate", _QUIET)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    rates.yaxis.get_offset_text().set_fontsize(8)
    for axes, title in ((losses, "loss"), (accuracies, "top-1 and macro-F1, %"), (rates, "learning rate")):
        _finish(axes, epochs, title, best.epoch)
    _mark_best(accuracies, best)
    for axes in (losses, accuracies):
        axes.legend(frameon=False, fontsize=8)
    return png(drawing)


def batch_png(
    inputs: NDArray[np.float32], titles: Sequence[str], spec: PreprocessConfig, *, columns: int = 8, most: int = 64
) -> bytes:
    """Draw inputs of shape (n, 3, h, w), normalised by `spec`, as the photos they are; a title above each.

    No more than `most` are drawn, in rows of `columns`. A title keeps the characters that a font of this machine has.
    Raises ValueError unless there is an input, and a title for each; MissingExtraError without matplotlib.
    """
    if not len(inputs) or len(titles) != len(inputs):
        raise ValueError(f"{len(inputs)} inputs and {len(titles)} titles")
    photos = _photos(inputs[:most], spec)
    columns = min(columns, len(photos))
    rows = math.ceil(len(photos) / columns)
    width, height = columns * (_TILE + _GAP) + _GAP, rows * (_TITLE + _TILE + _GAP) + _GAP
    drawing = figure(width / _DPI, height / _DPI, extra="train")
    sheet = np.full((height, width, 3), 255, np.uint8)
    properties, has = font(CHINESE_FONTS)
    for number, photo in enumerate(photos):
        row, column = divmod(number, columns)
        left, top = _GAP + column * (_TILE + _GAP), _GAP + row * (_TITLE + _TILE + _GAP) + _TITLE
        sheet[top : top + _TILE, left : left + _TILE] = _tile(photo)
        drawing.text(
            (left + _TILE / 2) / width, 1 - (top - 6) / height, _fitting(titles[number], has),
            fontproperties=properties, fontsize=7.5, horizontalalignment="center", parse_math=False,
        )  # fmt: skip
    drawing.figimage(sheet, origin="upper")
    return png(drawing)


def _tile(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(photo).resize((_TILE, _TILE), Image.Resampling.LANCZOS))


def figure(width: float, height: float, *, extra: str) -> "Figure":
    """Return an empty figure, in inches, with the renderer that needs no window.

    Raises MissingExtraError, which names `extra`, without matplotlib.
    """
    require("drawing", module="matplotlib", package="matplotlib", extra=extra)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it speaks of its cache of fonts
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(drawing)
    return drawing


def png(drawing: "Figure") -> bytes:
    """Return the figure's bytes; without the version of matplotlib in them, which would make them differ."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _curve(axes: "Axes", epochs: Sequence[int], values: Sequence[float], label: str, colour: str) -> None:
    few = len(epochs) <= 30
    axes.plot(epochs, values, color=colour, label=label, linewidth=1.6, marker="o" if few else "", markersize=3.5)


def _finish(axes: "Axes", epochs: Sequence[int], title: str, best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    span = max(epochs) - min(epochs)
    axes.set_xlim(min(epochs) - 0.04 * span - 0.5 * (span < 5), max(epochs) + 0.04 * span + 0.5 * (span < 5))
    axes.axvline(best, color=_QUIET, linewidth=0.9, linestyle=":", zorder=0)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _mark_best(axes: "Axes", best: EpochReport) -> None:
    text = f"{100 * best.val_top1:.1f} % at epoch {best.epoch}"
    axes.plot([best.epoch], [100 * best.val_top1], marker="*", color=_VAL, markersize=12, linestyle="", label=text)


def _photos(inputs: NDArray[np.float32], spec: PreprocessConfig) -> NDArray[np.uint8]:
    """Undo the normalisation: (n, 3, h, w) → uint8 (n, h, w, 3). What is no number is black."""
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    pixels = np.nan_to_num(np.asarray(inputs, np.float32) * std + mean, posinf=1.0, neginf=0.0)
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), np.uint8).transpose(0, 2, 3, 1)


@lru_cache(maxsize=4)
def font(families: tuple[str, ...]) -> tuple["FontProperties", Callable[[str], bool]]:
    """Return the first of these families that is there, else matplotlib's own; and whether it has a character."""
    from matplotlib import font_manager

    names = {entry.name for entry in font_manager.fontManager.ttflist}
    family = next((name for name in families if name in names), "DejaVu Sans")
    properties = font_manager.FontProperties(family=[family])
    characters: Any = font_manager.get_font(font_manager.findfont(properties)).get_charmap()
    return properties, lambda character: ord(character) in characters


def _fitting(title: str, has: Callable[[str], bool]) -> str:
    """A title in characters that can be drawn, cut to the tile's width."""
    text = " ".join("".join(character if has(character) else " " for character in title).split())
    text = text.strip(" /·-_()（）:：")
    width, kept = 0, ""
    for character in text:
        width += 2 if ord(character) > 0x2E7F else 1
        if width > _LONGEST_TITLE:
            return f"{kept.rstrip()}{'…' if has('…') else ''}"
        kept += character
    return kept
