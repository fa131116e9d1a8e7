"""One worker on one of the machines: it holds a predictor, and turns a partition's names into its file.

Knows the predictor and places. Does not know Ray, which starts it, nor the other workers.
"""

import json
import os
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from garbage_cli import __version__
from garbage_cli.bulk import places
from garbage_cli.bulk.partitions import PLAN_FILE, Plan, written
from garbage_cli.bulk.places import Place
from garbage_cli.engines import Options
from garbage_cli.errors import ClusterError, GarbageError, ImageError
from garbage_cli.images import mute_warnings
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo
from garbage_cli.predictor import UNCOUNTED, Predictor

FETCHERS = 8
"""Photos of a store that are fetched side by side, so that nobody waits for the network's delay."""
AHEAD = 16
"""Photos that are fetched before they are decoded."""
AT_ONCE = 8 * 2**20
"""Bytes of a photo that is fetched before; a larger one is fetched when it is decoded, so that memory is bounded."""
TRIES = 4
"""Times that a partition is begun: a photo that takes its worker along each time must not do so for ever."""
TRY = "_try-"
"""What a file begins with that says how often a partition was begun."""


@dataclass(frozen=True)
class Done:
    """A partition whose file is written."""

    number: int
    photos: int
    failed: int
    bins: Mapping[str, int] = field(default_factory=dict)
    """How many photos went into which bin; "" is "not sure"."""
    machine: str = ""
    seconds: float = 0.0


class Worker:
    """Answers partitions. What keeps it from working is said at the first one, not raised when it is started."""

    def __init__(
        self,
        plan: Plan,
        out: str,
        model: Mapping[str, bytes],
        *,
        start: str,
        roots: Sequence[str],
        cores: int = 1,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`model` holds the bundle's files; `start` is the folder from which relative names count; `roots` are folders
        and photos that must be seen from here.
        """
        self._plan, self._out, self._start = plan, Place(out), Path(start)
        self._model, self._cores, self._options = model, cores, Options(**options)
        self._predictor: Predictor | None = None
        mute_warnings()
        self._check(roots)

    def _check(self, roots: Sequence[str]) -> None:
        """Raise ClusterError if this machine can't see what all must see."""
        here = socket.gethostname()
        for root in roots:
            if not (self._start / root).exists():
                raise ClusterError(
                    f"{here} does not see {self._start / root}; put the photos on a disk that all machines share, or "
                    f"into a store of objects ({places.SCHEME}…)"
                )
        plan = self._out.read(PLAN_FILE)
        if plan is None or Plan.from_json(plan, f"{self._out}/{PLAN_FILE}").run != self._plan.run:
            raise ClusterError(
                f"{here} does not see {self._out} as this machine does; name a folder on a disk that all machines "
                f"share, or in a store of objects ({places.SCHEME}…)"
            )

    def answer(self, number: int, names: Sequence[str]) -> Done:
        """Answer a partition's photos and write its file; raise ConfigError or ClusterError if that can't be done."""
        began = time.monotonic()
        tried = f"{TRY}{number:06d}"
        self._count(tried, names)
        predictions = list(self._loaded().predict(self._photos(names)))
        if len(predictions) != len(names):
            raise ClusterError(f"partition {number}: {len(predictions)} answers for {len(names)} photos")
        self._out.write(self._plan.file(number), written(predictions, self._plan.form))
        self._out.remove(tried)
        failed = sum(each.error is not None for each in predictions)
        bins = dict(Counter(each.bin_name or "" for each in predictions if each.error is None))
        return Done(number, len(names), failed, bins, socket.gethostname(), time.monotonic() - began)

    def _loaded(self) -> Predictor:
        """The predictor, loaded once a partition is begun and counted: loading, too, may take the worker along."""
        if self._predictor is None:
            try:
                self._predictor = self._load()
            except GarbageError as error:
                raise ClusterError(f"{socket.gethostname()}: {error}") from None
            except OSError as error:
                raise _unable(error) from None
        return self._predictor

    def _load(self) -> Predictor:
        plan, told = self._plan, list[str]()
        with tempfile.TemporaryDirectory(prefix="garbage-model-") as folder:
            for name, data in self._model.items():
                Path(folder, Path(name).name).write_bytes(data)
            predictor = Predictor.load(
                Path(folder), engine=plan.engine, precision=plan.precision, threshold=plan.threshold, top_k=1,
                threads=self._cores, options=self._options, photos=UNCOUNTED, tell=told.append,
            )  # fmt: skip
            if (predictor.engine, predictor.precision) != (plan.engine, plan.precision):
                raise ClusterError(
                    f"{'; '.join(told)}, so it would answer otherwise than the machines with {plan.engine} in "
                    f"{plan.precision}; name what all have, with --engine openvino --precision f32 for example, and "
                    "another folder"
                )
            predictor.warm_up()
        self._model = {}
        return predictor

    def _count(self, tried: str, names: Sequence[str]) -> None:
        """Count that a partition is begun; raise ClusterError if that was too often."""
        times = int(self._out.read(tried) or 0)
        if times >= TRIES:
            raise ClusterError(
                f"{times} workers were lost over the photos from {names[0]} to {names[-1]}: is there too little "
                "memory for a model per core, or does one of them crash the decoder? leave it out, and begin again in "
                "another folder"
            )
        self._out.write(tried, str(times + 1).encode())

    def _photos(self, names: Sequence[str]) -> Iterator[Photo]:
        if any(map(places.is_remote, names)):
            return ordered_map(self._fetched, names, threads=FETCHERS, ahead=AHEAD)
        return map(self._photo, names)

    def _photo(self, name: str) -> Photo:
        return Photo(name, self._start / name)

    def _fetched(self, name: str) -> Photo:
        if not places.is_remote(name):
            return self._photo(name)
        try:
            return Photo(name, places.read(name, AT_ONCE))
        except ImageError as error:
            large = error.fault == "enormous"
            return Photo(name, partial(places.read, name) if large else partial(_raise, error))


def _raise(error: ImageError, max_bytes: int) -> bytes:
    raise error


def try_to_start(
    plan: bytes, out: str, model: Mapping[str, bytes], settings: Mapping[str, Any]
) -> "Worker | GarbageError":
    """A worker, or what keeps it from working: whoever raises as it is started would be started again for ever.

    The plan comes as its file, the settings as plain values, so that a machine with another garbage can say so.
    """
    version = json.loads(plan)["garbage"]
    if version != __version__:
        return ClusterError(
            f"{socket.gethostname()} has garbage {__version__}, not {version}; install the same everywhere"
        )
    try:
        return Worker(Plan.from_json(plan, PLAN_FILE), out, model, **settings)
    except GarbageError as error:
        return error
    except OSError as error:
        return _unable(error)


def _unable(error: OSError) -> ClusterError:
    where = f"{error.filename}: " if error.filename else ""
    return ClusterError(f"{socket.gethostname()}, process {os.getpid()}: {where}{error.strerror or error}")
