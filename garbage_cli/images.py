"""Bytes from anywhere → an upright RGB array, within limits.

Knows image formats. Does not know models or where the bytes come from.
"""

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import ImageError, ImageFault

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What we decode. Pillow knows more, some of them through outside programs; strangers don't get to reach those."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".mpo"})
"""Which files of a folder count as photos. A file named outright is tried whatever its name."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How much one photo may ask of us."""

    max_bytes: int = 50 * 1024 * 1024
    max_pixels: int = 89_000_000
    """Width × height of the decoded image; a full frame of a 64-megapixel phone camera fits."""


DEFAULT_LIMITS = ImageLimits()

MAX_SIDE = 65_535
"""Pixels of the longer side: what a JPEG can have."""


def mute_warnings() -> None:
    """Keep Pillow's remarks on odd metadata off stderr: what matters of a photo, `decode` says itself."""
    warnings.filterwarnings("ignore", module="PIL")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A photo as training and serving see it, and what its file was."""

    image: "Image"
    """Upright, RGB."""
    format: str
    """Pillow's name of the file format."""
    mode: str
    """Pillow's name of the pixels as stored: RGB, CMYK, P, RGBA, I;16 …"""
    orientation: int
    """EXIF's number, 1 to 8; 1 is upright."""
    whole: tuple[int, int]
    """Width and height of the upright photo before any reduction."""


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode to RGB, uint8, shape (height, width, 3), turned upright by its EXIF orientation.

    The first frame of an animation counts; transparency is laid on white; 16-bit grey is scaled to 8.
    Raises ImageError, which says what the bytes are if they are not a photo.
    """
    return np.asarray(open_photo(data, limits).image)


def open_photo(
    data: bytes, limits: ImageLimits = DEFAULT_LIMITS, *, reduction: int | Callable[[tuple[int, int]], int] = 1
) -> Decoded:
    """Decode as `decode` does, to a Pillow image, with what is known of the file.

    A `reduction` of 2, 4 or 8 decodes a JPEG to that part of its sides, rounded up, for a part of the time: each pixel
    is about the mean of those it stands for. It may depend on the stored width and height. Other formats are decoded
    whole.
    """
    if not data:
        raise ImageError("the file is empty", fault="empty")
    if len(data) > limits.max_bytes:
        raise ImageError(f"{len(data):,} bytes; the limit is {limits.max_bytes:,}", fault="enormous")
    from PIL import Image

    try:
        with _open(data) as image:
            _check_size(image.size, limits)
            width, height = image.size
            by = reduction if isinstance(reduction, int) else reduction(image.size)
            if by > 1:
                image.draft(None, (max(1, width // by), max(1, height // by)))
            image.load()
            mode, orientation = image.mode, _orientation(image)
            whole = (height, width) if orientation >= 5 else (width, height)
            return Decoded(_to_rgb(_upright(image, orientation)), image.format or "", mode, orientation, whole)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"more than {limits.max_pixels:,} pixels", fault="enormous") from None
    except MemoryError:
        raise ImageError("it takes more memory to decode than there is", fault="enormous") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError) as error:
        fault: ImageFault = "truncated" if _breaks_off(data, str(error)) else "damaged"
        raise ImageError(f"damaged or incomplete image: {_reason(error)}", fault=fault) from None


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of the upright photo, from a JPEG's header alone; None for whatever is no good JPEG."""
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        with _open(data) as image:
            width, height = image.size
            return (height, width) if _orientation(image) >= 5 else (width, height)
    except Exception:  # noqa: BLE001 - `open_photo` says what is wrong with it
        return None


def _reason(error: Exception) -> str:
    """What Pillow says; some of its decoders say only a number, or that they can't."""
    text = str(error)
    return "its content can't be decoded" if text.lstrip("-").isdigit() or "decoder object" in text else text


def is_animated(data: bytes) -> bool:
    """Say whether a file that `open_photo` reads holds more than one frame or page; read no more than two."""
    try:
        with _open(data) as image:
            image.seek(1)
            return True
    except Exception:  # noqa: BLE001 - no second frame, or one that is damaged: the first is what counts
        return False


def _open(data: bytes) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if _begins_like_a_photo(data):
            raise ImageError("damaged or incomplete image: it breaks off in its header", fault="truncated") from None
        message = f"not an image we read ({_looks_like(data)}); use JPEG, PNG, WebP or BMP"
        raise ImageError(message, fault="not-an-image") from None


def _begins_like_a_photo(data: bytes) -> bool:
    """Whether the first bytes are those of a format we read: too few of them then."""
    riff_webp = data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"")
    return riff_webp or data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*"))


def _breaks_off(data: bytes, reason: str) -> bool:
    """Whether a photo that can't be decoded lacks its end, as far as its format shows."""
    if data[:4] == b"RIFF":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data[:2] == b"BM":
        return len(data) < int.from_bytes(data[2:6], "little")
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data[-16:]
    return "truncat" in reason.lower() or not reason or (data[:4] == b"GIF8" and not data.endswith(b";"))


def _looks_like(data: bytes) -> str:
    head = data[:64].lstrip().lower()
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return "it looks like HEIC, the iPhone's format"
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "it looks like a web page"
    if data[:4] in (b"PK\x03\x04", b"Rar!"):
        return "it looks like an archive"
    if data[:5] == b"%PDF-":
        return "it looks like a PDF"
    if _is_text(data[:64]):
        return "it looks like text"
    return f"it starts with {data[:8].hex(' ')}"


def _is_text(head: bytes) -> bool:
    """Whether the first 64 bytes are UTF-8 to read; the last character may be cut."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < 61:
            return False
        text = head[: error.start].decode()
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if max(width, height) > MAX_SIDE or width * height > limits.max_pixels:
        message = f"{width} × {height} pixels; the limit is {limits.max_pixels:,} in all, {MAX_SIDE:,} a side"
        raise ImageError(message, fault="enormous")


def _orientation(image: "Image") -> int:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - a broken EXIF block raises almost anything, and the pixels are fine
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(image: "Image", orientation: int) -> "Image":
    """Undo the rotation that EXIF notes. An upright photo is not copied, as Pillow's own function would."""
    from PIL.Image import Transpose

    undo = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(undo[orientation]) if orientation in undo else image


def _to_rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bits(grey: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Scale whole-number grey to 0…255: 16-bit values by their range, 32-bit ones by what they hold."""
    if grey.dtype.itemsize == 2 or int(grey.max()) > 255:
        return (grey >> 8).clip(0, 255).astype(np.uint8)
    return grey.clip(0, 255).astype(np.uint8)


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield each path that is no folder as it is, and for a folder the photos below it, sorted, links not followed.

    A folder that can't be opened is yielded too: who reads it as a photo is told why.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        yield from map(Path, find_names(path))


def find_names(folder: Path) -> Iterator[str]:
    """Yield the photos below a folder as `find` does, as text: for the hundred thousands."""
    refused: list[OSError] = []
    for where, subfolders, files in os.walk(folder, onerror=refused.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        start = f"{Path(where)}{os.sep}".removeprefix(f".{os.sep}")  # as Path writes it
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):  # noqa: PTH122
                yield start + name
    yield from (str(error.filename) for error in refused)
