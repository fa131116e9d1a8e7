"""Photos with their answers drawn on them, as JPEGs in a folder: a band in the bin's colour, the kind, the score.

Knows pictures, fonts and where each picture goes. Does not know how answers are made, or the terminal.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from garbage_cli.annotating.drawing import annotate
from garbage_cli.annotating.fonts import Typeface, system_typeface
from garbage_cli.annotating.places import claim, place
from garbage_cli.errors import ImageError
from garbage_cli.images import DEFAULT_LIMITS, open_photo
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Classifier, Photo, Prediction
from garbage_cli.storage import write_bytes

__all__ = ["Annotating", "Typeface", "annotate", "place", "system_typeface"]

_THREADS = 2


class Annotating:
    """A classifier that also draws: what it yields has its picture in the folder already."""

    def __init__(self, classifier: Classifier, folder: Path, *, typeface: Typeface | None = None) -> None:
        """Without a `typeface`, the system's fonts are looked through."""
        self._classifier = classifier
        self._folder = folder
        self.typeface = typeface or system_typeface()
        self.undrawn = 0
        """Photos that were answered and could not be drawn: their files have changed or gone since."""

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yield the predictions, in order; a photo with an error gets no picture.

        Raises ConfigError rather than write over what is no picture of ours, and OSError for a full disk.
        """
        pairs = self._paired(photos)
        for photo, prediction, picture in ordered_map(self._drawn, pairs, threads=_THREADS, ahead=2 * _THREADS):
            if picture is not None:
                self._write(photo, picture)
            yield prediction

    def _paired(self, photos: Iterable[Photo]) -> Iterator[tuple[Photo, Prediction]]:
        """Each prediction beside its photo; those that the classifier holds are as many as it has under way."""
        under_way: deque[Photo] = deque()

        def drawn() -> Iterator[Photo]:
            for photo in photos:
                under_way.append(photo)
                yield photo

        for prediction in self._classifier.predict(drawn()):
            yield under_way.popleft(), prediction

    def _drawn(self, pair: tuple[Photo, Prediction]) -> tuple[Photo, Prediction, bytes | None]:
        photo, prediction = pair
        if prediction.best is None:
            return photo, prediction, None
        try:
            image = open_photo(photo.read(max_bytes=DEFAULT_LIMITS.max_bytes)).image
        except ImageError:
            self.undrawn += 1
            return photo, prediction, None
        return photo, prediction, annotate(image, prediction, self.typeface)

    def _write(self, photo: Photo, picture: bytes) -> None:
        target = self._folder / place(photo.name)
        claim(target, photo, self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, picture)
