"""The table of classes by bin and split, which `unpack` and `check` share."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from garbage_cli.console.terminal import bin_text, out, plain
from garbage_cli.dataset import SPLITS, Dataset, Split
from garbage_cli.labels import BINS, Label


def show_classes(dataset: Dataset, *, found: Mapping[int, int] | None = None) -> None:
    """Print classes × bins × splits; with the number of findings per class, if they are given."""
    splits = [split for split in SPLITS if split != "test" or dataset.test]
    counts = {split: dataset.counts(split) for split in splits}
    title = f"{len(dataset.labels)} classes in {escape(plain(str(dataset.root)))} ({dataset.layout})"
    table = Table(title=title, title_justify="left")
    table.add_column("class", justify="right")
    table.add_column("kind", overflow="fold")
    table.add_column("bin")
    for name in (*splits, *(["found"] if found is not None else [])):
        table.add_column(name, justify="right")
    for label in dataset.labels.items:
        kind = Text.assemble(label.name, (f" {label.english}" if label.english else "", "dim"))
        numbers = [_count(counts[split][label.class_id]) for split in splits]
        table.add_row(str(label.class_id), kind, bin_text(label), *numbers, *_found(found, [label]))
    table.add_section()
    for labels in _by_bin(dataset):
        kinds = f"{len(labels)} kinds" if len(labels) > 1 else "1 kind"
        table.add_row("", kinds, bin_text(labels[0]), *_sums(counts, labels), *_found(found, labels))
    table.add_section()
    every = list(dataset.labels.items)
    table.add_row("", "all photos", "", *_sums(counts, every), *_found(found, every), style="bold")
    out.print(table)


def _sums(counts: Mapping[Split, Mapping[int, int]], labels: list[Label]) -> list[str]:
    return [str(sum(split[label.class_id] for label in labels)) for split in counts.values()]


def _found(found: Mapping[int, int] | None, labels: list[Label]) -> list[Text]:
    if found is None:
        return []
    number = sum(found.get(label.class_id, 0) for label in labels)
    return [Text(str(number) if number else "", style="yellow")]


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


def classes_json(dataset: Dataset) -> list[dict[str, Any]]:
    """One object a class."""
    splits = [split for split in SPLITS if split != "test" or dataset.test]
    counts = {split: dataset.counts(split) for split in splits}
    return [
        {
            "class_id": label.class_id,
            "name": label.name,
            "bin": label.bin_name,
            **{split: counts[split][label.class_id] for split in splits},
        }
        for label in dataset.labels.items
    ]
