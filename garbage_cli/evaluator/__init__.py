"""A model and a data set → how good the model is: every photo through the predictor that serves.

Knows what it takes to have photos answered: a bundle is opened, a checkpoint exported for the purpose; names of kinds
are matched. Does not know metrics, pages or the terminal.
"""

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from garbage_cli import evaluation as figures
from garbage_cli.bundle import Checkpoint, ModelBundle
from garbage_cli.dataset import SPLITS, Dataset, Sample, Split
from garbage_cli.engines.choosing import Wish
from garbage_cli.errors import BundleError, ConfigError, DatasetError, ImageError
from garbage_cli.evaluation.matching import match
from garbage_cli.evaluation.values import Answers, Evaluation, Scores, Source, Speed, Unreadable
from garbage_cli.evaluator.models import REPORT, Model, open_model, recall, subject_of
from garbage_cli.exporter import Exported, Parity, Step, export
from garbage_cli.labels import Labels
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.vendor import available_cores

__all__ = ["REPORT", "Answering", "Evaluated", "Model", "evaluate", "match", "open_model", "recall"]

ANYTHING = Wish()
TIMED = 200
"""Photos that are timed one by one, at most."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Progress in photos."""

    done: int
    total: int


@dataclass(frozen=True)
class Evaluated:
    """The result, with what it was made from."""

    evaluation: Evaluation
    answers: Answers
    photos: Mapping[str, Path]
    """Every photo of the split by its name in the data set."""
    why: str = ""
    """Which engine answered, and why that one."""


def evaluate(
    model: Model,
    dataset: Dataset,
    *,
    split: str = "val",
    precision: float | None = None,
    wish: Wish = ANYTHING,
    timed: bool = True,
    tell: Callable[[str], object] = lambda text: None,
) -> Iterator[Step | Parity | Answering | Evaluated]:
    """Have all photos of a split answered by a model; yield what is being done, and the result at the end.

    A checkpoint's temperature and threshold are fitted on these photos; a bundle's are its own. Raises ConfigError for
    a split or precision that is none, DatasetError for a split without a photo, or of no kind that the model knows.
    """
    figures.require_libraries()
    if precision is not None and not 0 < precision < 1:
        raise ConfigError(
            f"target precision is {precision:g}; name a share between 0 and 1, such as {figures.PRECISION:g}"
        )
    if not isinstance(model, ModelBundle) and wish.precision not in ("auto", "f32"):
        raise ConfigError(
            f"a run is evaluated in f32; for {wish.precision}, export it and evaluate the inference folder"
        )
    samples = _samples(dataset, split)
    with tempfile.TemporaryDirectory(prefix="garbage-", ignore_cleanup_errors=True) as folder:
        bundle = model if isinstance(model, ModelBundle) else (yield from _exported(model, Path(folder)))
        predictor = _predictor(bundle, wish, photos=max(2, len(samples)), tell=tell)
        known, unknown, remarks = match(dataset.labels, bundle.labels)
        begun = time.perf_counter()
        scores = yield from _score(predictor, samples)
        seconds = time.perf_counter() - begun
        answers = _answers(dataset, samples, scores, known, unknown, bundle.labels)
        speed = _speed(predictor, bundle, samples, scores, seconds) if timed and len(answers.true) else None
    served = _served(model) if isinstance(model, ModelBundle) else None
    result = figures.evaluate(
        answers,
        subject=subject_of(model),
        source=Source(str(dataset.root), split, dataset.layout, len(samples), _problems(dataset, split)),
        served=served,
        precision=precision,
        speed=speed,
        remarks=(*remarks, *(_of_bundle(model, dataset, split, samples) if isinstance(model, ModelBundle) else ())),
    )
    photos = {dataset.name(sample.path): sample.path for sample in samples}
    yield Evaluated(result, answers, photos, predictor.why)


def _of_bundle(bundle: ModelBundle, dataset: Dataset, split: str, samples: Sequence[Sample]) -> Iterator[str]:
    """Say so where these seem to be the photos that the bundle's temperature and threshold were chosen on."""
    metrics = _metrics(bundle)
    if (metrics.get("data"), metrics.get("split"), metrics.get("photos")) == (dataset.root.name, split, len(samples)):
        yield (
            "the bundle's temperature and threshold were chosen on what seem to be these very photos: "
            "new ones will do a little worse"
        )


def _metrics(bundle: ModelBundle) -> Mapping[str, object]:
    metrics = bundle.facts.get("metrics")
    return metrics if isinstance(metrics, dict) else {}


