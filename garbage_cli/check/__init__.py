"""A data set → what is wrong with it: every photo read, every rule tried.

Knows the order of the work and what it takes for a data set to be usable. Does not know the terminal or training.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.check.cache import Cache, open_cache
from garbage_cli.check.inspection import Inspected, Record, inspect_all, stamp
from garbage_cli.check.kinds import KINDS, Finding, Kind
from garbage_cli.check.rules import findings
from garbage_cli.dataset import SPLITS, Dataset, Split
from garbage_cli.errors import DatasetError

__all__ = ["KINDS", "Checked", "Checking", "Finding", "Kind", "Record", "check"]

SAVE_EVERY = 500
"""Photos between two writes to the cache: what a Ctrl-C may lose."""


@dataclass(frozen=True, slots=True)
class Checking:
    """Progress: photos read so far."""

    done: int
    total: int


_NEEDED: tuple[tuple[Split, str], ...] = (("train", "training"), ("val", "validation"))


@dataclass(frozen=True)
class Checked:
    """What was found."""

    dataset: Dataset
    records: dict[Path, Record]
    findings: tuple[Finding, ...]
    fresh: int
    """Photos that were read; those that had not changed since an earlier check were not."""

    @property
    def usable(self) -> bool:
        """Whether nothing was found that is an error."""
        return not any(finding.kind.severity == "error" for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each kind found, the gravest first."""
        counter = Counter(finding.kind.name for finding in self.findings)
        return {name: counter[name] for name in KINDS if counter[name]}

    def bad_photos(self) -> dict[Path, Record]:
        """Return the photos that can't be decoded."""
        return {path: record for path, record in self.records.items() if record.fault}

    def usable_part(self) -> Dataset:
        """Return the data set less the photos that can't be decoded: what training takes.

        Raises DatasetError if none is left to train on, or none to validate on.
        """
        part = self.dataset.without(self.bad_photos().keys())
        for split, name in _NEEDED:
            if not part.split(split):
                raise DatasetError(f"{part.root}: no {name} photo can be used; see: garbage check {part.root}")
        return part


def check(dataset: Dataset, *, cache: bool = True) -> Iterator[Checking | Checked]:
    """Read every photo of the splits, in parallel, and yield progress, then the result.

    A photo that has not changed since an earlier check (size, times and file number) is not read again.
    """
    paths = list(dict.fromkeys(sample.path for split in SPLITS for sample in dataset.split(split)))
    records: dict[Path, Record] = {}
    with open_cache(dataset.root) as kept:
        stale = _take_known(paths, dataset, kept, records) if cache else paths
        yield Checking(len(records), len(paths))
        for path, record in _read(stale, dataset, kept):
            records[path] = record
            yield Checking(len(records), len(paths))
    yield Checked(dataset, records, findings(dataset, records), fresh=len(stale))


def _take_known(paths: list[Path], dataset: Dataset, cache: Cache, records: dict[Path, Record]) -> list[Path]:
    """Put what the cache knows into `records`; return the photos that have to be read."""
    known = cache.load()
    stale = []
    for path in paths:
        before = known.get(dataset.name(path))
        if before and before.stamp == stamp(str(path)):
            records[path] = before.record
        else:
            stale.append(path)
    return stale


def _read(paths: list[Path], dataset: Dataset, cache: Cache) -> Iterator[tuple[Path, Record]]:
    unsaved: list[tuple[str, Inspected]] = []
    try:
        for path, found in zip(paths, inspect_all([str(path) for path in paths]), strict=True):
            unsaved.append((dataset.name(path), found))
            if len(unsaved) >= SAVE_EVERY:
                cache.save(unsaved)
                unsaved.clear()
            yield path, found.record
    finally:
        cache.save(unsaved)
