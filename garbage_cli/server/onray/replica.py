"""One replica: the server's application behind Ray Serve's proxy. Knows Ray Serve's hooks; not how replicas are chosen.

A replica gets its orders as `user_config`, when it starts and whenever that changes: so one that is started later has
the present model. A change is loaded beside the model that answers; what can't be loaded changes nothing.
"""

import asyncio
import base64
import logging
import pickle
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garbage_cli import __version__
from garbage_cli.errors import ClusterError, ServerError
from garbage_cli.images import mute_warnings
from garbage_cli.labels import BINS
from garbage_cli.server.accesslog import AccessLog
from garbage_cli.server.app import ROUTES, create_app
from garbage_cli.server.desk import Desk
from garbage_cli.server.metrics import CONTENT_TYPE, Metrics, side_by_side
from garbage_cli.server.model import Model
from garbage_cli.server.onray.files import folder_for
from garbage_cli.server.options import ServeOptions

APPLICATION = "garbage"
"""The application's name on the cluster; its deployment's too."""
FILES = "garbage-files"
NAMESPACE = "garbage"
_GATHERING = 5.0
"""Seconds that /metrics waits for the other replicas."""


@dataclass(frozen=True, slots=True)
class State:
    """What a replica serves, and what became of the last order."""

    replica: str
    digest: str
    """Of the model's files."""
    order: str
    """The number of the order that it follows, or could not follow."""
    failed: str = ""


def order(options: ServeOptions, digest: str, number: str, *, alone: bool = False) -> dict[str, Any]:
    """Write an order as JSON can hold it: the model of this digest, by these options.

    Ray Serve sends a replica nothing while it follows an order, and lets them do so one after the other. A replica that
    is `alone` therefore says at once that it has followed, and loads the model while it goes on.
    """
    packed = base64.b64encode(pickle.dumps(options)).decode("ascii")
    return {"version": __version__, "digest": digest, "number": number, "alone": alone, "options": packed}


def cores_of(options: ServeOptions) -> int:
    """How many CPUs a replica asks for."""
    return options.options.cpu_num_threads or 1


class Replica:
    """The application of one replica. What Ray Serve calls has Ray Serve's names."""

    def __init__(self) -> None:
        self._front: ASGIApp | None = None
        self._desk: Desk | None = None
        self._log: AccessLog | None = None
        self._house: asyncio.Task[None] | None = None
        self._change: asyncio.Task[None] | None = None
        self._state = State(_name(), "", "")

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Give the application; it answers once there are orders, which come before the first request."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:  # a method is not seen as ASGI 3
            await self._answer(scope, receive, send)

        return application

    async def reconfigure(self, order: dict[str, Any]) -> None:
        """Follow an order. Only the first one can fail: after that, a model answers already."""
        if self._desk is None:
            options = await asyncio.to_thread(_options_of, order)
            self._open(options, await asyncio.to_thread(_load, options))
            self._state = State(_name(), order["digest"], order["number"])
            return
        before = self._change
        self._change = asyncio.get_running_loop().create_task(self._follow(self._desk, order, before))
        if not order["alone"]:
            await self._change

    async def _follow(self, desk: Desk, order: dict[str, Any], before: "asyncio.Task[None] | None") -> None:
        """Load a model beside the one that answers, once the order before is done with."""
        if before:
            await before
        try:
            options = await asyncio.to_thread(_options_of, order)
            if order["digest"] == self._state.digest:
                desk.options = options  # keys, say
            else:
                model = await asyncio.to_thread(_load, options)
                desk.swap(model, options)
                desk.metrics.model(**model.facts)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new model, the old one answers
            failed = str(error) or type(error).__name__
            self._state = replace(self._state, order=order["number"], failed=failed)
        else:
            self._state = State(_name(), order["digest"], order["number"])

    async def check_health(self) -> None:
        """Raise if nothing will come of this replica any more; Ray Serve then starts another in its place."""
        if self._desk and self._desk.is_stuck:
            raise RuntimeError("a photo has been at the engine for too long")

    async def state(self) -> State:
        """Say what is served."""
        return self._state

    async def counts(self) -> tuple[str, bytes]:
        """Give this replica's name, and its own metrics."""
        assert self._desk
        metrics = self._desk.metrics
        assert isinstance(metrics, ReplicaMetrics)
        return _name(), (await self._desk.run(metrics.own))[0]

    async def drain(self) -> None:
        """Answer on, but say at /readyz that no more should come."""
        if self._desk:
            self._desk.draining = True

    def _open(self, options: ServeOptions, model: Model) -> None:
        mute_warnings()
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        bins = {each.bin_name for each in model.bundle.labels.items if each.bin_name}
        bins |= {each.chinese for each in BINS}
        metrics = ReplicaMetrics(routes=ROUTES, bins=sorted(bins), tell=_tell)
        metrics.model(**model.facts)
        log = self._log = AccessLog(options.access_log, on_lost=metrics.log_lost)
        self._desk = Desk(model, options, metrics)
        self._front = create_app(self._desk, log)
        self._house = asyncio.get_running_loop().create_task(_keep_house(metrics))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._front is not None

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["x-request-id"]  # the proxy puts it there, the same one
            await send(message)

        await self._front(scope, receive, answer)

    async def _live(self, receive: Receive, send: Send) -> None:
        """From the application's start, before there are orders, to its end."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._house:
            self._house.cancel()
        if self._desk:
            self._desk.close()
        if self._log:
            self._log.close()
        await send({"type": "lifespan.shutdown.complete"})


class ReplicaMetrics(Metrics):
    """One replica's metrics; asked for, it has all replicas tell theirs, each under its name."""

    def own(self) -> tuple[bytes, str]:
        """Give the text of this replica alone."""
        return super().render()

    def render(self) -> tuple[bytes, str]:
        """Give the text of all replicas that answer; call it in a thread."""
        from ray import serve

        try:
            handle = serve.get_deployment_handle(APPLICATION, app_name=APPLICATION)
            told = handle.broadcast("counts").results(timeout_s=_GATHERING, return_exceptions=True)
        except Exception:  # noqa: BLE001 - the cluster is in disorder, and metrics must not fail over that
            told = []
        texts: dict[str, bytes] = dict(each for each in told if isinstance(each, tuple))
        texts.setdefault(_name(), self.own()[0])
        return side_by_side(texts, label="replica"), CONTENT_TYPE


def _options_of(order: dict[str, Any]) -> ServeOptions:
    """Read orders; have the model's files on this machine."""
    if order["version"] != __version__:
        raise ClusterError(
            f"garbage is {__version__} on a machine of the cluster, and {order['version']} where the command runs; "
            "install the same version on all machines"
        )
    options = pickle.loads(base64.b64decode(order["options"]))
    assert isinstance(options, ServeOptions)
    return replace(options, model=folder_for(order["digest"], _fetch))


def _fetch(digest: str) -> dict[str, bytes] | None:
    import ray

    try:
        files: dict[str, bytes] | None = ray.get(ray.get_actor(FILES, namespace=NAMESPACE).get.remote(digest))
    except (ValueError, ray.exceptions.RayError):
        return None
    return files


def _load(options: ServeOptions) -> Model:
    try:
        return Model(options, threads=cores_of(options), tell=_tell)
    except MemoryError:
        raise ServerError("not enough memory for the model on a machine of the cluster") from None


def _name() -> str:
    from ray import serve

    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except serve.exceptions.RayServeException:
        return "none"


def _tell(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")


async def _keep_house(metrics: Metrics) -> None:
    while True:
        metrics.observe_memory()
        await asyncio.sleep(1)
