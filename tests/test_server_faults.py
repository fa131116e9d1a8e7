"""The real server under what goes wrong: bad HTTP, clients that go away, workers that die, full disks, signals."""

import base64
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, free_port, make_colour_bundle, save_photo
from test_server import Server, serving, workers_of

from garbage_cli.storage import staged_folder


@pytest.fixture(scope="module")
def server(colour_bundle: Path) -> Iterator[Server]:
    with serving(colour_bundle) as running:
        yield running
        running.process.terminate()
        assert running.process.stderr is not None
        assert running.process.stderr.read() == ""  # nothing that a stranger sends is worth a line there


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_photo(tmp_path_factory.mktemp("red") / "red.png", COLOURS["red"]).read_bytes()


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def to_the_end(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def said(server: Server, data: bytes) -> bytes:
    """What a server answers to bytes, until it closes the connection."""
    with connected(server) as connection:
        connection.sendall(data)
        return to_the_end(connection)


def until(condition: Callable[[], object]) -> None:
    """Wait; the test's own time limit is the end of patience."""
    while not condition():
        time.sleep(0.02)


def post(body: bytes, *headers: str, path: str = "/v1/predict", version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def figures(server: Server) -> dict[str, float]:
    """The page of /metrics."""
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def photos_of(found: dict[str, float]) -> float:
    return sum(value for name, value in found.items() if name.startswith("garbage_photos_total"))


class Load:
    """Clients that keep their connections, and send a request again once if its connection broke."""

    def __init__(self, url: str, body: bytes | None, clients: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self.dropped = 0
        """Requests whose connection broke; each is sent again."""
        self.lost = 0
        """Requests whose connection broke twice."""
        self.bodies: set[bytes] = set()
        self.closed = 0
        """Replies that asked to connect anew."""
        self._url, self._body = url, body
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 30) -> None:
        """Wait for so many more answers."""
        goal = self.statuses.total() + count
        until(lambda: self.statuses.total() >= goal)

    def _run(self) -> None:
        http = httpx.Client(timeout=60)
        while not self._stop.is_set():
            for again in (True, False):
                try:
                    reply = http.post(self._url, content=self._body) if self._body else http.get(self._url)
                except httpx.TransportError:
                    http.close()
                    http = httpx.Client(timeout=60)
                    with self._lock:
                        self.dropped += again
                        self.lost += not again
                    continue
                with self._lock:
                    self.statuses[reply.status_code] += 1
                    self.bodies.add(reply.content)
                    self.closed += reply.headers.get("connection") == "close"
                break
            else:
                break  # nobody is there any more
        http.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A photo that takes a tenth of a second and more."""
    return save_photo(tmp_path_factory.mktemp("large") / "large.png", COLOURS["green"], (3000, 3000)).read_bytes()


# ---- bytes that are no good request

CLOSE = "Connection: close"
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\n"

BAD = {
    "junk": b"\0\1\2junk\r\n\r\n",
    "the hello of TLS": bytes.fromhex("16030100a1010000a10303") + bytes(range(158)),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT with an upgrade": b"CONNECT a:443 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "NUL in the path": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
    "a path beyond ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "both lengths": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\n0\r\n\r\n",
    "a length with a sign": HEAD + b"Content-Length: +5\r\n\r\n0\r\n\r\n",
    "a length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n0\r\n\r\n",
    "an unknown encoding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_http_gets_400_as_json_and_the_connection_closes(server: Server, kind: str) -> None:
    head, _, body = said(server, BAD[kind]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]
    assert httpx.get(f"{server.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [b"A: %s\r\n" % (b"a" * 100_000), b"A: b\r\n" * 20_000, b"A: %s\r\n" % (b"a" * 5_000_000)],
    ids=["a long header", "many headers", "5 MB"],
)
def test_headers_of_100_kb_are_431_and_the_client_gets_to_read_it(server: Server, headers: bytes) -> None:
    head, _, body = said(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body) == {"error": "the headers are too large"}


def test_headers_of_50_kb_are_borne(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz", headers={"cookie": "a" * 50_000}).status_code == 200


def test_trailers_are_no_headers_and_have_an_end(server: Server, red: bytes) -> None:
    head = HEAD + f"Transfer-Encoding: chunked\r\n{CLOSE}\r\n\r\n".encode()
    body = b"%x\r\n%s\r\n0\r\n" % (len(red), red)
    answer = said(server, head + body + b"X-Request-Id: trailer\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"trailer" not in answer
    assert said(server, head + b"1\r\nx\r\n0\r\n" + b"A: b\r\n" * 1_000_000).startswith(b"HTTP/1.1 431 ")


def test_chunks_of_one_byte_are_borne(server: Server, red: bytes) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in red + bytes(50_000)) + b"0\r\n\r\n"
    answer = said(server, HEAD + f"Transfer-Encoding: chunked\r\n{CLOSE}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_a_wish_for_another_protocol_does_not_cost_the_body(server: Server, red: bytes, protocol: str) -> None:
    """Java's own client wishes for HTTP/2 with each first request."""
    wish = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABk")
    with connected(server) as connection:
        for byte in post(red, *wish)[:-20], post(red, *wish)[-20:]:
            connection.sendall(byte)
            time.sleep(0.05)
        connection.sendall(post(red, *wish) + post(red, CLOSE))
        answers = to_the_end(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.count(b'"class_id":0') == 3


def test_pipelined_requests_are_answered_in_their_order(server: Server, red: bytes) -> None:
    ids = [f"number-{i}" for i in range(12)]
    data = b"".join(
        post(red, f"X-Request-Id: {id_}")
        if i % 3
        else f"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id_}\r\n\r\n".encode()
        for i, id_ in enumerate(ids)
    )
    answers = said(server, data + f"GET /nowhere HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode())
    found = [line.split()[1].decode() for line in answers.split(b"\r\n") if line.startswith(b"x-request-id: number")]
    assert found == ids
    assert answers.count(b"HTTP/1.1 200 OK") == 12
    assert b"HTTP/1.1 404 " in answers


def test_junk_after_a_good_request_costs_that_request_nothing(server: Server, large: bytes) -> None:
    answer = said(server, post(large) + BAD["junk"])
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.fixture(scope="module")
def sixteen(large: bytes) -> bytes:
    """A request of sixteen large photos: a second of work and more."""
    body = json.dumps({"images": [base64.b64encode(large).decode()] * 16}).encode()
    return post(body, "Content-Type: application/json", "X-Request-Id: whole")


CHUNKED = HEAD + b"X-Request-Id: broken\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "broken",
    [CHUNKED + b"zz\r\n", CHUNKED + b"1\r\nx\r\nzz\r\n", CHUNKED + b"1\r\nx\r\n0\r\n" + b"A: b\r\n" * 200_000],
    ids=["no chunk", "a second chunk", "trailers"],
)
@pytest.mark.parametrize("between", [0, 2])
def test_junk_in_the_body_of_a_pipelined_request_costs_those_before_it_nothing(
    colour_bundle: Path, sixteen: bytes, broken: bytes, between: int, tmp_path: Path
) -> None:
    log = tmp_path / "access.jsonl"
    with serving(colour_bundle, "--access-log", log) as server:
        answers = said(server, sixteen + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * between + broken)
        server.process.terminate()
        assert server.process.communicate(timeout=60)[1] == ""
    first, *others = answers.split(b"HTTP/1.1 ")[1:]
    head, _, body = first.partition(b"\r\n\r\n")
    assert head.startswith(b"200 OK")
    assert b"x-request-id: whole" in head
    assert len(json.loads(body)["results"]) == 16
    assert len(others) == between
    assert [b"connection: close" in answer for answer in (first, *others)] == [False] * between + [True]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["status"] for record in records] == [200] * (1 + between)
    assert records[0]["id"] == "whole"


def test_junk_in_a_body_that_was_refused_gets_no_second_answer(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"zz\r\n")
        assert b"HTTP/1.1" not in to_the_end(connection)


def test_thousands_of_pipelined_requests_are_not_all_taken(colour_bundle: Path, large: bytes, sixteen: bytes) -> None:
    with serving(colour_bundle) as server, ExitStack() as stack:
        (worker,) = children(server)
        with connected(server) as warm:
            warm.sendall(sixteen + f"GET / HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode())
            to_the_end(warm)
        before = resident(worker)
        flood = [stack.enter_context(connected(server)) for _ in range(12)]
        for connection in flood:
            connection.sendall(post(large) + b"GET / HTTP/1.1\r\n\r\n" * 13_000)
        assert httpx.get(f"{server.url}/healthz", timeout=60).status_code == 200
        for connection in flood:
            answers = to_the_end(connection)
            assert answers.startswith(b"HTTP/1.1 200 OK")
            assert 17 <= answers.count(b"HTTP/1.1 ") < 1000
            assert answers.count(b"connection: close") == 1
            assert b"connection: close" in answers[answers.rindex(b"HTTP/1.1 ") :]
        assert resident(worker) < before + 100 * 1024 * 1024
        assert photos_of(figures(server)) == 16 + len(flood)
        server.process.terminate()
        assert server.process.communicate(timeout=60)[1] == ""


def test_old_and_unusual_but_good_requests_are_answered(server: Server, red: bytes) -> None:
    assert said(server, post(red, version="1.0")).startswith(b"HTTP/1.1 200 ")
    assert said(server, f"GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 200 "
    )
    assert said(server, post(red, "Expect: 100-continue", CLOSE)).startswith(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"
    )
    assert said(server, f"HEAD /healthz HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode()).endswith(b"\r\n\r\n")


def test_a_client_that_closes_its_half_is_taken_as_one_that_hung_up(server: Server, sixteen: bytes) -> None:
    before = figures(server)["garbage_hangups_total"]
    with connected(server) as connection:
        connection.sendall(sixteen)
        connection.shutdown(socket.SHUT_WR)
        assert to_the_end(connection) == b""
    until(lambda: figures(server)["garbage_hangups_total"] == before + 1)


def test_100_continue_is_not_said_to_a_body_that_is_too_large(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 999999999\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


# ---- refusals are JSON, and name the request


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("GET", "/a%00b%FF", b"", 404),
        ("GET", "//elsewhere/healthz/", b"", 404),
        ("OPTIONS", "/v1/predict", b"", 405),
        ("DELETE", "/v1/predict", b"", 405),
        ("POST", "/v1/predict", b"", 400),
        ("POST", "/v1/predict?top_k=%C2%B2", b"x", 400),
        ("POST", "/v1/predict", b"x", 422),
        ("POST", "/v2/models/other/infer", b"{}", 404),
        ("POST", "/v2/models/Colours/infer", b"{}", 400),
        ("POST", "/v2/models/Colours/infer", b"[" * 1_000_000, 400),
    ],
)
def test_a_refusal_is_json_and_gives_the_id_back(
    server: Server, method: str, path: str, body: bytes, status: int
) -> None:
    reply = httpx.request(method, server.url + path, content=body, headers={"x-request-id": "my.own-id~1"})
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"] == "my.own-id~1"
    value = reply.json()
    assert value.get("error") or value["results"][0]["error"]


@pytest.mark.parametrize("given", ["a b", "x" * 129, 'a"b', "é"])
def test_an_id_that_could_do_harm_is_replaced(server: Server, given: str) -> None:
    reply = httpx.get(f"{server.url}/nowhere", headers={"x-request-id": given.encode()})
    assert reply.headers["x-request-id"] != given
    assert len(reply.headers["x-request-id"]) == 32


# ---- workers that die


def children(server: Server) -> set[int]:
    return set(workers_of(server.process.pid))


def test_a_killed_worker_costs_no_more_than_what_was_inside_it(colour_bundle: Path, red: bytes) -> None:
    check_kill(colour_bundle, red, workers=2)


def check_kill(colour_bundle: Path, red: bytes, *, workers: int) -> None:
    with (
        serving(colour_bundle, "--workers", workers) as server,
        Load(f"{server.url}/v1/predict", red) as load,
        Load(f"{server.url}/readyz", None, clients=1) as watch,
    ):
        load.more(40)
        before = children(server)
        victim = min(before)
        answered = photos_of(figures(server))
        os.kill(victim, signal.SIGKILL)
        until(lambda: children(server) - before)
        load.more(40)
        watch.more(5)
        assert len(children(server)) == workers
        found = figures(server)
    assert set(load.statuses) == set(watch.statuses) == {200}
    assert load.dropped + watch.dropped <= 5  # each client is on one connection at a time
    assert load.lost == watch.lost == 0
    assert photos_of(found) >= answered + 40  # what the dead one counted still counts
    assert found["garbage_inside_requests"] <= 4


def start(bundle: Path, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "garbage_cli", "serve", "--model", bundle, "--port", 0, "--json", *options]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_child(process: subprocess.Popen[str]) -> int:
    until(lambda: workers_of(process.pid))
    return workers_of(process.pid)[0]


def test_a_worker_killed_while_it_loads_is_a_clear_error(colour_bundle: Path) -> None:
    with start(colour_bundle) as process:
        os.kill(first_child(process), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "error: a worker was ended by SIGKILL while it loaded the model; is there enough memory?\n"


def test_of_two_servers_that_start_on_one_port_one_is_refused(colour_bundle: Path) -> None:
    port = free_port()
    with start(colour_bundle, "--port", port) as one, start(colour_bundle, "--port", port) as other:
        until(lambda: one.poll() is not None or other.poll() is not None)
        loser, winner = (one, other) if one.poll() is not None else (other, one)
        out, err = loser.communicate()
        assert (loser.returncode, out) == (1, "")
        assert err == (
            f"error: can't serve on 127.0.0.1 port {port}: Address already in use; choose another with --port\n"
        )
        assert winner.stdout is not None
        assert json.loads(winner.stdout.readline())["url"] == f"http://127.0.0.1:{port}"
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        winner.terminate()
        assert winner.communicate(timeout=60)[1] == ""


# ---- the end


def test_sigterm_under_load_answers_all_that_was_taken(colour_bundle: Path, red: bytes, tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    with serving(colour_bundle, "--workers", 2, "--access-log", log) as server:
        with httpx.Client(timeout=60) as watch, Load(f"{server.url}/v1/predict", red) as load:
            load.more(50)
            watch.get(f"{server.url}/readyz")
            server.process.terminate()
            reply = watch.get(f"{server.url}/readyz")
            while reply.status_code == 200:  # on the connection that was open before
                reply = watch.get(f"{server.url}/readyz")
            assert (reply.status_code, reply.json()["status"]) == (503, "draining")
            assert reply.headers["connection"] == "close"
            _, err = server.process.communicate(timeout=60)
        assert (server.process.returncode, err) == (0, "")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    taken = Counter(record["status"] for record in records if record["path"] == "/v1/predict")
    assert taken == load.statuses  # each of them was answered, and the answer came
    assert set(taken) == {200}
    assert load.closed > 0


def test_a_second_wish_ends_a_server_that_waits_for_a_slow_client(colour_bundle: Path) -> None:
    check_second_wish(colour_bundle, signal.SIGTERM, 0)


def check_second_wish(colour_bundle: Path, number: signal.Signals, code: int) -> None:
    with serving(colour_bundle) as server, connected(server) as slow:
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\nhalf")
        httpx.get(f"{server.url}/healthz")  # that came later, so the other was taken
        server.process.send_signal(number)
        with suppress(ConnectionRefusedError):
            while True:  # what comes after the last call is refused, not left waiting
                connected(server).close()
                time.sleep(0.02)
        assert server.process.poll() is None
        server.process.send_signal(number)
        _, err = server.process.communicate(timeout=20)  # the client would have had 30 s
        assert server.process.returncode == code
        assert "Traceback" not in err


@pytest.mark.parametrize("workers", [2])
def test_sigterm_while_it_starts_ends_it_cleanly(colour_bundle: Path, workers: int) -> None:
    with start(colour_bundle, "--workers", workers) as process:
        child = first_child(process)
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert not Path(f"/proc/{child}").exists()


# ---- another model


def put(bundle: Path, *, name: str, crop: int = 32, spoil: bool = False) -> None:
    """Replace a bundle at one stroke, as `export` does."""
    with staged_folder(bundle) as staging:
        made = make_colour_bundle(staging / "made", name=name, crop=crop)
        if spoil:
            (made / "model.onnx").write_bytes(bytes(1000))
        for file in made.iterdir():
            file.rename(staging / file.name)
        made.rmdir()


def served(server: Server) -> set[str]:
    """The names of the models that the workers say they serve."""
    return {found[1] for name in figures(server) if (found := re.search(r'model_info{.*name="(.*?)"', name))}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    put(tmp_path / "inference", name="Before")
    return tmp_path / "inference"


def test_sighup_changes_the_model_and_costs_no_request_and_no_connection(bundle: Path, red: bytes) -> None:
    with serving(bundle, "--workers", 2) as server, Load(f"{server.url}/v1/predict", red) as load:
        load.more()
        version = httpx.get(f"{server.url}/v1/model").json()["version"]
        for name, crop in (("After", 32), ("Larger", 48)):
            put(bundle, name=name, crop=crop)
            server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGHUP)
            until(lambda name=name: served(server) == {name})
            load.more()
        models = [httpx.get(f"{server.url}/v1/model").json() for _ in range(20)]
    assert {(model["name"], tuple(model["input"]["shape"])) for model in models} == {("Larger", (3, 48, 48))}
    assert version not in {model["version"] for model in models}
    assert set(load.statuses) == {200}
    assert load.dropped == load.closed == 0
    assert {json.loads(body)["model"] for body in load.bodies} == {"Before", "After", "Larger"}


def test_a_broken_new_model_is_said_and_the_one_before_goes_on(bundle: Path, red: bytes) -> None:
    with serving(bundle, "--workers", 2) as server:
        assert server.process.stderr is not None
        put(bundle, name="Broken", spoil=True)
        server.process.send_signal(signal.SIGHUP)
        said = server.process.stderr.readline()
        assert said.startswith("not reloaded, the model before goes on: ")
        assert "model.onnx" in said
        (bundle / "garbage.json").write_bytes(b"[1]")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr.readline().startswith("not reloaded, the model before goes on: ")
        assert httpx.post(f"{server.url}/v1/predict", content=red).json()["model"] == "Before"
        assert served(server) == {"Before"}
        put(bundle, name="Mended")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr.readline() == f"reloaded {bundle} in 2 workers\n"
        assert served(server) == {"Mended"}


def test_a_worker_that_was_starting_at_the_reload_gets_the_new_model_too(bundle: Path, red: bytes) -> None:
    with serving(bundle, "--workers", 2) as server:
        before = children(server)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: children(server) - before)
        put(bundle, name="After")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: figures(server)["garbage_inside_requests"] == 0 and served(server) == {"After"})
        names = {httpx.get(f"{server.url}/v1/model").json()["name"] for _ in range(20)}
    assert names == {"After"}


def test_sighup_while_it_starts_ends_nothing(bundle: Path) -> None:
    with start(bundle, "--workers", 2) as process:
        child = first_child(process)
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert child in workers_of(process.pid)
        assert httpx.get(f"{url}/readyz").status_code == 200
        for each in workers_of(process.pid):
            os.kill(each, signal.SIGHUP)  # as when it is sent to the whole group
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert child in workers_of(process.pid)
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in err


# ---- more than it can do


def test_over_capacity_each_answer_is_200_or_503_and_health_is_answered_meanwhile(
    colour_bundle: Path, large: bytes
) -> None:
    replies: list[httpx.Response] = []
    health: list[int] = []
    with serving(colour_bundle, "--queue", 4) as server:

        def ask() -> None:
            replies.append(httpx.post(f"{server.url}/v1/predict", content=large, timeout=60))

        threads = [threading.Thread(target=ask) for _ in range(64)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            health.append(httpx.get(f"{server.url}/healthz", timeout=60).status_code)
        found = figures(server)
    statuses = Counter(reply.status_code for reply in replies)
    assert set(statuses) == {200, 503}
    assert statuses.total() == 64
    assert statuses[200] >= 4
    for reply in replies:
        if reply.status_code == 503:
            assert int(reply.headers["retry-after"]) >= 1
            assert "busy" in reply.json()["error"]
    assert set(health) == {200}
    assert found['garbage_rejected_total{reason="busy"}'] == statuses[503]
    assert found["garbage_inside_requests"] == found["garbage_waiting_photos"] == 0


def half(server: Server, data: bytes) -> socket.socket:
    """A connection with a request of which the last byte is still to come."""
    connection = connected(server)
    connection.sendall(data[:-1])
    return connection


def test_per_client_is_429_for_one_and_not_for_others_who_show_another_key(
    colour_bundle: Path, red: bytes, tmp_path: Path
) -> None:
    keys = {"a": "a" * 20, "b": "b" * 20}
    (tmp_path / "keys").write_text("".join(f"{name}: {key}\n" for name, key in keys.items()))
    (tmp_path / "keys").chmod(0o600)
    with serving(colour_bundle, "--per-client", 1, "--api-key-file", tmp_path / "keys") as server:
        url = f"{server.url}/v1/predict"
        shown = {name: {"x-api-key": key} for name, key in keys.items()}
        with half(server, post(red, f"Authorization: Bearer {keys['a']}", CLOSE)) as first:
            until(lambda: httpx.post(url, content=red, headers=shown["a"]).status_code == 429)
            refused = httpx.post(url, content=red, headers=shown["a"])
            assert int(refused.headers["retry-after"]) >= 1
            assert "wait for them" in refused.json()["error"]
            assert httpx.post(url, content=red, headers=shown["b"]).status_code == 200
            first.sendall(red[-1:])
            assert to_the_end(first).startswith(b"HTTP/1.1 200 ")
        assert httpx.post(url, content=red, headers=shown["a"]).status_code == 200
        stranger = httpx.post(url, content=red)
        assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, "Bearer")
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_request_over_the_time_limit_is_503_and_gives_its_place_back(
    colour_bundle: Path, red: bytes, tmp_path: Path
) -> None:
    photo = save_photo(tmp_path / "huge.png", COLOURS["red"], (8000, 8000)).read_bytes()
    with serving(colour_bundle, "--timeout", 0.1, "--queue", 1) as server:
        reply = httpx.post(f"{server.url}/v1/predict", content=photo, timeout=60)
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) >= 1
        assert "not answered within 0.1 seconds" in reply.json()["error"]
        until(lambda: httpx.post(f"{server.url}/v1/predict", content=red, timeout=60).status_code == 200)
        found = figures(server)
    assert found['garbage_rejected_total{reason="timeout"}'] >= 1
    assert found["garbage_inside_requests"] == 0


# ---- the log


def lost_lines(server: Server) -> float:
    return figures(server)["garbage_log_lines_lost_total"]


def test_a_log_on_a_full_disk_costs_no_request_and_the_loss_is_counted(colour_bundle: Path, red: bytes) -> None:
    with serving(colour_bundle, "--access-log", "/dev/full") as server:
        for _ in range(20):
            assert httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
        until(lambda: lost_lines(server) >= 20)


# ---- clients that go away


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def hang_up(server: Server, data: bytes, *, times: int, at_once: int = 50) -> None:
    """Connect, send, and go, many times over."""
    left = times
    while left > 0:
        with ExitStack() as stack:
            for _ in range(min(left, at_once)):
                stack.enter_context(connected(server)).sendall(data)
        left -= at_once


def check_hang_ups(server: Server, red: bytes, large: bytes, times: int) -> None:
    (worker,) = children(server)
    httpx.post(f"{server.url}/v1/predict", content=red)
    before, files = figures(server), descriptors(worker)
    hang_up(server, b"", times=times)
    hang_up(server, post(red)[:20], times=times)
    hang_up(server, HEAD + b"Content-Length: 1000\r\n\r\n", times=times)
    hang_up(server, HEAD + b"Content-Length: 1000\r\n\r\n" + red[:50], times=times)
    until(lambda: figures(server)["garbage_hangups_total"] == before["garbage_hangups_total"] + 2 * times)
    assert photos_of(figures(server)) == photos_of(before)
    hang_up(server, post(large), times=60, at_once=60)
    until(lambda: figures(server)["garbage_inside_requests"] == 0)
    until(lambda: descriptors(worker) <= files)
    found = figures(server)
    assert photos_of(found) < photos_of(before) + 60  # what had not begun never did
    assert found["garbage_waiting_photos"] == 0
    assert httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
    server.process.terminate()
    assert server.process.communicate(timeout=60)[1] == ""


def test_clients_that_hang_up_leave_nothing_behind(colour_bundle: Path, red: bytes, large: bytes) -> None:
    with serving(colour_bundle) as server:
        check_hang_ups(server, red, large, times=100)


def test_a_hang_up_is_seen_behind_pipelined_requests_too(server: Server, sixteen: bytes) -> None:
    before = figures(server)
    with connected(server) as connection:
        connection.sendall(sixteen + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        until(lambda: figures(server)["garbage_inside_requests"] == 1)
    until(lambda: figures(server)["garbage_inside_requests"] == 0)
    found = figures(server)
    assert found["garbage_hangups_total"] == before["garbage_hangups_total"] + 1
    assert found["garbage_waiting_photos"] == 0
    assert photos_of(found) == photos_of(before)  # the request did not come to its end


# ---- bombs


def resident(pid: int) -> int:
    """Bytes of memory that a process had at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def png(width: int, height: int) -> bytes:
    """A black picture of one bit a pixel: it decodes to thousands of times its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(bytes((width // 8 + 1) * height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    data = zlib.compress(bytes(width // 8 * height))
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 1), (259, 3, 8), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(data)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4)


def gif(width: int, height: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02L\x01\0;"


BOMBS = {
    "PNG": lambda: png(30_000, 30_000),
    "TIFF": lambda: tiff(30_000, 30_000),
    "GIF": lambda: gif(60_000, 60_000),
    "a line of PNG": lambda: png(1_000_000, 8),
    "zeros": lambda: bytes(50_000_000),
    "a zip of zeros": lambda: b"PK\x03\x04" + zlib.compress(bytes(50_000_000)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_and_costs_no_memory(server: Server, kind: str) -> None:
    (worker,) = children(server)
    before = resident(worker)
    reply = httpx.post(f"{server.url}/v1/predict", content=BOMBS[kind](), timeout=60)
    assert reply.status_code == 422
    assert re.search("pixels|not an image", reply.json()["results"][0]["error"])
    assert resident(worker) < before + 250 * 1024 * 1024


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"images": ' + b"[" * 5_000_000, "application/json"),
        (b'{"a":' * 1_000_000, "application/json"),
        (b'{"images": ["' + b"A" * 5_000_000 + b'"', "application/json"),
        (b'{"images": [' + b"1" * 5_000_000 + b"]}", "application/json"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100_000 + b"--x--\r\n", "multipart"),
        (b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n1\r\n' * 1000, "multipart"),
        (b"--x\r\n" + b"A: b\r\n" * 1_000_000, "multipart"),
        (b"\r\n" * 5_000_000, "multipart"),
    ],
    ids=["lists", "objects", "cut", "number", "fields", "files", "headers", "empty lines"],
)
def test_bodies_made_to_be_hard_to_read_are_400(server: Server, body: bytes, kind: str) -> None:
    content_type = "multipart/form-data; boundary=x" if kind == "multipart" else kind
    reply = httpx.post(f"{server.url}/v1/predict", content=body, headers={"content-type": content_type}, timeout=60)
    assert reply.status_code == 400
    assert len(reply.json()["error"]) < 300


def test_a_body_over_the_limit_can_be_sent_to_its_end_and_the_413_be_read(colour_bundle: Path, red: bytes) -> None:
    body = bytes(30_000_000)

    def pieces() -> Iterator[bytes]:
        yield from (body[:1_000_000] for _ in range(30))

    with serving(colour_bundle, "--max-body", "1M") as server, httpx.Client(timeout=60) as http:
        for content in (body, pieces(), json.dumps({"images": [base64.b64encode(body).decode()]}).encode()):
            reply = http.post(f"{server.url}/v1/predict", content=content)
            assert reply.status_code == 413
            assert "limit" in reply.json()["error"]
            assert http.post(f"{server.url}/v1/predict", content=red).status_code == 200
        for _ in range(5):  # Python's own client asks for the end of each connection
            with pytest.raises(urllib.error.HTTPError, match="413") as refused:
                urllib.request.urlopen(f"{server.url}/v1/predict", body, timeout=60)
            assert b"limit" in refused.value.read()
            refused.value.close()
        assert figures(server)['garbage_rejected_total{reason="too large"}'] == 8
