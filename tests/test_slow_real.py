"""The real photos, the real archives of others, fresh environments: `make test-slow`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from archives import write_7z
from conftest import COLOURS, Result, run_program, save_photo
from test_server import serving

from garbage_cli.dataset import Dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def done(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


# ---- the real photos


@pytest.fixture(scope="module")
def pipeline(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which unpack, train (the last stage, three short epochs at 96 pixels) and export have run."""
    folder = tmp_path_factory.mktemp("real")
    done(run_program("unpack", real_data / "garbage.rar", cwd=folder))
    weights = real_data / "MobileNetV2_imagenet.pdparams"
    small = [
        "--set",
        "preprocess.resize_short=112",
        "--set",
        "preprocess.crop=96",
        "--set",
        "augment.crop_scale=[0.5,1]",
    ]
    arguments = ["--model", "MobileNetV2", "--pretrained", weights, "--epochs", 3, *small]
    done(run_program("train", *arguments, cwd=folder, timeout=1500))
    done(run_program("export", cwd=folder))
    return folder


def test_the_real_archive_is_read_whole(pipeline: Path) -> None:
    dataset = Dataset.load(pipeline / "data")
    assert (len(dataset.train), len(dataset.val), len(dataset.labels)) == (1768, 328, 6)
    assert [label.text for label in dataset.labels.items][5] == "其他垃圾/其他"


def test_serve_and_request_answer_what_predict_answers_on_every_validation_photo(pipeline: Path) -> None:
    dataset = Dataset.load(pipeline / "data")
    names = [str(sample.path) for sample in dataset.val]
    same = ("--engine", "openvino", "--precision", "f32")  # many photos and one at a time may be given other engines
    told = done(run_program("predict", *names, "--json", *same, "--top-k", 6, cwd=pipeline))
    local = [json.loads(line) for line in told.out.splitlines()]
    with serving(pipeline / "inference", "--workers", 2, "--top-k", 6, *same) as server:
        told = done(run_program("request", *names, "--json", "--url", server.url))
    remote = [json.loads(line) for line in told.out.splitlines()]
    assert [each["image"] for each in local] == [each["image"] for each in remote] == names
    for mine, theirs in zip(local, remote, strict=True):
        here, there = ({each["class_id"]: each["score"] for each in side["predictions"]} for side in (mine, theirs))
        assert here == pytest.approx(there, abs=1e-4)
    right = [each["predictions"][0]["class_id"] == s.class_id for each, s in zip(local, dataset.val, strict=True)]
    best = json.loads((pipeline / "output" / "MobileNetV2" / "run.json").read_text())["best"]["top1"]
    assert sum(right) / len(right) == pytest.approx(best)
    assert best > 0.5  # one class of six is 17 % by chance, and the largest 25 %


def test_the_head_of_a_pretrained_network_is_good_in_a_minute(pipeline: Path, real_data: Path, tmp_path: Path) -> None:
    weights = real_data / "MobileNetV2_imagenet.pdparams"
    words = ["train", pipeline / "data", "--config", "quick", "--pretrained", weights, "--out", "heads", "--json"]
    told = json.loads(done(run_program(*words, cwd=tmp_path, timeout=900)).out)
    assert told["val_top1"] > 0.8  # docs/log.md has the figures of three seeds
    run = tmp_path / "heads" / "MobileNetV2"
    done(run_program("export", run, cwd=tmp_path, timeout=600))
    dataset = Dataset.load(pipeline / "data")
    names = [str(sample.path) for sample in dataset.val]
    lines = done(run_program("predict", *names, "--json", "--precision", "f32", cwd=tmp_path)).out.splitlines()
    answers = [json.loads(line)["predictions"][0]["class_id"] for line in lines]
    right = [answer == sample.class_id for answer, sample in zip(answers, dataset.val, strict=True)]
    assert sum(right) / len(right) == pytest.approx(told["val_top1"], abs=0.004)  # one photo of 328


