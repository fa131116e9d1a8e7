"""uvicorn's HTTP protocol, with the limits that it leaves to others: headers that never end, too many connections, and
too many requests that wait on one.

Knows connections. Does not know requests' content.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from garbage_cli.server.metrics import Reason

HEADER_SECONDS = 10.0
"""How long a request's first line and headers may take to come, also the first of a new connection."""
HEADER_BYTES = 64 * 1024
"""Of a request's first line and headers; also of what else comes beside bodies: trailers, or empty lines."""
DISCARD_SECONDS = 10.0
"""How long the rest of a body that was refused is read and thrown away, so that its sender gets to read why."""
SEND_SECONDS = 30.0
"""How long a client may take none of its answer."""
GOODBYE_SECONDS = 1.0
"""How long a server that stops waits for an idle client to say goodbye too, as TLS has it."""
WAITING_REQUESTS = 16
"""How many whole requests may wait on a connection behind the one at work; what comes after them is not taken."""
_CHUNK = 16
"""Bytes around each byte of a body that are borne: someone may send chunks of one byte."""


class _Outgoing:
    """A connection as an answer sees it: closing it leaves a client that still sends the time to read why."""

    def __init__(self, protocol: "Protocol") -> None:
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)

    def close(self) -> None:
        self._protocol.close_after_answer()


class Protocol(HttpToolsProtocol):
    """One connection."""

    max_connections = 1024
    """Of this process; a worker sets it by how many files it may open."""
    refused: ClassVar[Callable[[Reason], object]] = lambda reason: None
    """Told why something was no request: "bad request", "slow", "too large" or "busy"; a worker counts them."""
    _running: RequestResponseCycle | None = None
    """The request at work, or the last that was; uvicorn's `cycle` is the newest, which may wait behind it."""
    _timer: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None
    _beside = 0
    """Bytes of this request that are not its body."""
    _in_headers = False
    _plain_head: bytes | None = None
    """The head of a request that wished for another protocol, without that wish."""
    _ended = False
    """Nothing is taken any more; what still comes is read so that the client gets to read the last answer."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or turn it away at once."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._end(b"503 Service Unavailable", b"busy: too many connections", "busy", retry=True)
            self.transport.close()
            return
        self._arm(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; the request at work is told, and those behind it never begin."""
        self._disarm()
        self.resume_writing()
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = not self._running.response_complete
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, but not headers without end."""
        if self._ended or self.transport.is_closing():  # with TLS, something may come after the close
            return
        self._beside += len(data)
        if self._beside > HEADER_BYTES + len(data):  # a body may have begun in this piece
            self._end(b"431 Request Header Fields Too Large", b"the headers are too large", "too large")
            return
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._end(b"400 Bad Request", b"this is no valid HTTP request", "bad request")

    def _feed(self, data: bytes) -> None:
        """Parse; a request that wishes for another protocol is taken as one that does not, so that its body counts."""
        while data:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as wish:
                data = (self._plain_head or b"") + data[wish.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return None

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_headers, self._beside, self._plain_head = True, 0, None
        self._arm(HEADER_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after a body is none."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers are here; how long the body may take, the desk says."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEADER_BYTES:
            self._end(b"431 Request Header Fields Too Large", b"the headers are too large", "too large")
            raise ValueError("too large")  # stops the parser
        if len(self.pipeline) >= WAITING_REQUESTS:
            self._take_no_more()
            raise ValueError("too many")
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._plain_head = self._head()
            return
        self._in_headers = False
        self._disarm()
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, _Outgoing(self))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _head(self) -> bytes:
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = (b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade")
        return b"\r\n".join((first, *kept, b"", b""))

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._beside = max(0, self._beside - _CHUNK * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's last byte."""
        if self._plain_head is not None:
            return
        super().on_message_complete()
        if self.cycle.response_complete:  # what was refused has been read to its end
            self.cycle.more_body = False
            self._disarm()

    def on_response_complete(self) -> None:
        """The answer is out."""
        refused = self._running is not None and self._running.more_body
        super().on_response_complete()
        if self.transport.is_closing():
            self._arm(SEND_SECONDS)
        elif refused:
            self._arm(DISCARD_SECONDS)

    def close_after_answer(self) -> None:
        """Close; if the client may still be sending what nobody takes, not before it is done with that."""
        self.pipeline.clear()
        if self.transport.is_closing():
            self.transport.close()
        elif self._running is not None and self._running.more_body:
            self._end_reading(DISCARD_SECONDS)
        elif self._ended:
            self._end_reading(DISCARD_SECONDS / 5)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops: close if idle, else after the answer."""
        super().shutdown()
        if not self.transport.can_write_eof() and (self.cycle is None or self.cycle.response_complete):
            self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """The client does not take its answers: not for ever."""
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes them again, or is gone."""
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for too long."""
        self._close()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._in_headers and not self._ended:
            self._end(b"408 Request Timeout", b"the headers did not come in time", "slow")
        else:
            self._close()

    def _close(self) -> None:
        """Close; a client that does not take what was written is cut off after a while."""
        if self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.close()
        self._arm(SEND_SECONDS)

    def _end(self, status: bytes, message: bytes, reason: Reason, *, retry: bool = False) -> None:
        """Answer what is no request, and take nothing more; requests before it get their own answers, and no other."""
        if self._ended or self.transport.is_closing():
            return
        type(self).refused(reason)
        if self._take_no_more():
            body = b'{"error":"%s"}' % message
            after = b"retry-after: 1\r\n" if retry else b""
            head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n"
            self.transport.write(head % (status, len(body), after) + body)
        elif not self.cycle.response_complete:
            return  # its answer closes the connection
        self._end_reading(DISCARD_SECONDS / 5)

    def _take_no_more(self) -> bool:
        """Stop taking requests, close after the last whole one; say whether an answer may be written out of turn."""
        self._ended = True
        self._disarm()
        if self.pipeline and self.cycle.more_body:  # it waits for its turn, and will never be whole
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else cast(RequestResponseCycle, self._running)
        cycle = self.cycle
        if cycle is None:
            return True
        if cycle.response_complete:
            return not cycle.more_body  # a body that was refused has its answer
        if cycle.more_body and not cycle.response_started:
            cycle.disconnected = True
            cycle.message_event.set()
            return True
        cycle.keep_alive = False
        return False

    def _end_reading(self, seconds: float) -> None:
        """Throw away what still comes: a connection closed with bytes unread is reset, and the answer lost with it."""
        self._ended = True
        if self.transport.can_write_eof():  # TLS can't say that it only listens
            self.transport.write_eof()
        self.flow.resume_reading()
        self._arm(seconds)
