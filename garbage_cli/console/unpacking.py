"""The view of `unpack`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from garbage_cli.archive import Member
from garbage_cli.console.terminal import bin_text, err, out, print_json, say
from garbage_cli.dataset import Dataset
from garbage_cli.labels import BINS, Label


def watch(members: Iterable[Member], archive: Path, folder: Path) -> None:
    """Draw a bar by bytes, then say how many files came out."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    count = 0
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(f"unpacking {escape(archive.name)}", total=None)
        for member in members:
            count += 1
            progress.update(task, completed=member.done, total=member.total)
    say(f"{count} file{'s' if count != 1 else ''} in {folder}")


def show(dataset: Dataset, *, json: bool) -> None:
    """Print classes × bins × splits."""
    if json:
        print_json(_as_json(dataset))
        return
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


def _as_json(dataset: Dataset) -> dict[str, Any]:
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
