"""The model's files on a cluster: who holds them, and how they come onto a machine that has no such folder.

Knows bytes and their digest. Does not know what they mean, nor Ray: `Files` is what becomes an actor.
"""

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from garbage_cli.bundle import MANIFEST_FILE, ModelBundle
from garbage_cli.errors import BundleError, ClusterError

KEPT = 2
"""Models that are held at once: the present one, and the one before, which a replica may be loading still."""

UNUSED = 7 * 86400.0
"""Seconds after which a model that no replica of a machine has loaded is removed from its disk."""


class Files:
    """Holds the files of models by their digest, and knows when somebody last looked after it."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, bytes]] = {}
        self._looked: float | None = None

    def put(self, digest: str, files: dict[str, bytes]) -> None:
        """Hold a model; of those before, the last one stays."""
        self._models.pop(digest, None)
        self._models[digest] = files
        for old in list(self._models)[:-KEPT]:
            del self._models[old]

    def get(self, digest: str) -> dict[str, bytes] | None:
        """Give a model's files; None if it is not held."""
        return self._models.get(digest)

    def look_after(self, digest: str) -> bool:
        """Say whether a model is held; the asker is who serves it, and is alive."""
        self._looked = time.monotonic()
        return digest in self._models

    def seconds_alone(self) -> float:
        """How long nobody has looked after it; infinite if nobody ever has."""
        return float("inf") if self._looked is None else time.monotonic() - self._looked


def read(bundle: ModelBundle) -> tuple[str, dict[str, bytes]]:
    """Read a bundle's files; return them with a digest of all, the manifest's too."""
    try:
        files = {name: (bundle.root / name).read_bytes() for name in (*sorted(bundle.files), MANIFEST_FILE)}
    except OSError as error:
        raise BundleError(f"{bundle.root}: {error.strerror or error}") from None
    return digest_of(files), files


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return a name for files and their content, in hexadecimal."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def folder_for(digest: str, fetch: Callable[[str], dict[str, bytes] | None], *, root: Path | None = None) -> Path:
    """Return a folder of this machine with a model's files, fetched unless they are there already.

    It is whole or absent: written beside, and renamed. What is not what it should be any more is written anew.
    """
    place = _private(root or Path(tempfile.gettempdir()) / f"garbage-models-{os.getuid()}") / digest
    if _is_whole(place, digest):
        _mark_used(place)
        return place
    files = fetch(digest)
    if files is None:
        raise ClusterError(f"the cluster does not hold the model {digest[:12]} any more; start the server again")
    if digest_of(files) != digest or any(Path(name).name != name for name in files):
        raise ClusterError(f"the model {digest[:12]} came damaged over the cluster's network; start the server again")
    part = Path(tempfile.mkdtemp(prefix=f"{digest[:12]}-", dir=place.parent))
    try:
        for name, content in files.items():
            (part / name).write_bytes(content)
        if place.exists() and not _is_whole(place, digest):
            place.rename(part / ".broken")
        with suppress(OSError):  # another replica of this machine was faster
            part.rename(place)
    except OSError as error:
        raise ClusterError(f"no room for the model in {place.parent}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(place / ".broken", ignore_errors=True)
    _mark_used(place)
    return place


def _mark_used(place: Path) -> None:
    """Note that a model is in use, and remove those beside it that have not been for long; errors leave them there."""
    with suppress(OSError):
        os.utime(place)
        for other in place.parent.iterdir():
            if other != place and time.time() - other.stat().st_mtime > UNUSED:
                shutil.rmtree(other, ignore_errors=True)


def _private(root: Path) -> Path:
    """Make a folder that only its owner reads; raise ClusterError if somebody else has made it."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()
    except OSError as error:
        raise ClusterError(f"{root}, the folder for models, can't be made: {error.strerror or error}") from None
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise ClusterError(f"{root}, the folder for models, is open to others; remove it, or set TMPDIR to another")
    return root


def _is_whole(place: Path, digest: str) -> bool:
    try:
        return digest_of({each.name: each.read_bytes() for each in place.iterdir() if each.is_file()}) == digest
    except OSError:
        return False
