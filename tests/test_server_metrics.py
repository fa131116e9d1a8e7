"""Metrics: over several processes, in a bounded number of series, on a full disk."""

import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from garbage_cli.server import metrics, metricsfolder
from garbage_cli.server.metrics import Metrics
from garbage_cli.server.metricsfolder import VARIABLE, MetricsFolder

ROUTES, BINS = ("/v1/predict", "/healthz"), ("可回收物", "有害垃圾")

WORKER = """
import sys
from garbage_cli.server.metrics import Metrics
given = {"routes": ("/v1/predict", "/healthz"), "bins": ("可回收物", "有害垃圾"), "tell": print}
metrics = Metrics(**given)
for line in sys.stdin:
    answer = eval(line)
    sys.stdout.buffer.write(answer[0] if isinstance(answer, tuple) else b"")
    print("---", flush=True)
"""


class Worker:
    """A process that counts as it is told."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **environment},
        )

    def do(self, *calls: str) -> str:
        """Make calls of Metrics; give what they and the worker said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        said = ""
        for call in calls:
            self.process.stdin.write(f"metrics.{call}\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline()) != "---\n":
                assert line, "the worker is dead"
                said += line
        return said

    def kill(self) -> int:
        self.process.kill()
        self.process.communicate()
        return self.process.pid


@pytest.fixture
def worker() -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(**environment: str) -> Worker:
        made.append(Worker(**environment))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders are made here only."""
    monkeypatch.setattr(metricsfolder, "_places", lambda: [tmp_path])
    return tmp_path


def figures(text: str | bytes | tuple[bytes, str]) -> dict[str, float]:
    """What a page of metrics says, as Prometheus reads it."""
    text = text[0] if isinstance(text, tuple) else text
    families = text_string_to_metric_families(text.decode() if isinstance(text, bytes) else text)
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        name = f"{sample.name}{{{labels}}}" if labels else sample.name
        assert name not in found
        found[name] = sample.value
    return found


def one(**given: object) -> Metrics:
    return Metrics(**{"routes": ROUTES, "bins": BINS, **given})


def test_a_worker_alone_counts_in_its_memory() -> None:
    counted = one()
    counted.request("/v1/predict", 200, 0.02)
    counted.request("/v1/predict", 200, 0.7)
    counted.request("/healthz", 503, 0.0001)
    counted.stage("decode", 0.004)
    counted.photo("可回收物")
    counted.photo("not sure")
    counted.photo("failed")
    counted.rejected("too large")
    counted.hung_up()
    counted.log_lost(7)
    counted.set_depth(inside=3, waiting=2)
    counted.observe_memory()
    counted.model(name="绿", engine="openvino", precision="int8", digest="abc")
    body, content_type = counted.render()
    found = figures(body)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert found["garbage_requests_total{route=/v1/predict,status=200}"] == 2
    assert found["garbage_requests_total{route=/healthz,status=503}"] == 1
    assert found["garbage_request_seconds_count{route=/v1/predict}"] == 2
    assert found["garbage_request_seconds_sum{route=/v1/predict}"] == pytest.approx(0.72)
    assert found["garbage_request_seconds_bucket{le=0.025,route=/v1/predict}"] == 1
    assert found["garbage_request_seconds_bucket{le=0.001,route=/healthz}"] == 1
    assert found["garbage_request_seconds_bucket{le=60.0,route=/v1/predict}"] == 2
    assert found["garbage_stage_seconds_count{stage=decode}"] == 1
    assert found["garbage_stage_seconds_count{stage=infer}"] == 0
    assert [found[f"garbage_photos_total{{bin={name}}}"] for name in (*BINS, "not sure", "failed", "other")] == [
        1, 0, 1, 1, 0,
    ]  # fmt: skip
    assert found["garbage_rejected_total{reason=too large}"] == 1
    assert found["garbage_rejected_total{reason=busy}"] == 0
    assert found["garbage_hangups_total"] == 1
    assert found["garbage_log_lines_lost_total"] == 7
    assert found["garbage_inside_requests"] == 3
    assert found["garbage_waiting_photos"] == 2
    assert found[f"garbage_worker_resident_bytes{{pid={os.getpid()}}}"] > 1e6
    assert found["garbage_model_info{digest=abc,engine=openvino,name=绿,precision=int8}"] == 1
    assert not [name for name in found if "_created" in name]


def test_two_in_one_process_do_not_share() -> None:
    first, second = one(), one()
    first.hung_up()
    assert figures(first.render())["garbage_hangups_total"] == 1
    assert figures(second.render())["garbage_hangups_total"] == 0


def test_strangers_do_not_add_series() -> None:
    counted = one()
    for number in range(500):
        counted.request(f"/{number}", 200, 0.1)
        counted.request("/healthz", 600 + number, 0.1)
        counted.photo(f"bin {number}")
    found = figures(counted.render())
    assert found["garbage_requests_total{route=other,status=200}"] == 500
    assert found["garbage_requests_total{route=/healthz,status=other}"] == 500
    assert found["garbage_photos_total{bin=other}"] == 500
    assert len(found) < 200
    assert len(counted._request_children) == 0


def test_a_reloaded_model_replaces_the_one_before() -> None:
    counted = one()
    assert not [name for name in figures(counted.render()) if "model_info" in name]
    counted.model(name="a", engine="openvino", precision="f32", digest="1")
    counted.model(name="a", engine="openvino", precision="f32", digest="2")
    named = [name for name in figures(counted.render()) if "model_info" in name]
    assert named == ["garbage_model_info{digest=2,engine=openvino,name=a,precision=f32}"]


@pytest.mark.usefixtures("places")
def test_workers_are_added_up_and_a_dead_one_leaves_its_counts(worker: Callable[..., Worker]) -> None:
    with MetricsFolder() as folder:
        first, second = worker(), worker()
        model = "model(name='a', engine='openvino', precision='f32', digest='{}')"
        first.do("request('/v1/predict', 200, 0.02)", "hung_up()", "set_depth(inside=3, waiting=1)", model.format(1))
        second.do("request('/v1/predict', 200, 0.2)", "stage('infer', 0.5)", "set_depth(inside=4, waiting=0)")
        first.do("observe_memory()")
        second.do("observe_memory()", model.format(2), "log_lost(5)")
        both = figures(first.do("render()"))
        assert both == figures(second.do("render()"))
        assert both["garbage_requests_total{route=/v1/predict,status=200}"] == 2
        assert both["garbage_request_seconds_count{route=/v1/predict}"] == 2
        assert both["garbage_request_seconds_bucket{le=0.025,route=/v1/predict}"] == 1
        assert both["garbage_inside_requests"] == 7
        assert len([name for name in both if "resident_bytes" in name]) == 2
        assert len([name for name in both if "model_info" in name]) == 2

        third_counts = {}
        for stays in (False, True):  # the first dead worker's file is kept as it is, the second's is added to it
            dead = worker() if stays else second
            dead.do("hung_up()", "request('/healthz', 404, 0.1)", "set_depth(inside=9, waiting=9)", "observe_memory()")
            before = figures(first.do("render()"))
            pid = dead.kill()
            folder.forget(pid)
            after = figures(first.do("render()"))
            counts = {name for name in before if "_total" in name or "_seconds" in name}
            assert {name: after[name] for name in counts} == {name: before[name] for name in counts}
            assert after["garbage_inside_requests"] == 3
            assert len([name for name in after if "resident_bytes" in name]) == 1
            assert len([name for name in after if "model_info" in name]) == 1
            assert folder.path is not None
            assert not list(folder.path.glob(f"*{pid}*"))
            third_counts = after
        assert third_counts["garbage_hangups_total"] == 3
        assert third_counts["garbage_requests_total{route=/healthz,status=404}"] == 2
        assert third_counts["garbage_log_lines_lost_total"] == 5
        folder.forget(pid)
        folder.forget(2**22 + 1)
        assert figures(first.do("render()")) == third_counts


@pytest.mark.usefixtures("places")
def test_files_have_all_their_room_from_the_beginning_and_never_grow(worker: Callable[..., Worker]) -> None:
    with MetricsFolder() as folder:
        assert folder.path is not None
        busy = worker()
        busy.do("hung_up()")
        files = {path: path.stat() for path in folder.path.glob("*.db")}
        assert len(files) == 4
        assert all(known.st_blocks * 512 >= known.st_size for known in files.values())
        busy.do(
            "__class__ and [metrics.request(route, int(status), 0.1) for route in (*given['routes'], 'x')"
            " for status in (*__import__('garbage_cli').server.metrics.STATUSES, 999)]",
            "observe_memory()",
        )
        assert {path: path.stat().st_size for path in files} == {path: known.st_size for path, known in files.items()}
        assert len([name for name in figures(busy.do("render()")) if "requests_total" in name]) == 3 * 25


NO_ROOM = """
import resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
"""


@pytest.mark.usefixtures("places")
def test_a_worker_for_which_there_is_no_room_counts_in_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with MetricsFolder() as folder:
        monkeypatch.setitem(globals(), "WORKER", NO_ROOM + WORKER)
        alone = Worker()
        said = alone.do("hung_up()")
        assert said.startswith(f"metrics: no room in {folder.path} (")
        assert figures(alone.do("observe_memory()", "render()"))["garbage_hangups_total"] == 1
        assert folder.path is not None
        assert not list(folder.path.glob("*.db"))
        assert not list(folder.path.glob("*.new"))
        alone.kill()


@pytest.mark.usefixtures("places")
def test_a_folder_that_vanishes_stops_nobody(worker: Callable[..., Worker]) -> None:
    with MetricsFolder() as folder:
        alone = worker()
        alone.do("hung_up()")
        assert folder.path is not None
        shutil.rmtree(folder.path)
        model = "model(name='a', engine='openvino', precision='f32', digest='1')"
        found = figures(alone.do("hung_up()", model, "render()"))
        assert found["garbage_hangups_total"] == 2
        folder.forget(alone.process.pid)
        late = worker()
        assert "counts for itself alone" in late.do("hung_up()")


@pytest.mark.usefixtures("places")
def test_a_file_that_cannot_be_read_stops_nobody_and_goes_with_its_worker(worker: Callable[..., Worker]) -> None:
    with MetricsFolder() as folder:
        assert folder.path is not None
        alone, other = worker(), worker()
        alone.do("hung_up()")
        other.do("hung_up()")
        folder.forget(other.kill())
        (folder.path / "counter_99.db").write_bytes(struct.pack("iii", 100, 0, 5000) + bytes(88))
        assert figures(alone.do("render()"))["garbage_hangups_total"] == 1  # its own
        folder.forget(99)
        assert figures(alone.do("render()"))["garbage_hangups_total"] == 2


@pytest.mark.usefixtures("places")
def test_counts_never_fall_while_workers_die(worker: Callable[..., Worker]) -> None:
    with MetricsFolder() as folder:
        asked = worker()
        asked.do("hung_up()")
        dead = [worker() for _ in range(3)]
        for each in dead:
            each.do("hung_up()", "hung_up()")
        pids = [each.kill() for each in dead]
        forgetting = threading.Thread(target=lambda: [folder.forget(pid) for pid in pids])
        forgetting.start()
        found = [figures(asked.do("render()"))["garbage_hangups_total"] for _ in range(20)]
        forgetting.join()
        assert set(found) == {7.0}


def test_the_folder_is_private_named_in_the_variable_and_gone_after(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for before in (None, "/somewhere"):
        monkeypatch.delenv(VARIABLE, raising=False) if before is None else monkeypatch.setenv(VARIABLE, before)
        with MetricsFolder() as folder:
            assert folder.path is not None
            assert folder.path.parent == places
            assert os.environ[VARIABLE] == str(folder.path)
            assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert list(places.iterdir()) == []
        assert os.environ.get(VARIABLE) == before


def test_what_a_killed_server_left_is_removed_and_nothing_else(places: Path) -> None:
    def old(folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        os.utime(folder, (1e9, 1e9))
        return folder

    left = old(places / "garbage-metrics-1-left")
    (left / "counter_1.db").write_bytes(b"")
    old(left)
    other = old(places / "another")
    link = places / "garbage-metrics-2-link"
    link.symlink_to(other)
    young = places / "garbage-metrics-3-young"
    young.mkdir()
    with MetricsFolder() as running:
        assert running.path is not None
        old(running.path)
        with MetricsFolder() as second:
            assert set(places.iterdir()) == {other, link, young, running.path, second.path}
    assert set(places.iterdir()) == {other, link, young}


def test_a_server_without_a_folder_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metricsfolder, "_places", lambda: [tmp_path / "missing"])
    monkeypatch.setenv(VARIABLE, "/somewhere")
    told: list[str] = []
    with MetricsFolder(tell=told.append) as folder:
        assert folder.path is None
        assert VARIABLE not in os.environ
        folder.forget(1)
    assert told == ["no folder for metrics (No such file or directory): each worker counts for itself"]
    assert os.environ[VARIABLE] == "/somewhere"


def test_memory_is_preferred_where_it_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    assert metricsfolder._roomy([memory, disk]) == memory
    assert metricsfolder._roomy([tmp_path / "missing", disk]) == disk
    monkeypatch.setattr(metricsfolder, "_ROOM", 2**60)
    assert metricsfolder._roomy([memory, disk]) == disk
    assert metricsfolder._places()[-1] == Path(tempfile.gettempdir())


ALONE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("alone", sys.argv[1])
sys.modules["alone"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(*sorted({"typer", "rich", "numpy", "openvino", "prometheus_client", "starlette"} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", ["metricsfolder", "accesslog", "keys"])
def test_the_module_itself_imports_nothing_heavy(name: str) -> None:
    path = Path(metrics.__file__).with_name(f"{name}.py")
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
