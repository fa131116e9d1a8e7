"""OpenVINO on the CPU, in 32-bit floats."""

import threading
from pathlib import Path

import numpy as np

from garbage_cli.engines import Batch


class OpenVinoEngine:
    """A compiled model with one request, tuned for the time of a single photo."""

    def __init__(self, model: Path, *, threads: int) -> None:
        import openvino as ov
        from openvino import properties
        from openvino.properties import hint

        settings = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            hint.inference_precision: ov.Type.f32,  # on CPUs with bf16 the default is bf16, off by up to 1e-2
        }
        if threads:
            settings[properties.inference_num_threads] = threads
        self._request = ov.Core().compile_model(str(model), "CPU", settings).create_infer_request()

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        outputs = self._request.infer([inputs], share_inputs=True)
        return np.array(outputs[0], np.float32)


class OpenVinoStreams:
    """A compiled model with a stream for each core, tuned for many inputs: callers in several threads don't wait."""

    def __init__(self, model: Path, *, streams: int) -> None:
        import openvino as ov
        from openvino import properties
        from openvino.properties import hint

        settings = {
            hint.performance_mode: hint.PerformanceMode.THROUGHPUT,
            hint.inference_precision: ov.Type.f32,
            properties.num_streams: streams,
        }
        self._model = ov.Core().compile_model(str(model), "CPU", settings)
        self._own = threading.local()

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to the network's first output."""
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        return np.array(self._own.request.infer([inputs], share_inputs=True)[0], np.float32)
