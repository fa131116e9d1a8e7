"""RandAugment and AutoAugment: each change against a formula or a known picture, and what is drawn how often."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from garbage_cli.config import AugmentConfig, PreprocessConfig
from garbage_cli.transforms import TrainPreprocess, policies
from garbage_cli.transforms import operations as op

SPEC = PreprocessConfig(resize_short=48, crop=48)


def picture(seed: int = 0, *, low: int = 0, high: int = 256, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (side, side, 3), dtype=np.uint8)


def applied(operation: Callable[[Image.Image, float], Image.Image], pixels: np.ndarray, amount: float) -> np.ndarray:
    return np.asarray(operation(Image.fromarray(pixels), amount)).astype(int)


def grey(pixels: np.ndarray) -> np.ndarray:
    """ITU-R 601-2 luma."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def test_identity_changes_nothing() -> None:
    np.testing.assert_array_equal(applied(op.identity, picture(), 10), picture())


def test_inverting_gives_255_minus_the_value() -> None:
    np.testing.assert_array_equal(applied(op.invert, picture(), 0), 255 - picture().astype(int))


@pytest.mark.parametrize("threshold", [0, 1, 128, 255, 256])
def test_solarizing_inverts_from_the_threshold_up(threshold: int) -> None:
    pixels = picture().astype(int)
    expected = np.where(pixels < threshold, pixels, 255 - pixels)
    np.testing.assert_array_equal(applied(op.solarize, picture(), threshold), expected)


@pytest.mark.parametrize("bits", [1, 4, 7, 8])
def test_posterizing_keeps_the_highest_bits(bits: int) -> None:
    step = 2 ** (8 - bits)
    np.testing.assert_array_equal(applied(op.posterize, picture(), bits), picture().astype(int) // step * step)


def test_autocontrast_stretches_each_channel_to_the_whole_range() -> None:
    pixels = np.concatenate([picture(c, low=60 - 10 * c, high=150 + 20 * c)[..., :1] for c in range(3)], axis=-1)
    low, high = pixels.min(axis=(0, 1)).astype(float), pixels.max(axis=(0, 1)).astype(float)
    assert np.abs(applied(op.autocontrast, pixels, 0) - (pixels - low) * 255 / (high - low)).max() <= 1


def test_equalizing_makes_the_histogram_even() -> None:
    dark = (picture(side=256).astype(float) ** 3 / 255**3 * 99).astype(np.uint8)  # most values near 0
    values = applied(op.equalize, dark, 0)
    for channel in range(3):
        before = dark[..., channel].ravel()
        below = np.searchsorted(np.sort(before), before)
        assert np.abs(values[..., channel].ravel() - 255 * below / below.max()).max() < 3


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5, 1.0, 1.9])
def test_the_enhancements_scale_the_distance_from_what_they_are_named_for(factor: float) -> None:
    pixels = picture(low=90, high=160)
    luma = np.round(grey(pixels))
    for operation, rest in (
        (op.brightness, np.zeros_like(luma)),
        (op.contrast, np.full_like(luma, np.round(luma.mean()))),
        (op.colour, luma),
    ):
        expected = (rest[..., None] + factor * (pixels - rest[..., None])).clip(0, 255)
        assert np.abs(applied(operation, pixels, factor) - expected).max() <= 2, operation


@pytest.mark.parametrize("factor", [0.1, 1.0, 1.9])
def test_sharpness_scales_the_distance_from_a_blurred_photo(factor: float) -> None:
    pixels = picture(low=100, high=140).astype(float)
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(0, 1))
    blurred = (windows * kernel).sum(axis=(-1, -2))
    inner = pixels[1:-1, 1:-1]
    expected = blurred + factor * (inner - blurred)
    found = applied(op.sharpness, pixels.astype(np.uint8), factor)
    assert np.abs(found[1:-1, 1:-1] - expected).max() <= 2


@pytest.mark.parametrize("pixels", [-39, -7, 0, 1, 13, 40])
def test_translating_moves_by_whole_pixels_and_fills_with_grey(pixels: int) -> None:
    before = picture()
    right, down = (np.full((40, 40, 3), 128) for _ in range(2))
    for target in range(40):
        if 0 <= target - pixels < 40:
            right[:, target] = before[:, target - pixels]
            down[target] = before[target - pixels]
    np.testing.assert_array_equal(applied(op.translate_x, before, pixels / 40), right)
    np.testing.assert_array_equal(applied(op.translate_y, before, pixels / 40), down)


def test_a_quarter_turn_is_exact_and_counter_clockwise() -> None:
    np.testing.assert_array_equal(applied(op.rotate, picture(), 90), np.rot90(picture()))


def test_an_eighth_of_a_turn_takes_the_right_edge_to_the_upper_right_and_fills_the_corners() -> None:
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[19:22, 33:36] = 255  # 14 to the right of the centre
    turned = applied(op.rotate, pixels, 45)
    assert tuple(turned[0, 0]) == op.FILL
    bright = np.argwhere(turned[..., 0] > 180)
    np.testing.assert_allclose(bright.mean(axis=0), [20 - 14 / 2**0.5, 20 + 14 / 2**0.5], atol=0.8)


@pytest.mark.parametrize("slope", [-0.3, 0.15, 0.3])
def test_shearing_slides_a_row_in_proportion_to_its_number(slope: float) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 20] = 255  # a line from top to bottom
    leaning = applied(op.shear_x, pixels, slope)
    lying = applied(op.shear_y, pixels.transpose(1, 0, 2), slope).transpose(1, 0, 2)
    for picture_ in (leaning, lying):
        line = np.where(picture_[..., 0] == 128, 0, picture_[..., 0])[..., None] * np.arange(40)[:, None]
        places = line.sum(axis=(1, 2)) / np.where(picture_[..., 0] == 128, 0, picture_[..., 0]).sum(axis=1)
        np.testing.assert_allclose(places, 20 - slope * (np.arange(40) + 0.5), atol=0.6)


