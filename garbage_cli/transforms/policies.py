"""Which changes a photo gets in training, at random: RandAugment, or AutoAugment's policy for ImageNet.

Knows chance and strength. Does not know how a change is made.

A strength is a level of 0 to 10, as in the papers. Here a higher level is always a stronger change; the authors'
programs differ from one another in that for solarize and posterize.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from garbage_cli.config import AugmentConfig
from garbage_cli.transforms import operations as op

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Change:
    """An operation and its amounts: `none + slope × level`, or minus that, by the toss of a coin, if it is `signed`."""

    apply: "Callable[[Image, float], Image]"
    none: float = 0.0
    slope: float = 0.0
    signed: bool = False

    def __call__(self, image: "Image", level: float, random: np.random.Generator) -> "Image":
        """Change an image with a level of 0 to 10."""
        sign = -1 if self.signed and random.random() < 0.5 else 1
        return self.apply(image, self.none + sign * self.slope * level)


AUTOCONTRAST = Change(op.autocontrast)
EQUALIZE = Change(op.equalize)
INVERT = Change(op.invert)
ROTATE = Change(op.rotate, 0, 3, signed=True)  # to 30°
SOLARIZE = Change(op.solarize, 256, -25.6)  # to all values
POSTERIZE = Change(op.posterize, 8, -0.4)  # to 4 bits
SHEAR_X = Change(op.shear_x, 0, 0.03, signed=True)  # to 0.3
SHEAR_Y = Change(op.shear_y, 0, 0.03, signed=True)
TRANSLATE_X = Change(op.translate_x, 0, 15 / 331, signed=True)  # to 150 of the 331 pixels of AutoAugment's networks
TRANSLATE_Y = Change(op.translate_y, 0, 15 / 331, signed=True)

RANDAUGMENT = (
    Change(op.identity),
    AUTOCONTRAST,
    EQUALIZE,
    ROTATE,
    SOLARIZE,
    Change(op.colour, 1, 0.09, signed=True),  # from 0.1 to 1.9, and nothing at level 0
    POSTERIZE,
    Change(op.contrast, 1, 0.09, signed=True),
    Change(op.brightness, 1, 0.09, signed=True),
    Change(op.sharpness, 1, 0.09, signed=True),
    SHEAR_X,
    SHEAR_Y,
    TRANSLATE_X,
    TRANSLATE_Y,
)
"""The fourteen of Cubuk et al. 2020, section 3.2."""

# AutoAugment's own scale for these: level 0 is a factor of 0.1, level 10 one of 1.9
_COLOUR, _CONTRAST, _SHARPNESS = (Change(each, 0.1, 0.18) for each in (op.colour, op.contrast, op.sharpness))

Step = tuple[Change, float, float]
"""A change, its probability, its level."""

AUTOAUGMENT: tuple[tuple[Step, Step], ...] = (
    ((POSTERIZE, 0.4, 8), (ROTATE, 0.6, 9)),
    ((SOLARIZE, 0.6, 5), (AUTOCONTRAST, 0.6, 5)),
    ((EQUALIZE, 0.8, 8), (EQUALIZE, 0.6, 3)),
    ((POSTERIZE, 0.6, 7), (POSTERIZE, 0.6, 6)),
    ((EQUALIZE, 0.4, 7), (SOLARIZE, 0.2, 4)),
    ((EQUALIZE, 0.4, 4), (ROTATE, 0.8, 8)),
    ((SOLARIZE, 0.6, 3), (EQUALIZE, 0.6, 7)),
    ((POSTERIZE, 0.8, 5), (EQUALIZE, 1.0, 2)),
    ((ROTATE, 0.2, 3), (SOLARIZE, 0.6, 8)),
    ((EQUALIZE, 0.6, 8), (POSTERIZE, 0.4, 6)),
    ((ROTATE, 0.8, 8), (_COLOUR, 0.4, 0)),
    ((ROTATE, 0.4, 9), (EQUALIZE, 0.6, 2)),
    ((EQUALIZE, 0.0, 7), (EQUALIZE, 0.8, 8)),
    ((INVERT, 0.6, 4), (EQUALIZE, 1.0, 8)),
    ((_COLOUR, 0.6, 4), (_CONTRAST, 1.0, 8)),
    ((ROTATE, 0.8, 8), (_COLOUR, 1.0, 2)),
    ((_COLOUR, 0.8, 8), (SOLARIZE, 0.8, 7)),
    ((_SHARPNESS, 0.4, 7), (INVERT, 0.6, 8)),
    ((SHEAR_X, 0.6, 5), (EQUALIZE, 1.0, 9)),
    ((_COLOUR, 0.4, 0), (EQUALIZE, 0.6, 3)),
    ((EQUALIZE, 0.4, 7), (SOLARIZE, 0.2, 4)),
    ((SOLARIZE, 0.6, 5), (AUTOCONTRAST, 0.6, 5)),
    ((INVERT, 0.6, 4), (EQUALIZE, 1.0, 8)),
    ((_COLOUR, 0.6, 4), (_CONTRAST, 1.0, 8)),
    ((EQUALIZE, 0.8, 8), (EQUALIZE, 0.6, 3)),
)
"""The 25 pairs found on ImageNet: Cubuk et al. 2019, table 9. Some are there twice."""


def change(image: "Image", augment: AugmentConfig, random: np.random.Generator) -> "Image":
    """Apply the policy that is set to an RGB image. Without one, nothing is drawn from `random`."""
    if augment.policy == "randaugment":
        return rand_augment(image, random, layers=augment.policy_layers, magnitude=augment.policy_magnitude)
    return auto_augment(image, random) if augment.policy == "autoaugment" else image


def rand_augment(image: "Image", random: np.random.Generator, *, layers: int, magnitude: float) -> "Image":
    """Apply `layers` changes, each any of the fourteen alike, with one level for all (Cubuk et al. 2020)."""
    for _ in range(layers):
        image = RANDAUGMENT[int(random.integers(len(RANDAUGMENT)))](image, magnitude, random)
    return image


def auto_augment(image: "Image", random: np.random.Generator) -> "Image":
    """Apply one of the pairs, any of them alike, each half with its own probability (Cubuk et al. 2019)."""
    for step, probability, level in AUTOAUGMENT[int(random.integers(len(AUTOAUGMENT)))]:
        if random.random() < probability:
            image = step(image, level, random)
    return image
