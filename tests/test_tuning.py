"""What is trained of a network, and resuming with everything on at once: full, last stage and head."""

import json
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_training import NETWORK, assert_same, config, run, weights_of

from garbage_cli import exporter, trainer, zoo
from garbage_cli.bundle import Checkpoint
from garbage_cli.config import TrainConfig, to_yaml
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError
from garbage_cli.features.store import cache_folder
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.reports import EpochReport, FeatureReport, Finished, Interrupted, Started, StepReport
from garbage_cli.trainer import evaluating, train

OPTIMIZER = {
    "name": "adamw", "learning_rate": 0.003, "weight_decay": 0.01, "accumulate": 2, "clip_norm": 0.5,
    "warmup_epochs": 0.5,
}  # fmt: skip
MOMENTUM = {"name": "momentum", "learning_rate": 0.01, "weight_decay": 0.0001, "accumulate": 2, "clip_norm": 0.5}
EVERYTHING: dict[str, object] = {
    "model__ema": 0.9, "loss__class_weights": "balanced", "loss__label_smoothing": 0.1, "sampling": "balanced",
    "augment__mixup": 0.4, "augment__cutmix": 1.0, "augment__policy": "randaugment",
    "optimizer": OPTIMIZER,
    **{part: {"views": 2, "epochs": 2, "batch_size": 8, "optimizer": OPTIMIZER} for part in ("head", "last_stage")},
}  # fmt: skip
TUNES = ("full", "last-stage", "head")


@pytest.fixture(scope="module")
def uneven(drawn: Dataset) -> Dataset:
    """Classes of three and of four photos, and a last batch that is not full: 28 photos, four steps of eight."""
    samples = [each for number, each in enumerate(drawn.train) if number % 8]
    return replace(drawn, train=tuple(samples))


@pytest.fixture(scope="module")
def start(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two plain epochs, whose weights the others start from."""
    output = tmp_path_factory.mktemp("start")
    assert isinstance(run(config(), drawn, output)[-1], Finished)
    return output / NETWORK


def stopped_at(settings: TrainConfig, data: Dataset, output: Path, kind: type, after: int) -> Interrupted:
    """Train until so many reports of a kind have come."""
    seen: list[object] = []

    def stop() -> bool:
        return len(seen) >= after

    for report in train(settings, data, output=output, stop=stop):
        seen += [report] if isinstance(report, kind) else []
    assert isinstance(report, Interrupted)
    return report


def everything(tune: str, pretrained: Path, **more: object) -> TrainConfig:
    return config(tune=tune, model__pretrained=str(pretrained), **{**EVERYTHING, **more})


@pytest.fixture(scope="module")
def unbroken(start: Path, uneven: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run folder of two unbroken epochs of each tune."""
    output = tmp_path_factory.mktemp("unbroken")
    for tune in TUNES:
        assert isinstance(run(everything(tune, start / "latest.pdparams"), uneven, output / tune)[-1], Finished)
    return {tune: output / tune / NETWORK for tune in TUNES}


def assert_runs_same(one: Path, other: Path) -> None:
    """Weights, averages, momentum and figures, bit for bit."""
    import paddle

    for name in ("latest.pdparams", "best_model.pdparams"):
        assert_same(weights_of(one, name), weights_of(other, name))
    assert_same(*(weights_of(next(each.glob("state-*"))) for each in (one, other)))
    mine, theirs = (paddle.load(str(next(each.glob("state-*")) / "latest.pdopt")) for each in (one, other))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert value == theirs[name] if isinstance(value, dict) else (value == theirs[name]).all(), name
    timed = {"images_per_second", "seconds"}
    for row, same in zip(
        *(json.loads((each / "run.json").read_text())["history"] for each in (one, other)), strict=True
    ):
        assert {key: row[key] for key in row.keys() - timed} == {key: same[key] for key in same.keys() - timed}


@pytest.mark.parametrize(("tune", "after"), [("full", 1), ("full", 3), ("full", 4), ("last-stage", 3), ("head", 1)])
def test_with_everything_on_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does(
    unbroken: dict[str, Path], start: Path, uneven: Dataset, tmp_path: Path, tune: str, after: int
) -> None:
    settings = everything(tune, start / "latest.pdparams")
    stopped = stopped_at(settings, uneven, tmp_path, StepReport, after)
    assert stopped.step % 2 == 0  # never between two batches whose gradients are one
    if tune == "last-stage":
        shutil.rmtree(cache_folder(), ignore_errors=True)
    assert isinstance(run(settings, uneven, tmp_path, resume=True)[-1], Finished)
    assert_runs_same(tmp_path / NETWORK, unbroken[tune])


KILLED = """
import os, sys
from pathlib import Path
from dataclasses import replace
from garbage_cli.config import load_train_config
from garbage_cli.dataset import Dataset
from garbage_cli.reports import StepReport
from garbage_cli.trainer import train
data = Dataset.load(Path(sys.argv[1]))
data = replace(data, train=tuple(each for number, each in enumerate(data.train) if number % 8))
steps = 0
for report in train(load_train_config(sys.argv[2]), data, output=Path(sys.argv[3])):
    steps += isinstance(report, StepReport)
    if steps == 6:
        os.kill(os.getpid(), 9)
"""


def test_with_everything_on_a_killed_run_goes_on_from_its_last_epoch(
    start: Path, uneven: Dataset, tmp_path: Path
) -> None:
    # Two processes may differ in a sum's last bit. Adam divides by a gradient's size and makes much of it where that is
    # next to nothing (3e-4 in a weight was seen); momentum leaves it what it is (9e-6 with other sums on purpose).
    settings = everything(
        "last-stage",
        start / "latest.pdparams",
        optimizer=MOMENTUM,
        **{
            part: {**EVERYTHING[part], "optimizer": MOMENTUM}
            for part in ("head", "last_stage")  # type: ignore[dict-item]
        },
    )
    assert isinstance(run(settings, uneven, tmp_path / "unbroken")[-1], Finished)
    (tmp_path / "config.yml").write_text(to_yaml(settings))
    arguments = [str(uneven.root), str(tmp_path / "config.yml"), str(tmp_path / "output")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False, timeout=200)
    assert done.returncode == -9, done.stderr.decode()
    shutil.rmtree(cache_folder(), ignore_errors=True)
    reports = run(settings, uneven, tmp_path / "output", resume=True)
    assert isinstance(reports[0], Started)
    assert (reports[0].epoch, reports[0].step) == (2, 0)
    for name in ("latest.pdparams", "best_model.pdparams"):
        ended, expected = (weights_of(tmp_path / each / NETWORK, name) for each in ("output", "unbroken"))
        assert ended.keys() == expected.keys()
        begun = weights_of(start)
        assert max(float(np.abs(value - begun[key]).max()) for key, value in expected.items()) > 0.01
        for key, value in ended.items():
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-4, err_msg=key)


