"""uvicorn's HTTP protocol, with the limits that it leaves to others: headers that never end, and too many connections.

Knows connections. Does not know requests' content.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
"""How long a request's first line and headers may take to come, also the first of a new connection."""
HEADER_BYTES = 64 * 1024
DISCARD_SECONDS = 10.0
"""How long the rest of a body that was refused is read and thrown away, so that its sender gets to read why."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    max_connections = 1024
    """Of this process; a worker sets it by how many files it may open."""
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or turn it away at once."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._end(b"503 Service Unavailable", b"busy: too many connections", retry=True)
            return
        self._arm(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, but not headers without end."""
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES + len(data):
                self._end(b"431 Request Header Fields Too Large", b"the headers are too large")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self._arm(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        """The headers are here; how long the body may take, the desk says."""
        self._in_headers = False
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request's last byte."""
        super().on_message_complete()
        if self.cycle.response_complete:  # what was refused has been read to its end
            self._disarm()

    def on_response_complete(self) -> None:
        """The answer is out."""
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():
            self._arm(DISCARD_SECONDS)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._in_headers and self._header_bytes:
            self._end(b"408 Request Timeout", b"the headers did not come in time")
        elif not self.transport.is_closing():
            self.transport.close()

    def _end(self, status: bytes, message: bytes, *, retry: bool = False) -> None:
        """Answer before there is a request, and close."""
        if self.transport.is_closing():
            return
        body = b'{"error":"%s"}' % message
        after = b"retry-after: 1\r\n" if retry else b""
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body), after) + body)
        self.transport.close()
