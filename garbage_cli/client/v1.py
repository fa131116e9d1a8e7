"""The protocol of `garbage serve`: a photo as a raw body in, an object out.

Knows the route and its statuses. Does not know HTTP.
"""

import math

from garbage_cli.client.sending import Reply, Request
from garbage_cli.errors import ServerError
from garbage_cli.prediction import Prediction
from garbage_cli.wire import prediction_from_json


class V1:
    """/v1/predict of one server."""

    words = "a server of garbage's own: photos go to /v1/predict"

    def __init__(self, *, shown: str, top_k: int | None) -> None:
        """`shown` is how the server's address is written in messages."""
        self._shown = shown
        self._path = "/v1/predict" if top_k is None else f"/v1/predict?top_k={top_k}"

    def requests(self, data: bytes) -> list[Request]:
        """Return the only request there is for a photo."""
        return [Request(self._path, data, "application/octet-stream")]

    def read(self, reply: Reply, image: str) -> Prediction:
        """Return the photo's answer; raise ServerError if the reply is none of garbage's."""
        value = reply.json()
        results = value.get("results") if isinstance(value, dict) else None
        if reply.status not in (200, 422) or not isinstance(results, list) or len(results) != 1:
            raise ServerError(f"{self._shown} answered {reply.status}: {reply.said or 'not a reply of garbage serve'}")
        try:
            prediction = prediction_from_json(results[0], image=image)
            good = all(math.isfinite(each.score) and _is_bin(each.label.bin_name) for each in prediction.scores)
        except OverflowError:  # a class number without end
            good = False
        if not good or (prediction.error is None and not prediction.scores):
            raise ServerError(f"{self._shown} answered {reply.status}: not a reply of garbage serve")
        return prediction


def _is_bin(value: object) -> bool:
    return value is None or isinstance(value, str)
