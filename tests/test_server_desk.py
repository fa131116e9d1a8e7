"""What the server is made of: the desk, connections, the supervisor, multipart bodies, free memory."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from conftest import COLOUR_LABELS
from starlette.requests import ClientDisconnect, Request

from garbage_cli.prediction import Photo, Prediction
from garbage_cli.server import memory, protocol, supervisor
from garbage_cli.server.desk import Asked, Desk, Refused, Ticket
from garbage_cli.server.metrics import Metrics
from garbage_cli.server.model import Answer, Model
from garbage_cli.server.multipart import MAX_FIELDS, read_files
from garbage_cli.server.options import ServeOptions
from garbage_cli.server.worker import Loaded, Ready
from garbage_cli.wire import RequestError

# ---- the desk


class Photos:
    """A model of which each photo waits until it is let."""

    threads = 2

    def __init__(self) -> None:
        self.waiting = 0
        self.submitted: list[str] = []
        self.begun: list[str] = []
        self.let = threading.Semaphore(0)
        self.closed = 0
        self.predictor = SimpleNamespace(top_k=1)
        self.bundle = SimpleNamespace(labels=COLOUR_LABELS)
        self._pool = ThreadPoolExecutor(self.threads)

    def submit(self, item: Photo, top_k: int) -> "Future[Answer]":
        self.submitted.append(item.name)
        return self._pool.submit(self._answer, item)

    def _answer(self, item: Photo) -> Answer:
        self.begun.append(item.name)
        self.let.acquire()
        return Answer(Prediction(item.name, error="none"), 0.0, 0.0, 0.0)

    def close(self) -> None:
        self.closed += 1
        self._pool.shutdown(wait=False)

    def seconds_at_work(self) -> float:
        return 0.0


class Client:
    """Sends a body in pieces as it is told, and hangs up as it is told."""

    def __init__(self, *pieces: bytes, address: str = "a", whole: bool = True) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for piece in pieces:
            self.send(piece)
        if whole:
            self.send(b"", more=False)
        self.request = Request({"type": "http", "headers": [], "method": "POST"}, self.messages.get)
        self.ticket = Ticket("id", 0.0, address)

    def send(self, piece: bytes, *, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def hang_up(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def ask(self, desk: Desk, *names: str) -> list[str]:
        """Have photos of these names answered."""

        def parse(body: bytes, model: Model) -> tuple[Asked, None]:
            return Asked([Photo(name, b"") for name in names]), None

        _, _, predictions = await desk.take(self.request, self.ticket, parse)
        return [each.image for each in predictions]


def desk_of(model: Photos, **options: Any) -> Desk:
    return Desk(model, ServeOptions(Path("x"), **options), Metrics(routes=(), bins=()))  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


@pytest.fixture
def model() -> Iterator[Photos]:
    made = Photos()
    yield made
    made.let.release(10_000)
    made.close()


def test_a_request_of_many_photos_does_not_keep_a_single_one_waiting_for_all(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model)
        many = asyncio.create_task(Client().ask(desk, *(f"{i}" for i in range(200))))
        await until(lambda: len(model.begun) == 2)
        single = asyncio.create_task(Client(address="b").ask(desk, "single"))
        await until(lambda: "single" in model.submitted)
        model.let.release(4)
        assert await single == ["single"]
        assert model.begun.index("single") <= 4
        assert not many.done()
        model.let.release(200)
        assert await many == [f"{i}" for i in range(200)]
        assert model.begun.count("7") == 1

    asyncio.run(scene())


@pytest.mark.parametrize("names", [["1"], ["1", "2", "3", "4", "5"]])
def test_what_has_not_begun_when_the_client_hangs_up_never_begins(model: Photos, names: list[str]) -> None:
    async def scene() -> None:
        desk = desk_of(model)
        busy = asyncio.create_task(Client().ask(desk, "busy", "busy too"))
        await until(lambda: len(model.begun) == 2)
        client = Client(address="b")
        asked = asyncio.create_task(client.ask(desk, *names))
        await until(lambda: "1" in model.submitted)
        await asyncio.sleep(0.05)
        client.hang_up()
        with pytest.raises(ClientDisconnect):
            await asked
        assert desk._inside == 1
        model.let.release(10)
        await busy
        assert await asyncio.wait_for(Client().ask(desk, "later"), 30) == ["later"]
        assert sorted(model.begun) == ["busy", "busy too", "later"]

    asyncio.run(scene())


def test_over_the_time_limit_a_place_is_given_back_and_what_waits_is_dropped(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model, timeout=0.5, queue=1)
        for _ in range(3):
            with pytest.raises(Refused, match=r"not answered within 0\.5 seconds") as refused:
                await Client().ask(desk, "1", "2", "3")
            assert (refused.value.status, refused.value.reason) == (503, "timeout")
            assert (refused.value.retry_after or 0) >= 1
            assert (desk._inside, desk._held, len(desk._clients)) == (0, 0, 0)
        model.let.release(10)
        await until(lambda: model._pool._work_queue.empty())
        assert model.begun == ["1", "2"]

    asyncio.run(scene())


def test_a_full_desk_refuses_with_a_wait_and_counts_no_more_than_its_places(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model, queue=3)
        inside = [asyncio.create_task(Client().ask(desk, "x")) for _ in range(3)]
        await until(lambda: desk._inside == 3)
        for _ in range(5):
            with pytest.raises(Refused, match="busy: 3 requests are under way") as refused:
                await Client(b"body").ask(desk, "y")
            assert (refused.value.status, refused.value.reason) == (503, "busy")
            assert 1 <= (refused.value.retry_after or 0) <= 30
        model.let.release(9)
        await asyncio.gather(*inside)
        assert await Client().ask(desk, "z") == ["z"]
        assert desk._inside == 0

    asyncio.run(scene())


def test_a_slow_body_holds_no_place_and_its_end_may_find_the_desk_full(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model, queue=1)
        slow = Client(b"half", whole=False)
        asked = asyncio.create_task(slow.ask(desk, "slow"))
        await until(lambda: desk._held == 4)
        other = asyncio.create_task(Client(address="b").ask(desk, "other"))
        await until(lambda: desk._inside == 1)
        slow.send(b"", more=False)
        with pytest.raises(Refused, match="busy"):
            await asked
        model.let.release(9)
        assert await other == ["other"]

    asyncio.run(scene())


def test_bodies_together_are_held_up_to_a_limit(model: Photos) -> None:
    model.let.release(100)

    async def scene() -> None:
        desk = desk_of(model)
        desk._may_hold = 1000
        first = Client(b"x" * 800, whole=False)
        asked = asyncio.create_task(first.ask(desk, "first"))
        await until(lambda: desk._held == 800)
        with pytest.raises(Refused, match="too many large bodies") as refused:
            await Client(b"x" * 300).ask(desk, "second")
        assert (refused.value.status, refused.value.reason, refused.value.retry_after) == (503, "busy", 1)
        assert desk._held == 800
        assert await Client(b"x" * 200).ask(desk, "third") == ["third"]
        first.send(b"", more=False)
        assert await asked == ["first"]
        assert desk._held == 0

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [({"read_seconds": 0.05}, 408, "slow"), ({"max_body": 5}, 413, "too large")],
)
def test_bodies_that_do_not_come_or_do_not_end_are_refused(
    model: Photos, options: dict[str, Any], status: int, reason: str
) -> None:
    async def scene() -> None:
        desk = desk_of(model, **options)
        with pytest.raises(Refused) as refused:
            await Client(b"123", b"456", whole=False).ask(desk, "x")
        assert (refused.value.status, refused.value.reason) == (status, reason)
        assert (desk._held, desk._inside, len(desk._clients)) == (0, 0, 0)
        assert model.begun == []

    asyncio.run(scene())


def test_a_hang_up_in_the_middle_of_a_body_gives_all_back(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model, per_client=1)
        client = Client(b"half", whole=False)
        client.hang_up()
        with pytest.raises(ClientDisconnect):
            await client.ask(desk, "x")
        assert (desk._held, desk._inside, len(desk._clients)) == (0, 0, 0)

    asyncio.run(scene())


def test_requests_are_counted_by_client_and_forgotten(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model, per_client=2)
        mine = [asyncio.create_task(Client(address="a").ask(desk, "x")) for _ in range(2)]
        await until(lambda: desk._inside == 2)
        with pytest.raises(Refused, match="2 requests of yours") as refused:
            await Client(address="a").ask(desk, "x")
        assert (refused.value.status, refused.value.reason, refused.value.retry_after) == (429, "rate", 1)
        theirs = asyncio.create_task(Client(address="b").ask(desk, "y"))
        await until(lambda: desk._inside == 3)
        model.let.release(9)
        await asyncio.gather(*mine, theirs)
        assert not desk._clients

    asyncio.run(scene())


def test_a_model_that_is_swapped_out_closes_once_and_after_its_last_user(model: Photos) -> None:
    async def scene() -> None:
        desk = desk_of(model)
        asked = [asyncio.create_task(Client().ask(desk, name)) for name in "ab"]
        await until(lambda: len(model.begun) == 2)
        new = Photos()
        new.let.release(10)
        desk.swap(new, desk.options)  # type: ignore[arg-type]
        assert await Client().ask(desk, "c") == ["c"]
        assert (new.begun, model.closed) == (["c"], 0)
        model.let.release()
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert model.closed == 0
        model.let.release()
        await asyncio.gather(*asked)
        assert model.closed == 1
        newest = Photos()
        desk.swap(newest, desk.options)  # type: ignore[arg-type]
        assert (new.closed, newest.closed) == (1, 0)  # nobody used it
        assert not desk._users
        newest.close()

    asyncio.run(scene())


def test_an_engine_that_fails_fails_its_request_and_no_other(model: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    model.let.release(100)
    answer = model._answer

    def fail(item: Photo) -> Answer:
        if item.name == "bad":
            raise RuntimeError("the engine")
        return answer(item)

    monkeypatch.setattr(model, "_answer", fail)

    async def scene() -> None:
        desk = desk_of(model)
        bad = asyncio.create_task(Client().ask(desk, "1", "bad", "2"))
        assert await Client().ask(desk, "good") == ["good"]
        with pytest.raises(RuntimeError, match="the engine"):
            await bad
        assert (desk._inside, len(desk._users)) == (0, 0)

    asyncio.run(scene())


def test_a_model_counts_who_waits_also_after_they_were_cancelled(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(ServeOptions(colour_bundle), threads=1, tell=lambda text: None)
    let = threading.Event()
    monkeypatch.setattr(model.predictor, "prepare", lambda photo: let.wait() and (_ for _ in ()).throw(OSError("x")))
    begun = [model.submit(Photo("x", b""), 1) for _ in range(model.threads)]
    while model.waiting:
        time.sleep(0.002)
    waiting = [model.submit(Photo("x", b""), 1) for _ in range(5)]
    assert model.waiting == 5
    assert model.seconds_at_work() > 0
    assert all(each.cancel() for each in waiting)
    assert model.waiting == 0
    let.set()
    assert all(isinstance(each.exception(), OSError) for each in begun)
    assert model.seconds_at_work() == 0
    model.close()
    assert model.bundle.name == "Colours"  # replies that are being written name it


# ---- connections


@contextmanager
def hosting(app: Callable[..., Awaitable[None]]) -> Iterator[tuple[str, int]]:
    """uvicorn with our protocol, in a thread."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, http=protocol.Protocol, ws="none", lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer without reading the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def rest(connection: socket.socket) -> bytes:
    pieces = []
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience."""
    for name in ("HEADER_SECONDS", "DISCARD_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(protocol, name, 0.3)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"G", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nA: b\r\n", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nA: b\r\nConnection: upgrade\r\nUpgrade: h2c\r\n", b"HTTP/1.1 408 "),
    ],
)
def test_a_head_that_does_not_come_ends_the_connection(quick: None, sent: bytes, answer: bytes) -> None:
    with hosting(hello) as address, connect(address) as connection:
        connection.sendall(sent)
        assert rest(connection)[: len(answer) or 1] == answer


def test_a_second_head_that_does_not_come_ends_the_connection_too(quick: None) -> None:
    with hosting(hello) as address, connect(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\nGET / HTT")
        answers = rest(connection)
    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"HTTP/1.1 408 ") == 1


def test_the_rest_of_a_refused_body_is_read_for_a_while(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with hosting(hello) as address, connect(address) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nx")
        assert rest(connection).endswith(b"hello")  # closed when the rest did not come
        for name in ("HEADER_SECONDS", "DISCARD_SECONDS"):
            monkeypatch.setattr(protocol, name, 60)
        with connect(address) as patient:
            patient.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
            patient.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert rest(patient).count(b"hello") == 2


def test_a_client_that_takes_no_answers_is_cut_off(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pour(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(50_000_000)})

    ended = threading.Event()
    forget = protocol.Protocol.connection_lost
    monkeypatch.setattr(protocol.Protocol, "connection_lost", lambda self, exc: (forget(self, exc), ended.set()))
    with hosting(pour) as address, connect(address) as deaf:
        deaf.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert ended.wait(60)
        assert len(rest(deaf)) < 50_000_000


def test_one_connection_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Protocol, "max_connections", 2)
    with hosting(hello) as address:
        open_ones = [connect(address), connect(address)]
        for each in open_ones:
            each.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert each.recv(1000)
        with connect(address) as third:
            answer = rest(third)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for each in open_ones:
            each.close()


# ---- the supervisor


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Fake:
    """A worker that says what it is told to, and dies when it is told to."""

    made: list["Fake"]

    def __init__(self, options: ServeOptions, listener: object) -> None:
        self.options = options
        self.pid = 1000 + len(self.made)
        self.born = supervisor.time.monotonic()
        self.is_ready = False
        self.hangs = False
        self.said: list[object] = []
        self.told: list[object] = []
        self.alive = True
        self.process = SimpleNamespace(
            is_alive=lambda: self.alive, join=lambda *a: None, kill=self.die, terminate=self.die, exitcode=1
        )
        self.link = SimpleNamespace(send=self._told, close=lambda: None)
        self.made.append(self)

    def is_hung(self, since: float) -> bool:
        self.since = since
        return self.hangs

    def _told(self, value: object) -> None:
        self.told.append(value)
        self.said.append(Loaded())

    def die(self) -> None:
        self.alive = False

    def hear(self, seconds: float) -> object:
        if not self.alive:
            raise EOFError
        return self.said.pop(0) if self.said else None

    def end(self) -> str:
        return "ended with exit code 1"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(supervisor, "time", made)
    monkeypatch.setattr(supervisor, "_Worker", Fake)
    Fake.made = []
    return made


def supervise(**options: Any) -> tuple[supervisor.Supervisor, list[str], list[int]]:
    said: list[str] = []
    forgotten: list[int] = []
    given = ServeOptions(Path("model"), **options)
    made = supervisor.Supervisor(
        given,
        SimpleNamespace(close=lambda: None),  # type: ignore[arg-type]
        SimpleNamespace(forget=forgotten.append),  # type: ignore[arg-type]
        renew=lambda options: ServeOptions(Path("model"), workers=options.workers, top_k=9),
        tell=said.append,
    )
    return made, said, forgotten


def test_a_worker_that_dies_again_and_again_is_started_after_growing_pauses(clock: Clock) -> None:
    supervised, said, forgotten = supervise()
    births: list[float] = []
    for _ in range(4000):
        supervised._look_after()
        for worker in Fake.made[len(births) :]:
            births.append(clock.now)
            worker.alive = False
        clock.now += 0.05
    pauses = [round(births[i + 1] - births[i]) for i in range(7)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert len(forgotten) >= 7  # their figures are kept, their gauges are not
    assert said[1] == "worker 1001 ended with exit code 1; another one is started in 2 s"


def test_a_worker_that_lived_is_replaced_at_once(clock: Clock) -> None:
    supervised, said, _ = supervise()
    supervised._look_after()
    clock.now += 60
    Fake.made[0].die()
    supervised._look_after()
    assert len(Fake.made) == 2
    assert said == ["worker 1000 ended with exit code 1; another one is started"]


def test_a_worker_that_hangs_is_replaced(clock: Clock) -> None:
    supervised, said, _ = supervise()
    supervised._look_after()
    clock.now += 60
    Fake.made[0].hangs = True
    supervised._look_after()
    assert not Fake.made[0].alive
    assert len(Fake.made) == 2
    assert said[0] == "worker 1000 hangs; it is replaced"


def test_a_worker_counts_as_hung_by_its_beat_or_if_it_loads_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = object.__new__(supervisor._Worker)
    now = time.monotonic()
    worker.beat = SimpleNamespace(value=0.0)
    worker.is_ready, worker.born = False, now
    long_ago = now - 10_000
    assert not worker.is_hung(long_ago)
    worker.born = now - supervisor.LOADING - 1
    assert worker.is_hung(long_ago)
    assert not worker.is_hung(now)  # we have been stopped ourselves
    worker.is_ready, worker.beat.value = True, now
    assert not worker.is_hung(long_ago)
    worker.beat.value = now - supervisor.HUNG - 1
    assert worker.is_hung(long_ago)
    assert not worker.is_hung(now)


def test_a_server_that_was_suspended_gives_its_workers_the_time_to_show_life(clock: Clock) -> None:
    supervised, _, _ = supervise()
    supervised._look_after()
    begun = clock.now
    for _ in range(100):
        clock.now += 0.2
        supervised._look_after()
    assert Fake.made[0].since <= begun
    clock.now += 3600  # Ctrl-Z, and fg after lunch
    supervised._look_after()
    assert Fake.made[0].since == clock.now


def test_a_process_that_can_not_be_had_is_told_and_the_others_go_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised, said, _ = supervise(workers=2)
    supervised._look_after()

    def refused(*_: object) -> Fake:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_Worker", refused)
    supervised._look_after()
    supervised._look_after()
    assert said == ["no new worker (Resource temporarily unavailable); tried again in 10 s"]
    assert Fake.made[0].alive
    monkeypatch.setattr(supervisor, "_Worker", Fake)
    clock.now += 11
    supervised._look_after()
    assert len(Fake.made) == 2


def test_a_worker_that_loaded_the_old_model_meanwhile_is_reloaded(clock: Clock) -> None:
    supervised, said, _ = supervise(workers=2)
    for _ in range(2):
        supervised._look_after()
    early, late = Fake.made
    early.said.append(Ready(0))
    supervised._look_after()
    supervised._reload_all()
    assert (len(early.told), len(late.told)) == (1, 0)
    late.said.append(Ready(0))
    supervised._look_after()
    assert supervised._reloading is not None
    supervised._reloading.join()
    assert len(late.told) == 1
    supervised._look_after()
    supervised._reloading.join()
    assert len(late.told) == 1  # and no further
    assert said[-1] == "reloaded model in 2 workers"


def test_an_answer_of_the_last_reload_is_not_taken_for_one_of_this(clock: Clock) -> None:
    supervised, said, _ = supervise()
    supervised._look_after()
    (worker,) = Fake.made
    worker.said += [Ready(0)]
    supervised._look_after()
    worker.said.append(Loaded("too late"))
    supervised._reload_all()
    assert said == ["reloaded model in 1 worker"]
    assert worker.said == []


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("odd"), KeyError("x")])
def test_whatever_is_wrong_with_a_new_model_the_old_one_goes_on(clock: Clock, error: Exception) -> None:
    supervised, said, _ = supervise()

    def renew(options: ServeOptions) -> ServeOptions:
        raise error

    supervised._renew = renew
    supervised._reload_all()
    assert said == [f"not reloaded, the model before goes on: {error}"]


@pytest.mark.parametrize("error", [BrokenPipeError(), SystemExit(1), ValueError("closed")])
def test_remarks_that_nobody_hears_end_nothing(clock: Clock, error: BaseException) -> None:
    supervised, _, _ = supervise()

    def tell(text: str) -> None:
        raise error

    supervised._tell = supervisor._unfailing(tell)
    supervised._look_after()
    Fake.made[0].die()
    supervised._look_after()
    clock.now += 5
    supervised._look_after()
    assert len(Fake.made) == 2


def test_more_workers_than_fit_into_memory_are_refused(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    from garbage_cli.errors import ServerError

    supervised, _, _ = supervise(workers=8)
    monkeypatch.setattr(supervisor, "free_memory", lambda: 1000 << 20)
    supervised._check_memory(100 << 20)
    with pytest.raises(ServerError, match=r"8 workers need about 8 × 200 MiB.*1000 MiB are free; use --workers 6"):
        supervised._check_memory(200 << 20)
    monkeypatch.setattr(supervisor, "free_memory", lambda: None)
    supervised._check_memory(10**15)


LOADING = """
import time
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from garbage_cli.server import worker
from garbage_cli.server.options import ServeOptions

