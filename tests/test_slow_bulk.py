"""Bulk prediction on real clusters of Ray: nodes and programs that are killed, stores of objects."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from conftest import COLOURS, run_program, save_photo
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem
from raycluster import Cluster, cluster, everybody, is_dead, parent
from rich.cells import cell_len

pytestmark = pytest.mark.slow

Row = dict[str, str]
SAME = ("--engine", "openvino", "--precision", "f32")  # what is compared is computed alike


def command(*arguments: object) -> list[str]:
    return [str(each) for each in (sys.executable, "-m", "garbage_cli", "predict", *arguments)]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "COLUMNS": "80"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=600, cwd=cwd, env=environment
    )


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment
    )


def rows_of(path: Path) -> list[Row]:
    files = sorted(path.glob("part-*.csv")) if path.is_dir() else [path]
    rows: list[Row] = []
    for each in files:
        with each.open(encoding="utf-8-sig", newline="") as file:
            rows += csv.DictReader(file)
    return rows


def wait_for(parts: int, out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until so many partitions are written."""
    until = time.monotonic() + 240
    while len(list(out.glob("part-*"))) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no progress"
        time.sleep(0.05)


def wait_for_the_end_of_work(made: Cluster) -> None:
    """Wait until the cluster has ended the workers of a program that is gone."""
    until = time.monotonic() + 60
    while left := made.named("_Mapper"):
        assert time.monotonic() < until, left
        time.sleep(0.2)


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster(1, 1) as made:
        yield made


