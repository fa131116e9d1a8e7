"""A data set that grows while a server answers: photos as they came, by what was answered, and by what people said.

    DIR/labels.txt                      the classes, in their order
    DIR/train/可回收物/易拉罐/<id>       a person confirmed or corrected it
    DIR/unconfirmed/可回收物/易拉罐/<id>  the answer, and nobody said a word to it
    DIR/none/<id>                       a person said that it is none of the kinds

Knows the folders, their names and how much they may hold. Does not know HTTP or models. There is no index: where a file
lies says all, so several processes can store and move at once, and people by hand. Nobody but the owner and its group
may read the photos: they show what is in front of a stranger's camera, and may hold the place where it stood.
"""

import errno
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import Literal

from garbage_cli.config import human
from garbage_cli.dataset.layouts import CONFIRMED, LABELS, NONE, NOT_PHOTOS, UNCONFIRMED, class_of, is_collection
from garbage_cli.dataset.text import is_file, read_labels
from garbage_cli.errors import DatasetError
from garbage_cli.labels import Label, Labels
from garbage_cli.storage import staged_file

LIMIT = 10 * 1024**3
"""Bytes that a collection may hold, unless another number is given."""
SPARE = 1024**3
"""Bytes of the disk that are left free for everything else."""
RECOUNTED = 60.0
"""Seconds after which what lies there is counted anew: other processes store too, and people take photos away."""
QUIET = 3600.0
"""Seconds in which one reason for not storing is said once."""
TRIES, MISSES = 20, 2
"""Times that a photo is looked for, and in a row without seeing it: one that is moved meanwhile is missed."""
LONGEST = 120
"""Bytes of a folder's name."""

_FILE, _FOLDER = 0o640, 0o750
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{32}\.(jpg|png|webp|bmp|gif|tif)")
_BEGINNINGS = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II", ".tif"),
    (b"MM", ".tif"),
    (b"RIFF", ".webp"),
)
"""How files of the formats begin that are read; a photo that was answered is in one of them."""

Said = Literal["confirmed", "corrected", "none"]


class UnknownPhoto(LookupError):
    """An id under which no photo lies here."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said of a photo: its class, or None for none of the kinds."""

    label: Label | None
    said: Said | None
    """What that was, beside the answer; None if it had been said before."""


