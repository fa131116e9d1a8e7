"""The same application on a cluster: Ray Serve's proxies, replicas and autoscaling around our desk.

Knows Ray Serve. Does not know routes or models. Where a supervisor of ours keeps workers on one machine (server), Ray
Serve keeps replicas on many, and its proxies take the connections.

The model's files lie in an actor on the machine that serves, and each replica fetches what is current there: one that
is started later has the model of then, and a new one is loaded beside the old one in each replica.
"""

import asyncio
import functools
import logging
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from garbage_cli import __version__, cluster
from garbage_cli.bundle import MANIFEST_FILE, ModelBundle
from garbage_cli.errors import ClusterError, GarbageError, ServerError
from garbage_cli.images import mute_warnings
from garbage_cli.labels import BINS
from garbage_cli.server.accesslog import AccessLog
from garbage_cli.server.app import ROUTES, create_app
from garbage_cli.server.desk import Desk
from garbage_cli.server.metrics import Metrics
from garbage_cli.server.model import Model
from garbage_cli.server.options import ServeOptions

APPLICATION = "garbage"
NAMESPACE = "garbage"
_STORE = "models"
_KEEP_ALIVE = 65
_TO_START = 120.0
"""Seconds in which replicas must answer, or it is said that they don't."""

Tell = Callable[[str], object]
Reload = Callable[[ServeOptions], tuple[ServeOptions, ModelBundle]]


@dataclass(frozen=True, slots=True)
class Current:
    """What replicas answer with: options whose model is a name, and the model's files."""

    options: ServeOptions
    digest: str
    files: Mapping[str, bytes]
    garbage: str = __version__


