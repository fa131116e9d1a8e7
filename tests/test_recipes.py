"""`garbage train --config` with the files that people have from PaddleClas, of both styles."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Result

from garbage_cli.config import load_train_config, with_overrides
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError
from garbage_cli.paddleclas import translate
from garbage_cli.recipes import harmless, read_recipe

Garbage = Callable[..., Result]

NETWORK = "MobileNetV3_small_x0_35"
RESIZE = {"ResizeImage": {"resize_short": 36}}
CROP = {"CropImage": {"size": 32}}


def old_style(**changes: Any) -> dict[str, Any]:
    """A file of 2.0 over data/, as people have it, with some keys changed; None takes one away."""
    tree = {
        "mode": "train",
        "ARCHITECTURE": {"name": NETWORK},
        "pretrained_model": "",
        "model_save_dir": "./their runs/",
        "classes_num": 8,
        "total_images": 32,
        "epochs": 1,
        "topk": 5,
        "image_shape": [3, 32, 32],
        "use_gpu": False,
        "use_mix": False,
        "ls_epsilon": 0.1,
        "LEARNING_RATE": {"function": "Cosine", "params": {"lr": 0.0125}},
        "OPTIMIZER": {"function": "Momentum", "params": {"momentum": 0.8}, "regularizer": {"factor": "2e-5"}},
        "TRAIN": {
            "batch_size": 8, "num_workers": 1, "file_list": "./data/train.txt", "data_dir": "./data/",
            "transforms": [{"RandCropImage": {"size": 32}}, {"RandFlipImage": {"flip_code": 1}}, {"ToCHWImage": None}],
        },
        "VALID": {
            "batch_size": 4, "file_list": "./data/validate.txt", "data_dir": "./data/", "transforms": [RESIZE, CROP],
        },
    }  # fmt: skip
    return _changed(tree, changes)


def new_style(**changes: Any) -> dict[str, Any]:
    """A file of today over data/, with some keys changed: `Arch__name="ResNet50"`; None takes one away."""
    tree: dict[str, Any] = {
        "Global": {
            "output_dir": "./their runs/", "device": "cpu", "epochs": 1, "seed": 7, "image_shape": [3, 32, 32],
            "print_batch_step": 10, "save_interval": 1,
        },
        "Arch": {"name": NETWORK, "class_num": 8, "drop_path_rate": 0.2},
        "Loss": {"Train": [{"CELoss": {"weight": 1.0, "epsilon": 0.1}}], "Eval": [{"CELoss": {"weight": 1.0}}]},
        "Optimizer": {
            "name": "AdamW", "weight_decay": 0.05,
            "lr": {"name": "Cosine", "learning_rate": "1e-3", "eta_min": 1e-6, "warmup_epoch": 0},
        },
        "DataLoader": {
            "Train": {
                "dataset": {
                    "name": "ImageNetDataset", "image_root": "./data/", "cls_label_path": "./data/train.txt",
                    "transform_ops": [{"RandCropImage": {"size": 32}}, {"RandFlipImage": {"flip_code": 1}}],
                },
                "sampler": {"name": "DistributedBatchSampler", "batch_size": 8, "shuffle": True},
                "loader": {"num_workers": 1},
            },
            "Eval": {
                "dataset": {
                    "name": "ImageNetDataset", "image_root": "./data/", "cls_label_path": "./data/validate.txt",
                    "transform_ops": [RESIZE, CROP],
                },
            },
        },
        "Metric": {"Eval": [{"TopkAcc": {"topk": [1, 5]}}], "Train": [{"TopkAcc": {"topk": [1, 5]}}]},
    }  # fmt: skip
    return _changed(tree, changes)


def _changed(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return tree


@pytest.fixture
def here(drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the drawn photos lie in data/ below it."""
    shutil.copytree(drawn.root, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(tree: dict[str, Any], name: str = "theirs.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(tree), encoding="utf-8")
    return name


def settings_of(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yml").read_text())  # type: ignore[no-any-return]


def record_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())  # type: ignore[no-any-return]


# ---- training with them


def test_a_file_of_2_0_is_trained_as_it_says(garbage: Garbage, here: Path) -> None:
    result = garbage("train", "--config", write(old_style(OPTIMIZER__params__rho=0.5)))
    assert result.code == 0, result.err
    run = here / "their runs" / NETWORK
    settings = settings_of(run)
    assert (settings["model"]["name"], settings["model"]["pretrained"], settings["tune"]) == (NETWORK, "none", "full")
    assert (settings["epochs"], settings["batch_size"], settings["device"]) == (1, 8, "cpu")
    assert settings["optimizer"]["learning_rate"] == 0.0125
    assert (settings["optimizer"]["momentum"], settings["optimizer"]["weight_decay"]) == (0.8, 2e-5)
    assert settings["augment"]["erase"] == 0
    assert (settings["preprocess"]["resize_short"], settings["preprocess"]["crop"]) == (36, 32)
    assert record_of(run)["photos"] == {"train": 32, "val": 16}
    assert record_of(run)["labels"][0] == "可回收物/易拉罐"
    lines = result.err.splitlines()
    assert lines[0].startswith("theirs.yaml is a training file of PaddleClas: ")
    assert lines[1].startswith("not used, so training differs: OPTIMIZER.params.rho: not supported")
    assert "other keys have no meaning here: " in lines[2]
    assert {"mode", "topk", "VALID.batch_size"} <= set(lines[2].partition(": ")[2].split(", "))
    assert lines[3] == "photos by ./data/train.txt and ./data/validate.txt"
    assert result.err.count("is a training file of PaddleClas") == 1


def test_a_file_of_today_is_trained_with_the_options_on_top_and_goes_on(garbage: Garbage, here: Path) -> None:
    command = [
        "train", "--config", write(new_style()), "--learning-rate", 0.002, "--set", "loss.label_smoothing=0.2",
        "--out", "mine", "--batch-size", 16,
    ]  # fmt: skip
    stopped = garbage(*command, "--time-limit", "0.01s")
    assert "the time is up" in stopped.err
    result = garbage(*command, "--resume", "--json")
    assert result.code == 0, result.err
    settings = settings_of(here / "mine" / NETWORK)
    assert (settings["optimizer"]["name"], settings["optimizer"]["weight_decay"]) == ("adamw", 0.05)
    assert (settings["optimizer"]["learning_rate"], settings["loss"]["label_smoothing"]) == (0.002, 0.2)
    assert (settings["batch_size"], settings["seed"]) == (16, 7)
    assert "not used, so training differs: Arch.drop_path_rate: " in result.err
    assert "not used, so training differs: Optimizer.lr.eta_min: " in result.err
    assert "Metric.*" in result.err
    assert "resumed at epoch 1, step 1" in result.err
    assert json.loads(result.out)["run"] == f"mine/{NETWORK}"
    assert not (here / "their runs").exists()


def test_a_data_folder_that_is_named_goes_before_their_lists(garbage: Garbage, here: Path) -> None:
    (here / "data").rename(here / "elsewhere")
    result = garbage("train", "elsewhere", "--config", write(old_style()))
    assert result.code == 0, result.err
    assert "photos of elsewhere, not by ./data/train.txt and ./data/validate.txt" in result.err
    assert record_of(here / "their runs" / NETWORK)["photos"] == {"train": 32, "val": 16}


def test_lists_of_another_name_are_the_ones_that_are_read(garbage: Garbage, here: Path) -> None:
    """Four photos of each of two classes, no validation list, no names of classes."""
    lines = (here / "data" / "train.txt").read_text().splitlines()
    few = [line.replace("./", "").replace(" ", "\t") for line in lines if line.endswith((" 0", " 1"))]
    (here / "lists").mkdir()
    (here / "lists" / "few.txt").write_text("\n".join(few))
    for path in (here / "data").glob("*[lr][sue]*.*[ts][xo]*"):
        path.unlink()
    changes = {"VALID__file_list": None, "TRAIN__file_list": "lists/few.txt", "classes_num": 2}
    result = garbage("train", "--config", write(old_style(**changes)))
    assert result.code == 0, result.err
    record = record_of(here / "their runs" / NETWORK)
    assert record["labels"] == ["0", "1"]
    assert record["photos"] == {"train": 6, "val": 2}
    assert "no file names the classes: they are called 0 … 1" in result.err
    assert "speaks of 32 training photos, lists/few.txt has 8 lines" in result.err
    assert "20% of each class set aside" in result.err


# ---- what a recipe is


def test_our_own_files_and_names_are_read_as_ever(here: Path) -> None:
    Path("ours.yml").write_text("epochs: 3\n")
    recipe = read_recipe("ours.yml", [("batch_size", 4)])
    assert (recipe.config.epochs, recipe.config.batch_size) == (3, 4)
    assert (recipe.theirs, recipe.output, recipe.lists, recipe.dataset()) == (None, None, (), None)
    assert read_recipe("resnet50_vd_ssld_random_erasing").config == load_train_config()


def test_without_lists_the_data_folder_is_the_default_one(garbage: Garbage, here: Path) -> None:
    changes = {"TRAIN__file_list": None, "VALID__file_list": None, "model_save_dir": None}
    result = garbage("train", "--config", write(old_style(**changes)), "--time-limit", "0.01s")
    assert "the time is up" in result.err
    assert "32 training and 16 validation photos, 8 classes, into output/" in result.err
    assert "photos by" not in result.err


def test_every_unused_key_is_named_alone_or_by_its_section() -> None:
    for tree in (old_style(), new_style()):
        theirs = translate(tree, where="file")
        named = harmless(theirs)
        for key in theirs.unused:
            sections = [f"{key[:at]}.*" for at, letter in enumerate(key) if letter == "."]
            assert key in theirs.differing or any(name in named for name in (key, *sections)), key
        for section in (name[:-1] for name in named if name.endswith(".*")):
            assert not [key for key in (*theirs.used, *theirs.differing) if key.startswith(section)]


def test_overrides_leave_the_translation_as_it_was() -> None:
    theirs = translate(old_style(), where="file")
    before = json.dumps(theirs.settings)
    changed = with_overrides(theirs.settings, [("optimizer.momentum", 0.1), ("augment.erase", 1)], where="file")
    assert (changed.optimizer.momentum, changed.augment.erase) == (0.1, 1)
    assert json.dumps(theirs.settings) == before


# ---- what is wrong with them


def assert_error(result: Result, *words: str) -> None:
    last = result.err.splitlines()[-1]
    assert result.code == 1, result.err
    assert last.startswith("error: ")
    for word in words:
        assert word in last


@pytest.mark.parametrize("style", [old_style, new_style])
def test_a_list_or_a_folder_that_is_not_there_is_named_with_the_remedy(
    garbage: Garbage, here: Path, style: Callable[..., dict[str, Any]]
) -> None:
    name = write(style())
    (here / "data" / "validate.txt").unlink()
    assert_error(garbage("train", "--config", name), "theirs.yaml: no list data/validate.txt", "garbage train FOLDER")
    (here / "data").rename(here / "photos")
    result = garbage("train", "--config", name)
    assert_error(result, "theirs.yaml: no list data/train.txt", f"as seen from {here}", "garbage train FOLDER")
    assert not (here / "their runs").exists()


def test_a_folder_that_the_photos_are_not_in_is_named(garbage: Garbage, here: Path) -> None:
    (here / "empty").mkdir()
    wrong = {"TRAIN__data_dir": "./empty", "VALID__data_dir": "./empty"}
    result = garbage("train", "--config", write(old_style(**wrong)))
    assert_error(result, "data/train.txt names no photo", "train.txt, line 1", "no such file", "start from empty")
    gone = {"TRAIN__data_dir": "./gone", "VALID__data_dir": "./gone"}
    assert_error(garbage("train", "--config", write(old_style(**gone))), "no folder gone", "garbage train FOLDER")
    disk = {"TRAIN__data_dir": "/", "VALID__data_dir": "/"}
    assert_error(garbage("train", "--config", write(old_style(**disk))), "the whole disk")


def test_a_value_that_is_wrong_is_said_with_the_key_of_whoever_gave_it(garbage: Garbage, here: Path) -> None:
    result = garbage("train", "--config", write(old_style(epochs="many")))
    assert_error(result, "theirs.yaml: epochs is 'many'; it must be a number")
    result = garbage("train", "--config", write(new_style(Optimizer__lr__learning_rate=-1)))
    assert_error(result, "theirs.yaml: Optimizer.lr.learning_rate: ", "optimizer.learning_rate is -1")
    assert_error(garbage("train", "--config", write(new_style()), "--epochs", 0), "epochs is 0")
    assert_error(garbage("train", "--config", write(new_style()), "--set", "epoch=3"), "the options: unknown key epoch")


def test_a_file_of_both_styles_is_refused(garbage: Garbage, here: Path) -> None:
    result = garbage("train", "--config", write({**old_style(), **new_style()}))
    assert_error(result, "theirs.yaml has ARCHITECTURE and Arch, of two styles")


def test_yaml_that_breaks_the_reader_is_one_error(here: Path) -> None:
    for text in (
        "epochs: 2021-13-45",
        "[" * 5000,
        "{" * 5000,
        "a: &a [*a, *a]",
        "Arch: &a {name: *a}",
        "epochs: \udcff",
    ):
        Path("bad.yml").write_text(text, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(ConfigError, match=r"bad\.yml"):
            read_recipe("bad.yml")


def test_a_gpu_that_is_not_here_is_said_before_a_photo_is_read(garbage: Garbage, here: Path) -> None:
    result = garbage("train", "--config", write(old_style(use_gpu=True, TRAIN__file_list="gone.txt")))
    if "no list" in result.err:
        pytest.skip("there is a GPU")
    assert_error(result, "theirs.yaml: device 'gpu': this Paddle sees 0 GPUs", "--device cpu")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("pretrained/ResNet50_vd_ssld_pretrained", "--pretrained ssld"),
        ("pretrained/ResNet50_vd_pretrained", "--pretrained imagenet"),
        ("my_best", "use ssld, imagenet, none, a file or a URL"),
    ],
)
def test_weights_that_are_not_there_say_where_they_are_from(
    garbage: Garbage, here: Path, name: str, advice: str
) -> None:
    result = garbage("train", "--config", write(old_style(pretrained_model=name)))
    assert_error(result, f"--pretrained {name}.pdparams: no such file", advice)


def test_weights_are_found_without_their_suffix(garbage: Garbage, here: Path) -> None:
    name = write(old_style())
    assert garbage("train", "--config", name).code == 0
    weights = f"their runs/{NETWORK}/latest"
    result = garbage("train", "--config", name, "--pretrained", weights, "--out", "again", "--time-limit", "0.01s")
    assert "the time is up" in result.err
    assert f"weights {weights}: " in result.err
