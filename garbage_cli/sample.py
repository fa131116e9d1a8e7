"""A small data set drawn by ourselves: eight of the 40 kinds, in all four bins, packed as an archive.

Knows Pillow's pen and the AI Studio layout. Does not know models. It is for trying the pipeline, not for sorting waste.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from garbage_cli.labels import THE_40, Label
from garbage_cli.storage import staged_file

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Random = np.random.Generator
Colour = tuple[int, int, int]

CANVAS = 240
"""Side of the square each thing is drawn on, pixels, before it is turned and shrunk."""
SIZE = (160, 120)
"""Width and height of a photo, pixels."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Progress of the drawing."""

    done: int
    total: int


def write_archive(path: Path, *, train: int = 20, val: int = 5, seed: int = 0) -> Iterator[Drawn]:
    """Draw `train` + `val` photos of each kind and pack them, with lists and rule file, as a zip; yield progress.

    The same seed gives the same archive, byte for byte.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"train.txt": [], "validate.txt": []}
    kinds = list(_PENS.items())
    total = len(kinds) * (train + val)
    with staged_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for number in range(total):
            class_id, index = number % len(kinds), number // len(kinds)
            name = f"./{class_id}/img_{number}.jpg"
            _add(archive, name, _jpeg(draw(kinds[class_id][1], np.random.default_rng([seed, number]))))
            lists["train.txt" if index < train else "validate.txt"].append(f"{name} {class_id}\n")
            yield Drawn(number + 1, total)
        for name, lines in lists.items():
            _add(archive, name, "".join(lines).encode())
        labels = [_label(name) for name, _ in kinds]
        _add(archive, "labels.txt", "".join(f"{label.text}\n" for label in labels).encode())
        rule = {str(i): label.text for i, label in enumerate(labels)}
        _add(archive, "garbage_classify_rule.json", json.dumps(rule, ensure_ascii=False, indent=4).encode())


def _label(name: str) -> Label:
    return next(label for label in THE_40.items if label.name == name)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(f"garbage/{name.removeprefix('./')}", date_time=(2021, 1, 1, 0, 0, 0))
    info.external_attr = 0o100644 << 16
    archive.writestr(info, data)


def _jpeg(image: "Image") -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=88)
    return data.getvalue()


def draw(pen: "Callable[[ImageDraw, Random], None]", random: Random) -> "Image":
    """Draw one thing on a random ground: turned, sized and placed at random."""
    from PIL import Image, ImageDraw

    photo = _ground(random)
    layer = Image.new("RGBA", (CANVAS, CANVAS))
    pen(ImageDraw.Draw(layer), random)
    side = int(random.uniform(0.75, 0.98) * SIZE[1])
    layer = layer.rotate(random.uniform(-30, 30), Image.Resampling.BICUBIC).resize((side, side))
    left, top = int(random.integers(SIZE[0] - side + 1)), int(random.integers(SIZE[1] - side + 1))
    photo.paste(layer, (left, top), layer)
    return photo


def _ground(random: Random) -> "Image":
    """A floor: one light and one dark shade blended, with grain."""
    from PIL import Image

    width, height = SIZE
    base = random.uniform(90, 235, 3)
    slope = np.linspace(-1, 1, width)[None, :, None] * random.uniform(-25, 25, 3)
    grain = random.normal(0, random.uniform(2, 9), (height, width, 1))
    return Image.fromarray((base + slope + grain).clip(0, 255).astype(np.uint8))


def _shade(random: Random, colour: Colour, spread: int = 25) -> Colour:
    """A colour near the given one."""
    r, g, b = (int(np.clip(part + random.integers(-spread, spread + 1), 0, 255)) for part in colour)
    return r, g, b


def _any_colour(random: Random) -> Colour:
    r, g, b = (int(part) for part in random.integers(20, 236, 3))
    return r, g, b


def _drink_can(pen: "ImageDraw", random: Random) -> None:
    metal, paint = _shade(random, (190, 195, 200)), _any_colour(random)
    pen.ellipse((70, 195, 170, 225), fill=metal)
    pen.rectangle((70, 40, 170, 210), fill=paint)
    pen.rectangle((70, 90, 170, 130), fill=_any_colour(random))
    pen.ellipse((70, 20, 170, 60), fill=metal, outline=(90, 90, 95), width=4)
    pen.ellipse((105, 32, 135, 48), fill=(70, 70, 75))


def _drink_bottle(pen: "ImageDraw", random: Random) -> None:
    body = _shade(random, (150, 205, 225))
    pen.rectangle((105, 8, 135, 32), fill=_any_colour(random))
    pen.polygon([(108, 32), (132, 32), (160, 85), (80, 85)], fill=body)
    pen.rounded_rectangle((80, 80, 160, 232), radius=14, fill=body)
    pen.rectangle((80, 120, 160, 170), fill=_any_colour(random))
    pen.line((92, 90, 92, 225), fill=(235, 245, 250), width=6)


def _cardboard_box(pen: "ImageDraw", random: Random) -> None:
    brown = _shade(random, (180, 135, 85))
    dark = (brown[0] * 3 // 4, brown[1] * 3 // 4, brown[2] * 3 // 4)
    light = (min(255, brown[0] + 30), min(255, brown[1] + 30), min(255, brown[2] + 30))
    pen.polygon([(20, 80), (120, 120), (120, 225), (20, 180)], fill=brown)
    pen.polygon([(120, 120), (220, 80), (220, 180), (120, 225)], fill=dark)
    pen.polygon([(20, 80), (120, 40), (220, 80), (120, 120)], fill=light)
    pen.line((70, 60, 170, 100), fill=(225, 210, 170), width=12)


def _fish_bone(pen: "ImageDraw", random: Random) -> None:
    bone = _shade(random, (240, 235, 220), 12)
    dark = (105, 95, 80)
    for width, colour in ((16, dark), (9, bone)):
        pen.line((60, 120, 205, 120), fill=colour, width=width)
        for x in range(90, 190, 22):
            reach = 58 - abs(x - 110) // 3
            pen.line((x, 120 - reach, x + 14, 120, x, 120 + reach), fill=colour, width=width)
        pen.polygon([(195, 120), (232, 78), (232, 162)], outline=colour, width=width)
    pen.polygon([(8, 120), (68, 75), (68, 165)], fill=bone, outline=dark, width=4)
    pen.ellipse((40, 100, 54, 114), fill=(20, 20, 20))


def _eggshell(pen: "ImageDraw", random: Random) -> None:
    shell = _shade(random, (240, 205, 165), 15)
    edge = [(30 + 20 * i, 120 + (14 if i % 2 else -14) + int(random.integers(-6, 7))) for i in range(10)]
    pen.pieslice((30, 20, 210, 225), 0, 180, fill=shell)
    pen.polygon([*edge, (200, 150), (40, 150)], fill=shell)
    pen.line(edge, fill=(120, 85, 60), width=6)
    pen.ellipse((60, 128, 180, 150), fill=(255, 250, 240))
    for _ in range(10):
        x, y = int(random.integers(80, 160)), int(random.integers(160, 210))
        pen.ellipse((x, y, x + 5, y + 5), fill=(165, 115, 80))


def _battery(pen: "ImageDraw", random: Random) -> None:
    pen.rectangle((100, 10, 140, 32), fill=(185, 185, 190))
    pen.rectangle((70, 30, 170, 90), fill=_shade(random, (200, 150, 50)))
    pen.rectangle((70, 90, 170, 232), fill=_shade(random, (35, 35, 40), 15))
    for box in ((112, 45, 128, 77), (104, 53, 136, 69)):
        pen.rectangle(box, fill=(30, 30, 30))
    pen.rectangle((95, 190, 145, 204), fill=(235, 235, 235))


def _medicine(pen: "ImageDraw", random: Random) -> None:
    pen.rounded_rectangle((25, 30, 215, 210), radius=16, fill=_shade(random, (205, 210, 218), 10))
    pill = _any_colour(random)
    for row in range(3):
        for column in range(3):
            x, y = 42 + column * 56, 44 + row * 54
            pen.ellipse((x, y, x + 42, y + 42), fill=(150, 155, 165))
            if random.random() < 0.75:
                pen.ellipse((x + 5, y + 5, x + 37, y + 37), fill=pill)


def _cigarette_butt(pen: "ImageDraw", random: Random) -> None:
    pen.rectangle((8, 98, 110, 142), fill=_shade(random, (215, 140, 60), 20))
    pen.rectangle((110, 98, 196, 142), fill=(248, 246, 240))
    pen.line((118, 98, 118, 142), fill=(200, 165, 90), width=5)
    ragged = [(196, 98), (214, 106), (204, 115), (222, 124), (206, 133), (196, 142)]
    pen.polygon(ragged, fill=_shade(random, (70, 66, 64), 15))


_PENS: "dict[str, Callable[[ImageDraw, Random], None]]" = {
    "易拉罐": _drink_can,
    "饮料瓶": _drink_bottle,
    "纸板箱": _cardboard_box,
    "鱼骨": _fish_bone,
    "蛋壳": _eggshell,
    "干电池": _battery,
    "过期药物": _medicine,
    "烟蒂": _cigarette_butt,
}