# ---- the demo


def test_the_demo_reaches_90_percent(tmp_path: Path) -> None:
    finished = done(run_program("demo", tmp_path / "示 例", "--json", timeout=900))
    value = json.loads(finished.out.splitlines()[-1])
    assert value["val_top1"] >= 0.9
    commands = [step["command"].split()[1] for step in value["steps"]]
    assert commands == ["unpack", "check", "train", "export", "evaluate", "predict", "predict", "serve", "request"]
    answers = re.findall(r"可回收物 Recyclable → 易拉罐 drink can [\d.]+ %", finished.out)
    assert len(answers) >= 2
    assert answers[0] == answers[-1]


# ---- a fresh environment with the base install alone


@pytest.fixture(scope="module")
def base_install(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed with its base dependencies in an environment of its own; returns its `garbage`."""
    folder = tmp_path_factory.mktemp("base")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(ROOT)]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True, timeout=300)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, timeout=120)
    pip = [str(folder / "env" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, str(next(folder.glob("garbage_cli-*.whl")))], check=True, timeout=900)
    return folder / "env" / "bin" / "garbage"


def ask(program: Path, *arguments: object, cwd: Path) -> Result:
    command = [str(program), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)
    return Result(ended.returncode, ended.stdout, ended.stderr)


def test_the_base_install_predicts_and_serves_without_paddle(
    base_install: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    packages = {path.name.partition("-")[0] for path in base_install.parents[1].glob("lib/*/site-packages/*.dist-info")}
    assert not packages & {"paddlepaddle", "paddleclas", "paddlehub", "paddle2onnx"}
    photo = save_photo(tmp_path / "红.png", COLOURS["red"])
    shown = done(ask(base_install, "predict", photo, "--model", colour_bundle, cwd=tmp_path))
    assert shown.out.startswith("有害垃圾 Hazardous → 干电池")


def test_the_base_install_finds_the_recipes_and_names_the_extra(
    base_install: Path, drawn: Dataset, tmp_path: Path
) -> None:
    refused = ask(base_install, "train", drawn.root, "--config", "demo", cwd=tmp_path)
    assert refused.code == 1
    assert refused.err == (
        "error: training needs paddlepaddle, which is not installed; "
        "install the extra with: pip install 'garbage-cli[train]'\n"
    )
    unknown = ask(base_install, "train", drawn.root, "--config", "x", cwd=tmp_path)
    assert "resnet50_vd_ssld_random_erasing" in unknown.err


def test_the_small_extras_alone_check_a_data_set_and_open_7z(
    base_install: Path, drawn: Dataset, tmp_path: Path
) -> None:
    """Runs last over the base install: the newest versions of what the extras name, not the locked ones."""
    refused = ask(base_install, "check", drawn.root, cwd=tmp_path)
    assert refused.err.endswith("install the extra with: pip install 'garbage-cli[check]'\n")
    wheel = next(base_install.parents[2].glob("garbage_cli-*.whl"))
    pip = [str(base_install.with_name("python")), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"{wheel}[check,archives]"], check=True, timeout=900)
    write_7z(tmp_path / "a.7z", {"garbage/" + drawn.name(p): p.read_bytes() for p in drawn.root.rglob("*.*")})
    done(ask(base_install, "unpack", "a.7z", cwd=tmp_path))
    assert "usable" in done(ask(base_install, "check", cwd=tmp_path)).out


# ---- the hub extra


@pytest.fixture
def hub_environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HUB_HOME": str(tmp_path / "hub"), "HOME": str(tmp_path)}


def test_the_real_paddlehub_imports_with_the_pins_of_the_extra(hub_environment: dict[str, str], tmp_path: Path) -> None:
    code = "import paddlehub, paddleclas, cv2; print('VERSION', paddlehub.__version__)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=hub_environment, timeout=280
    )
    assert "VERSION 2.4.0" in ended.stdout, ended.stderr
