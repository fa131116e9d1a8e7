"""What a person at the keyboard sees: exit codes, stdout, stderr, one clear line when something is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from conftest import COLOURS, Result, make_colour_bundle, run_program, save_photo
from rich.cells import cell_len
from rich.console import Console
from test_archive import write_zip

from garbage_cli.annotating import Typeface
from garbage_cli.labels import BINS, THE_40
from garbage_cli.prediction import Photo, Prediction, Score
from garbage_cli.sheets import Sheet
from garbage_cli.sources import Sources

Garbage = Callable[..., Result]

HEAVY = (
    "paddle", "paddleclas", "paddlehub", "openvino", "onnxruntime", "numpy", "PIL", "starlette", "uvicorn", "httpx",
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
    assert {"starlette", "uvicorn", "httpx"} <= used
    assert not used & {"paddle", "paddleclas", "paddlehub", "openvino"}  # the engine is in the workers
    worker = (
        "from pathlib import Path\n"
        "from garbage_cli.server import ServeOptions, worker\n"
        f"worker.Model(ServeOptions(Path({str(colour_bundle)!r})), threads=1, tell=print)"
    )
    used = loaded_by(worker)
    assert {"starlette", "uvicorn", "openvino"} <= used
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


# ---- many photos


def many(folder: Path, number: int) -> list[str]:
    """Photos of one colour in turn, all links to three files; their names, sorted."""
    for colour, rgb in COLOURS.items():
        save_photo(folder / f".{colour}.png", rgb)
    names = [f"照片 {index:04}.png" for index in range(number)]
    for index, name in enumerate(names):
        os.link(folder / f".{list(COLOURS)[index % 3]}.png", folder / name)
    return [str(folder / name) for name in names]


@pytest.mark.parametrize("width", [80, 120])
def test_many_photos_come_row_by_row_in_columns(colour_bundle: Path, tmp_path: Path, width: int) -> None:
    names = many(tmp_path / "m", 60)
    save_photo(tmp_path / "m" / f"照片 9 {'很长的名字 long ' * 4}.png", COLOURS["red"])
    (tmp_path / "m" / "照片 0030 bad.jpg").write_bytes(b"hello")
    command = [sys.executable, "-m", "garbage_cli", "predict", "m", "--model", str(colour_bundle)]
    environment = {**os.environ, "COLUMNS": str(width)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, env=environment
    )
    assert done.returncode == 1
    assert done.stderr == "61 answered, 1 failed\n"
    head, line, *rows = done.stdout.splitlines()
    assert head.split() == ["photo", "bin", "kind", "score"]
    assert set(line) == {"─"}
    assert all(cell_len(row) <= width for row in rows)
    assert [row.split("  ")[0] for row in rows if row.startswith("m/照片 00") and "bad" not in row] == [
        str(Path(name).relative_to(tmp_path)) for name in names
    ]
    starts = {cell_len(row[: row.index(word)]) for word in ("有害", "厨余", "可回") for row in rows if word in row}
    assert len(starts) == 1
    assert ("drink can" in done.stdout) is (width > 100)
    assert "it looks like text" in done.stdout
    assert "很长的名字long" * 4 in "".join(row.split("  ")[0] for row in rows).replace(" ", "")  # folded, not cut


def test_a_list_on_stdin_and_a_photo_on_stdin(colour_bundle: Path, tmp_path: Path) -> None:
    names = many(tmp_path / "m", 3)
    command = [sys.executable, "-m", "garbage_cli", "predict", "--model", str(colour_bundle)]
    run = partial(subprocess.run, capture_output=True, check=False, timeout=60, cwd=tmp_path)
    listed = run([*command, "--list", "-", "--json"], input="\r\n".join(names).encode("gb18030"))
    assert [json.loads(line)["image"] for line in listed.stdout.splitlines()] == names
    piped = run([*command, "-"], input=Path(names[1]).read_bytes())
    assert piped.stdout.decode().startswith("厨余垃圾 Kitchen → ")
    large = run([*command, "-"], input=b"\xff" * (50 * 1024 * 1024 + 5))
    assert large.stderr.decode().startswith("error: -: 52,428,801 bytes; the limit is 52,428,800")


def test_patterns_and_pictures(garbage: Garbage, colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn"
    told = garbage(
        "predict", f"{photos}/**/*.[wp]*", photos / "broken.jpg", "--annotate", out, "--model", colour_bundle
    )
    assert told.code == 1
    assert "2 answered, 1 failed" in told.err
    made = sorted(path.name for path in out.rglob("*") if path.is_file())
    assert made == ["blue.webp.jpg", "绿 色.png.jpg"]


def test_the_pictures_of_the_last_run_are_no_photos_of_the_next(
    garbage: Garbage, colour_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    for _ in range(2):
        told = garbage("predict", ".", "--annotate", "drawn", "--model", colour_bundle)
        assert "3 answered, 1 failed" in told.err


def test_without_a_font_for_chinese_one_line_says_so(
    garbage: Garbage, colour_bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garbage_cli.annotating.system_typeface", Typeface)
    told = garbage("predict", photos / "a red.jpg", "--annotate", tmp_path / "drawn", "--model", colour_bundle)
    assert told.code == 0
    assert "no font with Chinese is installed" in told.err
    assert "fonts-noto-cjk" in told.err
    assert len(told.err.splitlines()) == 1


def test_a_picture_never_replaces_a_photo(
    garbage: Garbage, colour_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    before = Path("a red.jpg").read_bytes()
    assert_one_line(garbage("predict", "a red.jpg", "--annotate", ".", "--model", colour_bundle), "replace the photo")
    assert_one_line(garbage("predict", ".", "--annotate", ".", "--model", colour_bundle), "name another folder")
    assert Path("a red.jpg").read_bytes() == before


def test_answers_in_a_csv_file_are_gone_on_with(
    garbage: Garbage, colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "a.csv"
    ask = partial(garbage, "predict", "--model", colour_bundle, "--csv", sheet)
    told = ask(photos / "a red.jpg", photos / "broken.jpg")
    assert (told.code, told.out, told.err) == (1, "", "1 answered, 1 failed\n")
    assert_one_line(ask(photos), "a.csv has answers in it; go on with --resume, name another file, or delete it")
    told = ask(photos, "--resume")
    assert (told.code, told.out, told.err) == (0, "", "2 answered, 2 already in the file\n")
    told = ask(photos, "--resume")
    assert (told.code, told.out, told.err) == (0, "", "0 answered, 4 already in the file\n")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).name for row in rows] == ["a red.jpg", "broken.jpg", "绿 色.png", "blue.webp"]
    assert [row["bin"] for row in rows] == ["有害垃圾", "", "厨余垃圾", "可回收物"]
    told = garbage("predict", photos, "--model", colour_bundle, "--csv", "-")
    assert [line.split(",")[1] for line in told.out.splitlines()] == ["bin", "有害垃圾", "", "厨余垃圾", "可回收物"]
    told = garbage("predict", photos, "--model", colour_bundle, "--csv", tmp_path / "b.csv", "--json")
    assert len(told.out.splitlines()) == 4
    assert (tmp_path / "b.csv").read_text() == sheet.read_text()


def test_a_csv_file_that_cannot_be_written_is_one_line(garbage: Garbage, colour_bundle: Path, photos: Path) -> None:
    ask = partial(garbage, "predict", photos, "--model", colour_bundle, "--csv")
    assert_one_line(ask(photos / "gone" / "a.csv"), "a.csv: No such file or directory")
    assert_one_line(ask(photos), "Is a directory")
    assert_one_line(ask(photos / "a red.jpg", "--resume"), "a red.jpg is not a file of answers")
    if Path("/dev/full").exists():
        assert_one_line(ask("/dev/full"), "/dev/full: No space left on device")


@contextmanager
def half_way(command: list[str], names: list[str], sheet: Path) -> Iterator[subprocess.Popen[str]]:
    """A running program that has been told of half the photos, has answered some and waits for more."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "--list", "-"], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        process.stdin.write("".join(f"{name}\n" for name in names[: len(names) // 2]))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not sheet.exists() or sheet.read_bytes().count(b"\n") < 100):
            time.sleep(0.01)
        yield process
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_after_a_kill_resume_gives_every_photo_once_and_in_order(
    colour_bundle: Path, tmp_path: Path, number: str
) -> None:
    names, sheet = many(tmp_path / "m", 500), tmp_path / "a.csv"
    command = [sys.executable, "-m", "garbage_cli", "predict", "--model", str(colour_bundle), "--csv", str(sheet)]
    with half_way(command, names, sheet) as process:
        process.send_signal(signal.Signals[number])
        code = process.wait(timeout=60)
        assert process.stderr is not None
        said = process.stderr.read()
    assert code == {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}[number]
    assert "Traceback" not in said
    assert ("go on with the same command and --resume" in said) is (number == "SIGINT")
    rows = sheet.read_bytes().splitlines(keepends=True)
    assert all(row.endswith(b"\n") and row.count(b",") == 5 for row in rows)
    assert 100 <= len(rows) <= 251
    if number == "SIGKILL":  # as when it comes within a row
        sheet.write_bytes(b"".join(rows)[:-9])
    again = run_program("predict", tmp_path / "m", "--model", colour_bundle, "--csv", sheet, "--resume")
    assert again.code == 0, again.err
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == names


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_keeps_the_rows_that_were_shown(colour_bundle: Path, tmp_path: Path) -> None:
    names, shown = many(tmp_path / "m", 500), tmp_path / "shown.txt"
    command = ["sh", "-c", 'exec "$@" > "$0"', str(shown), sys.executable, "-u", "-m", "garbage_cli", "predict"]
    with half_way([*command, "--model", str(colour_bundle)], names, shown) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr is not None
        said = process.stderr.read()
    rows = shown.read_text().splitlines()[2:]
    number = sum(row.rstrip().endswith("%") for row in rows)
    assert said in (f"stopped; {number} answered\n", f"stopped; {number - 1} answered\n")
    assert len(rows) >= 98


