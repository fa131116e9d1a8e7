"""Labelled photos → batches of network inputs, decoded ahead in threads, the same whenever it is run again.

Knows the order and the chances of training. Does not know what the batches are for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches.mixing import mix
from garbage_cli.batches.picking import Item, Pick, parts, picks, steps_per_epoch
from garbage_cli.batches.preparing import (
    Batch,
    Prepared,
    augmented,
    collate,
    prepare_for_evaluation,
    prepare_for_training,
    read,
)
from garbage_cli.config import PreprocessConfig, TrainConfig
from garbage_cli.dataset import Sample
from garbage_cli.errors import ImageError
from garbage_cli.parallel import ordered_map
from garbage_cli.reports import BadPhoto
from garbage_cli.transforms import Input, Preprocess, TrainPreprocess
from garbage_cli.vendor import available_cores

__all__ = [
    "Batch",
    "View",
    "evaluation_batches",
    "mix",
    "sample_inputs",
    "steps_per_epoch",
    "training_batches",
    "view_batches",
]

_MIXING = 2**31
"""Keeps the chances of mixing a batch apart from those of augmenting a photo, which count repetitions here."""
_VIEWS_AT_ONCE = 32
"""As many views of one photo are in memory together; each is of 0.6 MB at 224 pixels."""


def training_batches(
    samples: Sequence[Sample], config: TrainConfig, *, epoch: int, start: int = 0, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Yield the batches of one epoch from step `start` on: drawn by `config.sampling`, augmented, and mixed.

    Order, augmentation and mixing depend on the seed, the epoch and the sample or step alone, so an epoch can be
    entered anywhere. Of `world` processes each yields its part of every batch, and mixes within it.
    """
    size = config.batch_size
    steps = steps_per_epoch(len(samples), size, world=world)
    order = picks([sample.class_id for sample in samples], config.sampling, np.random.default_rng([config.seed, epoch]))
    prepare = partial(_prepare_pick, samples, config, epoch)
    groups = parts(order[start * size : steps * size], size, rank=rank, world=world)
    for step, batch in enumerate(_batches(prepare, groups, config, world), start):
        yield mix(batch, config.augment, np.random.default_rng([config.seed, epoch, step, _MIXING, rank]))


def _prepare_pick(samples: Sequence[Sample], config: TrainConfig, epoch: int, pick: Pick) -> Prepared:
    index, repetition = pick
    # numpy's seeds read a missing last number as 0: the first time, this is the seed [config.seed, epoch, index]
    seed = [config.seed, epoch, index, repetition]
    return prepare_for_training(samples[index], TrainPreprocess(config.preprocess, config.augment), seed)


def evaluation_batches(
    samples: Sequence[Sample], config: TrainConfig, *, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Yield all samples in their order, as prediction will see them; of `world` processes each yields a part.

    Each sample is in exactly one part. One process may have a batch less than another.
    """
    transform = Preprocess(config.preprocess)
    groups = parts(range(len(samples)), config.batch_size, rank=rank, world=world)
    yield from _batches(lambda index: prepare_for_evaluation(samples[index], transform), groups, config, world)


@dataclass(frozen=True, slots=True)
class View:
    """One augmented input of a training photo."""

    index: int
    """The number of its sample."""
    view: int
    """Which of the photo's views it is, from 0."""
    values: Input


def view_batches(
    samples: Sequence[Sample], config: TrainConfig, *, views: int, start: int = 0, keys: Sequence[int] | None = None
) -> Iterator[View | BadPhoto]:
    """Yield, for each sample from number `start` on in their order, `views` views in theirs, or why there are none.

    A view is what training could see of the photo, RandomErasing included. It depends on the seed, the sample's key and
    its own number alone: neither on `views` nor on `start`. `keys` has a number from 0 up for each sample; without
    them a sample's place is its key. A photo is read and decoded once for all of its views, or for every 32 of them.
    """
    transform = TrainPreprocess(config.preprocess, config.augment)
    threads = _threads(config)
    pieces = (
        (index, range(first, min(views, first + _VIEWS_AT_ONCE)))
        for index in range(start, len(samples))
        for first in range(0, views, _VIEWS_AT_ONCE)
    )
    prepare = partial(_prepare_views, samples, transform, config.seed, keys or range(len(samples)))
    for several in ordered_map(prepare, pieces, threads=threads, ahead=2 * threads):
        yield from several


def _prepare_views(
    samples: Sequence[Sample], transform: TrainPreprocess, seed: int, keys: Sequence[int], piece: tuple[int, range]
) -> Sequence[View | BadPhoto]:
    index, numbers = piece
    seeds = [[seed, 0, keys[index], view] for view in numbers]
    try:
        inputs = augmented(read(samples[index]), transform, seeds)
    except ImageError as error:
        return [] if numbers.start else [BadPhoto(samples[index].path, str(error))]
    return [View(index, view, values) for view, values in zip(numbers, inputs, strict=True)]


def sample_inputs(samples: Sequence[Sample], spec: PreprocessConfig) -> NDArray[np.float32]:
    """Return the inputs of a few photos, shape (good photos, 3, crop, crop)."""
    return collate([prepare_for_evaluation(sample, Preprocess(spec)) for sample in samples], spec.crop).inputs


def _batches(
    prepare: Callable[[Item], Prepared], groups: Sequence[Sequence[Item]], config: TrainConfig, world: int
) -> Iterator[Batch]:
    threads = _threads(config, world)
    ahead = 2 * max(map(len, groups), default=0) + threads
    prepared = ordered_map(prepare, (item for group in groups for item in group), threads=threads, ahead=ahead)
    for group in groups:
        yield collate(list(islice(prepared, len(group))), config.preprocess.crop)


def _threads(config: TrainConfig, world: int = 1) -> int:
    return config.workers or max(2, available_cores() // world)
