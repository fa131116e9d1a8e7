"""Runtimes that turn network inputs into scores, one module each, behind one Protocol.

Knows which runtimes exist and which a bundle and a machine have. Does not know images or labels.
"""

import importlib.util
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import ONNX_FILE, PADDLE_PROGRAMS, PADDLE_WEIGHTS, ModelBundle
from garbage_cli.errors import BundleError, ConfigError, MissingExtraError

Batch = NDArray[np.float32]


class Engine(Protocol):
    """A network ready to run. One call at a time: callers in several threads take turns."""

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        ...


@dataclass(frozen=True, slots=True)
class _Kind:
    module: str
    """The package it needs."""
    extra: str | None
    """The extra that brings it; None if the base install does."""
    files: tuple[tuple[str, ...], ...]
    """Of each group, the bundle must hold one."""


_KINDS = {
    "openvino": _Kind("openvino", None, ((ONNX_FILE,),)),
    "onnxruntime": _Kind("onnxruntime", "train", ((ONNX_FILE,),)),
    "paddle": _Kind("paddle", "train", (PADDLE_PROGRAMS, (PADDLE_WEIGHTS,))),
}
NAMES = tuple(_KINDS)
"""In the order in which `auto` prefers them."""


def is_installed(name: str) -> bool:
    """Say whether the package of an engine can be imported, without importing it."""
    return importlib.util.find_spec(_KINDS[name].module) is not None


def choose_engine(name: str, bundle: ModelBundle) -> str:
    """Turn `auto` or a name into an engine that is installed and whose files the bundle holds."""
    if name == "auto":
        proven = bundle.facts.get("parity") or NAMES  # an export names the engines that it found in agreement
        usable = [each for each in NAMES if each in proven and is_installed(each) and _holds_files(each, bundle)]
        if not usable:
            raise BundleError(f"{bundle.root} runs in {', '.join(proven)}: install one of them (pip install openvino)")
        return usable[0]
    if name not in _KINDS:
        raise ConfigError(f"no engine named {name!r}; use auto, {', '.join(NAMES)}")
    if not is_installed(name):
        raise MissingExtraError(f"--engine {name}", package=_KINDS[name].module, extra=_KINDS[name].extra or "all")
    if not _holds_files(name, bundle):
        raise BundleError(f"{bundle.root} holds no network for {name}; export the model again")
    return name


def _holds_files(name: str, bundle: ModelBundle) -> bool:
    return all(any(bundle.has(file) for file in group) for group in _KINDS[name].files)


def open_engine(name: str, bundle: ModelBundle, *, threads: int = 0) -> Engine:
    """Load the bundle's network into an engine (see `choose_engine`); `threads` 0 means all cores."""
    name = choose_engine(name, bundle)
    try:
        return _open(name, bundle, threads)
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BundleError(f"{name} can't load the network of {bundle.root}: {reason}") from error


def _open(name: str, bundle: ModelBundle, threads: int) -> Engine:
    if name == "openvino":
        from garbage_cli.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle.file(ONNX_FILE), threads=threads)
    if name == "onnxruntime":
        from garbage_cli.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(bundle.file(ONNX_FILE), threads=threads)
    from garbage_cli.engines.paddle import PaddleEngine

    program = next(file for file in PADDLE_PROGRAMS if bundle.has(file))
    files = bundle.file(program), bundle.file(PADDLE_WEIGHTS)
    return PaddleEngine(*files, input_shape=bundle.input_shape, threads=threads)
