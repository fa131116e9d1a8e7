"""Whether every engine answers what the checkpoint answers, on a few photos and noise."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches import sample_inputs
from garbage_cli.bundle import Checkpoint, ModelBundle
from garbage_cli.dataset import Dataset
from garbage_cli.engines import NAMES, Choice, is_installed, open_engine
from garbage_cli.errors import BundleError, GarbageError
from garbage_cli.exporter.values import Parity
from garbage_cli.vendor import paddle

TOLERANCE = 1e-4
"""Largest difference of a probability that float32 arithmetic in another order excuses."""
SAMPLES = 8

Scores = NDArray[np.float32]


def samples(checkpoint: Checkpoint) -> tuple[NDArray[np.float32], str]:
    """A few validation photos where the data set is still there, and seeded noise."""
    crop = checkpoint.config.preprocess.crop
    noise = np.random.default_rng(0).normal(size=(SAMPLES, 3, crop, crop)).astype(np.float32)
    try:
        photos = sample_inputs(Dataset.load(checkpoint.data).val[:SAMPLES], checkpoint.config.preprocess)
    except GarbageError:
        return noise, f"{SAMPLES} noise images"
    return np.concatenate([photos, noise]), f"{len(photos)} validation photos and {SAMPLES} noise images"


def reference(network: Any, inputs: NDArray[np.float32]) -> Scores:
    module = paddle("garbage export")
    with module.no_grad():
        return np.asarray(network(module.to_tensor(inputs)).numpy(), np.float32)


def compare(bundle: ModelBundle, expected: Scores, inputs: NDArray[np.float32]) -> Iterator[Parity]:
    for name in (each for each in NAMES if is_installed(each)):
        try:
            engine = open_engine(Choice(name, "f32"), bundle)
            scores = np.concatenate([engine.infer(inputs[i : i + 1]) for i in range(len(inputs))])
        except Exception as error:  # noqa: BLE001 - engines have errors of their own, of no common kind
            yield Parity(name, None, str(error))
            continue
        difference = float(np.abs(scores - expected).max())
        if not difference <= TOLERANCE:  # catches NaN too
            raise BundleError(
                f"{name} differs from the checkpoint by {difference:.2g} (at most {TOLERANCE:g} is allowed); "
                "nothing was exported"
            )
        yield Parity(name, difference)
