"""Work spread over threads whose results come back in order, with a bounded number under way.

Knows threads. Does not know what the work is.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in input order, at most `ahead` of them under way or waiting.

    Items are drawn only as room comes free, so memory stays flat over an endless input. An exception from
    `function` is raised at its own place in the order; the work not yet begun is then cancelled. `function` must not
    use `ordered_map` itself with the same number of threads: it would wait for threads that wait for it.
    """
    waiting: deque[Future[Result]] = deque()
    pool = lasting_threads(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        wait([future for future in waiting if not future.cancel()])


def lasting_threads(number: int) -> ThreadPoolExecutor:
    """Return threads that stay until the program ends, the same for all who ask for so many.

    OpenVINO may crash where a thread that has called it ends at the moment when a network goes (2026.4; seen once in
    some hundreds). So those that call it don't end. Work in them must not wait for other work in them.
    """
    with _making:
        if number not in _pools:
            _pools[number] = ThreadPoolExecutor(number, "lasting")
        return _pools[number]


_pools: dict[int, ThreadPoolExecutor] = {}
_making = threading.Lock()


def _begin_anew() -> None:
    """In a fork: threads don't come along, and a lock may have been held."""
    global _making
    _making = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
