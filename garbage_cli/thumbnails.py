"""Photos as small JPEGs in data URLs, for pages that load nothing.

Knows images. Does not know pages.
"""

import base64
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from garbage_cli.errors import ImageError
from garbage_cli.images import DEFAULT_LIMITS, open_photo
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo
from garbage_cli.vendor import available_cores


def data_urls(photos: Mapping[str, Path], *, side: int) -> dict[str, str]:
    """Return a URL by name, of a JPEG whose longer side has `side` pixels; "" for a photo that can't be decoded."""
    threads = available_cores()
    return dict(ordered_map(partial(_thumbnail, side), photos.items(), threads=threads, ahead=4 * threads))


def _thumbnail(side: int, photo: tuple[str, Path]) -> tuple[str, str]:
    name, path = photo
    try:
        image = open_photo(Photo.from_path(path).read(max_bytes=DEFAULT_LIMITS.max_bytes)).image
    except ImageError:
        return name, ""
    small = image.copy()
    small.thumbnail((side, side))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=75)
    return name, f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
