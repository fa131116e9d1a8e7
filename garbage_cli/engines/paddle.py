"""Paddle Inference on the CPU, with oneDNN."""

from pathlib import Path

import numpy as np

from garbage_cli.engines import Batch
from garbage_cli.vendor import available_cores, paddle_inference


class PaddleEngine:
    """A Paddle predictor over the bundle's program and weights."""

    def __init__(self, program: Path, weights: Path, *, input_shape: tuple[int, int, int], threads: int) -> None:
        nothing = np.zeros((1, *input_shape), np.float32)
        try:
            self._open(program, weights, threads, onednn=True)
            self.infer(nothing)
        except RuntimeError:  # oneDNN lacks some shapes, such as a padded average pool over an odd side
            self._open(program, weights, threads, onednn=False)
            self.infer(nothing)

    def _open(self, program: Path, weights: Path, threads: int, *, onednn: bool) -> None:
        inference = paddle_inference("--engine paddle")
        config = inference.Config(str(program), str(weights))
        config.disable_gpu()
        if onednn:
            config.enable_mkldnn()
        else:
            config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(threads or available_cores())
        config.disable_glog_info()
        self._predictor = inference.create_predictor(config)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        self._input.reshape(inputs.shape)
        self._input.copy_from_cpu(np.ascontiguousarray(inputs))
        self._predictor.run()
        return np.asarray(self._output.copy_to_cpu(), np.float32)
