"""How many photos were answered, and how fast.

Knows counts and times, in memory that does not grow: a time is kept as one of about 1,200 steps of 2 %, so what is said
of it is within 1 %.
"""

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass

_STEP = math.log(1.02)
_SHORTEST, _LONGEST = 1e-5, 1e5
"""Seconds; what is beyond counts as these."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the photos so far."""

    answered: int
    failed: int
    retries: int
    """Requests that were sent, or connections that were tried, once more."""
    seconds: float
    """From the first photo to the last answer."""
    p50: float | None
    """Median of the seconds that an answer took, of the try that was answered, as seen from here; within 1 %."""
    p99: float | None

    @property
    def per_second(self) -> float:
        """Photos answered per second."""
        return self.answered / self.seconds if self.seconds else 0.0


class Pace:
    """Counts what many threads do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: Counter[int] = Counter()
        self._answered = self._failed = self._retries = 0
        self._began: float | None = None
        self._ended = 0.0

    def begin(self) -> None:
        """The first photo is on its way; later ones change nothing."""
        with self._lock:
            self._began = time.monotonic() if self._began is None else self._began

    def answered(self, seconds: float) -> None:
        """One more photo has its answer, which took so long."""
        with self._lock:
            self._answered += 1
            self._ended = time.monotonic()
            self._steps[math.floor(math.log(min(max(seconds, _SHORTEST), _LONGEST)) / _STEP)] += 1

    def failed(self) -> None:
        """One more photo has none."""
        with self._lock:
            self._failed += 1
            self._ended = time.monotonic()

    def retried(self) -> None:
        """Something was tried once more."""
        with self._lock:
            self._retries += 1

    def summary(self) -> Summary:
        """Return what was counted."""
        with self._lock:
            seconds = max(0.0, self._ended - self._began) if self._began is not None else 0.0
            return Summary(self._answered, self._failed, self._retries, seconds, self._at(0.50), self._at(0.99))

    def _at(self, share: float) -> float | None:
        """The seconds within which this share of the answers came: the middle of the step that holds the last one."""
        left = math.ceil(share * self._answered)
        for step in sorted(self._steps):
            left -= self._steps[step]
            if left <= 0:
                return math.exp((step + 0.5) * _STEP)
        return None
