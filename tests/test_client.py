"""The client, against small servers that behave as no good one does."""

import base64
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import COLOURS, Result, make_colour_bundle, save_photo

from garbage_cli.client import Client, read_api_key, read_labels, sending
from garbage_cli.client.pace import Pace
from garbage_cli.console.answers import tell_pace
from garbage_cli.errors import ConfigError, DatasetError, ServerError
from garbage_cli.labels import THE_40, Labels
from garbage_cli.prediction import Photo, Prediction

Garbage = Callable[..., Result]
Answer = tuple[int, bytes, dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int
    """Of the client: one per connection."""


@dataclass
class StandIn:
    """A server that answers what it is told to."""

    reply: Callable[[Asked], Answer]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    most: int = 0
    """Requests that were under way at once."""
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def posts(self) -> list[Asked]:
        return [each for each in self.asked if each.method == "POST"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    stand_in: StandIn

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body, self.client_address[1])
        it = self.stand_in
        with it.lock:
            it.asked.append(asked)
            it.now += 1
            it.most = max(it.most, it.now)
        try:
            status, content, extra = it.reply(asked)
        finally:
            with it.lock:
                it.now -= 1
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client has left
            self.close_connection = True

    def log_message(self, *words: Any) -> None:
        pass


class Threads(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *words: Any) -> None:
        pass


@contextmanager
def standing(reply: Callable[[Asked], Answer], *, tls: ssl.SSLContext | None = None) -> Iterator[StandIn]:
    stand_in = StandIn(reply)
    handler = type("Handler", (Handler,), {"stand_in": stand_in})
    with Threads(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        stand_in.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()


def js(value: object, status: int = 200, **headers: str) -> Answer:
    extra = {name.replace("_", "-"): text for name, text in headers.items()}
    return status, json.dumps(value, ensure_ascii=False).encode(), {"content-type": "application/json", **extra}


def good(name: str = "易拉罐", error: str | None = None, **headers: str) -> Answer:
    scores = [] if error else [{"class_id": 23, "name": name, "bin": "可回收物", "score": 0.9}]
    result = {"image": "image", "bin": "可回收物", "sure": not error, "predictions": scores, "error": error}
    return js({"model": "m", "results": [result]}, 422 if error else 200, **headers)


READY = js({"status": "ready", "model": "m", "classes": 40})
HTML = {"content-type": "text/html; charset=utf-8"}
GREETING = "暂不提供可视化界面，请直接使用脚本进行请求。<br/>No visual interface is provided".encode()


def ours(photo: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    """A server of garbage's own whose photos get this."""
    return lambda asked: READY if asked.method == "GET" else photo(asked)


def hub(photo: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    """A PaddleHub whose photos get this."""

    def reply(asked: Asked) -> Answer:
        if asked.method == "POST":
            return photo(asked)
        return (200, GREETING, HTML) if asked.path == "/" else (404, b"<h1>Not Found</h1>", HTML)

    return reply


def envelope(results: object, *, status: str = "000", msg: object = "") -> Answer:
    return js({"msg": msg, "results": results, "status": status})


def some(number: int) -> list[Photo]:
    return [Photo(f"{i}", b"photo %d" % i) for i in range(number)]


def answers(url: str, photos: list[Photo] | None = None, **options: Any) -> list[Prediction]:
    with Client(url, **options) as client:
        return list(client.predict(some(1) if photos is None else photos))


def only(url: str, **options: Any) -> Prediction:
    (answer,) = answers(url, **options)
    return answer


def gathered(predictions: Iterator[Prediction]) -> tuple[list[str], ServerError | None]:
    """The names of the photos that came, and the error that ended it."""
    names: list[str] = []
    try:
        names.extend(each.image for each in predictions)
    except ServerError as error:
        return names, error
    return names, None


class Script:
    """Gives these answers one after another, and the last one from then on."""

    def __init__(self, *replies: Answer) -> None:
        self.replies = list(replies)

    def __call__(self, asked: Asked) -> Answer:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, which take no time."""
    made: list[float] = []

    def wait(self: sending.Sender, pause: float, stop: threading.Event) -> None:
        made.append(pause)
        self._retried()

    monkeypatch.setattr(sending.Sender, "_wait", wait)
    return made


BUSY = js({"error": "busy"}, 503)


# ---- a busy server


def test_a_busy_server_is_asked_again_with_growing_pauses(pauses: list[float]) -> None:
    with standing(ours(Script(BUSY, BUSY, BUSY, BUSY, good()))) as server, Client(server.url) as client:
        (answer,) = client.predict(some(1))
        assert client.summary.retries == 4
    assert answer.bin_name == "可回收物"
    assert len(server.posts) == 5
    assert all(later > earlier for earlier, later in pairwise(pauses))


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("7", 7, 7.8),
        ("99999999999999999999", 30, 33),
        (lambda: format_datetime(datetime.now(timezone.utc) + timedelta(seconds=20), usegmt=True), 5, 22.1),
        (lambda: format_datetime(datetime.now(timezone.utc) - timedelta(days=1), usegmt=True), 0.05, 0.2),
        ("0", 0.05, 0.2),
        ("-5", 0.05, 0.2),
        ("soon", 0.05, 0.2),
    ],
)
def test_retry_after_is_honoured_up_to_half_a_minute(pauses: list[float], wish: Any, least: float, most: float) -> None:
    busy = js({"error": "busy"}, 429, retry_after=wish if isinstance(wish, str) else wish())
    with standing(ours(Script(busy, good()))) as server:
        assert only(server.url).error is None
    (pause,) = pauses
    assert least <= pause <= most


def test_pauses_are_jittered() -> None:
    assert len({sending._pause(3) for _ in range(20)}) > 10


def test_an_endless_503_is_the_error_of_that_photo_and_the_rest_goes_on() -> None:
    with standing(ours(lambda asked: BUSY if asked.body == b"photo 1" else good())) as server:
        got = answers(server.url, some(4), patience=0.3)
    assert [each.error is None for each in got] == [True, False, True, True]
    assert got[1].error is not None
    assert got[1].error.startswith("the server was busy (503), asked ")


@pytest.mark.parametrize("status", [400, 404, 500, 502, 504])
def test_nothing_else_is_asked_again(status: int) -> None:
    with (
        standing(ours(lambda asked: js({"error": "words"}, status))) as server,
        Client(server.url, protocol="v1") as client,
    ):
        with pytest.raises(ServerError, match=f"answered {status}: words"):
            list(client.predict(some(1)))
        assert client.summary.retries == 0
    assert len(server.posts) == 1


def test_a_status_of_500_after_good_answers_is_that_photos_error() -> None:
    with standing(ours(lambda asked: js({"error": "oh"}, 500) if asked.body == b"photo 2" else good())) as server:
        got = answers(server.url, some(4))
    assert [each.error for each in got] == [None, None, "the server answered 500: oh", None]


def test_a_server_that_is_not_ready_yet_is_waited_for(pauses: list[float]) -> None:
    probes = Script(BUSY, BUSY, READY)
    with standing(lambda asked: probes(asked) if asked.method == "GET" else good()) as server:
        assert only(server.url).error is None
    assert len(pauses) == 2


def test_too_large_a_photo_is_that_photos_error() -> None:
    refused = js({"error": "9 bytes; the limit is 5"}, 413)
    with standing(ours(lambda asked: refused if asked.body == b"photo 0" else good())) as server:
        got = answers(server.url, some(2), protocol="v1")
    assert [each.error for each in got] == ["9 bytes; the limit is 5", None]


# ---- connections


@contextmanager
def listening(serve: Callable[[int, socket.socket], None]) -> Iterator[str]:
    """A server by hand: `serve` gets the number of each connection, and the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = []

        def accept() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=one, args=(number, connection))
                threads.append(thread)
                thread.start()
                number += 1

        def one(number: int, connection: socket.socket) -> None:
            with connection:
                connection.settimeout(20)
                with suppress(OSError):
                    serve(number, connection)

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def read_request(connection: socket.socket) -> bytes:
    """A request with its body; b"" at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def raw(answer: Answer) -> bytes:
    status, content, _ = answer
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(content)) + content


def test_a_kept_connection_that_the_server_drops_is_replaced_once() -> None:
    served: list[int] = []

    def serve(number: int, connection: socket.socket) -> None:
        while read_request(connection):
            served.append(number)
            if served.count(0) == 2 and number == 0:
                return  # the second request on the first connection: closed without a word
            connection.sendall(raw(good()))

    with listening(serve) as url, Client(url, protocol="v1", concurrency=1) as client:
        assert [each.error for each in client.predict(some(3))] == [None] * 3
        assert client.summary.retries == 1
    assert served == [0, 0, 1, 2]


def test_a_new_connection_that_is_dropped_is_that_photos_error_and_is_not_sent_again() -> None:
    served: list[int] = []

    def serve(number: int, connection: socket.socket) -> None:
        if read_request(connection):
            served.append(number)
            if number != 1:
                connection.sendall(raw(good()).replace(b"content-length", b"connection: close\r\ncontent-length"))

    with listening(serve) as url:
        got = answers(url, some(3), protocol="v1", concurrency=1)
    assert served == [0, 1, 2]
    assert [each.error is None for each in got] == [True, False, True]
    assert got[1].error == "the connection was lost before the answer: Server disconnected without sending a response."


def test_a_photo_that_kills_every_connection_is_sent_twice_at_most() -> None:
    sent: list[bytes] = []

    def serve(number: int, connection: socket.socket) -> None:
        while request := read_request(connection):
            sent.append(request.rpartition(b"\r\n\r\n")[2])
            if sent[-1] == b"photo 2":
                return
            connection.sendall(raw(good()))

    with listening(serve) as url:
        got = answers(url, some(5), protocol="v1", concurrency=2)
    assert sent.count(b"photo 2") <= 2
    assert [each.error is None for each in got] == [True, True, False, True, True]


def test_a_reply_that_breaks_off_is_that_photos_error_and_is_not_sent_again() -> None:
    sent: list[bytes] = []

    def serve(number: int, connection: socket.socket) -> None:
        while request := read_request(connection):
            sent.append(request.rpartition(b"\r\n\r\n")[2])
            if sent[-1] == b"photo 1":
                connection.sendall(raw(good())[:-9])
                return
            connection.sendall(raw(good()))

    with listening(serve) as url:
        got = answers(url, some(3), protocol="v1", concurrency=1)
    assert [each.error is None for each in got] == [True, False, True]
    assert sent == [b"photo 0", b"photo 1", b"photo 2"]


@pytest.mark.parametrize("drip", [False, True])
def test_a_time_out_is_that_photos_error_once_others_were_answered(drip: bool) -> None:
    done = threading.Event()

    def serve(number: int, connection: socket.socket) -> None:
        while request := read_request(connection):
            if request.endswith(b"photo 1"):
                connection.sendall(b"HTTP/1.1 200 X\r\ncontent-length: 1000000\r\n\r\n" if drip else b"")
                while not done.wait(0.02):
                    connection.sendall(b"x" if drip else b"")
                return
            connection.sendall(raw(good()))

    with listening(serve) as url:
        try:
            got = answers(url, some(3), protocol="v1", concurrency=1, timeout=1.5)
        finally:
            done.set()
    assert [each.error for each in got] == [None, "no answer within 1.5 s", None]


def test_a_time_out_before_any_answer_is_the_servers() -> None:
    done = threading.Event()

    def serve(number: int, connection: socket.socket) -> None:
        done.wait(20)

    with listening(serve) as url:
        try:
            with pytest.raises(ServerError, match="did not answer in time"):
                answers(url, timeout=0.2)
        finally:
            done.set()


HEAD, PROCESSING = b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 102 Processing\r\n\r\n"


@contextmanager
def trickling(first: bytes, then: bytes, *, good_to: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A server that never gets to the end of a reply's head, unless `good_to` knows one to the request."""
    done = threading.Event()

    def serve(number: int, connection: socket.socket) -> None:
        while request := read_request(connection):
            if (reply := good_to(request)) is not None:
                connection.sendall(reply)
                continue
            connection.sendall(first)
            while not done.wait(0.02):
                connection.sendall(then)
            return

    with listening(serve) as url:
        try:
            yield url
        finally:
            done.set()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("first", "then"), [(HEAD, b"a"), (b"", PROCESSING)])
@pytest.mark.parametrize(("protocol", "reply"), [("v1", good()), ("hub", envelope([[[23], [0.75], 0.1]]))])
def test_a_head_without_end_is_that_photos_time_out(first: bytes, then: bytes, protocol: str, reply: Answer) -> None:
    bad = json.dumps(base64.b64encode(b"photo 1").decode()).encode() if protocol == "hub" else b"photo 1"
    with trickling(first, then, good_to=lambda request: None if bad in request else raw(reply)) as url:
        got = answers(url, some(3), protocol=protocol, concurrency=1, timeout=1.5)
    assert [each.error for each in got] == [None, "no answer within 1.5 s", None]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("first", "then"), [(HEAD, b"a"), (b"", PROCESSING)])
@pytest.mark.parametrize("path", [b"/readyz", b"/ "])
def test_a_head_without_end_to_a_probe_is_the_servers_time_out(first: bytes, then: bytes, path: bytes) -> None:
    missing = raw((404, b"<h1>Not Found</h1>", {}))
    with (
        trickling(first, then, good_to=lambda request: None if b"GET " + path in request else missing) as url,
        Client(url, timeout=0.3) as client,
    ):
        assert not client.is_ready()
        with pytest.raises(ServerError, match="did not answer in time"):
            client.find()


def test_what_speaks_no_http_is_said_in_one_line() -> None:
    def serve(number: int, connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"220 mail.example ESMTP\r\n")

    with listening(serve) as url, pytest.raises(ServerError) as caught:
        answers(url)
    assert str(caught.value).startswith(f"{url}: ")
    assert "\n" not in str(caught.value)


def test_a_server_that_goes_away_ends_the_run_and_no_answer_is_lost(pauses: list[float]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                for _ in range(3):
                    read_request(connection)
                    connection.sendall(raw(good()))

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(url, protocol="v1", concurrency=1) as client:
        got, error = gathered(client.predict(some(50)))
    thread.join()
    assert got == ["0", "1", "2"]
    assert str(error).startswith(f"the server at {url} has gone (")
    assert len(pauses) >= 4


def test_the_answers_of_others_come_before_the_error_that_ends_the_run() -> None:
    together = threading.Barrier(4)

    def photo(asked: Asked) -> Answer:
        together.wait(20)
        return js({}, 401) if asked.body == b"photo 1" else good()

    with standing(ours(photo)) as server, Client(server.url, concurrency=4) as client:
        got, error = gathered(client.predict(some(4)))
    assert got == ["0", "2", "3"]
    assert "asks for an API key; give it with --api-key-file" in str(error)


def test_a_server_that_comes_back_is_found_again(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    fails = iter([True, True, True, True, False])
    with standing(ours(lambda asked: good())) as server, Client(server.url, concurrency=1) as client:
        client.find()
        real = httpx.Client.stream

        def stream(self: httpx.Client, *words: Any, **options: Any) -> Any:
            if next(fails, False):
                raise httpx.ConnectError("refused")
            return real(self, *words, **options)

        monkeypatch.setattr(httpx.Client, "stream", stream)
        assert [each.error for each in client.predict(some(2))] == [None, None]
    assert len(pauses) == 4


def test_connections_are_kept_and_there_is_one_per_request_under_way() -> None:
    with standing(ours(lambda asked: good())) as server:
        answers(server.url, some(40), concurrency=3)
    assert len({each.port for each in server.asked}) <= 3
    assert len(server.posts) == 40


def test_there_are_as_many_requests_under_way_as_were_asked_for_and_no_more() -> None:
    together = threading.Barrier(5)

    def photo(asked: Asked) -> Answer:
        together.wait(20)  # broken, and the test with it, unless five are here at once
        return good()

    with standing(ours(photo)) as server:
        got = answers(server.url, some(20), concurrency=5)
    assert all(each.error is None for each in got)
    assert server.most == 5


def test_answers_are_in_order_whatever_the_order_of_the_replies() -> None:
    def photo(asked: Asked) -> Answer:
        number = int(asked.body.split()[1])
        time.sleep((number * 7919 % 13) / 500)
        return good(name=f"kind {number}")

    with standing(ours(photo)) as server:
        got = answers(server.url, some(60), concurrency=8)
    assert [each.image for each in got] == [str(i) for i in range(60)]
    assert [each.best.label.name for each in got if each.best] == [f"kind {i}" for i in range(60)]


def test_an_endless_input_is_drawn_only_as_it_is_answered() -> None:
    drawn = 0

    def endless() -> Iterator[Photo]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Photo(str(drawn), b"photo 0")

    with standing(ours(lambda asked: good())) as server, Client(server.url, concurrency=2) as client:
        predictions = client.predict(endless())
        for number in range(1, 101):
            assert next(predictions).image == str(number)
        assert drawn <= 100 + 2 * 4 + 1


# ---- what a hostile server may do


def test_a_reply_without_end_is_not_read() -> None:
    sent = 0

    def serve(number: int, connection: socket.socket) -> None:
        nonlocal sent
        if not read_request(connection):
            return
        connection.sendall(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(4096):
            connection.sendall(chunk)
            sent += len(chunk)

    with listening(serve) as url, pytest.raises(ServerError, match="answers more than 16,777,216 bytes"):
        answers(url, protocol="v1")
    assert sent < 64 * 1024 * 1024


def test_a_redirect_is_not_followed_and_no_photo_goes_there() -> None:
    with standing(ours(lambda asked: good())) as other:
        to = {"location": f"{other.url}/v1/predict"}
        with (
            standing(lambda asked: (307, b"", to)) as server,
            pytest.raises(ServerError, match=rf"answered 307, a redirect to {other.url}/v1/predict"),
        ):
            answers(server.url, protocol="v1")
    assert other.asked == []


def test_cookies_are_not_kept() -> None:
    with standing(ours(lambda asked: good(set_cookie="who=you; Path=/"))) as server:
        answers(server.url, some(5), concurrency=1)
    assert not any("cookie" in each.headers for each in server.asked)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"[" * 100_000,
        b"[]",
        b"null",
        b'{"results": []}',
        b'{"results": [1]}',
        b'{"results": ["x"]}',
        b'{"results": [{"error": null, "predictions": []}]}',
        b'{"results": [{"error": null, "predictions": [{"class_id": 1e999, "name": "x", "bin": null, "score": 1}]}]}',
        b'{"results": [{"error": null, "predictions": [{"class_id": 1, "name": "x", "bin": 7, "score": 1}]}]}',
        b'{"results": [{"error": null, "predictions": [{"class_id": 1, "name": "x", "bin": null, "score": NaN}]}]}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("protocol", ["v1", "hub", "auto"])
def test_junk_in_place_of_a_reply_is_said_in_one_line(body: bytes, protocol: str) -> None:
    with standing(lambda asked: (200, body, {})) as server, pytest.raises(ServerError) as caught:
        answers(server.url, protocol=protocol)
    assert "repl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reply_that_is_compressed_against_our_wish_is_not_unpacked() -> None:
    import gzip

    packed = gzip.compress(good()[1] + b" " * 10_000_000)
    with (
        standing(lambda asked: (200, packed, {"content-encoding": "gzip"})) as server,
        pytest.raises(ServerError, match="not a reply of garbage serve"),
    ):
        answers(server.url, protocol="v1")
    assert server.asked[0].headers["accept-encoding"] == "identity"


# ---- which protocol


def test_auto_asks_once_and_takes_our_own(garbage: Garbage, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.png", COLOURS["red"])
    with standing(ours(lambda asked: good())) as server:
        quiet = garbage("request", photo, "--url", server.url)
        assert [each.path for each in server.asked] == ["/readyz", "/v1/predict"]
        told = garbage("request", photo, "--url", server.url, "--verbose", "--top-k", 3)
    assert (quiet.code, quiet.err) == (0, "")
    assert told.err == f"{server.url} is a server of garbage's own: photos go to /v1/predict\n"
    assert server.asked[-1].path == "/v1/predict?top_k=3"


def test_auto_knows_a_paddlehub_by_its_first_page(garbage: Garbage, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.png", COLOURS["red"])
    with standing(hub(lambda asked: envelope([[[23], [0.75], 0.01]]))) as server:
        shown = garbage("request", photo, "--url", server.url, "-v", "--top-k", 1)
    assert shown.code == 0
    assert shown.out.startswith("可回收物 Recyclable → 易拉罐 drink can 75.0 %")
    assert "is a PaddleHub: photos go to /predict/garbage_classification or /predict/clas_system" in shown.err
    assert "its class numbers are the 40 kinds" in shown.err
    assert [each.path for each in server.asked] == ["/readyz", "/", "/predict/garbage_classification"]
    sent = json.loads(server.posts[0].body)
    assert (set(sent), len(sent["images"]), sent["top_k"]) == ({"images", "top_k"}, 1, 1)


def test_auto_finds_the_module_of_paddleclas_and_asks_the_other_no_more() -> None:
    def photo(asked: Asked) -> Answer:
        if asked.path != "/predict/clas_system":
            return envelope("", status="111", msg="Module garbage_classification is not available.")
        return envelope([[[1], [0.5], 0.01]])

    with standing(hub(photo)) as server:
        got = answers(server.url, some(5), concurrency=1)
    assert [each.error for each in got] == [None] * 5
    assert [each.path for each in server.posts].count("/predict/garbage_classification") == 1


@pytest.mark.parametrize(
    "reply",
    [(200, b"<h1>Welcome to nginx!</h1>", HTML), (404, b"", HTML), js(["ready"]), js({"ok": True}), (200, b"", {})],
)
def test_auto_says_what_is_neither(reply: Answer) -> None:
    with (
        standing(lambda asked: reply) as server,
        pytest.raises(ServerError, match="not a reply of garbage serve, nor of a PaddleHub"),
    ):
        answers(server.url)
    assert server.posts == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--protocol", "v2"], "no protocol v2; use auto, hub, v1"),
        (["--protocol", "v1", "--module", "m"], "are for a PaddleHub"),
        (["--module", ".."], "is no module's name"),
        (["--concurrency", "0"], "greater than or equal to 1"),
        (["--timeout", "0"], "greater than or equal to 0.1"),
    ],
)
def test_options_that_can_not_be_meant_are_usage_errors(garbage: Garbage, arguments: list[str], said: str) -> None:
    shown = garbage("request", "a.jpg", *arguments)
    assert shown.code == 2
    assert said in " ".join(shown.err.replace("│", " ").split())


# ---- PaddleHub's replies

A = [[23, 37], [0.75, 0.25]]
OBJECTS = [
    {"category": "易拉罐", "category_id": 23, "score": 0.75},
    {"category": "干电池", "category_id": 37, "score": 0.25},
]


@pytest.mark.parametrize(
    "results",
    [
        [[*A, 0.01]],
        [*A, 0.01],
        [A],
        [[[37, 23], [0.25, 0.75], 0.01]],
        [OBJECTS],
        {"prediction": [{"clas_ids": A[0], "scores": A[1]}], "elapse": 0.01},
        {"prediction": [{"class_ids": A[0], "scores": A[1], "label_names": ["易拉罐", "有害垃圾/干电池"]}]},
        {"prediction": [{"class_ids": A[0], "scores": A[1], "label_names": []}]},
        [{"class_ids": A[0], "scores": A[1], "label_names": ["易拉罐", "干电池"]}],
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_every_shape_of_results_is_read(results: Any, swapped: bool) -> None:
    reply = envelope("", msg=results) if swapped else envelope(results)
    with standing(hub(lambda asked: reply)) as server:
        answer = only(server.url, protocol="hub")
    assert [(each.label.class_id, each.label.text, each.score) for each in answer.scores] == [
        (23, "可回收物/易拉罐", 0.75),
        (37, "有害垃圾/干电池", 0.25),
    ]


@pytest.mark.parametrize(
    "results",
    [
        "words",
        7,
        {},
        {"prediction": 1},
        {"prediction": []},
        [],
        [1],
        [[1]],
        [[[1], [0.5], 0.1], [[2], [0.5], 0.1]],
        [[[1, 2], [0.5], 0.1]],
        [[["1"], [0.5], 0.1]],
        [[[True], [0.5], 0.1]],
        [[[-1], [0.5], 0.1]],
        [[[10**30], [0.5], 0.1]],
        [[[1], ["0.5"], 0.1]],
        [[[1], [float("nan")], 0.1]],
        [[{"category": "x", "score": 1}]],
        [{"daisy": 0.9}],
    ],
)
def test_results_that_can_not_be_read_are_said_in_one_line(results: Any) -> None:
    with (
        standing(hub(lambda asked: envelope(results))) as server,
        pytest.raises(ServerError, match="answers what can't be read"),
    ):
        answers(server.url, protocol="hub")


def test_status_101_is_that_photos_error_in_the_servers_words() -> None:
    bad = envelope("", status="101", msg="images[0]: not an image we read")
    reply = hub(lambda asked: bad if b"cGhvdG8gMQ==" in asked.body else envelope([[*A, 0.1]]))
    with standing(reply) as server:
        got = answers(server.url, some(3))
    assert [each.error for each in got] == [None, "not an image we read", None]


@pytest.mark.parametrize("field", ["msg", "results"])
def test_a_status_101_within_a_gpus_000_is_that_photos_error(field: str) -> None:
    inner = {"status": "101", "msg": "images[0]: out of memory", "results": ""}
    with standing(hub(lambda asked: js({"msg": "", "results": "", "status": "000", field: inner}))) as server:
        assert only(server.url, protocol="hub").error == "out of memory"


def test_no_classes_are_that_photos_error() -> None:
    with standing(hub(lambda asked: envelope([[[], [], 0.1]], msg="images[0]: damaged"))) as server:
        assert only(server.url).error == "damaged"
    with standing(hub(lambda asked: envelope([[]]))) as server:
        assert only(server.url).error == "the server named no class"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            envelope("", status="111", msg="Module m is not available."),
            "has no module m; start it with: hub serving start -m m, or name the one it has with --module",
        ),
        (envelope("", status="112", msg="outdated"), r"takes no application/json \(outdated\)"),
        (envelope("", status="999", msg="odd"), "answered status 999: odd"),
        ((500, b"<h1>Internal Server Error</h1>", HTML), "answered 500: not a reply of PaddleHub Serving"),
        ((400, b"<h1>Bad Request</h1>", HTML), "answered 400: not a reply of PaddleHub Serving"),
        (js({"error": "x"}), "answered 200: x"),
    ],
)
def test_what_concerns_all_photos_ends_the_run(reply: Answer, said: str) -> None:
    with standing(hub(lambda asked: reply)) as server, pytest.raises(ServerError, match=said):
        answers(server.url, some(3), protocol="hub", module="m")
    assert server.posts[0].path == "/predict/m"


def test_numbers_beyond_the_40_are_shown_as_they_are(garbage: Garbage, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.png", COLOURS["red"])
    with standing(hub(lambda asked: envelope([[[3, 57], [0.5, 0.25], 0.1]]))) as server:
        told = json.loads(garbage("request", photo, "--url", server.url, "--json").out)
        shown = garbage("request", photo, "--url", server.url)
    assert [(each["name"], each["bin"]) for each in told["predictions"]] == [("3", None), ("57", None)]
    assert (told["bin"], told["sure"]) == (None, True)
    assert shown.code == 0
    assert shown.out.startswith("? → 3 50.0 %")


def test_labels_that_are_given_count_before_all_others() -> None:
    named = Labels.parse(["a", "有害垃圾/b"])
    objects = [[{"category": "x", "category_id": 1, "score": 0.7}, {"category": "y", "category_id": 2, "score": 0.1}]]
    with standing(hub(lambda asked: envelope(objects))) as server:
        answer = only(server.url, labels=named)
    assert [each.label.text for each in answer.scores] == ["有害垃圾/b", "y"]
    with standing(hub(lambda asked: envelope([[[1, 2], [0.7, 0.1], 0]]))) as server:
        answer = only(server.url, labels=named)
    assert [each.label.text for each in answer.scores] == ["有害垃圾/b", "2"]


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31mb", "a\nb", "\u202eevil", 7, None, ["x"]])
def test_a_name_that_is_none_gives_way_to_the_40(name: Any) -> None:
    with standing(hub(lambda asked: envelope([[{"category": name, "category_id": 23, "score": 0.7}]]))) as server:
        answer = only(server.url)
    assert [each.label for each in answer.scores] == [THE_40[23]]


def test_labels_are_read_from_a_bundle_a_data_set_and_files(tmp_path: Path) -> None:
    bundle = make_colour_bundle(tmp_path / "inference")
    assert [label.name for label in read_labels(bundle).items] == ["干电池", "菜叶菜根", "易拉罐"]
    (tmp_path / "data").mkdir()
    rule = tmp_path / "data" / "garbage_classify_rule.json"
    rule.write_text('{"0": "其他垃圾/烟蒂"}')
    assert read_labels(rule).texts == read_labels(tmp_path / "data").texts == ("其他垃圾/烟蒂",)
    (tmp_path / "labels.txt").write_text("锅\n包\n")
    assert read_labels(tmp_path / "labels.txt").texts == ("可回收物/锅", "可回收物/包")


@pytest.mark.parametrize("what", ["gone.txt", "empty", "blank.txt", "junk.json"])
def test_labels_that_are_none_name_their_place(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n")
    (tmp_path / "junk.json").write_text("{")
    with pytest.raises(DatasetError, match=what):
        read_labels(tmp_path / what)


# ---- keys


@pytest.mark.parametrize("protocol", [ours, hub])
def test_the_key_is_sent_as_a_bearer_token_and_shown_nowhere(
    garbage: Garbage, tmp_path: Path, protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    (tmp_path / "key").write_text("# of the bin at the door\n\n  s3cr3t  \nsecond\n")
    photo = save_photo(tmp_path / "a.png", COLOURS["red"])
    answer = good() if protocol is ours else envelope([[*A, 0.1]])
    with standing(protocol(lambda asked: answer)) as server:
        shown = garbage("request", photo, "--url", server.url, "--api-key-file", tmp_path / "key", "--json", "-v")
    assert shown.code == 0
    assert {each.headers["authorization"] for each in server.asked} == {"Bearer s3cr3t"}
    assert "s3cr3t" not in shown.out + shown.err + caplog.text


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_asks_for_a_key_says_how_to_give_one(status: int) -> None:
    with standing(ours(lambda asked: js({"error": "no"}, status))) as server:
        with pytest.raises(ServerError, match="asks for an API key; give it with --api-key-file"):
            answers(server.url)
        with pytest.raises(ServerError, match="does not take the API key that it was given") as caught:
            answers(server.url, key="s3cr3t")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't read the API key file .*: No such file"),
        (b"", "is empty; put the key on its first line"),
        (b"\n# only words\n\n", "is empty"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"two words\n", "holds spaces or letters that no header can carry"),
        ("钥匙\n".encode(), "holds spaces or letters that no header can carry"),
    ],
)
def test_a_key_file_without_a_key_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "my.key").write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_api_key(tmp_path / "my.key")
    assert "my.key" in str(caught.value)


def test_a_key_that_goes_over_a_network_unencrypted_is_told() -> None:
    for url, number in [
        ("http://192.0.2.7:8866", 1),
        ("https://192.0.2.7:8866", 0),
        ("http://localhost:8866", 0),
        ("http://127.3.2.1", 0),
    ]:
        told: list[str] = []
        Client(url, key="s3cr3t", tell=told.append).close()
        assert len(told) == number, url
        assert not any("s3cr3t" in line for line in told)


def test_a_password_in_the_address_is_shown_nowhere() -> None:
    with (
        standing(ours(lambda asked: js({"error": "no"}, 400))) as server,
        pytest.raises(ServerError, match="answered 400") as caught,
    ):
        answers(server.url.replace("http://", "http://me:s3cr3t@"))
    assert "s3cr3t" not in str(caught.value)
    assert server.asked[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("url", ["http://x/?a=b", "http://x#y", "http://a b", "http://x\n", "http://\x00"])
def test_what_else_is_no_address_is_said(url: str) -> None:
    with pytest.raises(ServerError, match="is no server address"):
        Client(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:s3cret@host:x", "http://host:x"),
        ("http://user:s3cret@host/?a=1", "http://host/?a=1"),
        ("http://user:s3/cret@more@host", "http://host"),
        ("ftp://user:s3cret@host", "ftp://host"),
        ("user:s3cret@host", "host"),
        ("http://us\ner:s3cret@[host", "http://[host"),
    ],
)
def test_a_password_in_what_is_no_address_is_not_shown(url: str, shown: str) -> None:
    with pytest.raises(ServerError) as caught:
        Client(url)
    assert str(caught.value).startswith(f"{shown!r} is no server address")
    assert "s3" not in str(caught.value)


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key that nobody signed, for 127.0.0.1."""
    file = tmp_path_factory.mktemp("tls") / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=garbage"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", str(file) + ".crt"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def test_a_certificate_that_nobody_signed_is_said_in_one_line_and_can_be_named(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with standing(ours(lambda asked: good()), tls=context) as server:
        with pytest.raises(ServerError, match=r"can't be trusted: self.signed certificate; .*SSL_CERT_FILE"):
            answers(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        assert only(server.url).error is None
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.gone")
        with pytest.raises(ServerError, match="certificates that the environment names can't be read"):
            answers(server.url)


def test_https_to_a_server_without_tls_is_said() -> None:
    with (
        standing(ours(lambda asked: good())) as server,
        pytest.raises(ServerError, match=r"no TLS with https://.*; does it speak http://"),
    ):
        answers(server.url.replace("http://", "https://"))


# ---- the summary, the terminal and Ctrl-C


def test_percentiles_are_within_one_percent() -> None:
    pace = Pace()
    pace.begin()
    for i in range(1, 1001):
        pace.answered(i / 1000)
    pace.failed()
    summary = pace.summary()
    assert (summary.answered, summary.failed) == (1000, 1)
    assert summary.p50 == pytest.approx(0.5, rel=0.0101)
    assert summary.p99 == pytest.approx(0.99, rel=0.0101)


def test_times_of_any_length_take_no_more_memory() -> None:
    pace = Pace()
    for i in range(-400, 400):
        pace.answered(10.0 ** (i / 10))
    pace.answered(0.0)
    assert len(pace._steps) < 1200
    assert pace.summary().p50 is not None


def test_the_summary_counts_answers_failures_and_retries(pauses: list[float]) -> None:
    busy = iter([True, True, True])

    def photo(asked: Asked) -> Answer:
        if next(busy, False):
            return BUSY
        return good(error="no photo") if asked.body == b"photo 3" else good()

    with standing(ours(photo)) as server, Client(server.url) as client:
        list(client.predict([*some(6), Photo("empty", b""), Photo("gone", Path("/nowhere/x"))]))
        summary = client.summary
    assert (summary.answered, summary.failed, summary.retries) == (5, 3, 3)
    assert summary.p50 is not None
    assert summary.p99 is not None
    assert 0 < summary.p50 <= summary.p99
    assert summary.per_second > 0


def test_after_several_photos_stands_how_fast_they_were_answered(garbage: Garbage, photos: Path) -> None:
    reply = ours(lambda asked: good(error="broken") if len(asked.body) == 200 else good())
    with standing(reply) as server:
        shown = garbage("request", photos, "--url", server.url)
        told = garbage("request", photos, "--url", server.url, "--json")
        alone = garbage("request", photos / "a red.jpg", "--url", server.url, "--json")
    counted, pace = shown.err.splitlines()
    assert counted == "3 answered, 1 failed"
    assert [word.split()[0] for word in pace.split(", ")][1:] == ["p50", "p99"]
    assert pace.split(", ")[0].endswith(" photos/s")
    assert told.err.startswith("3 answered, 1 failed; ")
    assert len(told.err.splitlines()) == 1
    assert [json.loads(line)["error"] for line in told.out.splitlines()].count(None) == 3
    assert (shown.code, told.code, alone.code, alone.err) == (1, 1, 0, "")


def test_the_summary_fits_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from garbage_cli.client import Summary

    tell_pace(Summary(128, 2, 3, 3.1, 0.18, 0.402), json=True)
    said = capsys.readouterr().err
    assert said == "128 answered, 2 failed; 41.3 photos/s, p50 180 ms, p99 402 ms, 3 retries\n"
    assert len(said) <= 81
    tell_pace(Summary(0, 2, 1, 3.0, None, None), json=True)
    assert capsys.readouterr().err == "0 answered, 2 failed; 1 retry\n"
    tell_pace(Summary(2, 0, 0, 60.0, 0.0042, 12.34), json=False)
    assert capsys.readouterr().err == "0.0 photos/s, p50 4.2 ms, p99 12.3 s\n"
    tell_pace(Summary(1, 0, 0, 60.0, 0.0042, 12.34), json=True)
    assert capsys.readouterr().err == ""


@contextmanager
def asking(url: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "garbage_cli", "request", *map(str, arguments), "--url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("trouble", ["hangs", "busy"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_waits_for_no_reply_and_no_pause_and_resume_goes_on(
    tmp_path: Path, garbage: Garbage, trouble: str, number: signal.Signals
) -> None:
    for i in range(12):
        save_photo(tmp_path / f"{i:02}.png", (i, 0, 0))
    end, first = threading.Event(), threading.Semaphore(3)

    def photo(asked: Asked) -> Answer:
        if first.acquire(blocking=False) or end.is_set():
            return good()
        if trouble == "busy":
            return js({}, 503, retry_after="30")
        end.wait(60)
        return good()

    csv = tmp_path / "answers.csv"
    with standing(ours(photo)) as server:
        try:
            with asking(server.url, tmp_path, "--csv", csv, "--concurrency", 1) as process:
                wait_until(lambda: len(server.posts) == 4 and csv.read_text().count("\n") == 1 + 3)
                process.send_signal(number)
                out, err = process.communicate(timeout=20)  # a reply takes 60 s, a pause 30
        finally:
            end.set()
        assert process.returncode == (130 if number == signal.SIGINT else 143)
        assert out == ""
        assert "Traceback" not in err
        assert len(csv.read_text().splitlines()) == 1 + 3
        again = garbage("request", tmp_path, "--csv", csv, "--resume", "--url", server.url)
    assert again.code == 0
    names = [line.split(",")[0] for line in csv.read_text(encoding="utf-8-sig").splitlines()[1:]]
    assert names == [str(tmp_path / f"{i:02}.png") for i in range(12)]


def test_a_server_that_goes_away_leaves_a_file_that_resume_goes_on_with(tmp_path: Path, garbage: Garbage) -> None:
    for i in range(12):
        save_photo(tmp_path / f"{i:02}.png", (i, 0, 0))
    csv = tmp_path / "answers.csv"
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                for _ in range(5):
                    read_request(connection)
                    connection.sendall(raw(good()))

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    broken = garbage("request", tmp_path, "--csv", csv, "--url", url, "--protocol", "v1", "--concurrency", 1)
    thread.join()
    assert broken.code == 1
    talk, error = broken.err.splitlines()
    assert talk == "broken off; 5 answered; go on with the same command and --resume"
    assert error.startswith(f"error: the server at {url} has gone (")
    with standing(ours(lambda asked: good())) as server:
        again = garbage("request", tmp_path, "--csv", csv, "--resume", "--url", server.url)
    assert again.code == 0
    assert len(server.posts) == 7
    assert "7 answered, 5 already in the file" in again.err


def test_no_thread_is_left_after_the_last_answer() -> None:
    with standing(ours(lambda asked: good())) as server:
        answers(server.url, some(20))
    wait_until(lambda: not [thread for thread in threading.enumerate() if "_work" in thread.name])


def test_a_server_says_whether_it_is_ready() -> None:
    with standing(ours(lambda asked: good())) as server, Client(server.url) as client:
        assert client.is_ready()
    with standing(lambda asked: BUSY) as server, Client(server.url) as client:
        assert not client.is_ready()
        assert len(server.asked) == 1
    with standing(hub(lambda asked: good())) as server, Client(server.url, protocol="hub") as client:
        assert client.is_ready()
        assert [each.path for each in server.asked] == ["/"]
    with standing(hub(lambda asked: envelope([[[23], [0.75], 0.1]]))) as server, Client(server.url) as client:
        assert client.is_ready()
        assert [each.error for each in client.predict(some(1))] == [None]
        assert [each.path for each in server.asked if each.method == "GET"] == ["/readyz", "/", "/"]
    with Client(server.url) as client:
        assert not client.is_ready()
