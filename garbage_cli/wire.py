"""The JSON of requests and replies, shared by server and client.

Knows the shapes: our own (`/v1`), and PaddleHub Serving's generation A. Does not know HTTP or models.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from garbage_cli.errors import ServerError
from garbage_cli.labels import Label
from garbage_cli.prediction import Prediction, Score

HUB_OK = "000"
HUB_FAILED = "101"
HUB_NO_MODULE = "111"
HUB_CONTENT_TYPE = "112"

MAX_IMAGES = 256
"""Images of one request."""


class RequestError(ValueError):
    """What is wrong with a request's body, in words for whoever sent it."""


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Encoded images, and how many classes to name of each (None: the server's own number)."""

    images: tuple[bytes, ...]
    top_k: int | None = None


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


def dumps(value: Any) -> bytes:
    """Return compact JSON, Chinese unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def parse_json(body: bytes) -> dict[str, Any]:
    """Read a JSON object from a request; raise RequestError that says what is wrong."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise RequestError('the body must be an object: {"images": ["<base64>", …]}')
    return value


def parse_predict(value: Mapping[str, Any]) -> PredictRequest:
    """Read `{"images": [base64, …], "top_k": n}`: PaddleHub's generation A, and our own JSON form."""
    if "images" not in value:
        raise RequestError('the key "images" is missing: {"images": ["<base64>", …]}')
    images = value["images"]
    if isinstance(images, str):
        raise RequestError('"images" is one string; send a list of base64 strings, also for a single image')
    if not isinstance(images, list) or not images:
        raise RequestError('"images" must be a list of base64 strings, and not empty')
    if len(images) > MAX_IMAGES:
        raise RequestError(f'"images" holds {len(images)} images; send at most {MAX_IMAGES} in one request')
    return PredictRequest(tuple(_decode(text, i) for i, text in enumerate(images)), parse_top_k(value.get("top_k")))


def parse_top_k(value: object) -> int | None:
    """Read a top_k from JSON or a query string; None means the server's own."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestError(f"top_k must be a whole number from 1, not {str(value)[:40]!r}")
    return value


def _decode(text: object, index: int) -> bytes:
    if not isinstance(text, str):
        raise RequestError(f"images[{index}] is not a string; send base64 of the image file")
    if text.startswith("data:"):
        raise RequestError(f'images[{index}] begins with "data:"; send only what follows "base64,"')
    if text.startswith(("http://", "https://", "file:", "/")) and len(text) < 2048 and "." in text:
        raise RequestError(f"images[{index}] looks like a URL or path; nothing is fetched, send base64 of the file")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(f"images[{index}] is not valid base64") from None
    if not data:
        raise RequestError(f"images[{index}] is empty")
    return data


def hub_reply(*, status: str, msg: str = "", results: object = "") -> bytes:
    """Return PaddleHub Serving's envelope as Flask wrote it: keys sorted, compact, a newline at the end."""
    return dumps({"msg": msg, "results": results, "status": status}) + b"\n"


def hub_results_a(predictions: Sequence[Prediction], *, seconds: float) -> list[list[object]]:
    """Return generation A's results: `[[class ids], [scores], seconds]` per image; `seconds` is for all of them."""
    share = seconds / max(1, len(predictions))
    return [[[each.label.class_id for each in p.scores], [each.score for each in p.scores], share] for p in predictions]
