"""What every request passes: who it is from, its id, what goes wrong with it, the log and the metrics.

Knows ASGI. Does not know what a route does.
"""

import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garbage_cli import wire
from garbage_cli.server.accesslog import AccessLog, request_id
from garbage_cli.server.desk import Desk, Refused, Ticket
from garbage_cli.server.pages import SHELL
from garbage_cli.wire import HUB_FAILED, RequestError

JSON = "application/json"
HEALTH = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Routes that ask for no key: what watches over servers has none."""
TIMED = ("/v1/predict",)
"""Routes whose replies say how long each stage took."""
GONE = 499
"""In the log: the client hung up, and no reply was sent."""


def error_reply(scope: Scope, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A reply that says what is wrong, in the shape that /v1 and /v2 share.

    On PaddleHub's routes its keys stand beside: its clients look for a status in the body, and stop without one.
    """
    value = {"error": message}
    if scope["path"].startswith("/predict/"):
        value |= {"msg": message, "results": "", "status": HUB_FAILED}
    return Response(wire.dumps(value), status, headers, media_type=JSON)


def ticket_of(request: Request) -> Ticket:
    """The ticket that `Front` gave a request."""
    ticket = request.scope["garbage.ticket"]
    assert isinstance(ticket, Ticket)
    return ticket


def _is_open(scope: Scope) -> bool:
    """Whether a request needs no key. The page's files hold nothing but the page, which then asks its user for one."""
    return scope["path"] in HEALTH or (scope["method"] in ("GET", "HEAD") and scope["path"] in SHELL)


def _timing(ticket: Ticket) -> str:
    """The milliseconds of a request's stages so far, as browsers show them; those of several photos are added up."""
    spent = [*ticket.stages.items(), ("total", time.perf_counter() - ticket.begun)]
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in spent)


def _stamp(now: float) -> str:
    """UTC to the millisecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


class Front:
    """Wraps the routes."""

    def __init__(self, app: ASGIApp, desk: Desk, log: AccessLog) -> None:
        self._app = app
        self._desk = desk
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing that a request does is raised beyond here."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        address = scope["client"][0] if scope.get("client") else ""
        ticket = Ticket(request_id(headers.get("x-request-id")), time.perf_counter(), address)
        scope["garbage.ticket"] = ticket
        scope["app"] = self  # by this the router raises for what it does not know

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                ticket.status = message["status"]
                sent = MutableHeaders(scope=message)
                sent["x-request-id"] = ticket.id
                sent.setdefault("x-content-type-options", "nosniff")
                if ticket.route in TIMED:
                    sent["server-timing"] = _timing(ticket)
                if self._desk.draining:
                    sent["connection"] = "close"
            await send(message)

        try:
            self._admit(scope, headers, ticket)
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the last place where a request can get an answer
            reply = self._reply(error, ticket, scope)
            if reply is not None and not ticket.status:
                await reply(scope, receive, answer)
        finally:
            self._note(scope, ticket, address)
        return None

    def _admit(self, scope: Scope, headers: Headers, ticket: Ticket) -> None:
        keys = self._desk.options.keys
        if keys is None or _is_open(scope):
            return
        who = keys.who(headers.get("authorization"), headers.get("x-api-key"))
        if who is None:
            message = "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
            raise Refused(401, message, "key")
        ticket.client = who

    def _reply(self, error: Exception, ticket: Ticket, scope: Scope) -> Response | None:
        """What a client is told of an error; None if there is nobody to tell."""
        match error:
            case ClientDisconnect():
                self._desk.metrics.hung_up()
                ticket.status = GONE
                return None
            case Refused():
                self._desk.metrics.rejected(error.reason)
                headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
                if error.status == 401:
                    headers["www-authenticate"] = "Bearer"
                return error_reply(scope, error.status, str(error), headers)
            case RequestError():
                return error_reply(scope, 400, str(error))
            case HTTPException():
                said = f"{scope['method']} {scope['path']}: {error.detail}; /docs lists what there is"
                return error_reply(scope, error.status_code, said, error.headers)
        with suppress(OSError, ValueError):  # nobody may read it
            sys.stderr.write(f"request {ticket.id}: {''.join(traceback.format_exception(error))}")
        return error_reply(scope, 500, f"something went wrong here; the server's log has it under {ticket.id}")

    def _note(self, scope: Scope, ticket: Ticket, address: str) -> None:
        seconds = time.perf_counter() - ticket.begun
        metrics = self._desk.metrics
        metrics.request(ticket.route, ticket.status or GONE, seconds)
        for stage, spent in ticket.stages.items():
            metrics.stage(stage, spent)
        if ticket.photos:
            metrics.stage("total", seconds)
        if self._desk.options.access_log is None:
            return
        record: dict[str, object] = {
            "time": _stamp(time.time()),
            "id": ticket.id,
            "client": address,
            "method": scope["method"],
            "path": scope["path"],
            "status": ticket.status or GONE,
            "ms": round(seconds * 1000, 1),
        }
        if ticket.client != address:
            record["key"] = ticket.client
        if ticket.bytes:
            record |= {"bytes": ticket.bytes, "photos": ticket.photos, "failed": ticket.failed}
            record |= {f"{stage}_ms": round(spent * 1000, 1) for stage, spent in ticket.stages.items()}
        self._log.write(record)
