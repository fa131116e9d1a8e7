"""Paddle Inference: on the CPU with or without oneDNN, on a GPU with or without TensorRT."""

import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.engines import Batch, Options
from garbage_cli.vendor import paddle, paddle_inference

FIRST_WITH_JSON = 3
"""The Paddle release that brought inference.json; those before it crash over one."""


class PaddleEngine:
    """Paddle predictors over the bundle's program and weights, one for each caller; they share the weights."""

    def __init__(
        self,
        program: Path,
        weights: Path,
        *,
        input_shape: tuple[int, int, int],
        callers: int,
        threads: int,
        options: Options | None = None,
    ) -> None:
        options = options or Options()
        _check(program, options)
        self.callers = callers
        nothing = np.zeros((1, *input_shape), np.float32)
        share = max(1, threads // callers)
        try:
            self._open(program, weights, options, threads=share, onednn=options.enable_mkldnn)
            self.infer(nothing)
        except RuntimeError:  # oneDNN lacks some shapes, such as a padded average pool over an odd side
            if options.use_gpu or not options.enable_mkldnn:
                raise
            self._open(program, weights, options, threads=share, onednn=False)
            self.infer(nothing)

    def _open(self, program: Path, weights: Path, options: Options, *, threads: int, onednn: bool) -> None:
        inference = paddle_inference("--engine paddle")
        config = inference.Config(str(program), str(weights))
        if options.use_gpu:
            config.enable_use_gpu(options.gpu_mem, options.gpu_id)
            if options.use_tensorrt:
                config.enable_tensorrt_engine(precision_mode=inference.PrecisionType.Float32, max_batch_size=1)
        else:
            config.disable_gpu()
            if onednn:
                config.enable_mkldnn()
            else:
                config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(threads)
        config.disable_glog_info()
        first = inference.create_predictor(config)
        self._free: queue.SimpleQueue[tuple[ThreadPoolExecutor, Any]] = queue.SimpleQueue()
        for each in (first, *(first.clone() for _ in range(self.callers - 1))):
            # a thread of its own: with oneDNN a predictor that other threads use in turn fails now and then
            self._free.put((ThreadPoolExecutor(1), each))

    def infer(self, inputs: Batch) -> Batch:
        """Map inputs (n, 3, height, width) to probabilities (n, classes)."""
        thread, predictor = self._free.get()
        try:
            return thread.submit(_run, predictor, inputs).result()
        finally:
            self._free.put((thread, predictor))


def _run(predictor: Any, inputs: Batch) -> Batch:
    given = predictor.get_input_handle(predictor.get_input_names()[0])
    given.reshape(inputs.shape)
    given.copy_from_cpu(np.ascontiguousarray(inputs))
    predictor.run()
    answered = predictor.get_output_handle(predictor.get_output_names()[0])
    return np.asarray(answered.copy_to_cpu(), np.float32)


def _check(program: Path, options: Options) -> None:
    """Refuse what would end the process rather than raise an error."""
    module = paddle("--engine paddle")
    major = int(str(module.__version__).partition(".")[0] or 0)
    if program.suffix == ".json" and 0 < major < FIRST_WITH_JSON:
        raise RuntimeError(
            f"Paddle {module.__version__} can't read {program.name}, which came with Paddle {FIRST_WITH_JSON}; "
            "install a newer Paddle, or export with --program pdmodel"
        )
    if options.use_gpu and not (module.device.is_compiled_with_cuda() and module.device.cuda.device_count()):
        raise RuntimeError("use_gpu: this Paddle sees no GPU; install paddlepaddle-gpu where there is one")
    if options.use_tensorrt and not options.use_gpu:
        raise RuntimeError("use_tensorrt works on a GPU only; set use_gpu=true too")
