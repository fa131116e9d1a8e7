"""Paddle and its family, Ray and other heavy packages, imported late and quietly.

Knows how those packages misbehave at import. Does not know our types.
"""

import contextlib
import importlib
import importlib.util
import io
import logging
import math
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from garbage_cli.errors import ConfigError, MissingExtraError

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where a container sees what it may use."""


def paddle(what: str) -> ModuleType:
    """Import paddle for the sake of `what` (named in the error if it is not installed); signals stay as they were."""
    _settle_environment()
    if "paddle" in sys.modules:
        return _import("paddle", what=what, package="paddlepaddle", extra="train")
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    module = _import("paddle", what=what, package="paddlepaddle", extra="train")
    module.disable_signal_handler()
    with contextlib.suppress(ValueError):  # only the main thread may
        for number, handler in kept.items():  # Paddle's own SIGTERM prints a traceback and dies
            signal.signal(number, handler)
    return module


def backbones(what: str) -> ModuleType:
    """Import PaddleClas's networks: a module with one function per architecture."""
    paddle(what)
    root = logging.getLogger()
    before = list(root.handlers)
    module = _import("paddleclas.ppcls.arch.backbone", what=what, package="paddleclas", extra="train")
    root.handlers = before  # paddleclas puts handlers on stdout, where our data goes
    logging.getLogger("ppcls").handlers = []
    logging.getLogger("ppcls").setLevel(logging.ERROR)
    return module


def paddle_inference(what: str) -> ModuleType:
    """Import Paddle's inference runtime."""
    paddle(what)
    return _import("paddle.inference", what=what, package="paddlepaddle", extra="train")


def paddle2onnx(what: str) -> ModuleType:
    """Import the ONNX converter."""
    return _import("paddle2onnx", what=what, package="paddle2onnx", extra="train")


def openvino() -> ModuleType:
    """Import OpenVINO, which is in the base install, without its reporter."""
    _no_reporter()
    return importlib.import_module("openvino")


def nncf(what: str) -> ModuleType:
    """Import NNCF, without its reporter."""
    _no_reporter()
    return _import("nncf", what=what, package="nncf", extra="train")


def _no_reporter() -> None:
    """Hide the package by which OpenVINO and NNCF count their use and report it over the network, unasked.

    Importing it is then an ImportError, with which both do without; a file in the home folder is not written either.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def ray(what: str) -> ModuleType:
    """Import Ray, without its reporter. Its processes find `garbage_cli` where this one does."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it counts its use and reports it over the network, unasked
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what it will do some day
    return _import("ray", what=what, package="ray", extra="scale")


def pyarrow_fs(what: str) -> ModuleType:
    """Import pyarrow's file systems."""
    return _import("pyarrow.fs", what=what, package="pyarrow", extra="scale")


def pyarrow_parquet(what: str) -> ModuleType:
    """Import pyarrow's reader and writer of Parquet."""
    return _import("pyarrow.parquet", what=what, package="pyarrow", extra="scale")


def visualdl(what: str) -> ModuleType:
    """Import VisualDL."""
    return _import("visualdl", what=what, package="visualdl", extra="visualdl")


def require(what: str, *, module: str, package: str, extra: str) -> None:
    """Raise MissingExtraError if a module is not installed, without the seconds that importing it takes."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(what, package=package, extra=extra)


def _settle_environment() -> None:
    """Set what Paddle reads once, at import: quiet logs, and all cores (Paddle's own default is one)."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))


def available_cores() -> int:
    """Return the number of cores this process may use: at most what its container is given, rounded up."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        cores = os.cpu_count() or 1
    return min(cores, _cores_of_group() or cores)


def _cores_of_group() -> int | None:
    """Control groups of version 2, seen from inside a container: 150000 of 100000 µs is a core and a half."""
    try:
        quota, period = (CONTROL_GROUP / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _import(name: str, *, what: str, package: str, extra: str) -> ModuleType:
    try:
        with warnings.catch_warnings(), _muted():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        package = package if root in ("", name.partition(".")[0]) else f"{package} (and its {root})"
        raise MissingExtraError(what, package=package, extra=extra) from error


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Keep what chatty libraries print and log at import away from our stdout and stderr."""
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def native_muted() -> Iterator[None]:
    """Let nobody but Python write to stderr: what native code says to file descriptor 2 is dropped."""
    sys.stderr.flush()
    before, kept = sys.stderr, os.dup(2)
    try:
        with open(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as speaking:  # noqa: PTH123 - a descriptor
            with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a device
                os.dup2(nothing.fileno(), 2)
            sys.stderr = speaking
            try:
                yield
            finally:
                speaking.flush()
                os.dup2(kept, 2)
    finally:
        sys.stderr = before


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Hold back what native code writes to file descriptors 1 and 2; show it on stderr if the work fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as held:
        try:
            os.dup2(held.fileno(), 1)
            os.dup2(held.fileno(), 2)
            with _muted():
                yield
        except BaseException:
            held.seek(0)
            os.write(kept[1], held.read())
            raise
        finally:
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def choose_device(choice: str) -> str:
    """Turn `auto`, `cpu`, `gpu` or `gpu:1` into a device that Paddle has here; raise ConfigError if it has not."""
    module = paddle("training")
    gpus = module.device.cuda.device_count() if module.device.is_compiled_with_cuda() else 0
    if choice == "auto":
        return "gpu" if gpus else "cpu"
    if choice == "cpu" or (gpus and choice.partition(":")[0] == "gpu"):
        return choice
    raise ConfigError(
        f"device {choice!r}: this Paddle sees {gpus} GPUs; use --device cpu, or install paddlepaddle-gpu"
        if choice.startswith("gpu")
        else f"device {choice!r} is unknown; use auto, cpu, gpu or gpu:N"
    )
