"""What was found → cleaned lists beside the old ones. No photo is deleted, no old list changed.

Knows which findings are dropped. Does not know how they were found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from garbage_cli.check import Checked, Finding
from garbage_cli.check.rules import findings
from garbage_cli.dataset import SPLITS, Dataset, Sample, Split
from garbage_cli.dataset.cleaned import LeftOutPhoto, write
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
    dropped = _dropped(checked.findings, dataset)
    splits = {split: _kept(dataset, split, dropped) for split in SPLITS}
    for split in SPLITS[:2]:
        if not splits[split]:
            raise DatasetError(f"{dataset.root}: no {split} photo would be left; nothing was written")
    left_out = [LeftOutPhoto(name, split, why) for (split, name, _, _), why in dropped.items()]
    written = write(dataset.root, splits, left_out=left_out, fingerprint=dataset.found)
    cleaned = replace(
        dataset, train=splits["train"], val=splits["val"], test=splits["test"], problems=(), left_out=len(left_out)
    )
    after = Checked(cleaned, checked.records, findings(cleaned, checked.records), fresh=0)
    return Fixed(tuple(written), tuple(left_out), after)


def _dropped(found: Sequence[Finding], dataset: Dataset) -> dict[_Entry, str]:
    dropped: dict[_Entry, str] = {}
    for finding in found:
        if not finding.kind.dropped or finding.split is None:
            continue
        why = f"{finding.kind.name}: {finding.detail}"
        dropped[finding.split, finding.path, finding.class_id, finding.where] = why
        if finding.kind.name == "two-labels":
            involved = {finding.path, *finding.others}
            dropped |= {entry: why for entry in _entries(dataset) if entry[1] in involved}
    return dropped


def _entries(dataset: Dataset) -> list[_Entry]:
    return [_entry(dataset, split, sample) for split in SPLITS for sample in dataset.split(split)]


def _entry(dataset: Dataset, split: Split, sample: Sample) -> _Entry:
    return split, dataset.name(sample.path), sample.class_id, dataset.where(split, sample)


def _kept(dataset: Dataset, split: Split, dropped: dict[_Entry, str]) -> tuple[Sample, ...]:
    return tuple(s for s in dataset.split(split) if _entry(dataset, split, s) not in dropped)
