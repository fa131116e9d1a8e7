"""OpenVINO on the CPU, in 32-bit floats."""

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
