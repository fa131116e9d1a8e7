"""Ctrl-C and kill, on the program as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import run_program
from test_archive import write_tar

from garbage_cli.dataset import Dataset

REPORT = Path("output", "MobileNetV3_small_x0_35", "report")

TRAIN = [
    "--model", "MobileNetV3_small_x0_35", "--pretrained", "none", "--epochs", "3", "--batch-size", "8",
    "--set", "preprocess.resize_short=32", "--set", "preprocess.crop=32",
]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_in_training_leaves_a_checkpoint_that_resume_finishes(
    drawn: Dataset, tmp_path: Path, number: signal.Signals
) -> None:
    epochs = 8  # so that it still trains when the signal comes
    command = [sys.executable, "-m", "garbage_cli", "train", str(drawn.root), *TRAIN, "--epochs", str(epochs)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "output" / "MobileNetV3_small_x0_35" / "run.json"
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "go on with the same command and --resume" in err
    again = run_program("train", drawn.root, "--resume", "--json", cwd=tmp_path)
    assert again.code == 0, again.err
    assert len(json.loads(state.read_text())["history"]) == epochs
    assert json.loads(again.out)["run"] == "output/MobileNetV3_small_x0_35"
    assert "resumed at epoch" in again.err


def test_a_checkpoint_chains_into_export_and_predict(drawn: Dataset, tmp_path: Path) -> None:
    trained = run_program("train", drawn.root, *TRAIN, "--epochs", 1, cwd=tmp_path)
    assert trained.code == 0, trained.err
    assert "validation top-1" in trained.out
    metrics = json.loads((tmp_path / REPORT / "metrics.json").read_text())
    assert metrics["data"]["split"] == "val"
    assert (tmp_path / REPORT / "report.html").is_file()
    exported = run_program("export", "--json", cwd=tmp_path)
    assert exported.code == 0, exported.err
    assert "evaluating" not in exported.err  # the figures are those of the run's report
    manifest = json.loads((tmp_path / "inference" / "garbage.json").read_text())
    assert manifest["calibration"] == {
        "temperature": metrics["calibration"]["temperature"], "threshold": metrics["rejection"]["threshold"]
    }  # fmt: skip
    assert manifest["metrics"]["top1"] == metrics["top1"]
    assert all(difference <= 1e-4 for difference in json.loads(exported.out)["parity"].values())
    answers = [
        [
            json.loads(line)
            for line in run_program(
                "predict", drawn.val[0].path, "--json", "--engine", engine, cwd=tmp_path
            ).out.splitlines()
        ]
        for engine in ("openvino", "onnxruntime", "paddle")
    ]
    for engine_answers in answers:
        best = engine_answers[0]["predictions"][0]
        assert best["name"] == answers[0][0]["predictions"][0]["name"]
        assert abs(best["score"] - answers[0][0]["predictions"][0]["score"]) < 1e-4


def test_a_report_that_can_not_be_made_is_said_and_the_training_counts(drawn: Dataset, tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['jinja2'] = None; from garbage_cli.cli import main; main()"
    command = [sys.executable, "-c", blocked, "train", str(drawn.root), *TRAIN, "--epochs", "1", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert "the run is saved, but it has no report" in done.stderr
    told = json.loads(done.stdout)
    assert (told["report"], told["finished"]) == (None, True)


def test_a_report_that_breaks_off_hides_nothing_of_the_training(drawn: Dataset, tmp_path: Path) -> None:
    broken = (
        "import garbage_cli.evaluator as room\n"
        "def evaluate(*words, **options):\n    raise KeyboardInterrupt\n    yield\n"
        "room.evaluate = evaluate\nfrom garbage_cli.cli import main; main()"
    )
    command = [sys.executable, "-c", broken, "train", str(drawn.root), *TRAIN, "--epochs", "1", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 130, done.stderr
    assert json.loads(done.stdout)["finished"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_sigterm_while_unpacking_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    files = {f"garbage/{i}.bin": os.urandom(1000) for i in range(30_000)}
    archive = write_tar(tmp_path / "many.tar", files, "w")
    process = subprocess.Popen(
        [sys.executable, "-m", "garbage_cli", "unpack", str(archive), "--out", str(tmp_path / "data")],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".data.*/garbage/*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert [path.name for path in tmp_path.iterdir()] == ["many.tar"]
