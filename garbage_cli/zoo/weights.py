"""Weight files, and weights put into networks.

Knows the names and shapes of tensors. Does not know where files come from, nor what a network is trained for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import CheckpointError
from garbage_cli.zoo.pickles import read_pickle

Arrays = dict[str, NDArray[Any]]

SUFFIX = ".pdparams"


@dataclass(frozen=True, slots=True)
class Fit:
    """How pretrained weights went into a network."""

    loaded: int
    """Tensors taken over."""
    total: int
    """Tensors the network has."""
    replaced: tuple[str, ...]
    """The head's tensors, which had another class count and start afresh."""
    prefix: str = ""
    """What all names began with and the network's do not, such as `Student.`: it was taken off."""


def weights_file(path: Path) -> Path:
    """Return the file that a path means: PaddleClas's users leave `.pdparams` out. Raises CheckpointError if none."""
    named = path.with_name(path.name + SUFFIX) if path.name else path
    for candidate in (path, named):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        inside = sorted(each.name for each in path.glob("*" + SUFFIX))
        if len(inside) == 1:
            return path / inside[0]
        found = f"holds {', '.join(inside[:5])}; name one" if inside else f"holds no {SUFFIX} file"
        raise CheckpointError(f"{path} is a folder and {found}")
    raise CheckpointError(f"{path}: no such file" + ("" if path.suffix == SUFFIX else f", nor {named.name}"))


def read_state(path: Path) -> dict[str, Any]:
    """Read a file that `paddle.save` wrote from a dict: arrays and plain values, nothing that can run.

    Raises CheckpointError if it is damaged, or asks for anything but arrays.
    """
    state = read_pickle(path)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds {type(state).__name__}, not named tensors")
    state.pop("StructuredToParameterName@@", None)
    return state


def read_weights(path: Path) -> Arrays:
    """Read a .pdparams file: name → array. Raises CheckpointError if it holds anything else, or no numbers."""
    state = {name: _unnamed(value) for name, value in read_state(path).items()}
    checked: dict[int, NDArray[Any]] = {}  # one array may have many names
    for name, value in state.items():
        if not isinstance(value, np.ndarray) or not isinstance(name, str):
            raise CheckpointError(f"{path}: {name} is not an array")
        if id(value) not in checked:
            checked[id(value)] = _widened(value)
            if not np.isfinite(checked[id(value)]).all():
                raise CheckpointError(f"{path}: {name} holds values that are no numbers; these weights are spoilt")
    if not state:
        raise CheckpointError(f"{path} holds no tensor")
    return {name: checked[id(value)] for name, value in state.items()}


def _unnamed(value: Any) -> Any:
    """The values of a tensor that was saved with its name."""
    pair = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
    return value[1] if pair else value


def _widened(value: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 as float32, which begins with the same 16 bits: numpy has no type for it, and Paddle gives it uint16."""
    return (value.astype(np.uint32) << 16).view(np.float32) if value.dtype == np.uint16 else value


def load_exactly(network: Any, weights: Mapping[str, NDArray[Any]], *, source: Path) -> None:
    """Give a network all of its own weights; raise CheckpointError if one is missing or of another shape."""
    own = _shapes(network)
    wrong = [name for name, shape in own.items() if name not in weights or weights[name].shape != shape]
    if wrong:
        raise CheckpointError(f"{source} does not fit the network: {len(wrong)} tensors differ, first {wrong[0]}")
    network.set_state_dict({name: _as(tensor, weights[name]) for name, tensor in network.state_dict().items()})


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _as(tensor: Any, value: NDArray[Any]) -> NDArray[Any]:
    """The values in the number type that the network has them in."""
    return value.astype(str(tensor.dtype).rpartition(".")[2])


def load_pretrained(network: Any, weights: Mapping[str, NDArray[Any]], *, class_count: int, source: str) -> Fit:
    """Start a network from the weights of a like one; its head may have another class count, nothing else may differ.

    Names may all have one prefix that the network's have not, as in PaddleClas's checkpoints of distillation; of
    several networks in one file the student is taken. Raises CheckpointError if anything but the head is missing or
    of another shape.
    """
    own = _shapes(network)
    weights, prefix = _without_prefix(weights, own)
    fitting = {name: weights[name] for name, shape in own.items() if name in weights and weights[name].shape == shape}
    others = [name for name in own if name not in fitting]
    strange = [
        name for name in others if name not in weights or not _is_head(own[name], weights[name].shape, class_count)
    ]
    if strange or not fitting:
        raise CheckpointError(
            f"{source} does not fit {type(network).__name__}: {len(fitting)} of {len(own)} tensors match; "
            f"first that does not: {(strange or others)[0]}"
        )
    state = network.state_dict()
    network.set_state_dict({name: _as(t, fitting[name]) if name in fitting else t for name, t in state.items()})
    return Fit(len(fitting), len(own), tuple(others), prefix)


STUDENT = "Student."


def _without_prefix(weights: Mapping[str, Any], own: dict[str, tuple[int, ...]]) -> tuple[Mapping[str, Any], str]:
    """The weights under the names that the network has, and what was taken off."""
    if any(name in weights for name in own):
        return weights, ""
    last = next(reversed(own), "")
    prefixes = {name.removesuffix(last) for name in weights if last and name.endswith("." + last)}
    chosen = STUDENT if STUDENT in prefixes else prefixes.pop() if len(prefixes) == 1 else ""
    if not chosen:
        return weights, ""
    return {name.removeprefix(chosen): value for name, value in weights.items() if name.startswith(chosen)}, chosen


def _is_head(own: tuple[int, ...], other: tuple[int, ...], class_count: int) -> bool:
    """A linear layer's weight (in, classes) or bias (classes): alike but for the class count."""
    return len(own) == len(other) <= 2 and own[:-1] == other[:-1] and own[-1] == class_count
