"""Which photos come when, what is mixed with what, and who gets which part."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from garbage_cli.batches import (
    Batch,
    evaluation_batches,
    mix,
    sample_inputs,
    steps_per_epoch,
    training_batches,
)
from garbage_cli.batches.picking import parts, picks
from garbage_cli.batches.preparing import augmented
from garbage_cli.config import AugmentConfig, PreprocessConfig, TrainConfig
from garbage_cli.dataset import Sample
from garbage_cli.errors import ConfigError, ImageError
from garbage_cli.images import decode, jpeg_size, open_photo
from garbage_cli.transforms import Preprocess, TrainPreprocess

SPEC = PreprocessConfig(resize_short=16, crop=16)
CONFIG = TrainConfig(batch_size=8, preprocess=SPEC, workers=2)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Twenty-one photos of three classes: 3, 6 and 12 of them, each of its own colour."""
    folder = tmp_path_factory.mktemp("photos")
    made = []
    for number in range(21):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        made.append(Sample(folder / f"{number}.png", 0 if number < 3 else 1 if number < 9 else 2))
    return made


def with_a_bad_one(samples: list[Sample], at: int, folder: Path) -> list[Sample]:
    bad = folder / "bad.jpg"
    bad.write_bytes(b"no photo")
    return [*samples[:at], Sample(bad, 0), *samples[at + 1 :]]


def same(first: Batch, second: Batch) -> bool:
    return (
        first.inputs.tobytes() == second.inputs.tobytes()
        and np.array_equal(first.class_ids, second.class_ids)
        and np.array_equal(first.other_ids, second.other_ids)  # type: ignore[arg-type]
        and (first.share, first.bad) == (second.share, second.bad)
    )


# what stays as it was


def test_without_the_new_settings_a_batch_is_made_as_it_always_was(samples: list[Sample]) -> None:
    """Order from (seed, epoch), augmentation from (seed, epoch, sample): docs/decisions/003."""
    order = np.random.default_rng([CONFIG.seed, 3]).permutation(21)
    transform = TrainPreprocess(SPEC, CONFIG.augment)
    batches = list(training_batches(samples, CONFIG, epoch=3))
    assert [len(batch) for batch in batches] == [8, 8, 5]
    for step, batch in enumerate(batches):
        indices = [int(index) for index in order[8 * step : 8 * step + 8]]
        expected = [
            transform(decode(samples[i].path.read_bytes()), np.random.default_rng([CONFIG.seed, 3, i])) for i in indices
        ]
        np.testing.assert_array_equal(batch.inputs, expected)
        assert batch.class_ids.tolist() == [samples[i].class_id for i in indices]
        assert (batch.other_ids, batch.share) == (None, 1.0)


def test_evaluation_sees_each_photo_in_order_as_prediction_does(samples: list[Sample]) -> None:
    batches = list(evaluation_batches(samples, replace(CONFIG, augment=AugmentConfig(mixup=1.0))))
    expected = [Preprocess(SPEC)(decode(sample.path.read_bytes())) for sample in samples]
    np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in batches]), expected)
    assert all(batch.other_ids is None and batch.share == 1 for batch in batches)
    np.testing.assert_array_equal(sample_inputs(samples[:2], SPEC), expected[:2])


# mixing


def batch_of(count: int, seed: int = 0, side: int = 12) -> Batch:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(count, 3, side, side + 3)).astype(np.float32)
    return Batch(inputs, np.arange(count, dtype=np.int64), ())


@given(st.integers(2, 9), st.floats(0.01, 5), st.integers(0, 2**32 - 1))
def test_mixup_blends_each_input_with_that_of_its_other_class(count: int, alpha: float, seed: int) -> None:
    batch = batch_of(count)
    mixed = mix(batch, AugmentConfig(mixup=alpha), np.random.default_rng(seed))
    assert mixed.other_ids is not None
    assert 0 <= mixed.share <= 1
    assert sorted(mixed.other_ids) == list(range(count))  # the classes number the inputs here
    expected = mixed.share * batch.inputs + (1 - mixed.share) * batch.inputs[mixed.other_ids]
    np.testing.assert_allclose(mixed.inputs, expected, atol=1e-5)
    assert mixed.inputs.dtype == np.float32
    np.testing.assert_array_equal(mixed.class_ids, batch.class_ids)


