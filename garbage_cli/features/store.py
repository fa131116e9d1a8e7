"""Feature arrays on disk by the content of the photo they were computed from.

Knows files of arrays. Does not know networks or photos. A folder holds shards, each of two files: the digests, and an
array of shape (photos, views, *shape) in their order. A shard is there when its digests are, which are written last. So
several programs may write to one folder, and one that is killed loses only the shard it was at.
"""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.storage import staged_file

Digest = bytes
"""SHA-256 of a photo's bytes."""
Array = NDArray[Any]
DIGESTS = ".digests.npy"
ROWS = ".rows.npy"


class Store:
    """Arrays of one kind: `views` of `shape` for each photo."""

    def __init__(self, folder: Path, *, views: int, shape: tuple[int, ...], dtype: str) -> None:
        self.folder = folder
        self.row_shape = (views, *shape)
        self.dtype = np.dtype(dtype)
        self._places: dict[Digest, tuple[Array, int]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob(f"*{DIGESTS}")):
            self._open(path)

    @property
    def bytes_per_photo(self) -> int:
        """Bytes that one photo takes on disk."""
        return int(np.prod(self.row_shape)) * self.dtype.itemsize

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._places

    def row(self, digest: Digest) -> Array:
        """Return the arrays of a photo, shape (views, *shape); KeyError if there are none."""
        rows, number = self._places[digest]
        return np.asarray(rows[number])

    def add(self, digests: Sequence[Digest], rows: Sequence[Array]) -> None:
        """Write the arrays of some photos, each of shape (views, *shape), as one shard."""
        name = self.folder / uuid.uuid4().hex
        with staged_file(Path(f"{name}{ROWS}")) as temporary, temporary.open("wb") as file:
            limits = np.finfo(self.dtype)  # 16-bit floats end at 65,504
            np.save(file, np.clip(np.stack(rows), limits.min, limits.max).astype(self.dtype))
        with staged_file(Path(f"{name}{DIGESTS}")) as temporary, temporary.open("wb") as file:
            np.save(file, np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1))
        self._open(Path(f"{name}{DIGESTS}"))

    def _open(self, path: Path) -> None:
        """Take in a shard; one that is damaged or of another kind counts as not there."""
        try:
            digests = np.load(path, allow_pickle=False)
            rows = np.load(path.with_name(path.name.replace(DIGESTS, ROWS)), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return
        if rows.dtype == self.dtype and rows.shape == (len(digests), *self.row_shape):
            self._places |= {digest.tobytes(): (rows, number) for number, digest in enumerate(digests)}


def cache_folder() -> Path:
    """Return where features lie, in the platform's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("garbage") / "features"


@contextlib.contextmanager
def usable_folder() -> Iterator[Path]:
    """Give the cache folder, or one for the time of the block where that can't be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if writable:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="garbage-features-") as temporary:
        yield Path(temporary)


def make_room(folder: Path, *, keep: Sequence[Path], limit: int) -> None:
    """Delete the folders used longest ago until those in `folder` hold at most `limit` bytes; never one of `keep`."""
    for path in keep:
        with contextlib.suppress(OSError):
            os.utime(path)
    sizes = {path: _size(path) for path in folder.iterdir() if path.is_dir()}
    for path in sorted(sizes.keys() - set(keep), key=_used):
        if sum(sizes.values()) <= limit:
            return
        shutil.rmtree(path, ignore_errors=True)
        del sizes[path]


def _used(path: Path) -> float:
    return path.stat().st_mtime


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
