"""`serve --ray`: the same server on Ray Serve, here on a cluster of this machine alone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import onnx
import pytest
from conftest import COLOUR_LABELS, COLOURS, make_colour_bundle, save_photo
from test_server import Server, serving

from garbage_cli.bundle import MANIFEST_FILE, ModelBundle

pytestmark = pytest.mark.slow
ON_RAY = ("--ray", "local")
CALLERS = 8


def turned_round(root: Path) -> Path:
    """A bundle as `make_colour_bundle` makes, whose network names the weakest colour."""
    make_colour_bundle(root, name="Turned")
    model = onnx.load(root / "model.onnx")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(-weights, "weights"))
    onnx.save(model, root / "model.onnx")
    preprocess = ModelBundle.load(make_colour_bundle(root.with_name("plain"))).preprocess
    (root / MANIFEST_FILE).unlink()
    ModelBundle.save(root, name="Turned", labels=COLOUR_LABELS, preprocess=preprocess, facts={"parity": {}})
    return root


@dataclass
class Load:
    """What callers have got who ask one photo after the other."""

    answers: Counter[str] = field(default_factory=Counter)
    """By the model's name and the kind that it named."""
    refused: list[httpx.Response] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def load(url: str, photo: bytes, **headers: str) -> Iterator[Load]:
    """Have callers ask until the end of the block."""
    found, over = Load(), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60, headers=headers) as client:
            while not over.is_set():
                try:
                    reply = client.post(f"{url}/v1/predict", content=photo)
                except httpx.TransportError as error:
                    found.failed.append(repr(error))
                    continue
                if reply.status_code == 200:
                    value = reply.json()
                    found.answers[f"{value['model']} {value['results'][0]['predictions'][0]['class_id']}"] += 1
                elif reply.status_code == 503 and "retry-after" in reply.headers:
                    found.refused.append(reply)
                    time.sleep(0.1)
                else:
                    found.failed.append(f"{reply.status_code} {reply.text[:100]}")

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for each in callers:
        each.start()
    try:
        yield found
    finally:
        over.set()
        for each in callers:
            each.join()


def until(true: Callable[[], object], seconds: float = 200) -> None:
    for _ in range(int(seconds * 5)):
        if true():
            return
        time.sleep(0.2)
    pytest.fail("it did not come to that")