def test_asked_to_stop_while_features_are_computed_it_goes_on_from_there(
    unbroken: dict[str, Path], start: Path, uneven: Dataset, tmp_path: Path
) -> None:
    settings = everything("last-stage", start / "latest.pdparams")
    report = stopped_at(settings, uneven, tmp_path, FeatureReport, 5)
    assert (report.epoch, report.step) == (1, 0)
    again = run(settings, uneven, tmp_path, resume=True)
    # 16 validation photos and 28 training ones; what was done before is not done again
    assert sum(isinstance(each, FeatureReport) for each in again) <= 16 + 28 - 5
    assert_runs_same(tmp_path / NETWORK, unbroken["last-stage"])


# ---- what is trained


@pytest.mark.parametrize("tune", ["last-stage", "head"])
def test_what_is_frozen_stays_as_it_was_and_the_rest_does_not(
    unbroken: dict[str, Path], start: Path, tune: str
) -> None:
    before, after = weights_of(start), weights_of(next(unbroken[tune].glob("state-*")))
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    assert {"fc.weight", "fc.bias"} <= changed
    assert changed == {"fc.weight", "fc.bias"} if tune == "head" else 2 < len(changed) < len(before)
    frozen = before.keys() - changed
    assert any("_mean" in name for name in frozen)  # the statistics of its batch norm neither


@pytest.mark.parametrize("tune", TUNES)
def test_the_exported_network_is_as_right_as_training_said(
    unbroken: dict[str, Path], uneven: Dataset, tmp_path: Path, tune: str
) -> None:
    checkpoint = Checkpoint.load(unbroken[tune])
    *_, last = exporter.export(checkpoint, out=tmp_path / "inference")
    assert isinstance(last, exporter.Exported)
    answers = Predictor(last.bundle).predict(Photo.from_path(sample.path) for sample in uneven.val)
    right = [a.best and a.best.label.class_id == s.class_id for a, s in zip(answers, uneven.val, strict=True)]
    assert np.mean(right) == pytest.approx(checkpoint.top1)