@given(st.integers(2, 9), st.floats(0.01, 5), st.integers(0, 2**32 - 1))
def test_cutmix_lays_a_rectangle_on_each_input_and_its_share_is_the_rest(count: int, alpha: float, seed: int) -> None:
    batch = batch_of(count)
    mixed = mix(batch, AugmentConfig(cutmix=alpha), np.random.default_rng(seed))
    assert mixed.other_ids is not None
    laid = (mixed.inputs != batch.inputs).all(axis=1)  # pixels that changed
    others = batch.inputs[mixed.other_ids]
    np.testing.assert_array_equal(mixed.inputs, np.where(laid[:, None], others, batch.inputs))
    moved = np.flatnonzero(mixed.other_ids != batch.class_ids)
    for number in moved:
        rows, columns = laid[number].any(axis=1), laid[number].any(axis=0)
        assert laid[number].sum() == rows.sum() * columns.sum()  # one rectangle
        assert 1 - laid[number].mean() == pytest.approx(mixed.share)
    assert 0 <= mixed.share <= 1


def test_cutmix_cuts_the_area_that_was_drawn_where_the_edge_leaves_it_whole() -> None:
    batch = batch_of(2, side=200)
    for seed in range(30):
        random = np.random.default_rng(seed)
        drawn = random.beta(1, 1)
        share = mix(batch, AugmentConfig(cutmix=1.0), np.random.default_rng(seed)).share
        assert share > drawn - 0.01  # less is cut where the edge is in the way, never more


def test_mixing_draws_shares_from_the_beta_distribution() -> None:
    batch = batch_of(2, side=1)
    random = np.random.default_rng(0)
    shares = [mix(batch, AugmentConfig(mixup=0.2), random).share for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.015)  # of Beta(a, a)


def test_with_both_a_coin_decides_for_each_batch() -> None:
    batch = batch_of(6)
    random = np.random.default_rng(0)
    blended = 0
    for _ in range(200):
        mixed = mix(batch, AugmentConfig(mixup=1.0, cutmix=1.0), random)
        values = np.isin(mixed.inputs, batch.inputs)
        blended += not values.all()  # CutMix leaves values as they are
    assert 70 < blended < 130


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_one_or_none_is_not_mixed(count: int) -> None:
    batch = batch_of(count)
    assert mix(batch, AugmentConfig(mixup=1.0, cutmix=1.0), np.random.default_rng(0)) is batch


def test_without_mixing_nothing_is_drawn_and_nothing_copied() -> None:
    random = np.random.default_rng(1)
    batch = batch_of(4)
    assert mix(batch, AugmentConfig(), random) is batch
    assert random.random() == np.random.default_rng(1).random()


def test_mixed_batches_are_the_same_wherever_the_epoch_is_entered(samples: list[Sample], tmp_path: Path) -> None:
    config = replace(CONFIG, augment=AugmentConfig(mixup=0.4, cutmix=1.0, policy="randaugment"), sampling="balanced")
    spoilt = with_a_bad_one(samples, 5, tmp_path)
    whole = list(training_batches(spoilt, config, epoch=2))
    assert len({batch.share for batch in whole}) == 3  # each step draws its own
    assert [len(batch.bad) for batch in whole].count(0) < 3
    for start in (1, 2, 3):
        entered = list(training_batches(spoilt, config, epoch=2, start=start))
        assert len(entered) == 3 - start
        assert all(same(*pair) for pair in zip(whole[start:], entered, strict=True))


# balanced sampling


@given(st.lists(st.sampled_from([0, 1, 2, 5, 9]), max_size=60), st.integers(0, 1000))
def test_balanced_sampling_takes_every_class_equally_often(class_ids: list[int], seed: int) -> None:
    picked = picks(class_ids, "balanced", np.random.default_rng(seed))
    assert picked == picks(class_ids, "balanced", np.random.default_rng(seed))
    assert len(picked) == len(class_ids)
    assert len(set(picked)) == len(picked)  # a photo that comes again has another number
    per_class = Counter(class_ids[index] for index, _ in picked)
    assert set(per_class) == set(class_ids)
    assert max(per_class.values(), default=0) - min(per_class.values(), default=0) <= 1
    per_photo = Counter(index for index, _ in picked)
    for class_id in per_class:
        counts = [per_photo[index] for index, own in enumerate(class_ids) if own == class_id]
        assert max(counts) - min(counts) <= 1  # none again before all have come
    for index, count in per_photo.items():
        assert [repetition for own, repetition in picked if own == index] == list(range(count))


