"""A model that is loaded and warm, with the threads that answer from it.

Knows threads and how long each stage took. Does not know requests.
"""

import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import Choice, Engine, Options, open_engine
from garbage_cli.engines.combining import Merged, TwoSpeeds, best_batch
from garbage_cli.errors import ImageError
from garbage_cli.images import ImageLimits
from garbage_cli.parallel import lasting_threads
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.predictor import Predictor
from garbage_cli.server.options import ServeOptions
from garbage_cli.transforms import Input


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A network's input that a client has made itself."""

    name: str
    input: Input


Item = Photo | Tensor


@dataclass(frozen=True, slots=True)
class Answer:
    """What one photo gets, and the seconds it spent waiting, being decoded, and at the engine."""

    prediction: Prediction
    wait: float
    decode: float
    infer: float


class Model:
    """A bundle loaded by a server's settings. Photos are decoded side by side and take turns at the engine."""

    def __init__(self, options: ServeOptions, *, threads: int, tell: Callable[[str], object]) -> None:
        """Load and warm up; raises BundleError or ConfigError if the model can't be had."""
        bundle = self.bundle = ModelBundle.load(options.model)
        """What was loaded; still known once the network is gone, for replies that are being written."""
        wish = options.wish_for(bundle)
        self._cores = wish.options.cpu_num_threads or threads
        self._lock = threading.Lock()
        self._began: dict[int, float] = {}
        self.waiting = 0
        """Photos that no thread has taken yet."""
        self.predictor = Predictor(
            bundle,
            engine=wish.engine,
            precision=wish.precision,
            options=wish.options,
            top_k=options.top_k,
            threshold=options.threshold,
            threads=threads,
            limits=ImageLimits(max_pixels=options.max_pixels),
            photos=None,
            tell=tell,
            arrange=functools.partial(self._arrange, bundle, wish.options, options.batch),
        )
        self.predictor.warm_up()
        self.threads = self.predictor.callers + 1  # one decodes while the others are at the engine
        self._pool = lasting_threads(self.threads)

    def _arrange(self, bundle: ModelBundle, options: Options, batch: int, engine: Engine, choice: Choice) -> Engine:
        """Take inputs together where the engine gains from it, else give each of several photos a core of its own."""
        most = batch or (best_batch(engine, bundle.input_shape) if options.use_gpu else 1)
        if most > 1:
            return Merged(engine, most=most)
        if self._cores == 1 or choice.engine == "paddle":  # Paddle takes one at a time in any case
            return engine
        together = open_engine(choice, bundle, parallel=True, threads=self._cores, options=options)
        return TwoSpeeds(engine, together, is_crowded=self._is_crowded)

    def _is_crowded(self) -> bool:
        return len(self._began) + self.waiting > 1

    def submit(self, item: Item, top_k: int) -> "Future[Answer]":
        """Have a photo answered by the next thread that is free."""
        with self._lock:
            self.waiting += 1
        future = self._pool.submit(self._answer, item, top_k, time.perf_counter())
        future.add_done_callback(self._forget_cancelled)
        return future

    def _forget_cancelled(self, future: "Future[Answer]") -> None:
        if future.cancelled():
            with self._lock:
                self.waiting -= 1

    def _answer(self, item: Item, top_k: int, submitted: float) -> Answer:
        me, began, predictor = threading.get_ident(), time.perf_counter(), self.predictor
        with self._lock:
            self.waiting -= 1
            self._began[me] = began
        try:
            try:
                input_ = predictor.prepare(item) if isinstance(item, Photo) else item.input
            except ImageError as error:
                failed = Prediction(item.name, error=str(error))
                return Answer(failed, began - submitted, time.perf_counter() - began, 0.0)
            decoded = time.perf_counter()
            prediction = predictor.answer_input(input_, item.name, top_k=top_k)
            return Answer(prediction, began - submitted, decoded - began, time.perf_counter() - decoded)
        finally:
            with self._lock:
                self._began.pop(me, None)

    def seconds_at_work(self) -> float:
        """How long the photo that is longest at work has been so."""
        with self._lock:
            oldest = min(self._began.values(), default=None)
        return 0.0 if oldest is None else time.perf_counter() - oldest

    @property
    def facts(self) -> dict[str, str]:
        """What the metrics name it by."""
        return {
            "name": self.bundle.name,
            "engine": self.predictor.engine,
            "precision": self.predictor.precision,
            "digest": self.bundle.digest[:12],
        }

    def close(self) -> None:
        """Let go of the network, as soon as no thread is in it. The threads stay for the model that follows."""
        del self.predictor
