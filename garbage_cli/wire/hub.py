"""PaddleHub Serving's three shapes of requests and results, told apart by what "images" is.

A is a list of image files in base64 (PaddleClas 2.0). B (2.1 to 2.2.0) and C (from 2.2.1) are a preprocessed tensor in
base64, with its shape and type beside it; only B has a "top_k". Knows these shapes. Does not know HTTP or models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import ImageError
from garbage_cli.prediction import Prediction
from garbage_cli.wire.reading import (
    MAX_IMAGES,
    RequestError,
    from_base64,
    is_whole,
    parse_top_k,
    read_images,
    shown,
    without_line_breaks,
)

Generation = Literal["A", "B", "C"]
Shape = tuple[int, int, int]
"""Channels, height, width of one input."""

_TOLD = 3
"""Failed photos that a message names."""


@dataclass(frozen=True, slots=True, eq=False)
class HubRequest:
    """What a body asks for: `images` in A, a `tensor` (n, 3, height, width) in B and C."""

    generation: Generation
    images: tuple[bytes | ImageError, ...] = ()
    tensor: NDArray[np.float32] | None = None
    top_k: int | None = None

    def wanted(self, servers: int | None = None) -> int | None:
        """Return how many kinds to name: those asked for; else in A the server's own number or one, as PaddleClas did.

        None, in B and C, is the model's own number.
        """
        return self.top_k or ((servers or 1) if self.generation == "A" else None)


def parse_hub(value: Mapping[str, Any], *, input_shape: Shape) -> HubRequest:
    """Read a body of any of the three; raise RequestError that says what is wrong with it as a whole.

    One image of A that is no good base64 fails alone. Of a tensor, all is checked that can be before it is decoded.
    """
    if "images" not in value:
        raise RequestError('the key "images" is missing: {"images": ["<base64>", …]}')
    images, top_k = value["images"], parse_top_k(value.get("top_k"))
    if not isinstance(images, str):
        return HubRequest("A", images=read_images(images), top_k=top_k)
    if "revert_params" not in value:
        raise RequestError(
            '"images" is one string; send image files as a list of base64 strings, also a single one: '
            '{"images": ["<base64>"]}; or, if it is a preprocessed tensor, say so with '
            f'"revert_params": {{"shape": {[1, *input_shape]}, "dtype": "float32"}}'
        )
    shape = _revert_params(value["revert_params"], input_shape)
    return HubRequest("B" if "top_k" in value else "C", tensor=_tensor(images, shape), top_k=top_k)


def _revert_params(params: object, input_shape: Shape) -> tuple[int, ...]:
    """The shape of a tensor, which the model takes."""
    if not isinstance(params, dict):
        example = f'{{"shape": {[1, *input_shape]}, "dtype": "float32"}}'
        raise RequestError(f'"revert_params" must be an object, not {shown(params)}: {example}')
    if params.get("dtype") != "float32":
        raise RequestError(f'"dtype" in "revert_params" must be "float32", not {shown(params.get("dtype"))}')
    return check_shape(
        params.get("shape"), input_shape, where='"shape" in "revert_params"', instead="in base64, in a list"
    )


def check_shape(shape: object, input_shape: Shape, *, where: str, instead: str) -> tuple[int, ...]:
    """Return the shape of a preprocessed tensor; raise RequestError if the model does not take it.

    The message names the place, and how to send an image file `instead`.
    """
    if not isinstance(shape, list) or len(shape) != 4 or not all(is_whole(each) and each > 0 for each in shape):
        raise RequestError(f"{where} must be 4 whole numbers from 1, as in {[1, *input_shape]}, not {shown(shape)}")
    if tuple(shape[1:]) != input_shape:
        raise RequestError(
            f"{where} is {shown(shape)}, but this model takes {list(input_shape)} of each photo; "
            f"preprocess to that, or send the image file itself {instead}"
        )
    if shape[0] > MAX_IMAGES:
        raise RequestError(f"{where} says {shown(shape[0])} images; send at most {MAX_IMAGES} in one request")
    return tuple(shape)


def _tensor(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if text.startswith("data:"):
        raise RequestError('"images" begins with "data:"; send only what follows "base64,"')
    size = 4 * prod(shape)
    if len(text) != (expected := 4 * -(-size // 3)):
        text = without_line_breaks(text)
    if len(text) != expected:
        raise RequestError(
            f'"images" has {len(text)} characters; a tensor of shape {list(shape)} in float32 has {size} bytes, '
            f"which is {expected} characters of base64"
        )
    try:
        data = from_base64(text)
    except ValueError:
        raise RequestError('"images" is not valid base64') from None
    if len(data) != size:
        raise RequestError(f'"images" holds {len(data)} bytes; a tensor of shape {list(shape)} in float32 has {size}')
    return from_bytes(data, shape, name="images")


def from_bytes(data: bytes, shape: tuple[int, ...], *, name: str) -> NDArray[np.float32]:
    """Read little-endian float32; raise RequestError if it holds what is no number."""
    tensor = np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(shape)
    if not np.isfinite(tensor).all():
        raise RequestError(f'"{name}" holds values that are not finite (NaN or infinite)')
    return tensor


def hub_results(request: HubRequest, predictions: Sequence[Prediction], *, seconds: float) -> object:
    """Return the `results` of the request's generation; a photo that failed has empty lists.

    `seconds` is for all photos; generation A shares it out among them.
    """
    if request.generation == "A":
        share = seconds / max(1, len(predictions))
        return [[_class_ids(each), _scores(each), share] for each in predictions]
    named = _answer_b if request.generation == "B" else _answer_c
    return {"prediction": [named(each) for each in predictions], "elapse": seconds}


def _answer_b(prediction: Prediction) -> dict[str, object]:
    return {"clas_ids": _class_ids(prediction), "scores": _scores(prediction)}  # so it is written there


def _answer_c(prediction: Prediction) -> dict[str, object]:
    names = [each.label.text for each in prediction.scores]
    return {"class_ids": _class_ids(prediction), "scores": _scores(prediction), "label_names": names}


def _class_ids(prediction: Prediction) -> list[int]:
    return [each.label.class_id for each in prediction.scores]


def _scores(prediction: Prediction) -> list[float]:
    return [each.score for each in prediction.scores]


def hub_message(predictions: Sequence[Prediction]) -> str:
    """Say which photos failed and why, the first few by name; nothing if none did."""
    failed = [f"{each.image}: {each.error}" for each in predictions if each.error is not None]
    more = [f"and {len(failed) - _TOLD} more"] if len(failed) > _TOLD else []
    return "; ".join([*islice(failed, _TOLD), *more])
