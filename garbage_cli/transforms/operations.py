"""Changes of a photo's colour and geometry, each with an amount in units of its own.

Knows pixels: an RGB image in, an RGB image of the same size out. Does not know chance or strength.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

FILL = (128, 128, 128)
"""What comes in from beyond the edge: mid grey, close to the mean of most data."""


def identity(image: "Image", amount: float) -> "Image":
    """Return the image as it is, whatever the amount."""
    return image


def autocontrast(image: "Image", amount: float) -> "Image":
    """Stretch each channel in a straight line so that it spans 0…255, whatever the amount."""
    from PIL import ImageOps

    return ImageOps.autocontrast(image)


def equalize(image: "Image", amount: float) -> "Image":
    """Spread each channel so that its histogram is even, whatever the amount."""
    from PIL import ImageOps

    return ImageOps.equalize(image)


def invert(image: "Image", amount: float) -> "Image":
    """Turn each value v into 255 − v, whatever the amount."""
    from PIL import ImageOps

    return ImageOps.invert(image)


def solarize(image: "Image", threshold: float) -> "Image":
    """Invert the values that are `threshold` (0…256) or more."""
    from PIL import ImageOps

    return ImageOps.solarize(image, round(threshold))


def posterize(image: "Image", bits: float) -> "Image":
    """Keep the highest `bits` (1…8) of each value and set the others to 0."""
    from PIL import ImageOps

    return ImageOps.posterize(image, round(bits))


def colour(image: "Image", factor: float) -> "Image":
    """Scale the distance from the photo's own grey: 0 is grey, 1 the photo, more is more vivid."""
    from PIL import ImageEnhance

    return ImageEnhance.Color(image).enhance(factor)


def contrast(image: "Image", factor: float) -> "Image":
    """Scale the distance from the photo's mean grey: 0 is flat, 1 the photo."""
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(image).enhance(factor)


def brightness(image: "Image", factor: float) -> "Image":
    """Scale the values: 0 is black, 1 the photo."""
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(factor)


def sharpness(image: "Image", factor: float) -> "Image":
    """Scale the distance from a blurred photo: 0 is blurred, 1 the photo, more is sharper."""
    from PIL import ImageEnhance

    return ImageEnhance.Sharpness(image).enhance(factor)


def rotate(image: "Image", degrees: float) -> "Image":
    """Turn about the centre, counter-clockwise, the corners cut."""
    from PIL.Image import Resampling

    return image.rotate(degrees, Resampling.BILINEAR, fillcolor=FILL)


def shear_x(image: "Image", slope: float) -> "Image":
    """Slide each row to the left by `slope` pixels per row above it."""
    from PIL.Image import Resampling

    return _affine(image, (1, slope, 0, 0, 1, 0), Resampling.BILINEAR)


def shear_y(image: "Image", slope: float) -> "Image":
    """Slide each column up by `slope` pixels per column left of it."""
    from PIL.Image import Resampling

    return _affine(image, (1, 0, 0, slope, 1, 0), Resampling.BILINEAR)


def translate_x(image: "Image", part: float) -> "Image":
    """Move to the right by a part of the width, in whole pixels."""
    return _translate(image, round(part * image.width), 0)


def translate_y(image: "Image", part: float) -> "Image":
    """Move down by a part of the height, in whole pixels."""
    return _translate(image, 0, round(part * image.height))


def _translate(image: "Image", right: int, down: int) -> "Image":
    from PIL.Image import Resampling

    return _affine(image, (1, 0, -right, 0, 1, -down), Resampling.NEAREST)


def _affine(
    image: "Image", source: tuple[float, float, float, float, float, float], resampling: "Resampling"
) -> "Image":
    """The pixel at x, y comes from a·x + b·y + c, d·x + e·y + f."""
    from PIL.Image import Transform

    return image.transform(image.size, Transform.AFFINE, source, resampling, fillcolor=FILL)