@pytest.mark.parametrize("options", [[], ["--json"], ["--csv", "-"]])
def test_a_pipe_that_is_closed_ends_it_quietly(colour_bundle: Path, tmp_path: Path, options: list[str]) -> None:
    many(tmp_path / "m", 400)
    command = [sys.executable, "-m", "garbage_cli", "predict", str(tmp_path / "m"), "--model", str(colour_bundle)]
    script = '"$@" 2> err | head -n 3'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command, *options], capture_output=True, text=True, check=False, cwd=tmp_path,
        timeout=60,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 3
    assert (tmp_path / "err").read_text() == ""


class Fake:
    """A classifier that opens no photo."""

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        score = (Score(THE_40[23], 0.98),)
        return (Prediction(photo.name, score) for photo in photos)


@pytest.mark.parametrize(
    ("rows", "few", "often"),
    [
        (False, 1_000, 10_000),
        (True, 300, 3_000),
        pytest.param(False, 10_000, 100_000, marks=pytest.mark.slow),
        pytest.param(True, 2_000, 20_000, marks=pytest.mark.slow),
    ],
)
def test_memory_is_flat_over_a_hundred_thousand_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: bool, few: int, often: int
) -> None:
    from garbage_cli.console import answers as view

    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr(view, "out", Console(file=nowhere, width=80))
        peaks = []
        for number in (few, few, often):  # the first is for what is made once
            (tmp_path / "list.txt").write_text("照 片/a.jpg\n" * number, encoding="utf-8")
            (tmp_path / "a.csv").unlink(missing_ok=True)
            sheet = Sheet.open(str(tmp_path / "a.csv"))
            tracemalloc.start()
            answers = sheet.keep(Fake().predict(Sources((), str(tmp_path / "list.txt")).photos()))
            assert view.show(answers, total=number, json=False, rows=rows)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert (tmp_path / "a.csv").read_bytes().count(b"\n") == often + 1
    assert peaks[2] < peaks[1] + 200_000


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
    assert garbage("predict", "a.jpg", "--resume").code == 2
    assert garbage("request", "a.jpg", "--csv", "-", "--resume").code == 2
    told = garbage("predict", "a.jpg", "--csv", "-", "--json")
    assert told.code == 2
    assert "both write to stdout" in told.err
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
