"""The frozen part of a network, ready to run: in OpenVINO, or in Paddle where that can't be had.

Knows how to convert it and to prove that nothing changed. Does not know photos or where features are kept.
"""

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import ONNX_FILE
from garbage_cli.conversion import save_onnx, save_program
from garbage_cli.errors import ConfigError, GarbageError
from garbage_cli.features.store import Array
from garbage_cli.partition import Cut
from garbage_cli.transforms import Input
from garbage_cli.vendor import available_cores, paddle

AT_ONCE = 8
"""Inputs that go through the engine together: more are no faster, and take more memory."""

Run = Callable[[NDArray[np.float32]], Array]
"""Inputs (n, 3, crop, crop) → what crosses the cut, (n, *shape)."""


class Front:
    """The frozen part in OpenVINO, converted when it is first needed; in Paddle where that can't be had."""

    def __init__(self, cut: Cut, *, crop: int) -> None:
        self._cut = cut
        self._crop = crop
        self._run: Run | None = None
        self._threads = 1
        self.engine = ""

    def open(self) -> int:
        """Make it ready; return in how many threads it may be called."""
        if self._run is not None:
            return self._threads
        with contextlib.suppress(GarbageError, RuntimeError, ValueError, NotImplementedError):
            with tempfile.TemporaryDirectory(prefix="garbage-front-") as folder:
                self._run = in_openvino(self._cut, Path(folder), self._crop)
            self.engine, self._threads = "OpenVINO", available_cores()
            return self._threads
        self._run, self.engine = in_paddle(self._cut), "Paddle"
        return self._threads

    def __call__(self, inputs: Sequence[Input]) -> Array:
        """Map a photo's inputs to what crosses, (n, *shape)."""
        assert self._run is not None
        pieces = [inputs[start : start + AT_ONCE] for start in range(0, len(inputs), AT_ONCE)]
        return np.concatenate([self._run(np.stack(piece)) for piece in pieces])


def in_openvino(cut: Cut, folder: Path, crop: int) -> Run:
    """Convert the front, by way of `folder`; raise an error if that can't be done, or the answers differ on noise."""
    from garbage_cli.engines.openvino import OpenVinoEngine

    save_program(cut.front(), folder, crop=crop)
    save_onnx(folder)
    engine = OpenVinoEngine(folder / ONNX_FILE, callers=available_cores(), threads=available_cores())
    noise = np.random.default_rng(0).normal(size=(2, 3, crop, crop)).astype(np.float32)
    expected, got = in_paddle(cut)(noise), engine.infer(noise)
    if not np.abs(got - expected).max() <= 1e-3 * max(1e-6, float(np.abs(expected).max())):
        raise ConfigError("the converted network differs")
    return engine.infer


def in_paddle(cut: Cut) -> Run:
    """Return the front as Paddle runs it: in one thread at a time."""
    module, front = paddle("training"), cut.front()

    def run(inputs: NDArray[np.float32]) -> Array:
        with module.no_grad():
            return np.asarray(front(module.to_tensor(inputs)).numpy())

    return run
