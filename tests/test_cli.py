"""What a person at the keyboard sees: exit codes, stdout, stderr, one clear line when something is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COLOURS, Result, make_colour_bundle, run_program, save_photo
from test_archive import write_zip

from garbage_cli.labels import BINS

Garbage = Callable[..., Result]

HEAVY = (
    "paddle", "paddleclas", "paddlehub", "openvino", "onnxruntime", "numpy", "PIL", "fastapi", "uvicorn", "httpx",
    "sklearn", "scipy", "matplotlib", "jinja2",
)  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Run Python code in a fresh process; return the heavy packages that it loaded."""
    script = f"{code}\nimport sys\nprint('LOADED', *{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "LOADED"
    return set(last) & set(HEAVY)


def run_main(*arguments: object) -> str:
    """Code that runs the command line and goes on after it, unless it fails."""
    return (
        f"import sys; sys.argv = ['garbage', *{list(map(str, arguments))!r}]\n"
        "from garbage_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    if end.code:\n        raise"
    )


@pytest.mark.parametrize(
    "command", ["", "unpack", "check", "train", "models", "evaluate", "export", "predict", "serve", "request", "demo"]
)
def test_help_loads_nothing_heavy(command: str) -> None:
    assert loaded_by(run_main(*command.split(), "--help")) == set()


def test_unpack_predict_and_request_load_no_paddle(colour_bundle: Path, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"0/a.jpg": b"x", **_lists()})
    assert "paddle" not in loaded_by(run_main("unpack", archive, "--out", tmp_path / "data"))
    photo = save_photo(tmp_path / "red.png", COLOURS["red"])
    used = loaded_by(run_main("predict", photo, "--model", colour_bundle))
    assert used == {"openvino", "numpy", "PIL"}
    server = (
        "import threading, os, signal\n"
        "from pathlib import Path\n"
        "from garbage_cli.server import ServeOptions, serve\n"
        "from garbage_cli.client import Client\n"
        "from garbage_cli.prediction import Photo\n"
        "def ask(url):\n"
        f"    answers = list(Client(url).predict([Photo.from_path(Path({str(photo)!r}))]))\n"
        "    assert answers[0].bin_name == '有害垃圾', answers\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "try:\n"
        f"    serve(ServeOptions(Path({str(colour_bundle)!r}), port=0), on_ready=ask)\n"
        "except SystemExit as end:\n    assert not end.code"
    )
    used = loaded_by(server)
    assert {"fastapi", "uvicorn", "openvino", "httpx"} <= used
    assert not used & {"paddle", "paddleclas", "paddlehub"}


def test_the_client_loads_no_engine() -> None:
    assert loaded_by("import garbage_cli.client; garbage_cli.client.Client()") <= {"httpx", "numpy"}


def _lists() -> dict[str, bytes]:
    rule = json.dumps({"0": "可回收物/易拉罐"}).encode()
    return {"train.txt": b"0/a.jpg 0\n", "validate.txt": b"0/a.jpg 0\n", "garbage_classify_rule.json": rule}


# ---- the happy way


def test_unpack_shows_classes_by_bin_and_split(garbage: Garbage, tmp_path: Path) -> None:
    archive = write_zip(
        tmp_path / "垃圾 分类.zip", {"garbage/0/a.jpg": b"x", **{f"garbage/{k}": v for k, v in _lists().items()}}
    )
    shown = garbage("unpack", archive, "--out", tmp_path / "数 据")
    assert shown.code == 0
    for word in ("易拉罐", "drink can", "可回收物", "Recyclable", "train", "val"):
        assert word in shown.out
    told = garbage("unpack", archive, "--out", tmp_path / "数 据", "--force", "--json")
    value = json.loads(told.out)
    assert value["classes"] == [{"class_id": 0, "name": "易拉罐", "bin": "可回收物", "train": 1, "val": 1}]


def test_one_photo_gets_the_bin_first(garbage: Garbage, colour_bundle: Path, photos: Path) -> None:
    shown = garbage("predict", photos / "a red.jpg", "--model", colour_bundle)
    assert (shown.code, shown.err) == (0, "")
    first, *rest = shown.out.splitlines()
    assert first.startswith("有害垃圾 Hazardous → 干电池 dry-cell battery ")
    assert first.endswith(" %")
    assert len([line for line in rest if line.strip()]) == 3


