"""What all requests are read with, and replies written: JSON, base64, and words for what is wrong.

Knows no protocol.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any, TypeGuard

from garbage_cli.errors import ImageError

MAX_IMAGES = 256
"""Images of one request."""

_MOST = 1_000_000_000


MAX_VALUES = 200_000
"""Values, and lists and objects, of a body in JSON."""


class RequestError(ValueError):
    """What is wrong with a request's body, in words for whoever sent it."""


def parse_json(
    body: bytes, *, example: str = '{"images": ["<base64>", …]}', values: int = MAX_VALUES
) -> dict[str, Any]:
    """Read a JSON object from a request; raise RequestError that says what is wrong, with an example of what is meant.

    NaN and Infinity, which JSON has not and Python reads, are refused; so is what holds more than about so many values,
    or lists and objects: each takes some twenty times its bytes, and no other thread runs while they are read.
    """
    if body.count(b",") > values or body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise RequestError("the body holds too many values; send photos in base64, and tensors as binary data")
    try:
        value = json.loads(body, parse_constant=_refuse)
    except RequestError:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError too
        raise RequestError("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise RequestError(f"the body must be an object: {example}")
    return value


def _refuse(constant: str) -> None:
    raise RequestError(f"the body is not valid JSON: JSON has no {constant}")


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Return compact JSON, Chinese unescaped; half a surrogate pair, which UTF-8 has not, stays escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    return text.encode(errors="backslashreplace")


def parse_top_k(value: object) -> int | None:
    """Read a top_k from JSON or a query string; None means the server's own."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if not is_whole(value) or not 1 <= value <= _MOST:
        raise RequestError(f"top_k must be a whole number from 1, not {shown(value)}")
    return value


def read_images(texts: object) -> tuple[bytes | ImageError, ...]:
    """Decode the list of "images": one that is no good base64 fails alone, a list that is no such list as a whole."""
    if not isinstance(texts, list) or not texts:
        raise RequestError('"images" must be a list of base64 strings, and not empty')
    if len(texts) > MAX_IMAGES:
        raise RequestError(f'"images" holds {len(texts)} images; send at most {MAX_IMAGES} in one request')
    return decode_images(texts, "images")


def decode_images(texts: Sequence[object], name: str) -> tuple[bytes | ImageError, ...]:
    """Decode base64 of image files; raise RequestError over an element of list `name` that is not even text."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise RequestError(f"{name}[{i}] is not a string; send base64 of the image file")
    return tuple(_decode(str(text)) for text in texts)


def _decode(text: str) -> bytes | ImageError:
    """A URL or a path is told so, and nothing else is done with it."""
    if text.startswith("data:"):
        return ImageError('begins with "data:"; send only what follows "base64,"', fault="unreadable")
    if text.startswith(("http://", "https://", "file:", "/")) and len(text) < 2048 and "." in text:
        said = "looks like a URL or path; nothing is fetched, send base64 of the file"
        return ImageError(said, fault="unreadable")
    if text.startswith(("b'", 'b"')):
        return ImageError('begins with "b\'"; send base64.b64encode(data).decode(), without str()', fault="unreadable")
    try:
        return from_base64(text) or ImageError("the file is empty", fault="empty")
    except ValueError:
        return ImageError("not valid base64", fault="unreadable")


def from_base64(text: str) -> bytes:
    """Decode base64; raise ValueError over what is none.

    Line breaks are passed over, as PaddleHub does: MIME encoders, Java's and the program `base64` among them, write
    them. A space is not: it may be a "+" that went through a form.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        if (bare := without_line_breaks(text)) == text:
            raise
    return base64.b64decode(bare, validate=True)


def without_line_breaks(text: str) -> str:
    """The text in one line."""
    return text.replace("\n", "").replace("\r", "")


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value of JSON is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value of a request for a message: short, and without a sign that can't be sent."""
    if isinstance(value, list):
        return f"a list of {len(value)}" if len(value) > 6 or not all(map(is_whole, value)) else str(value)[:80]
    if isinstance(value, dict):
        return "an object"
    return repr(value[:40]) if isinstance(value, str) else json.dumps(value)[:40]
