"""A validation split where a data set has none: stratified, seeded, and written down.

Knows classes and names of photos. Does not know layouts.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from garbage_cli.dataset.sample import Sample

SPLIT_FILE = "validate.split.txt"
"""The validation photos that were set aside, in the form of a list; delete it to have them drawn anew."""

SHARE = 0.2
SEED = 42


def set_aside(samples: Sequence[Sample], root: Path, *, share: float = SHARE, seed: int = SEED) -> frozenset[Path]:
    """Choose `share` of each class, rounded, for validation: at least one photo of a class that has two.

    The choice depends on the seed and the names alone, not on their order or on other classes.
    """
    by_class: dict[int, list[tuple[bytes, Path]]] = defaultdict(list)
    for sample in samples:
        by_class[sample.class_id].append((_draw(name_in(sample.path, root), seed), sample.path))
    chosen: set[Path] = set()
    for drawn in by_class.values():
        count = round(len(drawn) * share) or len(drawn) > 1
        chosen.update(path for _, path in sorted(drawn)[:count])
    return frozenset(chosen)


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()


def name_in(path: Path, root: Path) -> str:
    """A photo's path from the data set's folder, with slashes: what lists hold."""
    text, start = str(path), f"{root}{os.sep}"
    name = text[len(start) :] if text.startswith(start) else os.path.relpath(path, root)
    return name.replace(os.sep, "/")


def list_text(samples: Iterable[Sample], root: Path) -> str:
    """Samples as a list file: `./29/img_1.jpg 29`."""
    return "".join(f"./{name_in(sample.path, root)} {sample.class_id}\n" for sample in samples)
