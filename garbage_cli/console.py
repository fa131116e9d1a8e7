"""What people see: bars, tables, bins in their colours, JSON, the error line.

Knows rich. Does not know how values are made. Data goes to stdout, talk and bars to stderr.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from garbage_cli.archive import Member
from garbage_cli.dataset import Dataset
from garbage_cli.demo import Begun, Ended
from garbage_cli.exporter import Exported, Parity, Step
from garbage_cli.labels import BINS, Label
from garbage_cli.prediction import Prediction
from garbage_cli.runs import EpochReport
from garbage_cli.sample import Drawn
from garbage_cli.trainer import Finished, Interrupted, LeftOut, Report, Started, StepReport
from garbage_cli.wire import prediction_to_json
from garbage_cli.zoo import Fetched

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

WIDE = 100
"""Columns from which a table has room for kinds in English too."""


def show_error(message: str) -> None:
    """Write one line on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), " ".join(message.split())), soft_wrap=True)


def say(message: str) -> None:
    """Write a line of talk on stderr."""
    err.print(escape(message), soft_wrap=True)


def print_json(value: Any) -> None:
    """Write one line of JSON on stdout, Chinese unescaped."""
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201 - rich would wrap it


def label_text(label: Label) -> Text:
    """可回收物 Recyclable → 易拉罐 drink can, the bin in its colour."""
    text = bin_text(label)
    text.append(" → ")
    text.append(label.name, "bold")
    text.append(f" {label.english}" if label.english else "")
    return text


def bin_text(label: Label) -> Text:
    """The bin as the data set names it, with its English name, in its colour."""
    if label.bin is None:
        return Text(label.bin_name or "?")
    return Text(f"{label.bin_name} {label.bin.english}", style=f"bold {label.bin.colour}")


def percent(share: float) -> str:
    """98.2 %."""
    return f"{share * 100:.1f} %"


# ---- unpack


