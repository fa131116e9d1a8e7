"""A photo and its answer → one JPEG: the photo, and under it a band that says the bin and the kind.

Knows pixels. Does not know files.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from garbage_cli.annotating.fonts import Typeface
from garbage_cli.annotating.places import MARK
from garbage_cli.prediction import Prediction

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

LONGEST = 2560
"""Pixels of the photo's longer side in the picture; larger ones are made smaller."""
NARROWEST = 320
"""Pixels of the picture's width: a narrower photo stands on a ground; a tiny one is enlarged."""

UNSURE = "#f2c94c"
UNKNOWN = "#4a4f55"
"""The band of an answer that is not sure, and of a bin that is none of the four."""
_GROUND = "#f1f2f4"
_SMALLEST = 9
"""Pixels of letters; a line that is longer even so is cut."""
_MOST_LETTERS = 400


@dataclass(frozen=True, slots=True)
class Words:
    """What the band says, and its colour."""

    bin: str
    kind: str
    score: str
    colour: str


def annotate(photo: "Image", prediction: Prediction, typeface: Typeface) -> bytes:
    """Return the picture of an RGB photo and its answer, as JPEG. Raises ValueError for a prediction without one."""
    from PIL import Image, ImageDraw

    words = words_of(prediction, chinese=typeface.has_chinese, typeface=typeface)
    photo = _sized(photo)
    width = max(photo.width, NARROWEST)
    size = round(min(max(0.048 * width, 15), max(0.09 * photo.height, 15)))
    height = round(size * 3.1)
    picture = Image.new("RGB", (width, photo.height + height), _GROUND)
    picture.paste(photo, ((width - photo.width) // 2, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, photo.height, width, photo.height + height), fill=words.colour)
    ink = ink_on(words.colour)
    margin = round(size * 0.6)
    _write(draw, (margin, photo.height + round(size * 1.3)), words.bin, size, width - 2 * margin, ink, typeface)
    _write_kind(draw, (margin, photo.height + round(size * 2.6)), words, round(size * 0.85), width, ink, typeface)
    return _jpeg(picture)


def words_of(prediction: Prediction, *, chinese: bool, typeface: Typeface) -> Words:
    """Return the words for an answer; without a font for Chinese, English alone."""
    if prediction.best is None:
        raise ValueError(f"{prediction.image} has no answer to draw")
    label, score = prediction.best.label, f"{prediction.best.score * 100:.1f} %"
    kind = _both(label.name, label.english or "", f"class {label.class_id}", typeface)
    if not prediction.sure:
        best = "最可能 at best: " if chinese else "at best: "
        return Words("不确定 not sure" if chinese else "not sure", best + kind, score, UNSURE)
    bin_ = _both(label.bin_name or "", label.bin.english if label.bin else "", "?", typeface)
    return Words(bin_, kind, score, label.bin.colour if label.bin else UNKNOWN)


def _both(name: str, english: str, otherwise: str, typeface: Typeface) -> str:
    """The data set's word and the English one, as far as they can be written."""
    name = name if typeface.can_write(name) or not english else ""
    shown = "".join(piece for _, piece in typeface.runs(f"{name} {english}")).strip()
    return " ".join(shown.split()) or otherwise


def _sized(photo: "Image") -> "Image":
    """The photo, smaller if it is huge, and larger by a whole number if it is tiny."""
    from PIL.Image import Resampling

    longer = max(photo.size)
    if longer > LONGEST:
        part = LONGEST / longer
        size = (max(1, round(photo.width * part)), max(1, round(photo.height * part)))
        return photo.resize(size, Resampling.LANCZOS, reducing_gap=2.0)
    if longer < NARROWEST // 2:
        times = NARROWEST // longer
        return photo.resize((photo.width * times, photo.height * times), Resampling.NEAREST)
    return photo


def _write_kind(
    draw: "ImageDraw", at: tuple[int, int], words: Words, size: int, width: int, ink: str, typeface: Typeface
) -> None:
    """The second line: the kind to the left, the score to the right."""
    x, y = at
    taken = _length(draw, words.score, size, typeface)
    _write(draw, (round(width - x - taken), y), words.score, size, width, ink, typeface)
    _write(draw, at, words.kind, size, width - 3 * x - taken, ink, typeface)


def _write(
    draw: "ImageDraw", at: tuple[int, int], text: str, size: int, room: float, ink: str, typeface: Typeface
) -> None:
    """A line whose letters stand on `at`, smaller if it needs more than `room`, and in the end cut."""
    text, size = _fitting(draw, text[:_MOST_LETTERS], size, room, typeface)
    x: float = at[0]
    for number, piece in typeface.runs(text):
        font = typeface.font(number, size)
        draw.text((round(x), at[1]), piece, fill=ink, font=font, anchor="ls")
        x += draw.textlength(piece, font=font)


def _fitting(draw: "ImageDraw", text: str, size: int, room: float, typeface: Typeface) -> tuple[str, int]:
    if (length := _length(draw, text, size, typeface)) > room:
        size = max(_SMALLEST, math.floor(size * room / length))
    if _length(draw, text, size, typeface) <= room:
        return text, size
    room -= _length(draw, "…", size, typeface)
    kept = takewhile(lambda end: _length(draw, text[:end], size, typeface) <= room, range(len(text)))
    return f"{text[: max(kept, default=0)].rstrip()}…", size


def _length(draw: "ImageDraw", text: str, size: int, typeface: Typeface) -> float:
    return sum(draw.textlength(piece, font=typeface.font(number, size)) for number, piece in typeface.runs(text))


def ink_on(colour: str) -> str:
    """Return black or white, whichever is easier to read on a colour."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """Return WCAG 2's contrast of two colours, `#rrggbb`: 1 to 21."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""

    def linear() -> Iterator[float]:
        for channel in bytes.fromhex(colour.removeprefix("#")):
            share = channel / 255
            yield share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(), strict=True))


def _jpeg(picture: "Image") -> bytes:
    """The picture's bytes, with our mark, and with nothing of the photo's own data, such as where it was taken."""
    buffer = io.BytesIO()
    picture.info.clear()
    picture.save(buffer, "JPEG", quality=90, comment=MARK)
    return buffer.getvalue()
