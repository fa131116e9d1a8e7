"""A folder of labelled photos: where its files are, which class each is of, which split it is in.

Knows folder layouts and list files. Does not know archives, image content or Paddle.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from garbage_cli.errors import DatasetError
from garbage_cli.labels import Labels

Split = Literal["train", "val"]

RULE_FILE = "garbage_classify_rule.json"
LABEL_FILE = "labels.txt"
LIST_FILES: dict[Split, tuple[str, ...]] = {"train": ("train.txt",), "val": ("validate.txt", "val.txt")}


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo and the class its data set says it is of."""

    path: Path
    class_id: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """The AI Studio layout: photos under `root`, lists of the two splits, and the classes."""

    root: Path
    labels: Labels
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read the data set in `folder`, or in the only folder inside it that holds lists.

        Raises DatasetError, naming the file and line, for a list that can't be read, a class without a name,
        or a photo that is not there.
        """
        root = _find_root(folder)
        labels = _read_labels(root)
        splits = {split: tuple(_read_list(_list_file(root, split), root, labels)) for split in LIST_FILES}
        for split, samples in splits.items():
            if not samples:
                raise DatasetError(f"{_list_file(root, split)} lists no photo")
        return cls(root, labels, splits["train"], splits["val"])

    def counts(self, split: Split) -> dict[int, int]:
        """Return the number of photos per class number, 0 where a split lacks a class."""
        counter = Counter(sample.class_id for sample in (self.train if split == "train" else self.val))
        return {label.class_id: counter[label.class_id] for label in self.labels.items}


def read_text(path: Path) -> str:
    """Read UTF-8 with or without a byte-order mark, else GBK (in its superset GB 18030)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DatasetError(f"{path} is neither UTF-8 nor GBK text; save it as UTF-8")


def _find_root(folder: Path) -> Path:
    if not folder.is_dir():
        raise DatasetError(f"no folder {folder}; make one with: garbage unpack ARCHIVE --out {folder}")
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    roots = [root for root in (folder, *inside) if (root / "train.txt").is_file()]
    if not roots:
        raise DatasetError(f"no train.txt in {folder} or in a folder inside it; the lists of the data set are missing")
    if len(roots) > 1 and roots[0] != folder:
        raise DatasetError(f"{folder} holds {len(roots)} data sets ({roots[0].name}, {roots[1].name}…): name one")
    return roots[0]


def _list_file(root: Path, split: Split) -> Path:
    names = LIST_FILES[split]
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def _read_labels(root: Path) -> Labels:
    """The data set's own rule file wins; labels.txt (one text a line) stands in for it."""
    rule_file, label_file = root / RULE_FILE, root / LABEL_FILE
    try:
        if rule_file.is_file():
            return Labels.from_rule(_read_rule(rule_file))
        if label_file.is_file():
            return Labels.parse(line for line in read_text(label_file).splitlines() if line.strip())
    except DatasetError as error:
        path = rule_file if rule_file.is_file() else label_file
        raise DatasetError(f"{path}: {error}") from None
    raise DatasetError(f"{root} has neither {RULE_FILE} nor {LABEL_FILE}: the classes have no names")


def _read_rule(path: Path) -> dict[str, str]:
    try:
        rule = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"not valid JSON, line {error.lineno}: {error.msg}") from None
    if not isinstance(rule, dict) or not all(isinstance(text, str) for text in rule.values()):
        raise DatasetError('not of the form {"0": "其他垃圾/一次性快餐盒", …}')
    return rule


def _read_list(path: Path, root: Path, labels: Labels) -> Iterator[Sample]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield _parse_line(line.strip(), root, labels, where=f"{path}, line {number}")


def _parse_line(line: str, root: Path, labels: Labels, *, where: str) -> Sample:
    """Read `./29/img_1.jpg 29`; the path may hold spaces, so the label is what follows the last one."""
    name, _, class_text = line.rpartition("\t" if "\t" in line else " ")
    if not name or not class_text.isascii() or not class_text.isdigit():
        raise DatasetError(f"{where}: {line!r} is not of the form PATH CLASS_NUMBER")
    class_id = int(class_text)
    if class_id >= len(labels):
        raise DatasetError(
            f"{where}: class {class_id}, but the labels name {len(labels)} classes (0…{len(labels) - 1})"
        )
    relative = PurePosixPath(name.strip().replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts:
        raise DatasetError(f"{where}: {name!r} leads out of {root}")
    path = root / relative
    if not path.is_file():
        raise DatasetError(f"{where}: no file {path}; correct the list, or unpack the archive again")
    return Sample(path, class_id)
