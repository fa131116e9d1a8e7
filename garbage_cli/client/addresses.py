"""A server's address: taken apart, and shown without what is secret in it.

Knows URLs. Does not connect to any.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from garbage_cli.errors import ServerError

DEFAULT_URL = "http://127.0.0.1:8866"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is."""

    url: str
    """Without a slash at the end."""
    shown: str
    """The same without a name and password in it."""
    local: bool
    """Whether it is this machine."""
    secure: bool
    """Whether it is https."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `http://host:port/prefix`; raise ServerError if it is no address of a server."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
            good = parts.scheme in ("http", "https") and host and (port is None or port > 0)
            if good and host and not (parts.query or parts.fragment or any(map(str.isspace, text))):
                shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
                return cls(text.rstrip("/"), shown.rstrip("/"), _is_local(host), parts.scheme == "https")
        except ValueError:  # a bracket or port that is none
            pass
        raise ServerError(f"{_without_password(text)!r} is no server address; write it as {DEFAULT_URL}")


def _without_password(text: str) -> str:
    """What is no address, without all that stands before its last @, where a name and password would be."""
    return re.sub(r"\A([a-z][a-z0-9+.-]*://)?.*@", r"\1", text, flags=re.IGNORECASE | re.DOTALL)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
