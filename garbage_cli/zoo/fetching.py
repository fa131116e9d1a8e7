"""Weight files from the net: whole or absent, resumed where a download broke off, never damaged by a second one.

Knows HTTP and the cache folder. Does not know what is in a weight file, but for its first byte.

While a file comes, it lies beside its place as `.NAME.part`, locked, and `.NAME.part.json` says what it is a part of:
the URL, and the validator by which the server can tell whether its file is still the same (RFC 9110, If-Range).
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from garbage_cli.errors import CheckpointError
from garbage_cli.storage import sha256
from garbage_cli.zoo.parts import Part, Validator
from garbage_cli.zoo.pickles import MAX_BYTES

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
"""How often a download is tried that brings nothing new; one that brings something starts the count anew."""

CONNECTING = 3
"""How often, where nobody answers."""

LONGEST_WAIT = 60.0
"""Seconds that a server's Retry-After is obeyed at most."""

sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Fetched:
    """Progress of a download."""

    done: int
    """Bytes so far; a download that goes on starts with those that were there."""
    total: int | None
    """Bytes in all, where the server says."""


class _Again(Exception):
    """Something that may pass: try again, after so many seconds if the server names them."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Refused(Exception):
    """Something that will not pass."""


def cached_weights(url: str) -> Path:
    """Return where the weights of a URL lie, or will lie, in the platform's cache folder."""
    from platformdirs import user_cache_path

    parts = urlparse(url)
    names = [name for name in parts.path.split("/") if name not in ("", ".", "..")]
    return user_cache_path("garbage").joinpath("weights", parts.hostname or "", *names)


def is_cached(url: str) -> bool:
    """Return whether the weights of a URL are in the cache; what may not be looked at is not."""
    try:
        return cached_weights(url).is_file()
    except OSError:
        return False


def fetch(url: str) -> Iterator[Fetched]:
    """Download weights to `cached_weights(url)`, unless they are there; yield progress.

    A URL may end in `#sha256=…`, which the file must then have. Proxies are taken from the environment. A broken
    download is tried again, and goes on where it stopped, now or in a later call. Raises CheckpointError that says
    where to put the file by hand, or that the file is not the right one.
    """
    try:
        target, wanted = cached_weights(url), _wanted_hash(url)
    except ValueError as error:
        raise CheckpointError(f"{url!r} is no address: {error}") from None
    if is_cached(url):
        _check_cached(target, wanted)
        return
    with _writable(target), Part.at(target) as part:
        if not target.is_file():  # somebody else may have brought it while we waited for the lock
            yield from _download(url.partition("#")[0], part, target)
            _verify(part, url, wanted)
            part.finish(target)


