"""A network in 32-bit floats → the same in 8-bit whole numbers, by post-training quantisation with NNCF.

Knows NNCF and OpenVINO's files. Does not know photos, bundles' manifests, or whether the result is good enough.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import INT8_MODEL
from garbage_cli.errors import BundleError
from garbage_cli.vendor import nncf as vendored_nncf
from garbage_cli.vendor import openvino, silenced

ATTEMPTS = (0, 10)
"""How many of the first convolutions stay in floats, one attempt after the other: they bear 8 bits worst."""


def quantise(onnx: Path, inputs: Sequence[NDArray[np.float32]], folder: Path, *, keep: int) -> None:
    """Write the quantised network into `folder`, its ranges taken from `inputs`, each (1, 3, height, width).

    The first `keep` convolutions stay in floats. Raises MissingExtraError without NNCF, BundleError if it can't.
    """
    nncf = vendored_nncf("quantisation")
    with silenced():
        ov = openvino()
        try:
            model = ov.Core().read_model(str(onnx))
            done = nncf.quantize(
                model,
                nncf.Dataset(list(inputs)),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(names=_first_convolutions(model, keep)) if keep else None,
            )
            ov.save_model(done, str(folder / INT8_MODEL[0]), compress_to_fp16=False)
        except (
            RuntimeError,
            ValueError,
            nncf.ValidationError,
            nncf.InternalError,
            nncf.UnsupportedModelError,
        ) as error:
            raise BundleError(f"this network can't be quantised: {' '.join(str(error).split())[:200]}") from None


def _first_convolutions(model: Any, count: int) -> list[str]:
    kinds = ("Convolution", "GroupConvolution")
    return [each.get_friendly_name() for each in model.get_ordered_ops() if each.get_type_name() in kinds][:count]
