"""What `benchmarks/serving.py` starts in LitServe's environment: its server around our decoder and OpenVINO.

Photos are decoded and prepared by the code of `garbage serve`. OpenVINO has the settings that are the best for
LitServe, whose workers infer one call at a time: one stream, a network of one photo where there are no batches, and
threads that are not pinned, since workers with a thread each would be pinned to the same core. Bodies come as they are,
which is the cheapest way that LitServe has.
"""

import argparse
from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body

from garbage_cli.bundle import INT8_MODEL, ONNX_FILE, ModelBundle
from garbage_cli.images import open_photo
from garbage_cli.transforms import Preprocess
from garbage_cli.vendor import openvino

Raw = Annotated[bytes, Body(media_type="image/jpeg")]


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """A bundle behind LitServe."""

    def __init__(self, asked: argparse.Namespace) -> None:
        super().__init__(max_batch_size=asked.batch, batch_timeout=asked.wait)
        self.asked = asked

    def setup(self, device: str) -> None:
        bundle = ModelBundle.load(self.asked.bundle)
        self.preprocess = Preprocess(bundle.preprocess)
        core = openvino().Core()
        model = core.read_model(str(bundle.root / (INT8_MODEL[0] if self.asked.precision == "int8" else ONNX_FILE)))
        if self.asked.batch == 1:
            model.reshape([1, *bundle.input_shape])
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.asked.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if self.asked.precision == "bf16" else "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()

    def decode_request(self, request: Raw) -> Any:
        photo = open_photo(request, reduction=self.preprocess.reduction)
        return self.preprocess.decoded(photo)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, inputs: Any) -> Any:
        values = inputs if inputs.ndim == 4 else inputs[None]
        return np.array(self.request.infer([values], share_inputs=True)[0])

    def unbatch(self, output: Any) -> Any:
        return [row[None] for row in output]

    def encode_response(self, output: Any) -> dict[str, Any]:
        best = int(output[0].argmax())
        return {"class_id": best, "score": float(output[0][best])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds that a batch waits to become full")
    parser.add_argument("--fast-queue", action="store_true")
    asked = parser.parse_args()
    server = litserve.LitServer(
        Classifier(asked),
        accelerator="cpu",
        workers_per_device=asked.workers,
        timeout=120,
        fast_queue=asked.fast_queue,
    )
    server.run(host="127.0.0.1", port=asked.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
