"""Work spread over threads whose results come back in order, with a bounded number under way.

Knows threads. Does not know what the work is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in input order, at most `ahead` of them under way or waiting.

    Items are drawn only as room comes free, so memory stays flat over an endless input. An exception from
    `function` is raised at its own place in the order; the work not yet begun is then cancelled.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
