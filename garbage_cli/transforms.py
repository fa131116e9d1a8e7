"""An upright RGB array → the network's input. Training adds augmentation to the same specification.

Knows resizing, cropping, normalising. Does not know where images come from.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from garbage_cli.config import AugmentConfig, PreprocessConfig

if TYPE_CHECKING:
    from PIL.Image import Resampling

Rgb = NDArray[np.uint8]
"""Shape (height, width, 3)."""
Input = NDArray[np.float32]
"""Shape (3, crop, crop)."""
Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels of the source."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What the network sees of a photo at evaluation, prediction and serving."""

    spec: PreprocessConfig

    def __call__(self, rgb: Rgb) -> Input:
        """Shorter side to `resize_short`, centre crop, normalise: uint8 (h, w, 3) → float32 (3, crop, crop)."""
        height, width = rgb.shape[:2]
        return normalise(resize_box(rgb, self._box(width, height), self.spec), self.spec)

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

    def __call__(self, rgb: Rgb, random: np.random.Generator) -> Input:
        """Random resized crop, flip, normalise, RandomErasing: uint8 (h, w, 3) → float32 (3, crop, crop)."""
        height, width = rgb.shape[:2]
        box = random_box(width, height, self.augment, random)
        pixels = resize_box(rgb, box, self.spec)
        if random.random() < self.augment.flip:
            pixels = pixels[:, ::-1]
        values = normalise(pixels, self.spec)
        if random.random() < self.augment.erase:
            erase(values, self.augment, random)
        return values


def resize_box(rgb: Rgb, box: Box, spec: PreprocessConfig) -> Rgb:
    """Cut `box` out and resize it to (crop, crop), as if the whole photo had been resized and then cut."""
    from PIL import Image

    image = Image.fromarray(rgb)
    side = spec.crop
    return np.asarray(image.resize((side, side), _filter(spec), box=box))


def _filter(spec: PreprocessConfig) -> "Resampling":
    from PIL.Image import Resampling

    return {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[spec.interpolation]


def normalise(rgb: Rgb, spec: PreprocessConfig) -> Input:
    """(value / 255 − mean) / std per channel, channels first."""
    scale = np.float32(1 / 255) / np.asarray(spec.std, np.float32)
    shift = np.asarray(spec.mean, np.float32) / np.asarray(spec.std, np.float32)
    return np.ascontiguousarray((rgb * scale - shift).transpose(2, 0, 1), dtype=np.float32)


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
