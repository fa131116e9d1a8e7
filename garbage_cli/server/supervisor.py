"""The process that starts workers, replaces those that die or hang, reloads their model, and stops them.

Knows processes. Does not know HTTP.
"""

import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from garbage_cli.errors import ServerError
from garbage_cli.server.foreground import Foreground
from garbage_cli.server.memory import free_memory
from garbage_cli.server.metricsfolder import MetricsFolder
from garbage_cli.server.options import ServeOptions
from garbage_cli.server.worker import Loaded, Ready, work

HUNG = 30.0
"""Seconds without a turn of its event loop after which a worker is replaced."""
SUSPENDED = 5.0
"""Seconds between two looks, which come several times a second, from which on this process must have been stopped."""
SHORT_LIFE = 10.0
"""A worker that dies sooner than so many seconds after its start is started again after a pause that grows."""
LOADING = 300.0
"""Seconds that a worker may take to load its model."""

_spawn = multiprocessing.get_context("spawn")


def _tell(text: str) -> None:
    """A worker has no console; its remarks go to stderr, if anybody reads that."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")


def _unfailing(tell: Callable[[str], object]) -> Callable[[str], object]:
    """A server does not end because nobody reads its remarks any more."""

    def told(text: str) -> None:
        with suppress(OSError, ValueError, SystemExit):  # rich ends the program over a broken pipe
            tell(text)

    return told


class _Worker:
    """A worker's process, seen from outside."""

    def __init__(self, options: ServeOptions, listener: socket.socket) -> None:
        self.link, theirs = _spawn.Pipe()
        self.beat = _spawn.Value("d", 0.0, lock=False)
        self.process = _spawn.Process(target=work, args=(options, listener, theirs, self.beat, _tell), daemon=True)
        self.process.start()
        theirs.close()
        self.born = time.monotonic()
        self.is_ready = False
        self.options = options
        """What it was started with, or has loaded since."""

    @property
    def pid(self) -> int:
        pid = self.process.pid
        assert pid is not None
        return pid

    def is_hung(self, since: float) -> bool:
        """Whether it has shown no life for too long, of the time that we were awake ourselves."""
        if not self.is_ready:
            return time.monotonic() - max(self.born, since) > LOADING
        return bool(time.monotonic() - max(self.beat.value, since) > HUNG)

    def hear(self, seconds: float) -> Any:
        """The next thing it says; None if it says nothing in time; raises EOFError once it is dead."""
        try:
            return self.link.recv() if self.link.poll(seconds) else None
        except (OSError, TypeError, ValueError):  # closed, perhaps by another thread just now
            raise EOFError from None

    def end(self) -> str:
        """How it ended, in words."""
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


