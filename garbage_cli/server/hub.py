"""PaddleHub Serving's routes, as its clients in the field expect them.

HTTP 200 for every outcome that PaddleHub knows, the status inside the envelope. What it does not know, such as a full
server or an API key, has an HTTP status of its own.
"""

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from garbage_cli import wire
from garbage_cli.prediction import Prediction
from garbage_cli.server.desk import Asked, Desk
from garbage_cli.server.front import JSON, ticket_of
from garbage_cli.server.hubconfig import MODULES
from garbage_cli.server.model import Item, Model, Tensor
from garbage_cli.server.photos import content_type, numbered
from garbage_cli.wire import HUB_CONTENT_TYPE, HUB_FAILED, HUB_NO_MODULE, HUB_OK, RequestError
from garbage_cli.wire.hub import HubRequest, hub_message, hub_results, parse_hub

GREETING = (
    "请用脚本向 /predict/garbage_classification 发送请求，或用浏览器打开本页。<br/>"
    "Send requests to /predict/garbage_classification, or open this address in a browser."
)


async def greeting(desk: Desk, request: Request) -> Response:
    """What PaddleHub has at its root: a line in HTML. By GET there is the page here."""
    return Response(GREETING, media_type="text/html; charset=utf-8")


async def predict(desk: Desk, request: Request) -> Response:
    """Generation A, B or C, told apart by the body."""
    module = request.path_params["module"]
    if module not in MODULES:
        return _reply(status=HUB_NO_MODULE, msg=f"Module {module} is not available.")
    if content_type(request.headers.get("content-type", "")) != JSON:
        return _reply(status=HUB_CONTENT_TYPE, msg="The content-type must be application/json")
    begun = time.perf_counter()
    try:
        _, asked, predictions = await desk.take(request, ticket_of(request), partial(_parse, top_k=desk.options.top_k))
    except RequestError as error:
        return _reply(status=HUB_FAILED, msg=str(error))
    msg = hub_message(predictions)
    if all(each.error for each in predictions):
        return _reply(status=HUB_FAILED, msg=msg)
    results = hub_results(asked, predictions, seconds=time.perf_counter() - begun)
    return _reply(status=HUB_OK, msg=msg, results=results)


def _parse(body: bytes, model: Model, *, top_k: int | None) -> tuple[Asked, HubRequest]:
    asked = parse_hub(wire.parse_json(body), input_shape=model.bundle.input_shape)
    items: list[Item | Prediction] = [*numbered(asked.images)]
    if asked.tensor is not None:
        items = [Tensor(f"images[{i}]", row) for i, row in enumerate(asked.tensor)]
    return Asked(items, asked.wanted(top_k)), asked


def _reply(*, status: str, msg: str = "", results: object = "") -> Response:
    return Response(wire.hub_reply(status=status, msg=msg, results=results), media_type=JSON)
