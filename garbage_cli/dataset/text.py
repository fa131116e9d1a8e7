"""List and label files as people write them: their encodings, their lines, the paths in them.

Knows text. Does not know layouts.
"""

import codecs
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from garbage_cli.dataset.sample import Problem, Sample, Split
from garbage_cli.errors import DatasetError
from garbage_cli.labels import Labels

RULE_FILE = "garbage_classify_rule.json"
LABEL_FILES = ("labels.txt", "label.txt", "label_list.txt", "classes.txt")

Line = Sample | Problem


def read_text(path: Path) -> str:
    """Read UTF-8 with or without a byte-order mark, UTF-16 with one, else GBK (in its superset GB 18030)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DatasetError(f"{path} is neither UTF-8 nor GBK text; save it as UTF-8")


def printable(text: str) -> str:
    """The text with bytes that are no UTF-8 (in names of files) as `\\xb5`, and half characters as `\\ud800`."""
    whole = _HALF.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half characters that stand for no byte."""


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, with their numbers from 1. Only CR and LF end a line."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path)), start=1):
        if line.strip():
            yield number, line.strip()


def read_labels(*folders: Path) -> tuple[Labels, Path] | None:
    """Read the classes from the first rule or label file in these folders; a rule file wins. None if there is none."""
    for folder in folders:
        for name in (RULE_FILE, *LABEL_FILES):
            if (path := folder / name).is_file():
                return read_label_file(path), path
    return None


def read_label_file(path: Path) -> Labels:
    """Read the classes from a rule file (.json) or a label file. Raises DatasetError that names it."""
    try:
        return Labels.from_rule(_rule(path)) if path.suffix == ".json" else _label_list(path)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def _rule(path: Path) -> dict[str, str]:
    try:
        rule = json.loads(read_text(path), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DatasetError(f"not valid JSON, line {error.lineno}: {error.msg}") from None
    except (RecursionError, ValueError):
        raise DatasetError("not a rule file: it nests too deep, or holds a number without end") from None
    if not isinstance(rule, dict) or not all(isinstance(text, str) for text in rule.values()):
        raise DatasetError('not of the form {"0": "其他垃圾/一次性快餐盒", …}')
    return rule


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object, unless it names something twice: the last would win unseen."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"class number {twice} is there twice")
    return value


def _label_list(path: Path) -> Labels:
    """One name a line; or, as PaddleX and PaddleClas write it, `NUMBER NAME` where the numbers run from 0."""
    texts = [text for _, text in lines(path)]
    numbered = [re.fullmatch(r"(\d{1,9})[ \t]+(\S.*)", text) for text in texts]
    if texts and all(numbered):
        by_id = {match[1].lstrip("0") or "0": match[2] for match in numbered if match}
        if len(by_id) == len(texts) and by_id.keys() == {str(i) for i in range(len(texts))}:
            return Labels.from_rule(by_id)
    return Labels.parse(texts)


def read_list(path: Path, root: Path, labels: Labels, split: Split) -> Iterator[Line]:
    """Read `./29/img_1.jpg 29` line by line; the path may hold spaces, so the class is what follows the last one."""
    for number, line in lines(path):
        where = f"{path.name}, line {number}"
        if (entry := _entry(line)) is None:
            yield Problem("bad-line", split, where, line, "not of the form PATH CLASS_NUMBER")
        else:
            yield locate(entry[0], entry[1], root, labels, split=split, where=where, line=number)


def class_numbers(path: Path) -> Iterator[int]:
    """Yield the class of each line of a list that is of the known form."""
    for _, line in lines(path):
        if entry := _entry(line):
            yield entry[1]


def _entry(line: str) -> tuple[str, int] | None:
    """The path and the class of a line: the number at its end, after spaces, a tab or a comma."""
    before = line.rstrip("0123456789")
    name, digits = before.rstrip(" \t"), line[len(before) :]
    separated = name != before or name.endswith(",")
    name = name.removesuffix(",").rstrip()
    return (name, int(digits)) if name and separated and 0 < len(digits) < 10 else None


def locate(
    text: str,
    class_id: int,
    root: Path,
    labels: Labels,
    *,
    split: Split,
    where: str,
    line: int = 0,
    source: str = "",
) -> Line:
    """Find the photo that a list names and check its class. An absolute path will do if it leads into the data set."""
    if class_id >= len(labels):
        reason = f"class {class_id}, but the labels name {len(labels)} classes (0…{len(labels) - 1})"
        return Problem("unnamed-class", split, where, text, reason, class_id)
    relative = _inside(PurePosixPath(text.replace("\\", "/")), root)
    if relative.is_absolute() or ".." in relative.parts or re.match("[A-Za-z]:", text):
        return Problem("outside", split, where, text, f"leads out of {root}", class_id)
    path = _find(root, str(relative))
    if path is None:
        return Problem("missing", split, where, text, f"no such file{_near(root / relative)}", class_id)
    return Sample(path, class_id, line, source)


def _inside(path: PurePosixPath, root: Path) -> PurePosixPath:
    """An absolute path that leads into the data set, as a relative one; others as they are."""
    if not path.is_absolute():  # as nearly all are: the rest asks the file system
        return path
    for start in (root.absolute(), root.resolve()):
        if path.is_relative_to(start.as_posix()):
            return path.relative_to(start.as_posix())
    return path


def _find(root: Path, relative: str) -> Path | None:
    """The file under this name, or under the same one as macOS (decomposed) or an old Windows (GBK bytes) writes it."""
    if is_file(root / relative):
        return root / relative
    if relative.isascii():
        return None
    spellings = [unicodedata.normalize(form, relative) for form in ("NFC", "NFD")]
    spellings.append(os.fsdecode(relative.encode("gb18030", "surrogateescape")))
    return next((root / name for name in spellings if is_file(root / name)), None)


def is_file(path: Path) -> bool:
    """Say whether a regular file (or a link to one) is there; a name that no file system takes is of none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _near(path: Path) -> str:
    """A hint at a file whose name differs in case only: lists from Windows."""
    try:
        names = _names(path.parent, path.parent.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ""
    same = names.get(path.name.casefold())
    return f"; there is {same}" if same else ""


@lru_cache(maxsize=64)
def _names(folder: Path, changed: int) -> dict[str, str]:
    """The names in a folder by their case-folded form; read once for all the lines that point into it."""
    return {path.name.casefold(): path.name for path in folder.iterdir()}
