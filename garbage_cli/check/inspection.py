"""A photo's file → what it is, with the decoder that training and serving use; many of them, on all cores.

Knows decoding and worker processes. Does not know data sets or what is a fault.
"""

import gc
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from garbage_cli.errors import ImageError, MissingExtraError
from garbage_cli.images import DEFAULT_LIMITS, Decoded, is_animated, mute_warnings, open_photo
from garbage_cli.parallel import ordered_map
from garbage_cli.prediction import Photo
from garbage_cli.vendor import available_cores

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 5
"""Of what a Record holds and how it is found out; raise it when that changes."""

GRID = 8
"""Parts a side of the grid of colours."""
CHUNK = 32
"""Photos that a worker process is given at a time."""
FEW = 400
"""Up to so many photos, threads are done before processes have started."""

Stamp = tuple[int, int, int, int]
"""Size, time of change of content and of the entry (ns), number of the file: the same as long as the content is."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one file is. Of a file that can't be decoded only `fault`, `reason` and perhaps `sha256`."""

    fault: str = ""
    """An ImageFault, or "" for a photo that can be used."""
    reason: str = ""
    sha256: bytes = b""
    """Of the file's bytes."""
    format: str = ""
    mode: str = ""
    """Pillow's name of the pixels as stored, with /16 where PNG has 16 bits a channel."""
    width: int = 0
    height: int = 0
    """Upright, pixels."""
    orientation: int = 1
    animated: bool = False
    hash: bytes = b""
    """Perceptual hash (DCT, 64 bits) of the upright photo."""
    grid: bytes = b""
    """Red, green and blue of 8 × 8 parts."""


Value = str | int | bytes
values_of: Callable[[Record], tuple[Value, ...]] = attrgetter(*(field.name for field in fields(Record)))
"""A Record as plain values: what goes between processes and into the cache."""

Row = tuple[Stamp | None, tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is, and the stamp of the content that was read: None if it changed meanwhile."""

    stamp: Stamp | None
    record: Record


def stamp(path: str) -> Stamp | None:
    """Return what tells whether a file is still the same; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - ten thousand times
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def inspect(path: str) -> Inspected:
    """Read and decode one file."""
    before = stamp(path)
    record = _record(Path(path))
    return Inspected(before if before == stamp(path) else None, record)


def inspect_chunk(paths: Sequence[str]) -> list[Row]:
    """Read and decode some files, one after the other; in a worker process, hence plain values."""
    return [(found.stamp, values_of(found.record)) for found in map(inspect, paths)]


def _record(path: Path) -> Record:
    try:
        data = Photo.from_path(path).read(max_bytes=DEFAULT_LIMITS.max_bytes)
    except ImageError as error:
        return Record(error.fault, str(error))
    digest = hashlib.sha256(data).digest()
    try:
        decoded = open_photo(data)
    except ImageError as error:
        return Record(error.fault, str(error), digest)
    hash_, grid = fingerprint(decoded.image)
    return Record(
        sha256=digest,
        format=sys.intern(decoded.format),
        mode=sys.intern(decoded.mode + _depth(data, decoded)),
        width=decoded.image.width,
        height=decoded.image.height,
        orientation=decoded.orientation,
        animated=decoded.format not in ("JPEG", "MPO", "BMP") and is_animated(data),
        hash=hash_,
        grid=grid,
    )


def _depth(data: bytes, decoded: Decoded) -> str:
    """Pillow gives 16-bit colour as RGB; only the header still says so (PNG 3rd edition, 11.2.1)."""
    return "/16" if decoded.format == "PNG" and data[24] == 16 and not decoded.mode.startswith("I") else ""


def fingerprint(image: "Image") -> tuple[bytes, bytes]:
    """Return what finds nearly equal photos: perceptual hash (8 bytes), colours of an 8 × 8 grid (192 bytes)."""
    import imagehash
    from PIL.Image import Resampling

    dots = image.resize((16 * GRID, 16 * GRID), Resampling.NEAREST)
    bits = np.packbits(imagehash.phash(dots.convert("L").reduce(4)).hash)
    return bits.tobytes(), dots.reduce(16).tobytes()


Work = Callable[[Sequence[str]], list[Row]]


def inspect_all(paths: Sequence[str], *, work: Work = inspect_chunk) -> Iterator[Inspected]:
    """Inspect files on all cores; yield what each is, in order. Memory does not grow with their number.

    A file that kills the process that reads it is found out, and gets a Record that says so.
    """
    _require_imagehash()
    for stamp_, values in _rows(paths, work):
        yield Inspected(stamp_, Record(*values))  # type: ignore[arg-type]


def _rows(paths: Sequence[str], work: Work) -> Iterator[Row]:
    cores = available_cores()
    if len(paths) <= FEW:
        for batch in ordered_map(work, [[path] for path in paths], threads=cores, ahead=4 * cores):
            yield from batch
        return
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    while chunks:
        done = 0
        try:
            for batch in _in_processes(work, chunks, cores):
                done += 1
                yield from batch
            return
        except BrokenProcessPool:
            yield from _one_by_one(work, chunks[done])
            chunks = chunks[done + 1 :]


def _require_imagehash() -> None:
    try:
        import imagehash  # noqa: F401
    except ImportError:
        raise MissingExtraError("checking photos", package="imagehash", extra="check") from None


def _pool(processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of our own threads
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare_worker)


def _prepare_worker() -> None:
    """In a worker: leave Ctrl-C to the parent, end when it ends, and keep remarks of the decoders quiet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)  # libtiff and others write there of damage, without a file's name
    os.close(silent)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    mute_warnings()
    gc.freeze()  # what was imported is not looked through again and again


@contextmanager
def _interrupts_held(held: bool) -> Iterator[None]:
    """Ignore Ctrl-C for a moment: a process that is started then ignores it from its first line on."""
    if not held or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_processes(work: Work, chunks: Iterable[Sequence[str]], processes: int) -> Iterator[list[Row]]:
    waiting: deque[Future[list[Row]]] = deque()
    pool = _pool(processes)
    try:
        for number, chunk in enumerate(chunks):
            with _interrupts_held(number < processes):  # each submission starts a process, until all are there
                waiting.append(pool.submit(work, chunk))
            if len(waiting) > 3 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one_by_one(work: Work, chunk: Sequence[str]) -> Iterator[Row]:
    """After a worker died over one of these, or over others read at the same time: the next death names the file."""
    pool = _pool(1)
    try:
        for path in chunk:
            try:
                yield from pool.submit(work, [path]).result()
            except BrokenProcessPool:
                yield None, values_of(Record("damaged", "the decoder died over it, or ran out of memory"))
                pool = _pool(1)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
