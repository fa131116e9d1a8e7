"""A validation split where a data set has none: stratified, seeded, and written down.

Knows classes and names of photos. Does not know layouts.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from garbage_cli.dataset.sample import Sample
from garbage_cli.storage import sha256

SPLIT_FILE = "validate.split.txt"
"""The validation photos that were set aside, in the form of a list; delete it to have them drawn anew."""
REST_FILE = "train.split.txt"
"""The photos that were left for training then: what is in neither list has come since."""

SHARE = 0.2
SEED = 42


def set_aside(
    samples: Sequence[Sample],
    root: Path,
    *,
    kept: frozenset[Path] = frozenset(),
    trained: frozenset[Path] = frozenset(),
    share: float = SHARE,
    seed: int = SEED,
) -> frozenset[Path]:
    """Choose `share` of each class, rounded, for validation: at least one photo of a class that has two.

    The choice depends on the seed and the names alone, not on their order or on other classes. Files of the same
    content go to the same side. Of a data set that has grown, photos are added to those that are kept from before; none
    that was trained on is taken, unless nothing of its class is kept.
    """
    by_class: dict[int, list[Path]] = defaultdict(list)
    for sample in samples:
        if sample.path in kept or listable(name_in(sample.path, root)):
            by_class[sample.class_id].append(sample.path)
    chosen: set[Path] = set()
    for paths in by_class.values():
        count = round(len(paths) * share) or len(paths) > 1
        taken = kept.intersection(paths)
        held = trained if taken else frozenset()
        if len(paths) > len(taken) and not held.issuperset(set(paths) - taken):
            taken |= _drawn(paths, root, seed, count=count, kept=taken, held=held)
        chosen.update(taken)
    return frozenset(chosen)


def _drawn(
    paths: Sequence[Path], root: Path, seed: int, *, count: int, kept: frozenset[Path], held: frozenset[Path]
) -> frozenset[Path]:
    """Draw from one class until there are `count` with those that are kept, whose copies come along; the held stay."""
    groups = sorted(_copies(paths), key=lambda group: _draw(name_in(group[0], root), seed))
    taken, left = set(kept), len(set(paths)) - len(kept)
    for group in sorted(groups, key=kept.isdisjoint):  # copies of what is kept first
        new = set(group) - taken
        wanted = len(taken) < count or not kept.isdisjoint(group)
        if wanted and held.isdisjoint(group) and len(new) < left:  # something must stay to train on
            taken |= new
            left -= len(new)
    return frozenset(taken)


def _copies(paths: Sequence[Path]) -> list[list[Path]]:
    """Group files by content. Only those of a size that occurs twice are read."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        by_size[_size(path)].append(path)
    groups: list[list[Path]] = []
    for size, same in by_size.items():
        by_content: dict[str, list[Path]] = defaultdict(list)
        for path in same:
            by_content[_content(path) if len(same) > 1 and size else str(path)].append(path)
        groups += [sorted(group) for group in by_content.values()]
    return groups


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return str(path)


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()


def name_in(path: Path, root: Path) -> str:
    """A photo's path from the data set's folder, with slashes: what lists hold."""
    text, start = str(path), f"{root}{os.sep}"
    name = text[len(start) :] if text.startswith(start) else os.path.relpath(path, root)
    return name.replace(os.sep, "/")


def listable(name: str) -> bool:
    """Say whether a name can stand in a list: one with a line break can't."""
    return "\n" not in name


def list_bytes(samples: Iterable[Sample], root: Path) -> bytes:
    """Samples as a list file of ours: `./29/img_1.jpg 29`, whatever bytes the names hold."""
    lines = (f"./{name_in(sample.path, root)} {sample.class_id}\n" for sample in samples)
    return "".join(lines).encode(errors="surrogateescape")


def read_list_bytes(data: bytes, root: Path) -> list[tuple[Path, str]]:
    """Read a list file of ours back: paths and class numbers. Names are taken as they are, unlike in others' lists."""
    rows = [line.rpartition(" ") for line in data.decode(errors="surrogateescape").split("\n") if line]
    return [(root / name.removeprefix("./"), class_text) for name, _, class_text in rows]
