import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from garbage_cli.config import AugmentConfig, PreprocessConfig
from garbage_cli.images import open_photo
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.transforms import ENOUGH, Preprocess, TrainPreprocess, normalise, random_box

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


def test_normalising_is_the_formula_in_32_bits_to_the_last_one() -> None:
    rgb = picture(50, 40)
    scale = np.float32(1 / 255) / np.asarray(SPEC.std, np.float32)
    shift = np.asarray(SPEC.mean, np.float32) / np.asarray(SPEC.std, np.float32)
    np.testing.assert_array_equal(normalise(rgb[:, ::-1], SPEC), (rgb[:, ::-1] * scale - shift).transpose(2, 0, 1))


def test_a_pillow_image_gives_what_its_array_gives() -> None:
    rgb = picture(90, 70)
    image = Image.fromarray(rgb)
    np.testing.assert_array_equal(Preprocess(SPEC)(image), Preprocess(SPEC)(rgb))
    transform = TrainPreprocess(SPEC, AugmentConfig())
    np.testing.assert_array_equal(*(transform(photo, np.random.default_rng(5)) for photo in (image, rgb)))


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 0.6), (1.0, 1.0)])
def test_a_reduction_leaves_twice_the_inputs_pixels_in_the_crop_and_draws_nothing(scale: tuple[float, float]) -> None:
    augment = AugmentConfig(crop_scale=scale)
    transform = TrainPreprocess(SPEC, augment)
    found = set()
    for seed in range(100):
        random = np.random.default_rng(seed)
        reduction = transform.reduction((1500, 1000), random)
        left, top, right, bottom = random_box(1500, 1000, augment, random)
        side = min(right - left, bottom - top)
        assert reduction == 1 or side / reduction >= 2 * SPEC.crop
        assert reduction == 8 or side / (2 * reduction) < 2 * SPEC.crop
        assert random_box(1500, 1000, augment, np.random.default_rng(seed)) == (left, top, right, bottom)
        found.add(reduction)
    assert max(found) == 8


def test_photos_of_the_usual_size_are_never_reduced() -> None:
    transform = TrainPreprocess(PreprocessConfig(), AugmentConfig(crop_scale=(1.0, 1.0)))
    assert {transform.reduction((341, 256), np.random.default_rng(seed)) for seed in range(20)} == {1}
    assert transform.reduction((4000, 895), np.random.default_rng(0)) == 1


def test_the_crop_of_a_reduced_photo_is_the_crop_of_the_whole_one() -> None:
    rgb = picture(800, 600)
    transform = TrainPreprocess(SPEC, AugmentConfig(erase=0, crop_scale=(0.5, 1)))
    half = Image.fromarray(rgb).resize((400, 300), Image.Resampling.BOX)
    for seed in range(10):
        whole = transform(rgb, np.random.default_rng(seed))
        reduced = transform(half, np.random.default_rng(seed), size=(800, 600), reduction=2)
        # red and green rise by less than 6 values from pixel to pixel: a crop beside it would show
        assert np.abs(whole - reduced)[:2].max() * 255 * min(SPEC.std) < 2


# ---- photos that are reduced while they are decoded, for an answer


def jpeg(rgb: np.ndarray, orientation: int = 1, format: str = "JPEG") -> bytes:
    written = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif.tobytes(), "quality": 95} if format == "JPEG" else {}
    Image.fromarray(rgb).save(written, format, **options)
    return written.getvalue()


@pytest.mark.parametrize("by", [2, 4, 8])
def test_a_photo_is_reduced_only_while_enough_pixels_are_left(by: int) -> None:
    spec = PreprocessConfig(resize_short=100, crop=80)  # ENOUGH of it is 400
    reduction = Preprocess(spec).reduction
    edge = by * 400
    assert ENOUGH == 4
    assert reduction((edge, edge)) == reduction((60_000, edge)) == reduction((edge, 60_000)) == by
    assert reduction((60_000, edge - 1)) == reduction((edge - 1, 60_000)) == by // 2
    for side in range(1, 6000, 7):
        assert reduction((side, 6000)) == 1 or side / reduction((side, 6000)) >= ENOUGH * spec.resize_short


def test_no_photo_is_reduced_by_more_than_eight_or_below_one() -> None:
    reduction = Preprocess(PreprocessConfig(resize_short=10, crop=10)).reduction
    assert reduction((65_000, 65_000)) == 8
    assert reduction((1, 1)) == reduction((79, 60_000)) == 1


def test_the_reduction_is_asked_for_with_the_stored_size_and_answered_for_jpegs_only() -> None:
    asked: list[tuple[int, int]] = []

    def half(size: tuple[int, int]) -> int:
        asked.append(size)
        return 2

    rgb = picture(301, 200)
    assert open_photo(jpeg(rgb), reduction=half).image.size == (151, 100)
    assert open_photo(jpeg(rgb, orientation=6), reduction=half).image.size == (100, 151)  # asked before it is turned
    for format in ("PNG", "WEBP", "BMP", "GIF", "TIFF"):
        assert open_photo(jpeg(rgb, format=format), reduction=half).image.size == (301, 200), format
    assert asked == [(301, 200)] * 7
    assert open_photo(jpeg(rgb), reduction=lambda size: 1).image.size == (301, 200)
    whole = np.asarray(open_photo(jpeg(rgb)).image)
    np.testing.assert_array_equal(np.asarray(open_photo(jpeg(rgb), reduction=1).image), whole)


def test_a_png_of_any_size_is_decoded_whole() -> None:
    transform = Preprocess(SPEC)
    rgb = picture(1600, 1200)
    assert transform.reduction((1600, 1200)) > 1
    image = open_photo(jpeg(rgb, format="PNG"), reduction=transform.reduction).image
    np.testing.assert_array_equal(np.asarray(image), rgb)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600), (1597, 1203), (523, 530)])
def test_the_input_of_a_reduced_photo_is_nearly_that_of_the_whole(size: tuple[int, int], orientation: int) -> None:
    transform = Preprocess(SPEC)
    data = jpeg(soft(*size), orientation)
    assert transform.reduction(size) > 1
    reduced = open_photo(data, reduction=transform.reduction)
    assert reduced.image.size != open_photo(data).image.size
    difference = (
        np.abs(transform.decoded(reduced) - transform(open_photo(data).image)) * np.array(SPEC.std)[:, None, None] * 255
    )
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 10


def soft(width: int, height: int) -> np.ndarray:
    """A picture with the edges and the noise of a photo."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    rgb = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    rgb[height // 3 : height // 2, width // 4 : width // 2] = (200, 40, 30)
    return np.clip(rgb + random.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)


def test_a_big_photo_is_answered_as_if_it_were_decoded_whole(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(colour_bundle)
    photo = Photo("big.jpg", jpeg(soft(1300, 900)))
    sizes: list[tuple[int, int]] = []

    def opening(*arguments: Any, reduction: Any = 1) -> Any:
        opened = open_photo(*arguments, reduction=reduction)
        sizes.append(opened.image.size)
        return opened

    monkeypatch.setattr("garbage_cli.predictor.open_photo", opening)
    reduced = predictor.answer(photo)
    monkeypatch.setattr(Preprocess, "reduction", lambda self, size: 1)
    whole = predictor.answer(photo)
    assert sizes == [(325, 225), (1300, 900)]
    assert [each.label for each in reduced.scores] == [each.label for each in whole.scores]
    np.testing.assert_allclose([s.score for s in reduced.scores], [s.score for s in whole.scores], atol=0.005)