def test_a_folder_gets_a_table_that_names_the_bad_photo(garbage: Garbage, colour_bundle: Path, photos: Path) -> None:
    shown = garbage("predict", photos, "--model", colour_bundle)
    assert shown.code == 1
    for word in ("绿 色.png", "厨余垃圾", "broken.jpg", "damaged or incomplete", "可回收物"):
        assert word in shown.out
    assert "3 answered, 1 failed" in shown.err
    assert "Traceback" not in shown.err


def test_json_is_one_object_a_line_in_input_order(garbage: Garbage, colour_bundle: Path, photos: Path) -> None:
    named = [photos / "绿 色.png", photos / "broken.jpg", photos / "a red.jpg"]
    told = garbage("predict", *named, "--model", colour_bundle, "--json", "--top-k", 1)
    values = [json.loads(line) for line in told.out.splitlines()]
    assert told.code == 1
    assert [value["image"] for value in values] == [str(path) for path in named]
    assert values[0]["bin"] == values[0]["predictions"][0]["bin"] == "厨余垃圾"
    assert set(values[0]["predictions"][0]) == {"class_id", "name", "bin", "score"}
    assert (values[1]["bin"], values[1]["predictions"]) == (None, [])
    assert values[1]["error"]
    assert "绿 色" in told.out


def test_bins_are_coloured_on_a_terminal(colour_bundle: Path, photos: Path) -> None:
    command = [sys.executable, "-m", "garbage_cli", "predict", str(photos / "a red.jpg"), "--model", str(colour_bundle)]
    environment = {**os.environ, "FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm-256color"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    red, green, blue = bytes.fromhex(BINS[2].colour.removeprefix("#"))
    assert f"38;2;{red};{green};{blue}" in done.stdout


def test_chinese_comes_out_where_the_locale_is_c(colour_bundle: Path, photos: Path) -> None:
    command = [sys.executable, "-m", "garbage_cli", "predict", str(photos / "a red.jpg"), "--model", str(colour_bundle)]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=60)
    assert "有害垃圾" in done.stdout.decode()


# ---- one clear line


def assert_one_line(result: Result, *words: str) -> None:
    assert result.code == 1
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("error: ")
    for word in words:
        assert word in result.err


def test_a_wrong_archive(garbage: Garbage, tmp_path: Path) -> None:
    page = tmp_path / "网 盘.rar"
    page.write_text("<!doctype html><title>log in</title>")
    assert_one_line(garbage("unpack", page, "--out", tmp_path / "data"), "网 盘.rar", "web page", "download it again")
    assert_one_line(garbage("unpack", tmp_path / "[/x].rar"), "no file", "[/x].rar")
    assert_one_line(garbage("unpack", tmp_path), "is a folder, not an archive")
    assert not (tmp_path / "data").exists()


def test_an_archive_without_lists_is_kept_and_said(garbage: Garbage, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.jpg": b"x"})
    result = garbage("unpack", archive, "--out", tmp_path / "data")
    assert result.code == 1
    assert "no data set in" in result.err
    assert (tmp_path / "data" / "a.jpg").is_file()


def test_force_does_not_replace_a_data_set_by_what_is_none(garbage: Garbage, tmp_path: Path) -> None:
    good = write_zip(tmp_path / "good.zip", {"0/a.jpg": b"x", **_lists()})
    wrong = write_zip(tmp_path / "wrong.zip", {"a.jpg": b"x"})
    data = tmp_path / "data"
    assert garbage("unpack", good, "--out", data).code == 0
    result = garbage("unpack", wrong, "--out", data, "--force")
    assert_one_line(result, "no data set in wrong.zip: no train.txt", f"{data} is kept as it was")
    assert (data / "train.txt").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "good.zip", "wrong.zip"]


