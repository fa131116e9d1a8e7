"""`serve --ray` on clusters of several nodes: replicas that come, a model that no disk shares, a second command."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, make_colour_bundle, run_program, save_photo
from raycluster import Cluster, cluster
from test_server import serving
from test_slow_ray_serve import GET, load, raw, until

pytestmark = pytest.mark.slow
WITHOUT_A_DOORWAY = [
    (b"X-Request-Id: \xff", b"500", b"Internal Server Error"),
    (b"X-Request-Id: a b;c", b"200", b"x-request-id: a b;c"),
    (b"X-Request-Timeout-Seconds: 1e-9", b"408", b"timed out after 1e-09s"),
]
"""What clients send, and the status and words that Ray Serve's proxy then answers."""


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_photo(tmp_path_factory.mktemp("photos") / "red.png", COLOURS["red"]).read_bytes()


def replicas(made: Cluster) -> set[int]:
    """The processes of a cluster that answer photos."""
    return made.named("ServeReplica:garbage")


def test_replicas_are_added_on_another_node_and_models_need_no_shared_disk(tmp_path: Path, red: bytes) -> None:
    model = make_colour_bundle(tmp_path / "model", name="First")
    with (
        cluster(1, 1) as made,
        serving(model, "--ray", made.address, "--max-workers", 2, "--queue", 64, seconds=90) as running,
    ):
        assert len(replicas(made)) == 1
        shutil.rmtree(model)  # another machine would never have had it
        with load(running.url, red) as found:
            until(lambda: len(replicas(made)) == 2, seconds=120)
            time.sleep(3)
        assert found.failed == []
        assert found.answers.keys() == {"First 0"}
        assert {made.node_of(pid) for pid in replicas(made)} == {0, 1}


def test_a_second_command_does_not_take_the_first_ones_place_and_one_after_it_may(tmp_path: Path, red: bytes) -> None:
    first, second = (make_colour_bundle(tmp_path / name, name=name) for name in ("First", "Second"))
    with cluster(1) as made:
        address = ("--ray", made.address)
        with serving(first, *address, seconds=90):
            said = run_program("serve", "--model", second, "--port", 0, *address)
            assert said.code == 1
            assert "another `garbage serve` runs on this cluster; stop it first" in said.err
            assert "Traceback" not in said.err
        with serving(second, *address, seconds=90) as running:  # the first has left nothing behind
            assert httpx.post(f"{running.url}/v1/predict", content=red).json()["model"] == "Second"
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.wait()
            time.sleep(25)  # after which what a killed command has left may be taken over
        with serving(first, *address, seconds=90) as running:
            assert httpx.post(f"{running.url}/v1/predict", content=red).json()["model"] == "First"


def test_where_ray_serve_runs_already_its_proxy_stays_as_it_is(tmp_path: Path, red: bytes) -> None:
    model = make_colour_bundle(tmp_path / "model", name="First")
    begin = (
        "import ray, sys; from ray import serve; ray.init(address=sys.argv[1]); serve.start(http_options={'port': %d})"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with cluster(1) as made:
        subprocess.run([sys.executable, "-c", begin % port, made.address], check=True, capture_output=True, timeout=120)
        with serving(model, "--ray", made.address, seconds=90) as running:
            assert running.url == f"http://127.0.0.1:{port}"
            assert httpx.post(f"{running.url}/v1/predict", content=red).json()["model"] == "First"
            for sent, status, words in WITHOUT_A_DOORWAY:
                reply = raw(running, GET + sent + b"\r\n\r\n")
                assert (reply.split(b" ", 2)[1], words in reply) == (status, True), sent


def test_too_few_cores_are_said(tmp_path: Path) -> None:
    model = make_colour_bundle(tmp_path / "model")
    with cluster(1) as made:
        said = run_program("serve", "--model", model, "--port", 0, "--ray", made.address, "--workers", 3)
    assert said.code == 1
    assert said.out == ""
    assert "the cluster has no room for 3 × 1 CPU" in said.err
    assert "--workers" in said.err
    assert "Traceback" not in said.err