class Supervisor:
    """Runs the workers of one server."""

    def __init__(
        self,
        options: ServeOptions,
        listener: socket.socket,
        folder: MetricsFolder,
        *,
        renew: Callable[[ServeOptions], ServeOptions],
        tell: Callable[[str], object],
    ) -> None:
        """`renew` checks the model's folder anew, and returns options with the engine that is to be taken."""
        self._options = options
        self._listener = listener
        self._folder = folder
        self._renew = renew
        self._tell = _unfailing(tell)
        self._workers: list[_Worker] = []
        self._front = Foreground()
        self._reloading: threading.Thread | None = None
        self._looked = self._awake = time.monotonic()
        """When we last looked after the workers, and since when we have done so without a break."""
        self._failures = 0
        self._not_before = 0.0

    def run(self, on_ready: Callable[[], object]) -> None:
        """Serve until SIGTERM or Ctrl-C; raise ServerError if no worker can start, KeyboardInterrupt after Ctrl-C."""
        with self._front.heeding():
            try:
                self._start_all()
                if self._front.stop is None:
                    on_ready()
                self._front.until_stopped(self._look_after)
            finally:
                self._end_all()

    # ---- starting

    def _start_all(self) -> None:
        """One first: what is wrong with it is wrong with all, and its size says whether the others fit."""
        first = self._start()
        size = self._await(first)
        if self._front.stop is not None or self._options.workers == 1:
            return
        self._check_memory(size)
        rest = [self._start() for _ in range(self._options.workers - 1)]
        for worker in rest:
            self._await(worker)

    def _start(self) -> _Worker:
        worker = _Worker(self._options, self._listener)
        self._workers.append(worker)
        return worker

    def _await(self, worker: _Worker) -> int:
        """Wait until a worker has its model; return the bytes it needs for itself."""
        until = time.monotonic() + LOADING
        while self._front.stop is None:
            try:
                said = worker.hear(0.2)
            except EOFError:
                worker.process.join(5)
                hint = "; is there enough memory?" if worker.process.exitcode == -signal.SIGKILL else ""
                raise ServerError(f"a worker {worker.end()} while it loaded the model{hint}") from None
            if isinstance(said, Ready):
                worker.is_ready = True
                return said.private_bytes
            if said is not None:
                raise ServerError(str(said))
            if time.monotonic() > until:
                raise ServerError(f"a worker did not load the model within {LOADING:g} seconds")
        return 0

    def _check_memory(self, size: int) -> None:
        others, free = self._options.workers - 1, free_memory()
        if free is not None and others * size > free:
            fit = 1 + int(free // max(1, size))
            raise ServerError(
                f"{others + 1} workers need about {others + 1} × {size >> 20} MiB, and beside the first one "
                f"{free >> 20} MiB are free; use --workers {fit}"
            )

    # ---- looking after them

    def _look_after(self) -> None:
        now = time.monotonic()
        if now - self._looked > SUSPENDED:  # Ctrl-Z, a paused container: the workers stood still as well
            self._awake = now
        self._looked = now
        for worker in list(self._workers):
            self._look_at(worker)
        if len(self._workers) < self._options.workers and now >= self._not_before:
            try:
                self._start()
            except OSError as error:  # no process to be had; the others go on
                self._not_before = now + SHORT_LIFE
                self._tell(f"no new worker ({error.strerror or error}); tried again in {SHORT_LIFE:g} s")
        if not (self._reloading and self._reloading.is_alive()) and self._front.takes_reload():
            self._reloading = threading.Thread(target=self._reload_all, daemon=True)
            self._reloading.start()

    def _look_at(self, worker: _Worker) -> None:
        if not worker.is_ready:  # its last words may be why it is dead
            self._hear_of_start(worker)
        if worker.is_hung(self._awake):
            self._tell(f"worker {worker.pid} hangs; it is replaced")
            worker.process.kill()
            worker.process.join()
        if not worker.process.is_alive():
            self._bury(worker)

    def _hear_of_start(self, worker: _Worker) -> None:
        with suppress(EOFError):
            said = worker.hear(0)
            worker.is_ready = isinstance(said, Ready)
            if worker.is_ready and worker.options is not self._options:
                self._front.want_reload()  # it was loading the model before when the others were told of the new one
            if isinstance(said, str):
                self._tell(f"a new worker can't start: {said}")

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        self._folder.forget(worker.pid)
        worker.link.close()
        self._workers.remove(worker)
        if self._front.stop is not None:
            return
        self._failures = self._failures + 1 if time.monotonic() - worker.born < SHORT_LIFE else 0
        pause = min(30.0, 0.5 * 2 ** min(10, self._failures)) if self._failures else 0.0
        self._not_before = time.monotonic() + pause
        after = f" in {pause:g} s" if pause else ""
        self._tell(f"worker {worker.pid} {worker.end()}; another one is started{after}")

    def _reload_all(self) -> None:
        """Check the model's folder, then have one worker after the other load it beside the old one."""
        try:
            options = self._renew(self._options)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new model, the old one answers
            self._tell(f"not reloaded, the model before goes on: {str(error) or type(error).__name__}")
            return
        self._options = options
        done = 0
        for worker in [each for each in list(self._workers) if each.is_ready]:
            try:
                while worker.hear(0):
                    pass  # an answer that came too late the last time
                worker.link.send(options)
                said = worker.hear(LOADING)
            except (EOFError, OSError):
                continue  # it died; the next one starts with the new model
            if isinstance(said, Loaded) and not said.failed:
                worker.options = options
                done += 1
            else:
                self._tell(f"worker {worker.pid} goes on with the model before: {said.failed if said else 'no answer'}")
        self._tell(f"reloaded {options.model} in {done} worker{'' if done == 1 else 's'}")

    # ---- stopping

    def _end_all(self) -> None:
        """Have all finish what they accepted; kill what is left after that, or at a second wish."""
        self._listener.close()  # else whoever connects after the last worker's last call waits for nobody
        for worker in self._workers:
            with suppress(OSError):
                worker.process.terminate()
        until = time.monotonic() + self._options.drain_seconds + 5
        while (
            any(each.process.is_alive() for each in self._workers)
            and time.monotonic() < until
            and not self._front.hurry
        ):
            time.sleep(0.05)
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.kill()
            worker.process.join()
