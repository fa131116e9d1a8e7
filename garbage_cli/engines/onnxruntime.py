"""ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np

from garbage_cli.engines import Batch


class OnnxRuntimeEngine:
    """An inference session over the bundle's ONNX file."""

    def __init__(self, model: Path, *, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        return np.asarray(self._session.run(None, {self._input: inputs})[0], np.float32)
