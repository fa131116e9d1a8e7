"""One request and its reply: connections, time-outs, pauses, and which statuses are an answer at all.

Knows HTTP. Does not know what is in a request or a reply.
"""

import json
import os
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from garbage_cli.client.addresses import Address
from garbage_cli.client.ordering import Stopped
from garbage_cli.errors import ServerError

if TYPE_CHECKING:
    import httpx

BUSY = (429, 503)
"""Statuses by which a server asks to be asked again; no other reply has a request sent again."""
MAX_REPLY = 16 * 1024 * 1024
"""Bytes of a reply that are read."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_LONGEST_WISH = 30.0
"""Seconds that a server may have us wait at once by Retry-After."""
_CONNECTS = 5
"""Tries to connect, one after another, until a server that was there counts as gone."""
_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 3.0
"""How long an unused connection is kept: less than the 5 s after which servers close theirs."""
_PIECE = 256 * 1024
"""Bytes that are written before the clock is looked at."""


class Unanswered(Exception):
    """A photo gets no answer, and the others may: what is wrong, in words."""


@dataclass(frozen=True, slots=True)
class Request:
    """A path below the server's address, and a body; without one it is a GET."""

    path: str
    content: bytes | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, and the seconds it took."""

    status: int
    body: bytes
    seconds: float
    retry_after: str | None = None
    location: str | None = None

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def said(self) -> str | None:
        """The `error` of a JSON object, where there is one."""
        value = self.json()
        said = value.get("error") if isinstance(value, dict) else None
        return short(said) if said else None


def short(text: object) -> str:
    """What a server says, in one line that fits a screen."""
    line = " ".join(str(text).split())
    return line if len(line) <= 300 else line[:299] + "…"


class Sender:
    """The connections to one server. Threads may share it; each has one connection at a time."""

    def __init__(
        self,
        address: Address,
        *,
        key: str | None,
        timeout: float,
        concurrency: int,
        patience: float,
        retried: Callable[[], object],
    ) -> None:
        """`patience` is how many seconds a photo waits for a busy server; `retried` hears of each further try."""
        self.address = address
        self.proven = False
        """Whether a request has succeeded: before that, a failure is the server's and not a photo's."""
        self._timeout, self._patience, self._retried = timeout, patience, retried
        self._clock = threading.local()  # `until`: when the request of this thread must be over
        self._has_key = key is not None
        self._headers = {"accept-encoding": "identity"} | ({} if key is None else {"authorization": f"Bearer {key}"})
        try:
            self._tls = _tls() if address.secure else True
            self._http = self._open(concurrency)
        except (ImportError, ValueError) as error:  # a SOCKS proxy needs a package more, or the variable is no address
            raise ServerError(f"the proxy that the environment names can't be used: {error}") from None
        except OSError as error:
            raise ServerError(f"the certificates that the environment names can't be read: {error}") from None

    def _open(self, connections: int) -> "httpx.Client":
        import httpx

        try:
            httpx.URL(self.address.url)
        except httpx.InvalidURL as error:
            raise ServerError(f"{self.address.shown!r} is no server address: {error}") from None
        return httpx.Client(
            headers=self._headers,
            verify=self._tls,
            # proxies of the environment are respected, but none is asked for the way to this machine itself
            trust_env=not self.address.local,
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_SECONDS), pool=None),
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_IDLE_SECONDS
            ),
            follow_redirects=False,  # photos and a key go where they were sent, and nowhere else
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def send(self, request: Request, stop: threading.Event) -> Reply:
        """Return the reply; a busy server is asked again, with growing pauses, or after those it wishes.

        Raises Unanswered for what concerns this request only, ServerError for what concerns all, and Stopped if the
        event is set in a pause.
        """
        began, tries = time.monotonic(), 0
        while True:
            reply = self._reach(request, stop)
            if reply.status not in BUSY:
                return self._allowed(reply)
            tries += 1
            pause = max(_pause(tries), _wish(reply.retry_after))
            if time.monotonic() + pause - began > self._patience:
                times = "once" if tries == 1 else f"{tries} times"
                raise Unanswered(f"the server was busy ({reply.status}), asked {times}; try again later")
            self._wait(pause, stop)

    def once(self, request: Request) -> Reply:
        """Return the reply of a single try; raise Unanswered or ServerError if there is none, or the server is busy."""
        import httpx

        try:
            reply = self._exchange(self._http, request)
        except httpx.HTTPError as error:
            raise self._lost(error) from None
        if reply.status in BUSY:
            raise Unanswered(f"the server is busy ({reply.status})")
        return reply

    def _wait(self, pause: float, stop: threading.Event) -> None:
        if stop.wait(pause):
            raise Stopped
        self._retried()

    def _reach(self, request: Request, stop: threading.Event) -> Reply:
        """The reply of a server that may be starting again: to connect once more sends nothing twice."""
        import httpx

        for failures in range(1, _CONNECTS + 1):
            try:
                return self._once(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if fault := _tls_fault(error):
                    raise ServerError(_explained(fault, self.address)) from None
                if not self.proven:
                    raise ServerError(f"no server at {self.address.shown} ({_words(error)}); {self._remedy}") from None
                if failures == _CONNECTS:
                    raise ServerError(
                        f"the server at {self.address.shown} has gone ({_words(error)}; {failures} tries); "
                        "start it again, and ask for what is left"
                    ) from None
            self._wait(_pause(failures), stop)
        raise AssertionError("unreachable")

    @property
    def _remedy(self) -> str:
        return "start one with: garbage serve" if self.address.local else "is the address right, and does it serve?"

    def _once(self, request: Request) -> Reply:
        """One request; a second time only if it met a connection that the server had just closed."""
        import httpx

        opened: list[str] = []
        try:
            return self._exchange(self._http, request, opened.append)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            if opened or not _before_any_byte(error):
                raise self._lost(error) from None
        # A server closes a connection that was idle for some time, and our request may have been on its way just then:
        # nobody has taken it, so it is sent again. A new connection can't be in that state, so once is enough, and a
        # photo that kills a server gets to do so twice at most.
        self._retried()
        try:
            with self._open(1) as http:
                return self._exchange(http, request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            raise self._lost(error) from None

    def _exchange(
        self, http: "httpx.Client", request: Request, opened: Callable[[str], object] = lambda event: None
    ) -> Reply:
        """One request, over in time; `opened` hears of a new connection, httpx's errors of connections are raised."""
        import httpx

        def trace(event: str, info: Any) -> None:
            if event.endswith("connect_tcp.started"):
                opened(event)
            elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
                self._bound(info["return_value"])

        began = time.monotonic()
        self._clock.until = began + self._timeout
        method = "GET" if request.content is None else "POST"
        headers = {"content-type": request.content_type} if request.content_type else {}
        extensions = {"trace": trace}
        url = self.address.url + request.path
        try:
            with http.stream(method, url, content=request.content, headers=headers, extensions=extensions) as response:
                body = self._body(response)
                given = response.headers
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            raise  # who calls knows what they mean
        except httpx.TimeoutException:
            raise self._late() from None
        except httpx.HTTPError as error:
            raise self._lost(error) from None
        seconds = time.monotonic() - began
        return Reply(response.status_code, body, seconds, given.get("retry-after"), given.get("location"))

    def _bound(self, stream: Any) -> None:
        """Let a connection wait for no byte longer than the request may take.

        httpx counts its time-out anew with every byte, so a server that sends one now and then would be waited for
        without end: in the head and by statuses of 1xx, too, of which httpx says nothing. Connections are kept, and
        whoever uses one later does so in a thread of its own: hence the clock.
        """
        read, write = stream.read, stream.write

        def read_in_time(max_bytes: int, timeout: float | None = None) -> Any:
            return read(max_bytes, self._left(timeout))

        def write_in_time(buffer: bytes, timeout: float | None = None) -> None:
            for start in range(0, len(buffer), _PIECE):
                write(buffer[start : start + _PIECE], self._left(timeout))

        stream.read, stream.write = read_in_time, write_in_time

    def _left(self, timeout: float | None) -> float:
        left: float = self._clock.until - time.monotonic()
        if left <= 0:
            raise self._late()
        return left if timeout is None else min(left, timeout)

    def _body(self, response: "httpx.Response") -> bytes:
        import httpx

        parts: list[bytes] = []
        size = 0
        try:
            for part in response.iter_raw():
                parts.append(part)
                if (size := size + len(part)) > MAX_REPLY:
                    raise ServerError(
                        f"{self.address.shown} answers more than {MAX_REPLY:,} bytes: not a reply of garbage serve"
                    )
        except httpx.TimeoutException:
            raise self._late() from None
        except httpx.HTTPError as error:  # after the first byte of the reply: the request was taken
            raise self._lost(error) from None
        return b"".join(parts)

    def _late(self) -> Exception:
        if self.proven:
            return Unanswered(f"no answer within {self._timeout:g} s")
        return ServerError(f"{self.address.shown} did not answer in time; is it overloaded?")

    def _lost(self, error: Exception) -> Exception:
        if self.proven:
            return Unanswered(f"the connection was lost before the answer: {_words(error)}")
        return ServerError(f"{self.address.shown}: {_words(error)}")

    def _allowed(self, reply: Reply) -> Reply:
        """The same reply, unless it is one that no server answers to a photo that it looked at."""
        status, shown = reply.status, self.address.shown
        if status in (401, 403):
            refused = "does not take the API key that it was given; is it the right one?"
            asks = "asks for an API key; give it with --api-key-file"
            raise ServerError(f"{shown} {refused if self._has_key else asks}")
        if 300 <= status < 400:
            there = f" to {short(reply.location)}" if reply.location else ""
            raise ServerError(f"{shown} answered {status}, a redirect{there}, which is not followed; is --url right?")
        if status == 413:
            raise Unanswered(reply.said or "the server finds it too large")
        if (status >= 500 or status == 408) and self.proven:
            raise Unanswered(f"the server answered {status}" + (f": {reply.said}" if reply.said else ""))
        return reply


