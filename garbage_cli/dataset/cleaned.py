"""Cleaned lists beside the old ones: written by `garbage check --fix`, used as long as the data set is the same.

Knows which files these are. Does not know why a photo was left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from garbage_cli.dataset.sample import SPLITS, Sample, Split
from garbage_cli.dataset.splits import list_bytes, read_list_bytes
from garbage_cli.dataset.text import is_file, printable
from garbage_cli.storage import write_bytes, write_json

RECORD = "checked.json"
CLEANED: dict[Split, str] = {"train": "train.checked.txt", "val": "validate.checked.txt", "test": "test.checked.txt"}
FORMAT = 1


@dataclass(frozen=True, slots=True)
class LeftOutPhoto:
    """A photo that is in an old list and not in the cleaned one."""

    path: str
    split: str
    why: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The splits as the cleaned lists have them."""

    splits: dict[Split, tuple[Sample, ...]]
    left_out: tuple[LeftOutPhoto, ...]


def write(
    root: Path,
    splits: Mapping[Split, Sequence[Sample]],
    *,
    left_out: Sequence[LeftOutPhoto],
    fingerprint: str,
) -> list[Path]:
    """Write cleaned lists for what was found under this fingerprint; the record, which makes them count, comes last."""
    written = []
    for split in SPLITS:
        path = root / CLEANED[split]
        if splits[split]:
            write_bytes(path, list_bytes(splits[split], root))
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    rows = [{"path": printable(each.path), "split": each.split, "why": printable(each.why)} for each in left_out]
    write_json(root / RECORD, {"format": FORMAT, "found": fingerprint, "left_out": rows})
    return [*written, root / RECORD]


def read(root: Path, found: Mapping[Split, Sequence[Sample]], *, fingerprint: str) -> Cleaned | str | None:
    """Return what the cleaned lists hold of what was found; a sentence if they are not to be used; None without any."""
    if not is_file(root / RECORD):
        return None
    record = _record(root)
    if record is not None and record.get("found") == fingerprint:
        splits = {split: _samples(root, split, found[split]) for split in SPLITS}
        left_out = tuple(LeftOutPhoto(**row) for row in record["left_out"])
        if all(samples is not None for samples in splits.values()):
            return Cleaned({split: samples or () for split, samples in splits.items()}, left_out)
    return (
        f"{root / RECORD} is of another state of this data set, so the cleaned lists are not used; "
        f"write them anew with: garbage check {root} --fix"
    )


def _record(root: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((root / RECORD).read_bytes())
        whole = isinstance(record, dict) and record.get("format") == FORMAT
        rows = record["left_out"] if whole else None
        return record if isinstance(rows, list) and all(_is_row(row) for row in rows) else None
    except (OSError, ValueError, RecursionError, KeyError):
        return None


def _is_row(row: object) -> bool:
    texts = row.values() if isinstance(row, dict) and row.keys() == _ROW else [None]
    return all(isinstance(text, str) and _can_be_written(text) for text in texts)


_ROW = {"path", "split", "why"}


def _can_be_written(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _samples(root: Path, split: Split, found: Sequence[Sample]) -> tuple[Sample, ...] | None:
    """The samples that were found and are in the cleaned list; None if it names others."""
    path = root / CLEANED[split]
    if not is_file(path):
        return ()
    by_entry = {(sample.path, str(sample.class_id)): sample for sample in reversed(found)}
    rows = read_list_bytes(path.read_bytes(), root)
    if not all(row in by_entry for row in rows):
        return None
    return tuple(replace(by_entry[row], line=number, source="") for number, row in enumerate(rows, start=1))
