"""The view that `predict` and `request` share."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.cells import chop_cells, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from garbage_cli.annotating.fonts import FONT_PACKAGES, Typeface
from garbage_cli.console.terminal import (
    WIDE,
    bin_text,
    count,
    err,
    label_text,
    out,
    percent,
    plain,
    print_json,
    say,
    show_error,
)
from garbage_cli.errors import ServerError
from garbage_cli.prediction import Prediction
from garbage_cli.wire import prediction_to_json

if TYPE_CHECKING:
    from garbage_cli.client import Summary

NOT_SURE = "不确定 not sure"

FEW = 50
"""Photos up to which there is one table at the end; of more, or if nobody knows, rows come as they are made."""

Rows = Iterator[Prediction]


@dataclass
class Tally:
    """How many photos got which kind of answer so far."""

    good: int = 0
    unsure: int = 0
    bad: int = 0
    before: int = 0
    """Those that were in the file already."""

    def add(self, prediction: Prediction) -> None:
        """Count one more."""
        self.bad += prediction.error is not None
        self.unsure += prediction.error is None and not prediction.sure
        self.good += prediction.error is None and prediction.sure

    def __str__(self) -> str:
        words = (f", {self.unsure} not sure" if self.unsure else "") + (f", {self.bad} failed" if self.bad else "")
        return f"{self.good} answered{words}" + (f", {self.before} already in the file" if self.before else "")


def show(
    predictions: Rows, *, total: int | None, json: bool, rows: bool = True, before: int = 0, resumable: bool = False
) -> bool:
    """Print answers; a single photo gets all its scores. Return whether every photo was answered.

    Without `rows` only the bar and the closing line are shown; the answers go into a file. `resumable` is whether the
    same command can go on after Ctrl-C.
    """
    if json:
        return _print_json_lines(predictions)
    if total == 1 and rows:
        return _show_one(next(predictions))
    tally = Tally(before=before)
    view = _show_rows if total is None or total > FEW else _show_table
    try:
        (view if rows else _show_none)(predictions, total, tally)
    except KeyboardInterrupt:
        say(f"stopped; {tally}" + ("; go on with the same command and --resume" if resumable else ""))
        raise
    except ServerError:
        if tally.good or tally.unsure or tally.bad:
            say(f"broken off; {tally}" + ("; go on with the same command and --resume" if resumable else ""))
        raise
    say(str(tally))
    return not tally.bad


def _show_none(predictions: Rows, total: int | None, tally: Tally) -> None:
    with _bar(total, err) as bar:
        for prediction in predictions:
            tally.add(prediction)
            bar.advance(bar.task_ids[0])


def _show_table(predictions: Rows, total: int | None, tally: Tally) -> None:
    """One table at the end, also if that comes early."""
    table = Table("photo", "bin", "kind", "score")
    table.columns[0].overflow = "fold"
    table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    try:
        with _bar(total, err) as bar:
            for prediction in predictions:
                tally.add(prediction)
                table.add_row(*_row(prediction))
                bar.advance(bar.task_ids[0])
    finally:
        if table.row_count:
            out.print(table)


def _show_rows(predictions: Rows, total: int | None, tally: Tally) -> None:
    """Each row at once, under one header. On a terminal the bar stays below the rows."""
    widths = _widths(out.width)
    with _bar(total, out if out.is_terminal else err) as bar:
        for prediction in predictions:
            if not any((tally.good, tally.unsure, tally.bad)):
                out.print(
                    _lines([Text(word, "bold") for word in ("photo", "bin", "kind", "score")], widths), soft_wrap=True
                )
                out.print("─" * (sum(widths) + 2 * len(widths) - 2), style="dim", soft_wrap=True)
            out.print(_lines(_cells(prediction), widths), soft_wrap=True)
            if prediction.error is not None:
                out.print(Text(f"  {plain(prediction.error)}", "red"), soft_wrap=True)
            tally.add(prediction)
            bar.advance(bar.task_ids[0])


def _widths(columns: int) -> tuple[int, int, int, int]:
    """Of photo, bin, kind and score: the bins' and kinds' are fixed, with English where there is room."""
    kind = 36 if columns >= WIDE else 14
    return max(12, columns - 19 - kind - 7 - 6), 19, kind, 7


def _lines(cells: list[Text], widths: tuple[int, int, int, int]) -> Text:
    """One row, in as many lines as its longest cell needs; a Chinese character takes two columns."""
    pieces = [chop_cells(cell.plain, width) if cell.plain else [""] for cell, width in zip(cells, widths, strict=True)]
    pieces[-1] = [piece.rjust(widths[-1]) for piece in pieces[-1]]
    lines = []
    for parts in zip_longest(*pieces, fillvalue=""):
        line = Text("  ").join(
            Text(set_cell_size(part, width), cell.style) for part, width, cell in zip(parts, widths, cells, strict=True)
        )
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


def _show_one(prediction: Prediction) -> bool:
    if prediction.best is None:
        show_error(f"{prediction.image}: {prediction.error}")
        return False
    if prediction.sure:
        out.print(label_text(prediction.best.label), percent(prediction.best.score))
    else:
        out.print(Text(NOT_SURE, "bold yellow"), "at best:", label_text(prediction.best.label))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for each in prediction.scores:
        bar = "█" * round(each.score * 10)
        style = each.label.bin.colour if each.label.bin else ""
        table.add_row(percent(each.score).rjust(7), Text(bar.ljust(10), style), label_text(each.label))
    out.print(table)
    return True


def _row(prediction: Prediction) -> list[Text]:
    """The cells of a table; what is wrong with a photo stands under its name."""
    photo, *cells = _cells(prediction)
    error = ("\n", (plain(prediction.error), "red")) if prediction.error is not None else ()
    return [Text.assemble(photo, *error), *cells]


def _cells(prediction: Prediction) -> list[Text]:
    photo = Text(plain(prediction.image))
    if prediction.best is None:
        return [photo, Text("failed", "red"), Text(), Text()]
    label = prediction.best.label
    kind = Text(f"{label.name} {label.english}" if label.english and out.width >= WIDE else label.name)
    bin_ = bin_text(label) if prediction.sure else Text(NOT_SURE, "yellow")
    return [photo, bin_, kind, Text(percent(prediction.best.score))]


@contextmanager
def _bar(total: int | None, console: Console) -> Iterator[Progress]:
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task("photos", total=total)
        yield progress


def _print_json_lines(predictions: Iterable[Prediction]) -> bool:
    answered = True
    for prediction in predictions:
        print_json(prediction_to_json(prediction))
        answered = answered and prediction.error is None
    return answered


def tell_pace(summary: "Summary", *, json: bool) -> None:
    """Say how fast a server answered, if it was asked about several photos; with `json` how many too."""
    if summary.answered + summary.failed < 2:
        return
    words = [f"{summary.per_second:.1f} photos/s"] if summary.answered else []
    if summary.p50 is not None and summary.p99 is not None:
        words += [f"p50 {_brief(summary.p50)}", f"p99 {_brief(summary.p99)}"]
    if summary.retries:
        words.append(count(summary.retries, "retry"))
    lines = [str(Tally(good=summary.answered, bad=summary.failed))] if json else []
    if lines or words:
        say("; ".join([*lines, *([", ".join(words)] if words else [])]))


def _brief(seconds: float) -> str:
    """180 ms, 2.4 ms, 12.3 s."""
    if seconds >= 9.995:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"


def tell_font(typeface: Typeface) -> None:
    """Say why pictures have no Chinese, where they have none."""
    if not typeface.has_chinese:
        say(f"no font with Chinese is installed, so the pictures are in English; {FONT_PACKAGES} brings one")


def tell_undrawn(number: int) -> None:
    """Say how many photos were answered and have no picture."""
    if number:
        say(f"{count(number, 'photo')} could be answered and then not be read again to be drawn")
