"""Each machine's doorway: what Ray Serve's HTTP proxy runs around every request, where Ray Serve was started by us.

Knows ASGI, which headers the proxy heeds, and how its own answers look. Does not know routes, replicas, or the cluster.

A proxy loads this by its import path, so nothing here loads an engine.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garbage_cli.server.accesslog import request_id
from garbage_cli.server.front import error_reply

if TYPE_CHECKING:
    from starlette.middleware import Middleware

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""The variable by which a proxy is told what to run around requests."""
IMPORT_PATH = f"{__name__}:doorway"
_ID = b"x-request-id"
_SESSION = "RAY_SERVE_SESSION_ID_HEADER_KEY"
"""The variable that names the header by which requests stay with one replica."""
_RETRY_AFTER = 1
"""Seconds; the other replicas answer at once, a new one comes in some."""
_SIGN = b"x-content-type-options"
"""A header of all our replies, and of none of the proxy's own."""
_OWN_ERRORS = frozenset({408, 500, 503, 504})


def doorway() -> "list[Middleware]":
    """Give what a proxy is to run."""
    from starlette.middleware import Middleware

    return [Middleware(Doorway)]


class Doorway:
    """Wraps a proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        named = os.environ.get(_SESSION, "x-session-id")
        steering = ("serve-multiplexed-model-id", "x-request-disconnect-disabled", "x-request-timeout-seconds", named)
        self._dropped = frozenset({_ID, *(_plain(each.encode()) for each in steering)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through without what would steer the proxy, and its answer if that is a worker's."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        number = self._clean(scope)
        if scope["type"] == "websocket":
            return await self._app(scope, receive, send)
        root, began, is_over = scope.get("root_path", ""), False, False

        def is_ours() -> bool:
            """Whether no other application had the request; those are not at the root, and the proxy says so."""
            return bool(scope.get("root_path", "") == root)

        async def answer(message: Message) -> None:
            nonlocal began, is_over
            if is_over:
                return  # what the proxy had to say
            if not began and _is_the_proxys_error(message, scope) and is_ours():
                began = is_over = True
                await _refuse(scope, receive, send, number, "busy: no worker could answer")
                return
            began = True
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:
            if not began and is_ours():
                began = True
                message = f"something went wrong on the way to a worker; the id of the request is {number}"
                await error_reply(scope, 500, message, _headers(number))(scope, receive, send)
            raise
        if not began and is_ours():  # so the proxy gives up on what a lost worker had in hand
            await _refuse(scope, receive, send, number, "busy: the worker that had this is gone")
        return None

    def _clean(self, scope: Scope) -> str:
        """Take out of a request what steers the proxy, and give it one harmless id; return that."""
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        given, kept = None, []
        for name, value in headers:
            if _plain(name) not in self._dropped:
                kept.append((name, value))
            elif name == _ID and given is None:
                given = value
        number = request_id(given)
        kept.append((_ID, number.encode("ascii")))
        scope["headers"] = kept
        return number


def _plain(name: bytes) -> bytes:
    """A header's name as the proxy compares it: it takes "_" for "-"."""
    return name.lower().replace(b"_", b"-")


def _is_the_proxys_error(message: Message, scope: Scope) -> bool:
    if message["type"] != "http.response.start" or message["status"] not in _OWN_ERRORS:
        return False
    if scope["path"].startswith("/-/"):  # the proxy's own routes, which tell of itself
        return False
    return all(name.lower() != _SIGN for name, _ in message["headers"])


def _headers(number: str) -> dict[str, str]:
    return {"x-request-id": number, "x-content-type-options": "nosniff"}


async def _refuse(scope: Scope, receive: Receive, send: Send, number: str, message: str) -> None:
    message = f"{message}; try again in {_RETRY_AFTER} s"
    headers = _headers(number) | {"retry-after": str(_RETRY_AFTER)}
    await error_reply(scope, 503, message, headers)(scope, receive, send)