@pytest.mark.parametrize("change", policies.RANDAUGMENT)
def test_level_zero_of_randaugment_changes_nothing_where_there_is_a_level(change: policies.Change) -> None:
    if change.slope:
        image = Image.fromarray(picture())
        np.testing.assert_array_equal(np.asarray(change(image, 0, np.random.default_rng(0))), picture())


def test_levels_reach_the_papers_ranges() -> None:
    reached = {change.apply.__name__: change.none + 10 * change.slope for change in policies.RANDAUGMENT}
    assert {name: round(amount, 2) for name, amount in reached.items()} == {
        "identity": 0, "autocontrast": 0, "equalize": 0, "rotate": 30, "solarize": 0, "colour": 1.9, "posterize": 4,
        "contrast": 1.9, "brightness": 1.9, "sharpness": 1.9, "shear_x": 0.3, "shear_y": 0.3,
        "translate_x": 0.45, "translate_y": 0.45,
    }  # fmt: skip


def test_a_signed_change_goes_both_ways_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts: list[float] = []

    def note(image: Image.Image, amount: float) -> Image.Image:
        amounts.append(amount)
        return image

    random = np.random.default_rng(0)
    for _ in range(400):
        policies.Change(note, 1, 0.09, signed=True)(Image.new("RGB", (2, 2)), 5, random)
    assert set(np.round(amounts, 6)) == {0.55, 1.45}
    assert 150 < sum(amount > 1 for amount in amounts) < 250


def counted(changes: tuple[policies.Change, ...], calls: Counter[str]) -> tuple[policies.Change, ...]:
    def wrap(name: str) -> policies.Change:
        def note(image: Image.Image, amount: float) -> Image.Image:
            calls[name] += 1
            return image

        return policies.Change(note)

    return tuple(wrap(change.apply.__name__) for change in changes)


def test_randaugment_draws_all_fourteen_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    monkeypatch.setattr(policies, "RANDAUGMENT", counted(policies.RANDAUGMENT, calls))
    random = np.random.default_rng(0)
    for _ in range(700):
        policies.rand_augment(Image.new("RGB", (2, 2)), random, layers=4, magnitude=5)
    assert len(calls) == 14
    assert sum(calls.values()) == 2800
    assert all(150 < count < 250 for count in calls.values())


def test_autoaugment_has_the_published_pairs() -> None:
    steps = [step for pair in policies.AUTOAUGMENT for step in pair]
    assert len(policies.AUTOAUGMENT) == 25
    assert round(sum(probability for _, probability, _ in steps), 1) == 31.0
    assert Counter(change.apply.__name__ for change, _, _ in steps) == {
        "equalize": 17, "solarize": 7, "colour": 6, "rotate": 6, "posterize": 5, "invert": 3,
        "autocontrast": 2, "contrast": 2, "sharpness": 1, "shear_x": 1,
    }  # fmt: skip


def test_autoaugment_applies_each_half_with_its_own_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    never, often, always = counted(policies.RANDAUGMENT[:3], calls)
    monkeypatch.setattr(policies, "AUTOAUGMENT", (((never, 0.0, 5), (often, 0.4, 5)), ((always, 1.0, 5),) * 2))
    random = np.random.default_rng(0)
    for _ in range(500):
        policies.auto_augment(Image.new("RGB", (2, 2)), random)
    assert calls["identity"] == 0
    assert 70 < calls["autocontrast"] < 130  # half of the photos, of which 0.4
    assert 450 < calls["equalize"] < 550


@given(st.integers(0, 2**32 - 1), st.sampled_from(["randaugment", "autoaugment"]), st.integers(0, 10))
@settings(max_examples=60)
def test_a_policy_is_a_function_of_the_seed_and_keeps_the_inputs_shape(seed: int, policy: str, magnitude: int) -> None:
    augment = AugmentConfig(policy=policy, policy_magnitude=magnitude, policy_layers=3)  # type: ignore[arg-type]
    transform = TrainPreprocess(SPEC, augment)
    first, again = (transform(picture(), np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (3, 48, 48)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()


def test_without_a_policy_nothing_is_drawn_for_one() -> None:
    random, untouched = np.random.default_rng(3), np.random.default_rng(3)
    image = Image.fromarray(picture())
    assert policies.change(image, AugmentConfig(), random) is image
    assert random.random() == untouched.random()


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment"])
def test_a_policy_changes_most_photos(policy: str) -> None:
    augment = AugmentConfig(policy=policy, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, erase=0)  # type: ignore[arg-type]
    plain = TrainPreprocess(SPEC, AugmentConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, erase=0))
    transform = TrainPreprocess(SPEC, augment)
    pixels = picture(side=48)
    expected = plain(pixels, np.random.default_rng(0))
    same = [np.array_equal(transform(pixels, np.random.default_rng(seed)), expected) for seed in range(40)]
    assert sum(same) < 12


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2, 5)])
def test_a_policy_bears_the_smallest_and_thinnest_photos(size: tuple[int, int]) -> None:
    for policy in ("randaugment", "autoaugment"):
        transform = TrainPreprocess(SPEC, AugmentConfig(policy=policy, policy_layers=14))  # type: ignore[arg-type]
        pixels = np.full((size[1], size[0], 3), 7, np.uint8)
        for seed in range(20):
            assert transform(pixels, np.random.default_rng(seed)).shape == (3, 48, 48)
