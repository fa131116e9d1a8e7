"""Photos → answers from a running server, in order.

Knows URLs, time-outs, retries and reply statuses. Does not know models: it sends the files as they are.
"""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from garbage_cli.errors import ImageError, ServerError
from garbage_cli.images import DEFAULT_LIMITS
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.wire import prediction_from_json

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8866"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_RETRIES = 5


class Client:
    """A connection to `garbage serve`. Use it in a `with` block, or `close` it."""

    def __init__(
        self, url: str = DEFAULT_URL, *, top_k: int | None = None, timeout: float = 60.0, concurrency: int = 4
    ) -> None:
        """`timeout` is in seconds, of one request; `concurrency` is how many may be under way at once."""
        host = _host(url)
        import httpx

        self.url = url.rstrip("/")
        self._concurrency = concurrency
        self._params = {} if top_k is None else {"top_k": str(top_k)}
        # proxies of the environment are respected, but none is asked for the way to this machine itself
        self._local = host in _LOOPBACK
        try:
            self._http = httpx.Client(timeout=timeout, trust_env=not self._local)
        except (ImportError, ValueError) as error:  # a SOCKS proxy needs a package more, or the variable is no address
            raise ServerError(f"the proxy that the environment names can't be used: {error}") from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Yield one Prediction per photo, in input order; a bad photo gives one with `error` set.

        Raises ServerError if there is no server, or if what answers is not one of ours.
        """
        yield from ordered_map(self._ask, photos, threads=self._concurrency, ahead=2 * self._concurrency)

    def is_ready(self) -> bool:
        """Say whether the server answers and has its model loaded."""
        try:
            return self._send("GET", "/readyz").status_code == 200
        except ServerError:
            return False

    def _ask(self, photo: Photo) -> Prediction:
        try:
            data = photo.read(max_bytes=DEFAULT_LIMITS.max_bytes)
        except ImageError as error:
            return Prediction(photo.name, error=str(error))
        if not data:
            return Prediction(photo.name, error="the file is empty")
        headers = {"content-type": "application/octet-stream"}
        reply = self._send("POST", "/v1/predict", content=data, headers=headers, params=self._params)
        return self._read(reply, photo)

    def _read(self, reply: "httpx.Response", photo: Photo) -> Prediction:
        value = _json(reply)
        results = value.get("results") if isinstance(value, dict) else None
        if reply.status_code in (200, 422) and isinstance(results, list) and len(results) == 1:
            return prediction_from_json(results[0], image=photo.name)
        said = value.get("error") if isinstance(value, dict) else None
        if reply.status_code == 413:
            return Prediction(photo.name, error=str(said or "the server finds it too large"))
        raise ServerError(f"{self.url} answered {reply.status_code}: {said or 'not a reply of garbage serve'}")

    def _send(self, method: str, path: str, **options: Any) -> "httpx.Response":
        """One request, tried again with growing pauses while the server says it is busy."""
        import httpx

        for attempt in range(_RETRIES):
            try:
                reply = self._http.request(method, self.url + path, **options)
            except httpx.ConnectError as error:
                remedy = "start one with: garbage serve" if self._local else "is the address right, and does it serve?"
                raise ServerError(f"no server at {self.url} ({error}); {remedy}") from None
            except httpx.TimeoutException:
                raise ServerError(f"{self.url} did not answer in time; is it overloaded?") from None
            except httpx.HTTPError as error:
                raise ServerError(f"{self.url}: {error or type(error).__name__}") from None
            if reply.status_code not in (429, 503) or attempt == _RETRIES - 1:
                return reply
            time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")


def _host(url: str) -> str:
    """The host of a server address; raise ServerError if it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0):
            return parts.hostname
    except ValueError:  # a bracket or port that is none
        pass
    raise ServerError(f"{url!r} is no server address; write it as {DEFAULT_URL}")


def _json(reply: "httpx.Response") -> Any:
    try:
        return reply.json()
    except ValueError:
        return None
