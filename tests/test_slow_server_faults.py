"""The real server under what takes minutes: a thousand slow clients, a gigabyte, kills and reloads all along."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, save_photo
from test_server import Server, serving
from test_server_faults import (
    HEAD,
    Load,
    bundle,
    check_hang_ups,
    check_kill,
    check_second_wish,
    children,
    connected,
    figures,
    half,
    large,
    lost_lines,
    post,
    put,
    red,
    resident,
    served,
    start,
    to_the_end,
    until,
)

pytestmark = pytest.mark.slow
__all__ = ["bundle", "large", "red"]  # fixtures


@pytest.fixture
def many_files() -> Iterator[None]:
    """Leave to open thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"this process may open {hard} files; 2,500 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- slow clients


def test_a_thousand_slow_clients_keep_nobody_waiting(colour_bundle: Path, red: bytes, many_files: None) -> None:
    kinds = {
        "nothing": b"",
        "half a head": b"POST /v1/predict HTTP/1.1\r\nHost: x\r\n",
        "empty lines": b"\r\n",
        "half a body": HEAD + b"Content-Length: 5000\r\n\r\nx",
    }
    with serving(colour_bundle, "--queue", 4) as server, ExitStack() as stack:
        (worker,) = children(server)
        before = resident(worker)
        slow = {kind: [stack.enter_context(connected(server)) for _ in range(250)] for kind in kinds}
        for kind, connections in slow.items():
            for connection in connections:
                connection.sendall(kinds[kind])
        stop = threading.Event()

        def dribble() -> None:
            while not stop.wait(1):
                for kind, byte in (("half a head", b"A: b\r\n"), ("empty lines", b"\r\n"), ("half a body", b"x")):
                    for connection in slow[kind]:
                        try:
                            connection.sendall(byte)
                        except OSError:
                            continue

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        try:
            with Load(f"{server.url}/v1/predict", red, clients=2) as load:
                ends: dict[str, Counter[bytes]] = {kind: Counter() for kind in kinds}
                for kind in kinds:
                    for connection in slow[kind]:
                        connection.settimeout(100)  # a body may take 60 s
                        try:
                            ends[kind][to_the_end(connection)[:12]] += 1
                        except ConnectionResetError:
                            ends[kind][b"reset"] += 1
                load.more()
        finally:
            stop.set()
            dribbling.join()
        assert set(load.statuses) == {200}
        assert load.dropped == 0
        assert ends["nothing"] == ends["empty lines"] == {b"": 250}
        assert ends["half a head"] == {b"HTTP/1.1 408": 250}
        assert ends["half a body"] == {b"HTTP/1.1 408": 250}
        assert figures(server)['garbage_rejected_total{reason="slow"}'] == 500  # of heads and of bodies
        assert resident(worker) < before + 100 * 1024 * 1024
        server.process.terminate()
        assert server.process.communicate(timeout=60)[1] == ""