def _before_any_byte(error: Exception) -> bool:
    """Whether a connection ended without a byte of a reply; what is no HTTP is a reply too."""
    import httpx

    return not isinstance(error, httpx.RemoteProtocolError) or "without sending a response" in str(error)


def _words(error: Exception) -> str:
    return short(error) or type(error).__name__


def _pause(tries: int) -> float:
    """Growing, and never the same twice: clients that were refused together must not come back together."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries - 1, 20)) * random.uniform(0.75, 1.25)


def _wish(retry_after: str | None) -> float:
    """The seconds of a Retry-After, which is a number or a date; 0 where it is neither. Up to a tenth is added."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0
        now = datetime.now(timezone.utc)
        seconds = (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp() - now.timestamp()
    return min(max(0.0, seconds), _LONGEST_WISH) * random.uniform(1.0, 1.1)


def _tls() -> ssl.SSLContext | bool:
    """The certificates that SSL_CERT_FILE names, for this machine too; else True, those that httpx brings."""
    named = os.environ.get("SSL_CERT_FILE")
    return ssl.create_default_context(cafile=named) if named else True


def _tls_fault(error: BaseException) -> ssl.SSLError | None:
    """The fault of TLS behind a failure to connect, if it is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _explained(fault: ssl.SSLError, address: Address) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        why = short(fault.verify_message)
        return (
            f"the certificate of {address.shown} can't be trusted: {why}; "
            "name the authority that signed it with SSL_CERT_FILE=FILE"
        )
    return f"no TLS with {address.shown} ({short(fault.reason or fault)}); does it speak http://?"
