"""A data set by list files that someone names, as PaddleClas's training files do.

Knows lists, the folders that their lines start from, and where names of classes may lie. Does not know training files.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from garbage_cli.dataset.cleaned import RECORD
from garbage_cli.dataset.layouts import MOST_KINDS, Found, list_file
from garbage_cli.dataset.sample import SPLITS, Problem, Sample, Split
from garbage_cli.dataset.text import Line, class_numbers, is_file, read_label_file, read_labels, read_list
from garbage_cli.errors import DatasetError
from garbage_cli.labels import Labels

MOST_CLASSES = 100_000
"""More than any network of PaddleClas has; names for a billion would fill the memory."""


_Kind = TypeVar("_Kind", Sample, Problem)


@dataclass(frozen=True, slots=True)
class _Names:
    """The classes, and what a person should know of where their names are from."""

    labels: Labels
    notes: tuple[str, ...]


def read_named(
    root: Path,
    *,
    train: Path,
    val: Path | None,
    val_root: Path,
    labels: Path | None,
    class_count: int | None,
    total_images: int | None,
) -> Found:
    """Read the data set that these lists hold.

    Raises DatasetError for lists and folders that are not there, that lie too far apart, or that hold no photo.
    """
    lists: dict[Split, Path] = {"train": train, **({"val": val} if val else {})}
    for path in lists.values():
        if not is_file(path):
            raise DatasetError(f"no list {path}{_from_here(path)}; {_REMEDY}")
    home, train_root, val_root = _roots(root, val_root if val else root)
    folders = (train_root, train_root.parent, train.parent)
    names = _names(folders, lists.values(), given=labels, count=class_count)
    same = train_root == val_root and _is_what_a_look_finds(home, lists, names.labels)
    if same and (test := list_file(home, "test")):  # what cleaned lists of this folder are of
        lists["test"] = test
    starts: dict[Split, Path] = {"train": train_root, "val": val_root, "test": home}
    read = {split: tuple(read_list(path, starts[split], names.labels, split)) for split, path in lists.items()}
    for split in _NAMED:
        _require_photos(read.get(split, ()), lists.get(split, train), starts[split])
    notes = (*names.notes, *_other_number(read["train"], total_images, train), *_uncleaned(home, same))
    return Found(
        "PaddleClas lists", home, names.labels, {split: _only(read.get(split, ()), Sample) for split in SPLITS},
        tuple(problem for lines in read.values() for problem in _only(lines, Problem)),
        {split: path.name for split, path in lists.items()}, notes=notes, may_be_cleaned=same,
    )  # fmt: skip


_REMEDY = "correct it in the training file, or name the data set's folder: garbage train FOLDER"


def _from_here(path: Path) -> str:
    return "" if path.is_absolute() else f" (as seen from {Path.cwd()})"


def _only(lines: tuple[Line, ...], kind: type[_Kind]) -> tuple[_Kind, ...]:
    return tuple(line for line in lines if isinstance(line, kind))


# ---- folders


def _roots(root: Path, val_root: Path) -> tuple[Path, Path, Path]:
    """The data set's folder, and those that the lines for training and for validation start from."""
    for folder in (root, val_root):
        if not folder.is_dir():
            raise DatasetError(f"no folder {folder}{_from_here(folder)}, where the photos of a list lie; {_REMEDY}")
    if root.samefile(val_root):
        return _no_disk(root), root, root
    one, other = (Path(os.path.abspath(folder)) for folder in (root, val_root))  # noqa: PTH100 - links stay
    if one.parent == other.parent:
        return _no_disk(one.parent), one, other
    if one in other.parents or other in one.parents:
        return _no_disk(min(one, other, key=lambda folder: len(folder.parts))), one, other
    raise DatasetError(
        f"the training photos start from {root} and the validation photos from {val_root}; "
        "put one of them beside the other or inside it (a link will do), and name it in the training file"
    )


