"""The OpenAPI document of a server: what stands in openapi.yaml, with the facts of the model that is served.

Knows the document's form. Does not know the routes' code, nor how the document is shown.
"""

import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_METHODS = ("get", "post")


def document(
    *, version: str, model: str, classes: int, input_shape: tuple[int, int, int], needs_key: bool
) -> dict[str, Any]:
    """Return the document of a server with this model; `input_shape` is channels, height, width of its input.

    Without `needs_key` nothing in it speaks of keys.
    """
    channels, height, width = input_shape
    facts = {"version": version, "model": model, "classes": classes, "last_class": classes - 1}
    facts |= {"channels": channels, "height": height, "width": width}
    filled = _filled(_template(), facts)
    assert isinstance(filled, dict)
    if not needs_key:
        _drop_keys(filled)
    _add_request_id(filled)
    return filled


@functools.cache
def _template() -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((files(__package__) / "openapi.yaml").read_bytes(), loader)


def _filled(node: Any, facts: Mapping[str, object]) -> Any:
    """A copy with the facts in: `$classes` alone becomes the number, within a text its digits."""
    if isinstance(node, dict):
        return {key: _filled(value, facts) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(each, facts) for each in node]
    if not isinstance(node, str) or "$" not in node:
        return node
    if node[1:] in facts:
        return facts[node[1:]]
    return re.sub(r"\$(\w+)", lambda found: str(facts[found[1]]), node)


def _operations(filled: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [path[method] for path in filled["paths"].values() for method in _METHODS if method in path]


def _drop_keys(filled: dict[str, Any]) -> None:
    del filled["components"]["securitySchemes"], filled["components"]["responses"]["Unauthorized"]
    for operation in _operations(filled):
        operation.pop("security", None)
        operation["responses"].pop("401", None)


def _add_request_id(filled: dict[str, Any]) -> None:
    """Give every reply the header that all have."""
    replies = [reply for operation in _operations(filled) for reply in operation["responses"].values()]
    for reply in [*replies, *filled["components"]["responses"].values()]:
        if "$ref" not in reply:
            reply.setdefault("headers", {})["X-Request-Id"] = {"$ref": "#/components/headers/X-Request-Id"}
