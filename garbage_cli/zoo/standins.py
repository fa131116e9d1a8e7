"""What a weight file may name, and what stands in for it: arrays, number types and plain containers.

Knows how numpy and Paddle pickle their things. Does not know the pickle format. Numpy's own constructors are not used:
they take a state that can lie about memory, so that raw bytes pass for pointers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class Unsafe(Exception):
    """The file asks for something that no weight file needs."""


class Damaged(Exception):
    """The file is no pickle, breaks off, or does not hold together."""


@dataclass(slots=True, eq=False)
class Name:
    """What a file names, instead of the thing itself."""

    make: Callable[..., object] | None


@dataclass(slots=True, eq=False)
class Dtype:
    """A number type, on its way."""

    plain: np.dtype[Any]

    def complete(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(">" if state[1] == ">" else "<")


@dataclass(slots=True, eq=False)
class Array:
    """An array, on its way: numpy writes an empty one first, and its content as a state."""

    value: np.ndarray[Any, Any]

    def complete(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: object, dtype: object, shape: object, order: str = "C") -> np.ndarray[Any, Any]:
    """An array of the bytes that there are; numpy refuses a shape that says otherwise."""
    data = raw.encode("latin-1") if isinstance(raw, str) else raw  # Python 2 wrote bytes as text
    if not isinstance(dtype, Dtype) or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
        raise Unsafe("it holds an array of something else than numbers")
    flat = np.frombuffer(data, dtype.plain)
    return flat.reshape(shape, order="F" if order == "F" else "C").astype(dtype.plain.newbyteorder("="))


def _make_dtype(name: object, *_: object) -> Dtype:
    if not isinstance(name, str) or name not in _NUMBER_TYPES:
        raise Unsafe(f"it holds {name!r:.40} values, and not plain numbers")
    return Dtype(np.dtype(name))


def _make_scalar(dtype: Dtype, raw: object) -> object:
    return _array(raw, dtype, ()).item()


def _make_array(*_: object) -> Array:
    return Array(np.empty(0, np.float32))


def _make_whole_array(raw: object, dtype: object, shape: object, order: str) -> Array:
    return Array(_array(raw, dtype, shape, order))


def _make_bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


def _make_dict(items: object = ()) -> dict[Any, Any]:
    """Empty, or of pairs as Python 2 wrote them."""
    if not isinstance(items, list | tuple) or not all(type(each) is list and len(each) == 2 for each in items):
        raise Damaged
    if not all(isinstance(key, str | int) for key, _ in items):
        raise Damaged
    return {key: value for key, value in items}  # noqa: C416 - the lists are known to be pairs


def _make_tuple(items: object) -> tuple[Any, ...]:
    """A tensor that was saved by itself: its name and its values."""
    if not isinstance(items, tuple):
        raise Damaged
    return items


_NUMBER_TYPES = frozenset(f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)) - {"f1"} | {"b1"}
_CORES = ("numpy.core", "numpy._core")
NAMES: Mapping[str, Callable[..., object] | None] = {
    **{f"{core}.multiarray _reconstruct": _make_array for core in _CORES},
    **{f"{core}.multiarray scalar": _make_scalar for core in _CORES},
    **{f"{core}.numeric _frombuffer": _make_whole_array for core in _CORES},
    "numpy ndarray": None,  # only ever an argument of _reconstruct
    "numpy dtype": _make_dtype,
    "collections OrderedDict": _make_dict,
    "_codecs encode": _make_bytes,
    "builtins tuple": _make_tuple,
    "__builtin__ tuple": _make_tuple,
    "builtins bytearray": lambda data=b"": bytes(data) if isinstance(data, bytes) else b"",
}
