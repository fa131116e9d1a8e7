"""A checkpoint → an inference bundle, which is finished only if every engine answers what the checkpoint answers.

Knows Paddle's export and the ONNX converter. Does not know the training loop or the terminal.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli import __version__
from garbage_cli.batches import sample_inputs
from garbage_cli.bundle import (
    MANIFEST_FILE,
    Checkpoint,
    ModelBundle,
    read_json,
)
from garbage_cli.card import CARD_FILE, model_card
from garbage_cli.conversion import save_onnx, save_program
from garbage_cli.dataset import Dataset
from garbage_cli.engines import NAMES, choose_engine, is_installed, open_engine
from garbage_cli.errors import BundleError, GarbageError
from garbage_cli.evaluation.measured import Measured
from garbage_cli.storage import staged_folder, write_text
from garbage_cli.vendor import paddle
from garbage_cli.zoo import build, load_exactly, read_weights

TOLERANCE = 1e-4
"""Largest difference of a probability that float32 arithmetic in another order excuses."""
SAMPLES = 8

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Step:
    """What export is doing now."""

    what: str


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an engine is from the checkpoint on the sample inputs."""

    engine: str
    difference: float | None
    """Largest absolute difference of a probability; None if the engine can't run this network."""
    reason: str = ""
    """Why it can't."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The finished bundle."""

    bundle: ModelBundle
    checkpoint: Checkpoint
    parity: tuple[Parity, ...]
    samples: str
    """What the engines were compared on."""
    measured: Measured | None
    """What the manifest says of how good it is; None where nobody knows."""


def export(
    checkpoint: Checkpoint, *, out: Path, measured: Measured | None = None
) -> Iterator[Step | Parity | Exported]:
    """Write the bundle of a checkpoint to `out`, replacing one that is there; yield what is being done.

    Of what was `measured`, the temperature goes into the network itself, so that whatever reads it has calibrated
    scores, the threshold into the manifest, and all figures into manifest and model card.

    Raises BundleError, and leaves `out` as it was, if an engine differs by more than TOLERANCE.
    """
    _refuse_foreign_folder(out)
    yield Step("loading the checkpoint")
    network = _network(checkpoint, temperature=measured.temperature if measured else 1.0)
    inputs, samples = _samples(checkpoint)
    with staged_folder(out) as staging:
        yield Step("writing the Paddle inference model")
        save_program(network, staging, crop=checkpoint.config.preprocess.crop)
        yield Step("converting to ONNX")
        save_onnx(staging)
        write_text(staging / CARD_FILE, model_card(checkpoint, measured))
        _describe(staging, checkpoint, measured, parity=())
        parity = []
        for each in _compare(ModelBundle.load(staging), _reference(network, inputs), inputs):
            parity.append(each)
            yield each
        if all(each.difference is None for each in parity):
            raise BundleError("no engine installed here can run this network; nothing was exported")
        _describe(staging, checkpoint, measured, parity=tuple(parity))
    yield Exported(ModelBundle.load(out), checkpoint, tuple(parity), samples, measured)


def _refuse_foreign_folder(out: Path) -> None:
    """Replace only what an export wrote: a folder of something else under that name is not ours to delete."""
    if not out.exists():
        return
    if not out.is_dir():
        raise BundleError(f"{out} is a file; choose another --out")
    names = {path.name for path in out.iterdir()}
    try:
        ours = {MANIFEST_FILE, *read_json(out / MANIFEST_FILE, BundleError, hint="")["files"]}
    except (BundleError, KeyError, TypeError):
        ours = set()
    if strange := sorted(names - ours):
        raise BundleError(f"{out} holds something that no export wrote ({strange[0]}); choose another --out")


def _network(checkpoint: Checkpoint, *, temperature: float) -> Any:
    """The checkpoint's network with the softmax that PaddleClas's exports end in, of logits over `temperature`."""
    nn = paddle("garbage export").nn
    network, _ = build(checkpoint.config.model.name, class_count=len(checkpoint.labels))
    load_exactly(network, read_weights(checkpoint.weights), source=checkpoint.weights)

    class Scored(nn.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> Any:
            output = self.network(x)
            logits = output[0] if isinstance(output, (list, tuple)) else output
            return nn.functional.softmax(logits if temperature == 1 else logits / temperature, axis=-1)

    scored = Scored()
    scored.eval()
    return scored


def _samples(checkpoint: Checkpoint) -> tuple[NDArray[np.float32], str]:
    """A few validation photos where the data set is still there, and seeded noise."""
    crop = checkpoint.config.preprocess.crop
    noise = np.random.default_rng(0).normal(size=(SAMPLES, 3, crop, crop)).astype(np.float32)
    try:
        photos = sample_inputs(Dataset.load(checkpoint.data).val[:SAMPLES], checkpoint.config.preprocess)
    except GarbageError:
        return noise, f"{SAMPLES} noise images"
    return np.concatenate([photos, noise]), f"{len(photos)} validation photos and {SAMPLES} noise images"


def _reference(network: Any, inputs: NDArray[np.float32]) -> Scores:
    module = paddle("garbage export")
    with module.no_grad():
        return np.asarray(network(module.to_tensor(inputs)).numpy(), np.float32)


def _compare(bundle: ModelBundle, reference: Scores, inputs: NDArray[np.float32]) -> Iterator[Parity]:
    for name in (each for each in NAMES if is_installed(each)):
        try:
            engine = open_engine(choose_engine(name, bundle), bundle)
            scores = np.concatenate([engine.infer(inputs[i : i + 1]) for i in range(len(inputs))])
        except (BundleError, RuntimeError) as error:
            yield Parity(name, None, str(error))
            continue
        difference = float(np.abs(scores - reference).max())
        if not difference <= TOLERANCE:  # catches NaN too
            raise BundleError(
                f"{name} differs from the checkpoint by {difference:.2g} (at most {TOLERANCE:g} is allowed); "
                "nothing was exported"
            )
        yield Parity(name, difference)


def _calibration(measured: Measured) -> dict[str, float]:
    """What a predictor goes by; the temperature is in the network already."""
    return {"temperature": measured.temperature, "threshold": measured.threshold}


def _describe(folder: Path, checkpoint: Checkpoint, measured: Measured | None, *, parity: tuple[Parity, ...]) -> None:
    module = paddle("garbage export")
    crop = checkpoint.config.preprocess.crop
    facts = {
        "model": checkpoint.config.model.name,
        "input": {"shape": [None, 3, crop, crop], "dtype": "float32"},
        "output": {"shape": [None, len(checkpoint.labels)], "dtype": "float32", "meaning": "probabilities"},
        "classes": len(checkpoint.labels),
        "source": {"weights": checkpoint.weights.name, "run": checkpoint.root.name, "top1": checkpoint.top1},
        "calibration": _calibration(measured) if measured else None,
        "metrics": asdict(measured) if measured else None,
        "parity": {each.engine: each.difference for each in parity if each.difference is not None},
        "versions": {"garbage": __version__, "paddle": module.__version__},
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    ModelBundle.save(
        folder,
        name=checkpoint.config.model.name,
        labels=checkpoint.labels,
        preprocess=checkpoint.config.preprocess,
        facts=facts,
    )
