"""PaddleClas's architectures by name, and weights for them from files and from the net.

Knows networks and weight files. Does not know our training. Weight files are pickles from strangers: they are read
by an unpickler that admits arrays and nothing else.
"""

import difflib
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import CheckpointError, ConfigError
from garbage_cli.storage import staged_file
from garbage_cli.vendor import backbones, paddle
from garbage_cli.zoo.heads import head_of as head_of

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Fit:
    """How pretrained weights went into a network."""

    loaded: int
    """Tensors taken over."""
    total: int
    """Tensors the network has."""
    replaced: tuple[str, ...]
    """The head's tensors, which had another class count and start afresh."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Progress of a download."""

    done: int
    """Bytes so far."""
    total: int | None
    """Bytes in all, where the server says."""


def architectures() -> list[str]:
    """Return the names of PaddleClas's networks."""
    module = backbones("listing networks")
    return sorted(name for name in module.__all__ if hasattr(module, name) and name[0].isupper())


def build(name: str, *, class_count: int, lr_mult: tuple[float, ...] | None = None) -> tuple[Any, bool]:
    """Build a network by name; say whether it took the learning-rate multipliers.

    The names of its parameters do not depend on what was built before, so that a saved optimiser state fits.
    """
    module = backbones("training")
    factory = getattr(module, name, None)
    if factory is None or name.startswith("_"):
        near = difflib.get_close_matches(name, architectures(), n=3, cutoff=0.4)
        raise ConfigError(
            f"PaddleClas has no network named {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "")
        )
    with paddle("training").utils.unique_name.guard():
        if lr_mult:
            try:
                network = factory(class_num=class_count, lr_mult_list=list(lr_mult))
                return network, _has_multipliers(network)
            except (TypeError, AssertionError):  # takes none, or another number of them
                pass
        return factory(class_num=class_count), False


def _has_multipliers(network: Any) -> bool:
    return any(p.optimize_attr["learning_rate"] != 1.0 for p in network.parameters())


class _Dtype:
    """Stands in for numpy.dtype: a plain number type. Numpy's own takes a state that can lie about memory."""

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        if name not in _NUMBER_TYPES:
            raise CheckpointError(f"it holds {name!r} values, and not plain numbers")
        self.plain: np.dtype[Any] = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(">" if state[1] == ">" else "<")


class _Array:
    """Stands in for numpy.ndarray: takes the state that numpy pickles, and checks it against the bytes there are."""

    def __init__(self, *arguments: object) -> None:
        self.value: NDArray[Any] = np.empty(0, np.float32)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise CheckpointError("it holds an array of something else than numbers")
        flat = np.frombuffer(raw, dtype.plain)
        self.value = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.plain.newbyteorder("="))


def _scalar(dtype: _Dtype, raw: bytes) -> object:
    return np.frombuffer(raw, dtype.plain)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


