"""The page at the bin: its files, as a browser gets them.

Knows the files of this folder and what a browser may do with them. Does not know who serves them, nor models.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

INDEX = "index.html"
WORKER = "sw.js"
"""The service worker, which keeps the page for when the server is away."""
VERSION = b"@VERSION@"
"""What stands for the version in the index and the worker, so that each is another when any file is."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types garbage"
)
"""What the page may load, which is what comes from its own server."""
PERMISSIONS = "camera=(self), microphone=(), geolocation=()"
"""What the page may ask its user for."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page."""

    body: bytes
    content_type: str
    etag: str
    """As it stands in a header, quotes and all."""


def asset(name: str) -> Asset | None:
    """Return the file of this very name, None if the page has none."""
    return assets().get(name)


@functools.cache
def assets() -> Mapping[str, Asset]:
    """All files by their names, read once."""
    shown = version()[:12].encode()
    return MappingProxyType({name: _asset(name, body, shown) for name, body in _read().items()})


@functools.cache
def version() -> str:
    """The SHA-256 over the names and contents of all files, in hex."""
    digest = hashlib.sha256()
    for name, body in _read().items():
        digest.update(b"%s %d\n%s" % (name.encode(), len(body), body))
    return digest.hexdigest()


@functools.cache
def _read() -> Mapping[str, bytes]:
    found = {each.name: each for each in files(__package__).iterdir() if _suffix(each.name) in _TYPES}
    return {name: found[name].read_bytes() for name in sorted(found)}


def _asset(name: str, body: bytes, shown: bytes) -> Asset:
    if name in (INDEX, WORKER):
        body = body.replace(VERSION, shown)
    return Asset(body, _TYPES[_suffix(name)], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
