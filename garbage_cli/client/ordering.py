"""Photos spread over threads, and their answers in order; what was answered is not lost when the server goes away.

Knows threads. Does not know HTTP. Unlike `parallel.ordered_map` it waits for nobody when it is left: a request that
hangs must not keep Ctrl-C waiting, so its threads are daemons.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue

from garbage_cli.errors import ServerError
from garbage_cli.prediction import Photo, Prediction

Ask = Callable[[Photo, threading.Event], Prediction]
"""Answers one photo; ends its pauses when the event is set."""

_Task = tuple[Photo, "Future[Prediction]"] | None


class Stopped(Exception):
    """A photo was given up, because the whole run ends."""


def in_order(ask: Ask, photos: Iterable[Photo], *, threads: int, ahead: int) -> Iterator[Prediction]:
    """Yield the answer of each photo, in input order, at most `ahead` of them under way or waiting.

    A ServerError ends the run: no further photo is sent, the answers of those under way are yielded, then it is raised.
    """
    stop, tasks = threading.Event(), SimpleQueue[_Task]()
    waiting: deque[Future[Prediction]] = deque()
    started = 0
    try:
        for photo in photos:
            future: Future[Prediction] = Future()
            waiting.append(future)
            tasks.put((photo, future))
            if started < threads:
                threading.Thread(target=_work, args=(ask, tasks, stop), daemon=True).start()
                started += 1
            while waiting and (len(waiting) >= ahead or waiting[0].done()):
                yield from _next(waiting, stop)
        while waiting:
            yield from _next(waiting, stop)
    finally:
        stop.set()
        for future in waiting:
            future.cancel()
        for _ in range(started):
            tasks.put(None)


def _work(ask: Ask, tasks: SimpleQueue[_Task], stop: threading.Event) -> None:
    while (task := tasks.get()) is not None:
        photo, future = task
        if not future.set_running_or_notify_cancel():
            continue
        try:
            answer = ask(photo, stop)
        except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
            future.set_exception(error)
        else:
            future.set_result(answer)


def _next(waiting: deque[Future[Prediction]], stop: threading.Event) -> Iterator[Prediction]:
    """The first answer; or, if the server is the trouble, those of all who got one, and then the error."""
    try:
        answer = waiting.popleft().result()
    except ServerError as error:
        stop.set()
        for future in waiting:
            future.cancel()
        while waiting:
            try:
                late = waiting.popleft().result()
            except (ServerError, Stopped, CancelledError):
                continue
            yield late
        raise error from None
    yield answer