def _served(bundle: ModelBundle) -> figures.Served:
    asked = _metrics(bundle).get("asked_precision")
    own = asked if isinstance(asked, float) and 0 < asked < 1 else None
    return figures.Served(bundle.temperature, bundle.threshold, own)


def _samples(dataset: Dataset, split: str) -> tuple[Sample, ...]:
    names: dict[str, tuple[Split, ...]] = {**{each: (each,) for each in SPLITS}, "all": SPLITS}
    there = ", ".join(f"{each} ({len(dataset.split(each))})" for each in SPLITS if dataset.split(each))
    if split not in names:
        raise ConfigError(f"no split {split!r}; {dataset.root} has {there}; use one of them, or all")
    # a photo may stand in several lists
    samples = tuple({sample.path: sample for each in names[split] for sample in dataset.split(each)}.values())
    if not samples:
        raise DatasetError(f"{dataset.root} has no photo in {split}; it has {there}")
    return samples


def _problems(dataset: Dataset, split: str) -> int:
    return sum(split in ("all", problem.split) for problem in dataset.problems)


def _exported(checkpoint: Checkpoint, folder: Path) -> Generator[Step | Parity, None, ModelBundle]:
    """The checkpoint's bundle, as `export` would make it, without calibration and in f32 alone."""
    bundle = None
    for step in export(checkpoint, out=folder / "inference"):
        match step:
            case Exported():
                bundle = step.bundle
            case Step() | Parity():
                yield step
    assert bundle is not None
    return bundle


def _score(predictor: Predictor, samples: Sequence[Sample]) -> Generator[Answering, None, list[object]]:
    """The scores of each photo, (kinds,), or the ImageError that says why it has none."""
    found: list[object] = []
    for photo, scores in predictor.scores(Photo.from_path(sample.path) for sample in samples):
        if isinstance(scores, np.ndarray) and not np.isfinite(scores).all():
            raise BundleError(f"the model gives no numbers for {photo.name}; its weights are spoilt")
        found.append(scores)
        yield Answering(len(found), len(samples))
    return found


def _answers(
    dataset: Dataset,
    samples: Sequence[Sample],
    scores: Sequence[object],
    known: Mapping[int, int],
    unknown: Mapping[int, str],
    labels: Labels,
) -> Answers:
    rows = [(dataset.name(sample.path), sample.class_id, given) for sample, given in zip(samples, scores, strict=True)]
    good = [row for row in rows if row[1] in known and isinstance(row[2], np.ndarray)]
    strange = [row for row in rows if row[1] in unknown and isinstance(row[2], np.ndarray)]
    return Answers(
        labels=labels,
        names=tuple(name for name, _, _ in good),
        true=np.array([known[class_id] for _, class_id, _ in good], np.int64),
        scores=_stacked([given for _, _, given in good], len(labels)),
        unreadable=tuple(Unreadable(name, str(given)) for name, _, given in rows if isinstance(given, ImageError)),
        strangers=tuple(name for name, _, _ in strange),
        stranger_kinds=tuple(unknown[class_id] for _, class_id, _ in strange),
        stranger_scores=_stacked([given for _, _, given in strange], len(labels)),
    )


def _stacked(rows: Sequence[object], classes: int) -> Scores:
    return np.array(rows, np.float32).reshape(len(rows), classes)


def _predictor(bundle: ModelBundle, wish: Wish, *, photos: int, tell: Callable[[str], object]) -> Predictor:
    predictor = Predictor(
        bundle,
        engine=wish.engine,
        precision=wish.precision,
        options=wish.options,
        threshold=0,
        photos=photos,
        tell=tell,
    )
    predictor.warm_up()
    return predictor


def _speed(
    predictor: Predictor, bundle: ModelBundle, samples: Sequence[Sample], scores: Sequence[object], seconds: float
) -> Speed:
    """Photos in a row, by the pass that is done; and some, spread over the split, one by one with all cores at each."""
    same = Wish(predictor.engine, predictor.precision, predictor.options)
    single = _predictor(bundle, same, photos=1, tell=lambda text: None)
    good = [sample for sample, given in zip(samples, scores, strict=True) if isinstance(given, np.ndarray)]
    chosen = good[:: -(-len(good) // TIMED)]
    times = []
    for sample in chosen:
        begun = time.perf_counter()
        single.answer(Photo.from_path(sample.path))
        times.append(1000 * (time.perf_counter() - begun))
    p50, p99 = np.percentile(times, [50, 99])
    return Speed(
        engine=f"{predictor.engine} {predictor.precision}",
        cores=available_cores(),
        photos=len(samples),
        images_per_second=len(samples) / seconds,
        single=len(times),
        ms_p50=float(p50),
        ms_p99=float(p99),
    )