def _no_disk(root: Path) -> Path:
    """The folder, unless it is the whole disk, which a check would look through."""
    if root.resolve() == root.resolve().parent:
        raise DatasetError(f"the photos of the lists start from {root}, the whole disk; name the folder they lie in")
    return root


def _is_what_a_look_finds(root: Path, lists: dict[Split, Path], labels: Labels) -> bool:
    """Whether the folder, read without being told of lists, gives the same lists and names."""
    for split in _NAMED:
        found, named = list_file(root, split), lists.get(split)
        if (found is None) != (named is None) or (found and named and not found.samefile(named)):
            return False
    try:
        beside = read_labels(root, root.parent)
    except DatasetError:
        return False
    return beside is not None and beside[0] == labels


_NAMED: tuple[Split, ...] = ("train", "val")


# ---- names of classes


def _names(folders: Sequence[Path], lists: Iterable[Path], *, given: Path | None, count: int | None) -> _Names:
    """The classes by the given file, else by one that lies in the folders, else by their numbers."""
    if count is not None and not 1 <= count <= MOST_CLASSES:
        raise DatasetError(f"the training file has {count} classes; it must be 1 to {MOST_CLASSES:,}")
    told: tuple[str, ...] = ()
    if given is not None:
        names = _given(given, count)
        if isinstance(names, _Names):
            return names
        told = (names,)
    if (beside := read_labels(*folders)) is None:
        labels = Labels.parse(str(number) for number in range(count or _highest(lists) + 1))
        note = f"no file names the classes: they are called 0 … {len(labels) - 1}; write {folders[0] / 'labels.txt'}"
        return _Names(labels, (*told, f"{note}, a name a line"))
    labels, source = beside
    if count is None or count >= len(labels):
        return _Names(labels, (*told, *_fewer(labels, source, count)))
    note = f"{source} names {len(labels)} classes, the training file has {count}: the first {count} are taken"
    return _Names(Labels(labels.items[:count]), (*told, note))


def _given(path: Path, count: int | None) -> _Names | str:
    """The classes by this file; why it is not used, if it is not. Theirs needs it for predictions only."""
    if not is_file(path):
        return f"no file {path}{_from_here(path)}: the names of the classes are looked for beside the lists"
    try:
        labels = read_label_file(path)
    except DatasetError as error:
        return f"{error}; it is not used"
    if count is not None and count < len(labels):
        return f"{path} names {len(labels)} classes, the training file has {count}: it is not used"
    return _Names(labels, _fewer(labels, path, count))


def _fewer(labels: Labels, source: Path, count: int | None) -> tuple[str, ...]:
    if count is None or count == len(labels):
        return ()
    return (f"the training file has {count} classes, {source} names {len(labels)}: the network gets {len(labels)}",)


def _highest(lists: Iterable[Path]) -> int:
    """The highest class in the lists, less those far above all others: a slip of the keyboard is no class."""
    numbers = {number for path in lists for number in class_numbers(path)}
    limit = max(MOST_KINDS, 4 * len(numbers))
    return max((number for number in numbers if number < limit), default=0)


# ---- what is found


def _require_photos(lines: Sequence[Line], path: Path, start: Path) -> None:
    if lines and not any(isinstance(line, Sample) for line in lines):
        first = next(line for line in lines if isinstance(line, Problem))
        raise DatasetError(
            f"{path} names no photo that can be used: {first.where}: {first.path!r}: {first.reason}; "
            f"its lines start from {start}"
        )


def _other_number(lines: Sequence[Line], total: int | None, path: Path) -> tuple[str, ...]:
    if total is None or total == len(lines):
        return ()
    return (f"the training file speaks of {total} training photos, {path} has {len(lines)} lines; the list counts",)


def _uncleaned(root: Path, may_be_cleaned: bool) -> tuple[str, ...]:
    if may_be_cleaned or not is_file(root / RECORD):
        return ()
    return (f"the cleaned lists of {root / RECORD} are of other lists or classes than the training file's: not used",)
