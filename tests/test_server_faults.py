"""The real server under what goes wrong: bad HTTP, clients that go away, workers that die, full disks, signals."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, save_photo
from test_server import Server, serving


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
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def photos_of(found: dict[str, float]) -> float:
    return sum(value for name, value in found.items() if name.startswith("garbage_photos_total"))


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


def test_junk_after_a_good_request_costs_that_request_nothing(server: Server, tmp_path: Path) -> None:
    large = save_photo(tmp_path / "large.png", COLOURS["green"], (3000, 3000)).read_bytes()
    answer = said(server, post(large) + BAD["junk"])
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_old_and_unusual_but_good_requests_are_answered(server: Server, red: bytes) -> None:
    assert said(server, post(red, version="1.0")).startswith(b"HTTP/1.1 200 ")
    assert said(server, f"GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode()).startswith(
        b"HTTP/1.1 200 "
    )
    assert said(server, post(red, "Expect: 100-continue", CLOSE)).startswith(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"
    )
    assert said(server, f"HEAD /healthz HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n\r\n".encode()).endswith(b"\r\n\r\n")
    with connected(server) as connection:  # half-closed: answered, or closed
        connection.sendall(post(red))
        connection.shutdown(socket.SHUT_WR)
        assert to_the_end(connection)[:12] in (b"", b"HTTP/1.1 200")


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
