"""The Open Inference Protocol V2, which KServe and Triton speak."""

from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from garbage_cli import __version__, wire
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.server.desk import Asked, Desk
from garbage_cli.server.front import JSON, ticket_of
from garbage_cli.server.model import Item, Model, Tensor
from garbage_cli.server.photos import numbered
from garbage_cli.wire import RequestError
from garbage_cli.wire.v2 import InferRequest, infer_reply, model_metadata, parse_infer, server_metadata

VERSION = "1"
"""Of the model: there is one at a time."""
HEADER_LENGTH = "inference-header-content-length"


async def server(desk: Desk, request: Request) -> Response:
    """What this server is, and which extensions it knows."""
    return Response(wire.dumps(server_metadata(__version__)), media_type=JSON)


async def model(desk: Desk, request: Request) -> Response:
    """The model's inputs and outputs."""
    bundle = _asked_model(desk, request).bundle
    return Response(
        wire.dumps(model_metadata(model=bundle.name, version=VERSION, input_shape=bundle.input_shape)), media_type=JSON
    )


async def ready(desk: Desk, request: Request) -> Response:
    """Whether the model answers."""
    name, is_ready = _asked_model(desk, request).bundle.name, not (desk.draining or desk.is_stuck)
    return Response(wire.dumps({"name": name, "ready": is_ready}), 200 if is_ready else 503, media_type=JSON)


async def infer(desk: Desk, request: Request) -> Response:
    """Encoded photos as BYTES, or network inputs as FP32."""
    _asked_model(desk, request)
    header = request.headers.get(HEADER_LENGTH)
    if header is not None and not (header.isascii() and header.isdigit() and len(header) < 10):
        raise RequestError(f"{HEADER_LENGTH} must be a number of bytes, not {header[:40]!r}")
    parse = partial(_parse, header_length=None if header is None else int(header))
    answering, asked, predictions = await desk.take(request, ticket_of(request), parse)
    body, length = infer_reply(asked, predictions, model=answering.bundle.name, version=VERSION)
    if length is None:
        return Response(body, media_type=JSON)
    return Response(body, headers={HEADER_LENGTH: str(length)}, media_type="application/octet-stream")


def _parse(body: bytes, model: Model, *, header_length: int | None) -> tuple[Asked, InferRequest]:
    asked = parse_infer(body, header_length=header_length, input_shape=model.bundle.input_shape)
    items: list[Photo | Prediction | Item] = [*numbered(asked.images)]
    if asked.tensor is not None:
        items = [Tensor(f"images[{i}]", row) for i, row in enumerate(asked.tensor)]
    return Asked(items, asked.top_k), asked


def _asked_model(desk: Desk, request: Request) -> Model:
    """The one model there is, if it is asked for by its name."""
    name, version = request.path_params["model"], request.path_params.get("version", VERSION)
    if name != desk.model.bundle.name or version != VERSION:
        asked = name if version == VERSION else f"{name}, version {version}"
        raise HTTPException(404, f"no model {asked}; this server has {desk.model.bundle.name}, version {VERSION}")
    return desk.model
