"""PaddleHub Serving's reply envelope: a status, a message, and the results.

Knows the envelope. What is in it: `hub`.
"""

from collections.abc import Sequence

from garbage_cli.prediction import Prediction
from garbage_cli.wire.reading import dumps

HUB_OK = "000"
HUB_FAILED = "101"
HUB_NO_MODULE = "111"
HUB_CONTENT_TYPE = "112"


def hub_reply(*, status: str, msg: str = "", results: object = "") -> bytes:
    """Return the envelope as Flask wrote it: its keys sorted, compact, a newline at the end."""
    return dumps({"msg": msg, "results": results, "status": status}) + b"\n"


def hub_results_a(predictions: Sequence[Prediction], *, seconds: float) -> list[list[object]]:
    """Return generation A's results: `[[class ids], [scores], seconds]` per image; `seconds` is for all of them.

    Both lists of an image that failed are empty.
    """
    share = seconds / max(1, len(predictions))
    return [[[each.label.class_id for each in p.scores], [each.score for each in p.scores], share] for p in predictions]