class Collection:
    """One process's way to a collection's folder."""

    def __init__(
        self,
        folder: Path,
        labels: Labels,
        *,
        limit: int = LIMIT,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Make the folder, or find that it is a collection of these classes; raise DatasetError if it can't be one.

        Why photos are not stored is told, each reason once an hour.
        """
        prepare(folder, labels)
        self.folder = folder
        self.labels = labels
        self._limit = limit
        self._tell = tell
        self._told: dict[str, float] = {}
        self._places = _places(labels)
        self._counting: threading.Thread | None = None
        self._recount()

    def add(self, photo: bytes, label: Label) -> str | None:
        """Store a photo under what was answered; return its id, or None, told why, where it can't be stored."""
        self._recount_if_due()
        suffix = next((suffix for beginning, suffix in _BEGINNINGS if photo.startswith(beginning)), None)
        reason = self._reason(len(photo), label)
        if reason or suffix is None:
            self._tell_once(reason or "it is no photo")
            return None
        id_ = _new_id(suffix)
        try:
            self._write(self._place(UNCONFIRMED, label.class_id) / id_, photo)
        except OSError as error:
            self._tell_once(f"{error.strerror or error}")
            return None
        self._bytes += len(photo)
        return id_

    def correct(self, id_: str, class_id: int | None) -> Correction:
        """Move a photo to the class that a person says it is of, or to those of none; it can be said again.

        Of several at once, the last one counts. Raises UnknownPhoto, and OSError where it can't be moved.
        """
        if not _ID.fullmatch(id_):  # before it is part of any path
            raise UnknownPhoto(id_)
        label = None if class_id is None else self.labels.items[class_id]
        target = self.folder / NONE if class_id is None else self._place(CONFIRMED, class_id)
        missed = 0
        for _ in range(TRIES):
            found = next((place for place in self._all_places() if is_file(place / id_)), None)
            missed = 0 if found else missed + 1
            if missed == MISSES:
                break
            if found == target:
                return Correction(label, None)
            if found is not None:
                self._make(target)
                with suppress(FileNotFoundError):  # somebody else was quicker; it is looked for again
                    (found / id_).replace(target / id_)
                    return Correction(label, self._said(found, class_id))
        raise UnknownPhoto(id_)

    def _said(self, found: Path, class_id: int | None) -> Said:
        if class_id is None:
            return "none"
        return "confirmed" if found == self._place(UNCONFIRMED, class_id) else "corrected"

    # ---- places

    def _place(self, part: str, class_id: int) -> Path:
        return self.folder / part / self._places[class_id]

    def _all_places(self) -> Iterator[Path]:
        for part in (UNCONFIRMED, CONFIRMED):
            yield from (self.folder / part / place for place in self._places)
        yield self.folder / NONE

    def _make(self, place: Path) -> None:
        """Make the folders down to a place. A collection that is gone, as its disk may be, is not begun anew."""
        if not is_file(self.folder / LABELS):
            raise FileNotFoundError(errno.ENOENT, f"there is no {self.folder / LABELS} any more")
        for folder in (*reversed(place.relative_to(self.folder).parents), place.relative_to(self.folder)):
            (self.folder / folder).mkdir(mode=_FOLDER, exist_ok=True)

    def _write(self, path: Path, photo: bytes) -> None:
        self._make(path.parent)
        _write(path, photo)

    # ---- room

    def _reason(self, size: int, label: Label) -> str | None:
        """Why a photo of so many bytes is not to be stored."""
        if self.labels.items[label.class_id : label.class_id + 1] != (label,):
            return f"{label.text} is no class of this collection"
        if self._bytes + size > self._limit:
            return f"it holds {human(self._bytes)} of {human(self._limit)}; move photos away, or raise --collect-limit"
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            return f"{error.strerror}"
        if free - size < SPARE:
            return f"less than {human(SPARE)} of its disk is free; make room there"
        return None

    def _tell_once(self, reason: str) -> None:
        now, kind = time.monotonic(), re.sub(r"[0-9.]+", "", reason)
        if now - self._told.get(kind, -QUIET) >= QUIET:
            self._told[kind] = now
            self._tell(f"photos are not kept in {self.folder}: {reason}")

    def _recount_if_due(self) -> None:
        """Count anew now and then, beside what is being done."""
        pause = RECOUNTED * max(1.0, 2 * self._took)  # a large folder is counted less often
        if time.monotonic() - self._counted < pause or (self._counting and self._counting.is_alive()):
            return
        self._counting = threading.Thread(target=self._recount, daemon=True)
        self._counting.start()

    def _recount(self) -> None:
        begun = time.monotonic()
        self._bytes = _bytes_in(self.folder)
        self._counted = time.monotonic()
        self._took = self._counted - begun


# ---- the folder


def prepare(folder: Path, labels: Labels) -> None:
    """Make a collection of these classes, or find that there is one; raise DatasetError that names what is in the way.

    Several processes may do so at once: labels.txt, which makes it a collection, comes last.
    """
    try:
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        stranger = _stranger(folder)
        if stranger and not is_collection(folder):  # asked in this order: another process may just have made it one
            raise DatasetError(
                f"{folder} holds {stranger} and is no folder of collected photos; name a new folder with --collect"
            )
        if is_file(folder / LABELS):
            _require_same(folder, labels)  # before anything is made in what may be a stranger's
        for name in (CONFIRMED, UNCONFIRMED, NONE):
            (folder / name).mkdir(mode=_FOLDER, exist_ok=True)
        if not is_file(folder / LABELS):
            _write(folder / LABELS, _labels_text(labels).encode())
        with TemporaryFile(dir=folder / UNCONFIRMED):  # a disk may be there to be read only
            pass
    except OSError as error:
        raise DatasetError(
            f"photos can't be kept in {folder}: {error.filename or folder}: {error.strerror}; "
            "name a folder that can be written to with --collect"
        ) from None
    _require_same(folder, labels)


def _stranger(folder: Path) -> str | None:
    """What lies in a folder that is not there yet when a collection is begun; hidden files don't count."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in (LABELS, "lost+found"):
            continue
        if path.name not in (CONFIRMED, UNCONFIRMED, NONE) or not path.is_dir() or any(path.iterdir()):
            return path.name
    return None


def _require_same(folder: Path, labels: Labels) -> None:
    """Raise DatasetError unless these are the classes by which the folder will be read."""
    named = read_labels(folder)
    there, source = named or (Labels(()), folder / LABELS)
    if there == labels:
        return
    differing = next((b for a, b in zip(there.items, labels.items, strict=False) if a != b), None)
    what = f"{len(there)} classes, the model has {len(labels)}"
    if differing is not None:
        id_ = differing.class_id
        what = f"class {id_} as {there[id_].text}, the model has {differing.text}"
    raise DatasetError(f"{source} names {what}; keep the photos of this model in another folder: --collect")


def _labels_text(labels: Labels) -> str:
    """One class a line. Where lines could be taken for numbered ones, or begin with a mark, they get numbers."""
    texts = labels.texts
    if texts[0].startswith("\ufeff") or all(re.match(r"[0-9]+[ \t]+\S", text) for text in texts):
        texts = tuple(f"{number} {text}" for number, text in enumerate(texts))
    return "".join(f"{text}\n" for text in texts)


def _write(path: Path, data: bytes) -> None:
    with staged_file(path) as temporary:
        temporary.touch(mode=_FILE)
        temporary.write_bytes(data)


def _bytes_in(folder: Path) -> int:
    """Bytes of the files below a folder; what goes away meanwhile, or can't be looked at, counts nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(where, name).lstat().st_size
    return total


def _new_id(suffix: str) -> str:
    """A name that sorts by time, says the format, and can't be guessed: who knows it may correct the photo."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(16)}{suffix}"


# ---- names of folders


def _places(labels: Labels) -> tuple[PurePosixPath, ...]:
    """A folder for each class by which a data set's reader knows it again."""
    return tuple(PurePosixPath(_place(label, labels)) for label in labels.items)


def _place(label: Label, labels: Labels) -> str:
    """Bin and kind where that can be a folder, the kind alone where the bin is none of the four, or a number."""
    for name in _candidates(label):
        if class_of(name, labels) == label.class_id:
            return name
    raise DatasetError(f"class {label.class_id} of the model, {label.text!r}, has no name that a folder can have")


def _candidates(label: Label) -> Iterator[str]:
    if _is_safe(label.name) and label.bin is None and Label(0, "", label.name).bin is None:
        yield label.name
    elif _is_safe(label.name) and label.bin is not None:
        yield f"{label.bin_name}/{label.name}"
    for digits in range(1, 10):  # a class may be named 3 and be another one
        if len(f"{label.class_id}") <= digits:
            yield f"{label.class_id:0{digits}}"


_UNSAFE = re.compile(r'[<>:"/\\|?*]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def _is_safe(name: str) -> bool:
    """Whether every system takes this as the name of a folder, and a data set's reader looks into it."""
    return (
        name.isprintable()
        and 0 < len(name.encode()) <= LONGEST
        and name == name.strip(" .")
        and not _UNSAFE.search(name)
        and not _DEVICES.fullmatch(name)
        and name not in NOT_PHOTOS
    )
