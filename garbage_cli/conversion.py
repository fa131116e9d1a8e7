"""A Paddle network → files that inference engines read.

Knows Paddle's export and the ONNX converter. Does not know checkpoints, bundles' manifests or training.
"""

import contextlib
from pathlib import Path
from typing import Any

from garbage_cli.bundle import ONNX_FILE, PADDLE_PROGRAMS, PADDLE_WEIGHTS
from garbage_cli.errors import BundleError
from garbage_cli.vendor import paddle, paddle2onnx, silenced

OPSET = 17
"""Of the ONNX file: what OpenVINO 2023, ONNX Runtime 1.13 and later read."""


def save_program(network: Any, folder: Path, *, crop: int, old: bool = False) -> None:
    """Write a network of inputs (n, 3, crop, crop) as Paddle's inference program and weights.

    `old` writes inference.pdmodel, which Paddle 2 reads too, in place of inference.json.
    """
    module = paddle("garbage export")
    with module.pir_utils.OldIrGuard() if old else contextlib.nullcontext():
        spec = module.static.InputSpec([None, 3, crop, crop], "float32", name="x")
        module.jit.save(module.jit.to_static(network, input_spec=[spec], full_graph=True), str(folder / "inference"))


def save_onnx(folder: Path) -> None:
    """Write the ONNX file beside Paddle's program; raise BundleError if the converter can't."""
    program = next(folder / name for name in PADDLE_PROGRAMS if (folder / name).is_file())
    converter = paddle2onnx("garbage export")
    with silenced():
        # its default optimiser calls pip, which lifts numpy and breaks the environment
        converter.export(
            str(program),
            str(folder / PADDLE_WEIGHTS),
            str(folder / ONNX_FILE),
            opset_version=OPSET,
            optimize_tool=None,
        )
    if not (folder / ONNX_FILE).is_file():
        raise BundleError("paddle2onnx could not convert this network")