def watch_unpack(members: Iterable[Member], path: Path) -> int:
    """Draw a bar by bytes; return the number of files."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    count = 0
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(f"unpacking {escape(path.name)}", total=None)
        for member in members:
            count += 1
            progress.update(task, completed=member.done, total=member.total)
    return count


def show_dataset(dataset: Dataset) -> None:
    """Print classes × bins × splits."""
    train, val = dataset.counts("train"), dataset.counts("val")
    table = Table(title=f"{len(dataset.labels)} classes in {escape(str(dataset.root))}", title_justify="left")
    table.add_column("class", justify="right")
    table.add_column("kind")
    table.add_column("bin")
    table.add_column("train", justify="right")
    table.add_column("val", justify="right")
    for label in dataset.labels.items:
        kind = Text.assemble(label.name, (f" {label.english}" if label.english else "", "dim"))
        counts = [_count(split[label.class_id]) for split in (train, val)]
        table.add_row(str(label.class_id), kind, bin_text(label), *counts)
    table.add_section()
    for labels in _by_bin(dataset):
        sums = [str(sum(split[label.class_id] for label in labels)) for split in (train, val)]
        table.add_row("", f"{len(labels)} kinds" if len(labels) > 1 else "1 kind", bin_text(labels[0]), *sums)
    table.add_section()
    table.add_row("", "all photos", "", str(len(dataset.train)), str(len(dataset.val)), style="bold")
    out.print(table)


def _count(number: int) -> Text:
    return Text(str(number), style="" if number else "bold red")


def _by_bin(dataset: Dataset) -> list[list[Label]]:
    """Group labels by bin, in the order of the national standard, other words after."""
    order = {bin_.key: i for i, bin_ in enumerate(BINS)}
    labels = sorted(dataset.labels.items, key=lambda label: order.get(label.bin.key if label.bin else "", len(BINS)))
    groups: dict[str | None, list[Label]] = {}
    for label in labels:
        groups.setdefault(label.bin_name, []).append(label)
    return list(groups.values())


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """Return what `unpack --json` prints."""
    train, val = dataset.counts("train"), dataset.counts("val")
    classes = [
        {
            "class_id": label.class_id,
            "name": label.name,
            "bin": label.bin_name,
            "train": train[label.class_id],
            "val": val[label.class_id],
        }
        for label in dataset.labels.items
    ]
    return {"root": str(dataset.root), "train": len(dataset.train), "val": len(dataset.val), "classes": classes}


# ---- train


class TrainingView:
    """A row per epoch and a bar per step, on stderr."""

    def __init__(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task: TaskID | None = None
        self._epochs = 0

    def watch(self, reports: Iterable[Report]) -> Finished | Interrupted | None:
        """Draw the reports as they come; return the last."""
        last: Report | None = None
        with self._progress:
            for last in reports:
                self._show(last)
        return last if isinstance(last, (Finished, Interrupted)) else None

    def _show(self, report: Report) -> None:
        match report:
            case Started():
                self._show_started(report)
            case Fetched():
                self._advance("fetching weights", report.done, report.total)
            case StepReport():
                text = f"epoch {report.epoch}/{self._epochs} loss {report.loss:.3f}"
                self._advance(text, report.step, report.steps)
            case EpochReport():
                self._show_epoch(report)
            case LeftOut():
                for bad in report.photos:
                    say(f"left out {bad.path}: {bad.reason}")

    def _advance(self, text: str, done: int, total: int | None) -> None:
        if self._task is None:
            self._task = self._progress.add_task(text, total=total)
        self._progress.update(self._task, description=text, completed=done, total=total)

    def _show_started(self, started: Started) -> None:
        self._epochs = started.config.epochs
        for line in _introduction(started):
            say(line)
        err.print(_HEADER, style="bold")

    def _show_epoch(self, report: EpochReport) -> None:
        left = (self._epochs - report.epoch) * report.seconds
        err.print(
            f"{report.epoch:>5}  {report.train_loss:>10.4f}  {percent(report.train_top1):>11}  "
            f"{report.val_loss:>8.4f}  {percent(report.val_top1):>9}  {report.images_per_second:>8.1f}  "
            f"{duration(left):>9}{'  ★' if report.best else ''}",
        )
        if self._task is not None:
            self._progress.reset(self._task)


_HEADER = "epoch  train loss  train top-1  val loss  val top-1  images/s  time left"


def _introduction(started: Started) -> Iterator[str]:
    data, config = started.dataset, started.config
    yield (
        f"{config.model.name} on {started.device}: {len(data.train)} training and {len(data.val)} validation photos, "
        f"{len(data.labels)} classes, into {started.run}"
    )
    if started.moved:
        yield f"the earlier run is now {started.moved}"
    if started.fit:
        head = f"; the head starts afresh with {len(data.labels)} classes" if started.fit.replaced else ""
        yield f"weights {config.model.pretrained}: {started.fit.loaded} of {started.fit.total} tensors{head}"
    if config.model.lr_mult and not started.multipliers_used:
        yield f"{config.model.name} takes no such learning-rate multipliers: lr_mult is not used"
    if started.epoch > 1 or started.step:
        yield f"resumed at epoch {started.epoch}, step {started.step}"


def duration(seconds: float) -> str:
    """1:02:03, or 4:05 under an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def show_finished(finished: Finished) -> None:
    """Print where the best weights are and how good they are."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("best epoch", str(finished.best_epoch))
    table.add_row("validation top-1", Text(percent(finished.best_top1), "bold"))
    table.add_row("time", duration(finished.seconds))
    table.add_row("run folder", str(finished.run))
    out.print(table)


def finished_json(finished: Finished) -> dict[str, Any]:
    """Return what `train --json` prints."""
    return {
        "run": str(finished.run),
        "best_epoch": finished.best_epoch,
        "val_top1": finished.best_top1,
        "seconds": round(finished.seconds, 1),
    }


# ---- export


def watch_export(steps: Iterable[Step | Parity | Exported]) -> Exported:
    """Show each step; return the finished bundle."""
    finished: Exported | None = None
    with err.status("exporting"):
        for step in steps:
            match step:
                case Step():
                    say(f"{step.what} …")
                case Parity(difference=None):
                    say(f"{step.engine} can't run this network and is left out: {step.reason}")
                case Parity():
                    say(f"{step.engine} agrees with the checkpoint to {step.difference:.1e}")
                case Exported():
                    finished = step
    assert finished is not None
    return finished


def show_exported(exported: Exported) -> None:
    """Print the bundle's files and how far each engine is from the checkpoint."""
    bundle = exported.bundle
    out.print(f"{bundle.name}, {len(bundle.labels)} classes, in {bundle.root}", markup=False, soft_wrap=True)
    table = Table("file")
    table.add_column("MB", justify="right")
    for name, facts in bundle.files.items():
        table.add_row(name, f"{facts['bytes'] / 1e6:.2f}")
    out.print(table)
    out.print(f"Largest difference from the checkpoint, on {exported.samples}:", soft_wrap=True)
    for each in exported.parity:
        out.print(f"  {each.engine:<12}{'cannot run it' if each.difference is None else f'{each.difference:.1e}'}")


