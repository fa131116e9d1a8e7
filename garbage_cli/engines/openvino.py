"""OpenVINO on the CPU."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.engines import Batch, compiled
from garbage_cli.engines.machine import fingerprint
from garbage_cli.vendor import openvino


class OpenVinoEngine:
    """A compiled network with a request for each of those who call it at a time."""

    def __init__(
        self,
        model: Path,
        *,
        precision: str = "f32",
        callers: int = 1,
        threads: int,
        content: str | None = None,
        one: bool = False,
    ) -> None:
        """`callers` 1: all threads work at one input; more: that many inputs side by side, a thread or so each.

        `content` names what is in the network's files; under it the compiled form is kept from one start to the next.
        `one` fixes the shape to one input a call, which is faster; several are then inferred one after the other.
        """
        ov = openvino()
        settings = {
            "PERFORMANCE_HINT": "LATENCY" if callers == 1 else "THROUGHPUT",
            # the default on CPUs with bf16 is bf16, off by up to 1e-2; an int8 network keeps its other layers in f32
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": callers,
            "ENABLE_CPU_PINNING": False,  # several processes would all take the first cores
        }
        if precision == "bf16" and not has_bf16():
            raise RuntimeError("this processor has no bf16")
        self.callers = callers
        self._one = one
        self._model = _compiled(ov, model, settings, content, one)
        self._free: list[Any] = []
        """Requests that nobody uses now. They end with the engine, not with the threads that had them."""
        # the first inference of a process sets up OpenVINO's types in Python, which two threads at once do for ever
        self.infer(np.zeros(_shape(self._model), np.float32))

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes), or what else the network ends in."""
        if self._one and len(inputs) > 1:
            return np.concatenate([self.infer(each[None]) for each in inputs])
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        try:
            return np.array(request.infer([inputs], share_inputs=True)[0], np.float32)
        finally:
            self._free.append(request)


def _shape(model: Any) -> tuple[int, ...]:
    """The shape of one input."""
    return tuple(1 if side.is_dynamic else side.get_length() for side in model.input(0).partial_shape)


def has_bf16() -> bool:
    """Say whether OpenVINO computes in bf16 on this processor rather than only takes the wish."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compiled(ov: Any, model: Path, settings: dict[str, Any], content: str | None, one: bool) -> Any:
    """Compile a network, or take its compiled form from the cache; one that can't be used is done without."""
    kind = sorted((key, str(each)) for key, each in settings.items())
    name = f"{content} {ov.__version__} {fingerprint()} {kind}{' one' if one else ''}"
    if content and (kept := compiled.find(name)):
        with contextlib.suppress(RuntimeError):
            return ov.Core().import_model(io.BytesIO(kept), "CPU", settings)
    made = _compile(ov.Core(), model, settings, one)
    if content:
        with contextlib.suppress(RuntimeError):  # not every network can be exported
            compiled.keep(name, made.export_model().getvalue())
    return made


def _compile(core: Any, model: Path, settings: dict[str, Any], one: bool) -> Any:
    if one:
        with contextlib.suppress(RuntimeError):  # a network that insists on its free shape
            network = core.read_model(str(model))
            network.reshape(_shape(network))
            return core.compile_model(network, "CPU", settings)
    return core.compile_model(str(model), "CPU", settings)
