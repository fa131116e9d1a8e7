"""A folder of labelled photos: where its files are, which class each is of, which split it is in.

Knows folder layouts and list files. Does not know archives, image content or Paddle.
"""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from garbage_cli.dataset import cleaned
from garbage_cli.dataset.layouts import Found, Layout, read
from garbage_cli.dataset.named import read_named
from garbage_cli.dataset.sample import SPLITS, Problem, ProblemKind, Sample, Split
from garbage_cli.dataset.splits import (
    REST_FILE,
    SEED,
    SHARE,
    SPLIT_FILE,
    list_bytes,
    name_in,
    read_list_bytes,
    set_aside,
)
from garbage_cli.dataset.text import is_file, read_text
from garbage_cli.errors import DatasetError
from garbage_cli.labels import Labels
from garbage_cli.storage import write_bytes

__all__ = ["SPLITS", "Dataset", "Layout", "Problem", "ProblemKind", "Sample", "Split", "read_text"]

_CLEANED_LISTS = tuple(cleaned.CLEANED.items())


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos in splits, and the classes. What its lists name but nobody could use is in `problems`."""

    root: Path
    labels: Labels
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()
    layout: Layout = "AI Studio lists"
    problems: tuple[Problem, ...] = ()
    found: str = ""
    """Fingerprint of what lies there, before any cleaned list; ties those to it."""
    split_made: bool = False
    """Whether the validation photos were set aside by us, for want of a split."""
    left_out: tuple[cleaned.LeftOutPhoto, ...] = ()
    """What the cleaned lists, if they are in use, leave out."""
    lists: tuple[tuple[Split, str], ...] = ()
    """The list file of each split, where there are any."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read."""

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read the data set in `folder`, or in the only folder inside it that holds one, whatever its layout.

        A list line that can't be used becomes a Problem. Raises DatasetError for what leaves nothing to use: no known
        layout, classes without names, lists that hold no photo.
        """
        return _whole(read(folder))

    @classmethod
    def from_lists(
        cls,
        root: Path,
        *,
        train: Path,
        val: Path | None = None,
        val_root: Path | None = None,
        labels: Path | None = None,
        class_count: int | None = None,
        total_images: int | None = None,
    ) -> "Dataset":
        """Read the data set that these lists hold: lines of `PATH CLASS_NUMBER`, from `root` or `val_root`.

        The classes are named by `labels`, else by a label or rule file in or above `root` or beside the list, else by
        their numbers. Where two sources differ, such as `class_count` and the names, `notes` say which one counts.
        Without a list of validation photos some are set aside. Raises DatasetError for lists and folders that are not
        there, for two roots that lie apart, and for a list without a photo that can be used.
        """
        found = read_named(
            root, train=train, val=val, val_root=val_root or root, labels=labels, class_count=class_count,
            total_images=total_images,
        )  # fmt: skip
        return _whole(found)

    def split(self, split: Split) -> tuple[Sample, ...]:
        """Return the samples of one split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def counts(self, split: Split) -> dict[int, int]:
        """Return the number of photos per class number, 0 where a split lacks a class."""
        counter = Counter(sample.class_id for sample in self.split(split))
        return {label.class_id: counter[label.class_id] for label in self.labels.items}

    def name(self, path: Path) -> str:
        """Return a photo's path from the root, with slashes."""
        return name_in(path, self.root)

    def without(self, paths: Collection[Path]) -> "Dataset":
        """Return the same data set less some photos."""
        keep = {split: tuple(s for s in self.split(split) if s.path not in paths) for split in SPLITS}
        return replace(self, train=keep["train"], val=keep["val"], test=keep["test"])

    def where(self, split: Split, sample: Sample) -> str:
        """Return the list and line that names a sample; "" where its folder does."""
        if sample.source or not sample.line:
            return sample.source
        return f"{dict(self.lists)[split]}, line {sample.line}"

    def fingerprint(self) -> str:
        """Return the SHA-256 of which photos are in which split under which class, in their order."""
        lines = [
            f"{split}\t{self.name(sample.path)}\t{sample.class_id}\n"
            for split in SPLITS
            for sample in self.split(split)
        ]
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def write_split(self) -> str | None:
        """Write down a validation split that was made; return a sentence about it, None if there is none.

        What cleaned lists leave out is not taken out of it: they belong to the data set as it was found.
        """
        if not self.split_made or not self.val or self.lists == _CLEANED_LISTS:
            return None
        path = self.root / SPLIT_FILE
        lists = {REST_FILE: list_bytes(self.train, self.root), SPLIT_FILE: list_bytes(self.val, self.root)}
        new = [
            name for name in lists if not is_file(self.root / name) or (self.root / name).read_bytes() != lists[name]
        ]
        said = f"no validation split: {SHARE:.0%} of each class set aside (seed {SEED}), {len(self.val)} photos"
        failed = ""
        try:
            for name in new:
                write_bytes(self.root / name, lists[name])
        except OSError as error:
            failed = str(error.strerror)
        if SPLIT_FILE not in new:
            return f"validation photos as in {path}; delete it to have them drawn anew"
        if failed:
            return f"{said}; {path} can't be written ({failed}), so a new photo may change the choice"
        return f"{said}, written to {path}"


