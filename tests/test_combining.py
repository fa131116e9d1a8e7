"""Engines made of engines: what is merged, in which order, and when nothing is."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from garbage_cli.engines import Batch, combining
from garbage_cli.engines.combining import Merged, TwoSpeeds, best_batch


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.002)


def inputs(*values: float) -> Batch:
    return np.array(values, np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 3, 2, 2), np.float32)


@dataclass
class Slow:
    """An engine that gives back each input's value, when it is let."""

    callers: int = 1
    let: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    calls: list[list[float]] = field(default_factory=list)
    fails_at: float | None = None

    def infer(self, inputs: Batch) -> Batch:
        values = inputs[:, 0, 0, 0]
        self.calls.append(values.tolist())
        self.let.acquire()
        if self.fails_at in values:
            raise RuntimeError(f"no {self.fails_at:.1f}")
        return values[:, None] * np.array([1, 10], np.float32)


def asked_while_busy(engine: Slow, merged: Merged, pool: ThreadPoolExecutor, *groups: Batch) -> list[object]:
    """One input keeps the engine busy; the groups come meanwhile, one after the other."""
    futures = [pool.submit(merged.infer, inputs(0))]
    until(lambda: engine.calls)
    for i, group in enumerate(groups, 1):
        futures.append(pool.submit(merged.infer, group))
        until(lambda i=i: len(merged._line) == i)
    for _ in range(20):
        engine.let.release()
    return [future.exception() or future.result()[:, 0].tolist() for future in futures]


@pytest.fixture
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(32)


def test_what_waits_while_the_engine_is_busy_goes_in_together_and_each_gets_its_own(pool: ThreadPoolExecutor) -> None:
    engine = Slow()
    merged = Merged(engine, most=8)
    answers = asked_while_busy(engine, merged, pool, inputs(1), inputs(2, 3), inputs(4))
    assert answers == [[0], [1], [2, 3], [4]]
    assert engine.calls == [[0], [1, 2, 3, 4]]


def test_no_more_than_the_most_go_in_together_and_nobody_overtakes(pool: ThreadPoolExecutor) -> None:
    engine = Slow()
    merged = Merged(engine, most=4)
    answers = asked_while_busy(engine, merged, pool, inputs(1, 2, 3), inputs(4, 5), inputs(6), inputs(*range(10, 17)))
    assert answers == [[0], [1, 2, 3], [4, 5], [6], [*range(10, 17)]]
    assert engine.calls == [[0], [1, 2, 3], [4, 5, 6], [*range(10, 17)]]  # the last is over the most by itself


def test_an_error_goes_to_each_caller_of_its_group_and_to_no_other(pool: ThreadPoolExecutor) -> None:
    engine = Slow(fails_at=2)
    merged = Merged(engine, most=2)
    answers = asked_while_busy(engine, merged, pool, inputs(1), inputs(2), inputs(3), inputs(4))
    assert [str(answer) for answer in answers] == ["[0.0]", "no 2.0", "no 2.0", "[3.0]", "[4.0]"]
    engine.let.release()
    assert merged.infer(inputs(5))[:, 1].tolist() == [50]  # it goes on


def test_inputs_that_do_not_fit_together_are_an_error_and_nobody_waits_for_ever(pool: ThreadPoolExecutor) -> None:
    engine = Slow()
    merged = Merged(engine, most=8)
    answers = asked_while_busy(engine, merged, pool, inputs(1), np.ones((1, 3, 9, 9), np.float32))
    assert answers[0] == [0]
    assert all(isinstance(answer, ValueError) for answer in answers[1:])


def test_whoever_has_an_answer_does_not_wait_for_those_behind(pool: ThreadPoolExecutor) -> None:
    engine = Slow()
    merged = Merged(engine, most=2)
    futures = [pool.submit(merged.infer, inputs(0))]
    until(lambda: engine.calls)
    for value in range(1, 5):
        futures.append(pool.submit(merged.infer, inputs(value)))
        until(lambda value=value: len(merged._line) == value)
    engine.let.release(2)  # for 0, and for 1 with 2; the engine is kept busy by 3 with 4
    assert [future.result()[0, 0] for future in futures[:3]] == [0, 1, 2]
    until(lambda: len(engine.calls) == 3)
    assert not any(future.done() for future in futures[3:])
    engine.let.release()
    assert [future.result()[0, 0] for future in futures[3:]] == [3, 4]


def test_one_who_is_alone_does_not_wait_for_others() -> None:
    engine = Slow()
    merged = Merged(engine, most=8)
    for value in range(3):
        engine.let.release()
        assert merged.infer(inputs(value))[:, 0].tolist() == [value]
    assert engine.calls == [[0], [1], [2]]
    assert merged.callers == 8


def test_many_callers_get_their_own_answers(pool: ThreadPoolExecutor) -> None:
    engine = Slow(let=threading.Semaphore(10_000))
    merged = Merged(engine, most=5)
    answers = list(pool.map(lambda value: merged.infer(inputs(value))[0].tolist(), range(500)))
    assert answers == [[value, 10 * value] for value in range(500)]
    assert max(map(len, engine.calls)) <= 5


def test_two_speeds_takes_the_one_for_the_crowd_only_in_a_crowd() -> None:
    alone, together = Slow(let=threading.Semaphore(9)), Slow(callers=4, let=threading.Semaphore(9))
    crowded = False
    engine = TwoSpeeds(alone, together, is_crowded=lambda: crowded)
    engine.infer(inputs(1))
    crowded = True
    engine.infer(inputs(2))
    assert (alone.calls, together.calls, engine.callers) == ([[1]], [[2]], 4)


class Clocked:
    """An engine that takes a certain time for a batch, by a clock of its own."""

    callers = 1

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.sizes: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def infer(self, inputs: Batch) -> Batch:
        if len(inputs) not in self.sizes:
            self.now += 100  # the first of a size compiles
        self.sizes.append(len(inputs))
        self.now += self.seconds(len(inputs))
        return inputs


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        (lambda n: n, 1),  # a CPU: twice the inputs, twice the time
        (lambda n: 1, 32),  # a GPU with room
        (lambda n: max(1, n / 8), 16),  # one that is full at 8
        (lambda n: n * (1 if n < 16 else 3), 1),
        (lambda n: 1 + n / 2, 16),
        (lambda n: 0, 32),  # faster than the clock
    ],
    ids=["cpu", "gpu", "full at 8", "worse", "some", "no time"],
)
def test_the_best_batch_is_the_largest_that_still_gains(
    seconds: Callable[[int], float], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Clocked(seconds)
    monkeypatch.setattr(combining, "time", engine)
    assert best_batch(engine, (3, 4, 4)) == best
