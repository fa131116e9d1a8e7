"""Photos → answers with a model of our own: decode and infer in threads, take the likeliest classes.

Knows batching of work and top-k. Does not know the terminal, HTTP or training.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import Choice, Engine, Options
from garbage_cli.engines.choosing import Wish, open_best
from garbage_cli.errors import ConfigError, ImageError
from garbage_cli.images import DEFAULT_LIMITS, ImageLimits, open_photo
from garbage_cli.labels import Labels
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo, Prediction, Score
from garbage_cli.transforms import Input, Preprocess

DEFAULT_TOP_K = 5
SIDE_BY_SIDE = 4
"""From so many photos on each core works at a photo of its own, which is more in all; before, all work at one."""
UNCOUNTED = 1_000
"""Photos that are reckoned with where nobody can count them beforehand: many, but not worth timing engines for."""
NO_OPTIONS = Options()

Row = NDArray[np.float32]
"""The probabilities of all classes for one photo."""


class Predictor:
    """A bundle loaded into an engine. Answers from several threads at once."""

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        engine: str = "auto",
        precision: str = "auto",
        options: Options = NO_OPTIONS,
        top_k: int | None = None,
        threshold: float | None = None,
        threads: int = 0,
        limits: ImageLimits = DEFAULT_LIMITS,
        photos: int | None = 1,
        tell: Callable[[str], object] = lambda text: None,
        arrange: Callable[[Engine, Choice], Engine] = lambda engine, choice: engine,
    ) -> None:
        """`top_k` None means five, or all classes of a model that has fewer; `threads` 0 means all cores.

        A best score under `threshold` (0…1) is answered "not sure"; None means the bundle's own threshold. By how many
        `photos` are to come (None: no end, one at a time) the engine is chosen, and whether its cores work at one photo
        or each at its own. What is not as it was asked for is told. `arrange` may put another engine
        around the one that was opened.
        """
        self.bundle = bundle
        self.top_k = check_top_k(top_k, bundle.labels)
        self.threshold = check_threshold(threshold, bundle)
        wish = Wish(engine, precision, options)
        parallel = photos is not None and photos >= SIDE_BY_SIDE
        opened, choice, self.why = open_best(wish, bundle, photos=photos, parallel=parallel, threads=threads, tell=tell)
        self._engine = arrange(opened, choice)
        self.engine, self.precision, self.options = choice.engine, choice.precision, options
        self._preprocess = Preprocess(bundle.preprocess)
        self._limits = limits

    @classmethod
    def load(cls, root: Path, **settings: Any) -> "Predictor":
        """Open an inference folder, with the settings of `Predictor`; raise BundleError if it can't be used."""
        return cls(ModelBundle.load(root), **settings)

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yield one Prediction per photo, in input order; a bad photo gives one with `error` set."""
        for photo, scores in self.scores(photos):
            yield self._prediction(photo.name, scores, self.top_k)

    def scores(self, photos: Iterable[Photo]) -> Iterator[tuple[Photo, Row | ImageError]]:
        """Yield each photo, in input order, with the probabilities of all classes, or what is wrong with it."""
        threads = self._engine.callers + 1  # one reads and decodes while the others are at the engine
        yield from ordered_map(self._scored, photos, threads=threads, ahead=4 * threads)

    def answer(self, photo: Photo, *, top_k: int | None = None) -> Prediction:
        """Answer one photo in the calling thread: what a server does for each of its requests."""
        k = self._checked(top_k)
        return self._prediction(photo.name, self._scored(photo)[1], k)

    def answer_input(self, values: Input, name: str, *, top_k: int | None = None) -> Prediction:
        """Answer one photo that is the network's input already, in the calling thread; `name` is what it is called."""
        k = self._checked(top_k)
        return self._prediction(name, self.infer(values[None])[0], k)

    def _checked(self, top_k: int | None) -> int:
        return self.top_k if top_k is None else check_top_k(top_k, self.bundle.labels)

    def _scored(self, photo: Photo) -> tuple[Photo, Row | ImageError]:
        try:
            return photo, self.infer(self.prepare(photo)[None])[0]
        except ImageError as error:
            return photo, error

    def prepare(self, photo: Photo) -> Input:
        """Return the network's input for a photo, (3, crop, crop); raise ImageError that says what is wrong with it."""
        data = photo.read(max_bytes=self._limits.max_bytes)
        return self._preprocess.decoded(open_photo(data, self._limits, reduction=self._preprocess.reduction))

    def _prediction(self, name: str, scores: Row | ImageError, k: int) -> Prediction:
        if isinstance(scores, ImageError):
            return Prediction(name, error=str(scores))
        if not np.isfinite(scores).all():
            return Prediction(name, error="the model gives no numbers for this photo; its weights are spoilt")
        best = self.top(scores, k)
        return Prediction(name, best, sure=best[0].score >= self.threshold)

    def infer(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map inputs (n, 3, crop, crop) to probabilities (n, classes)."""
        return self._engine.infer(inputs)

    def top(self, scores: NDArray[np.float32], k: int | None = None) -> tuple[Score, ...]:
        """Return the k likeliest classes of one photo, best first; of equals, the lower number first."""
        order = np.argsort(-scores, kind="stable")[: self.top_k if k is None else k]
        return tuple(Score(self.bundle.labels[int(i)], float(scores[i])) for i in order)

    @property
    def callers(self) -> int:
        """How many threads can have something inferred side by side."""
        return self._engine.callers

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
