"""A load generator: so many callers with a connection each, every one sending its next photo when its answer is there.

    python benchmarks/serving_load.py < WISH.json > FIGURES.json

Knows bytes on sockets. Does not know models, servers or anything outside the standard library: it shares the cores with
the server that it measures, so it is one thread around one selector, and says what it cost itself.

A connection is kept as long as the server keeps it. An answer of 503 is asked for again after a rest, and its time
counts from the first try. No answer at all, or a wrong one, is a failure, after which the caller takes the next photo.
"""

import base64
import json
import math
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

REST = 0.02
"""Seconds before a request that was answered 503 is sent again."""
PATIENCE = 60.0
"""Seconds without a single answer, after which the rest are failures."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be sent, and for how long."""

    port: int
    path: str
    base64: bool
    """Whether a photo travels as `{"images": [base64], "top_k": 1}`, as PaddleHub's clients send it, or as it is."""
    good: str
    """What the body of every good answer holds."""
    photos: list[str]
    concurrency: int
    seconds: float


@dataclass(slots=True)
class Figures:
    """What came of it."""

    concurrency: int
    rate: float = 0.0
    """Good answers per second."""
    p50: float = math.nan
    """Milliseconds of a good answer."""
    p99: float = math.nan
    answered: int = 0
    failed: int = 0
    failure: str = ""
    """The first one's."""
    retried: int = 0
    """Answers of 503."""
    connections: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """CPU seconds of this process."""


class Caller:
    """A connection that sends a request, waits for its answer, and goes on with the next one."""

    __slots__ = ("begun", "end", "fresh", "number", "received", "rest", "socket", "until")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.fresh = True
        self.number, self.begun, self.end = 0, 0.0, 0
        self.rest: memoryview = memoryview(b"")
        self.received = bytearray()
        self.until = -1
        """How many bytes the answer has; -1 until its head is there, -2 where it comes in chunks, -3 up to its end."""