@pytest.fixture(scope="module")
def twenty_thousand(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The real photos, or drawn ones where they are not, under twenty thousand names."""
    folder = tmp_path_factory.mktemp("many")
    try:
        archive = request.getfixturevalue("real_data") / "garbage.rar"
        assert run_program("unpack", archive, "--out", folder / "real").code == 0
        originals = sorted((folder / "real").rglob("*.jpg"))
    except pytest.skip.Exception:
        originals = [save_photo(folder / "real" / f"{name}.png", colour) for name, colour in COLOURS.items()]
    photos = folder / "photos"
    for number in range(20_000):
        original = originals[number % len(originals)]
        target = photos / f"{number // 1000:02}" / f"照片 {number:05}{original.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(original)
    return photos


def test_of_twenty_thousand_photos_each_is_answered_once_though_a_node_dies_half_way(
    two_nodes: Cluster, twenty_thousand: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    out, alone = tmp_path / "out", tmp_path / "alone.csv"
    process = start(
        "--ray", two_nodes.address, twenty_thousand.name, "--csv", out, "--model", colour_bundle, "--json", *SAME,
        "--partition", 250, cwd=twenty_thousand.parent,
    )  # fmt: skip
    wait_for(40, out, process)
    two_nodes.kill(1)
    printed, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "1 machine lost, 1 left; what was in hand there is done anew" in said
    assert json.loads(printed)["photos"] == 20_000
    assert json.loads(printed)["answered"] + json.loads(printed)["failed"] == 20_000

    rows = rows_of(out)
    assert set(Counter(row["image"] for row in rows).values()) == {1}
    assert len(rows) == 20_000
    done = run(twenty_thousand.name, "--csv", alone, "--model", colour_bundle, *SAME, cwd=twenty_thousand.parent)
    assert done.returncode == 0, done.stderr
    expected = {row["image"]: row for row in rows_of(alone)}
    assert expected.keys() == {row["image"] for row in rows}
    for row in rows:
        same = expected[row["image"]]
        assert [row[name] for name in ("bin", "kind", "sure", "error")] == [
            same[name] for name in ("bin", "kind", "sure", "error")
        ]
        assert float(row["score"]) == pytest.approx(float(same["score"]), abs=1e-5)


def test_a_program_that_was_killed_goes_on_and_does_nothing_twice(
    two_nodes: Cluster, twenty_thousand: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    out, some = tmp_path / "out", twenty_thousand / "00"
    asked = ("--ray", two_nodes.address, some, "--parquet", out, "--model", colour_bundle, "--partition", 10, *SAME)
    process = start(*asked, cwd=tmp_path)
    wait_for(5, out, process)
    assert two_nodes.named("_Mapper")
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        assert pipe
        pipe.close()
    wait_for_the_end_of_work(two_nodes)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert 5 <= len(kept) < 100
    refused = run(*asked, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "has answers in it; go on with --resume" in refused.stderr
    done = run(*asked, "--resume", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["before"] == 10 * len(kept)
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}.items()
    assert {path.name for path in out.iterdir() if not path.name.startswith("part-")} == {"_plan.json", "_done.json"}
    table = parquet.read_table(out)
    assert sorted(table.column("image").to_pylist()) == sorted(map(str, some.iterdir()))
    again = run(*asked, "--resume", "--json", cwd=tmp_path)  # nothing is left to do
    assert (again.returncode, json.loads(again.stdout)["answered"]) == (0, 0)


def test_ctrl_c_stops_the_work_and_says_how_to_go_on(
    two_nodes: Cluster, twenty_thousand: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(
        "--ray", two_nodes.address, twenty_thousand, "--csv", out, "--model", colour_bundle, "--partition", 50, *SAME,
        cwd=tmp_path,
    )  # fmt: skip
    wait_for(5, out, process)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, ""), said
    assert "broken off; " in said
    assert "go on with the same command and --resume" in said
    assert "Traceback" not in said
    wait_for_the_end_of_work(two_nodes)
    number = len(list(out.glob("part-*")))
    time.sleep(2)
    assert len(list(out.glob("part-*"))) == number < 400  # nobody works on


def test_a_relative_folder_is_the_same_one_for_machines_that_were_started_elsewhere(
    two_nodes: Cluster, photos: Path, colour_bundle: Path
) -> None:
    asked = ("--ray", two_nodes.address, ".", "--csv", "../answers", "--model", colour_bundle, "--json", *SAME)
    done = run(*asked, cwd=photos)
    assert (done.returncode, json.loads(done.stdout)["failed"]) == (1, 1), done.stderr
    assert len(rows_of(photos.parent / "answers")) == 4
    assert json.loads((photos.parent / "answers" / "_done.json").read_bytes())["failed"] == 1


def test_a_machine_with_another_garbage_is_named(
    photos: Path, colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "garbage_cli"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0"')
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(other.parent))
        with cluster(1) as made:
            patch.delenv("PYTHONPATH")
            done = run("--ray", made.address, photos, "--csv", "out", "--model", colour_bundle, *SAME, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no garbage" in done.stderr
    assert "No module named 'garbage_cli.bulk'); install the same everywhere" in done.stderr
    assert not (tmp_path / "out").exists()


def test_on_this_machine_alone_a_person_reads_what_came_of_it(
    photos: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    done = run("--ray", "local", photos, "--parquet", "answers", "--model", colour_bundle, *SAME, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert [line for line in lines if cell_len(line) > 80] == []
    assert [line.split("│")[1].split()[0] for line in done.stdout.splitlines() if "│" in line] == [
        "厨余垃圾", "可回收物", "有害垃圾", "failed"
    ]  # fmt: skip
    first, last = done.stderr.splitlines()
    assert first.startswith("4 photos; 1 worker on 1 machine")
    assert re.fullmatch(r"3 answered, 1 failed, in answers; \d+ photos/s", last)
    assert parquet.read_table(tmp_path / "answers").num_rows == 4


def test_a_stopped_program_leaves_no_process_of_a_cluster_of_its_own(
    twenty_thousand: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(
        "--ray", "local", twenty_thousand, "--csv", out, "--model", colour_bundle, "--partition", 50, *SAME,
        cwd=tmp_path,
    )  # fmt: skip
    wait_for(3, out, process)
    below = {pid for pid in everybody() if process.pid in above(pid)}
    assert len(below) > 3
    process.terminate()
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (143, ""), said
    assert "go on with the same command and --resume" in said
    assert "Traceback" not in said
    until = time.monotonic() + 30
    while left := [pid for pid in below if alive(pid)]:
        assert time.monotonic() < until, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.2)


def above(pid: int) -> list[int]:
    """The processes that a process descends from."""
    found: list[int] = []
    while pid > 1:
        try:
            pid = parent(pid)
        except OSError:
            break
        found.append(pid)
    return found


def alive(pid: int) -> bool:
    try:
        return not is_dead(Path(f"/proc/{pid}"))
    except OSError:
        return False


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FileSystem]:
    """A server that speaks S3, on loopback, and its buckets."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    made = S3FileSystem(
        access_key="key", secret_key="secret", endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1",
        allow_bucket_creation=True,
    )  # fmt: skip
    made.create_dir("photos")
    made.create_dir("answers")
    yield made
    server.stop()


