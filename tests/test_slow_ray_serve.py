"""The same server on Ray Serve: the contract tests over it, models that change and replicas that die under load."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, make_colour_bundle, run_program, save_photo
from raycluster import Cluster, cluster, parent
from test_server import Server, serving

pytestmark = pytest.mark.slow

ON_RAY = ("--ray", "local")
HERE = Path(__file__).parent


class Load:
    """Clients that send all the time, and what they got."""

    def __init__(self, url: str, photo: bytes, *, clients: int) -> None:
        self.replies: Counter[str] = Counter()
        """By status and model; what broke off, by the kind of error."""
        self._url, self._photo = url, photo
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join(60)

    def _send(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._over.is_set():
                try:
                    reply = client.post(f"{self._url}/v1/predict", content=self._photo)
                    got = f"{reply.status_code} {reply.json().get('model') if reply.status_code == 200 else reply.text}"
                except httpx.HTTPError as error:
                    got = type(error).__name__
                with self._lock:
                    self.replies[got] += 1


def wait_until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, and `now`, which is served."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("First", "Second"):
        make_colour_bundle(folder / name, name=name)
    shutil.copytree(folder / "First", folder / "now")
    return folder


def use(models: Path, name: str) -> None:
    """Put another model where the server looks for it."""
    shutil.rmtree(models / "now")
    shutil.copytree(models / name, models / "now")


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    with serving(models / "now", *ON_RAY, "--workers", 2) as running:
        yield running


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_photo(tmp_path_factory.mktemp("photo") / "red.png", COLOURS["red"]).read_bytes()


def replicas(where: Server | Cluster) -> set[int]:
    """The processes of Serve that answer photos: below a server that has started Ray, or on a cluster's nodes."""
    found = set()
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and b"ServeReplica:garbage" in (each / "cmdline").read_bytes():
                found.add(int(each.name))
    if isinstance(where, Cluster):
        return {pid for pid in found if where.node_of(pid) is not None}
    return {pid for pid in found if where.process.pid in ancestors(pid)}


def ancestors(pid: int) -> set[int]:
    above = set()
    while pid := parent(pid):
        above.add(pid)
    return above


def test_the_contracts_hold_over_ray_serve_as_they_do_over_our_own_server(tmp_path: Path) -> None:
    environment = {**os.environ, "GARBAGE_TEST_SERVE": " ".join(ON_RAY)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / "test_contracts.py"]
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=False, timeout=600, env=environment,
        cwd=HERE.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 150
    assert "skipped" not in done.stdout
    assert "failed" not in done.stdout


def test_it_is_ray_that_listens_and_our_desk_that_answers(server: Server, red: bytes) -> None:
    reply = httpx.post(f"{server.url}/v1/predict", content=red, headers={"x-request-id": "of-mine"}, timeout=30)
    assert reply.status_code == 200
    assert reply.headers["server"] == "uvicorn"  # ours names none
    assert reply.headers["server-timing"]
    assert reply.headers.get_list("x-request-id") == ["of-mine", "of-mine"]  # Ray's proxy and our desk
    assert httpx.get(f"{server.url}/readyz").json()["status"] == "ready"
    assert httpx.get(server.url).text.startswith("<!doctype html>")
    assert httpx.get(f"{server.url}/docs").status_code == 200
    assert "garbage_requests_total" in httpx.get(f"{server.url}/metrics").text
    assert len(replicas(server)) == 2


def test_a_model_that_changes_under_load_costs_no_request(server: Server, models: Path, red: bytes) -> None:
    with Load(server.url, red, clients=8) as load:
        wait_until(lambda: load.replies["200 First"] > 200)
        use(models, "Second")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: load.replies["200 Second"] > 0)
        time.sleep(5)
        seen = load.replies["200 First"]
        time.sleep(2)
        assert load.replies["200 First"] == seen  # all replicas have it by now
        use(models, "First")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: load.replies["200 First"] > seen + 200)
    assert load.replies.keys() == {"200 First", "200 Second"}, load.replies


