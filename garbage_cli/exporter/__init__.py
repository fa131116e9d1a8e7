"""A checkpoint → an inference bundle, which is finished only if every engine answers what the checkpoint answers.

Knows Paddle's export and the ONNX converter. Does not know the training loop or the terminal.
"""

from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from garbage_cli import __version__
from garbage_cli.bundle import INT8_MODEL, MANIFEST_FILE, ONNX_FILE, Checkpoint, ModelBundle, Quality, read_json
from garbage_cli.card import CARD_FILE, model_card
from garbage_cli.conversion import save_onnx, save_program
from garbage_cli.dataset import Dataset
from garbage_cli.engines.choosing import candidates
from garbage_cli.engines.openvino import has_bf16
from garbage_cli.engines.speeds import Speed, as_facts
from garbage_cli.engines.speeds import measure as time_engines
from garbage_cli.errors import BundleError, GarbageError
from garbage_cli.evaluation.measured import Measured
from garbage_cli.exporter import parity, precisions
from garbage_cli.exporter.checking import Checked, check
from garbage_cli.exporter.parity import TOLERANCE
from garbage_cli.exporter.values import Compared, Exported, Parity, Step
from garbage_cli.quantization import ATTEMPTS, quantise
from garbage_cli.storage import staged_folder, write_text
from garbage_cli.vendor import paddle
from garbage_cli.zoo import build, load_exactly, read_weights

__all__ = ["TOLERANCE", "Checked", "Compared", "Exported", "Parity", "Step", "check", "export"]


@dataclass(frozen=True)
class _Found:
    """What is known of the network by now; all of it goes into the manifest."""

    checkpoint: Checkpoint
    measured: Measured | None
    parity: tuple[Parity, ...] = ()
    precisions: dict[str, Quality] = field(default_factory=dict)
    speeds: tuple[Speed, ...] = ()


def export(
    checkpoint: Checkpoint,
    *,
    out: Path,
    measured: Measured | None = None,
    narrow: bool = False,
    timed: bool = False,
    program: str = "json",
) -> Iterator[Step | Parity | Compared | Exported]:
    """Write the bundle of a checkpoint to `out`, replacing one that is there; yield what is being done.

    Of what was `measured`, the temperature goes into the network itself, so that whatever reads it has calibrated
    scores, the threshold into the manifest, and all figures into manifest and model card.

    With `narrow` the network is quantised to int8 on training photos, and int8 and bf16 are compared with f32 on the
    validation photos: what loses more than half a point of top-1 does not ship. With `timed` every engine is timed on
    this machine. `program` is Paddle's file format: `json`, or `pdmodel` for readers older than Paddle 3.

    Raises BundleError, and leaves `out` as it was, if an engine differs by more than TOLERANCE.
    """
    _refuse_foreign_folder(out)
    yield Step("loading the checkpoint")
    network = _network(checkpoint, temperature=measured.temperature if measured else 1.0)
    inputs, samples = parity.samples(checkpoint)
    found = _Found(checkpoint, measured)
    with staged_folder(out) as staging:
        yield Step("writing the Paddle inference model")
        save_program(network, staging, crop=checkpoint.config.preprocess.crop, old=program == "pdmodel")
        yield Step("converting to ONNX")
        save_onnx(staging)
        bundle = _describe(staging, found)
        compared = []
        for each in parity.compare(bundle, parity.reference(network, inputs), inputs):
            compared.append(each)
            yield each
        if all(each.difference is None for each in compared):
            raise BundleError("no engine installed here can run this network; nothing was exported")
        found = _Found(checkpoint, measured, tuple(compared))
        if narrow and any(each.engine == "openvino" and each.difference is not None for each in compared):
            found = _Found(checkpoint, measured, found.parity, (yield from _narrow(checkpoint, staging, found)))
        bundle = _describe(staging, found)
        if timed:
            yield Step("timing the engines on this machine")
            speeds = time_engines(bundle, candidates(bundle))
            found = _Found(checkpoint, measured, found.parity, found.precisions, speeds)
            _describe(staging, found)
    ranked = tuple(Compared(name, quality) for name, quality in found.precisions.items())
    yield Exported(ModelBundle.load(out), checkpoint, found.parity, samples, measured, ranked, found.speeds)


