"""One worker: a process that loads the model, says so, and serves until it is told to stop.

Knows processes' signals and uvicorn. Does not know the other workers.
"""

import asyncio
import functools
import logging
import os
import signal
import socket
import sys
import threading
import time
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import uvicorn

from garbage_cli.errors import GarbageError, ServerError
from garbage_cli.images import mute_warnings
from garbage_cli.labels import BINS
from garbage_cli.server.accesslog import AccessLog
from garbage_cli.server.app import ROUTES, create_app
from garbage_cli.server.desk import Desk
from garbage_cli.server.metrics import Metrics
from garbage_cli.server.model import Model
from garbage_cli.server.options import ServeOptions
from garbage_cli.server.protocol import Protocol
from garbage_cli.server.tls import Tls, read
from garbage_cli.vendor import available_cores

LAST_CALL = 1.0
"""Seconds between the wish to stop and the end of listening: /readyz says 503 and replies close their connections, so
that clients leave by themselves and none meets a closed door in the middle of a request."""
KEEP_ALIVE = 65
"""Seconds that a connection may be idle: a little more than the minute after which load balancers close theirs."""
HANDSHAKE_SECONDS = 10.0
"""How long TLS may take to begin; asyncio alone would wait for a minute."""
TLS_BUFFER = 64 * 1024
"""Bytes that each connection over TLS keeps for reading; asyncio alone would keep four times as many."""
BACKLOG = 2048
"""Connections that wait to be taken."""
STUCK = 70
"""The exit code of a worker that gave itself up because a photo did not come out of the engine."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has its model, and its port takes connections."""

    private_bytes: int
    """Memory that it shares with nobody; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker answers from another model now, or could not load it."""

    failed: str = ""


def work(
    options: ServeOptions, listener: socket.socket, link: Connection, beat: Any, tell: Callable[[str], object]
) -> None:
    """Run a worker. Over `link` it says Ready, or why not in words; it gets options there to load a model anew.

    `beat` is a shared number, the time of the last turn of the event loop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the whole group; the supervisor tells us
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # one that is meant for the supervisor may reach its group
    mute_warnings()
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a body, its sender is told
    threads = max(1, available_cores() // options.workers)
    load = functools.partial(Model, threads=threads, tell=tell)
    try:
        tls = Tls(options) if options.certificate else None
        model = load(options)
        bins = {each.bin_name for each in model.bundle.labels.items if each.bin_name}
        bins |= {each.chinese for each in BINS}  # those of a model that is loaded later
        metrics = Metrics(routes=ROUTES, bins=sorted(bins), tell=tell)
        log = AccessLog(options.access_log, on_lost=metrics.log_lost)
        _listen(listener, options)
    except (GarbageError, OSError, MemoryError) as error:
        link.send(str(error) or type(error).__name__)
        sys.exit(1)
    metrics.model(**model.facts)
    desk = Desk(model, options, metrics)
    server = _Server(desk, tls)

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_listen_to, args=(link, loop, desk, load, tls), daemon=True).start()
        house = asyncio.create_task(_keep_house(desk, beat))
        yield
        house.cancel()
        desk.close()
        log.close()

    Protocol.max_connections = _max_connections()
    Protocol.refused = metrics.rejected
    server.config = uvicorn.Config(
        create_app(desk, log, lifespan),
        loop="asyncio",  # uvicorn would take uvloop where that is installed, whose TLS obeys none of the limits here
        http=Protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # who says that it asks for another may say anything
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=options.drain_seconds,
    )
    beat.value = time.monotonic()
    link.send(Ready(private_memory(os.getpid())))
    server.run(sockets=[listener])


def _listen(listener: socket.socket, options: ServeOptions) -> None:
    """Two servers may bind a port at the same moment; only one can listen on it."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        where = f"{options.host} port {options.port}"
        raise ServerError(f"can't serve on {where}: {error.strerror}; choose another with --port") from None


def _leave(number: int, frame: FrameType | None) -> None:
    """Before the server runs, and after it has drained. An exception might be swallowed by whatever is loading."""
    os._exit(0)


class _Server(uvicorn.Server):
    """Drains before it stops listening."""

    def __init__(self, desk: Desk, tls: Tls | None) -> None:
        super().__init__(uvicorn.Config(""))
        self._desk = desk
        self._tls = tls
        self._since: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; uvicorn does, but for TLS, whose handshakes it leaves more time than a browser needs."""
        await super().startup([] if self._tls else sockets)
        if self._tls is None:
            return
        sslproto.SSLProtocol.max_size = TLS_BUFFER
        loop = asyncio.get_running_loop()
        make = functools.partial(
            Protocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        for each in sockets or []:
            server = await loop.create_server(
                make, sock=each, backlog=BACKLOG, ssl=self._tls.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
            self.servers.append(server)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second wish skips the waiting."""
        if sig == signal.SIGINT:
            return
        if self._since is not None:
            self.should_exit = True
            return
        self._since = time.monotonic()
        self._desk.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to stop listening."""
        ends = await super().on_tick(counter)
        if self._since is None:
            return ends
        spent = time.monotonic() - self._since
        return ends or spent > LAST_CALL or (spent > LAST_CALL / 5 and not self.server_state.connections)


async def _keep_house(desk: Desk, beat: Any) -> None:
    """Show that the event loop turns; leave if the engine does not."""
    while True:
        beat.value = time.monotonic()
        desk.metrics.observe_memory()
        if desk.is_stuck:
            with suppress(OSError, ValueError):
                sys.stderr.write("a photo has been at the engine for too long; this worker makes room for another\n")
            os._exit(STUCK)
        await asyncio.sleep(1)


def _listen_to(
    link: Connection, loop: asyncio.AbstractEventLoop, desk: Desk, load: Callable[..., Model], tls: Tls | None
) -> None:
    """Load what the supervisor sends; stop when there is none any more: a killed server must not go on serving."""
    while True:
        try:
            options = link.recv()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        try:
            context = read(options) if tls else None
            model = load(options)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new model, the old one answers
            reply = Loaded(str(error) or type(error).__name__)
        else:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(desk.swap, model, options)
            desk.metrics.model(**model.facts)
            if tls and context:
                tls.use(context)
            reply = Loaded()
        with suppress(OSError):
            link.send(reply)


def _max_connections() -> int:
    """As many as there are files to open, some left for the rest; the limit is raised as far as it may be."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft < wanted:
        with suppress(ValueError, OSError):  # it can't be raised
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(64, soft - 128)


def private_memory(pid: int) -> int:
    """Bytes of a process that it shares with nobody; 0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:  # noqa: PTH123 - no file, really
            return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    except (OSError, ValueError, IndexError):
        return 0
