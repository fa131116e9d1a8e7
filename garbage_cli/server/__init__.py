"""HTTP: a socket, workers, both protocols, limits. Does not know how an image becomes a tensor.

The socket is bound before anything is loaded, so that a port in use is said at once. It listens only once a worker
has its model: until then a client's connection is refused, not left waiting.
"""

import errno
import functools
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from garbage_cli.errors import ServerError
from garbage_cli.server.options import ServeOptions

if TYPE_CHECKING:
    from garbage_cli.bundle import ModelBundle

__all__ = ["ServeOptions", "serve"]


def serve(
    options: ServeOptions,
    *,
    on_ready: Callable[[str], object] = lambda url: None,
    tell: Callable[[str], object] = lambda text: None,
    explain: Callable[[str], object] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was accepted. `on_ready` gets the URL once all workers answer.

    What is not as it was asked for is told; which engine was taken, and why, is explained to whoever wants to know.

    Raises ServerError if the port can't be had, BundleError or ConfigError if the model can't be served.
    """
    bundle = _check(options)
    with _bind(options) as listener:
        options = _decided(options, bundle, tell, explain)
        address = listener.getsockname()[:2]
        loaded = multiprocessing.get_context("spawn").Semaphore(0)
        report = functools.partial(on_ready, _url(*address))
        threading.Thread(target=_when_ready, args=(loaded, options, address, report), daemon=True).start()
        signal.signal(signal.SIGTERM, _exit_quietly)
        _run(options, listener, loaded)


def _exit_quietly(number: int, frame: object) -> None:
    """Reached when uvicorn, done with draining, passes the signal on."""
    raise SystemExit(0)


def _when_ready(loaded: Any, options: ServeOptions, address: tuple[str, int], report: Callable[[], object]) -> None:
    """Wait until every worker has its model, then until the port takes connections."""
    for _ in range(options.workers):
        loaded.acquire()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
    while True:
        try:
            socket.create_connection((host, address[1]), timeout=1).close()
            break
        except OSError:
            time.sleep(0.02)
    report()


def _decided(
    options: ServeOptions,
    bundle: "ModelBundle",
    tell: Callable[[str], object],
    explain: Callable[[str], object] | None,
) -> ServeOptions:
    """Name the engine that all workers use; where it takes timing, that is done once, here."""
    from garbage_cli.engines.choosing import choose

    chosen = choose(options.wish, bundle, photos=None, timed=True, tell=tell)
    if explain:
        explain(chosen.why)
    return replace(options, decided=chosen.choices[0], decided_for=bundle.digest)


def _check(options: ServeOptions) -> "ModelBundle":
    """Find in this process what would stop every worker; return the model."""
    from garbage_cli.bundle import ModelBundle
    from garbage_cli.engines.choosing import choose
    from garbage_cli.predictor import check_threshold, check_top_k

    if options.workers < 1:
        raise ServerError(f"--workers is {options.workers}; at least one is needed")
    bundle = ModelBundle.load(options.model)
    choose(options.wish, bundle)
    check_top_k(options.top_k, bundle.labels)
    check_threshold(options.threshold, bundle)
    for name in bundle.files:
        bundle.file(name)
    return bundle


def _bind(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # the protocol is named because asyncio sets TCP_NODELAY only then; without it each reply waits 40 ms for an ACK
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        port_taken = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        remedy = "choose another with --port" if port_taken else "is --host an address of this machine?"
        raise ServerError(f"can't serve on {options.host} port {options.port}: {reason}; {remedy}") from None
    listener.set_inheritable(True)
    return listener


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _run(options: ServeOptions, listener: socket.socket, loaded: Any) -> None:
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        functools.partial(make_app, options, loaded),
        factory=True,
        workers=options.workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=options.drain_seconds,
    )
    if options.workers > 1:
        interrupted = threading.Event()

        class Supervisor(Multiprocess):
            """Starts another worker for one that dies; remembers that it was Ctrl-C that ended it."""

            def handle_int(self) -> None:
                interrupted.set()
                super().handle_int()

        supervisor = Supervisor(config, [listener])
        supervisor.run()
        started = all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)
        if interrupted.is_set():
            raise KeyboardInterrupt
    else:
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
        started = server.started
    if not started:
        raise ServerError("a worker could not start; the reason is above")


def make_app(options: ServeOptions, loaded: Any) -> Any:
    """Make the application of one worker, in the worker's process; `loaded.release` is called once it has its model."""
    from garbage_cli.images import mute_warnings
    from garbage_cli.server.app import create_app
    from garbage_cli.vendor import available_cores

    mute_warnings()
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_stop_without, args=(parent,), daemon=True).start()
    threads = max(1, available_cores() // options.workers)
    return create_app(options, threads=threads, on_ready=loaded.release)


def _stop_without(parent: Any) -> None:
    """Stop this worker once its parent is gone: a killed server must not go on with its old model and its port."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
