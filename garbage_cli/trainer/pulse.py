"""Whether the other processes are there: each holds a line to the first one, over which both say so every second.

Knows sockets and clocks. Does not know Paddle or what is trained. Sums over processes wait for 30 s only (gloo), or for
ever (NCCL); here a process that is slow is waited for, and one that is gone is noticed and named.
"""

import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from garbage_cli.errors import ClusterError

PATIENCE = 20.0
"""Seconds of silence after which a process counts as lost."""
GRACE = 40.0
"""Seconds after a loss in which training is to end by itself: what it waits for over gloo ends after 30."""
JOIN = 300.0
"""Seconds in which all processes must have come."""
_BEAT = 1.0
_WELCOME = b"welcome\n"
_LONGEST = 2000


class Lost(ClusterError):
    """A process that trained with this one is gone."""


@dataclass(slots=True)
class _Line:
    """The line to another process, and what is known of it."""

    link: socket.socket
    heard: float
    unread: bytes = b""
    here: int = 0
    """How many times it has come to a meeting."""


@dataclass(slots=True)
class _Known:
    lost: str = ""
    since: float = 0.0
    ended: set[int] = field(default_factory=set)
    met: int = 0
    """How many meetings are over."""
    leaving: bool = False


class Pulse:
    """The lines of one process: to all others where it is the first, else to the first."""

    def __init__(self, rank: int, links: dict[int, socket.socket], names: Sequence[str]) -> None:
        now = time.monotonic()
        self._rank, self._names = rank, names
        self._lines = {peer: _Line(link, now) for peer, link in links.items()}
        self._known, self._came = _Known(), 0
        self._change = threading.Condition()
        self._saying = threading.Lock()
        self.kept = "nothing was saved yet"
        self.give_up: Callable[[str], None] | None = None
        """What to call with words if training has not ended by itself a while after a loss."""
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def meet(self) -> None:
        """Go on when all are here, however long that takes; raise Lost if one is gone."""
        with self._change:
            self._came += 1
            if self._rank == 0:
                self._open()
            else:
                self._say(f"here {self._came}")
            self._change.wait_for(lambda: self._known.met >= self._came or bool(self._known.lost or self._known.ended))
            if self._known.met >= self._came:
                return
            gone = ", ".join(self._names[peer] for peer in sorted(self._known.ended))
            raise Lost(self._known.lost or f"{gone} ended before the others")

    def cause(self, *, wait: float = 0.0) -> str:
        """Return who was lost and how; "" if nobody is, or is known to be after so many seconds."""
        with self._change:
            self._change.wait_for(lambda: bool(self._known.lost), timeout=wait)
            return self._known.lost

    def leave(self, words: str = "") -> None:
        """Say goodbye, with the words of an error where that is why, and hang up."""
        with self._change:
            self._known.leaving = True
        self._say(f"left {_line(words)}" if words else "bye")
        for line in self._lines.values():
            _quietly(line.link.shutdown, socket.SHUT_WR)
        self._thread.join(timeout=2 * _BEAT)  # until the others have hung up too

    def _say(self, text: str, *, to: int | None = None) -> None:
        with self._saying:
            for peer, line in self._lines.items():
                if to in (None, peer):
                    _quietly(line.link.sendall, f"{text}\n".encode())

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer, line in self._lines.items():
                selector.register(line.link, selectors.EVENT_READ, peer)
            beat = 0.0
            while selector.get_map():
                for key, _ in selector.select(timeout=_BEAT / 4):
                    if not self._hear(key.data):
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                if now >= beat and not self._known.leaving:
                    beat = now + _BEAT
                    self._say("beat")
                for peer in [key.data for key in selector.get_map().values()]:
                    if now - self._lines[peer].heard > PATIENCE:
                        self._lose(f"nothing was heard of {self._names[peer]} for {PATIENCE:.0f} s")
                        selector.unregister(self._lines[peer].link)
                self._end_by_force(now)
            while self._known.lost and not self._known.leaving:  # no line is left, but training may still hang
                self._end_by_force(time.monotonic())
                time.sleep(_BEAT / 4)
        for line in self._lines.values():
            line.link.close()

    def _end_by_force(self, now: float) -> None:
        if self._known.lost and not self._known.leaving and self.give_up and now > self._known.since + GRACE:
            self.give_up(f"{self._known.lost}; {self.kept}")

    def _hear(self, peer: int) -> bool:
        """Take in what another process says; return whether its line is still open."""
        line = self._lines[peer]
        try:
            data = line.link.recv(65536)
        except OSError:
            data = b""
        line.heard = time.monotonic()
        *texts, line.unread = (line.unread + data).split(b"\n")
        for text in texts:
            self._take(peer, *text.decode(errors="replace").partition(" ")[::2])
        if not data and peer not in self._known.ended:
            self._lose(f"{self._names[peer]} is gone: it was killed, or its machine stopped")
        return bool(data)

    def _take(self, peer: int, word: str, rest: str) -> None:
        with self._change:
            if word == "here":
                self._lines[peer].here = int(rest)
                self._open()
            elif word == "go":
                self._known.met = int(rest)
            elif word in ("bye", "left"):
                self._known.ended.add(peer)
            self._change.notify_all()
        if word == "left":
            self._lose(f"{self._names[peer]} stopped: {rest}")
        elif word == "lost":
            self._lose(rest)

    def _open(self) -> None:
        """Let all go on if all are here; only the first process asks, and holds the lock."""
        meeting = self._known.met + 1
        if self._came >= meeting and all(line.here >= meeting for line in self._lines.values()):
            self._known.met = meeting
            self._say(f"go {meeting}")
            self._change.notify_all()

    def _lose(self, words: str) -> None:
        with self._change:
            if self._known.lost or self._known.leaving:
                return
            self._known.lost, self._known.since = words, time.monotonic()
            self._change.notify_all()
        if self._rank == 0:
            self._say(f"lost {_line(words)}")


