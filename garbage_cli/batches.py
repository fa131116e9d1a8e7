"""Labelled photos → batches of network inputs, decoded ahead in threads, the same whenever it is run again.

Knows decoding and preprocessing of samples. Does not know what the batches are for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from garbage_cli.config import PreprocessConfig, TrainConfig
from garbage_cli.dataset import Sample
from garbage_cli.errors import ImageError
from garbage_cli.images import DEFAULT_LIMITS, decode
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo
from garbage_cli.reports import BadPhoto
from garbage_cli.transforms import Input, Preprocess, Rgb, TrainPreprocess
from garbage_cli.vendor import available_cores


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of up to `size` samples; the bad photos among those are left out, not replaced."""

    inputs: NDArray[np.float32]
    """Shape (good photos, 3, crop, crop)."""
    class_ids: NDArray[np.int64]
    """Shape (good photos,)."""
    bad: tuple[BadPhoto, ...]

    def __len__(self) -> int:
        return len(self.class_ids)


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Return the number of training batches; a last one of a single photo is dropped (batch norm needs two)."""
    full, rest = divmod(photos, batch_size)
    return full + (rest > 1)


def training_batches(samples: Sequence[Sample], config: TrainConfig, *, epoch: int, start: int = 0) -> Iterator[Batch]:
    """Yield the batches of one epoch from step `start` on, shuffled and augmented.

    Order and augmentation depend on the seed, the epoch and the sample alone, so an epoch can be entered anywhere.
    """
    order = np.random.default_rng([config.seed, epoch]).permutation(len(samples))
    last = steps_per_epoch(len(samples), config.batch_size) * config.batch_size
    picked = [int(index) for index in order[start * config.batch_size : last]]
    prepare = partial(_prepare_for_training, samples, config, epoch)
    yield from _batches(prepare, picked, config)


def _prepare_for_training(samples: Sequence[Sample], config: TrainConfig, epoch: int, index: int) -> "_Prepared":
    random = np.random.default_rng([config.seed, epoch, index])
    transform = TrainPreprocess(config.preprocess, config.augment)
    return _prepare(samples[index], lambda rgb: transform(rgb, random))


def evaluation_batches(samples: Sequence[Sample], config: TrainConfig) -> Iterator[Batch]:
    """Yield all samples in their order, as prediction will see them."""
    transform = Preprocess(config.preprocess)
    yield from _batches(lambda index: _prepare(samples[index], transform), range(len(samples)), config)


def sample_inputs(samples: Sequence[Sample], spec: PreprocessConfig) -> NDArray[np.float32]:
    """Return the inputs of a few photos, shape (good photos, 3, crop, crop)."""
    prepared = [_prepare(sample, Preprocess(spec)) for sample in samples]
    return _stack([item.values for item in prepared if item.values is not None], spec.crop)


@dataclass(frozen=True, slots=True)
class _Prepared:
    class_id: int
    values: Input | None = None
    bad: BadPhoto | None = None


def _prepare(sample: Sample, transform: Callable[[Rgb], Input]) -> _Prepared:
    try:
        data = Photo.from_path(sample.path).read(max_bytes=DEFAULT_LIMITS.max_bytes)
        return _Prepared(sample.class_id, transform(decode(data)))
    except ImageError as error:
        return _Prepared(sample.class_id, bad=BadPhoto(sample.path, str(error)))


def _batches(prepare: Callable[[int], _Prepared], indices: Iterable[int], config: TrainConfig) -> Iterator[Batch]:
    threads = config.workers or max(2, available_cores())
    ahead = 2 * config.batch_size + threads
    group: list[_Prepared] = []
    for item in ordered_map(prepare, indices, threads=threads, ahead=ahead):
        group.append(item)
        if len(group) == config.batch_size:
            yield _collate(group, config.preprocess.crop)
            group = []
    if group:
        yield _collate(group, config.preprocess.crop)


def _collate(group: list[_Prepared], crop: int) -> Batch:
    good = [item for item in group if item.values is not None]
    return Batch(
        inputs=_stack([item.values for item in good if item.values is not None], crop),
        class_ids=np.array([item.class_id for item in good], np.int64),
        bad=tuple(item.bad for item in group if item.bad is not None),
    )


def _stack(values: list[Input], crop: int) -> NDArray[np.float32]:
    return np.stack(values) if values else np.empty((0, 3, crop, crop), np.float32)
