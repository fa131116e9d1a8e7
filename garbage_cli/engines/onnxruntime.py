"""ONNX Runtime on the CPU, in 32-bit floats."""

from pathlib import Path

import numpy as np

from garbage_cli.engines import Batch


class OnnxRuntimeEngine:
    """An inference session over the bundle's ONNX file."""

    def __init__(self, model: Path, *, callers: int, threads: int) -> None:
        """`callers` 1: all threads work at one input; more: each caller has a thread, its own."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, threads // callers)
        options.log_severity_level = 3
        self.callers = callers
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        return np.asarray(self._session.run(None, {self._input: inputs})[0], np.float32)