def _check_cached(target: Path, wanted: str | None) -> None:
    if wanted is not None and (found := sha256(target)) != wanted:
        raise CheckpointError(f"{target} has sha256 {found}, not {wanted}; delete it to have it fetched anew")


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    """Say plainly that the cache can't be written, and how to have it elsewhere."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CheckpointError(
            f"can't keep weights in {target.parent}: {error.strerror or error}; set XDG_CACHE_HOME to another folder"
        ) from None


def _download(url: str, part: Part, target: Path) -> Iterator[Fetched]:
    import httpx

    failures, before = 0, part.size
    while True:
        try:
            yield from _attempt(url, part)
            return
        except (httpx.HTTPError, httpx.InvalidURL, _Again, _Refused, ImportError) as error:  # ImportError: no SOCKS
            failures = 1 if part.size > before else failures + 1
            before = part.size
            if failures >= _attempts(error):
                raise CheckpointError(_by_hand(url, error, part, target)) from None
            wait = error.wait if isinstance(error, _Again) else None
        sleep(2.0 ** (failures - 2) if wait is None else min(wait, LONGEST_WAIT))


def _attempts(error: Exception) -> int:
    """How often to try before an error of this kind is the last word."""
    import httpx

    if isinstance(error, httpx.ConnectError):
        return CONNECTING
    passing = isinstance(error, _Again | httpx.TransportError)
    return ATTEMPTS if passing and not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError) else 1


def _by_hand(url: str, error: Exception, part: Part, target: Path) -> str:
    kept = f" ({part.size:,} bytes are kept, and the next try goes on from there)" if part.size else ""
    return (
        f"can't fetch {url}: {error}{kept}; without a network, put the file at {target}, "
        "or use --pretrained FILE or --pretrained none"
    )


def _attempt(url: str, part: Part) -> Iterator[Fetched]:
    """Ask once for the rest of the file, or for all of it."""
    headers = {"accept-encoding": "identity", **part.range_headers(url)}
    with _client() as client, client.stream("GET", url, headers=headers) as reply:
        if reply.status_code == 416:
            if reply.headers.get("content-range") == f"bytes */{part.size}":  # nothing is missing
                return
            part.forget()
            raise _Again("the file has changed", 0.0)
        said = f"the server answers {reply.status_code} {reply.reason_phrase}"
        if reply.status_code in (408, 425, 429) or reply.status_code >= 500:
            raise _Again(said, _retry_after(reply))
        if reply.status_code not in (200, 206):
            raise _Refused(said)
        yield from _receive(url, reply, part)


def _client() -> "httpx.Client":
    import httpx

    try:
        return httpx.Client(follow_redirects=True, timeout=30)
    except OSError as error:  # SSL_CERT_FILE that is not there
        raise CheckpointError(f"can't use HTTPS here: {error}") from None


def _receive(url: str, reply: "httpx.Response", part: Part) -> Iterator[Fetched]:
    chunks = reply.iter_bytes()
    chunk = next(chunks, b"")
    if reply.status_code == 200:
        _check_beginning(url, reply, chunk)  # before what is here is thrown away for it
    total = _start(url, reply, part)
    yield Fetched(part.size, total)
    while chunk:
        part.write(chunk)
        yield Fetched(part.size, total)
        if part.size > MAX_BYTES:
            part.forget()
            raise CheckpointError(f"{url} is no weight file: it has more than {MAX_BYTES >> 30} GiB")
        chunk = next(chunks, b"")
    if total is not None and part.size != total:
        kept = part.size
        if kept > total:
            part.forget()
        raise _Again(f"{kept:,} of {total:,} bytes came")


def _start(url: str, reply: "httpx.Response", part: Part) -> int | None:
    """Go on with the part where the server does, or begin anew; return how many bytes there will be in all."""
    validator, length = Validator.of(reply.headers), _number(reply.headers.get("content-length"))
    if reply.status_code == 206:
        ranged = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("content-range", ""))
        if ranged is None or int(ranged[1]) != part.size or not part.validator.agrees(validator):
            part.forget()
            raise _Again("the server sends another part than was asked for", 0.0)
        return _number(ranged[2])
    encoded = "content-encoding" in reply.headers  # then neither the length nor a range is of the file itself
    part.begin(url, Validator() if encoded else validator)
    return None if encoded else length


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _check_beginning(url: str, reply: "httpx.Response", chunk: bytes) -> None:
    """Refuse what is plainly no weight file, such as the login page of a hotel's network: a pickle begins with 0x80."""
    if not chunk.startswith(b"\x80"):
        kind = reply.headers.get("content-type", "").partition(";")[0] or "something"
        page = b"<html" in chunk[:1000].lower() or b"<!doctype" in chunk[:1000].lower()
        other = f"{kind} that begins with {chunk[:8].hex(' ')}" if chunk else "an empty file"
        what = "a web page, perhaps of a login" if page else other
        raise CheckpointError(f"{url} is no weight file: {what} came from {reply.url.host}")


def _retry_after(reply: "httpx.Response") -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    value = reply.headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _wanted_hash(url: str) -> str | None:
    fragment = urlparse(url).fragment
    if not fragment:
        return None
    named = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if not named:
        raise ValueError(f"what follows # is to be sha256= and 64 hexadecimal digits, not {fragment!r}")
    return named[1].lower()


def _verify(part: Part, url: str, sha256: str | None) -> None:
    """Compare with the hash that the URL names, and with the MD5 that the server names."""
    for name, wanted in (("sha256", sha256), ("md5", part.validator.md5)):
        if wanted and (found := part.digest(hashlib.new(name, usedforsecurity=False))) != wanted:
            part.forget()
            raise CheckpointError(f"{url}: the file that came has {name} {found}, not {wanted}; it was deleted")
