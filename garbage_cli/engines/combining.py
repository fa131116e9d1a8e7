"""Engines made of engines, for a server: two speeds in one, and inputs of several callers in one call.

Knows when it pays to wait for others. Does not know runtimes.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from garbage_cli.engines import Batch, Engine


class TwoSpeeds:
    """All cores at one input while a caller is alone, a core for each while there are several."""

    def __init__(self, alone: Engine, together: Engine, *, is_crowded: Callable[[], bool]) -> None:
        self.callers = together.callers
        self._alone = alone
        self._together = together
        self._is_crowded = is_crowded

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        return (self._together if self._is_crowded() else self._alone).infer(inputs)


BATCHES = (4, 16, 32)
WORTH_IT = 1.15
"""By what factor more inputs a second have to come out of larger batches."""


def best_batch(engine: Engine, shape: tuple[int, int, int], *, rounds: int = 5) -> int:
    """Find out how many inputs in one call an engine is the fastest with; 1 where more gain nothing."""
    best, rate = 1, _rate(engine, shape, 1, rounds)
    for size in BATCHES:
        larger = _rate(engine, shape, size, rounds)
        if larger < WORTH_IT * rate:
            break
        best, rate = size, larger
    return best


def _rate(engine: Engine, shape: tuple[int, int, int], size: int, rounds: int) -> float:
    """Inputs a second, by the fastest of some rounds after one that does not count."""
    inputs = np.zeros((size, *shape), np.float32)
    engine.infer(inputs)
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        engine.infer(inputs)
        times.append(time.perf_counter() - begun)
    return size / max(min(times), 1e-9)


@dataclass(slots=True)
class _Waiting:
    inputs: Batch
    woken: threading.Event = field(default_factory=threading.Event)
    """Set once there is an answer, or once it is this one's turn at the engine."""
    outputs: Batch | None = None
    error: BaseException | None = None


class Merged:
    """Infers together what waits while the engine is busy. Nobody waits for others to come.

    The first in line takes along those behind it, up to `most` inputs; the others get theirs from it, and the next in
    line has its turn. For engines that need little more time for several inputs than for one, as GPUs do.
    """

    def __init__(self, engine: Engine, *, most: int) -> None:
        self.callers = most
        self._engine = engine
        self._most = most
        self._guard = threading.Lock()
        self._busy = False
        self._line: list[_Waiting] = []

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        mine = _Waiting(inputs)
        with self._guard:
            self._line.append(mine)
            busy, self._busy = self._busy, True
        if busy:
            mine.woken.wait()
        if mine.outputs is None and mine.error is None:
            self._infer_waiting()
            self._wake_next()
        if mine.error is not None:
            raise mine.error
        assert mine.outputs is not None
        return mine.outputs

    def _infer_waiting(self) -> None:
        group = self._take()
        try:
            outputs = self._engine.infer(np.concatenate([each.inputs for each in group]))
            for each in group:
                each.outputs, outputs = outputs[: len(each.inputs)], outputs[len(each.inputs) :]
        except BaseException as error:  # noqa: BLE001 - each of the callers raises it
            for each in group:
                each.error = error
        for each in group:
            each.woken.set()

    def _wake_next(self) -> None:
        with self._guard:
            following = self._line[0] if self._line else None
            self._busy = following is not None
        if following:
            following.woken.set()

    def _take(self) -> list[_Waiting]:
        """The first in line, and as many after it as fit."""
        with self._guard:
            group = [self._line.pop(0)]
            size = len(group[0].inputs)
            while self._line and size + len(self._line[0].inputs) <= self._most:
                group.append(self._line.pop(0))
                size += len(group[-1].inputs)
            return group
