"""One worker's desk: takes requests in up to its limits, and has their photos answered.

Knows limits, time-outs and clients that hang up. Does not know routes or the shapes of bodies.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from garbage_cli.errors import ConfigError
from garbage_cli.prediction import Prediction
from garbage_cli.predictor import check_top_k
from garbage_cli.server.keeping import Keeper, open_keeper
from garbage_cli.server.metrics import Metrics, Reason, Stage
from garbage_cli.server.model import Item, Model
from garbage_cli.server.options import ServeOptions
from garbage_cli.wire import RequestError

Result = TypeVar("Result")

HELD_BODIES = 256 * 1024 * 1024
"""Bytes of bodies that a worker holds at once, of all requests together; at least four of the largest."""


class Refused(Exception):
    """A request that is turned away, with the HTTP status and what the metrics call it."""

    def __init__(self, status: int, message: str, reason: Reason, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason: Reason = reason
        self.retry_after = retry_after


@dataclass(slots=True)
class Ticket:
    """What is known of one request, for the log and the metrics."""

    id: str
    begun: float
    client: str
    """Its API key's name, or its address."""
    route: str = "other"
    status: int = 0
    bytes: int = 0
    photos: int = 0
    failed: int = 0
    stages: dict[Stage, float] = field(default_factory=dict)
    """Seconds by stage; of several photos, all of theirs together."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for: photos, those of them that can't even be read answered already."""

    items: Sequence[Item | Prediction]
    top_k: int | None = None


Parse = Callable[[bytes, Model], tuple[Asked, Result]]
"""A body → what it asks for, and what the reply has to know of it. Runs in a thread; raises RequestError."""


