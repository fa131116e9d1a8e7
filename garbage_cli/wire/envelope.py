"""PaddleHub Serving's reply envelope: a status, a message, and the results.

Knows the envelope. What is in it: `hub`.
"""

from garbage_cli.wire.reading import dumps

HUB_OK = "000"
HUB_FAILED = "101"
HUB_NO_MODULE = "111"
HUB_CONTENT_TYPE = "112"


def hub_reply(*, status: str, msg: str = "", results: object = "") -> bytes:
    """Return the envelope as Flask writes it: all keys sorted, compact, a newline at the end."""
    return dumps({"msg": msg, "results": results, "status": status}, sort_keys=True) + b"\n"
