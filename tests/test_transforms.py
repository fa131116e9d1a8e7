import numpy as np
import pytest
from PIL import Image

from garbage_cli.config import AugmentConfig, PreprocessConfig
from garbage_cli.transforms import Preprocess, TrainPreprocess, normalise

SPEC = PreprocessConfig(resize_short=64, crop=48)


def picture(width: int, height: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows * 255 // height, columns * 255 // width, (rows * columns) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def resize_then_crop(rgb: np.ndarray, spec: PreprocessConfig) -> np.ndarray:
    """The definition, step by step."""
    height, width = rgb.shape[:2]
    scale = spec.resize_short / min(width, height)
    size = (round(width * scale), round(height * scale))
    image = Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - spec.crop) // 2, (size[1] - spec.crop) // 2
    return np.asarray(image.crop((left, top, left + spec.crop, top + spec.crop)))


@pytest.mark.parametrize("size", [(64, 64), (341, 256), (100, 75), (75, 100), (640, 64), (37, 201)])
def test_one_resize_of_the_crop_equals_resize_then_crop(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    expected = normalise(resize_then_crop(rgb, SPEC), SPEC)
    # a pixel may be rounded to its neighbour value: 1/255 of the range, over the smallest std
    assert np.abs(Preprocess(SPEC)(rgb) - expected).max() <= 1.01 / 255 / min(SPEC.std)


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (3, 2)])
def test_extreme_shapes_cost_no_more_than_the_input(size: tuple[int, int]) -> None:
    values = Preprocess(SPEC)(picture(*size))
    assert values.shape == (3, 48, 48)
    assert np.isfinite(values).all()


def test_normalisation_is_value_over_255_minus_mean_over_std() -> None:
    rgb = np.full((48, 48, 3), 255, np.uint8)
    expected = (1 - np.array(SPEC.mean)) / np.array(SPEC.std)
    np.testing.assert_allclose(normalise(rgb, SPEC)[:, 0, 0], expected, rtol=1e-6)


def test_training_is_the_same_for_the_same_seed_and_differs_for_another() -> None:
    transform = TrainPreprocess(SPEC, AugmentConfig())
    first, again, other = (transform(picture(90, 70), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_random_erasing_sets_a_rectangle_of_the_right_area_to_zero() -> None:
    transform = TrainPreprocess(SPEC, AugmentConfig(erase=1.0))
    shares = [
        float((transform(picture(90, 70), np.random.default_rng(seed)) == 0).all(axis=0).mean()) for seed in range(50)
    ]
    assert min(shares) > 0.015
    assert max(shares) < 0.42


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    square = PreprocessConfig(resize_short=48, crop=48)
    off = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.0, erase=0.0)
    rgb = picture(48, 48)
    np.testing.assert_array_equal(TrainPreprocess(square, off)(rgb, np.random.default_rng(0)), Preprocess(square)(rgb))
