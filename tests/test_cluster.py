"""Joining a cluster: what is an address, and what is said where there is none."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from garbage_cli import cluster
from garbage_cli.cluster import is_address, joined
from garbage_cli.errors import ClusterError, MissingExtraError


@pytest.mark.parametrize(
    "word", ["auto", "local", "10.0.0.1:6379", "head-1.example:6379", "[fd00::1]:6379", "ray://head:1"]
)
def test_an_address_is_told_from_a_place_of_photos(word: str) -> None:
    assert is_address(word)


@pytest.mark.parametrize(
    "word", ["photos", "s3://bucket/photos", "C:\\photos", "photo.jpg", "照片:6379x", "", "a b:1", ":1"]
)
def test_a_place_of_photos_is_no_address(word: str) -> None:
    assert not is_address(word)


class Ray:
    """Stands in for Ray: what it was started with."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.started: list[dict[str, Any]] = []
        self.fails = fails
        self.left = 0

    def init(self, **settings: Any) -> None:
        self.started.append(settings)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Ray sets one of its own
        if self.fails:
            raise self.fails

    def shutdown(self) -> None:
        self.left += 1


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in [*os.environ]:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)


def stand_in(monkeypatch: pytest.MonkeyPatch, *, running: str = "", fails: Exception | None = None) -> Ray:
    ray = Ray(fails)
    monkeypatch.setattr(cluster.vendor, "ray", lambda what: ray)
    monkeypatch.setattr(cluster, "_running", lambda where: running)
    return ray


@contextmanager
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def free() -> str:
    with listening() as address:
        return address


def test_without_an_address_and_a_cluster_one_is_started_here(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(monkeypatch)
    with joined(what="a test", cores=1) as given:
        assert given is ray
        assert ray.left == 0
    assert [(each["address"], each["num_cpus"]) for each in ray.started] == [("local", 1)]
    assert ray.left == 1


def test_without_an_address_a_cluster_that_runs_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as address:
        ray = stand_in(monkeypatch, running=address)
        with joined(what="a test"):
            pass
        assert [each["address"] for each in ray.started] == [address]
        with joined("local", what="a test", cores=1):  # but not where one of its own is asked for
            pass
        assert ray.started[1]["address"] == "local"


def test_the_environment_names_a_cluster_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as address:
        ray = stand_in(monkeypatch)
        monkeypatch.setenv("RAY_ADDRESS", address)
        with joined(what="a test"):
            pass
        assert ray.started[0]["address"] == address


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("auto", "no Ray cluster runs on this machine; start one with `ray start --head`"),
        ("ray://head:10001", "is the address of Ray's client"),
        ("head", "'head' is no address of a Ray cluster; it is auto, local or HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster at 127.0.0.1:99999"),
    ],
)
def test_what_is_no_cluster_is_said_before_ray_is_asked(
    monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    ray = stand_in(monkeypatch)
    with pytest.raises(ClusterError) as caught, joined(address, what="a test"):
        pytest.fail("joined")
    assert words in str(caught.value)
    assert ray.started == []


def test_a_port_where_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(monkeypatch)
    words = r"no Ray cluster at 127\.0\.0\.1:\d+: Connection refused; start one"
    with pytest.raises(ClusterError, match=words), joined(free(), what="a test"):
        pytest.fail("joined")
    assert ray.started == []


def test_what_ray_says_is_told_in_one_line_and_signals_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with listening() as address:
        ray = stand_in(monkeypatch, fails=ConnectionError("wrong token\nand a page of advice"))
        words = r"does not let this machine in: wrong token; .* is ~/\.ray/auth_token of the cluster's head here too\?"
        with pytest.raises(ClusterError, match=words) as caught, joined(address, what="a test"):
            pytest.fail("joined")
    assert "advice" not in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is before
    assert ray.left == 1


def test_a_token_is_shown_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch)
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # restored after the test, whatever joined sets
    monkeypatch.delenv("RAY_AUTH_MODE")
    with joined("local", what="a test", cores=1):
        assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    with joined("local", what="a test", cores=1):
        assert os.environ["RAY_AUTH_MODE"] == "token"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with joined("local", what="a test", cores=1):
        assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_sigterm_leaves_the_cluster_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(monkeypatch)
    with pytest.raises(SystemExit) as caught, joined("local", what="a test", cores=1):
        os.kill(os.getpid(), signal.SIGTERM)
    assert (caught.value.code, ray.left) == (128 + signal.SIGTERM, 1)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"a test needs ray, .*garbage-cli\[scale\]"), joined(what="a test"):
        pytest.fail("joined")


def test_the_commands_help_loads_no_ray(tmp_path: Path) -> None:
    code = (
        "import sys; from garbage_cli.cli import app; from garbage_cli.cli import clusters; print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_a_cluster_is_started_and_left_and_one_that_runs_is_found(tmp_path: Path) -> None:
    code = """
import os, sys
from garbage_cli.cluster import joined, machines
with joined(sys.argv[1], what="a test", cores=1) as ray:
    print(len(machines(ray)), ray.cluster_resources()["CPU"], ray.get(ray.remote(lambda: 5).remote()))
print(ray.is_initialized())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "local"], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["1 1.0 5", "False"], done.stderr
    assert "Traceback" not in done.stderr
