"""How fast each engine is on this machine with a bundle: measured once, each in a process of its own, and remembered.

Knows processes, clocks and the cache. Does not know which engine is then taken.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import KINDS, Choice, open_engine
from garbage_cli.engines.machine import fingerprint, processor
from garbage_cli.errors import GarbageError
from garbage_cli.parallel import ordered_map
from garbage_cli.storage import write_json

SECONDS = 0.4
"""How long each engine is kept busy for each figure."""
ROUNDS = 3
TIME_OUT = 120
FAILURE_HOLDS = 24 * 3600
"""Seconds after which an engine that failed is tried again."""
PROBES = 4
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading figures that are none can raise."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What an engine takes on this machine."""

    choice: Choice
    ready_s: float
    """From the start of the process to a loaded network, when its compiled form is in the cache."""
    single_ms: float
    """One input, all cores at it."""
    bulk_ms: float
    """Wall time per input, a core for each, many under way."""
    deviation: float | None
    """Mean distance of the scores from what this precision gave where it was measured; None if that isn't known."""
    failed: str | None = None
    """Why there are no figures."""

    def seconds(self, photos: int | None) -> float:
        """Return what so many photos take, start included; None means photos without end."""
        if self.failed:
            return float("inf")
        if photos is None:
            return self.single_ms / 1000
        return self.ready_s + photos * (self.single_ms if photos == 1 else self.bulk_ms) / 1000


def probes(shape: tuple[int, int, int]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return inputs that are the same everywhere, (PROBES, 3, height, width): smooth, of the range that photos have."""
    channels, height, width = shape
    coarse = np.random.default_rng(6).uniform(-2, 2.4, size=(PROBES, channels, 8, 8))
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return coarse[:, :, rows][:, :, :, columns].astype(np.float32)


def deviation(scores: "np.ndarray[Any, Any]", expected: Sequence[Sequence[float]]) -> float:
    """Return the mean total-variation distance of two sets of probabilities, 0 to 1."""
    if np.shape(scores) != np.shape(expected):
        return 1.0
    return float(np.abs(np.asarray(scores) - np.asarray(expected)).sum(axis=1).mean() / 2)


def recall(bundle: ModelBundle) -> tuple[Speed, ...]:
    """Return what was measured of this bundle on this machine, here or at its export; () if nothing was."""
    here = fingerprint()
    with suppress(*DAMAGE):
        path = _file(bundle, here)
        fresh = time.time() - path.stat().st_mtime < FAILURE_HOLDS
        found = _read(json.loads(path.read_text(encoding="utf-8"))["measured"])
        if known := tuple(each for each in found if fresh or not each.failed):
            return known
    return recorded(bundle) if (bundle.facts.get("speeds") or {}).get("fingerprint") == here else ()


def recorded(bundle: ModelBundle) -> tuple[Speed, ...]:
    """Return what the export measured, on whatever machine that was."""
    try:
        return tuple(_read((bundle.facts.get("speeds") or {}).get("measured", ())))
    except DAMAGE:
        return ()


def measure(
    bundle: ModelBundle, choices: Sequence[Choice], *, tell: Callable[[str], object] = lambda text: None
) -> tuple[Speed, ...]:
    """Measure some engines, each in a process of its own, so that a crash takes nothing along; remember the result."""
    earlier = [each for each in recall(bundle) if each.choice not in choices]
    found = []
    for choice in choices:
        tell(f"timing {choice} on this machine")
        found.append(_measured_apart(bundle, choice))
    with suppress(OSError):
        path = _file(bundle, fingerprint())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, as_facts([*earlier, *found]))
    return tuple(found)


def as_facts(speeds: Sequence[Speed]) -> dict[str, Any]:
    """Return what stands in the cache, and in a bundle's manifest."""
    measured = [{**asdict(each.choice), **_figures(each)} for each in speeds]
    return {"fingerprint": fingerprint(), "processor": processor(), "measured": measured}


def _figures(speed: Speed) -> dict[str, Any]:
    return {key: value for key, value in asdict(speed).items() if key != "choice"}


def _read(rows: Sequence[Mapping[str, Any]]) -> Iterator[Speed]:
    for row in rows:
        choice = Choice(str(row["engine"]), str(row["precision"]))
        ready, single, bulk = (float(row[key]) for key in ("ready_s", "single_ms", "bulk_ms"))
        off = None if row["deviation"] is None else float(row["deviation"])
        failed = None if row["failed"] is None else str(row["failed"])
        possible = all(math.isfinite(each) and each >= 0 for each in (ready, single, bulk, off or 0.0))
        if possible and choice.engine in KINDS and choice.precision in KINDS[choice.engine].files:
            yield Speed(choice, ready, single, bulk, off, failed)


def _file(bundle: ModelBundle, machine: str) -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("garbage", appauthor=False) / "speeds" / f"{bundle.digest[:16]}-{machine}.json"


def _measured_apart(bundle: ModelBundle, choice: Choice) -> Speed:
    """Run this module as a program, twice where the first run only fills the cache of compiled networks."""
    command = [sys.executable, "-m", __name__, str(bundle.root.absolute()), choice.engine, choice.precision]
    nothing = Speed(choice, 0.0, 0.0, 0.0, None)
    try:
        if choice.engine == "openvino":
            _run([*command, "open"])
        done = _run([*command, repr(time.time())])
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            return _failed(nothing, last[:300])
        return next(_read([{**json.loads(done.stdout.strip().splitlines()[-1]), **asdict(choice)}]))
    except subprocess.TimeoutExpired:
        return _failed(nothing, f"not done within {TIME_OUT} seconds")
    except (*DAMAGE, StopIteration) as error:
        return _failed(nothing, str(error))


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a program of ours, which takes no module from the folder that happens to be the current one."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(each for each in (root, os.environ.get("PYTHONPATH")) if each)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIME_OUT,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path},
    )


