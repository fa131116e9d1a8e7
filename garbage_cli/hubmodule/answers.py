"""What an installed module answers: to PaddleHub Serving, to `hub run`, and to Python.

Knows the predictor and the shapes of requests and replies, which are those of `garbage serve`. Does not know PaddleHub.
"""

import argparse
import io
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from garbage_cli import wire
from garbage_cli.bundle import ModelBundle
from garbage_cli.engines.choosing import Wish, choose
from garbage_cli.errors import ConfigError, ImageError
from garbage_cli.images import find, mute_warnings
from garbage_cli.parallel import lasting_threads
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.predictor import Predictor
from garbage_cli.vendor import available_cores
from garbage_cli.wire import RequestError
from garbage_cli.wire.hub import HubRequest, hub_message, hub_results, parse_hub

NO_WISH = Wish()

Encoded = bytes | NDArray[np.uint8]
"""The bytes of an image file, or an array as cv2.imread returns it: (height, width, 3), BGR."""


class HubAnswers:
    """The model of a module. All is checked and chosen at once; the network is loaded by each process that answers.

    `hub serving start --use_multiprocess` makes the module first and forks then, and an engine's threads would not
    come along. Threads may share it: the first one loads.
    """

    def __init__(self, root: Path, wish: Wish = NO_WISH, *, tell: Callable[[str], object] = lambda text: None) -> None:
        """Raise BundleError if a file is missing or was altered, or if there is no network for what is wished.

        What is not as it was wished is told.
        """
        self._bundle = ModelBundle.load(root)
        for name in self._bundle.files:
            self._bundle.file(name)
        self._choice = choose(wish, self._bundle, photos=None, tell=tell).choices[0]  # as `garbage serve` chooses
        self._options, self._tell = wish.options, tell
        self._loaded: dict[int, tuple[Predictor, ThreadPoolExecutor]] = {}
        """By process. One that came along in a fork is kept: destroying it would wait for threads that are not here."""
        self._turn = threading.Lock()

    def serve(self, body: Mapping[str, Any]) -> object:
        """Return the `results` that `garbage serve` gives for this body, of generation A, B or C.

        A photo that fails has empty lists. What is raised is what PaddleHub answers with status 101: RequestError over
        the body, or if all photos failed; ConfigError over a top_k that the model has not.
        """
        begun = time.perf_counter()
        request = parse_hub(body, input_shape=self._bundle.input_shape)
        top_k = request.wanted()
        predictions = self._answer_request(request, top_k)
        if all(each.error is not None for each in predictions):
            raise RequestError(hub_message(predictions))
        return hub_results(request, predictions, seconds=time.perf_counter() - begun)

    def _answer_request(self, request: HubRequest, top_k: int | None) -> list[Prediction]:
        predictor, pool = self._mine()
        names = (f"images[{i}]" for i in count())
        if request.tensor is not None:
            return list(pool.map(partial(predictor.answer_input, top_k=top_k), request.tensor, names))
        return list(pool.map(partial(_answer_image, predictor, top_k), request.images, names))

    def classify(
        self,
        images: Sequence[Encoded] | None = None,
        paths: Iterable[str | Path] | None = None,
        *,
        top_k: int | None = None,
    ) -> list[dict[str, Any]]:
        """Answer images, then files, in order, in the objects of `predict --json`; a bad photo's has its `error`."""
        if isinstance(images, bytes | str | np.ndarray) or isinstance(paths, str | Path):
            raise ConfigError("images and paths are lists, also for a single photo")
        given = () if images is None else images
        photos = [Photo(f"images[{i}]", _encode(image, i)) for i, image in enumerate(given)]
        photos += [Photo.from_path(Path(path)) for path in paths or ()]
        if not photos:
            raise ConfigError("no photo; give images=[…], or paths=[…]")
        return [wire.prediction_to_json(each) for each in self._answer(photos, top_k=top_k)]

    def run(self, argv: Sequence[str]) -> str:
        """Return the lines of `predict --json` for the arguments of `hub run garbage_classification`."""
        parser = argparse.ArgumentParser(prog="hub run garbage_classification", description="Say what is on photos.")
        parser.add_argument("--input_path", nargs="+", type=Path, required=True, help="photos, or folders of photos")
        parser.add_argument("--top_k", type=int, help="how many kinds to name per photo (default: 5, or all)")
        asked = parser.parse_args(argv)
        answers = self.classify(paths=find(asked.input_path), top_k=asked.top_k)
        return "\n".join(wire.dumps(each).decode() for each in answers)

    def _answer(self, photos: Sequence[Photo], *, top_k: int | None) -> list[Prediction]:
        """Decode side by side, in threads that stay, as those of `garbage serve` do."""
        predictor, pool = self._mine()
        return list(pool.map(partial(predictor.answer, top_k=top_k), photos))

    def _mine(self) -> tuple[Predictor, ThreadPoolExecutor]:
        """This process's own predictor and threads, made and warmed up when they are first asked for."""
        with self._turn:
            if os.getpid() not in self._loaded:
                pool = lasting_threads(max(2, available_cores()))
                self._loaded[os.getpid()] = pool.submit(self._load).result(), pool  # not in a thread that may end
            return self._loaded[os.getpid()]

    def _load(self) -> Predictor:
        mute_warnings()
        predictor = Predictor(
            self._bundle,
            engine=self._choice.engine,
            precision=self._choice.precision,
            options=self._options,
            photos=None,
            tell=self._tell,
        )
        predictor.warm_up()
        return predictor


def _answer_image(predictor: Predictor, top_k: int | None, image: bytes | ImageError, name: str) -> Prediction:
    if isinstance(image, ImageError):
        return Prediction(name, error=str(image))
    return predictor.answer(Photo(name, image), top_k=top_k)


def _encode(image: Encoded, index: int) -> bytes:
    """Give an array the way of all photos, through the decoder: PNG loses nothing."""
    if isinstance(image, bytes):
        return image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"images[{index}] is neither bytes nor an array of uint8 (height, width, 3) in BGR, as cv2.imread gives it"
        )
    with io.BytesIO() as buffer:
        Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
