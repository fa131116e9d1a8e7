"""The client: which protocol a server speaks, and photos to answers in it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Literal

from garbage_cli.client.addresses import DEFAULT_URL, Address
from garbage_cli.client.hub import GREETING, MODULES, Hub
from garbage_cli.client.labelling import Naming
from garbage_cli.client.ordering import in_order
from garbage_cli.client.pace import Pace, Summary
from garbage_cli.client.sending import Reply, Request, Sender, Unanswered
from garbage_cli.client.v1 import V1
from garbage_cli.errors import ImageError, ServerError
from garbage_cli.images import DEFAULT_LIMITS
from garbage_cli.labels import Labels
from garbage_cli.prediction import Photo, Prediction

Protocol = Literal["auto", "hub", "v1"]
PROTOCOLS: tuple[Protocol, ...] = ("auto", "hub", "v1")

READY = "/readyz"
PATIENCE = 60.0
"""Seconds that a photo waits for a busy server."""


class Client:
    """Connections to one server. Use it in a `with` block, or `close` it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        top_k: int | None = None,
        timeout: float = 60.0,
        concurrency: int = 8,
        protocol: Protocol = "auto",
        module: str | None = None,
        labels: Labels | None = None,
        key: str | None = None,
        patience: float = PATIENCE,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        """`timeout` is in seconds, of one request; `concurrency` is how many may be under way at once.

        `auto` asks the server which protocol it speaks, before the first photo. `module` and `labels` are for a
        PaddleHub, which answers class numbers only: without labels they are those of the 40 kinds. `key` is sent as a
        bearer token; that it goes unencrypted over a network is told.
        """
        address = Address.parse(url)
        self.url = address.shown
        self._tell, self._named = tell, labels is not None
        self._concurrency = concurrency
        self._pace = Pace()
        self._sender = Sender(
            address, key=key, timeout=timeout, concurrency=concurrency, patience=patience, retried=self._pace.retried
        )
        self._v1 = V1(shown=self.url, top_k=top_k)
        modules = (module,) if module else MODULES if protocol == "auto" else MODULES[:1]
        self._hub = Hub(shown=self.url, top_k=top_k, modules=modules, naming=Naming(labels))
        self._spoken: V1 | Hub | None = {"auto": None, "hub": self._hub, "v1": self._v1}[protocol]
        if key is not None and not (address.secure or address.local):
            tell(f"the API key goes to {self.url} unencrypted; use https:// if others are on the way")

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._sender.close()

    @property
    def summary(self) -> Summary:
        """How many photos were answered so far, and how fast."""
        return self._pace.summary()

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yield one Prediction per photo, in input order; a bad photo gives one with `error` set.

        Raises ServerError if there is no server, if what answers is none of those we know, or if it goes away. Those
        photos that were answered until then come before that, the others not at all.
        """
        left = iter(photos)
        if (first := next(left, None)) is None:
            return
        self.find()
        if self._spoken is self._hub and not self._named:
            self._tell(
                "a PaddleHub answers class numbers: they are taken for the 40 kinds; --labels says what they mean"
            )
        self._pace.begin()
        everyone = chain((first,), left)
        yield from in_order(self._ask, everyone, threads=self._concurrency, ahead=4 * self._concurrency)

    def is_ready(self) -> bool:
        """Say whether the server answers and, if it is ours, has its model loaded. Waits for no busy server."""
        try:
            spoken = self._spoken or self._settled(self._sender.once)
            return self._sender.once(Request("/" if spoken is self._hub else READY)).status == 200
        except (ServerError, Unanswered):
            return False

    def find(self) -> str:
        """Ask which protocol the server speaks, if that is not known; return a sentence about it.

        Raises ServerError if there is no server, or one of something else.
        """
        spoken = self._spoken or self._settled(lambda request: self._sender.send(request, threading.Event()))
        return f"{self.url} is {spoken.words}"

    def _settled(self, ask: Callable[[Request], Reply]) -> V1 | Hub:
        self._spoken = self._found(ask)
        self._sender.proven = True
        return self._spoken

    def _found(self, ask: Callable[[Request], Reply]) -> V1 | Hub:
        try:
            reply = ask(Request(READY))
            if reply.status == 200 and _is_status(reply.json()):
                return self._v1
            greeting = ask(Request("/"))
        except Unanswered as error:
            raise ServerError(f"{self.url}: {error}") from None
        page = greeting.body[:4096].decode(errors="replace")
        if greeting.status == 200 and any(words in page for words in GREETING):
            return self._hub
        raise ServerError(f"{self.url} answered {reply.status}: not a reply of garbage serve, nor of a PaddleHub")

    def _ask(self, photo: Photo, stop: threading.Event) -> Prediction:
        assert self._spoken is not None  # `find` comes first
        try:
            data = photo.read(max_bytes=DEFAULT_LIMITS.max_bytes)
            if not data:
                raise Unanswered("the file is empty")
            reply = self._reply(self._spoken.requests(data), stop)
            prediction = self._spoken.read(reply, photo.name)
        except (ImageError, Unanswered) as error:
            prediction = Prediction(photo.name, error=str(error))
        else:
            self._sender.proven = True
        if prediction.error is None:
            self._pace.answered(reply.seconds)
        else:
            self._pace.failed()
        return prediction

    def _reply(self, requests: list[Request], stop: threading.Event) -> Reply:
        """The reply of the first route that is there; from then on it is the only one."""
        if len(requests) == 1:
            return self._sender.send(requests[0], stop)
        for request in requests:
            reply = self._sender.send(request, stop)
            if not self._hub.is_elsewhere(reply):
                self._hub.settle(request)
                break
        return reply


def _is_status(value: object) -> bool:
    return isinstance(value, dict) and "status" in value
