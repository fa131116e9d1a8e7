"""Records of photos → findings.

Knows what counts as a fault. Does not know how photos are read or findings shown.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.check.inspection import Record
from garbage_cli.check.kinds import KINDS, Finding
from garbage_cli.check.same import near
from garbage_cli.dataset import SPLITS, Dataset, Sample, Split
from garbage_cli.dataset.layouts import apart
from garbage_cli.images import find_names

TINY = 32
"""Pixels of the shorter side below which a photo is tiny."""
LARGE = 25_000_000
"""Pixels above which a photo is large: it takes a quarter of a second to decode."""
UNBALANCED = 10
"""How many times larger the largest class may be."""

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".mpo"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
}


@dataclass(frozen=True, slots=True)
class Place:
    """A sample where it stands: a photo may be listed more than once."""

    split: Split
    sample: Sample
    name: str
    where: str


def findings(dataset: Dataset, records: Mapping[Path, Record]) -> tuple[Finding, ...]:
    """Return all that is wrong, the gravest kinds first, in the order of the lists."""
    places = [
        Place(split, sample, dataset.name(sample.path), dataset.where(split, sample))
        for split in SPLITS
        for sample in dataset.split(split)
    ]
    good = [place for place in places if not records[place.sample.path].fault]
    found = [
        *_problems(dataset),
        *_faults(places, records),
        *_same(good, records, dataset),
        *_odd(good, records, dataset),
        *_classes(dataset, good),
        *_unlisted(dataset, places),
    ]
    order = {name: number for number, name in enumerate(KINDS)}
    return tuple(sorted(found, key=lambda finding: order[finding.kind.name]))


def _finding(kind: str, place: Place, detail: str, others: Sequence[str] = ()) -> Finding:
    return Finding(
        KINDS[kind], place.name, detail, split=place.split, class_id=place.sample.class_id, where=place.where,
        others=tuple(others),
    )  # fmt: skip


def _problems(dataset: Dataset) -> Iterator[Finding]:
    for problem in dataset.problems:
        kind = KINDS[problem.kind]
        yield Finding(kind, problem.path, problem.reason, problem.split, problem.class_id, where=problem.where)


def _faults(places: Sequence[Place], records: Mapping[Path, Record]) -> Iterator[Finding]:
    for place in places:
        record = records[place.sample.path]
        if record.fault:
            yield _finding(record.fault, place, record.reason)


# ---- the same photo twice


MENTIONED = 3
"""Photos that a finding names in its text; it holds a few more for the page."""
SHOWN = 8


def _same(places: Sequence[Place], records: Mapping[Path, Record], dataset: Dataset) -> Iterator[Finding]:
    by_content: dict[bytes, list[Place]] = defaultdict(list)
    for place in places:
        by_content[records[place.sample.path].sha256].append(place)
    groups = list(by_content.values())
    for group in groups:
        if len(group) > 1:
            yield from _equal(group, dataset)
    yield from _nearly(groups, records, dataset)


def _equal(group: Sequence[Place], dataset: Dataset) -> Iterator[Finding]:
    """What it means that these are the same: the labels disagree, or the splits overlap, or there are copies."""
    if len({place.sample.class_id for place in group}) > 1:
        first = {place.sample.class_id: place for place in reversed(group)}
        ordered = sorted(group, key=lambda place: first[place.sample.class_id] is not place)  # one of each label first
        named = ", ".join(f"{place.name} as {_label(place, dataset)}" for place in ordered[:MENTIONED])
        more = f", and {len(group) - MENTIONED} more" if len(group) > MENTIONED else ""
        yield _finding("two-labels", ordered[0], named + more, [place.name for place in ordered[1:SHOWN]])
        return
    train = [place for place in group if place.split == "train"]
    held_out = [place for place in group if place.split != "train"]
    if train and held_out:
        for place in train:
            yield _finding("leak", place, f"in {held_out[0].split}: {held_out[0].name}", [held_out[0].name])
        return
    for place in group[1:]:
        detail = "listed twice" if place.name == group[0].name else f"like {group[0].name}"
        yield _finding("duplicate", place, detail, [group[0].name])


def _label(place: Place, dataset: Dataset) -> str:
    return dataset.labels[place.sample.class_id].name


def _nearly(groups: Sequence[list[Place]], records: Mapping[Path, Record], dataset: Dataset) -> Iterator[Finding]:
    """Photos nearly the same as others. Of equal ones, which have a finding already, one a split and label stands."""
    items, contents = list[Place](), list[int]()
    for content, group in enumerate(groups):
        standing = {(place.split, place.sample.class_id): place for place in reversed(group)}
        items += standing.values()
        contents += [content] * len(standing)
    found = near(
        [records[place.sample.path] for place in items],
        contents=contents,
        classes=[place.sample.class_id for place in items],
        held_out=[place.split != "train" for place in items],
    )
    for each in found:
        place, other = items[each.item], items[each.other]
        detail = {
            "two-labels": f"{_label(place, dataset)}, like {other.name}, which is {_label(other, dataset)}",
            "leak": f"in {other.split}: {other.name}",
            "duplicate": f"like {other.name}",
        }[each.relation]
        yield _finding(f"near-{each.relation}", place, detail, [other.name])


# ---- photos that are odd


def _odd(places: Sequence[Place], records: Mapping[Path, Record], dataset: Dataset) -> Iterator[Finding]:
    for place in places:
        record = records[place.sample.path]
        for kind, detail in _oddities(record, place.sample.path):
            yield _finding(kind, place, detail)
        folder = place.sample.path.parent.name
        if place.sample.line and folder.isascii() and folder.isdigit() and int(folder) != place.sample.class_id:
            yield _finding("folder-disagrees", place, f"class {place.sample.class_id} in a folder named {folder}")


def _oddities(record: Record, path: Path) -> Iterator[tuple[str, str]]:
    size = f"{record.width} × {record.height}"
    if record.animated:
        yield "animated", f"{record.format} with several frames"
    if min(record.width, record.height) < TINY:
        yield "tiny", f"{size} pixels"
    if record.width * record.height > LARGE:
        yield "large", f"{size} pixels"
    if unusual := _unusual(record):
        yield "unusual-mode", unusual
    if record.orientation != 1:
        yield "rotated", f"EXIF orientation {record.orientation}"
    if path.suffix.lower() not in _SUFFIXES.get(record.format, {path.suffix.lower()}):
        yield "misnamed", f"{record.format}, named {path.suffix or 'without a suffix'}"


def _unusual(record: Record) -> str:
    mode = record.mode
    if mode.startswith("I") or mode.endswith("/16"):
        return "16 or more bits a channel"
    if mode in ("CMYK", "YCCK"):
        return "CMYK"
    if mode in ("P", "PA"):
        return "" if record.format == "GIF" else "palette"
    return "alpha" if mode in ("RGBA", "LA", "La", "RGBa") else ""


# ---- classes


def _classes(dataset: Dataset, good: Sequence[Place]) -> Iterator[Finding]:
    counts = Counter((place.split, place.sample.class_id) for place in good)
    for split in ("train", "val"):
        if not any(place.split == split for place in good):
            yield Finding(KINDS["no-photos"], "", f"no {split} photo that can be used")
    names = Counter(label.name for label in dataset.labels.items)
    for label in dataset.labels.items:
        if names[label.name] > 1:
            yield _class_finding("same-name", label.class_id, f"class {label.class_id} {label.text}")
    largest = max((counts["train", label.class_id] for label in dataset.labels.items), default=0)
    for label in dataset.labels.items:
        train, val = counts["train", label.class_id], counts["val", label.class_id]
        text = f"class {label.class_id} {label.text}"
        if not train:
            yield _class_finding(
                "empty-class", label.class_id, f"{text}: {val or 'no'} validation photos, none to train"
            )
        elif not val:
            yield _class_finding("no-validation", label.class_id, f"{text}: {train} training photos")
        if 0 < train * UNBALANCED < largest:
            detail = f"{text}: {train} training photos, the largest class has {largest}"
            yield _class_finding("unbalanced", label.class_id, detail)


def _class_finding(kind: str, class_id: int, detail: str) -> Finding:
    return Finding(KINDS[kind], "", detail, class_id=class_id)


def _unlisted(dataset: Dataset, places: Sequence[Place]) -> Iterator[Finding]:
    """Photos that lie there and are in no list or class folder; not asked where lists were cleaned."""
    if dataset.left_out:
        return
    known = {str(place.sample.path) for place in places}
    known |= {str(dataset.root / problem.path) for problem in dataset.problems}
    others = tuple(f"{folder}{os.sep}" for folder in apart(dataset.root))
    for path in find_names(dataset.root):
        if path not in known and not path.startswith(others):
            yield Finding(KINDS["unlisted"], dataset.name(Path(path)), "in no list and no class folder")