def exported_json(exported: Exported) -> dict[str, Any]:
    """Return what `export --json` prints."""
    bundle = exported.bundle
    parity = {each.engine: each.difference for each in exported.parity}
    files = {name: facts["bytes"] for name, facts in bundle.files.items()}
    return {"root": str(bundle.root), "model": bundle.name, "files": files, "parity": parity}


# ---- serve


def show_ready(url: str, workers: int, *, json: bool) -> None:
    """Say that the server answers, and where."""
    if json:
        print_json({"url": url, "workers": workers})
    else:
        say(f"ready at {url} with {workers} worker{'s' if workers > 1 else ''}; Ctrl-C stops it")


# ---- predict and request


def show_predictions(predictions: Iterator[Prediction], *, total: int) -> bool:
    """Print answers; a single photo gets all its scores. Return whether every photo was answered."""
    if total == 1:
        prediction = next(predictions)
        _show_one(prediction)
        return prediction.error is None
    table = Table("photo", "bin", "kind", "score")
    table.columns[0].overflow = "fold"
    table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    good = bad = 0
    for prediction in _with_bar(predictions, total):
        table.add_row(*_row(prediction))
        good, bad = good + (prediction.error is None), bad + (prediction.error is not None)
    if good + bad:
        out.print(table)
    say(f"{good} answered" + (f", {bad} failed" if bad else ""))
    return not bad


def _show_one(prediction: Prediction) -> None:
    if prediction.best is None:
        show_error(f"{prediction.image}: {prediction.error}")
        return
    out.print(label_text(prediction.best.label), percent(prediction.best.score))
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
    return photo, bin_text(label), kind, percent(prediction.best.score)


def _with_bar(predictions: Iterator[Prediction], total: int) -> Iterator[Prediction]:
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield from progress.track(predictions, total=total)


def print_predictions_json(predictions: Iterable[Prediction]) -> bool:
    """Write one JSON object a line, in input order. Return whether every photo was answered."""
    answered = True
    for prediction in predictions:
        print_json(prediction_to_json(prediction))
        answered = answered and prediction.error is None
    sys.stdout.flush()
    return answered


# ---- demo


def watch_demo(steps: Iterable[Drawn | Begun | Ended]) -> list[Ended]:
    """Show each command before its own output; return what each made."""
    ended = []
    for step in steps:
        match step:
            case Drawn() if step.done == step.total:
                say(f"drew {step.total} photos")
            case Begun():
                err.print(Text.assemble("\n", ("$ " + step.command, "bold cyan")), soft_wrap=True)
            case Ended():
                ended.append(step)
    return ended


def show_demo(steps: list[Ended], top1: float, folder: Path) -> None:
    """Print what each command made, and what to type next."""
    table = Table(title=f"The pipeline, in {escape(str(folder))}", title_justify="left")
    table.add_column("command", overflow="fold")
    table.add_column("made")
    table.add_column("seconds", justify="right")
    for step in steps:
        words = step.command.split()
        shown = step.command if len(words) <= 4 else " ".join([*words[:3], "…"])
        table.add_row(escape(shown), escape(step.made), f"{step.seconds:.1f}")
    out.print()
    out.print(table)
    out.print(f"validation top-1: {percent(top1)}", style="bold")
    out.print("What to type next:", style="bold")
    for line in (
        f"cd {folder} && garbage serve",
        "garbage request YOUR_PHOTO.jpg",
        "garbage unpack YOUR_ARCHIVE.rar && garbage train --help",
    ):
        out.print(f"  {escape(line)}", soft_wrap=True)


def demo_json(steps: list[Ended], top1: float) -> dict[str, Any]:
    """Return what `demo --json` prints."""
    commands = [{"command": step.command, "made": step.made, "seconds": round(step.seconds, 2)} for step in steps]
    return {"steps": commands, "val_top1": top1}
