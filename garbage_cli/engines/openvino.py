"""OpenVINO on the CPU."""

import contextlib
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.engines import Batch
from garbage_cli.vendor import openvino

COMPILED = "compiled"
"""The folder in the user's cache where compiled networks are kept: the second start is several times as fast."""
KEPT = 8
"""Networks whose compiled form is kept; those not used for the longest time go."""


class OpenVinoEngine:
    """A compiled network with a request for each calling thread."""

    def __init__(
        self, model: Path, *, precision: str = "f32", callers: int, threads: int, compiled: str | None = None
    ) -> None:
        """`callers` 1: all threads work at one input; more: that many inputs side by side, a thread or so each.

        `compiled` is a name for the network's content; under it the compiled form is kept from one start to the next.
        """
        ov = openvino()
        properties, hint = ov.properties, ov.properties.hint
        mode = hint.PerformanceMode.LATENCY if callers == 1 else hint.PerformanceMode.THROUGHPUT
        settings: dict[Any, Any] = {
            hint.performance_mode: mode,
            # the default on CPUs with bf16 is bf16, off by up to 1e-2; an int8 network keeps its other layers in f32
            hint.inference_precision: ov.Type.bf16 if precision == "bf16" else ov.Type.f32,
            properties.inference_num_threads: threads,
            properties.num_streams: callers,
        }
        self.callers = callers
        self._model = _compiled(ov.Core(), model, settings, properties.cache_dir, compiled)
        if precision == "bf16" and not has_bf16():
            raise RuntimeError("this processor has no bf16")
        self._own = threading.local()
        # the first inference of a process sets up OpenVINO's types in Python, which two threads at once do for ever
        self.infer(np.zeros(_shape(self._model), np.float32))

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes), or what else the network ends in."""
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        return np.array(self._own.request.infer([inputs], share_inputs=True)[0], np.float32)


def _shape(model: Any) -> tuple[int, ...]:
    """The shape of one input."""
    return tuple(1 if side.is_dynamic else side.get_length() for side in model.input(0).partial_shape)


def has_bf16() -> bool:
    """Say whether OpenVINO computes in bf16 on this processor rather than only takes the wish."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compiled(core: Any, model: Path, settings: dict[Any, Any], cache_dir: Any, name: str | None) -> Any:
    """Compile a network, or take its compiled form from the cache; a cache that can't be used is done without."""
    folder = _folder(name) if name else None
    if folder is not None:
        with contextlib.suppress(RuntimeError, OSError):
            return core.compile_model(str(model), "CPU", {**settings, cache_dir: str(folder)})
        shutil.rmtree(folder, ignore_errors=True)  # it may be what was wrong
    return core.compile_model(str(model), "CPU", settings)


def _folder(name: str) -> Path | None:
    """The folder for a network's compiled forms, marked as used; None if there can't be one."""
    from platformdirs import user_cache_path

    root = user_cache_path("garbage", appauthor=False) / COMPILED
    try:
        folder = root / name[:16]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.touch()
        others = sorted(root.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in others[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        return folder
    except OSError:
        return None