class Store:
    """An actor that holds what is current."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def put(self, current: Current) -> None:
        """Have this from now on."""
        self._current = current

    def get(self) -> Current:
        """What is current."""
        return self._current


class Replica:
    """One process of Ray Serve's: a desk with its model. Serve calls what has no docstring of its own."""

    def __init__(self, cores: int) -> None:
        mute_warnings()
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        current = _current()
        if current.garbage != __version__:
            here = socket.gethostname()
            raise ClusterError(f"{here} has garbage {__version__}, not {current.garbage}; install the same everywhere")
        self._load = functools.partial(_load, threads=cores)
        self._digest = (current.digest, current.options)
        model, options = self._load(current)
        bins = {each.bin_name for each in model.bundle.labels.items if each.bin_name}
        metrics = Metrics(routes=ROUTES, bins=sorted(bins | {each.chinese for each in BINS}), tell=_nobody)
        self._log = AccessLog(options.access_log, on_lost=metrics.log_lost)
        self._desk = Desk(model, options, metrics)
        metrics.model(**_facts(model))

    def __serve_build_asgi_app__(self) -> Any:
        """The application of this replica."""
        return create_app(self._desk, self._log, self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        house = asyncio.create_task(self._keep_house())
        yield
        house.cancel()
        self._desk.close()
        self._log.close()

    async def _keep_house(self) -> None:
        while True:
            self._desk.metrics.observe_memory()
            await asyncio.sleep(1)

    async def reconfigure(self, config: dict[str, int]) -> None:
        """Load what is current beside what answers; Serve calls this at the start too."""
        loop = asyncio.get_running_loop()
        current = await loop.run_in_executor(None, _current)
        if (current.digest, current.options) == self._digest:
            return
        model, options = await loop.run_in_executor(None, self._load, current)
        self._desk.swap(model, options)
        self._desk.metrics.model(**_facts(model))
        self._digest = (current.digest, current.options)

    def check_health(self) -> None:
        """Raise if no photo comes out of the engine any more: Serve then starts another replica."""
        if self._desk.is_stuck:
            raise RuntimeError("a photo has been at the engine for too long")


def _nobody(text: str) -> None:
    """What a replica has to say, the command said when it chose the engine."""


def _facts(model: Model) -> dict[str, str]:
    predictor, bundle = model.predictor, model.bundle
    facts = {"engine": predictor.engine, "precision": predictor.precision, "digest": bundle.digest[:12]}
    return {"name": bundle.name, **facts}


def _current() -> Current:
    import ray

    current = ray.get(ray.get_actor(_STORE, namespace=NAMESPACE).get.remote(), timeout=60)
    assert isinstance(current, Current)
    return current


def _load(current: Current, *, threads: int) -> tuple[Model, ServeOptions]:
    """Load the current model, from a folder that is gone once it is in memory."""
    with tempfile.TemporaryDirectory(prefix="garbage-model-") as folder:
        for name, data in current.files.items():
            Path(folder, Path(name).name).write_bytes(data)
        options = replace(current.options, model=Path(folder))
        return Model(options, threads=threads, tell=_nobody), options


# ---- the command


def serve_on_ray(
    options: ServeOptions,
    *,
    address: str,
    most: int,
    load: Reload,
    bind: Callable[[ServeOptions], socket.socket],
    on_ready: Callable[[str, int], object],
    tell: Tell,
) -> None:
    """Serve on the cluster at an address until SIGTERM or Ctrl-C; SIGHUP has all replicas load the model anew.

    `load` checks options and gives them with the engine named, and the model; `bind` tries the address to listen on.
    `on_ready` gets host and port. Between `options.workers` and `most` replicas answer, as there is work.

    Raises ClusterError if there is no cluster or its machines can't do it, ServerError if the port can't be had.
    """
    for name, value in (("--collect", options.collect), ("--access-log -", options.access_log == "-")):
        if value:
            raise ServerError(f"{name}: not with --ray, whose replicas are on other machines")
    if options.access_log is not None:
        options = replace(options, access_log=str(Path(options.access_log).absolute()))
    options, bundle = load(options)
    with closing(bind(options)) as listener:
        options = replace(options, port=listener.getsockname()[1])
    cores = options.options.cpu_num_threads or 1
    with cluster.joined(address, what="serve --ray", cores=_cores(most * cores)) as ray:
        from ray import serve

        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        _refuse_second(serve)
        _check_room(ray, options.workers, cores)
        with _signals() as wishes, _store(ray, options, bundle) as store, _started(serve, options):
            deployment = _deployment(serve, options, most, cores)
            version = 0
            _deploy(serve, deployment, cores, version)
            on_ready(options.host, options.port)
            while (wish := wishes.wait()) == "reload":
                try:
                    options, bundle = load(options)
                    ray.get(store.put.remote(_current_of(options, bundle)))
                    version += 1
                    _deploy(serve, deployment, cores, version)
                except GarbageError as error:
                    tell(f"{error}; the model before goes on")
                else:
                    tell(f"{bundle.name}, {bundle.digest[:12]}: all replicas answer with it")
            if wish == "interrupt":
                raise KeyboardInterrupt


def _cores(wanted: int) -> int:
    """The cores of a cluster that is started here: Ray must not refuse what a machine of few can well do."""
    from garbage_cli.vendor import available_cores

    return max(available_cores(), wanted)


def _refuse_second(serve: Any) -> None:
    if APPLICATION in serve.status().applications:
        raise ServerError(
            "this cluster serves garbage already; end that command first, or send it SIGHUP for a new model"
        )


def _check_room(ray: Any, workers: int, cores: int) -> None:
    """Raise ClusterError if the machines have not so many cores to give: Serve would wait for them for ever."""
    until = time.monotonic() + 5
    while (free := int(ray.available_resources().get("CPU", 0)) // cores) < workers:
        if time.monotonic() > until:
            raise ClusterError(
                f"{workers} replicas take {workers * cores} cores, and the cluster has {free * cores} free; "
                "ask for fewer with --workers, or add machines"
            )
        time.sleep(0.5)


@contextmanager
def _store(ray: Any, options: ServeOptions, bundle: ModelBundle) -> Iterator[Any]:
    """Hold what is current on this machine, for as long as the command runs."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    store = (
        ray.remote(Store)
        .options(name=_STORE, namespace=NAMESPACE, lifetime="detached", num_cpus=0, scheduling_strategy=here,
                 get_if_exists=True)
        .remote(_current_of(options, bundle))
    )  # fmt: skip
    ray.get(store.put.remote(_current_of(options, bundle)))  # one that a killed command left has another
    try:
        yield store
    finally:
        with suppress(Exception):
            ray.kill(store)


def _current_of(options: ServeOptions, bundle: ModelBundle) -> Current:
    files = {name: (bundle.root / name).read_bytes() for name in (*bundle.files, MANIFEST_FILE)}
    return Current(options, bundle.digest, files)


@contextmanager
def _started(serve: Any, options: ServeOptions) -> Iterator[None]:
    """Have Ray Serve's proxies listen; at the end the application goes, and Serve with it if nothing else is there."""
    http: dict[str, Any] = {"host": options.host, "port": options.port, "keep_alive_timeout_s": _KEEP_ALIVE}
    if options.certificate is not None:
        http |= {
            "ssl_certfile": str(options.certificate.absolute()),
            "ssl_keyfile": str((options.private_key or options.certificate).absolute()),
        }
    everywhere = options.host not in ("127.0.0.1", "localhost", "::1")
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    serve.start(proxy_location="EveryNode" if everywhere else "HeadOnly", http_options=http, logging_config=quiet)
    try:
        yield
    finally:
        with suppress(Exception):
            serve.delete(APPLICATION)
            if not serve.status().applications:
                serve.shutdown()


def _deployment(serve: Any, options: ServeOptions, most: int, cores: int) -> Any:
    """Replicas as Serve is asked for them. Our desk refuses what is too much, with words; so Serve lets more in."""
    replicas: dict[str, Any] = {"num_replicas": options.workers}
    if most > options.workers:
        replicas = {
            "num_replicas": None,
            "autoscaling_config": {
                "min_replicas": options.workers, "initial_replicas": options.workers, "max_replicas": most,
                "target_ongoing_requests": cores + 1, "upscale_delay_s": 5.0, "downscale_delay_s": 60.0,
            },
        }  # fmt: skip
    return serve.deployment(serve.ingress()(Replica)).options(
        name="garbage",
        ray_actor_options={"num_cpus": cores},
        max_ongoing_requests=options.queue + 64,
        graceful_shutdown_timeout_s=options.drain_seconds,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
        health_check_timeout_s=30,
        logging_config={"log_level": "ERROR", "enable_access_log": False},
        **replicas,
    )


def _deploy(serve: Any, deployment: Any, cores: int, version: int) -> None:
    """Have replicas started, or told of another version, and wait until all answer with it."""
    from ray.serve.api import RunTarget, _run_many  # run() itself waits for ever for machines that do not come

    application = deployment.options(user_config={"version": version}).bind(cores)
    target = RunTarget(target=application, name=APPLICATION, route_prefix="/", logging_config=None)
    _run_many([target], wait_for_applications_running=False)
    until = time.monotonic() + _TO_START
    while True:
        status = serve.status().applications.get(APPLICATION)
        state = str(getattr(status, "status", "")).rpartition(".")[2]
        if state == "RUNNING":
            return
        if state in ("DEPLOY_FAILED", "UNHEALTHY") or time.monotonic() > until:
            words = " ".join(str(each.message) for each in getattr(status, "deployments", {}).values())
            raise ClusterError(f"the replicas do not answer: {_told(words or getattr(status, 'message', '') or state)}")
        time.sleep(0.2)


def _told(words: str) -> str:
    """The error of ours in what Serve says of a replica, or the last line of it."""
    if ours := re.findall(r"garbage_cli\.errors\.\w+: ([^\n]+)", words):
        return str(ours[-1])
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"


class _Wishes:
    """What signals ask for, one after another."""

    def __init__(self) -> None:
        self._end = ""
        self._reload = False
        self._woken = threading.Event()

    def note(self, number: int, frame: FrameType | None) -> None:
        """A signal has come."""
        if number == getattr(signal, "SIGHUP", None):
            self._reload = True
        else:
            self._end = self._end or ("interrupt" if number == signal.SIGINT else "end")
        self._woken.set()

    def wait(self) -> str:
        """Return "reload", "end" or "interrupt"."""
        while True:
            if self._end:
                return self._end
            if self._reload:
                self._reload = False
                return "reload"
            self._woken.wait(0.5)
            self._woken.clear()


@contextmanager
def _signals() -> Iterator[_Wishes]:
    wishes = _Wishes()
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, wishes.note) for number in numbers}
    try:
        yield wishes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