def replicas(url: str, **headers: str) -> dict[str, int]:
    """The process of each replica, by its name."""
    text = httpx.get(f"{url}/metrics", headers=headers, timeout=30).text
    found = re.findall(r'^garbage_worker_resident_bytes\{pid="(\d+)",replica="(\w+)"\}', text, re.MULTILINE)
    return {name: int(pid) for pid, name in found}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, and the name `served`, which stands for the first one."""
    folder = tmp_path_factory.mktemp("models")
    make_colour_bundle(folder / "colours")
    turned_round(folder / "turned")
    (folder / "served").symlink_to("colours")
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    with serving(models / "served", "--workers", 2, *ON_RAY, seconds=90) as running:
        yield running


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_photo(tmp_path_factory.mktemp("photos") / "red.png", COLOURS["red"]).read_bytes()


def serve_now(models: Path, name: str, server: Server) -> str:
    """Have the server load another model; return what it says to that."""
    (models / "next").symlink_to(name)
    (models / "next").replace(models / "served")
    server.process.send_signal(signal.SIGHUP)
    assert server.process.stderr is not None
    return server.process.stderr.readline()


def test_all_contracts_hold_behind_ray_serve() -> None:
    environment = os.environ | {"GARBAGE_TEST_SERVE": " ".join(ON_RAY)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contracts.py"]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE)


def test_the_pages_and_what_watchers_ask_are_there(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready", "model": "Colours", "classes": 3}
    assert httpx.get(server.url).text.startswith("<!doctype html>")
    assert server.url in httpx.get(f"{server.url}/docs").text
    assert len(replicas(server.url)) == 2
    reply = httpx.get(f"{server.url}/healthz", headers={"x-request-id": "bin-7"})
    assert reply.headers.get_list("x-request-id") == ["bin-7"]


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
GONE = '{"error":"busy: the worker that had this is gone; try again in 1 s"}'
WHAT_THE_PROXY_ANSWERS = [
    ("what is no HTTP", b"no HTTP\r\n\r\n", b"400", b"Invalid HTTP request received."),  # a JSON error without --ray
    ("headers of 100 KB", GET + b"X: %b\r\n\r\n" % (b"x" * 100_000), b"200", b'{"status":"ok"}'),  # else 431
    ("a web socket", GET.replace(b"close", b"Upgrade") + b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"403", b""),  # else 200: the wish is passed over
    ("its own routes", GET.replace(b"/healthz", b"/-/routes") + b"\r\n", b"200", b'{"/":"garbage"}'),  # else 404
]  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "status", "words"), WHAT_THE_PROXY_ANSWERS, ids=lambda each: str(each)[:25])
def test_what_ray_serves_proxy_answers_itself(
    server: Server, name: str, sent: bytes, status: bytes, words: bytes
) -> None:
    reply = raw(server, sent)
    assert (reply.split(b" ", 2)[1], words in reply) == (status, True), name


@pytest.mark.parametrize(
    "header",
    [
        b"X-Request-Id: \xff",
        b"X-Request-Id: a b;c",
        b"X-Request-Id: bin-7\r\nX-Request-Id: \xff",
        b"X-Request-Timeout-Seconds: 1e-9",
        b"serve_multiplexed_model_id: \xff",
        b"X-Session-Id: \xff",
    ],
)
def test_no_header_steers_the_proxy_and_each_request_has_one_harmless_id(server: Server, header: bytes) -> None:
    reply = raw(server, GET + header + b"\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ")
    (found,) = re.findall(rb"^x-request-id: (.*)\r$", reply, re.MULTILINE)
    assert re.fullmatch(rb"bin-7" if b"bin-7" in header else rb"[0-9a-f]{32}", found)


def raw(server: Server, sent: bytes) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as replies:
        connection.sendall(sent)
        return replies.read()


def test_a_model_is_changed_under_load_without_a_failed_request(server: Server, models: Path, red: bytes) -> None:
    before = replicas(server.url)
    with load(server.url, red) as found:
        until(lambda: found.answers["Colours 0"] > 20)
        said = serve_now(models, "turned", server)
        seen = found.answers.total()
        until(lambda: found.answers.total() > seen + 50)
    assert said == f"reloaded {models / 'served'} in 2 workers\n"
    assert (found.failed, found.refused) == ([], [])
    assert set(found.answers) == {"Colours 0", "Turned 1"}
    assert replicas(server.url) == before
    with load(server.url, red) as after:
        until(lambda: after.answers.total() > 50)
    assert set(after.answers) == {"Turned 1"}


def test_a_bad_model_changes_nothing(server: Server, models: Path, red: bytes) -> None:
    broken = make_colour_bundle(models / "broken")
    (broken / "model.onnx").write_bytes(b"x")
    with load(server.url, red) as found:
        said = serve_now(models, "broken", server)
        until(lambda: found.answers.total() > 50)
    assert said.startswith("not reloaded, the model before goes on: ")
    assert "model.onnx" in said
    assert (found.failed, set(found.answers)) == ([], {"Turned 1"})


def test_a_replica_that_is_killed_has_what_it_had_asked_again_and_is_replaced_by_one_with_the_new_model(
    server: Server, tmp_path: Path
) -> None:
    photo = save_photo(tmp_path / "red.png", COLOURS["red"], (2000, 1500)).read_bytes()
    before = replicas(server.url)
    name, pid = next(iter(before.items()))
    with load(server.url, photo) as found:
        until(lambda: found.answers.total() > 20)
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(replicas(server.url)) == 2 and name not in replicas(server.url))
        seen, refused = found.answers.total(), len(found.refused)
        until(lambda: found.answers.total() > seen + 50)
    assert not found.failed
    assert len(found.refused) == refused  # none after the replacement
    assert refused <= CALLERS
    assert {each.text for each in found.refused} <= {GONE}
    assert all(each.headers["x-request-id"] for each in found.refused)
    assert set(found.answers) == {"Turned 1"}


def test_sigterm_finishes_what_was_accepted(server: Server, tmp_path: Path) -> None:
    """The last test of this server."""
    photo = save_photo(tmp_path / "large.png", COLOURS["red"], (6000, 6000)).read_bytes()
    codes: list[int] = []
    callers = [
        threading.Thread(
            target=lambda: codes.append(httpx.post(f"{server.url}/v1/predict", content=photo, timeout=90).status_code)
        )
        for _ in range(4)
    ]
    for each in callers:
        each.start()
    until(lambda: len(codes) + inside(server.url) == 4)
    server.process.send_signal(signal.SIGTERM)
    for each in callers:
        each.join()
    assert codes == [200] * 4
    assert server.process.wait(timeout=90) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def inside(url: str) -> float:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    return sum(float(each) for each in re.findall(r"^garbage_inside_requests\S* (\S+)$", text, re.MULTILINE))


def test_a_lone_replica_takes_another_model_without_a_failed_request(models: Path, red: bytes) -> None:
    (models / "next").symlink_to("colours")
    (models / "next").replace(models / "served")
    with serving(models / "served", *ON_RAY, seconds=90) as running, load(running.url, red) as found:
        until(lambda: found.answers["Colours 0"] > 20)
        said = serve_now(models, "turned", running)
        seen = found.answers.total()
        until(lambda: found.answers.total() > seen + 20)
    assert said == f"reloaded {models / 'served'} in 1 worker\n"
    assert (found.failed, set(found.answers)) == ([], {"Colours 0", "Turned 1"})


def test_under_load_there_are_more_replicas_and_what_is_too_much_is_told_to_come_again(
    colour_bundle: Path, tmp_path: Path
) -> None:
    photo = save_photo(tmp_path / "red.png", COLOURS["red"], (2000, 1500)).read_bytes()
    keys, log = tmp_path / "keys.txt", tmp_path / "access.jsonl"
    keys.write_text("bin at the door: 0123456789abcdef0123\n")
    keys.chmod(0o600)
    more = ("--max-workers", 2, "--queue", 6, "--api-key-file", keys, "--access-log", log)
    with serving(colour_bundle, *ON_RAY, *more, seconds=90) as running:
        known = {"x-api-key": "0123456789abcdef0123"}
        assert httpx.post(f"{running.url}/v1/predict", content=photo).status_code == 401
        assert len(replicas(running.url, **known)) == 1
        with load(running.url, photo, **known) as found:
            until(lambda: len(replicas(running.url, **known)) == 2)
        assert not found.failed
        assert found.answers["Colours 0"] > 0
        assert all(each.json()["error"].startswith("busy: ") for each in found.refused)
        running.process.send_signal(signal.SIGINT)
        out, said = running.process.communicate(timeout=90)
        assert (running.process.returncode, out) == (130, "")
        assert "Traceback" not in said
    lines = [json.loads(each) for each in log.read_text().splitlines()]
    assert {each.get("key") for each in lines if each["status"] == 200 and each["path"] == "/v1/predict"} == {
        "bin at the door"
    }
