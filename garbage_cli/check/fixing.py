"""What was found → cleaned lists beside the old ones. No photo is deleted, no old list changed.

Knows which findings are dropped. Does not know how they were found.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from garbage_cli.check import Checked
from garbage_cli.check.rules import findings
from garbage_cli.dataset import SPLITS, Dataset, Sample, Split
from garbage_cli.dataset.cleaned import LeftOutPhoto, write
from garbage_cli.dataset.splits import listable
from garbage_cli.errors import DatasetError

_Entry = tuple[Split, str, int | None, str]
"""Split, name, class and list line: which of several entries of one photo is meant."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Lists that were written, what they leave out, and what is still found in what they hold."""

    written: tuple[Path, ...]
    left_out: tuple[LeftOutPhoto, ...]
    after: Checked


def fix(checked: Checked) -> Fixed:
    """Write lists without what can't be used, what leaks, what has two labels, and copies.

    Of a photo in training and validation the training copy goes; under two labels, all copies go, for nobody here
    knows which is right; of copies in one split, the first stays. Raises DatasetError if no photo would be left.
    """
    dataset = checked.dataset
    dropped = _dropped(checked)
    splits = {split: _kept(dataset, split, dropped) for split in SPLITS}
    for split in SPLITS[:2]:
        if not splits[split]:
            name = {"train": "training", "val": "validation"}[split]
            raise DatasetError(f"{dataset.root}: no {name} photo would be left; no list was written; add photos")
    fresh = tuple(LeftOutPhoto(name, split, why) for (split, name, _, _), why in dropped.items())
    left_out = (*dataset.left_out, *fresh)
    written = write(dataset.root, splits, left_out=left_out, fingerprint=dataset.found)
    cleaned = replace(
        dataset, train=splits["train"], val=splits["val"], test=splits["test"], problems=(), left_out=left_out
    )
    after = Checked(cleaned, checked.records, findings(cleaned, checked.records), fresh=0)
    return Fixed(tuple(written), fresh, after)


def _dropped(checked: Checked) -> dict[_Entry, str]:
    dropped: dict[_Entry, str] = {}
    two_labels: dict[bytes, str] = {}
    for finding in checked.findings:
        if not finding.kind.dropped or finding.split is None:
            continue
        why = f"{finding.kind.name}: {finding.detail}"
        dropped[finding.split, finding.path, finding.class_id, finding.where] = why
        if finding.kind.name == "two-labels":
            two_labels[checked.records[checked.dataset.root / finding.path].sha256] = why
    for split in SPLITS:
        for sample in checked.dataset.split(split):
            if why := two_labels.get(checked.records[sample.path].sha256, ""):
                dropped[_entry(checked.dataset, split, sample)] = why
    return dropped


def _entry(dataset: Dataset, split: Split, sample: Sample) -> _Entry:
    return split, dataset.name(sample.path), sample.class_id, dataset.where(split, sample)


def _kept(dataset: Dataset, split: Split, dropped: dict[_Entry, str]) -> tuple[Sample, ...]:
    """The samples that are not dropped; a name that holds a line break can't stand in a list, and goes too."""
    kept = []
    for sample in dataset.split(split):
        entry = _entry(dataset, split, sample)
        if not listable(entry[1]):
            dropped.setdefault(entry, "its name holds a line break; rename it")
        if entry not in dropped:
            kept.append(sample)
    return tuple(kept)