def test_a_part_is_not_trained_over_weights_of_chance(uneven: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tune is head, but nothing is pretrained"):
        run(config(tune="head"), uneven, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision_on_a_cpu_is_refused_before_anything_is_done(
    uneven: Dataset, tmp_path: Path, level: str
) -> None:
    with pytest.raises(ConfigError, match=r"on a CPU Paddle has no mixed precision; use --set amp\.level=none"):
        run(config(amp__level=level, device="cpu"), uneven, tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- when it ends, and which epoch is best


def scored(monkeypatch: pytest.MonkeyPatch, figures: list[tuple[float, float]]) -> None:
    """Let the epochs have these figures, top-1 and macro-F1."""
    rest = iter(figures)
    monkeypatch.setattr(trainer, "evaluate", lambda *_, **__: evaluating.Score(1.0, *next(rest)))


def test_it_stops_when_as_many_epochs_as_patience_says_were_no_better(
    uneven: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [(0.5, 0), (0.6, 0), (0.6, 0), (0.5, 0), (0.9, 0)])
    reports = run(config(epochs=5, patience=2), uneven, tmp_path)
    last = reports[-1]
    assert isinstance(last, Finished)
    assert last.stopped_early
    assert [each.best for each in reports if isinstance(each, EpochReport)] == [True, True, False, False]
    assert last.best.epoch == 2
    again = run(config(epochs=5, patience=2), uneven, tmp_path, resume=True)
    assert [type(each) for each in again] == [Started, Finished]


def test_the_best_epoch_is_chosen_by_the_figure_that_the_config_names(
    uneven: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for figure, best in (("top1", 1), ("macro_f1", 2)):
        scored(monkeypatch, [(0.9, 0.1), (0.5, 0.2), (0.6, 0.15)])
        last = run(config(epochs=3, select_by=figure), uneven, tmp_path)[-1]
        assert isinstance(last, Finished)
        assert last.best.epoch == best
        record = json.loads((tmp_path / NETWORK / "run.json").read_text())
        assert record["best"]["epoch"] == best
        assert Checkpoint.load(tmp_path / NETWORK).top1 == (0.9 if figure == "top1" else 0.5)


def test_a_time_limit_saves_and_says_so_and_the_run_goes_on_with_another(
    drawn: Dataset, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000, 10_000))
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(clock)))
    first = run(config(time_limit="3s"), drawn, tmp_path)
    assert isinstance(first[-1], Interrupted)
    assert first[-1].time_is_up
    assert 1 <= sum(isinstance(each, StepReport) for each in first) <= 3
    monkeypatch.undo()
    assert time.monotonic() != 1000
    assert isinstance(run(config(time_limit="1h"), drawn, tmp_path, resume=True)[-1], Finished)
    assert_same(weights_of(tmp_path / NETWORK), weights_of(start))


def test_auto_trains_less_of_a_network_that_cannot_be_cut_and_all_of_one_without_a_linear_head(
    drawn: Dataset, tmp_path: Path
) -> None:
    """SqueezeNet's head is a convolution."""
    network, _ = zoo.build("SqueezeNet1_1", class_count=8)
    weights = tmp_path / "squeeze.pdparams"
    weights.write_bytes(pickle.dumps({name: tensor.numpy() for name, tensor in network.state_dict().items()}))
    settings = config(model__name="SqueezeNet1_1", model__pretrained=str(weights), epochs=1)
    reports = run(settings, drawn, tmp_path / "output")
    started = next(report for report in reports if isinstance(report, Started))
    assert (started.config.tune, started.config.epochs) == ("full", 1)
    with pytest.raises(ConfigError, match="use --tune full"):
        run(config(**{**vars_of(settings), "tune": "head"}), drawn, tmp_path / "refused")


def vars_of(settings: TrainConfig) -> dict[str, object]:
    return {"model__name": settings.model.name, "model__pretrained": settings.model.pretrained}


def test_a_stop_is_heard_where_an_epoch_has_fewer_batches_than_a_step_takes(drawn: Dataset, tmp_path: Path) -> None:
    settings = config(epochs=9, optimizer__accumulate=64)
    last = stopped_at(settings, drawn, tmp_path, StepReport, 1)
    assert last.epoch == 1
    assert isinstance(run(settings, drawn, tmp_path, resume=True)[-1], Finished)


def test_networks_with_the_same_weights_and_another_forward_pass_share_no_features(
    drawn: Dataset, tmp_path: Path
) -> None:
    network, _ = zoo.build("ResNet50", class_count=8)
    weights = tmp_path / "r50.pdparams"
    weights.write_bytes(pickle.dumps({name: tensor.numpy() for name, tensor in network.state_dict().items()}))
    computed = []
    for name in ("ResNet50", "ResNet50_last_stage_stride1", "ResNet50"):
        settings = config(tune="head", model__name=name, model__pretrained=str(weights), head={"views": 1, "epochs": 1})
        reports = run(settings, drawn, tmp_path / "output")
        computed.append(sum(isinstance(report, FeatureReport) for report in reports))
    assert computed == [48, 48, 0]
