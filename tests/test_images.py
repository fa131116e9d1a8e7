import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from garbage_cli.errors import ImageError
from garbage_cli.images import ImageLimits, decode, find, find_names, is_animated
from garbage_cli.prediction import Photo


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)  # type: ignore[arg-type]
    return data.getvalue()


RED = Image.new("RGB", (20, 10), (200, 30, 40))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_format_gives_the_same_upright_rgb(format_: str) -> None:
    array = decode(encode(RED, format_))
    assert array.shape == (10, 20, 3)
    assert array.dtype == np.uint8
    assert np.abs(array.astype(int) - (200, 30, 40)).max() < 12


@pytest.mark.parametrize(("orientation", "shape"), [(1, (10, 20)), (3, (10, 20)), (6, (20, 10)), (8, (20, 10))])
def test_a_phones_rotation_is_undone(orientation: int, shape: tuple[int, int]) -> None:
    image = RED.copy()
    image.putpixel((0, 0), (0, 0, 255))
    exif = image.getexif()
    exif[0x0112] = orientation
    assert decode(encode(image, "PNG", exif=exif)).shape[:2] == shape


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.fromarray(np.full((4, 4), 77 * 256, np.uint16)), (77, 77, 77)),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (RED.quantize(), (200, 30, 40)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
    ],
    ids=["grey", "16-bit", "transparent", "transparent-grey", "palette", "bilevel"],
)
def test_unusual_modes_become_rgb(image: Image.Image, expected: tuple[int, int, int]) -> None:
    pixel = decode(encode(image, "PNG"))[1, 1].astype(int)
    assert np.abs(pixel - expected).max() < 30


@pytest.mark.parametrize(("value", "expected"), [(77, 77), (77 * 256, 77)])
def test_32_bit_grey_is_scaled_by_what_it_holds(value: int, expected: int) -> None:
    image = Image.fromarray(np.full((4, 4), value, np.int32))
    assert tuple(decode(encode(image, "TIFF"))[1, 1]) == (expected,) * 3


def test_cmyk_becomes_rgb() -> None:
    array = decode(encode(RED.convert("CMYK"), "JPEG"))
    assert np.abs(array[5, 5].astype(int) - (200, 30, 40)).max() < 12


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(decode(data)[4, 4]) == (255, 0, 0)


def test_a_broken_exif_block_does_not_matter() -> None:
    data = encode(RED, "JPEG")
    junk = b"Exif\0\0MM\0*" + bytes(range(200, 255))
    broken = data[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + data[2:]
    assert decode(broken).shape == (10, 20, 3)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_truncated_photo_is_an_error(format_: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = encode(noise, format_)
    with pytest.raises(ImageError, match="damaged or incomplete"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"\0" * 100, "not an image"),
        (b"<!doctype html><p>", "web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04....", "archive"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "looks like text"),
        ("这不是照片，只是一段文字，比六十四个字节要长得多".encode(), "looks like text"),
        (bytes(range(100, 200)), "it starts with 64 65"),
        (b"\xff\xd8\xff", "breaks off in its header"),
    ],
)
def test_what_is_no_photo_is_said(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        decode(data)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 9_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=r"pixels|damaged"):
        decode(png_header(*size))


def test_a_strip_longer_than_any_photo_is_refused() -> None:
    with pytest.raises(ImageError, match="65,535 a side"):
        decode(png_header(70_000, 3))


def test_limits_can_be_set() -> None:
    with pytest.raises(ImageError, match="20 × 10 pixels; the limit is 100"):
        decode(encode(RED, "PNG"), ImageLimits(max_pixels=100))
    with pytest.raises(ImageError, match="bytes; the limit is 10"):
        decode(encode(RED, "PNG"), ImageLimits(max_bytes=10))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match="1,099,511,627,776 bytes; the limit is 1,000"):
        Photo.from_path(path).read(max_bytes=1000)


def test_a_missing_file_and_a_folder_are_image_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.jpg", tmp_path):
        with pytest.raises(ImageError):
            Photo.from_path(path).read(max_bytes=1000)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        Photo.from_path(tmp_path / "pipe.jpg").read(max_bytes=1000)


def test_find_walks_folders_in_order_and_tries_named_files_whatever_their_name(photos: Path) -> None:
    found = [path.relative_to(photos).as_posix() for path in find([photos, photos / "notes.txt"])]
    assert found == ["a red.jpg", "broken.jpg", "绿 色.png", "deep/blue.webp", "notes.txt"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_rotation_is_undone_as_pillow_undoes_it(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(pixels), "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode(data), np.asarray(upright))


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.97])
def test_a_photo_that_breaks_off_is_told_from_one_that_is_damaged(format_: str, part: float) -> None:
    data = encode(NOISE, format_)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * part)])
    assert caught.value.fault == "truncated"


def test_damage_in_the_midst_is_not_called_truncated() -> None:
    data = bytearray(encode(NOISE, "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError) as caught:
        decode(bytes(data))
    assert caught.value.fault == "damaged"


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF", "PNG"])
def test_a_second_frame_makes_an_animation(format_: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert is_animated(encode(frames[0], format_, save_all=True, append_images=frames[1:]))
    assert not is_animated(encode(frames[0], format_))


def test_names_found_are_written_as_paths_are(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    for folder in (photos, Path(), Path("deep"), Path("deep/../deep")):
        assert list(find_names(folder)) == [str(path) for path in find([folder])]
    assert list(find_names(Path("deep"))) == ["deep/blue.webp"]
    assert next(iter(find_names(Path()))) == "a red.jpg"