def load(options, **settings):
    print("loading", flush=True)
    try:
        time.sleep(60)
    except BaseException:
        pass
    raise OSError("nobody told this loader to stop")

worker.Model = load
worker.work(ServeOptions(Path("x")), None, Pipe()[0], SimpleNamespace(), print)
"""


def test_a_stop_while_a_worker_loads_is_heeded_whatever_the_loader_does_with_exceptions() -> None:
    with subprocess.Popen([sys.executable, "-c", LOADING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.terminate()
        assert process.wait(timeout=60) == 0


# ---- free memory


def group(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / f"memory.{name}").write_text(text)
    return root


def test_a_control_group_says_what_is_free_with_the_cache_of_files(tmp_path: Path) -> None:
    root = group(tmp_path, max="1000\n", current="700\n", stat="anon 500\ninactive_file 150\nactive_file 50\n")
    assert memory._of_group(root) == 450
    group(tmp_path, current="1200\n", stat="anon 1\n")
    assert memory._of_group(root) == 0


@pytest.mark.parametrize(
    "files", [{}, {"max": "max\n"}, {"max": "1000\n"}, {"max": "junk", "current": "1", "stat": ""}]
)
def test_a_control_group_without_a_limit_says_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    assert memory._of_group(group(tmp_path, **files)) is None


def test_the_smaller_one_of_machine_and_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, of_group, free in ((5, 3, 3), (5, None, 5), (None, 3, 3), (None, None, None), (5, 0, 0)):
        monkeypatch.setattr(memory, "_of_machine", lambda machine=machine: machine)
        monkeypatch.setattr(memory, "_of_group", lambda of_group=of_group: of_group)
        assert memory.free_memory() == free


# ---- multipart

KIND = "multipart/form-data; boundary=x"


def part(disposition: str, data: bytes = b"1") -> bytes:
    return f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"


FILE = part('name="a"; filename="b"')


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="a"; filename="红 色.png"', "红 色.png"),
        ('name="a"; filename="a\\"b.png"', 'a"b.png'),
        ("name=a; filename=plain.png", "plain.png"),
        ('name="a"; filename="semi;colon.png"', "semi;colon.png"),
        ('name="a"; filename="C:\\photos\\red.png"', "red.png"),
        ('name="a"; filename="plain.png"; filename*=UTF-8\'\'%E7%BA%A2.png', "plain.png"),
        ('name="a"; filename=""', "images[0]"),
        ('filename="no name.png"; name=""', "no name.png"),
        ('name="a"; filename="../../etc/passwd"', "../../etc/passwd"),
    ],
)
def test_a_files_name_is_read_as_it_was_sent(disposition: str, name: str) -> None:
    assert [photo.name for photo in read_files(part(disposition) + b"--x--\r\n", KIND)] == [name]


def test_bytes_of_files_are_kept_as_they_are() -> None:
    data = [b"", b"\r\n", b"--x", b"\r\n--", b"\r\n--y\r\n", bytes(range(256)) * 500]
    body = b"".join(part(f'name="a"; filename="{i}"', each) for i, each in enumerate(data)) + b"--x--\r\n"
    assert [photo.read(max_bytes=10**6) for photo in read_files(body, KIND)] == data


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (FILE, KIND, "breaks off: its last boundary is missing"),
        (FILE[:-8], KIND, "breaks off"),
        (FILE[:20], KIND, "breaks off"),
        (b"", KIND, "breaks off"),
        (FILE + b"--x--\r\n", "multipart/form-data", "names no boundary"),
        (FILE + b"--x--\r\n", "multipart/form-data; boundary=", "names no boundary"),
        (FILE + b"--x--\r\n", "multipart/form-data; boundary*=utf-8''x", "names no boundary"),
        (FILE + b"--x--\r\n", "multipart/form-data; boundary=y", "can't be read"),
        (FILE + b"--x--\r\n", f"multipart/form-data; boundary={'x' * 10_000}", "can't be read"),
        (part("name=\"a\"; filename*=UTF-8''b.png") + b"--x--\r\n", KIND, "holds no file"),
        (part('name="a"') + b"--x--\r\n", KIND, "holds no file"),
        (b"--x\r\n\r\n1\r\n--x--\r\n", KIND, "can't be read"),
        (FILE * 257 + b"--x--\r\n", KIND, "over 256 files"),
        (part('name="a"') * (MAX_FIELDS + 1) + FILE + b"--x--\r\n", KIND, f"over {MAX_FIELDS} fields"),
        (b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", KIND, "can't be read"),
        (b"--x\r\nA: " + b"b" * 1_000_000, KIND, "can't be read"),
    ],
)
def test_a_multipart_body_that_is_no_good_is_said(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_files(body, kind)


def test_256_files_among_as_many_fields_are_taken() -> None:
    assert len(read_files((FILE + part('name="a"')) * 256 + b"--x--\r\n", KIND)) == 256
