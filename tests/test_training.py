"""Training, resuming and exporting with the real Paddle, on drawn photos and networks small enough for a test."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fetching import web_server

from garbage_cli import exporter, zoo
from garbage_cli.batches import steps_per_epoch, training_batches
from garbage_cli.bundle import Checkpoint, ModelBundle, latest_run
from garbage_cli.config import TrainConfig, load_train_config
from garbage_cli.dataset import Dataset, Sample
from garbage_cli.errors import BundleError, CheckpointError, ConfigError, DatasetError
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.reports import Finished, Interrupted, LeftOut, Report, Started, StepReport
from garbage_cli.trainer import learning, learning_rate, train

NETWORK = "MobileNetV3_small_x0_35"  # has dropout, batch norm and squeeze-and-excitation: much that could go astray


def config(**overrides: object) -> TrainConfig:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "model.name": NETWORK,
        "model.pretrained": "none",
        "preprocess.resize_short": 32,
        "preprocess.crop": 32,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    return load_train_config(overrides=settings.items())


def run(settings: TrainConfig, dataset: Dataset, output: Path, **options: Any) -> list[Report]:
    return list(train(settings, dataset, output=output, **options))


@pytest.fixture(scope="session")
def trained(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two unbroken epochs."""
    output = tmp_path_factory.mktemp("trained")
    assert isinstance(run(config(), drawn, output)[-1], Finished)
    return output / NETWORK