FEW_FILES = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
runpy.run_module("garbage_cli", run_name="__main__")
"""


def test_more_connections_than_there_are_files_for_are_turned_away(colour_bundle: Path, red: bytes) -> None:
    command = [sys.executable, "-c", FEW_FILES, "serve", "--model", str(colour_bundle), "--port", "0", "--json"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        assert process.stdout is not None
        server = Server(json.loads(process.stdout.readline())["url"], process)
        idle = [stack.enter_context(connected(server)) for _ in range(200)]
        turned_away = [to_the_end(each) for each in idle[150:]]
        for answer in turned_away:
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in answer
        until(
            lambda: httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
        )  # the idle ones are closed
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""


# ---- a gigabyte

GIGABYTE = 1024 * 1024 * 1024
PIECE = bytes(1024 * 1024)


def pieces(first: bytes = b"") -> Iterator[bytes]:
    yield first
    yield from (PIECE for _ in range(GIGABYTE // len(PIECE)))


@pytest.mark.parametrize("kind", ["length", "chunked", "json"])
def test_a_gigabyte_is_413_and_costs_no_memory(colour_bundle: Path, red: bytes, kind: str) -> None:
    with serving(colour_bundle) as server, httpx.Client(timeout=120) as http:
        http.post(f"{server.url}/v1/predict", content=red)
        (worker,) = children(server)
        before = resident(worker)
        headers = {"content-length": str(GIGABYTE)} if kind == "length" else {}
        if kind == "json":
            headers["content-type"] = "application/json"
        first = b'{"images": ["' if kind == "json" else b""
        reply = http.post(f"{server.url}/v1/predict", content=pieces(first), headers=headers)
        assert reply.status_code == 413
        assert "limit" in reply.json()["error"]
        assert http.post(f"{server.url}/v1/predict", content=red).status_code == 200
        assert resident(worker) < before + 150 * 1024 * 1024


# ---- again and again


def test_a_second_ctrl_c_ends_it_at_once(colour_bundle: Path) -> None:
    check_second_wish(colour_bundle, signal.SIGINT, 130)


def test_the_only_worker_may_be_killed_too(colour_bundle: Path, red: bytes) -> None:
    check_kill(colour_bundle, red, workers=1)


def test_thousands_of_clients_that_hang_up_leave_nothing_behind(colour_bundle: Path, red: bytes, large: bytes) -> None:
    with serving(colour_bundle) as server:
        check_hang_ups(server, red, large, times=1500)


def test_kills_and_reloads_all_along_lose_no_answer_but_those_inside(bundle: Path, red: bytes) -> None:
    with serving(bundle, "--workers", 2) as server, Load(f"{server.url}/v1/predict", red) as load:
        for number in range(6):
            before = children(server)
            put(bundle, name=f"Number {number}", crop=32 + 16 * (number % 2))
            server.process.send_signal(signal.SIGHUP)
            os.kill(sorted(before)[number % 2], signal.SIGKILL)
            until(lambda before=before: children(server) - before)
            until(lambda number=number: served(server) == {f"Number {number}"})
            load.more(20)
    assert set(load.statuses) == {200}
    assert load.lost == 0
    assert load.dropped <= 6 * 4


def test_many_reloads_do_not_grow(bundle: Path, red: bytes) -> None:
    with serving(bundle) as server:
        (worker,) = children(server)
        sizes = []
        for number in range(12):
            put(bundle, name=f"Number {number}")
            server.process.send_signal(signal.SIGHUP)
            until(lambda number=number: served(server) == {f"Number {number}"})
            httpx.post(f"{server.url}/v1/predict", content=red)
            sizes.append(resident(worker))
    assert sizes[-1] < sizes[3] + 60 * 1024 * 1024


@pytest.mark.parametrize("pause", [0.0, 0.2, 0.5, 0.8, 1.1, 1.4])
def test_sigterm_at_any_moment_of_the_start_ends_it_without_a_trace(colour_bundle: Path, pause: float) -> None:
    with start(colour_bundle, "--workers", 2) as process:
        time.sleep(pause)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 143, -signal.SIGTERM)
    assert "Traceback" not in err


# ---- and the rest


def test_a_log_whose_reader_is_gone_costs_no_request(colour_bundle: Path, red: bytes) -> None:
    with serving(colour_bundle, "--access-log", "-") as server:
        assert server.process.stdout is not None
        server.process.stdout.close()
        for _ in range(20):
            assert httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
        until(lambda: lost_lines(server) >= 20)


def test_a_log_that_was_moved_away_or_deleted_is_written_anew(colour_bundle: Path, red: bytes, tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    with serving(colour_bundle, "--workers", 2, "--access-log", log) as server:

        def ask(id_: str) -> None:
            assert httpx.post(f"{server.url}/v1/predict", content=red, headers={"x-request-id": id_}).status_code == 200
            until(lambda: log.exists() and id_ in log.read_text())

        ask("first")
        log.rename(tmp_path / "access.jsonl.1")
        ask("second")
        log.unlink()
        ask("third")
        assert lost_lines(server) == 0
    assert "first" in (tmp_path / "access.jsonl.1").read_text()


def test_a_log_that_can_not_be_had_any_more_is_said_by_the_worker_that_is_to_write_it(
    colour_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    with serving(colour_bundle, "--access-log", tmp_path / "logs" / "access.jsonl") as server:
        assert server.process.stderr is not None
        (tmp_path / "logs").rename(tmp_path / "elsewhere")
        os.kill(min(children(server)), signal.SIGKILL)
        assert "was ended by SIGKILL" in server.process.stderr.readline()
        assert "a new worker can't start: the access log" in server.process.stderr.readline()
        (tmp_path / "logs").mkdir()
        assert httpx.get(f"{server.url}/readyz", timeout=60).status_code == 200


def test_max_pixels_is_the_most(colour_bundle: Path, tmp_path: Path) -> None:
    with serving(colour_bundle, "--max-pixels", 1000) as server:
        for size, status in (((40, 25), 200), ((40, 26), 422)):
            photo = save_photo(tmp_path / "photo.png", COLOURS["red"], size).read_bytes()
            assert httpx.post(f"{server.url}/v1/predict", content=photo).status_code == status


def test_per_client_without_keys_goes_by_the_address(colour_bundle: Path, red: bytes) -> None:
    with serving(colour_bundle, "--per-client", 2) as server:
        with half(server, post(red)), half(server, post(red)):
            until(lambda: httpx.post(f"{server.url}/v1/predict", content=red).status_code == 429)
        until(lambda: httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200)


def test_a_server_whose_remarks_nobody_reads_still_replaces_its_workers(colour_bundle: Path, red: bytes) -> None:
    with serving(colour_bundle) as server:
        assert server.process.stderr is not None
        server.process.stderr.close()
        for _ in range(2):  # its first remark meets the broken pipe, its second what that led to
            before = children(server)
            os.kill(min(before), signal.SIGKILL)
            until(lambda before=before: children(server) - before)
            assert httpx.post(f"{server.url}/v1/predict", content=red, timeout=60).status_code == 200