def test_balanced_epochs_differ_and_over_time_every_photo_of_a_big_class_comes(samples: list[Sample]) -> None:
    class_ids = [sample.class_id for sample in samples]
    epochs = [picks(class_ids, "balanced", np.random.default_rng([42, epoch])) for epoch in range(12)]
    assert len({tuple(epoch) for epoch in epochs}) == 12
    assert {index for epoch in epochs for index, _ in epoch} == set(range(21))


def test_a_repeated_photo_is_augmented_anew_and_the_first_time_as_ever(samples: list[Sample]) -> None:
    config = replace(CONFIG, sampling="balanced", batch_size=21)
    (batch,) = training_batches(samples, config, epoch=1)
    class_ids = [sample.class_id for sample in samples]
    picked = picks(class_ids, "balanced", np.random.default_rng([42, 1]))
    transform = TrainPreprocess(SPEC, config.augment)
    assert len({values.tobytes() for values in batch.inputs}) == 21
    for (index, repetition), values in zip(picked, batch.inputs, strict=True):
        if not repetition:
            photo = decode(samples[index].path.read_bytes())
            np.testing.assert_array_equal(values, transform(photo, np.random.default_rng([42, 1, index])))


# several processes


@given(st.integers(0, 70), st.integers(1, 12), st.integers(1, 5))
def test_the_parts_of_all_processes_are_the_whole(count: int, size: int, world: int) -> None:
    ranks = [parts(range(count), size, rank=rank, world=world) for rank in range(world)]
    everything = [item for rank in ranks for part in rank for item in part]
    assert sorted(everything) == list(range(count))
    assert parts(range(count), size, rank=0, world=1) == [
        range(start, min(count, start + size)) for start in range(0, count, size)
    ]


@given(st.integers(0, 300), st.integers(2, 40), st.integers(1, 6))
def test_all_processes_take_the_same_steps_with_two_photos_or_more_each(count: int, size: int, world: int) -> None:
    if world > 1 and size < 2 * world:
        with pytest.raises(ConfigError, match="two photos each"):
            steps_per_epoch(count, size, world=world)
        return
    steps = steps_per_epoch(count, size, world=world)
    for rank in range(world):
        part = parts(range(min(count, steps * size)), size, rank=rank, world=world)
        assert len(part) == steps
        assert all(len(each) >= 2 for each in part)


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_together_the_processes_train_on_the_batches_of_one(samples: list[Sample], world: int, sampling: str) -> None:
    config = replace(CONFIG, sampling=sampling)  # type: ignore[arg-type]
    alone = list(training_batches(samples, config, epoch=1))[: steps_per_epoch(21, 8, world=world)]
    ranks = [list(training_batches(samples, config, epoch=1, rank=rank, world=world)) for rank in range(world)]
    for batch, *shared in zip(alone, *ranks, strict=True):
        for rank, part in enumerate(shared):
            np.testing.assert_array_equal(part.inputs, batch.inputs[rank::world])
            np.testing.assert_array_equal(part.class_ids, batch.class_ids[rank::world])


def test_a_process_mixes_within_its_part_each_with_chances_of_its_own(samples: list[Sample]) -> None:
    config = replace(CONFIG, augment=AugmentConfig(mixup=1.0))
    ranks = [list(training_batches(samples, config, epoch=1, rank=rank, world=2)) for rank in range(2)]
    assert ranks[0][0].share != ranks[1][0].share
    plain = list(training_batches(samples, CONFIG, epoch=1, rank=1, world=2))
    for mixed, part in zip(ranks[1], plain, strict=True):
        assert mixed.other_ids is not None
        assert sorted(mixed.other_ids) == sorted(part.class_ids)