def test_a_bad_model_changes_nothing(server: Server, models: Path, red: bytes) -> None:
    (models / "now" / "inference.yml").write_text("spoilt")
    with Load(server.url, red, clients=2) as load:
        server.process.send_signal(signal.SIGHUP)
        time.sleep(4)
    assert load.replies.keys() == {"200 First"}
    use(models, "First")
    server.process.send_signal(signal.SIGHUP)


def test_a_replica_that_is_killed_under_load_is_replaced(server: Server, red: bytes) -> None:
    before = replicas(server)
    with Load(server.url, red, clients=4) as load:
        wait_until(lambda: load.replies["200 First"] > 100)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(replicas(server) - before) == 1)
        time.sleep(2)
    wait_until(lambda: len(replicas(server)) == 2)
    lost = sum(number for got, number in load.replies.items() if not got.startswith("200"))
    assert lost <= 4, load.replies  # what was in its hands: one for each client at most


def test_a_second_command_does_not_take_the_first_ones_place(tmp_path: Path, models: Path, red: bytes) -> None:
    with cluster(2) as made:
        address = ("--ray", made.address)
        with serving(models / "First", *address):
            second = run_program("serve", "--model", models / "Second", "--port", 0, *address)
            assert second.code == 1
            assert "this cluster serves garbage already; end that command first" in second.err
            assert "Traceback" not in second.err
        with serving(models / "Second", *address) as running:  # the first has left nothing behind
            assert httpx.post(f"{running.url}/v1/predict", content=red).json()["model"] == "Second"


def test_replicas_are_added_while_there_is_work_and_models_need_no_shared_disk(
    tmp_path: Path, models: Path, red: bytes
) -> None:
    shutil.copytree(models / "First", tmp_path / "model")
    with (
        cluster(1, 1) as made,
        serving(tmp_path / "model", "--ray", made.address, "--max-workers", 2, "--queue", 64) as running,
    ):
        assert len(replicas(made)) == 1
        shutil.rmtree(tmp_path / "model")  # another machine would never have had it
        with Load(running.url, red, clients=24) as load:
            wait_until(lambda: len(replicas(made)) == 2, seconds=90)
            time.sleep(3)
        assert load.replies.keys() == {"200 First"}, load.replies
        nodes = {made.node_of(pid) for pid in replicas(made)}
        assert nodes == {0, 1}


def test_sigterm_lets_a_request_end_and_leaves_nothing(models: Path, tmp_path: Path) -> None:
    with serving(models / "First", *ON_RAY, "--workers", 1) as running:
        mine = replicas(running)
        large = save_photo(tmp_path / "large.png", COLOURS["red"], (2000, 1500)).read_bytes()
        several = [("images", (f"{i}.png", large)) for i in range(60)]
        got: list[int] = []
        asking = threading.Thread(
            target=lambda: got.append(httpx.post(f"{running.url}/v1/predict", files=several, timeout=60).status_code)
        )
        asking.start()
        time.sleep(0.5)
        assert not got
        running.process.terminate()
        asking.join(60)
        assert running.process.wait(60) == 0
    assert got == [200]
    assert mine
    assert not any(Path(f"/proc/{pid}").exists() for pid in mine)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--collect", "kept"), "--collect: not with --ray, whose replicas are on other machines"),
        (("--access-log", "-"), "--access-log -: not with --ray"),
        (("--ray", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_what_it_cant_do_is_said(models: Path, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    said = run_program("serve", "--model", models / "First", "--port", 0, *ON_RAY, *options, cwd=tmp_path)
    assert (said.code, said.out) == (1, "")
    assert words in said.err
    assert "Traceback" not in said.err


def test_too_few_cores_are_said(models: Path) -> None:
    with cluster(1) as made:
        said = run_program("serve", "--model", models / "First", "--port", 0, "--ray", made.address, "--workers", 3)
    assert said.code == 1
    assert "3 replicas take 3 cores, and the cluster has 1 free" in said.err
