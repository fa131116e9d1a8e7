"""Cleaned lists beside the old ones: written by `garbage check --fix`, used as long as the data set is the same.

Knows which files these are. Does not know why a photo was left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garbage_cli.dataset.sample import SPLITS, Sample, Split
from garbage_cli.dataset.splits import list_text
from garbage_cli.dataset.text import read_list
from garbage_cli.errors import DatasetError
from garbage_cli.labels import Labels
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
    left_out: int


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
            write_bytes(path, list_text(splits[split], root).encode(errors="surrogateescape"))
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    rows = [{"path": each.path, "split": each.split, "why": each.why} for each in left_out]
    write_json(root / RECORD, {"format": FORMAT, "found": fingerprint, "left_out": rows})
    return [*written, root / RECORD]


def read(root: Path, labels: Labels, *, fingerprint: str) -> Cleaned | str | None:
    """Return what the cleaned lists hold; a sentence if they are not to be used; None if there are none."""
    if not (root / RECORD).is_file():
        return None
    record = _record(root)
    if record is None or record.get("found") != fingerprint:
        return f"{root / RECORD} is of another state of this data set, so the cleaned lists are not used: check it anew"
    splits = {split: _samples(root, split, labels) for split in SPLITS}
    left_out = record.get("left_out")
    return Cleaned(splits, len(left_out) if isinstance(left_out, list) else 0)


def _record(root: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((root / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def _samples(root: Path, split: Split, labels: Labels) -> tuple[Sample, ...]:
    path = root / CLEANED[split]
    if not path.is_file():
        return ()
    lines = tuple(read_list(path, root, labels, split))
    samples = tuple(line for line in lines if isinstance(line, Sample))
    if len(samples) < len(lines):
        raise DatasetError(f"{path} does not fit the data set any more; delete {root / RECORD}, or check it anew")
    return samples