class Load:
    """All callers around one selector."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.requests = [request(Path(photo).read_bytes(), wish) for photo in wish.photos]
        self.selector = selectors.DefaultSelector()
        self.figures = Figures(wish.concurrency)
        self.times: list[float] = []
        self.resting: list[tuple[float, Caller]] = []
        self.next, self.busy, self.end = 0, 0, 0.0

    def run(self) -> Figures:
        """Send until the time is over, wait for what is under way, and return the figures."""
        begun, cpu = time.perf_counter(), time.process_time()
        self.end = last = begun + self.wish.seconds
        for _ in range(self.wish.concurrency):
            self.busy += 1
            self.take(Caller())
        last = begun
        while self.busy:
            self.wake()
            done = self.figures.answered + self.figures.failed + self.figures.retried
            for key, mask in self.selector.select(0.005 if self.resting else 1.0):
                caller: Caller = key.data
                if mask & selectors.EVENT_WRITE:
                    self.send(caller)
                else:
                    self.receive(caller)
            now = time.perf_counter()
            if self.figures.answered + self.figures.failed + self.figures.retried > done:
                last = now
            elif now - last > PATIENCE:
                self.figures.failed += self.busy
                self.figures.failure = self.figures.failure or f"no answer in {PATIENCE:.0f} s"
                break
        figures = self.figures
        figures.seconds, figures.cpu = last - begun, time.process_time() - cpu
        figures.rate = figures.answered / figures.seconds if figures.answered else 0.0
        self.times.sort()
        figures.p50, figures.p99 = (1000 * percentile(self.times, share) for share in (0.5, 0.99))
        return figures

    def take(self, caller: Caller) -> None:
        """Begin with the next photo, or stop if the time is over."""
        if (now := time.perf_counter()) >= self.end:
            self.busy -= 1
            self.close(caller)
            return
        caller.number, caller.begun = self.next, now
        self.next += 1
        self.begin(caller)

    def begin(self, caller: Caller) -> None:
        caller.rest = memoryview(self.requests[caller.number % len(self.requests)])
        caller.received.clear()
        caller.until = -1
        if caller.socket is None:
            try:
                caller.socket = socket.create_connection(("127.0.0.1", self.wish.port), timeout=10)
            except OSError as error:
                self.fail(caller, f"no connection: {error}")
                return
            self.figures.connections += 1
            caller.fresh = True
            caller.socket.setblocking(False)
            caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(caller.socket, selectors.EVENT_READ, caller)
        self.send(caller)

    def send(self, caller: Caller) -> None:
        assert caller.socket is not None
        try:
            sent = caller.socket.send(caller.rest)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.lost(caller, f"while sending: {error}")
            return
        whole = sent == len(caller.rest)
        was_waiting = bool(self.selector.get_key(caller.socket).events & selectors.EVENT_WRITE)
        caller.rest = caller.rest[sent:]
        if was_waiting == whole:  # most requests go out at once, and the selector hears nothing of them
            events = selectors.EVENT_READ if whole else selectors.EVENT_READ | selectors.EVENT_WRITE
            self.selector.modify(caller.socket, events, caller)

    def receive(self, caller: Caller) -> None:
        assert caller.socket is not None
        try:
            data = caller.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(caller, f"while reading: {error}")
            return
        if not data:
            if caller.until == -3:
                self.answered(caller)
            else:
                self.lost(caller, "the connection was closed before the answer")
            return
        received = caller.received
        received += data
        if caller.until == -1:
            if (head := received.find(b"\r\n\r\n")) < 0:
                return
            caller.end = head + 4
            caller.until = length(bytes(received[:head]).lower(), caller.end)
        if len(received) == caller.until or (caller.until == -2 and received.endswith(b"\r\n0\r\n\r\n")):
            self.answered(caller)

    def answered(self, caller: Caller) -> None:
        received = bytes(caller.received)
        head = received[: caller.end].lower()
        if caller.until == -3 or b"connection: close" in head or head.startswith(b"http/1.0"):
            self.close(caller)
        caller.fresh = False
        status = received[9:12]
        if status == b"503":
            self.figures.retried += 1
            self.resting.append((time.perf_counter() + REST, caller))
            return
        body = received[caller.end :]
        if status != b"200" or self.wish.good.encode() not in body:
            self.fail(caller, f"HTTP {status.decode()} {body[:200]!r}")
            return
        self.times.append(time.perf_counter() - caller.begun)
        self.figures.answered += 1
        self.take(caller)

    def lost(self, caller: Caller, why: str) -> None:
        """A kept connection may be closed just when it is used again: that is tried once more. Else it is a failure."""
        self.close(caller)
        if caller.fresh or caller.received:
            self.fail(caller, why)
        else:
            self.begin(caller)

    def fail(self, caller: Caller, why: str) -> None:
        self.figures.failed += 1
        self.figures.failure = self.figures.failure or why
        self.close(caller)
        self.resting.append((time.perf_counter() + REST, caller))
        caller.number = -1

    def wake(self) -> None:
        """Send on those whose rest is over: the same photo after a 503, the next one after a failure."""
        now = time.perf_counter()
        due = [caller for when, caller in self.resting if when <= now]
        if due:
            self.resting = [each for each in self.resting if each[0] > now]
        for caller in due:
            if caller.number < 0:
                self.take(caller)
            else:
                self.begin(caller)

    def close(self, caller: Caller) -> None:
        if caller.socket is not None:
            self.selector.unregister(caller.socket)
            caller.socket.close()
            caller.socket = None


def request(photo: bytes, wish: Wish) -> bytes:
    """The whole request for a photo, made before the clock runs."""
    body, kind = photo, "image/jpeg"
    if wish.base64:
        body = json.dumps({"images": [base64.b64encode(photo).decode()], "top_k": 1}).encode()
        kind = "application/json"
    head = f"POST {wish.path} HTTP/1.1\r\nHost: 127.0.0.1:{wish.port}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def length(head: bytes, end: int) -> int:
    """How many bytes an answer has in all, by its head; -2 if it comes in chunks, -3 if its end is the stream's."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return end + int(value)
        if name == b"transfer-encoding":
            return -2
    return -3


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that is not exceeded by `share` of all; NaN of none."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def main() -> None:
    json.dump(asdict(Load(Wish(**json.load(sys.stdin))).run()), sys.stdout)


if __name__ == "__main__":
    main()
