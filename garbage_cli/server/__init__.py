"""HTTP: a socket, workers, the protocols, limits. Does not know how an image becomes a tensor.

The socket is bound before anything is loaded, so that a port in use is said at once. It listens only once a worker
has its model: until then a client's connection is refused, not left waiting.
"""

import errno
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from garbage_cli.errors import ServerError
from garbage_cli.server.options import ServeOptions

if TYPE_CHECKING:
    from garbage_cli.bundle import ModelBundle

__all__ = ["ServeOptions", "serve", "serve_on_ray"]

Tell = Callable[[str], object]


def serve(
    options: ServeOptions,
    *,
    on_ready: Callable[[str], object] = lambda url: None,
    tell: Tell = lambda text: None,
    explain: Tell | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was accepted. `on_ready` gets the URL once all workers answer.

    What is not as it was asked for is told; which engine was taken, and why, is explained to whoever wants to know.

    Raises ServerError if the port can't be had or a worker can't start, BundleError or ConfigError if the model can't
    be served, KeyboardInterrupt after Ctrl-C.
    """
    from garbage_cli.server.accesslog import check_target
    from garbage_cli.server.foreground import no_reload
    from garbage_cli.server.metricsfolder import MetricsFolder
    from garbage_cli.server.supervisor import Supervisor

    if sys.platform == "win32":
        raise ServerError("garbage serve runs on Linux and macOS; on Windows, run it in WSL")
    bundle = _check(options)
    _check_certificate(options, tell)
    if options.access_log is not None:
        check_target(options.access_log)
    if options.collect is not None:
        tell(f"photos whose senders ask for it are kept in {options.collect}")
    with no_reload(), _bind(options) as listener, MetricsFolder(tell=tell) as folder:
        options = _decided(options, bundle, tell, explain)
        renew = partial(_renewed, tell=tell, explain=explain)
        address = listener.getsockname()[:2]
        Supervisor(options, listener, folder, renew=renew, tell=tell).run(
            lambda: on_ready(_url(*address, tls=options.certificate is not None))
        )


def serve_on_ray(
    options: ServeOptions,
    address: str,
    *,
    most: int | None = None,
    on_ready: Callable[[str], object] = lambda url: None,
    tell: Tell = lambda text: None,
    explain: Tell | None = None,
) -> None:
    """Serve as `serve` does, but on a Ray cluster: replicas are its workers, and up to `most` of them under load.

    Raises ClusterError too, if there is no cluster, or no room on it.
    """
    from garbage_cli.cluster import LOCAL, joined
    from garbage_cli.server.foreground import no_reload
    from garbage_cli.server.onray import Application, Wish
    from garbage_cli.server.onray.replica import cores_of
    from garbage_cli.vendor import available_cores

    if most is not None and most < options.workers:
        raise ServerError(f"--max-workers is {most}, less than --workers {options.workers}")
    bundle = _check(options)
    _check_certificate(options, tell)
    options = _absolute(options)

    def renew(before: ServeOptions) -> tuple[ServeOptions, "ModelBundle"]:
        return _renewed(before, tell=tell, explain=explain), _check(before)

    def bind(asked: ServeOptions) -> int:
        with _bind(asked) as listener:
            port: int = listener.getsockname()[1]
            return port

    with no_reload():
        if address == LOCAL:
            bind(options)  # said before Ray is started for it
        options = _decided(options, bundle, tell, explain)
        cores = max(available_cores(), options.workers * cores_of(options))
        with joined(address, what="serve --ray", cores=cores) as ray:
            application = Application(ray, Wish(options, bundle, most), bind=bind, renew=renew, tell=tell)
            application.run(lambda host, port: on_ready(_url(host, port, tls=options.certificate is not None)))


def _absolute(options: ServeOptions) -> ServeOptions:
    """Replicas have working folders of their own."""
    paths = {name: getattr(options, name) for name in ("model", "key_file", "certificate", "private_key")}
    log = options.access_log and str(Path(options.access_log).absolute())
    return replace(options, access_log=log, **{name: path and path.absolute() for name, path in paths.items()})


def _decided(options: ServeOptions, bundle: "ModelBundle", tell: Tell, explain: Tell | None) -> ServeOptions:
    """Name the engine that all workers use; where it takes timing, that is done once, here."""
    from garbage_cli.engines.choosing import choose

    chosen = choose(options.wish, bundle, photos=None, timed=True, tell=tell)
    if explain:
        explain(chosen.why)
    return replace(options, decided=chosen.choices[0], decided_for=bundle.digest)


def _renewed(options: ServeOptions, *, tell: Tell, explain: Tell | None) -> ServeOptions:
    """Look at the model's folder, the keys and the certificate again; raise a GarbageError if they can't be used."""
    _check_certificate(options, tell)
    if options.key_file is not None:
        from garbage_cli.server.keys import Keys

        options = replace(options, keys=Keys.load(options.key_file, tell=tell))
    return _decided(options, _check(options), tell, explain)


def _check(options: ServeOptions) -> "ModelBundle":
    """Find in this process what would stop every worker; return the model."""
    from garbage_cli.bundle import ModelBundle
    from garbage_cli.collection import prepare
    from garbage_cli.engines.choosing import choose
    from garbage_cli.predictor import check_threshold, check_top_k

    if options.workers < 1:
        raise ServerError(f"--workers is {options.workers}; at least one is needed")
    if not options.host.strip():
        raise ServerError("--host is empty; 0.0.0.0 is the whole network, 127.0.0.1 this machine")
    for origin in options.cors:
        if not re.fullmatch(r"https?://[^\s/*]+", origin):
            raise ServerError(f"--cors {origin!r} is no origin; write it as https://bin.example, without a path")
    bundle = ModelBundle.load(options.model)
    choose(options.wish, bundle)
    check_top_k(options.top_k, bundle.labels)
    check_threshold(options.threshold, bundle)
    for name in bundle.files:
        bundle.file(name)
    if options.collect is not None:
        prepare(options.collect, bundle.labels)
    return bundle


def _check_certificate(options: ServeOptions, tell: Tell) -> None:
    if options.certificate is not None:
        from garbage_cli.server.tls import check

        check(options, tell)


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


def _url(host: str, port: int, *, tls: bool) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if tls else ''}://{shown}:{port}"
