"""Labelled photos → batches of network inputs, decoded ahead in threads, the same whenever it is run again.

Knows the order and the chances of training. Does not know what the batches are for.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches.mixing import mix
from garbage_cli.batches.picking import Item, Pick, parts, picks, steps_per_epoch
from garbage_cli.batches.preparing import (
    Batch,
    Prepared,
    collate,
    prepare_for_evaluation,
    prepare_for_training,
)
from garbage_cli.config import PreprocessConfig, TrainConfig
from garbage_cli.dataset import Sample
from garbage_cli.parallel import ordered_map
from garbage_cli.transforms import Preprocess, TrainPreprocess
from garbage_cli.vendor import available_cores

__all__ = [
    "MIXING",
    "Batch",
    "evaluation_batches",
    "mix",
    "sample_inputs",
    "steps_per_epoch",
    "training_batches",
]

MIXING = 2**31
"""Keeps the chances of mixing a batch apart from those of augmenting a photo, which count repetitions here."""


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
        yield mix(batch, config.augment, np.random.default_rng([config.seed, epoch, step, MIXING, rank]))


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