def weights_of(run_folder: Path, name: str = "latest.pdparams") -> dict[str, np.ndarray]:
    return zoo.read_weights(run_folder / name)


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_a_run_folder_holds_what_others_build_on(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"best_model.pdparams", "latest.pdparams", "config.yml", "results.csv", "run.json"} <= names
    rows = list(csv.DictReader((trained / "results.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert len(list(trained.glob("state-*"))) == 1
    checkpoint = Checkpoint.load(trained)
    assert checkpoint.top1 == max(float(row["val_top1"]) for row in rows)
    assert checkpoint.labels[0].text == "可回收物/易拉罐"
    assert latest_run(trained.parent) == trained


def test_logs_for_visualdl_are_written_where_they_are_asked_for(drawn: Dataset, tmp_path: Path) -> None:
    run(config(epochs=1, visualdl=True), drawn, tmp_path)
    (log,) = (tmp_path / NETWORK / "visualdl").glob("vdlrecords.*.log")
    assert b"val_top1" in log.read_bytes()


def test_the_weights_are_in_paddleclass_own_format(trained: Path) -> None:
    import paddle

    network, _ = zoo.build(NETWORK, class_count=8)
    missing, unexpected = network.set_state_dict(paddle.load(str(trained / "best_model.pdparams")))
    assert not missing
    assert not unexpected


@pytest.mark.parametrize("stop_after", [1, 4, 5, 7], ids=lambda n: f"after-step-{n}")
def test_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does(
    drawn: Dataset, trained: Path, tmp_path: Path, stop_after: int
) -> None:
    """Four steps an epoch: stopped in the first step, at an epoch's last, at the next one's first, and in the midst."""
    steps = 0

    def stop() -> bool:
        return steps >= stop_after

    for report in train(config(), drawn, output=tmp_path, stop=stop):
        steps += isinstance(report, StepReport)
    assert isinstance(report, Interrupted)
    last = run(config(), drawn, tmp_path, resume=True)[-1]
    assert isinstance(last, Finished)
    resumed = tmp_path / NETWORK
    assert_same(weights_of(resumed), weights_of(trained))
    assert_same(weights_of(resumed, "best_model.pdparams"), weights_of(trained, "best_model.pdparams"))
    kept = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "learning_rate", "best")
    for mine, theirs in zip(
        *(json.loads((f / "run.json").read_text())["history"] for f in (resumed, trained)), strict=True
    ):
        assert [mine[key] for key in kept] == [theirs[key] for key in kept]


def test_resuming_a_finished_run_trains_nothing_more(drawn: Dataset, trained: Path) -> None:
    reports = run(config(), drawn, trained.parent, resume=True)
    assert [type(report) for report in reports] == [Started, Finished]


def test_resuming_with_other_settings_or_data_is_refused(drawn: Dataset, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was trained with epochs 2, not 3"):
        run(config(epochs=3), drawn, trained.parent, resume=True)
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate 0\.00375, not 0\.1"):
        run(config(optimizer__learning_rate=0.1), drawn, trained.parent, resume=True)
    with pytest.raises(ConfigError, match="other photos or classes"):
        run(config(), replace(drawn, val=drawn.val[::-1]), trained.parent, resume=True)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run(config(), drawn, tmp_path, resume=True)


def test_a_damaged_state_says_how_to_go_on(drawn: Dataset, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / NETWORK)
    for path in (tmp_path / NETWORK).glob("state-*/*"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"is damaged; .* without --resume .*--pretrained .*best_model\.pdparams"):
        run(config(), drawn, tmp_path, resume=True)


def test_an_earlier_run_is_moved_aside_not_lost(drawn: Dataset, tmp_path: Path) -> None:
    (tmp_path / NETWORK).mkdir()
    (tmp_path / NETWORK / "precious").write_text("weights")
    started = next(iter(train(config(epochs=1), drawn, output=tmp_path)))
    assert isinstance(started, Started)
    assert started.moved == tmp_path / f"{NETWORK}.1"
    assert (started.moved / "precious").is_file()


def test_a_photo_that_cannot_be_decoded_is_left_out_and_named_once(drawn: Dataset, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(drawn.train[0].path.read_bytes()[:500])
    broken = replace(drawn, train=(Sample(bad, 0), *drawn.train[1:]))
    reports = run(config(), broken, tmp_path / "output")
    assert isinstance(reports[-1], Finished)
    assert [[b.path for b in r.photos] for r in reports if isinstance(r, LeftOut)] == [[bad]]
    batches = list(training_batches(broken.train, config(), epoch=1))
    assert sum(len(batch) for batch in batches) == len(drawn.train) - 1


def test_when_no_photo_can_be_decoded_training_says_so(drawn: Dataset, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    bad = replace(drawn, train=(Sample(tmp_path / "bad.jpg", 0),) * 4)
    with pytest.raises(DatasetError, match=r"no photo of .* could be decoded"):
        run(config(), bad, tmp_path / "output")


def test_outputs_that_are_no_numbers_stop_the_run_and_keeps_the_last_epoch(
    drawn: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def sick_after_an_epoch(output: Any) -> Any:
        nonlocal calls
        calls += 1
        return output if calls <= 4 else output * float("nan")

    monkeypatch.setattr(learning, "main_output", sick_after_an_epoch)
    with pytest.raises(ConfigError, match=r"epoch 2, step 1: .* no numbers any more; try a lower --learning-rate"):
        run(config(), drawn, tmp_path)
    assert len(json.loads((tmp_path / NETWORK / "run.json").read_text())["history"]) == 1
    monkeypatch.undo()
    run(config(), drawn, tmp_path, resume=True)
    assert_same(weights_of(tmp_path / NETWORK), weights_of(trained))


def test_a_killed_run_goes_on_from_the_state_it_last_wrote(drawn: Dataset, trained: Path, tmp_path: Path) -> None:
    """kill -9 between an epoch's end and its last write: files of two states lie about, and only run.json decides."""
    script = """
import os, sys
from pathlib import Path
from garbage_cli import runs
from garbage_cli.config import load_train_config
from garbage_cli.dataset import Dataset
from garbage_cli.trainer import train
write_json, calls = runs.write_json, []
def dying(path, value):
    calls.append(path)
    if len(calls) == 2:
        os.kill(os.getpid(), 9)
    write_json(path, value)
runs.write_json = dying
for _ in train(load_train_config(sys.argv[2]), Dataset.load(Path(sys.argv[1])), output=Path(sys.argv[3])):
    pass
"""
    arguments = [str(drawn.root), str(trained / "config.yml"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False, timeout=200)
    assert done.returncode == -9, done.stderr.decode()
    with pytest.raises(CheckpointError, match="has not finished its first epoch"):
        Checkpoint.load(tmp_path / NETWORK)
    assert isinstance(run(config(), drawn, tmp_path, resume=True)[-1], Finished)
    assert_same(weights_of(tmp_path / NETWORK), weights_of(trained))


def test_the_learning_rate_rises_in_a_line_and_falls_along_half_a_cosine() -> None:
    settings = config(epochs=10, optimizer__warmup_epochs=2, optimizer__learning_rate=1.0)
    rates = [learning_rate(settings, step=step, steps=10) for step in range(100)]
    np.testing.assert_allclose(rates[:20], np.arange(1, 21) / 20)
    np.testing.assert_allclose(rates[20:], 0.5 * (1 + np.cos(np.pi * np.arange(80) / 80)))


def test_a_last_batch_of_one_is_dropped() -> None:
    assert [steps_per_epoch(n, 8) for n in (8, 9, 10, 16)] == [1, 1, 2, 2]


# ---- networks and weights


def test_an_input_size_that_a_network_is_not_made_for_is_said(drawn: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't take inputs of 32 × 32 pixels"):
        run(config(model__name="DeiT_tiny_patch16_224"), drawn, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ssld_weights_that_cannot_be_fetched_say_where_to_put_the_file(
    drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    settings = config(model__name="ResNet50_vd", model__pretrained="ssld")
    with pytest.raises(CheckpointError) as error:
        run(settings, drawn, tmp_path / "output")
    assert "put the file at" in str(error.value)
    assert "ResNet50_vd_ssld_pretrained.pdparams" in str(error.value)
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert not (tmp_path / "output").exists()


def test_weights_are_fetched_once_from_a_url_and_cached(
    drawn: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        data = (trained / "latest.pdparams").read_bytes()
        request.send_response(200)
        request.send_header("content-length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    with web_server(answer) as url:
        settings = config(model__pretrained=f"{url}/some/net.pdparams", epochs=1)
        reports = run(settings, drawn, tmp_path / "output")
        assert any(isinstance(r, zoo.Fetched) and r.done == r.total for r in reports)
        assert not any(isinstance(r, zoo.Fetched) for r in run(settings, drawn, tmp_path / "output"))
    started = next(r for r in reports if isinstance(r, Started))
    assert started.fit is not None
    assert started.fit.loaded == started.fit.total
    assert asked == ["/some/net.pdparams"]
    assert [p.name for p in (tmp_path / "cache" / "garbage" / "weights").rglob("*") if p.is_file()] == ["net.pdparams"]


# ---- export


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> exporter.Exported:
    *_, last = exporter.export(Checkpoint.load(trained), out=tmp_path_factory.mktemp("exported") / "inference")
    assert isinstance(last, exporter.Exported)
    return last


def test_every_engine_agrees_with_the_checkpoint(exported: exporter.Exported) -> None:
    assert {each.engine for each in exported.parity} == {"openvino", "onnxruntime", "paddle"}
    assert all(each.difference is not None and each.difference <= 1e-4 for each in exported.parity)
    assert exported.samples == "8 validation photos and 8 noise images"
    assert set(exported.bundle.facts["parity"]) == {"openvino", "onnxruntime", "paddle"}


def test_the_bundle_predicts_what_the_checkpoints_evaluation_found(exported: exporter.Exported, drawn: Dataset) -> None:
    for engine in ("openvino", "paddle"):
        predictor = Predictor(exported.bundle, engine=engine)
        answers = predictor.predict(Photo.from_path(sample.path) for sample in drawn.val)
        right = [a.best and a.best.label.class_id == s.class_id for a, s in zip(answers, drawn.val, strict=True)]
        assert np.mean(right) == exported.checkpoint.top1


def test_an_engine_that_disagrees_stops_the_export_and_keeps_the_old_bundle(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "inference"
    list(exporter.export(Checkpoint.load(trained), out=out))
    before = (out / "garbage.json").read_bytes()
    save_onnx = exporter.save_onnx

    def save_wrongly(folder: Path) -> None:
        import onnx

        save_onnx(folder)
        model = onnx.load(folder / "model.onnx")
        softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
        double = onnx.helper.make_node("Add", [softmax.input[0], softmax.input[0]], ["doubled"])
        softmax.input[0] = "doubled"
        model.graph.node.insert(list(model.graph.node).index(softmax), double)
        onnx.save(model, folder / "model.onnx")

    monkeypatch.setattr(exporter, "save_onnx", save_wrongly)
    with pytest.raises(BundleError, match=r"openvino differs from the checkpoint by 0\.0"):
        list(exporter.export(Checkpoint.load(trained), out=out))
    assert (out / "garbage.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["inference"]


def test_exporting_changes_no_installed_package(trained: Path, tmp_path: Path) -> None:
    def installed() -> set[tuple[str, str]]:
        return {(each.metadata["Name"], each.version) for each in distributions()}

    before = installed()
    list(exporter.export(Checkpoint.load(trained), out=tmp_path / "inference"))
    assert installed() == before


def test_export_does_not_delete_a_folder_of_something_else(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years of work")
    (tmp_path / "inference.yml").write_text("of another tool")
    with pytest.raises(BundleError, match=r"holds something that no export wrote"):
        next(iter(exporter.export(Checkpoint.load(trained), out=tmp_path)))
    assert (tmp_path / "thesis.txt").is_file()


def test_a_run_that_is_not_there_or_not_whole_is_said(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(CheckpointError, match="no training run"):
        latest_run(tmp_path)
    with pytest.raises(CheckpointError, match="garbage train"):
        Checkpoint.load(tmp_path)
    record = json.loads((trained / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="has not finished its first epoch"):
        Checkpoint.load(tmp_path)
    del record["labels"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "best_model.pdparams").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is incomplete: 'labels'"):
        Checkpoint.load(tmp_path)


def test_the_description_names_the_steps_that_paddlex_reads(exported: exporter.Exported) -> None:
    import yaml

    tree = yaml.safe_load((exported.bundle.root / "inference.yml").read_text())
    names = [next(iter(step)) for step in tree["PreProcess"]["transform_ops"]]
    assert names == ["ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage"]
    assert tree["PostProcess"]["Topk"]["label_list"][0] == "可回收物/易拉罐"
    assert tree["Global"]["model_name"] == NETWORK
    assert ModelBundle.load(exported.bundle.root).labels == exported.checkpoint.labels
