"""Runtimes that turn network inputs into scores, one module each, behind one Protocol.

Knows which runtimes exist, what each needs, and how to open one. Which of them is taken: `choosing`. Does not know
images or labels.
"""

import importlib.util
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import INT8_MODEL, ONNX_FILE, PADDLE_PROGRAMS, PADDLE_WEIGHTS, ModelBundle
from garbage_cli.errors import BundleError, GarbageError
from garbage_cli.vendor import available_cores

Batch = NDArray[np.float32]


class Engine(Protocol):
    """A network ready to run."""

    callers: int
    """How many threads can have something inferred side by side; more may call, and wait."""

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine with the numbers it computes in."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked of an engine beyond its name, in the words of PaddleClas's own predictor."""

    use_gpu: bool = False
    """Paddle only, and a Paddle with CUDA."""
    gpu_id: int = 0
    gpu_mem: int = 8000
    """MB that Paddle takes of the GPU at the start."""
    use_tensorrt: bool = False
    """Paddle on a GPU only."""
    enable_mkldnn: bool = True
    """oneDNN, Paddle on a CPU only: several times as fast as without."""
    cpu_num_threads: int = 0
    """0 means all cores."""

    @property
    def for_paddle(self) -> bool:
        """Whether something is asked that only Paddle has."""
        return self != Options(cpu_num_threads=self.cpu_num_threads)


@dataclass(frozen=True, slots=True)
class Kind:
    """What an engine needs and can do."""

    module: str
    """The package it needs."""
    extra: str | None
    """The extra that brings it; None if the base install does."""
    files: dict[str, tuple[tuple[str, ...], ...]]
    """By precision: of each group, the bundle must hold one."""


_PROGRAM = (PADDLE_PROGRAMS, (PADDLE_WEIGHTS,))
_ONNX = ((ONNX_FILE,),)
KINDS = {
    "openvino": Kind("openvino", None, {"f32": _ONNX, "bf16": _ONNX, "int8": ((INT8_MODEL[0],), (INT8_MODEL[1],))}),
    "onnxruntime": Kind("onnxruntime", "train", {"f32": _ONNX}),
    "paddle": Kind("paddle", "train", {"f32": _PROGRAM}),
}
NAMES = tuple(KINDS)
PRECISIONS = ("f32", "bf16", "int8")


def is_installed(name: str) -> bool:
    """Say whether the package of an engine can be imported, without importing it."""
    return importlib.util.find_spec(KINDS[name].module) is not None


def holds_files(choice: Choice, bundle: ModelBundle) -> bool:
    """Say whether the bundle has a network of this precision for this engine."""
    groups = KINDS[choice.engine].files.get(choice.precision)
    return groups is not None and all(any(bundle.has(file) for file in group) for group in groups)


def open_engine(
    choice: Choice,
    bundle: ModelBundle,
    *,
    parallel: bool = False,
    threads: int = 0,
    options: Options | None = None,
    kept: bool = True,
) -> Engine:
    """Load the bundle's network into an engine, by its compiled form if that is `kept`.

    `parallel` means one core per caller, for many photos; else all cores work at one photo. `threads` 0 means all
    cores. Raises BundleError if a file was altered or the engine can't load the network.
    """
    options = options or Options()
    threads = options.cpu_num_threads or threads or available_cores()
    try:
        engine = _open(choice, bundle, parallel, threads, options, kept)
        classes = engine.infer(np.zeros((1, *bundle.input_shape), np.float32)).shape[1:]
    except GarbageError:  # an altered file, a package that is not there
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BundleError(f"{choice} can't load the network of {bundle.root}: {reason}") from error
    if classes != (len(bundle.labels),):
        raise BundleError(f"{bundle.root} has {len(bundle.labels)} labels for a network that gives {classes} numbers")
    return engine


def _open(choice: Choice, bundle: ModelBundle, parallel: bool, threads: int, options: Options, kept: bool) -> Engine:
    callers = threads if parallel else 1
    if choice.engine == "openvino":
        from garbage_cli.engines.openvino import OpenVinoEngine

        names = INT8_MODEL if choice.precision == "int8" else (ONNX_FILE,)
        model, *_ = [bundle.file(name) for name in names]
        content = " ".join(str(bundle.files[name]["sha256"]) for name in names) if kept else None
        return OpenVinoEngine(
            model, precision=choice.precision, callers=callers, threads=threads, content=content, one=True
        )
    if choice.engine == "onnxruntime":
        from garbage_cli.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(bundle.file(ONNX_FILE), callers=callers, threads=threads)
    from garbage_cli.engines.paddle import PaddleEngine

    program = next(file for file in PADDLE_PROGRAMS if bundle.has(file))
    return PaddleEngine(
        bundle.file(program),
        bundle.file(PADDLE_WEIGHTS),
        input_shape=bundle.input_shape,
        callers=1,  # measured: several side by side, a thread each, are slower
        threads=threads,
        options=options,
    )
