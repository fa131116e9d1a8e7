"""One sample → the network's input, or why it can't be one; several of them → a batch.

Knows decoding and preprocessing of samples. Does not know their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from garbage_cli.dataset import Sample
from garbage_cli.errors import ImageError
from garbage_cli.images import DEFAULT_LIMITS, jpeg_size, open_photo
from garbage_cli.prediction import Photo
from garbage_cli.reports import BadPhoto
from garbage_cli.transforms import Input, Preprocess, TrainPreprocess


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of up to `size` samples; the bad photos among those are left out, not replaced.

    What a batch is to teach is `share` × the loss for `class_ids` + (1 − `share`) × the loss for `other_ids`.
    """

    inputs: NDArray[np.float32]
    """Shape (good photos, 3, crop, crop)."""
    class_ids: NDArray[np.int64]
    """Shape (good photos,)."""
    bad: tuple[BadPhoto, ...]
    other_ids: NDArray[np.int64] | None = None
    """The class of the photo that was mixed into each, shape (good photos,); None in a batch that is not mixed."""
    share: float = 1.0
    """How much of each input is of its own class, 0 to 1; 1 in a batch that is not mixed."""

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample's input; without `values` it is a bad photo."""

    class_id: int
    values: Input | None = None
    bad: BadPhoto | None = None


def prepare_for_evaluation(sample: Sample, transform: Preprocess) -> Prepared:
    """Read, decode and transform a photo as prediction does."""
    return _prepare(sample, lambda data: transform.decoded(open_photo(data, reduction=transform.reduction)))


def prepare_for_training(sample: Sample, transform: TrainPreprocess, seed: Sequence[int]) -> Prepared:
    """Read, decode and augment a photo: a function of the photo and the seed."""
    return _prepare(sample, lambda data: augmented(data, transform, [seed])[0])


def augmented(data: bytes, transform: TrainPreprocess, seeds: Sequence[Sequence[int]]) -> list[Input]:
    """Return one augmented input for each seed, which depends on no other seed; raise ImageError.

    A photo is decoded once. A big JPEG is decoded at reduced scale where a crop is of a large part of it, so once for
    each of the scales that its crops call for, at most four.
    """
    size = jpeg_size(data)
    randoms = [np.random.default_rng(seed) for seed in seeds]
    scales = [transform.reduction(size, random) if size else 1 for random in randoms]
    images = {scale: open_photo(data, reduction=scale).image for scale in set(scales)}
    return [
        transform(images[scale], random, size=size, reduction=scale)
        for scale, random in zip(scales, randoms, strict=True)
    ]


def read(sample: Sample) -> bytes:
    """Return the bytes of a sample's photo; raise ImageError."""
    return Photo.from_path(sample.path).read(max_bytes=DEFAULT_LIMITS.max_bytes)


def _prepare(sample: Sample, transform: Callable[[bytes], Input]) -> Prepared:
    try:
        return Prepared(sample.class_id, transform(read(sample)))
    except ImageError as error:
        return Prepared(sample.class_id, bad=BadPhoto(sample.path, str(error)))


def collate(group: Sequence[Prepared], crop: int) -> Batch:
    """Put samples together in their order, the bad ones aside."""
    good = [item for item in group if item.values is not None]
    return Batch(
        inputs=_stack([item.values for item in good if item.values is not None], crop),
        class_ids=np.array([item.class_id for item in good], np.int64),
        bad=tuple(item.bad for item in group if item.bad is not None),
    )


def _stack(values: Sequence[Input], crop: int) -> NDArray[np.float32]:
    return np.stack(values) if values else np.empty((0, 3, crop, crop), np.float32)
