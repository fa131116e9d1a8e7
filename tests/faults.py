"""Photos and data sets with faults planted in them, each of which a check has to find."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image


def add(data: Path, name: str, content: bytes, *, class_id: int = 0, listed: str = "train.txt") -> None:
    (data / name).write_bytes(content)
    with (data / listed).open("a", encoding="utf-8") as file:
        file.write(f"./{name} {class_id}\n")


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A photo unlike any other: soft random shapes."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format_: str = "JPEG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)  # type: ignore[arg-type]
    return data.getvalue()


def with_orientation(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, exif=exif)


def deep(image: Image.Image) -> Image.Image:
    """The same in 16-bit grey."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def flipped(data: bytes, place: int) -> bytes:
    """The same with some bits of one byte turned."""
    return data[:place] + bytes([data[place] ^ 0x24]) + data[place + 1 :]


JPEG = encoded(photo(1))
FRAMES = [photo(2), photo(3)]
HUGE = encoded(Image.new("1", (9434, 9434)), "PNG")
SPOILT: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.jpg", b"", "empty"),
    "only zeros": ("a.jpg", bytes(5000), "not-an-image"),
    "a web page": ("a.jpg", b"<!doctype html><p>404", "not-an-image"),
    "a text": ("a.jpg", "这不是照片".encode(), "not-an-image"),
    "an archive": ("a.jpg", b"PK\x03\x04" + bytes(100), "not-an-image"),
    "HEIC named JPEG": ("a.jpg", b"\0\0\0\x18ftypheic" + bytes(100), "not-an-image"),
    "PostScript": ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", "not-an-image"),
    "JPEG cut in the middle": ("a.jpg", JPEG[: len(JPEG) // 2], "truncated"),
    "JPEG whose rest is zeros": ("a.jpg", JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "truncated"),
    "JPEG cut in its header": ("a.jpg", JPEG[:100], "truncated"),
    "JPEG of three bytes": ("a.jpg", JPEG[:3], "truncated"),
    "PNG cut": ("a.png", encoded(photo(4), "PNG")[:2000], "truncated"),
    "WebP cut": ("a.webp", encoded(photo(4), "WEBP", lossless=True)[:500], "truncated"),
    "BMP cut": ("a.bmp", encoded(photo(4), "BMP")[:2000], "truncated"),
    "PNG with a flipped bit": ("a.png", flipped(encoded(photo(5), "PNG"), 999), "damaged"),
    "more than 89 megapixels": ("a.png", HUGE, "enormous"),
    "an animated GIF": ("a.gif", encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "animated"),
    "an animated WebP": ("a.webp", encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "animated"),
    "a TIFF of two pages": ("a.tif", encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "animated"),
    "CMYK": ("a.jpg", encoded(photo(6).convert("CMYK")), "unusual-mode"),
    "16-bit grey": ("a.png", encoded(deep(photo(7)), "PNG"), "unusual-mode"),
    "a palette": ("a.png", encoded(photo(8).quantize(64), "PNG"), "unusual-mode"),
    "an alpha channel": ("a.png", encoded(photo(9).convert("RGBA"), "PNG"), "unusual-mode"),
    "8 × 8 pixels": ("a.png", encoded(photo(10, (8, 8)), "PNG"), "tiny"),
    "a strip of 400 × 3 pixels": ("a.png", encoded(photo(10, (400, 3)), "PNG"), "tiny"),
    "30 megapixels": ("a.jpg", encoded(photo(11, (6000, 5000)), quality=30), "large"),
    "turned by EXIF": ("a.jpg", with_orientation(photo(12), 6), "rotated"),
    "PNG named JPEG": ("a.jpg", encoded(photo(13), "PNG"), "misnamed"),
    "WebP named JPEG": ("a.jpg", encoded(photo(14), "WEBP"), "misnamed"),
}  # fmt: skip


def plant_thirty(data: Path, first: int = 40) -> None:
    """Spoil a good data set of at least 8 classes' worth of lists: 30 faults of 20 kinds."""
    add(data, "0/f01.jpg", b"")
    add(data, "0/f02.jpg", b"<html>not found</html>")
    add(data, "0/f03.jpg", b"GIF is not what this is")
    add(data, "1/f04.jpg", encoded(photo(first))[:900], class_id=1)
    add(data, "1/f05.png", encoded(photo(first + 1), "PNG")[:-30], class_id=1)
    add(data, "1/f06.webp", encoded(photo(first + 2), "WEBP")[:400], class_id=1, listed="validate.txt")
    add(data, "2/f07.png", flipped(encoded(photo(first + 3), "PNG"), 1500), class_id=2)
    add(data, "2/f08.png", HUGE, class_id=2)
    with (data / "train.txt").open("a", encoding="utf-8") as file:
        file.write("./2/f09 不在.jpg 2\n./2/f10.jpg\n/etc/f11.jpg 2\n../f12.jpg 2\n./2/f13.jpg 99\n")
    add(
        data, "3/f14.gif", encoded(photo(first + 4), "GIF", save_all=True, append_images=[photo(first + 5)]), class_id=3
    )
    add(data, "3/f15.jpg", encoded(photo(first + 6).convert("CMYK")), class_id=3)
    add(data, "3/f16.png", encoded(deep(photo(first + 7)), "PNG"), class_id=3)
    add(data, "3/f17.png", encoded(photo(first + 8).convert("RGBA"), "PNG"), class_id=3)
    add(data, "3/f18.png", encoded(photo(first + 9).quantize(32), "PNG"), class_id=3)
    add(data, "4/f19.jpg", encoded(photo(first + 10, (30, 24))), class_id=4)
    add(data, "4/f20.jpg", with_orientation(photo(first + 11), 8), class_id=4)
    add(data, "4/f21.jpg", encoded(photo(first + 12), "PNG"), class_id=4)
    lines = {name: (data / name).read_text(encoding="utf-8").splitlines() for name in ("train.txt", "validate.txt")}
    one, two, three = (line.rpartition(" ")[0].removeprefix("./") for line in lines["train.txt"][:3])
    classes = [int(line.rpartition(" ")[2]) for line in lines["train.txt"][:3]]
    folder = Path(one).parent.as_posix()
    add(data, f"{folder}/f22.jpg", (data / one).read_bytes(), class_id=classes[0])
    with (data / "train.txt").open("a", encoding="utf-8") as file:
        file.write(f"./{two} {classes[1]}\n")  # f23: listed twice
    held_out = [line.rpartition(" ")[0].removeprefix("./") for line in lines["validate.txt"][:3]]
    held_classes = [int(line.rpartition(" ")[2]) for line in lines["validate.txt"][:3]]
    add(data, f"{held_classes[0]}/f24.jpg", (data / held_out[0]).read_bytes(), class_id=held_classes[0])
    with Image.open(data / held_out[1]) as image:
        add(data, f"{held_classes[1]}/f25.jpg", encoded(image, quality=60), class_id=held_classes[1])
    add(data, "5/f26a.jpg", encoded(photo(first + 13)), class_id=5)
    other = 2 if classes[0] != 2 else 1
    add(data, f"{other}/f26b.jpg", encoded(photo(first + 13)), class_id=other)
    with Image.open(data / three) as image:
        small = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
        add(data, f"{classes[2]}/f27.jpg", encoded(small, quality=70), class_id=classes[2])
    add(data, "4/f28.jpg", encoded(photo(first + 14)), class_id=5)
    (data / "5" / "f29.jpg").write_bytes(encoded(photo(first + 15)))
    rule = json.loads((data / "garbage_classify_rule.json").read_text(encoding="utf-8"))
    named = {**rule, str(len(rule)): "有害垃圾/f30"}
    (data / "garbage_classify_rule.json").write_text(json.dumps(named, ensure_ascii=False), encoding="utf-8")


def assert_all_thirty(kinds: dict[str, list[str]]) -> None:
    expected = {
        "bad-line": 1, "outside": 2, "missing": 1, "unnamed-class": 1, "empty": 1, "not-an-image": 2, "truncated": 3,
        "damaged": 1, "enormous": 1, "leak": 1, "two-labels": 1, "near-leak": 1, "duplicate": 2, "near-duplicate": 1,
        "folder-disagrees": 1, "animated": 1, "tiny": 1, "empty-class": 1, "unusual-mode": 4, "rotated": 1,
        "misnamed": 1, "unlisted": 1,
    }  # fmt: skip
    assert sum(expected.values()) == 30
    assert {kind: len(paths) for kind, paths in kinds.items()} == expected
    named = " ".join(path for paths in kinds.values() for path in paths)
    assert [f"f{i:02}" for i in range(1, 31) if f"f{i:02}" not in named] == ["f23"]  # a second line of an old photo
