"""Our own `/v1`: base64 images in, an object per photo out, the same one that `predict --json` prints.

Knows these shapes. Does not know HTTP, numpy or models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from garbage_cli.errors import ImageError, ServerError
from garbage_cli.labels import Label
from garbage_cli.prediction import Prediction, Score
from garbage_cli.wire.reading import RequestError, parse_top_k, read_images


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Encoded images, or what is wrong with one, and how many classes to name of each (None: the server's number)."""

    images: tuple[bytes | ImageError, ...]
    top_k: int | None = None


def parse_predict(value: Mapping[str, Any]) -> PredictRequest:
    """Read `{"images": [base64, …], "top_k": n}`; an image that is no good base64 fails alone."""
    if "images" not in value:
        raise RequestError('the key "images" is missing: {"images": ["<base64>", …]}')
    if isinstance(value["images"], str):
        raise RequestError('"images" is one string; send a list of base64 strings, also for a single image')
    top_k = parse_top_k(value.get("top_k"))
    return PredictRequest(read_images(value["images"]), top_k)


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """Return the object that `predict --json`, `request --json` and `/v1/predict` give for one photo."""
    return {
        "image": prediction.image,
        "bin": prediction.bin_name,
        "sure": prediction.sure and prediction.error is None,
        "predictions": [
            {
                "class_id": each.label.class_id,
                "name": each.label.name,
                "bin": each.label.bin_name,
                "score": each.score,
            }
            for each in prediction.scores
        ],
        "error": prediction.error,
    }


def prediction_from_json(value: Mapping[str, Any], *, image: str) -> Prediction:
    """Read what `prediction_to_json` wrote, under the name the photo has here."""
    try:
        if value["error"] is not None:
            return Prediction(image, error=str(value["error"]))
        scores = tuple(
            Score(Label(int(each["class_id"]), str(each["name"]), each["bin"]), float(each["score"]))
            for each in value["predictions"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(f"the reply is not one of garbage's: {error!r}") from None
    return Prediction(image, scores, sure=bool(value.get("sure", True)))  # servers before 0.2 always were
