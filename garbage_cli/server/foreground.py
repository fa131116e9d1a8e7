"""What signals ask of the process in the foreground: to stop, to hurry with it, to load the model anew.

Knows signals. Does not know what is served.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TURN = 0.2
"""Seconds between two looks at what is to be looked after."""
_NAMES = ("SIGTERM", "SIGINT", "SIGHUP")


class Foreground:
    """The wishes that have come since it was made."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        """The signal that asked for an end."""
        self.hurry = False
        """Whether an end was asked for twice."""
        self._reload = False
        self._wake = threading.Event()

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """Take the signals for the time of the block; afterwards raise KeyboardInterrupt if it was Ctrl-C."""
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        before = {number: signal.signal(number, self._heed) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stop == signal.SIGINT:
            raise KeyboardInterrupt

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            self._reload = True
        else:
            self.hurry = self.stop is not None
            self.stop = signal.Signals(number)
        self._wake.set()

    def until_stopped(self, look_after: Callable[[], object]) -> None:
        """Look after what is served several times a second, until an end is asked for."""
        while self.stop is None:
            self.wait()
            look_after()

    def wait(self) -> None:
        """Wait for a turn, or less where a signal comes."""
        self._wake.wait(TURN)
        self._wake.clear()

    def want_reload(self) -> None:
        """Ask for the model to be loaded anew, as SIGHUP does."""
        self._reload = True

    def takes_reload(self) -> bool:
        """Whether the model is to be loaded anew; said once for each time that it is asked for."""
        wanted, self._reload = self._reload, False
        return wanted


@contextmanager
def no_reload() -> Iterator[None]:
    """Pass over SIGHUP: before there is a model, there is none to reload."""
    number = getattr(signal, "SIGHUP", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)
