"""One worker's desk: takes requests in up to a limit, and has photos answered in threads.

Knows limits and threads. Does not know routes or JSON.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import Request

from garbage_cli.errors import ConfigError
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.predictor import Predictor
from garbage_cli.server.options import ServeOptions
from garbage_cli.vendor import available_cores
from garbage_cli.wire import RequestError

Result = TypeVar("Result")


class Refused(Exception):
    """A request that is turned away before it is looked into."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Desk:
    """Takes in requests up to the limit, and has photos answered in threads."""

    def __init__(self, predictor: Predictor, options: ServeOptions) -> None:
        self.predictor = predictor
        self._options = options
        self.hub_top_k = options.top_k or 1
        """PaddleClas's modules name one class unless they are asked for more."""
        self._inside = 0
        # one photo is inferred at a time; the other threads decode meanwhile
        self._pool = ThreadPoolExecutor(max(2, available_cores()))

    def close(self) -> None:
        """Stop the threads, once they are done with what they have."""
        self._pool.shutdown()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Hold one of the places inside; raise Refused 503 if all are taken."""
        if self._inside >= self._options.queue:
            raise Refused(503, f"busy: {self._inside} requests are under way; try again in a second")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def read_body(self, request: Request) -> bytes:
        """Read a request's body; raise Refused 413 as soon as it is known to be too large."""
        limit = self._options.max_body
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise Refused(413, f"the body has {declared} bytes; the limit is {limit}")
        try:
            return await asyncio.wait_for(self._collect(request), self._options.read_seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise Refused(408, f"the body did not come within {self._options.read_seconds} seconds") from None

    async def _collect(self, request: Request) -> bytes:
        limit = self._options.max_body
        pieces, size = [], 0
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise Refused(413, f"the body is over the limit of {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def run(self, work: Callable[..., Result], *args: object) -> Result:
        """Run blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(work, *args))

    async def answer(self, photos: list[Photo], top_k: int | None) -> list[Prediction]:
        """Answer photos, in order; raise RequestError if the model has fewer classes than top_k."""
        answer_one = functools.partial(self.predictor.answer, top_k=top_k)
        try:
            return await asyncio.gather(*(self.run(answer_one, photo) for photo in photos))
        except ConfigError as error:
            raise RequestError(str(error)) from None
