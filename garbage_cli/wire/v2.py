"""The Open Inference Protocol V2, which KServe and Triton speak, with Triton's binary tensor data.

Knows inputs, outputs and metadata, as JSON and as the bytes that may follow it. Does not know HTTP or models.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import ImageError
from garbage_cli.prediction import Prediction
from garbage_cli.wire.hub import Shape, check_shape, from_bytes
from garbage_cli.wire.reading import (
    MAX_IMAGES,
    RequestError,
    decode_images,
    dumps,
    is_whole,
    parse_json,
    parse_top_k,
    shown,
)

IMAGE = "image"
INPUT = "input"
OUTPUTS = {"class_ids": "INT64", "scores": "FP32", "names": "BYTES", "bins": "BYTES", "errors": "BYTES"}
"""Those that a reply has unless some are asked for, in this order."""
_PER_CLASS = ("class_ids", "scores", "names")

MAX_NUMBERS = 2_000_000
"""Numbers of tensors in JSON: a dozen photos of 224 × 224. More of them travel as binary data."""
_EXAMPLE = '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["<base64>"]}]}'
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Output:
    """An output that the reply has, and whether as bytes after the JSON."""

    name: str
    binary: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class InferRequest:
    """What a body asks for: `images`, which are encoded files, or a `tensor` (n, 3, height, width)."""

    images: tuple[bytes | ImageError, ...] = ()
    tensor: NDArray[np.float32] | None = None
    top_k: int | None = None
    id: str | None = None
    """The client's own word for the request, which the reply repeats."""
    outputs: tuple[Output, ...] = tuple(map(Output, OUTPUTS))


def parse_infer(body: bytes, *, header_length: int | None, input_shape: Shape) -> InferRequest:
    """Read a request of `header_length` bytes of JSON (None: all of it), which bytes of its tensor may follow.

    Raises RequestError that says what is wrong with it as a whole; one image that is no good base64 fails alone.
    """
    if header_length is not None and not (is_whole(header_length) and 0 < header_length <= len(body)):
        raise RequestError(f"the body has {len(body)} bytes; its JSON can't have {shown(header_length)} of them")
    head = body if header_length is None else body[:header_length]
    value = parse_json(head, example=_EXAMPLE, values=MAX_NUMBERS)
    parameters = _parameters(value, "the request")
    identity = value.get("id")
    if not isinstance(identity, str | None):
        raise RequestError(f'"id" must be a string, not {shown(identity)}')
    top_k, outputs = parse_top_k(parameters.get("top_k")), _outputs(value, parameters)
    given = _one_input(value)
    data = _data(given, body, header_length)
    if given["name"] == IMAGE:
        return InferRequest(images=_images(given, data), top_k=top_k, id=identity, outputs=outputs)
    return InferRequest(tensor=_tensor(given, data, input_shape), top_k=top_k, id=identity, outputs=outputs)


def _parameters(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = value.get("parameters")
    if not isinstance(parameters, dict | None):
        raise RequestError(f'"parameters" of {where} must be an object, not {shown(parameters)}')
    return parameters or {}


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f'"{name}" must be true or false, not {shown(value)}')
    return value


def _outputs(value: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[Output, ...]:
    """The outputs that are asked for, in the order they are; all if none is."""
    binary, asked = _flag(parameters, "binary_data_output", False), value.get("outputs")
    if not isinstance(asked, list | None):
        raise RequestError(f'"outputs" must be a list, not {shown(asked)}')
    if not asked:
        return tuple(Output(name, binary) for name in OUTPUTS)
    if len(asked) > len(OUTPUTS):
        raise RequestError(f'"outputs" names {len(asked)}; there are {len(OUTPUTS)}: {", ".join(OUTPUTS)}')
    outputs = tuple(_output(each, i, binary) for i, each in enumerate(asked))
    if len({each.name for each in outputs}) < len(outputs):
        raise RequestError('"outputs" names one of them twice')
    return outputs


def _output(value: object, index: int, binary: bool) -> Output:
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str) or name not in OUTPUTS:
        raise RequestError(f"outputs[{index}] is {shown(name)}, which is none of {', '.join(OUTPUTS)}")
    parameters = _parameters(value, f"outputs[{index}]")
    for extension in ("classification", "shared_memory_region"):
        if extension in parameters:
            raise RequestError(f'outputs[{index}] asks for "{extension}", which this server does not do')
    return Output(name, _flag(parameters, "binary_data", binary))


