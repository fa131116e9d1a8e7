"""What narrower numbers cost: bf16 and int8 against f32 on the validation photos, in OpenVINO.

Knows who is allowed to ship. Does not know Paddle or what else is in a bundle.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches.preparing import prepare_for_evaluation
from garbage_cli.bundle import ModelBundle, Quality
from garbage_cli.dataset import Dataset, Sample
from garbage_cli.engines import Choice, Engine, open_engine
from garbage_cli.engines.speeds import probes
from garbage_cli.errors import BundleError
from garbage_cli.evaluation.matching import match
from garbage_cli.parallel import ordered_map
from garbage_cli.transforms import Preprocess
from garbage_cli.vendor import available_cores

ALLOWED_DROP = 0.005
"""Of top-1: 0.5 points."""
ALLOWED_BIN_DROP = 0.01
LEAST_AGREEMENT = 0.95
"""Share of photos with the same first kind as in f32: losses that happen to be made good elsewhere are losses too."""
LEAST_PHOTOS = 200
"""Of fewer, half a point is not even one."""
RULE = (
    f"at most {100 * ALLOWED_DROP:.1f} points less are allowed ({100 * ALLOWED_BIN_DROP:.0f} of right bins), "
    f"{100 * LEAST_AGREEMENT:.0f} % the same, on {LEAST_PHOTOS} photos or more"
)
CALIBRATION = 300
"""Training photos that the ranges of the 8-bit numbers are taken from, at most."""

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What f32 answers on the validation photos."""

    scores: Rows
    """(photos, classes)"""
    true: NDArray[np.int64]
    bins: NDArray[np.int64] | None
    """The number of each class's bin; None where labels name none."""
    threshold: float | None
    """Of "not sure"."""


def calibration_inputs(dataset: Dataset, bundle: ModelBundle) -> list[Rows]:
    """Return inputs of training photos as prediction sees them, each (1, 3, crop, crop), of all kinds in turn."""
    by_class: dict[int, list[Sample]] = {}
    for index in np.random.default_rng(0).permutation(len(dataset.train)):
        sample = dataset.train[int(index)]
        by_class.setdefault(sample.class_id, []).append(sample)
    longest = max(map(len, by_class.values()), default=0)
    turns = [kind[turn] for turn in range(longest) for kind in by_class.values() if turn < len(kind)]
    return [each[None] for each, _ in _inputs(turns[:CALIBRATION], bundle)]


def reference(dataset: Dataset, bundle: ModelBundle) -> Reference:
    """Have the validation photos answered in f32."""
    known, _, _ = match(dataset.labels, bundle.labels)
    samples = [sample for sample in dataset.val if sample.class_id in known]
    scores, true = _answer(samples, bundle, open_engine(Choice("openvino", "f32"), bundle, parallel=True))
    bins = [label.bin_name for label in bundle.labels.items]
    numbers = None if None in bins else np.array([sorted(set(map(str, bins))).index(str(each)) for each in bins])
    return Reference(scores, np.array([known[class_id] for class_id in true], np.int64), numbers, bundle.threshold)


def of_reference(base: Reference) -> Quality:
    """Return the figures of f32 itself."""
    top1 = float((base.scores.argmax(1) == base.true).mean())
    bins, answered = _bin_accuracy(base.scores, base), _answered(base.scores, base)
    return Quality(True, top1, len(base.true), 0.0, 1.0, bins, *answered, f"top-1 {100 * top1:.1f} %")


def measure(precision: str, base: Reference, dataset: Dataset, bundle: ModelBundle) -> Quality:
    """Have the validation photos answered in another precision; say whether it may ship."""
    known, _, _ = match(dataset.labels, bundle.labels)
    samples = [sample for sample in dataset.val if sample.class_id in known]
    scores, _ = _answer(samples, bundle, open_engine(Choice("openvino", precision), bundle, parallel=True))
    if len(scores) != len(base.scores):
        raise BundleError(f"{dataset.root}: photos came or went while they were answered; export once more")
    first, wanted = scores.argmax(1), base.scores.argmax(1)
    top1, before = float((first == base.true).mean()), float((wanted == base.true).mean())
    drop = before - top1
    agreement, bins = float((first == wanted).mean()), _bin_accuracy(scores, base)
    ships = (
        bool(np.isfinite(scores).all())
        and len(base.true) >= LEAST_PHOTOS
        and drop <= ALLOWED_DROP + 1e-9
        and agreement >= LEAST_AGREEMENT
        and (bins is None or (_bin_accuracy(base.scores, base) or 0) - bins <= ALLOWED_BIN_DROP + 1e-9)
    )
    why = (
        f"top-1 {100 * top1:.1f} % against {100 * before:.1f} % in f32, {100 * agreement:.1f} % the same kind, on "
        f"{len(base.true)} photos"
    )
    answered = _answered(scores, base)
    return Quality(ships, top1, len(base.true), drop, agreement, bins, *answered, why if ships else f"{why}; {RULE}")


def probe_scores(bundle: ModelBundle, precisions: Sequence[str]) -> Mapping[str, list[list[float]]]:
    """Return what each precision answers on inputs that are the same everywhere: by it another machine is checked."""
    found = {}
    for precision in precisions:
        engine = open_engine(Choice("openvino", precision), bundle)
        scores = [engine.infer(each[None])[0] for each in probes(bundle.input_shape)]
        found[precision] = [[round(float(value), 5) for value in row] for row in scores]
    return found


def _bin_accuracy(scores: Rows, base: Reference) -> float | None:
    if base.bins is None:
        return None
    return float((base.bins[scores.argmax(1)] == base.bins[base.true]).mean())


def _answered(scores: Rows, base: Reference) -> tuple[float | None, float | None]:
    """How many are answered at the threshold, and how many of those right."""
    if base.threshold is None:
        return None, None
    sure = scores.max(axis=1) >= base.threshold
    mean = base.bins if base.bins is not None else np.arange(scores.shape[1])
    right = mean[scores.argmax(1)] == mean[base.true]
    return float(sure.mean()), float(right[sure].mean()) if sure.any() else None


def _answer(samples: Sequence[Sample], bundle: ModelBundle, engine: Engine) -> tuple[Rows, list[int]]:
    rows, true = [], []
    for scores, class_id in _inputs(samples, bundle, lambda values: engine.infer(values[None])[0]):
        rows.append(scores)
        true.append(class_id)
    return np.array(rows, np.float32).reshape(len(rows), len(bundle.labels)), true


def _inputs(
    samples: Sequence[Sample], bundle: ModelBundle, then: Callable[[Rows], Rows] = lambda values: values
) -> Iterator[tuple[Rows, int]]:
    """Yield what becomes of each good photo's input, with its class."""
    work = partial(_one, transform=Preprocess(bundle.preprocess), then=then)
    threads = available_cores() + 1
    for values, class_id in ordered_map(work, samples, threads=threads, ahead=2 * threads):
        if values is not None:
            yield values, class_id


def _one(sample: Sample, *, transform: Preprocess, then: Callable[[Rows], Rows]) -> tuple[Rows | None, int]:
    values = prepare_for_evaluation(sample, transform).values
    return None if values is None else then(values), sample.class_id
