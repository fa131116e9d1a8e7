"""The ASGI application of one worker: routes around a desk.

The event loop moves bytes and takes multipart bodies apart; JSON is parsed, and photos are decoded and inferred, in
threads.
"""

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from garbage_cli import __version__, wire
from garbage_cli.bundle import ModelBundle
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.server.desk import Desk, Refused
from garbage_cli.server.options import ServeOptions
from garbage_cli.wire import HUB_CONTENT_TYPE, HUB_FAILED, HUB_NO_MODULE, HUB_OK, PredictRequest, RequestError

HUB_MODULES = ("garbage_classification", "clas_system")
"""The source document's module name, and PaddleClas's own."""

JSON = "application/json"


def create_app(options: ServeOptions, *, threads: int = 0, on_ready: Callable[[], object] = lambda: None) -> FastAPI:
    """Make the application of one worker. The model is loaded and warmed up before it takes a connection."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        bundle = ModelBundle.load(options.model)
        wish = options.wish_for(bundle)
        predictor = Predictor(
            bundle,
            engine=wish.engine,
            precision=wish.precision,
            options=wish.options,
            top_k=options.top_k,
            threshold=options.threshold,
            threads=threads,
            photos=None,
            tell=lambda text: print(text, file=sys.stderr),  # noqa: T201 - a worker has no console
        )
        predictor.warm_up()
        app.state.desk = Desk(predictor, options)
        on_ready()
        yield
        app.state.desk.close()

    app = FastAPI(title="garbage", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.get("/healthz", summary="The process lives")(_healthz)
    app.get("/readyz", summary="The model is loaded and answers")(_readyz)
    app.post("/v1/predict", summary="Classify images", openapi_extra=_PREDICT_BODY)(_v1_predict)
    app.post("/predict/{module}", summary="PaddleHub Serving, generation A")(_hub_predict)
    app.api_route("/", methods=["GET", "POST"], summary="PaddleHub Serving's greeting")(_greeting)
    return app


_PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "byte"}},
                        "top_k": {"type": "integer", "minimum": 1},
                    },
                }
            },
        },
    }
}


async def _healthz() -> Response:
    return Response(wire.dumps({"status": "ok"}), media_type=JSON)


async def _readyz(request: Request) -> Response:
    """A worker takes connections only once its model is loaded and warm, so whoever answers is ready."""
    bundle = _desk(request).predictor.bundle
    value = {"status": "ready", "model": bundle.name, "classes": len(bundle.labels)}
    return Response(wire.dumps(value), media_type=JSON)


async def _greeting() -> Response:
    return Response("garbage is serving. Photos go to /v1/predict or /predict/garbage_classification.\n")


async def _v1_predict(request: Request) -> Response:
    """Photos as a raw body, as multipart files, or as JSON `{"images": [base64, …], "top_k": n}`."""
    desk = _desk(request)
    try:
        body = await desk.read_body(request)
        async with desk.admitted():
            photos, top_k = await _read_v1(request, desk, body)
            predictions = await desk.answer(photos, top_k)
    except RequestError as error:
        return _error(400, str(error))
    value = {"model": desk.predictor.bundle.name, "results": [wire.prediction_to_json(each) for each in predictions]}
    all_failed = all(each.error for each in predictions)
    return Response(wire.dumps(value), 422 if all_failed else 200, media_type=JSON)


async def _read_v1(request: Request, desk: Desk, body: bytes) -> tuple[list[Photo], int | None]:
    top_k = wire.parse_top_k(request.query_params.get("top_k"))
    content_type = _content_type(request)
    if content_type == JSON:
        parsed = await desk.run(_parse_predict, body)
        return _numbered(parsed.images), parsed.top_k or top_k
    if content_type == "multipart/form-data":
        return await _read_multipart(request, body), top_k
    if not body:
        raise RequestError("the body is empty; send an image file, multipart files, or JSON")
    return [Photo("image", body)], top_k


def _parse_predict(body: bytes) -> PredictRequest:
    return wire.parse_predict(wire.parse_json(body))


def _numbered(images: tuple[bytes, ...]) -> list[Photo]:
    return [Photo(f"images[{i}]", data) for i, data in enumerate(images)]


async def _read_multipart(request: Request, body: bytes) -> list[Photo]:
    """Parse a body that was read, and found within the limit, before."""

    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, replay).form(max_files=wire.MAX_IMAGES, max_part_size=len(body) or 1) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            photos = [Photo(file.filename or f"images[{i}]", await file.read()) for i, file in enumerate(files)]
    except HTTPException as error:
        raise RequestError(f"the multipart body can't be read: {error.detail}") from None
    if not photos:
        raise RequestError("the multipart body holds no file; send each photo as a file part")
    return photos


async def _hub_predict(request: Request, module: str) -> Response:
    """PaddleHub Serving's route: HTTP 200 for every outcome it knows, the status inside the envelope."""
    if module not in HUB_MODULES:
        return _hub(status=HUB_NO_MODULE, msg=f"Module {module} is not available.")
    if _content_type(request) != JSON:
        return _hub(status=HUB_CONTENT_TYPE, msg="The content-type must be application/json")
    desk, begun = _desk(request), time.perf_counter()
    try:
        body = await desk.read_body(request)
        async with desk.admitted():
            parsed = await desk.run(_parse_predict, body)
            predictions = await desk.answer(_numbered(parsed.images), parsed.top_k or desk.hub_top_k)
    except RequestError as error:
        return _hub(status=HUB_FAILED, msg=str(error))
    if failed := next((each for each in predictions if each.error), None):
        return _hub(status=HUB_FAILED, msg=f"{failed.image}: {failed.error}")
    results = wire.hub_results_a(predictions, seconds=time.perf_counter() - begun)
    return _hub(status=HUB_OK, results=results)


def _hub(*, status: str, msg: str = "", results: object = "") -> Response:
    return Response(wire.hub_reply(status=status, msg=msg, results=results), media_type=JSON)


def _desk(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _error(status: int, message: str) -> Response:
    headers = {"retry-after": "1"} if status == 503 else None
    return Response(wire.dumps({"error": message}), status, headers, media_type=JSON)


async def _gone(request: Request, error: Exception) -> Response:
    """The client hung up before its body was here; nobody reads this."""
    return Response(status_code=499)


async def _unknown(request: Request, error: Exception) -> Response:
    """No such route, or not with this method."""
    assert isinstance(error, HTTPException)
    return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _error(error.status, str(error))