class Desk:
    """Takes in requests up to the limits, and has photos answered by the model that is the present one."""

    def __init__(self, model: Model, options: ServeOptions, metrics: Metrics) -> None:
        self.model = model
        self.options = options
        self.metrics = metrics
        self.keeper: Keeper | None = open_keeper(options, model.bundle.labels, metrics) if options.collect else None
        """Keeps photos for a data set, where that is wished."""
        self.draining = False
        """Whether this worker is about to stop: it answers, but takes no more clients on."""
        self._inside = 0
        self._clients: Counter[str] = Counter()
        self._held = 0
        self._may_hold = max(HELD_BODIES, 4 * options.max_body)
        self._seconds = 0.1
        """What a photo takes of one thread, lately."""
        self._parsing = ThreadPoolExecutor(2, "body")
        self._users: Counter[Model] = Counter()

    def close(self) -> None:
        """Stop the threads, once they are done with what they have."""
        self.model.close()
        self._parsing.shutdown(wait=False)
        if self.keeper:
            self.keeper.close()

    def swap(self, model: Model, options: ServeOptions) -> None:
        """Answer from another model, by its options, from now on; the old one goes once nobody waits for it."""
        old, self.model, self.options = self.model, model, options
        if not self._users[old]:
            old.close()

    @property
    def is_stuck(self) -> bool:
        """Whether a photo is at work for so long that nothing will come of it."""
        return self.model.seconds_at_work() > max(60.0, 3 * self.options.timeout)

    async def run(self, work: Callable[..., Result], *args: object) -> Result:
        """Run a body's parsing, or other short blocking work, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._parsing, work, *args)

    async def take(
        self, request: Request, ticket: Ticket, parse: Parse[Result], *, at_once: bool = False
    ) -> tuple[Model, Result, list[Prediction]]:
        """Read a request, have its photos answered, in order; return them with the model and what the parsing found.

        Parsing that is no work may be done `at_once`, without a thread.

        Raises Refused over a limit, RequestError over a body, ClientDisconnect if nobody waits any more.
        """
        with self._one_of(ticket.client):
            self._refuse_if_full()
            async with self._body(request, ticket, self.options.max_body) as body, self._place():
                with self._using() as model:
                    answering = self._answer(model, ticket, body, parse, at_once)
                    parsed, predictions = await self._while_wanted(request, answering)
                    return model, parsed, predictions

    async def read(self, request: Request, ticket: Ticket, *, limit: int) -> bytes:
        """Read a small body that asks for no photo; raise Refused over a limit, ClientDisconnect as `take` does."""
        with self._one_of(ticket.client):
            async with self._body(request, ticket, min(limit, self.options.max_body)) as body:
                return body

    # ---- who gets in

    @contextmanager
    def _one_of(self, client: str) -> Iterator[None]:
        """Count a client's requests, also while their bodies come."""
        limit = self.options.per_client
        if limit and self._clients[client] >= limit:
            raise Refused(429, f"{limit} requests of yours are under way here; wait for them", "rate", retry_after=1)
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def _refuse_if_full(self) -> None:
        if self._inside >= self.options.queue:
            wait = min(30, max(1, math.ceil(self._inside * self._seconds / self.model.threads)))
            message = f"busy: {self._inside} requests are under way; try again in {wait} s"
            raise Refused(503, message, "busy", retry_after=wait)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Hold one of the places inside."""
        self._refuse_if_full()
        self._inside += 1
        self._show_depth()
        try:
            yield
        finally:
            self._inside -= 1
            self._show_depth()

    def _show_depth(self) -> None:
        self.metrics.set_depth(inside=self._inside, waiting=self.model.waiting)

    # ---- bodies

    @asynccontextmanager
    async def _body(self, request: Request, ticket: Ticket, limit: int) -> AsyncIterator[bytes]:
        """Read a body, and count it until the request is done with."""
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise Refused(413, f"the body has {declared} bytes; the limit is {limit}", "too large")
        begun = asyncio.get_running_loop().time()
        try:
            try:
                body = await asyncio.wait_for(self._collect(request, ticket, limit), self.options.read_seconds)
            except (asyncio.TimeoutError, TimeoutError):
                seconds = self.options.read_seconds
                raise Refused(408, f"the body did not come within {seconds:g} seconds", "slow") from None
            ticket.stages["read"] = asyncio.get_running_loop().time() - begun
            yield body
        finally:
            self._held -= ticket.bytes

    async def _collect(self, request: Request, ticket: Ticket, limit: int) -> bytes:
        pieces = []
        async for piece in request.stream():
            ticket.bytes += len(piece)
            self._held += len(piece)
            if ticket.bytes > limit:
                raise Refused(413, f"the body is over the limit of {limit} bytes", "too large")
            if self._held > self._may_hold:
                raise Refused(503, "busy: too many large bodies are under way", "busy", retry_after=1)
            pieces.append(piece)
        return b"".join(pieces)

    # ---- answers

    @contextmanager
    def _using(self) -> Iterator[Model]:
        model = self.model
        self._users[model] += 1
        try:
            yield model
        finally:
            self._users[model] -= 1
            if not self._users[model]:
                del self._users[model]
                if model is not self.model:
                    model.close()

    async def _while_wanted(self, request: Request, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for work while the client does, and not beyond the time-out; what has not begun by then never does."""
        task = asyncio.create_task(work)
        gone = asyncio.create_task(_hung_up(request))
        try:
            await asyncio.wait((task, gone), timeout=self.options.timeout, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise ClientDisconnect
            message = f"not answered within {self.options.timeout:g} seconds; try again later"
            raise Refused(503, message, "timeout", retry_after=max(1, math.ceil(self._seconds)))
        finally:
            for each in (task, gone):
                each.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _answer(
        self, model: Model, ticket: Ticket, body: bytes, parse: Parse[Result], at_once: bool
    ) -> tuple[Result, list[Prediction]]:
        asked, parsed = parse(body, model) if at_once else await self.run(parse, body, model)
        try:
            top_k = model.predictor.top_k if asked.top_k is None else check_top_k(asked.top_k, model.bundle.labels)
        except ConfigError as error:
            raise RequestError(str(error)) from None
        ticket.photos = len(asked.items)
        turns = asyncio.Semaphore(model.threads)  # a request of many photos leaves threads for the others

        async def one(item: Item | Prediction) -> Prediction:
            if isinstance(item, Prediction):
                return item
            async with turns:
                return await self._one(model, ticket, item, top_k)

        if len(asked.items) == 1:
            predictions = [await one(asked.items[0])]
        else:
            predictions = await _all([one(item) for item in asked.items])
        for prediction in predictions:
            ticket.failed += prediction.error is not None
            self.metrics.photo(_outcome(prediction))
        return parsed, predictions

    async def _one(self, model: Model, ticket: Ticket, item: Item, top_k: int) -> Prediction:
        answer = await asyncio.wrap_future(model.submit(item, top_k))
        spent: dict[Stage, float] = {"wait": answer.wait, "decode": answer.decode, "infer": answer.infer}
        for stage, seconds in spent.items():
            ticket.stages[stage] = ticket.stages.get(stage, 0.0) + seconds
        self._seconds += 0.1 * (answer.decode + answer.infer - self._seconds)
        return answer.prediction


def _outcome(prediction: Prediction) -> str:
    """What the metrics count a photo as."""
    if prediction.error is not None:
        return "failed"
    return prediction.bin_name or ("not sure" if not prediction.sure else "other")


async def _all(work: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Wait for all; if one raises, or the waiting is cancelled, none goes on."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def _hung_up(request: Request) -> None:
    """Return once the client is gone; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
