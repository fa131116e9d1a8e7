"""A worker's way to the collected photos: a thread that stores and moves them, and what is counted of that.

Knows threads and time-outs. Does not know requests, nor where a photo comes to lie.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from garbage_cli.collection import Collection, Correction
from garbage_cli.errors import GarbageError
from garbage_cli.labels import Label, Labels
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.server.metrics import Metrics
from garbage_cli.server.options import ServeOptions

Result = TypeVar("Result")
Answered = tuple[bytes, Label]
"""A photo as it came, and its likeliest class."""


WAITING, JOBS = 128 * 1024 * 1024, 64
"""Bytes of photos that wait to be stored, beside those of requests that are under way, and requests whose photos do;
what is beyond is not kept."""


class Stuck(Exception):
    """The disk does not answer in time."""


class Keeper:
    """Stores photos and moves them, one after another, so that a slow disk holds up nothing else."""

    def __init__(self, collection: Collection, metrics: Metrics) -> None:
        self._collection = collection
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "keep")
        self._jobs: set[Future[Any]] = set()
        self._stuck: Future[Any] | None = None
        self._waiting = 0
        self._told: set[str] = set()

    def close(self) -> None:
        """Stop the thread, once it is done with what it has."""
        self._thread.shutdown(wait=False)

    async def keep(
        self, photos: Sequence[Photo | Prediction], predictions: Sequence[Prediction], *, seconds: float
    ) -> list[str | None]:
        """Store the photos that were answered; return their ids in order, None for what is not stored by then."""
        ids: list[str | None] = [None] * len(photos)
        answered = [_answered(*each) for each in zip(photos, predictions, strict=True)]
        size = sum(len(each[0]) for each in answered if each)
        if self._waiting + size <= WAITING and len(self._jobs) < JOBS:
            self._waiting += size
            try:
                await self._run(lambda: self._store(answered, ids), seconds)
            except Stuck:
                pass
            except Exception as error:  # noqa: BLE001 - the answer is good, whatever becomes of the photo
                self._tell_once(error)
            finally:
                self._waiting -= size
        stored = len(ids) - ids.count(None)
        for _ in range(stored):
            self._metrics.collected("photo")
        for _ in range(len(answered) - answered.count(None) - stored):
            self._metrics.collected("lost")
        return list(ids)

    def _tell_once(self, error: Exception) -> None:
        """Tell of an error, once of each kind: the texts of one kind may differ with every photo."""
        kind = type(error).__name__
        if kind not in self._told:
            self._told.add(kind)
            _tell(f"photos are not kept: {kind}: {error}")

    def _store(self, answered: Sequence[Answered | None], ids: list[str | None]) -> None:
        for i, each in enumerate(answered):
            if each is not None:
                ids[i] = self._collection.add(*each)

    async def correct(self, id_: str, class_id: int | None, *, seconds: float) -> Correction:
        """Move a photo to the class that it is said to be of; raise UnknownPhoto, OSError, or Stuck."""
        correction = await self._run(lambda: self._collection.correct(id_, class_id), seconds)
        if correction.said:
            self._metrics.collected(correction.said)
        return correction

    async def _run(self, work: Callable[[], Result], seconds: float) -> Result:
        """Run work in the thread; where that once did not come back in time, no more is begun until it has."""
        if self._stuck is not None and not self._stuck.done():
            raise Stuck
        job = self._thread.submit(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            # the one at work, which need not be this one: one that still waited is cancelled, and done with
            self._stuck = next((each for each in tuple(self._jobs) if each.running()), None)
            raise Stuck from None


def is_foreign(headers: Mapping[str, str], origins: Sequence[str]) -> bool:
    """Whether a page of another site had a browser send this, and is none of those that may read replies.

    Such a page needs no leave to send; it could fill a collection through whoever visits it.
    """
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("origin") not in origins


def _answered(photo: Photo | Prediction, prediction: Prediction) -> Answered | None:
    if not isinstance(photo, Photo) or not isinstance(photo.source, bytes) or prediction.best is None:
        return None
    return photo.source, prediction.best.label


def open_keeper(options: ServeOptions, labels: Labels, metrics: Metrics) -> Keeper | None:
    """Open the collection; None, told on stderr, if it can't be had by now: a worker answers all the same."""
    assert options.collect is not None
    try:
        return Keeper(Collection(options.collect, labels, limit=options.collect_limit, tell=_tell), metrics)
    except GarbageError as error:
        _tell(str(error))
        return None


def _tell(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody may read it
        sys.stderr.write(f"{text}\n")