def _failed(speed: Speed, why: str) -> Speed:
    return Speed(speed.choice, 0.0, 0.0, 0.0, None, failed=why)


def time_here(bundle: ModelBundle, choice: Choice, *, begun: float) -> Speed:
    """Measure one engine in this process, which was started at `begun` (seconds since the epoch)."""
    inputs = probes(bundle.input_shape)
    single = open_engine(choice, bundle)
    ready = time.time() - begun
    scores = np.concatenate([single.infer(each[None]) for each in inputs])
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        single.infer(inputs[:1])
        times.append(time.perf_counter() - start)
    expected = (bundle.facts.get("probes") or {}).get(choice.precision)
    return Speed(
        choice,
        ready_s=ready,
        single_ms=1000 * float(np.percentile(times, 25)),  # what else runs on the machine only ever makes it slower
        bulk_ms=1000 * min(_bulk(bundle, choice, inputs[:1])),
        deviation=deviation(scores, expected) if expected else None,
    )


def _bulk(bundle: ModelBundle, choice: Choice, one: "np.ndarray[Any, Any]") -> Iterator[float]:
    """Wall seconds per input with a core for each, several times."""
    engine = open_engine(choice, bundle, parallel=True)
    for _ in range(2 * engine.callers):
        engine.infer(one)
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        turns = _turns(begun + SECONDS / ROUNDS, at_least=2 * engine.callers)
        count = sum(1 for _ in ordered_map(lambda _: engine.infer(one), turns, threads=engine.callers, ahead=4))
        yield (time.perf_counter() - begun) / count


def _turns(end: float, *, at_least: int) -> Iterator[int]:
    number = 0
    while time.perf_counter() < end or number < at_least:
        yield number
        number += 1


def main(root: str, engine: str, precision: str, begun: str) -> int:
    """Measure as a program; print one JSON object. `begun` is when it was started; `open` only fills the cache."""
    try:
        bundle, choice = ModelBundle.load(Path(root)), Choice(engine, precision)
        if begun == "open":
            open_engine(choice, bundle)
            open_engine(choice, bundle, parallel=True)
            return 0
        speed = time_here(bundle, choice, begun=float(begun))
    except GarbageError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a program of its own
        return 1
    print(json.dumps(_figures(speed)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
