"""The view that `predict` and `request` share, and the line of `serve`."""

from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from garbage_cli.console.terminal import WIDE, bin_text, err, label_text, out, percent, print_json, say, show_error
from garbage_cli.prediction import Prediction
from garbage_cli.wire import prediction_to_json

NOT_SURE = "不确定 not sure"


def show(predictions: Iterator[Prediction], *, total: int, json: bool) -> bool:
    """Print answers; a single photo gets all its scores. Return whether every photo was answered."""
    if json:
        return _print_json_lines(predictions)
    if total == 1:
        prediction = next(predictions)
        _show_one(prediction)
        return prediction.error is None
    table = Table("photo", "bin", "kind", "score")
    table.columns[0].overflow = "fold"
    table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    good = unsure = bad = 0
    for prediction in _with_bar(predictions, total):
        table.add_row(*_row(prediction))
        bad += prediction.error is not None
        unsure += prediction.error is None and not prediction.sure
        good += prediction.error is None and prediction.sure
    if good + unsure + bad:
        out.print(table)
    say(f"{good} answered" + (f", {unsure} not sure" if unsure else "") + (f", {bad} failed" if bad else ""))
    return not bad


def _show_one(prediction: Prediction) -> None:
    if prediction.best is None:
        show_error(f"{prediction.image}: {prediction.error}")
        return
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


def _row(prediction: Prediction) -> tuple[Text, Text, Text, str]:
    photo = Text(prediction.image)
    if prediction.best is None:
        return Text.assemble(photo, "\n", (prediction.error or "", "red")), Text("failed", "red"), Text(), ""
    label = prediction.best.label
    kind = Text(f"{label.name} {label.english}" if label.english and out.width >= WIDE else label.name)
    bin_ = bin_text(label) if prediction.sure else Text(NOT_SURE, "yellow")
    return photo, bin_, kind, percent(prediction.best.score)


def _with_bar(predictions: Iterator[Prediction], total: int) -> Iterator[Prediction]:
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield from progress.track(predictions, total=total)


def _print_json_lines(predictions: Iterable[Prediction]) -> bool:
    answered = True
    for prediction in predictions:
        print_json(prediction_to_json(prediction))
        answered = answered and prediction.error is None
    return answered


def show_ready(url: str, workers: int, *, json: bool) -> None:
    """Say that the server answers, and where."""
    if json:
        print_json({"url": url, "workers": workers})
    else:
        say(f"ready at {url} with {workers} worker{'s' if workers > 1 else ''}; Ctrl-C stops it")
