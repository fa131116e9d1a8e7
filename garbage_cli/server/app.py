"""The ASGI application of one worker: routes around a desk, and what is said about them.

The event loop moves bytes; bodies are taken apart, and photos decoded and inferred, in threads.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from garbage_cli import __version__, wire
from garbage_cli.server import hub, pages, v1, v2
from garbage_cli.server.accesslog import AccessLog
from garbage_cli.server.corrections import correct
from garbage_cli.server.desk import Desk
from garbage_cli.server.docs import CSP, docs_page
from garbage_cli.server.front import JSON, Front, ticket_of
from garbage_cli.server.model import Model
from garbage_cli.server.openapi import document

Handler = Callable[[Desk, Request], Awaitable[Response]]
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


async def _root(desk: Desk, request: Request) -> Response:
    """The page for browsers; by POST, what PaddleHub has there."""
    return await (hub.greeting if request.method == "POST" else pages.index)(desk, request)


async def _healthz(desk: Desk, request: Request) -> Response:
    """Whether this process is worth keeping."""
    if desk.is_stuck:
        return Response(wire.dumps({"status": "stuck"}), 503, media_type=JSON)
    return Response(wire.dumps({"status": "ok"}), media_type=JSON)


async def _readyz(desk: Desk, request: Request) -> Response:
    """Whether requests should be sent here: the model is loaded before a worker takes connections."""
    bundle = desk.model.bundle
    status = "stuck" if desk.is_stuck else "draining" if desk.draining else "ready"
    value = {"status": status, "model": bundle.name, "classes": len(bundle.labels)}
    return Response(wire.dumps(value), 200 if status == "ready" else 503, media_type=JSON)


async def _live(desk: Desk, request: Request) -> Response:
    return Response(wire.dumps({"live": not desk.is_stuck}), 503 if desk.is_stuck else 200, media_type=JSON)


async def _ready(desk: Desk, request: Request) -> Response:
    ready = not (desk.is_stuck or desk.draining)
    return Response(wire.dumps({"ready": ready}), 200 if ready else 503, media_type=JSON)


async def _metrics(desk: Desk, request: Request) -> Response:
    """Of all workers, in Prometheus's text."""
    body, kind = await desk.run(desk.metrics.render)
    return Response(body, headers={"content-type": kind})


async def _openapi(desk: Desk, request: Request) -> Response:
    return Response(wire.dumps(await desk.run(_document, desk)), media_type=JSON)


async def _docs(desk: Desk, request: Request) -> Response:
    url = str(request.base_url).rstrip("/")  # as the reader's browser knows this server
    page = await desk.run(lambda: docs_page(_document(desk), url=url))
    return Response(page, headers={"content-security-policy": CSP}, media_type="text/html; charset=utf-8")


def _document(desk: Desk) -> dict[str, Any]:
    model: Model = desk.model
    return document(
        version=__version__,
        model=model.bundle.name,
        classes=len(model.bundle.labels),
        input_shape=model.bundle.input_shape,
        needs_key=desk.options.keys is not None,
    )


_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET POST", "/", _root),
    ("GET", "/page/{name}", pages.file),
    ("POST", "/predict/{module}", hub.predict),
    ("POST", "/v1/predict", v1.predict),
    ("POST", "/v1/corrections", correct),
    ("GET", "/v1/model", v1.model),
    ("GET", "/healthz", _healthz),
    ("GET", "/readyz", _readyz),
    ("GET", "/metrics", _metrics),
    ("GET", "/openapi.json", _openapi),
    ("GET", "/docs", _docs),
    ("GET", "/v2", v2.server),
    ("GET", "/v2/health/live", _live),
    ("GET", "/v2/health/ready", _ready),
    ("GET", "/v2/models/{model}", v2.model),
    ("GET", "/v2/models/{model}/ready", v2.ready),
    ("POST", "/v2/models/{model}/infer", v2.infer),
    ("GET", "/v2/models/{model}/versions/{version}", v2.model),
    ("GET", "/v2/models/{model}/versions/{version}/ready", v2.ready),
    ("POST", "/v2/models/{model}/versions/{version}/infer", v2.infer),
)
ROUTES = tuple(path for _, path, _ in _ROUTES)


def create_app(desk: Desk, log: AccessLog, lifespan: Lifespan | None = None) -> ASGIApp:
    """Make the application of one worker."""
    routes = [
        Route(path, partial(_run, handler, desk, path), methods=methods.split()) for methods, path, handler in _ROUTES
    ]
    router = Router(routes, redirect_slashes=False, lifespan=lifespan)  # a redirect would go where Host says
    front: ASGIApp = Front(router, desk, log)
    if desk.options.cors:
        front = CORSMiddleware(
            front,
            allow_origins=desk.options.cors,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "content-type", "x-api-key", "x-request-id"),
            expose_headers=("x-request-id", "retry-after"),
        )
    return front


async def _run(handler: Handler, desk: Desk, path: str, request: Request) -> Response:
    ticket_of(request).route = path
    return await handler(desk, request)
