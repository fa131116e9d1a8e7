"""How folders of labelled photos are laid out: which layout one has, and what it holds.

Knows five layouts, told apart by what is there. Does not know what makes a photo good.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from garbage_cli.dataset.sample import SPLITS, Problem, Sample, Split
from garbage_cli.dataset.text import RULE_FILE, Line, is_file, lines, locate, read_labels, read_list
from garbage_cli.errors import DatasetError
from garbage_cli.images import SUFFIXES, find
from garbage_cli.labels import BINS, Label, Labels

Layout = Literal[
    "AI Studio lists",
    "PaddleX lists",
    "PaddleClas lists",
    "class folders",
    "train and val folders",
    "photos with texts",
]
"""All but PaddleClas lists, which a training file names, are told apart by what is there."""

LIST_FILES: dict[Split, tuple[str, ...]] = {
    "train": ("train.txt", "train_list.txt"),
    "val": ("validate.txt", "val.txt", "val_list.txt", "validation.txt", "eval.txt"),
    "test": ("test.txt", "test_list.txt"),
}
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation", "eval"),
    "test": ("test", "testing"),
}
MOST_KINDS = 40
"""Classes of the data set whose numbers people use for their own folders, if only for some of them."""
LISTS = ("AI Studio lists", "PaddleX lists")
"""The layouts that have list files."""
NOT_PHOTOS = ("__MACOSX",)
"""Folders that other programs leave in archives."""
LABELS, CONFIRMED, UNCONFIRMED, NONE = "labels.txt", "train", "unconfirmed", "none"
"""What a server collects: the classes; photos that a person said a class of; those nobody looked at; those of none."""


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder, as its own layout says."""

    layout: Layout
    root: Path
    labels: Labels
    splits: dict[Split, tuple[Sample, ...]]
    problems: tuple[Problem, ...]
    lists: dict[Split, str]
    """The names of the list files, where there are any."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read."""
    may_be_cleaned: bool = True
    """Whether cleaned lists in the folder can be of this."""


def read(folder: Path) -> Found:
    """Read the data set in `folder`, or in the only folder below it that holds one (two levels are looked at).

    Raises DatasetError if there is none, if there are several, or if its classes have no names.
    """
    if folder.is_file():
        raise DatasetError(
            f"{folder} is a file, not a folder of photos; unpack an archive with: garbage unpack {folder}"
        )
    if not folder.is_dir():
        raise DatasetError(f"no folder {folder}; make one with: garbage unpack ARCHIVE --out {folder}")
    level = [folder]
    unread: list[Path] = []
    for _ in range(3):
        if held := [(root, reader) for root in level if (reader := _reader(root))]:
            if len(held) > 1:
                names = ", ".join(str(root.relative_to(folder)) for root, _ in held[:2])
                raise DatasetError(f"{folder} holds {len(held)} data sets ({names}…): name one")
            root, reader = held[0]
            return reader(root)
        unread += filter(is_collection, level)
        level = [below for root in level if root not in unread for below in subfolders(root)]
    if unread:
        raise DatasetError(
            f"nothing in {unread[0]} has been confirmed or corrected yet; look through {unread[0] / UNCONFIRMED}, and "
            f"move what is right into {unread[0] / CONFIRMED}, folders and all"
        )
    raise DatasetError(
        f"no data set in {folder}: no train.txt, no folder per class (for a single class, write a labels.txt), "
        "no train/ and val/ with a folder per class, no img_N.jpg with img_N.txt"
    )


def _reader(root: Path) -> Callable[[Path], Found] | None:
    if list_file(root, "train"):
        return _read_lists
    if _split_folder(root, "train") and class_folders(_split_folder(root, "train") or root):
        return _read_split_folders
    if is_collection(root):
        return None
    if _has_texts(root):
        return _read_texts
    folders = {text: folder for text, folder in class_folders(root).items() if not _has_texts(folder)}
    if len(folders) > 1 or (folders and (read_labels(root) or is_collection(root.parent))):
        return _read_class_folders
    return None