def _one_input(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one input, under its name and of its datatype."""
    inputs = value.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(f'"inputs" must be a list with one input: {_EXAMPLE}')
    given = inputs[0]
    known = {IMAGE: "BYTES", INPUT: "FP32"}
    name, datatype = given.get("name"), given.get("datatype")
    if not isinstance(name, str) or name not in known:
        raise RequestError(
            f'the input is named {shown(name)}; send image files as "{IMAGE}" (BYTES), or preprocessed photos '
            f'as "{INPUT}" (FP32)'
        )
    if datatype != known[name]:
        raise RequestError(f'"datatype" of "{name}" must be "{known[name]}", not {shown(datatype)}')
    return given


def _data(given: Mapping[str, Any], body: bytes, header_length: int | None) -> list[Any] | bytes:
    """The input's values: a list in the JSON, or all bytes that follow it."""
    left = 0 if header_length is None else len(body) - header_length
    size = _parameters(given, "the input").get("binary_data_size")
    if size is None:
        data = given.get("data")
        if not isinstance(data, list):
            raise RequestError(f'"data" of "{given["name"]}" must be a list, not {shown(data)}')
        if left:
            raise RequestError(f'{left} bytes follow the JSON, but the input has no "binary_data_size"')
        return data
    if "data" in given:
        raise RequestError(f'"{given["name"]}" has "data" and "binary_data_size"; send one of them')
    if not is_whole(size) or size != left:
        hint = "; is the header Inference-Header-Content-Length there?" if header_length is None else ""
        raise RequestError(f'"binary_data_size" is {shown(size)}, but {left} bytes follow the JSON{hint}')
    return body[len(body) - left :]


def _images(given: Mapping[str, Any], data: list[Any] | bytes) -> tuple[bytes | ImageError, ...]:
    shape = _image_shape(given.get("shape"))
    if isinstance(data, bytes):
        return tuple(each or ImageError("the file is empty", fault="empty") for each in _elements(data, shape[0]))
    return decode_images(_flat(data, shape, IMAGE), IMAGE)


def _image_shape(shape: object) -> list[int]:
    count, *rest = shape if isinstance(shape, list) and shape and all(map(is_whole, shape)) else [0]
    if not 1 <= count <= MAX_IMAGES or rest not in ([], [1]):
        raise RequestError(f'"shape" of "{IMAGE}" must be [n] or [n, 1], n from 1 to {MAX_IMAGES}, not {shown(shape)}')
    return [count, *rest]


def _elements(data: bytes, count: int) -> list[bytes]:
    """Take BYTES apart: each element is its length in 4 bytes, little-endian, and its content."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise RequestError(f'"{IMAGE}" breaks off in the length of element {len(found)}')
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if length > len(data) - at:
            raise RequestError(f'element {len(found)} of "{IMAGE}" has {length} bytes, but {len(data) - at} are left')
        if len(found) == count:
            raise RequestError(f'"{IMAGE}" holds more than the {count} elements of its shape')
        found.append(data[at : at + length])
        at += length
    if len(found) < count:
        raise RequestError(f'"{IMAGE}" holds {len(found)} elements, but its shape says {count}')
    return found


def _flat(data: list[Any], shape: Sequence[int], name: str) -> list[Any]:
    """The values of a list that is flat already, or nested as the shape says."""
    if not data or not isinstance(data[0], list):
        if len(data) != prod(shape):
            raise RequestError(
                f'"data" of "{name}" holds {len(data)} values; the shape {shown(shape)} has {prod(shape)}'
            )
        return data
    level: list[Any] = [data]
    for side in shape:
        if not all(isinstance(each, list) and len(each) == side for each in level):
            raise RequestError(
                f'"data" of "{name}" is not nested as its shape {shown(shape)} says; a flat list will do'
            )
        level = list(chain.from_iterable(level))
    return level


def _tensor(given: Mapping[str, Any], data: list[Any] | bytes, input_shape: Shape) -> NDArray[np.float32]:
    shape = check_shape(given.get("shape"), input_shape, where=f'"shape" of "{INPUT}"', instead=f'as "{IMAGE}"')
    if isinstance(data, bytes):
        if len(data) != 4 * prod(shape):
            raise RequestError(
                f'"{INPUT}" has {len(data)} bytes; the shape {list(shape)} in FP32 has {4 * prod(shape)}'
            )
        return from_bytes(data, shape, name=INPUT)
    values = _flat(data, list(shape), INPUT)
    if not set(map(type, values)) <= {int, float}:
        raise RequestError(f'"data" of "{INPUT}" holds what is no number')
    try:
        wide = np.array(values, np.float64)
    except OverflowError:  # a whole number of hundreds of digits
        wide = np.array([np.inf])
    if not (np.abs(wide) <= _LARGEST).all():
        raise RequestError(f'"{INPUT}" holds values that are not finite in FP32')
    return wide.astype(np.float32).reshape(shape)


def infer_reply(
    request: InferRequest, predictions: Sequence[Prediction], *, model: str, version: str
) -> tuple[bytes, int | None]:
    """Return a reply, and how many of its bytes are JSON if some are not.

    Of a photo that failed the class ids are -1, the scores 0, the names empty, and its error says why.
    """
    k = max((len(each.scores) for each in predictions), default=0) or 1
    values = {
        "class_ids": _padded(([each.label.class_id for each in p.scores] for p in predictions), k, -1),
        "scores": _padded(([each.score for each in p.scores] for p in predictions), k, 0.0),
        "names": _padded(([each.label.name for each in p.scores] for p in predictions), k, ""),
        "bins": [each.bin_name or "" for each in predictions],
        "errors": [each.error or "" for each in predictions],
    }
    outputs, tail = [], []
    for output in request.outputs:
        shape = [len(predictions), k] if output.name in _PER_CLASS else [len(predictions)]
        described: dict[str, object] = {"name": output.name, "datatype": OUTPUTS[output.name], "shape": shape}
        if output.binary:
            tail.append(_to_bytes(values[output.name], OUTPUTS[output.name]))
            outputs.append(described | {"parameters": {"binary_data_size": len(tail[-1])}})
        else:
            outputs.append(described | {"data": values[output.name]})
    identity = {} if request.id is None else {"id": request.id}
    head = dumps({"model_name": model, "model_version": version, **identity, "outputs": outputs})
    return b"".join([head, *tail]), len(head) if tail else None


def _padded(rows: Iterable[Sequence[object]], k: int, filler: object) -> list[Any]:
    """All rows one after another, each filled up to k."""
    return [each for row in rows for each in (*row, *[filler] * (k - len(row)))]


def _to_bytes(values: list[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        return b"".join(_prefixed(values))
    return np.array(values, {"INT64": "<i8", "FP32": "<f4"}[datatype]).tobytes()


def _prefixed(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        data = text.encode(errors="replace")
        yield struct.pack("<I", len(data)) + data


def server_metadata(version: str) -> dict[str, object]:
    """Return what this server is, and which extensions of the protocol it knows."""
    return {"name": "garbage", "version": version, "extensions": ["binary_tensor_data"]}


def model_metadata(*, model: str, version: str, input_shape: Shape) -> dict[str, object]:
    """Return a model's inputs, one of which a request has, and its outputs; -1 is the number of photos or classes."""
    return {
        "name": model,
        "versions": [version],
        "platform": "garbage",
        "inputs": [
            {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
            {"name": INPUT, "datatype": "FP32", "shape": [-1, *input_shape]},
        ],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, -1] if name in _PER_CLASS else [-1]}
            for name, datatype in OUTPUTS.items()
        ],
    }
