"""What the routes share: the kind of a body, and photos out of lists."""

from collections.abc import Iterable

from garbage_cli.errors import ImageError
from garbage_cli.prediction import Photo, Prediction


def content_type(header: str) -> str:
    """The bare content type of a header, in small letters; all kinds of JSON are one."""
    kind = header.partition(";")[0].strip().lower()
    return "application/json" if kind.startswith("application/") and kind.endswith("+json") else kind


def numbered(images: Iterable[bytes | ImageError]) -> list[Photo | Prediction]:
    """Name images by their places; one that could not be read is answered already."""
    return [_named(f"images[{i}]", image) for i, image in enumerate(images)]


def _named(name: str, image: bytes | ImageError) -> Photo | Prediction:
    return Photo(name, image) if isinstance(image, bytes) else Prediction(name, error=str(image))