def _whole(found: Found) -> Dataset:
    """What was found, with validation photos, by its cleaned lists; DatasetError if nothing is left to train on."""
    dataset = _with_fingerprint(_with_validation(_as_found(found)))
    dataset = _cleaned(dataset) if found.may_be_cleaned else dataset
    if not dataset.train:
        first = f": {p.where}: {p.path!r}: {p.reason}" if (p := next(iter(found.problems), None)) else ""
        raise DatasetError(f"{found.root} has no training photo that can be used{first}")
    return dataset


def _as_found(found: Found) -> Dataset:
    splits = found.splits
    return Dataset(
        found.root, found.labels, splits["train"], splits["val"], splits["test"], layout=found.layout,
        problems=found.problems, lists=tuple(found.lists.items()), notes=found.notes,
    )  # fmt: skip


def _with_validation(found: Dataset) -> Dataset:
    """The same, with a part of the training photos set aside where there is no validation split."""
    if found.val or any(problem.split == "val" for problem in found.problems):
        return found
    chosen = _chosen(found)
    return replace(
        found,
        train=tuple(sample for sample in found.train if sample.path not in chosen),
        val=tuple(sample for sample in found.train if sample.path in chosen),
        split_made=True,
        lists=tuple((split, name) for split, name in found.lists for split in _listed_in(split)),
    )


def _chosen(found: Dataset) -> frozenset[Path]:
    """The photos that were set aside before, and of each class so many of those that have come since as it lacks."""
    there = {sample.path for sample in found.train}
    kept = there.intersection(_listed(found.root, SPLIT_FILE))
    trained = there.intersection(_listed(found.root, REST_FILE) or there - kept)  # versions before wrote no such list
    return set_aside(found.train, found.root, kept=frozenset(kept), trained=frozenset(trained))


def _listed(root: Path, name: str) -> list[Path]:
    """The photos of a list of ours; none if it is not there."""
    return [path for path, _ in read_list_bytes((root / name).read_bytes(), root)] if is_file(root / name) else []


def _listed_in(split: Split) -> tuple[Split, ...]:
    """The splits whose photos stand in this list when validation photos are set aside from the training list."""
    return ("train", "val") if split == "train" else (split,) if split == "test" else ()


def _with_fingerprint(found: Dataset) -> Dataset:
    texts = hashlib.sha256(repr(found.labels.texts).encode()).hexdigest()
    return replace(found, found=f"{found.fingerprint()} {texts}")


def _cleaned(found: Dataset) -> Dataset:
    """The same by its cleaned lists, if there are any and they are of what was found."""
    clean = cleaned.read(found.root, {split: found.split(split) for split in SPLITS}, fingerprint=found.found)
    if clean is None:
        return found
    if isinstance(clean, str):
        return replace(found, notes=(*found.notes, clean))
    note = (
        f"using the cleaned lists of {found.root / cleaned.RECORD}, which leave out {len(clean.left_out)} entries; "
        "delete it to go back to the old ones"
    )
    return replace(
        found, train=clean.splits["train"], val=clean.splits["val"], test=clean.splits["test"], problems=(),
        left_out=clean.left_out, lists=_CLEANED_LISTS, notes=(*found.notes, note),
    )  # fmt: skip