def is_collection(root: Path) -> bool:
    """Say whether a server collects photos in this folder: labels.txt, train/ and unconfirmed/ are in it.

    The three together are no other data set: one with class folders may have a class called unconfirmed, or none, but
    not beside train/. A file of its own for a mark could be left behind when somebody copies what is to be seen.
    """
    return is_file(root / LABELS) and (root / CONFIRMED).is_dir() and (root / UNCONFIRMED).is_dir()


def apart(root: Path) -> tuple[Path, ...]:
    """Return the folders whose photos are no part of the data set that is read in `root`: those of a collection."""
    return (root / UNCONFIRMED, root / NONE) if is_collection(root) else ()


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, or links to some, sorted by name, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return [folder / name for name in sorted(names) if not name.startswith(".") and name not in NOT_PHOTOS]


# ---- lists: AI Studio's and PaddleX's


def list_file(root: Path, split: Split) -> Path | None:
    """Return the list of a split that lies in a folder under one of the known names."""
    return next((root / name for name in LIST_FILES[split] if is_file(root / name)), None)


def _read_lists(root: Path) -> Found:
    named = read_labels(root, root.parent)
    if named is None:
        raise DatasetError(
            f"{root} has neither {RULE_FILE} nor labels.txt: the classes have no names; write labels.txt, a name a line"
        )
    labels, source = named
    layout: Layout = "PaddleX lists" if source.name in ("label.txt", "label_list.txt") else "AI Studio lists"
    read = {split: tuple(_list(root, split, labels)) for split in SPLITS}
    if not read["train"]:
        raise DatasetError(f"{list_file(root, 'train')} lists no photo")
    return _found(layout, root, labels, read)


def _list(root: Path, split: Split, labels: Labels) -> Iterator[Line]:
    path = list_file(root, split)
    return read_list(path, root, labels, split) if path else iter(())


def _found(layout: Layout, root: Path, labels: Labels, read: dict[Split, tuple[Line, ...]]) -> Found:
    splits = {split: tuple(line for line in all_ if isinstance(line, Sample)) for split, all_ in read.items()}
    problems = tuple(line for all_ in read.values() for line in all_ if isinstance(line, Problem))
    lists = {split: path.name for split in SPLITS if layout in LISTS and (path := list_file(root, split))}
    return Found(layout, root, labels, splits, problems, lists)


# ---- folders: one per class, or train/ and val/ of those


def class_folders(root: Path) -> dict[str, Path]:
    """The folders that hold photos, by class text: the folder's name, or 可回收物/易拉罐 where bins hold kinds."""
    candidates: dict[str, Path] = {}
    for folder in subfolders(root):
        kinds = subfolders(folder) if Label(0, "", folder.name).bin else []
        if any(_has_photo(kind) for kind in kinds):
            candidates |= {f"{folder.name}/{kind.name}": kind for kind in kinds}
        else:
            candidates[folder.name] = folder
    if not any(_has_photo(folder) for folder in candidates.values()):
        return {}
    return {text: folder for text, folder in candidates.items() if _has_photo(folder) or _is_empty(folder)}


def _has_photo(folder: Path) -> bool:
    """Whether photos lie in the folder itself."""
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())


def _is_empty(folder: Path) -> bool:
    """A folder with nothing in it is a class without photos; one with other things is something else."""
    return all(path.name.startswith(".") for path in folder.iterdir())


def _split_folder(root: Path, split: Split) -> Path | None:
    return next((folder for folder in subfolders(root) if folder.name.casefold() in SPLIT_FOLDERS[split]), None)


def _read_class_folders(root: Path) -> Found:
    named = read_labels(root, root.parent)
    folders = class_folders(root)
    labels, ids = _number(root, list(folders), named[0] if named else None)
    train = tuple(_in_folders(folders, ids, "train", len(labels)))
    return _found("class folders", root, labels, {"train": train, "val": (), "test": ()})


def _read_split_folders(root: Path) -> Found:
    """Classes are numbered over all splits together, so that none shifts where a split lacks one."""
    named = read_labels(root, root.parent)
    places = {split: class_folders(folder) for split in SPLITS if (folder := _split_folder(root, split))}
    texts = sorted({text for folders in places.values() for text in folders})
    labels, ids = _number(root, texts, named[0] if named else None)
    read = {split: tuple(_in_folders(places.get(split, {}), ids, split, len(labels))) for split in SPLITS}
    return _found("train and val folders", root, labels, read)


