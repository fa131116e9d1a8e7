"""The access log: one JSON object a line, to a file or to stdout. Knows files. Does not know requests.

Whoever writes a record never waits and never fails: a thread of its own writes, and what can't be written is dropped
and counted. Several workers may write to one file or pipe: every write holds whole lines, and no more of them than a
pipe takes in one piece.
"""

import errno
import json
import os
import queue
import re
import select
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from garbage_cli.errors import ServerError

STDOUT = "-"
_CAPACITY = 10_000
"""Records that may wait to be written."""
_AT_ONCE = 256
"""Records that the thread takes at a time."""
_PIECE = min(4096, select.PIPE_BUF)
"""Bytes of one write: what Linux puts into a pipe without another's bytes in between."""
_GATHER = 0.02
"""Seconds for which lines are gathered for one write, so that the thread seldom wakes."""
_CALM = 1.0
"""Seconds without a loss after which the log is said to work again."""
_LINE_ENDS = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What JSON leaves as it is, and what ends a line, drives a terminal, or turns text around, somewhere."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class AccessLog:
    """Writes records in the background, in the order in which they came.

    A file that was rotated away is opened anew. Raises ServerError if the target can't be opened at the start.
    """

    def __init__(self, target: str | None, *, on_lost: Callable[[int], object]) -> None:
        self._target, self._on_lost = target, on_lost
        self._queue: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()
        self._lost_lock = threading.Lock()
        self._lost = 0
        self._last_loss = 0.0
        self._unwritten = 0
        """Lines that the thread has in hand."""
        self._torn = False
        """The last line in the file has no end: there was no room for it."""
        self._handle = -1
        self._closed = target is None
        self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
        if target is not None:
            self._handle = _open(target)
            self._thread.start()

    def write(self, record: Mapping[str, object]) -> None:
        """Have a record written. Returns at once; a record too many is dropped."""
        if self._closed:
            return
        if self._queue.qsize() >= _CAPACITY:
            self._lose(1, f"{_CAPACITY} lines wait to be written")
        else:
            self._queue.put(dict(record))

    def close(self) -> None:
        """Write what waits, for a second at most; what is left then is lost."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join(1)
        if self._thread.is_alive():
            self._lose(self._unwritten + max(0, self._queue.qsize() - 1), "it took no more lines before the end")

    def _work(self) -> None:
        """Write lines, several at once, until the end is in the queue."""
        ended = False
        while not ended:
            waiting = [self._queue.get()]
            if waiting[0] is not None and not self._closed and self._queue.qsize() < _AT_ONCE:
                time.sleep(_GATHER)
            with suppress(queue.Empty):
                while len(waiting) < _AT_ONCE:
                    waiting.append(self._queue.get_nowait())
            ended = any(record is None for record in waiting)
            records = [record for record in waiting if record is not None]
            self._unwritten = len(records)
            self._write_pieces([_line(record) for record in records])
        os.close(self._handle)

    def _write_pieces(self, lines: list[bytes]) -> None:
        piece: list[bytes] = []
        size = 1  # of a line end that a torn line before it may need
        for line in lines:
            if piece and size + len(line) > _PIECE:
                self._write(piece)
                piece, size = [], 1
            piece.append(line)
            size += len(line)
        if piece:
            self._write(piece)

    def _write(self, lines: list[bytes]) -> None:
        """Write whole lines in one go; count those that did not get through."""
        start, data = b"\n" if self._torn else b"", b"".join(lines)
        lost, reason = len(lines), "there was room for a part only"
        try:
            self._reopen_if_moved()
            written = os.write(self._handle, start + data)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            self._torn = not (start + data)[:written].endswith(b"\n")
            lost -= data.count(b"\n", 0, max(0, written - len(start)))
        self._unwritten -= len(lines)
        if lost:
            self._lose(lost, reason)
        else:
            self._say_if_it_works_again()

    def _reopen_if_moved(self) -> None:
        """Open the file anew if its name now means another file or none."""
        assert self._target is not None
        if self._target == STDOUT:
            return
        here = os.fstat(self._handle)
        try:
            if os.path.samestat(here, Path(self._target).stat()):
                return
        except FileNotFoundError:
            pass
        try:
            handle = _open(self._target)
        except ServerError as error:
            if here.st_nlink == 0:
                raise OSError(errno.ENOENT, str(error)) from None
            return  # it was renamed, and no new one can be made yet: the old one still takes lines
        os.dup2(handle, self._handle, inheritable=False)
        os.close(handle)
        self._torn = False

    def _lose(self, lines: int, reason: str) -> None:
        with self._lost_lock:
            first, self._lost, self._last_loss = not self._lost, self._lost + lines, time.monotonic()
        self._on_lost(lines)
        if first:
            _say(f"the access log {self._target} loses lines: {reason}")

    def _say_if_it_works_again(self) -> None:
        if self._lost and self._queue.qsize() < _CAPACITY // 2 and time.monotonic() - self._last_loss >= _CALM:
            with self._lost_lock:
                lost, self._lost = self._lost, 0
            _say(f"the access log {self._target} works again; {lost} lines were lost")


def check_target(target: str | None) -> None:
    """Raise ServerError if the access log can't be written there. Makes the file."""
    if target is not None:
        os.close(_open(target))


def request_id(header: bytes | str | None) -> str:
    """Give a client's X-Request-Id if it is harmless in a log and a header, or else a new one."""
    given = header.decode("latin-1") if isinstance(header, bytes) else header
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _open(target: str) -> int:
    try:
        if target == STDOUT:
            return _duplicate_of_stdout()
        # a named pipe that nobody reads is refused, not waited for
        handle = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ServerError(
            f"the access log {target} can't be opened: {reason}; name another file, or {STDOUT} for stdout"
        ) from None
    os.set_blocking(handle, True)
    return handle


def _duplicate_of_stdout() -> int:
    if sys.__stdout__ is None:  # it was closed when Python began; number 1 may be anything now
        raise OSError(errno.EBADF, "stdout is closed")
    return os.dup(1)


def _line(record: Mapping[str, object]) -> bytes:
    """Give a record as one line that fits into a piece; long texts are cut."""
    for limit in (1024, 256, 64, 16):
        line = _encode({str(name)[:64]: _plain(value, limit) for name, value in record.items()})
        if len(line) < _PIECE:
            return line
    return _encode({"cut": True, **{str(name)[:64]: _plain(value, 16) for name, value in list(record.items())[:8]}})


def _encode(record: dict[str, object]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(", ", ": "))
    text = _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode("utf-8", "backslashreplace") + b"\n"  # a lone surrogate becomes JSON's own \udc80


def _plain(value: object, limit: int, depth: int = 0) -> object:
    """Make a value of what JSON has; texts no longer than the limit."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float) and abs(value) < float("inf"):
        return float(value)
    if isinstance(value, Mapping) and depth < 2:
        return {str(name)[:64]: _plain(each, limit, depth + 1) for name, each in list(value.items())[:limit]}
    if isinstance(value, list | tuple) and depth < 2:
        return [_plain(each, limit, depth + 1) for each in value[:limit]]
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a log must not fail over what it is given
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _say(text: str) -> None:
    """Put a line on stderr from a thread of its own: stderr may be as stuck as the log is."""

    def put() -> None:
        with suppress(OSError, ValueError, AttributeError):  # it may be full, closed, or None
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    with suppress(RuntimeError):
        threading.Thread(target=put, name="access log's word", daemon=True).start()
