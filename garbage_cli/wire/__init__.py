"""The shapes of requests and replies, shared by server, client and PaddleHub's module.

`v1` is our own, `hub` PaddleHub Serving's three, `v2` the Open Inference Protocol. Knows the shapes. Does not know HTTP
or models. `hub` and `v2` need numpy, and are imported by who needs them: the client does not.
"""

from garbage_cli.wire.envelope import HUB_CONTENT_TYPE, HUB_FAILED, HUB_NO_MODULE, HUB_OK, hub_reply
from garbage_cli.wire.reading import MAX_IMAGES, RequestError, dumps, parse_json, parse_top_k
from garbage_cli.wire.v1 import PredictRequest, parse_predict, prediction_from_json, prediction_to_json

__all__ = [
    "HUB_CONTENT_TYPE",
    "HUB_FAILED",
    "HUB_NO_MODULE",
    "HUB_OK",
    "MAX_IMAGES",
    "PredictRequest",
    "RequestError",
    "dumps",
    "hub_reply",
    "parse_json",
    "parse_predict",
    "parse_top_k",
    "prediction_from_json",
    "prediction_to_json",
]