def _line(words: str) -> str:
    return " ".join(words.split())[:_LONGEST]


def _quietly(call: Callable[..., object], *arguments: object) -> None:
    """A line that is broken is noticed where it is read."""
    try:
        call(*arguments)
    except OSError:
        return


def listen(words: str) -> socket.socket:
    """Open the first process's port; the words are its address, and a secret that all know: HOST:PORT:SECRET."""
    host, port, _ = words.rsplit(":", 2)
    return socket.create_server((host, int(port)))


def accept(
    server: socket.socket, words: str, names: Sequence[str], *, within: float = JOIN
) -> dict[int, socket.socket]:
    """Take the lines of all other processes, and welcome them when all are there; who has not the secret is sent away.

    Raises Lost that names those who are not there within so many seconds.
    """
    secret, until = words.rpartition(":")[2].encode(), time.monotonic() + within
    links: dict[int, socket.socket] = {}
    try:
        with server:
            while len(links) < len(names) - 1:
                server.settimeout(max(0.01, until - time.monotonic()))
                link, _ = server.accept()
                if rank := _introduced(link, secret, len(names)):
                    links[rank] = _prompt(link)
                else:
                    link.close()
        for link in links.values():
            _quietly(link.sendall, _WELCOME)  # one that has ended by now is noticed where it is read
    except TimeoutError:
        for link in links.values():
            link.close()
        missing = ", ".join(name for rank, name in enumerate(names) if rank and rank not in links)
        raise Lost(f"nothing was heard of {missing} within {within:.0f} s") from None
    return links


def _introduced(link: socket.socket, secret: bytes, world: int) -> int:
    """The rank of the process at the other end; 0 if it is none of ours."""
    link.settimeout(_BEAT)
    try:
        said, _, rank = link.makefile("rb", buffering=0).readline(100).strip().partition(b" ")
    except OSError:
        return 0
    link.settimeout(PATIENCE)
    known = secrets.compare_digest(said, secret) and rank.isdigit() and int(rank) < world
    return int(rank) if known else 0


def call(words: str, rank: int, *, within: float = JOIN) -> dict[int, socket.socket]:
    """Open the line to the first process, which may not be there yet; go on when all others have done so.

    Raises OSError if it is not there within so many seconds, or ends meanwhile.
    """
    host, port, secret = words.rsplit(":", 2)
    until = time.monotonic() + within
    while True:
        try:
            link = _reached((host, int(port)))
        except OSError:
            if time.monotonic() >= until:
                raise
            time.sleep(_BEAT / 4)
            continue
        try:
            link.sendall(f"{secret} {rank}\n".encode())
            link.settimeout(max(0.01, until - time.monotonic()) + PATIENCE)
            if link.makefile("rb", buffering=0).readline(len(_WELCOME)) != _WELCOME:
                raise ConnectionError("it ended, or waited in vain for others; see its log")
        except OSError:
            link.close()
            raise
        link.settimeout(PATIENCE)
        return {0: _prompt(link)}


def _reached(address: tuple[str, int]) -> socket.socket:
    link = socket.create_connection(address, timeout=PATIENCE / 4)
    if link.getsockname() == link.getpeername():  # where nobody listens yet, TCP may connect a port to itself
        link.close()
        raise ConnectionError("nobody is there")
    return link


def _prompt(link: socket.socket) -> socket.socket:
    """Have short words sent at once: all wait for them."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link
