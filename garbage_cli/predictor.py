"""Photos → answers with a model of our own: decode ahead in threads, infer, take the likeliest classes.

Knows batching of work and top-k. Does not know the terminal, HTTP or training.
"""

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import choose_engine, open_engine
from garbage_cli.errors import ConfigError, ImageError
from garbage_cli.images import DEFAULT_LIMITS, ImageLimits, decode
from garbage_cli.labels import Labels
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo, Prediction, Score
from garbage_cli.transforms import Input, Preprocess
from garbage_cli.vendor import available_cores

DEFAULT_TOP_K = 5

Row = NDArray[np.float32]
"""The probabilities of all classes for one photo."""


class Predictor:
    """A bundle loaded into an engine. Answers from several threads at once; they take turns at the engine."""

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        engine: str = "auto",
        top_k: int | None = None,
        threshold: float | None = None,
        threads: int = 0,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        """`top_k` None means five, or all classes of a model that has fewer; `threads` 0 means all cores.

        A best score under `threshold` (0…1) is answered "not sure"; None means the bundle's own threshold.
        """
        self.bundle = bundle
        self.top_k = check_top_k(top_k, bundle.labels)
        self.threshold = check_threshold(threshold, bundle)
        self.engine = choose_engine(engine, bundle)
        self._engine = open_engine(self.engine, bundle, threads=threads)
        self._preprocess = Preprocess(bundle.preprocess)
        self._limits = limits
        self._turn = threading.Lock()

    @classmethod
    def load(
        cls,
        root: Path,
        *,
        engine: str = "auto",
        top_k: int | None = None,
        threshold: float | None = None,
        threads: int = 0,
    ) -> "Predictor":
        """Open an inference folder; raise BundleError or ConfigError that says what is wrong with it."""
        return cls(ModelBundle.load(root), engine=engine, top_k=top_k, threshold=threshold, threads=threads)

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yield one Prediction per photo, in input order; a bad photo gives one with `error` set."""
        for photo, scores in self.scores(photos):
            yield self._prediction(photo, scores, self.top_k)

    def scores(self, photos: Iterable[Photo]) -> Iterator[tuple[Photo, Row | ImageError]]:
        """Yield each photo, in input order, with the probabilities of all classes, or what is wrong with it."""
        threads = max(2, available_cores())
        prepare = partial(_prepare, preprocess=self._preprocess, limits=self._limits)
        for photo, prepared in ordered_map(prepare, photos, threads=threads, ahead=4 * threads):
            yield photo, prepared if isinstance(prepared, ImageError) else self.infer(prepared[None])[0]

    def answer(self, photo: Photo, *, top_k: int | None = None) -> Prediction:
        """Answer one photo in the calling thread: what a server does for each of its requests."""
        k = self.top_k if top_k is None else check_top_k(top_k, self.bundle.labels)
        _, prepared = _prepare(photo, preprocess=self._preprocess, limits=self._limits)
        scores = prepared if isinstance(prepared, ImageError) else self.infer(prepared[None])[0]
        return self._prediction(photo, scores, k)

    def _prediction(self, photo: Photo, scores: Row | ImageError, k: int) -> Prediction:
        if isinstance(scores, ImageError):
            return Prediction(photo.name, error=str(scores))
        if not np.isfinite(scores).all():
            return Prediction(photo.name, error="the model gives no numbers for this photo; its weights are spoilt")
        best = self.top(scores, k)
        return Prediction(photo.name, best, sure=best[0].score >= self.threshold)

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map inputs (n, 3, crop, crop) to probabilities (n, classes)."""
        with self._turn:
            return self._engine.infer(inputs)

    def top(self, scores: NDArray[np.float32], k: int | None = None) -> tuple[Score, ...]:
        """Return the k likeliest classes of one photo, best first; of equals, the lower number first."""
        order = np.argsort(-scores, kind="stable")[: self.top_k if k is None else k]
        return tuple(Score(self.bundle.labels[int(i)], float(scores[i])) for i in order)

    def warm_up(self) -> None:
        """Run the network once on nothing, so that the first photo does not pay for it."""
        self.infer(np.zeros((1, *self.bundle.input_shape), np.float32))


def check_threshold(threshold: float | None, bundle: ModelBundle) -> float:
    """Return the score under which the answer is "not sure", 0 for never; raise ConfigError if it is no score."""
    if threshold is None:
        return bundle.threshold or 0.0
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold is {threshold:g}; a score is from 0 to 1, and 0 means always an answer")
    return threshold


def check_top_k(top_k: int | None, labels: Labels) -> int:
    """Return how many classes to name; raise ConfigError if the model has fewer than were asked for."""
    if top_k is None:
        return min(DEFAULT_TOP_K, len(labels))
    if not 1 <= top_k <= len(labels):
        raise ConfigError(f"top-k is {top_k}; this model knows {len(labels)} classes, so use 1 to {len(labels)}")
    return top_k


def _prepare(photo: Photo, *, preprocess: Preprocess, limits: ImageLimits) -> tuple[Photo, Input | ImageError]:
    try:
        return photo, preprocess(decode(photo.read(max_bytes=limits.max_bytes), limits))
    except ImageError as error:
        return photo, error
