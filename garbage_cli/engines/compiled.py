"""Compiled networks in the user's cache: the second start is several times as fast.

Knows files and their digests. Does not know OpenVINO. A file holds the SHA-256 of what follows it, so that one that was
cut or changed is not taken; the network's name says all that it was made from.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from garbage_cli.storage import write_bytes

FOLDER = "compiled"
KEPT = 12
"""Files; those not used for the longest time go."""
DIGEST = 32
"""Bytes."""


def find(name: str) -> bytes | None:
    """Return what is kept under a name; None if nothing is, or it is damaged."""
    path = _path(name)
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST] and len(content) > DIGEST:
            os.utime(path)
            return content[DIGEST:]
    except OSError:
        pass
    return None


def keep(name: str, data: bytes) -> None:
    """Keep a compiled network, if there is a place for it."""
    path = _path(name)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(path, hashlib.sha256(data).digest() + data)
        kept = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in kept[KEPT:]:
            if old.is_file():
                old.unlink()


def _path(name: str) -> Path:
    from platformdirs import user_cache_path

    return (
        user_cache_path("garbage", appauthor=False) / FOLDER / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.blob"
    )