_NUMBER_TYPES = frozenset(f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)) - {"f1"} | {"b1"}
_STAND_INS: dict[tuple[str, str], Any] = {
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in ("numpy.core", "numpy._core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays and plain containers out of stand-ins of ours: nothing that a weight file names is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise CheckpointError(f"it asks for {module}.{name}, which no weight file needs; do not trust it")
        return _STAND_INS[module, name]


def _unwrapped(value: Any) -> Any:
    """Replace the stand-ins by the arrays they hold."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _unwrapped(item) for key, item in value.items()}
    return [_unwrapped(item) for item in value] if isinstance(value, list | tuple) else value


def read_state(path: Path) -> dict[str, Any]:
    """Read a file that `paddle.save` wrote from a dict: arrays and plain values, nothing that can run.

    Raises CheckpointError if it is damaged, or asks for anything but arrays.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    try:
        state = _unwrapped(_ArrayUnpickler(io.BytesIO(data)).load())
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not safe to load: {error}") from None
    except Exception:  # noqa: BLE001 - damaged pickles raise almost anything, and nothing that helps
        raise CheckpointError(f"{path} is not a Paddle weight file, or is damaged") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds {type(state).__name__}, not named tensors")
    state.pop("StructuredToParameterName@@", None)
    return state


def read_weights(path: Path) -> Arrays:
    """Read a .pdparams file: name → array."""
    state = read_state(path)
    for name, value in state.items():
        if not isinstance(value, np.ndarray):
            raise CheckpointError(f"{path}: {name} is not an array")
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {name} holds values that are no numbers; these weights are spoilt")
    if not state:
        raise CheckpointError(f"{path} holds no tensor")
    return state


def load_exactly(network: Any, weights: Mapping[str, NDArray[Any]], *, source: Path) -> None:
    """Give a network all of its own weights; raise CheckpointError if one is missing or of another shape."""
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [name for name, shape in own.items() if name not in weights or weights[name].shape != shape]
    if wrong:
        raise CheckpointError(f"{source} does not fit the network: {len(wrong)} tensors differ, first {wrong[0]}")
    network.set_state_dict({name: _as(tensor, weights[name]) for name, tensor in network.state_dict().items()})


def _as(tensor: Any, value: NDArray[Any]) -> NDArray[Any]:
    """The values in the number type that the network has them in."""
    return value.astype(str(tensor.dtype).rpartition(".")[2])


def load_pretrained(network: Any, weights: Mapping[str, NDArray[Any]], *, class_count: int, source: str) -> Fit:
    """Start a network from the weights of a like one; its head may have another class count, nothing else may differ.

    Raises CheckpointError if anything but the head is missing or of another shape.
    """
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    fitting = {name: weights[name] for name, shape in own.items() if name in weights and weights[name].shape == shape}
    others = [name for name in own if name not in fitting]
    strange = [
        name for name in others if name not in weights or not _is_head(own[name], weights[name].shape, class_count)
    ]
    if strange:
        raise CheckpointError(
            f"{source} does not fit {type(network).__name__}: {len(fitting)} of {len(own)} tensors match; "
            f"first that does not: {strange[0]}"
        )
    network.set_state_dict(
        {
            name: _as(tensor, fitting[name]) if name in fitting else tensor
            for name, tensor in network.state_dict().items()
        }
    )
    return Fit(len(fitting), len(own), tuple(others))


def _is_head(own: tuple[int, ...], other: tuple[int, ...], class_count: int) -> bool:
    """A linear layer's weight (in, classes) or bias (classes): alike but for the class count."""
    return len(own) == len(other) <= 2 and own[:-1] == other[:-1] and own[-1] == class_count


def weights_url(name: str, *, ssld: bool) -> str:
    """Return where PaddleClas publishes the weights of a network; raise ConfigError where it publishes none."""
    module = backbones("finding weights")
    factory = getattr(module, name, None)
    urls: dict[str, str] = getattr(_defining_module(factory), "MODEL_URLS", {}) if factory else {}
    url = urls.get(name, "")
    if not url:
        raise ConfigError(f"PaddleClas publishes no weights for {name}; use --pretrained none, or a file")
    return url.replace("_pretrained", "_ssld_pretrained") if ssld and "ssld" not in url else url


def _defining_module(factory: Callable[..., Any]) -> Any:
    return sys.modules[factory.__module__]


def cached_weights(url: str) -> Path:
    """Return where the weights of a URL lie, or will lie, in the platform's cache folder."""
    from platformdirs import user_cache_path

    parts = urlparse(url)
    names = [name for name in parts.path.split("/") if name not in ("", ".", "..")]
    return user_cache_path("garbage").joinpath("weights", parts.hostname or "", *names)


def fetch(url: str) -> Iterator[Fetched]:
    """Download weights to `cached_weights(url)`, unless they are there; yield progress.

    Proxies are taken from the environment. Raises CheckpointError that says where to put the file by hand.
    """
    import httpx

    try:
        target = cached_weights(url)
    except ValueError as error:
        raise CheckpointError(f"{url!r} is no address: {error}") from None
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            staged_file(target) as temporary,
            temporary.open("wb") as file,
            httpx.stream("GET", url, follow_redirects=True, timeout=30) as reply,
        ):
            reply.raise_for_status()
            yield from _save(reply, file)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError) as error:  # ImportError: a SOCKS proxy without its package
        raise CheckpointError(
            f"can't fetch {url}: {error}; without a network, put the file at {target}, "
            "or use --pretrained FILE or --pretrained none"
        ) from None


def _save(reply: Any, file: Any) -> Iterator[Fetched]:
    length = reply.headers.get("content-length")
    total = int(length) if length and "content-encoding" not in reply.headers else None
    done = 0
    for chunk in reply.iter_bytes(1 << 18):
        file.write(chunk)
        done += len(chunk)
        yield Fetched(done, total)
    if total is not None and done != total:
        raise CheckpointError(f"{reply.url}: {done:,} of {total:,} bytes came; try again")
