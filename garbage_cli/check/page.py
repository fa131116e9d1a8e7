"""What was found → `check.json`, and a page with pictures that needs nothing but itself.

Knows JSON and HTML. Does not know how anything was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from garbage_cli.check import KINDS, Checked, Finding, Kind
from garbage_cli.check.fixing import Fixed
from garbage_cli.dataset import SPLITS, Dataset
from garbage_cli.dataset.text import printable
from garbage_cli.errors import MissingExtraError
from garbage_cli.storage import require_room as require_room
from garbage_cli.storage import write_json, write_text
from garbage_cli.thumbnails import data_urls

JSON_FILE, PAGE_FILE = "check.json", "check.html"
FORMAT = 1

THUMB = 128
"""Pixels of a thumbnail's longer side."""
PICTURED = 48
"""Findings of one kind that are shown with pictures; the others are named."""
NAMED = 1000
"""Findings of one kind that the page names; check.json holds all."""
SIDE_BY_SIDE = 4
"""Photos of one finding that are shown beside each other."""


def write(checked: Checked, folder: Path, fixed: Fixed | None = None) -> Path:
    """Write both files into a folder; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON_FILE, as_json(checked, fixed))
    write_text(folder / PAGE_FILE, render(checked, fixed))
    return folder / PAGE_FILE


def as_json(checked: Checked, fixed: Fixed | None = None) -> dict[str, Any]:
    """Return the whole result as plain values, names fit to print."""
    dataset = checked.dataset
    counts = {split: dataset.counts(split) for split in SPLITS}
    return {
        "format": FORMAT,
        "root": printable(str(dataset.root)),
        "layout": dataset.layout,
        "usable": checked.usable,
        "photos": {split: len(dataset.split(split)) for split in SPLITS},
        "classes": [
            {
                "class_id": label.class_id,
                "name": label.name,
                "bin": label.bin_name,
                **{split: counts[split][label.class_id] for split in SPLITS},
            }
            for label in dataset.labels.items
        ],
        "counts": checked.counts(),
        "notes": [printable(note) for note in dataset.notes],
        "findings": [_finding_json(finding) for finding in checked.findings],
        "fixed": _fixed_json(fixed) if fixed else None,
    }


def _fixed_json(fixed: Fixed) -> dict[str, Any]:
    left_out = [
        {"path": printable(each.path), "split": each.split, "why": printable(each.why)} for each in fixed.left_out
    ]
    written = [printable(str(path)) for path in fixed.written]
    return {"written": written, "usable": fixed.after.usable, "left_out": left_out}


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.name,
        "severity": finding.kind.severity,
        "path": printable(finding.path),
        "split": finding.split,
        "class_id": finding.class_id,
        "where": printable(finding.where),
        "detail": printable(finding.detail),
        "others": [printable(other) for other in finding.others],
    }


# ---- the page


@dataclass(frozen=True, slots=True)
class _Bar:
    """A class in the histogram."""

    text: str
    bin_text: str
    colour: str
    counts: tuple[int, ...]
    widths: tuple[float, ...]
    """Of each split, in percent of the largest class."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A finding on the page: its pictures are data URLs, "" for what can't be shown."""

    finding: Finding
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Section:
    kind: Kind
    rows: tuple[_Row, ...]
    named: tuple[Finding, ...]
    more: int


def render(checked: Checked, fixed: Fixed | None = None) -> str:
    """Return the page: one file, no script, nothing loaded from elsewhere."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise MissingExtraError("the page of a check", package="jinja2", extra="check") from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    template = environment.from_string(
        resources.files("garbage_cli.check").joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    dataset = checked.dataset
    splits = [split for split in SPLITS if dataset.split(split)]
    return template.render(
        checked=checked,
        fixed=fixed,
        dataset=dataset,
        splits=[(split, len(dataset.split(split))) for split in splits],
        bars=_bars(dataset, splits),
        sections=_sections(checked),
        severities=_severities(checked),
    )


def _severities(checked: Checked) -> dict[str, int]:
    severities = [finding.kind.severity for finding in checked.findings]
    return {severity: severities.count(severity) for severity in ("error", "warning", "note")}


def _bars(dataset: Dataset, splits: Sequence[Any]) -> list[_Bar]:
    counts = [dataset.counts(split) for split in splits]
    largest = max(sum(split[label.class_id] for split in counts) for label in dataset.labels.items) or 1
    bars = []
    for label in dataset.labels.items:
        numbers = tuple(split[label.class_id] for split in counts)
        english = f" {label.english}" if label.english else ""
        bin_text = f"{label.bin_name} {label.bin.english}" if label.bin else label.bin_name or ""
        colour = label.bin.colour if label.bin else "#888888"
        widths = tuple(round(100 * number / largest, 2) for number in numbers)
        bars.append(_Bar(f"{label.class_id} {label.name}{english}", bin_text, colour, numbers, widths))
    return bars


def _sections(checked: Checked) -> list[_Section]:
    by_kind = {name: [f for f in checked.findings if f.kind.name == name] for name in checked.counts()}
    pictured = {name: found[:PICTURED] for name, found in by_kind.items()}
    names = [name for found in pictured.values() for finding in found for name in _shown(finding)]
    thumbs = data_urls({name: checked.dataset.root / name for name in names}, side=THUMB)
    return [
        _Section(
            KINDS[name],
            tuple(_Row(f, tuple((n, thumbs[n]) for n in _shown(f))) for f in pictured[name]),
            tuple(found[PICTURED:NAMED]),
            max(0, len(found) - NAMED),
        )
        for name, found in by_kind.items()
    ]


def _shown(finding: Finding) -> list[str]:
    """The photos of a finding; a line that leads out of the data set, or nowhere, has none."""
    if not finding.path or finding.kind.name in ("bad-line", "outside", "missing"):
        return []
    return list(dict.fromkeys([finding.path, *finding.others]))[:SIDE_BY_SIDE]