@pytest.mark.parametrize("world", [1, 2, 5, 30])
def test_together_the_processes_evaluate_every_photo_once(samples: list[Sample], world: int) -> None:
    whole = np.concatenate([batch.inputs for batch in evaluation_batches(samples, CONFIG)])
    ranks = [evaluation_batches(samples, CONFIG, rank=rank, world=world) for rank in range(world)]
    inputs = [values for rank in ranks for batch in rank for values in batch.inputs]
    assert Counter(values.tobytes() for values in inputs) == Counter(values.tobytes() for values in whole)


# views


def test_several_views_of_a_photo_are_those_of_their_seeds(samples: list[Sample]) -> None:
    transform = TrainPreprocess(SPEC, AugmentConfig(policy="randaugment"))
    data = samples[0].path.read_bytes()
    seeds = [[7, view] for view in range(5)]
    for values, seed in zip(augmented(data, transform, seeds), seeds, strict=True):
        np.testing.assert_array_equal(values, transform(decode(data), np.random.default_rng(seed)))


# big JPEGs


def big_jpeg(size: tuple[int, int] = (1201, 803), *, orientation: int = 1, mode: str = "RGB") -> bytes:
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    waves = [128 + 100 * np.sin(columns / 90), 128 + 100 * np.cos(rows / 70), 255 * rows / size[1]]
    image = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_jpeg_is_about_the_mean_of_its_pixels(reduction: int, mode: str) -> None:
    data = big_jpeg((1200, 800), mode=mode)
    whole, reduced = decode(data).astype(float), np.asarray(open_photo(data, reduction=reduction).image)
    means = whole.reshape(800 // reduction, reduction, 1200 // reduction, reduction, 3).mean(axis=(1, 3))
    assert np.abs(means - reduced).max() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_a_jpegs_header_is_that_of_the_upright_photo(orientation: int) -> None:
    data = big_jpeg(orientation=orientation)
    image = open_photo(data).image
    assert jpeg_size(data) == image.size
    reduced = open_photo(data, reduction=4).image
    assert reduced.size == tuple(-(-side // 4) for side in image.size)  # rounded up
    difference = np.asarray(image.resize((30, 30)), int) - np.asarray(reduced.resize((30, 30)))
    assert np.abs(difference).max() < 6


@pytest.mark.parametrize("data", [b"", b"no photo", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF\0"])
def test_what_is_no_jpeg_has_no_size_and_its_fault_is_said_on_decoding(data: bytes) -> None:
    assert jpeg_size(data) is None
    with pytest.raises(ImageError):
        open_photo(data, reduction=2)


def test_other_formats_are_decoded_whole_whatever_the_reduction(samples: list[Sample]) -> None:
    data = samples[0].path.read_bytes()
    assert jpeg_size(data) is None
    np.testing.assert_array_equal(np.asarray(open_photo(data, reduction=8).image), decode(data))


@pytest.mark.parametrize(("orientation", "size"), [(1, (1201, 803)), (3, (1200, 800)), (6, (1200, 800))])
def test_training_on_a_big_jpeg_sees_what_the_whole_photo_would_show(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    path = tmp_path / "big.jpg"
    path.write_bytes(big_jpeg(size, orientation=orientation))
    config = replace(CONFIG, preprocess=PreprocessConfig(resize_short=48, crop=48))
    transform = TrainPreprocess(config.preprocess, config.augment)
    photo = decode(path.read_bytes())
    reductions = set()
    seeds = [[config.seed, view] for view in range(30)]
    for values, seed in zip(augmented(path.read_bytes(), transform, seeds), seeds, strict=True):
        reductions.add(transform.reduction(photo.shape[1::-1], np.random.default_rng(seed)))  # type: ignore[arg-type]
        whole = transform(photo, np.random.default_rng(seed))
        assert np.abs(values - whole).mean() * 255 * min(config.preprocess.std) < 1  # of 255 values
    assert len(reductions) > 1


def test_a_truncated_big_jpeg_is_a_bad_photo(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(big_jpeg()[:9000])
    (batch,) = training_batches([Sample(path, 0), Sample(path, 0)], CONFIG, epoch=1)
    assert [bad.path for bad in batch.bad] == [path, path]
