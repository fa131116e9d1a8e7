"""An upright photo → the network's input. Training adds augmentation to the same specification.

Knows resizing, cropping, normalising. Does not know where photos come from.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from garbage_cli.config import AugmentConfig, PreprocessConfig
from garbage_cli.images import Decoded
from garbage_cli.transforms.policies import change

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

Rgb = NDArray[np.uint8]
"""Shape (height, width, 3)."""
Input = NDArray[np.float32]
"""Shape (3, crop, crop)."""
Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels of the source."""
Size = tuple[int, int]
"""Width, height."""

ENOUGH = 4.0
"""Measured: benchmarks/reduced_decoding.py, docs/log.md."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What the network sees of a photo at evaluation, prediction and serving."""

    spec: PreprocessConfig

    def __call__(self, photo: "Rgb | Image") -> Input:
        """Shorter side to `resize_short`, centre crop, normalise: uint8 (h, w, 3) → float32 (3, crop, crop).

        A Pillow image in RGB gives the same as its array, and saves two copies.
        """
        image = _as_image(photo)
        return self._resized(image, image.size)

    def decoded(self, photo: Decoded) -> Input:
        """Do the same with a photo that may have been reduced while it was decoded: its sides were rounded up then."""
        return self._resized(photo.image, photo.whole)

    def _resized(self, image: "Image", whole: Size) -> Input:
        by = max(1, round(max(whole) / max(image.size)))
        left, top, right, bottom = _reduced(self._box(*whole), by)
        box = (left, top, min(right, image.width), min(bottom, image.height))
        return normalise(np.asarray(resize_box(image, box, self.spec)), self.spec)

    def reduction(self, size: Size) -> int:
        """Return by how much a photo may be reduced while it is decoded (1, 2, 4 or 8) and still get the same answer.

        What is left has at least ENOUGH times the pixels of the resized photo, each way: the resizing takes the mean of
        that many, so that it matters little that the decoder has taken it of some before.
        """
        return next((by for by in (8, 4, 2) if min(size) >= by * ENOUGH * self.spec.resize_short), 1)

    def _box(self, width: int, height: int) -> Box:
        """The part of the source that the centre crop covers.

        Resizing only that part gives the pixels of resize-then-crop, and a 1 × 50,000 photo costs no more memory.
        """
        percent = self.spec.resize_short / min(width, height)
        resized = (max(1, round(width * percent)), max(1, round(height * percent)))
        left, top = ((side - self.spec.crop) // 2 for side in resized)
        across, down = width / resized[0], height / resized[1]
        right, bottom = left + self.spec.crop, top + self.spec.crop
        return left * across, top * down, min(right * across, width), min(bottom * down, height)


@dataclass(frozen=True, slots=True)
class TrainPreprocess:
    """The same input, with the augmentation of training."""

    spec: PreprocessConfig
    augment: AugmentConfig

    def __call__(
        self, photo: "Rgb | Image", random: np.random.Generator, *, size: Size | None = None, reduction: int = 1
    ) -> Input:
        """Random resized crop, flip, policy, normalise, RandomErasing: uint8 (h, w, 3) → float32 (3, crop, crop).

        Where `photo` was reduced while it was decoded, `size` is what it was before: the crop is drawn from that, so
        that it does not depend on the reduction.
        """
        image = _as_image(photo)
        box = random_box(*(size or image.size), self.augment, random)
        image = resize_box(image, _reduced(box, reduction), self.spec)
        if random.random() < self.augment.flip:
            image = _mirrored(image)
        values = normalise(np.asarray(change(image, self.augment, random)), self.spec)
        if random.random() < self.augment.erase:
            erase(values, self.augment, random)
        return values

    def reduction(self, size: Size, random: np.random.Generator) -> int:
        """Return by how much a photo may be reduced while it is decoded (1, 2, 4 or 8) and still look the same.

        What is left of the crop that `random` is about to draw has at least twice the pixels of the input, each way, so
        that the resizing averages over what the reduction has averaged already. `random` stays as it is.
        """
        enough = 2 * self.spec.crop
        if min(size) < 2 * enough:
            return 1
        left, top, right, bottom = random_box(*size, self.augment, deepcopy(random))
        side = min(right - left, bottom - top)
        return next((scale for scale in (8, 4, 2) if side >= scale * enough), 1)


def _as_image(photo: "Rgb | Image") -> "Image":
    from PIL import Image

    return Image.fromarray(photo) if isinstance(photo, np.ndarray) else photo


def _mirrored(image: "Image") -> "Image":
    from PIL.Image import Transpose

    return image.transpose(Transpose.FLIP_LEFT_RIGHT)


def _reduced(box: Box, reduction: int) -> Box:
    """The same box in a photo whose sides are 1/reduction as long, rounded up."""
    left, top, right, bottom = box
    return left / reduction, top / reduction, right / reduction, bottom / reduction


def resize_box(image: "Image", box: Box, spec: PreprocessConfig) -> "Image":
    """Cut `box` out and resize it to (crop, crop), as if the whole photo had been resized and then cut."""
    return image.resize((spec.crop, spec.crop), _filter(spec), box=box)


def _filter(spec: PreprocessConfig) -> "Resampling":
    from PIL.Image import Resampling

    return {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[spec.interpolation]


def normalise(rgb: Rgb, spec: PreprocessConfig) -> Input:
    """(value / 255 − mean) / std per channel, channels first."""
    scale = np.float32(1 / 255) / np.asarray(spec.std, np.float32)
    shift = np.asarray(spec.mean, np.float32) / np.asarray(spec.std, np.float32)
    # channels go first while they are bytes, and the rest happens in place: 15 times as fast as the formula in one line
    values = np.ascontiguousarray(rgb.transpose(2, 0, 1)).astype(np.float32)
    values *= scale[:, None, None]
    values -= shift[:, None, None]
    return values


def random_box(width: int, height: int, augment: AugmentConfig, random: np.random.Generator) -> Box:
    """Draw a crop of a random area and aspect (Szegedy et al. 2015); after ten misses, the largest centred one."""
    for _ in range(10):
        area = width * height * random.uniform(*augment.crop_scale)
        aspect = np.exp(random.uniform(*np.log(augment.crop_ratio)))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            return left, top, left + w, top + h
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def erase(values: Input, augment: AugmentConfig, random: np.random.Generator) -> None:
    """Set one random rectangle to 0, in place; give up after a hundred that do not fit (Zhong et al. 2017)."""
    _, height, width = values.shape
    for _ in range(100):
        area = height * width * random.uniform(*augment.erase_area)
        aspect = random.uniform(augment.erase_aspect, 1 / augment.erase_aspect)
        h, w = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w < width and 0 < h < height:
            top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
            values[:, top : top + h, left : left + w] = 0
            return
