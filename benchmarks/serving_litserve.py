"""What `benchmarks/serving.py` starts in LitServe's environment: its server around our decoder and our engine.

Only the serving differs: photos are decoded, prepared and inferred by the same code as in `garbage serve`. Bodies come
as they are, which is the cheapest way that LitServe has.
"""

import argparse
from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import Choice, open_engine
from garbage_cli.images import open_photo
from garbage_cli.transforms import Preprocess

Raw = Annotated[bytes, Body(media_type="image/jpeg")]


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """A bundle behind LitServe."""

    def __init__(self, asked: argparse.Namespace) -> None:
        super().__init__(max_batch_size=asked.batch, batch_timeout=asked.wait)
        self.asked = asked

    def setup(self, device: str) -> None:
        bundle = ModelBundle.load(self.asked.bundle)
        self.preprocess = Preprocess(bundle.preprocess)
        choice = Choice("openvino", self.asked.precision)
        self.engine = open_engine(choice, bundle, threads=self.asked.threads)

    def decode_request(self, request: Raw) -> Any:
        photo = open_photo(request, reduction=self.preprocess.reduction)
        return self.preprocess.decoded(photo)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, inputs: Any) -> Any:
        return self.engine.infer(inputs if inputs.ndim == 4 else inputs[None])

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