def test_a_closed_stdout_is_no_success(colour_bundle: Path, photos: Path) -> None:
    command = [sys.executable, "-m", "garbage_cli", "predict", str(photos / "a red.jpg"), "--model", str(colour_bundle)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: stdout is closed; there is nowhere to write the answer\n"


@pytest.mark.parametrize("command", ["predict", "serve"])
def test_a_wrong_model_folder(garbage: Garbage, tmp_path: Path, command: str) -> None:
    photo = [save_photo(tmp_path / "red.png", COLOURS["red"])] if command == "predict" else []
    assert_one_line(garbage(command, *photo, "--model", tmp_path / "gone"), "no folder", "gone", "garbage export")
    assert_one_line(garbage(command, *photo, "--model", tmp_path), "garbage.json", "garbage export")
    assert_one_line(garbage(command, *photo, "--model", __file__), "is a file; name the folder")
    broken = make_colour_bundle(tmp_path / "模 型")
    (broken / "model.onnx").write_bytes(b"")
    assert_one_line(garbage(command, *photo, "--model", broken), "模 型", "model.onnx has 0 bytes", "export it again")


def test_a_wrong_run_folder(garbage: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(garbage("export"), "no training run in output", "garbage train")
    assert_one_line(garbage("export", tmp_path), "run.json", "garbage train")
    assert_one_line(garbage("export", "gone.pdparams"), "no file or folder gone.pdparams")
    (tmp_path / "img.jpg").write_bytes(b"x")
    assert_one_line(garbage("export", "img.jpg"), "img.jpg is no run folder")
    (tmp_path / "runs" / "ResNet50_vd").mkdir(parents=True)
    (tmp_path / "runs" / "ResNet50_vd" / "run.json").write_text("{}")
    assert_one_line(garbage("export", "runs"), "holds the runs ResNet50_vd", "runs/ResNet50_vd")


def test_a_top_k_larger_than_the_class_count(garbage: Garbage, colour_bundle: Path, photos: Path) -> None:
    result = garbage("predict", photos / "a red.jpg", "--model", colour_bundle, "--top-k", 4)
    assert_one_line(result, "top-k is 4; this model knows 3 classes, so use 1 to 3")
    assert_one_line(garbage("serve", "--model", colour_bundle, "--top-k", 4, "--port", 0), "top-k is 4")


def test_a_missing_photo_and_a_folder_without_photos(garbage: Garbage, colour_bundle: Path, tmp_path: Path) -> None:
    gone = garbage("predict", tmp_path / "照 片.jpg", "--model", colour_bundle)
    assert_one_line(gone, "照 片.jpg: No such file or directory")
    assert_one_line(garbage("predict", tmp_path, "--model", colour_bundle), "no photo in", str(tmp_path))


def test_a_missing_extra(tmp_path: Path, colour_bundle: Path, photos: Path) -> None:
    """A process in which Paddle can't be imported, as after the base install."""
    hide = (
        "import sys\nfor name in ('paddle', 'paddleclas', 'paddle2onnx', 'paddlehub'):\n    sys.modules[name] = None\n"
    )
    archive = write_zip(tmp_path / "a.zip", {"0/a.jpg": b"x", **_lists(), "train.txt": b"0/a.jpg 0\n0/a.jpg 0\n"})
    assert run_program("unpack", archive, "--out", tmp_path / "data").code == 0
    arguments = ["train", tmp_path / "data", "--out", tmp_path / "output"]
    done = subprocess.run(
        [sys.executable, "-c", hide + run_main(*arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert_one_line(Result(done.returncode, done.stdout, done.stderr), "pip install 'garbage-cli[train]'")
    subprocess.run(
        [sys.executable, "-c", hide + run_main("predict", photos / "a red.jpg", "--model", colour_bundle)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def test_a_wrong_data_folder_config_or_network(
    garbage: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(garbage("train"), "no folder data", "garbage unpack")
    assert_one_line(garbage("train", "--set", "epoch=3"), "unknown key epoch", "did you mean epochs?")
    assert_one_line(garbage("train", "--config", "nothing"), "no config named 'nothing'")
    assert_one_line(garbage("train", "--resume"), "no training run in output")


def test_usage_errors_exit_2(garbage: Garbage) -> None:
    assert garbage("predict").code == 2
    assert garbage("serve", "--port", 99999).code == 2
    assert garbage("nothing").code == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(
    garbage: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "a.zip", {"0/a.jpg": b"x" * 100, **_lists()})

    def full(*arguments: object, **options: object) -> int:
        raise OSError(28, "No space left on device", str(tmp_path / "data"))

    monkeypatch.setattr("garbage_cli.archive.writing.Writer._pour", full)
    assert_one_line(garbage("unpack", archive, "--out", tmp_path / "data"), "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_folder_that_cannot_be_written_is_one_line(garbage: Garbage, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"0/a.jpg": b"x", **_lists()})
    (tmp_path / "file").write_text("in the way")
    assert_one_line(garbage("unpack", archive, "--out", tmp_path / "file" / "data"), "file")


def test_a_bug_keeps_its_traceback(
    garbage: Garbage, colour_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise KeyError("a bug of ours")

    monkeypatch.setattr("garbage_cli.predictor.Predictor.load", broken)
    with pytest.raises(KeyError):
        garbage("predict", photos, "--model", colour_bundle)


def test_version(garbage: Garbage) -> None:
    assert garbage("--version").out.startswith("garbage 0.")