def test_photos_and_answers_lie_in_a_store_of_objects(
    store: S3FileSystem, photos: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    keys = {f"bin 7/照 片/{i:02}.png": (photos / "a red.jpg").read_bytes() for i in range(11)}
    keys |= {"bin 7/empty.jpg": b"", "bin 7/damaged.jpg": b"no photo", "bin 7/notes.txt": b"x", "other/red.png": b""}
    for key, data in keys.items():
        with store.open_output_stream(f"photos/{key}") as file:
            file.write(data)
    asked = (
        "--ray", "local", "s3://photos/bin 7/", "--parquet", "s3://answers/today", "--model", colour_bundle,
        "--partition", 4, "--json", *SAME,
    )  # fmt: skip
    done = run(*asked, cwd=tmp_path)
    assert done.returncode == 1, done.stderr  # two of them are no photos
    said = json.loads(done.stdout)
    assert (said["photos"], said["answered"], said["failed"]) == (13, 11, 2)
    rows = parquet.read_table("answers/today", filesystem=store).to_pylist()
    assert sorted(row["image"] for row in rows) == sorted(
        f"s3://photos/{key}" for key in keys if key.startswith("bin 7/") and not key.endswith(".txt")
    )
    wrong = {row["image"]: row["error"] for row in rows if row["error"]}
    assert wrong.keys() == {"s3://photos/bin 7/empty.jpg", "s3://photos/bin 7/damaged.jpg"}
    assert wrong["s3://photos/bin 7/empty.jpg"] == "the file is empty"
    assert {row["kind"] for row in rows if not row["error"]} == {"干电池"}

    store.delete_file("answers/today/part-000002.parquet")
    done = run(*asked, "--resume", cwd=tmp_path)
    assert json.loads(done.stdout)["before"] == 9, done.stderr
    assert parquet.read_table("answers/today", filesystem=store).num_rows == 13
    assert list(tmp_path.iterdir()) == [photos]

    with store.open_output_stream("photos/bin 7/new.png") as file:
        file.write(keys["bin 7/照 片/00.png"])
    done = run(*asked, "--resume", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "s3://answers/today was begun with other photos (13 then, 14 now)" in done.stderr


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("s3://nowhere/", "s3://answers/x", "s3://nowhere/: not there; is the bucket's name right"),
        ("s3://photos/empty", "s3://answers/x", "s3://photos/empty: not there"),
        ("s3://photos/one", "s3://nowhere/x", "s3://nowhere/x"),
        ("s3://", "s3://answers/x", "names no bucket"),
    ],
)
def test_what_is_wrong_with_a_store_is_said_before_ray_is_started(
    store: S3FileSystem, colour_bundle: Path, tmp_path: Path, source: str, target: str, words: str
) -> None:
    with store.open_output_stream("photos/one/a.png") as file:
        file.write(b"x")
    done = run("--ray", "local", source, "--parquet", target, "--model", colour_bundle, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr
