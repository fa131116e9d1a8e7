"""Values, a stranger's manifest among them → JSON that every program can read.

Knows what JSON can hold. Does not know what the values mean.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from garbage_cli.evaluation.values import Evaluation

DEEPEST = 40
"""How deep values may nest; what is deeper is left out."""
LONGEST = 200
"""Characters of what is no JSON and is told as text."""
BITS = 1024
"""Of a whole number, as far as a double reaches; a longer one is told as text."""


def dumps(value: object) -> str:
    """Return JSON in the strict sense, indented, Chinese unescaped: what is no number is null."""
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError):
        return _dumps(plain(value))


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)


def plain(value: object, *, depth: int = DEEPEST) -> Any:
    """Return what JSON can hold of a value of any type."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if value.bit_length() <= BITS else f"a number of {value.bit_length():,} bits"
        case float():
            return value if math.isfinite(value) else None
        case Mapping() if depth:
            return {_text(key): plain(each, depth=depth - 1) for key, each in value.items()}
        case list() | tuple() if depth:
            return [plain(each, depth=depth - 1) for each in value]
        case Mapping() | list() | tuple():
            return "…"
    return _text(value)


def tamed(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with what a stranger's file says of the model as values that can be shown and written."""
    subject = evaluation.subject
    versions: object = subject.versions
    epoch: object = subject.epoch
    named = {_text(name): _text(version) for name, version in versions.items()} if isinstance(versions, Mapping) else {}
    known = epoch if isinstance(epoch, int) and 0 <= epoch < 1 << BITS else None
    return replace(evaluation, subject=replace(subject, config=plain(subject.config), versions=named, epoch=known))


def _text(value: object) -> str:
    """A value as a short text."""
    try:
        text = str(value)
    except (ValueError, RecursionError):
        return "…"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
