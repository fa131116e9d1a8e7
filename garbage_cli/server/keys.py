"""API keys: a file of them, and whose key a request shows. Does not know HTTP beyond its two headers.

    # one key a line, with a name if you like
    sorting-line-3: 8f2e…
    5b1d…

Only digests of the keys are kept, and all of them are compared each time, so that the time tells nothing.
"""

import hashlib
import hmac
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from garbage_cli.errors import ServerError

MIN_LENGTH = 16
"""Characters that a key has at least."""
_MAX_BYTES = 1024 * 1024
_EXAMPLE = "write one key a line, as `name: key` or only `key`"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that a server takes, each with a name for the log."""

    names: tuple[str, ...]
    _digests: tuple[bytes, ...] = field(repr=False)

    @staticmethod
    def load(path: Path, *, tell: Callable[[str], object] = lambda text: None) -> "Keys":
        """Read a file of keys; raise ServerError with the line's number, never the key."""
        text = _read(path, tell)
        found: dict[str, bytes] = {}
        for number, line in enumerate(io.StringIO(text, newline=None), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, key = _parse(line, f"{path} line {number}")
            name, digest = name or f"key {len(found) + 1}", _digest(key)
            if name in found:
                raise ServerError(f"{path} line {number}: the name {name} stands there twice; give each key its own")
            if digest in found.values():
                raise ServerError(f"{path} line {number}: this key stands there twice; make a new one for each client")
            found[name] = digest
        if not found:
            raise ServerError(f"{path} holds no key; {_EXAMPLE}")
        return Keys(tuple(found), tuple(found.values()))

    def who(self, header_authorization: str | None, header_x_api_key: str | None) -> str | None:
        """Give the name of the key in `Authorization: Bearer …` or in `X-API-Key`, or None if there is no such key."""
        scheme, _, bearer = (header_authorization or "").strip().partition(" ")
        shown = [bearer.strip() if scheme.lower() == "bearer" else "", (header_x_api_key or "").strip()]
        name = None
        for digest in [_digest(key) for key in shown]:
            for known, its_name in zip(self._digests, self.names, strict=True):
                if hmac.compare_digest(digest, known):
                    name = name or its_name
        return name


def _read(path: Path, tell: Callable[[str], object]) -> str:
    remedy = "name a readable file with one key a line"
    try:
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ServerError(f"the keys in {path} can't be read: {error.strerror}; {remedy}") from None
    if len(data) > _MAX_BYTES:
        raise ServerError(f"{path} is larger than {_MAX_BYTES} bytes, too large for a file of keys; {remedy}")
    if mode & stat.S_IROTH and stat.S_ISREG(mode):
        tell(f"every user of this machine can read the keys in {path}; close it with: chmod o-r {path}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ServerError(f"{path} is not text in UTF-8; save it as such, with one key a line") from None


def _parse(line: str, place: str) -> tuple[str, str]:
    """Take a line apart into a name, or "", and a key."""
    name, colon, key = line.rpartition(":")
    name = name.strip()
    if colon and not key[:1].isspace():
        raise ServerError(f"{place}: a key holds no colon, and a name's is followed by a space; {_EXAMPLE}")
    if colon and not (name and name.isprintable() and len(name) <= 64 and ":" not in name):
        raise ServerError(f"{place}: a name has 1 to 64 printable characters and no colon; {_EXAMPLE}")
    key = key.strip()
    if any(each.isspace() for each in key):
        raise ServerError(f"{place}: the key holds a space; {_EXAMPLE}")
    if not (key.isascii() and key.isprintable()):
        raise ServerError(f"{place}: the key holds characters that no header carries; use letters and digits")
    if len(key) < MIN_LENGTH:
        raise ServerError(f"{place}: the key has {len(key)} characters; it needs at least {MIN_LENGTH}")
    return name, key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