def _number(root: Path, texts: list[str], labels: Labels | None) -> tuple[Labels, dict[str, int]]:
    """Give each class folder its number: by a label file if there is one, by itself if numeric, else by its order."""
    if labels:
        ids = {text: class_id for text in texts if (class_id := class_of(text, labels)) is not None}
        if not ids:
            raise DatasetError(f"{root}: no folder ({texts[0]}…) is named like a class of the labels, or by its number")
        return labels, ids
    if all(re.fullmatch(r"[0-9]{1,4}", text) for text in texts):
        numbers = {text: int(text) for text in texts}
        dense = max(numbers.values()) < max(MOST_KINDS, 4 * len(numbers))  # years are names, not numbers
        if dense and len(set(numbers.values())) == len(numbers):
            return Labels.parse(str(i) for i in range(max(numbers.values()) + 1)), numbers
    order = sorted(texts)
    return Labels.parse(_with_bin(text) for text in order), {text: i for i, text in enumerate(order)}


def class_of(text: str, labels: Labels) -> int | None:
    """Return the class that a folder's name means, by kind, bin and kind, English name or number; None for none."""
    wanted = {text.casefold(), _with_bin(text).casefold()}
    for label in labels.items:
        if wanted & {word.casefold() for word in (label.name, label.text, label.english or "")} - {""}:
            return label.class_id
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else len(labels)
    return number if number < len(labels) else None


def _with_bin(text: str) -> str:
    """可回收物_易拉罐 as 可回收物/易拉罐: a folder's name can't hold the slash."""
    words = [word for bin_ in BINS for word in (bin_.chinese, *bin_.aliases)]
    match = re.fullmatch(rf"({'|'.join(words)})[_\-·. ](\S.*)", text)
    return f"{match[1]}/{match[2]}" if match else text


def _in_folders(folders: dict[str, Path], ids: dict[str, int], split: Split, classes: int) -> Iterator[Line]:
    for text, folder in folders.items():
        for path in find([folder]):
            if text in ids:
                yield Sample(path, ids[text])
            else:
                reason = f"no class of the labels is named {text}, nor are there so many ({classes})"
                yield Problem("unnamed-class", split, f"folder {text}", str(path), reason)


# ---- the original release: img_N.jpg and img_N.txt that holds `img_N.jpg, 29`

_TEXT = re.compile(r"(?P<name>[^\r\n]+?)\s*,\s*(?P<class_id>\d{1,9})")


def _texts(root: Path) -> Iterator[tuple[Path, str, int]]:
    """The texts of that form beside photos: their file, the name in it, the class in it."""
    for path in sorted(root.glob("*.txt")):
        if path.name.startswith(".") or not is_file(path) or path.stat().st_size > 4096:
            continue
        try:
            content = [text for _, text in lines(path)]
        except DatasetError:
            continue
        match = _TEXT.fullmatch(content[0]) if len(content) == 1 else None
        if match and Path(match["name"]).suffix.lower() in SUFFIXES:
            yield path, match["name"], int(match["class_id"])


def _has_texts(root: Path) -> bool:
    return next(_texts(root), None) is not None


def _read_texts(root: Path) -> Found:
    named = read_labels(root, root.parent)
    if named is None:
        raise DatasetError(f"{root} holds photos with texts, but no {RULE_FILE}: the classes have no names")
    texts = list(_texts(root))
    read = [
        locate(name, class_id, root, named[0], split="train", where=path.name, line=1, source=path.name)
        for path, name, class_id in texts
    ]
    told = {path.stem for path, _, _ in texts}
    broken = [
        Problem("bad-line", "train", path.name, path.name, "not of the form PHOTO, CLASS_NUMBER")
        for path in sorted(root.glob("*.txt"))
        if path.stem not in told and any(is_file(path.with_suffix(suffix)) for suffix in (".jpg", ".jpeg", ".png"))
    ]
    return _found("photos with texts", root, named[0], {"train": (*read, *broken), "val": (), "test": ()})
