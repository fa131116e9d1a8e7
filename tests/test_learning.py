"""What a batch teaches, against formulas in numpy, on a network of one linear layer."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from garbage_cli.batches import Batch
from garbage_cli.config import TrainConfig, load_train_config
from garbage_cli.errors import ConfigError
from garbage_cli.trainer.evaluating import evaluate, macro_f1
from garbage_cli.trainer.learning import Learner
from garbage_cli.trainer.processes import Processes

CLASSES, WIDTH, RATE = 3, 4, 0.1
COUNTS = np.array([1, 2, 5])


def config(**overrides: object) -> TrainConfig:
    settings = {
        "batch_size": 4,
        "optimizer.momentum": 0.0,
        "optimizer.weight_decay": 0.0,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    return load_train_config(overrides=settings.items())


def learner(settings: TrainConfig, counts: np.ndarray = COUNTS) -> Learner:
    """A learner of a linear layer, the same each time."""
    import paddle

    network = paddle.nn.Sequential(paddle.nn.Linear(WIDTH, CLASSES))
    random = np.random.default_rng(5)
    network[0].weight.set_value(random.normal(size=(WIDTH, CLASSES)).astype(np.float32))
    network[0].bias.set_value(random.normal(size=CLASSES).astype(np.float32))
    return Learner(
        network,
        forward=network,
        parameters=network.parameters(),
        config=settings,
        class_counts=counts,
        processes=Processes(),
    )


def batch(seed: int, size: int = 4, **more: Any) -> Batch:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(size, WIDTH)).astype(np.float32)
    return Batch(inputs, random.integers(CLASSES, size=size), (), **more)


def state(learned: Learner) -> tuple[np.ndarray, np.ndarray]:
    layer = learned.network[0]
    return layer.weight.numpy().astype(np.float64), layer.bias.numpy().astype(np.float64)


def gradient(
    weights: tuple[np.ndarray, np.ndarray], given: Batch, smoothing: float, counted: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The sum of the losses and its gradients, by the textbook."""
    weight, bias = weights
    logits = given.inputs.astype(np.float64) @ weight + bias
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)

    def part(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        target = np.eye(CLASSES)[classes] * (1 - smoothing) + smoothing / CLASSES
        loss = -(target * np.log(scores)).sum(axis=1) * counted[classes]
        return loss, (scores - target) * counted[classes, None]

    loss, slope = part(given.class_ids)
    if given.other_ids is not None:
        other_loss, other_slope = part(given.other_ids)
        loss, slope = (given.share * a + (1 - given.share) * b for a, b in ((loss, other_loss), (slope, other_slope)))
    return float(loss.sum()), given.inputs.T @ slope, slope.sum(axis=0)


MIXED = {"other_ids": np.array([2, 0, 1, 1]), "share": 0.3}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("mixed", [{}, MIXED], ids=["plain", "mixed"])
def test_the_loss_and_the_step_are_those_of_the_textbook(smoothing: float, weights: str, mixed: dict[str, Any]) -> None:
    given = batch(1, **mixed)
    learned = learner(config(loss__label_smoothing=smoothing, loss__class_weights=weights))
    before = state(learned)
    counted = COUNTS.sum() / (CLASSES * COUNTS) if weights == "balanced" else np.ones(CLASSES)
    loss, by_weight, by_bias = gradient(before, given, smoothing, counted)
    value, right = learned.learn(given, rate=RATE, seed=0)
    learned.step()
    assert value == pytest.approx(loss, rel=1e-5)
    assert right == ((given.inputs @ before[0] + before[1]).argmax(axis=1) == given.class_ids).sum()
    after = state(learned)
    np.testing.assert_allclose(after[0], before[0] - RATE * by_weight / 4, atol=1e-6)
    np.testing.assert_allclose(after[1], before[1] - RATE * by_bias / 4, atol=1e-6)


def test_class_weights_are_1_on_average_over_the_photos_and_a_class_without_photos_changes_none() -> None:
    weights = learner(config(loss__class_weights="balanced"), np.array([1, 0, 5]))._weights
    assert weights is not None
    assert (weights * [1, 0, 5]).sum() == pytest.approx(6)
    assert weights[0] == pytest.approx(5 * weights[2])


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_several_batches_accumulated_are_one_that_is_as_big(name: str) -> None:
    common = {"optimizer__name": name, "optimizer__momentum": 0.9, "optimizer__weight_decay": 0.01}
    many = learner(config(optimizer__accumulate=3, **common))
    one = learner(config(batch_size=12, **common))
    for first in (0, 10):
        small = [batch(first + seed) for seed in range(3)]
        big = Batch(np.concatenate([b.inputs for b in small]), np.concatenate([b.class_ids for b in small]), ())
        losses = [many.learn(each, rate=RATE, seed=0)[0] for each in small]
        many.step()
        assert one.learn(big, rate=RATE, seed=0)[0] == pytest.approx(sum(losses), rel=1e-5)
        one.step()
    for mine, theirs in zip(state(many), state(one), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_where_photos_are_missing_the_mean_is_over_those_there_are(accumulate: int) -> None:
    given = batch(3, size=3)  # of the usual 4 or 16
    learned = learner(config(optimizer__accumulate=accumulate))
    before = state(learned)
    _, by_weight, _ = gradient(before, given, 0.0, np.ones(CLASSES))
    learned.learn(given, rate=RATE, seed=0)
    learned.step()
    np.testing.assert_allclose(state(learned)[0], before[0] - RATE * by_weight / 3, atol=1e-6)


@pytest.mark.parametrize("size", [3, 4])
def test_a_longer_gradient_is_cut_to_its_limit_after_the_mean_was_taken(size: int) -> None:
    given = batch(4, size=size)
    learned = learner(config(optimizer__clip_norm=0.01))
    before = state(learned)
    _, by_weight, by_bias = gradient(before, given, 0.0, np.ones(CLASSES))
    length = math.sqrt((by_weight**2).sum() + (by_bias**2).sum()) / size
    assert length > 0.01
    learned.learn(given, rate=RATE, seed=0)
    learned.step()
    np.testing.assert_allclose(state(learned)[0], before[0] - RATE * by_weight / size * 0.01 / length, atol=1e-6)


def test_weights_are_averaged_by_a_decay_that_rises_from_small() -> None:
    learned = learner(config(model__ema=0.3))
    expected = state(learned)[0]
    for step in range(1, 6):
        learned.learn(batch(step), rate=RATE, seed=0)
        learned.step()
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * state(learned)[0]
    averaged = learned.averaged_weights()
    assert averaged is not None
    np.testing.assert_allclose(averaged["0.weight"].numpy(), expected, atol=1e-6)
    own = state(learned)[0]
    with learned.averaged():
        np.testing.assert_array_equal(state(learned)[0], averaged["0.weight"].numpy())
    np.testing.assert_array_equal(state(learned)[0], own)


def test_a_step_without_photos_changes_nothing() -> None:
    learned = learner(config(model__ema=0.5, optimizer__weight_decay=0.1, optimizer__momentum=0.9))
    before = state(learned)
    learned.step()
    np.testing.assert_array_equal(state(learned)[0], before[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_no_numbers_are_noticed_and_change_nothing(value: float) -> None:
    learned = learner(config())
    before = state(learned)
    given = batch(1)
    spoilt = given.inputs.copy()
    spoilt[0, 0] = value
    with pytest.raises(ConfigError, match=r"no numbers any more; try a lower --learning-rate \(it was 0\.1\)"):
        learned.learn(replace(given, inputs=spoilt), rate=RATE, seed=0)
    np.testing.assert_array_equal(state(learned)[0], before[0])


# ---- figures


def test_macro_f1_is_the_mean_over_the_classes_that_have_photos() -> None:
    confusion = np.array([[3, 1, 0, 0], [2, 2, 0, 1], [0, 0, 0, 0], [0, 0, 0, 4]], float)
    # F1 = 2 right ÷ (true + answered): 2·3/(4+5), 2·2/(5+3), none, 2·4/(4+5)
    assert macro_f1(confusion) == pytest.approx((6 / 9 + 4 / 8 + 8 / 9) / 3)


def test_macro_f1_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    true, answered = random.integers(0, 6, 200), random.integers(0, 6, 200)
    confusion = np.zeros((6, 6))
    np.add.at(confusion, (true, answered), 1)
    assert macro_f1(confusion) == pytest.approx(metrics.f1_score(true, answered, average="macro"))


def test_figures_over_several_batches_are_those_over_one() -> None:
    learned = learner(config())
    batches = [batch(1), batch(2, size=2), batch(3, size=0), batch(4, size=1)]
    score = evaluate(learned.network, learned.network, batches, class_count=CLASSES, processes=Processes())
    assert score is not None
    inputs = np.concatenate([each.inputs for each in batches])
    classes = np.concatenate([each.class_ids for each in batches])
    loss, *_ = gradient(state(learned), Batch(inputs, classes, ()), 0.0, np.ones(CLASSES))
    assert score.loss == pytest.approx(loss / 7, rel=1e-5)
    right = (inputs @ state(learned)[0] + state(learned)[1]).argmax(axis=1) == classes
    assert score.top1 == pytest.approx(right.mean())
    assert evaluate(learned.network, learned.network, [], class_count=CLASSES, processes=Processes()) is None