def _narrow(
    checkpoint: Checkpoint, staging: Path, found: _Found
) -> Generator[Step | Compared, None, dict[str, Quality]]:
    """Make the int8 network; return what each precision is worth. Without validation photos nobody knows."""
    try:
        dataset = Dataset.load(checkpoint.data)
    except GarbageError as error:
        yield Step(f"bf16 and int8 are left out, for there are no photos to measure them on ({error})")
        return {}
    bundle = _describe(staging, found)
    yield Step("answering the validation photos in f32, bf16 and int8")
    base = precisions.reference(dataset, bundle)
    if not len(base.true):
        yield Step("bf16 and int8 are left out, for there is no validation photo to measure them on")
        return {}
    qualities = {"f32": precisions.of_reference(base)}
    yield Compared("f32", qualities["f32"])
    if has_bf16():
        qualities["bf16"] = precisions.measure("bf16", base, dataset, bundle)
        yield Compared("bf16", qualities["bf16"])
    int8 = yield from _int8(dataset, staging, base, found)
    if int8 is not None:
        qualities["int8"] = int8
    return qualities


def _int8(
    dataset: Dataset, staging: Path, base: precisions.Reference, found: _Found
) -> Generator[Step | Compared, None, Quality | None]:
    """Quantise, at a second try with the first layers in floats; keep the files only if they are good enough."""
    inputs = precisions.calibration_inputs(dataset, ModelBundle.load(staging))
    if not inputs:
        yield Step("int8 is left out, for there is no training photo to take its ranges from")
        return None
    quality = None
    for keep in ATTEMPTS:
        yield Step(f"quantising on {len(inputs)} training photos" + (f", {keep} layers kept in f32" if keep else ""))
        try:
            quantise(staging / ONNX_FILE, inputs, staging, keep=keep)
        except GarbageError as error:
            yield Step(f"int8 is left out: {error}")
            break
        quality = precisions.measure("int8", base, dataset, _describe(staging, found))
        yield Compared("int8", quality)
        if quality.ships:
            return quality
    for name in INT8_MODEL:
        (staging / name).unlink(missing_ok=True)
    return quality


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


def _calibration(measured: Measured) -> dict[str, float]:
    """What a predictor goes by; the temperature is in the network already."""
    return {"temperature": measured.temperature, "threshold": measured.threshold}


def _describe(folder: Path, found: _Found) -> ModelBundle:
    """Write card, description and manifest of the files that are there."""
    checkpoint, measured = found.checkpoint, found.measured
    module = paddle("garbage export")
    crop = checkpoint.config.preprocess.crop
    write_text(folder / CARD_FILE, model_card(checkpoint, measured, found.precisions))
    facts: dict[str, Any] = {
        "model": checkpoint.config.model.name,
        "input": {"shape": [None, 3, crop, crop], "dtype": "float32"},
        "output": {"shape": [None, len(checkpoint.labels)], "dtype": "float32", "meaning": "probabilities"},
        "classes": len(checkpoint.labels),
        "source": {"weights": checkpoint.weights.name, "run": checkpoint.root.name, "top1": checkpoint.top1},
        "calibration": _calibration(measured) if measured else None,
        "metrics": asdict(measured) if measured else None,
        "parity": {each.engine: each.difference for each in found.parity if each.difference is not None},
        "precisions": {name: asdict(quality) for name, quality in found.precisions.items()},
        "speeds": as_facts(found.speeds) if found.speeds else None,
        "versions": {"garbage": __version__, "paddle": module.__version__},
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    save = partial(
        ModelBundle.save,
        folder,
        name=checkpoint.config.model.name,
        labels=checkpoint.labels,
        preprocess=checkpoint.config.preprocess,
    )
    save(facts=facts)
    bundle = ModelBundle.load(folder)
    if found.precisions:
        shipped = [name for name, quality in found.precisions.items() if quality.ships]
        save(facts={**facts, "probes": precisions.probe_scores(bundle, shipped)})
        bundle = ModelBundle.load(folder)
    return bundle
