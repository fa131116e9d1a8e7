"""The processes that train one network together, started by `paddle.distributed.launch`.

Knows ranks, sums over all of them, and what to say where one is lost. Does not know networks. In a single process every
function is a no-op.
"""

import hashlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import ClusterError, ConfigError, GarbageError
from garbage_cli.trainer import pulse as pulses
from garbage_cli.vendor import paddle

CHUNK = 1 << 24
"""Bytes that are sent at a time."""
_REMEDY = "go on with the same command and --resume, on all machines"


@dataclass(frozen=True, slots=True)
class Processes:
    """Which of how many processes this is."""

    rank: int = 0
    world: int = 1
    names: tuple[str, ...] = ("this process",)
    """What each is called in errors: its rank, and where it runs."""
    pulse: pulses.Pulse | None = field(default=None, compare=False, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the run folder."""
        return self.rank == 0

    def sum(self, values: Sequence[float] | NDArray[np.float64], *, at_once: bool = False) -> NDArray[np.float64]:
        """Return the sums of numbers over all processes: shape and order as given.

        It takes as long as the slowest is not here; at once: all are about to be, and nobody need be asked.
        """
        array = np.asarray(values, np.float64)
        if self.world == 1:
            return array
        if not at_once:
            self.wait()
        module = paddle("training")
        tensor = module.to_tensor(array)
        module.distributed.all_reduce(tensor)
        return np.asarray(tensor.numpy())

    def sum_gradients(self, parameters: Sequence[Any]) -> None:
        """Give every process the sum of all processes' gradients; where one has none, that counts as zeros."""
        if self.world == 1:
            return
        module = paddle("training")
        gradients = [module.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        there = module.to_tensor([float(p.grad is not None) for p in parameters])
        flat = module.concat([there, *(gradient.astype("float32").flatten() for gradient in gradients)])
        module.distributed.all_reduce(flat)
        anywhere, start = flat[: len(parameters)].numpy(), len(parameters)
        for parameter, gradient, count in zip(parameters, gradients, anywhere, strict=True):
            piece = flat[start : start + gradient.size].reshape(gradient.shape).astype(gradient.dtype)
            parameter.grad = piece if count else None
            start += gradient.size

    def same_start(self, tensors: Sequence[Any]) -> None:
        """Give every process the first one's values."""
        self.wait()
        if self.world > 1:
            for tensor in tensors:
                paddle("training").distributed.broadcast(tensor, src=0)

    def share(self, content: bytes, *, source: int = 0) -> bytes:
        """Return one process's bytes in all of them."""
        if self.world == 1:
            return content
        module, mine = paddle("training"), self.rank == source
        size = int(self.sum([len(content) if mine else 0])[0])
        pieces = []
        for start in range(0, size, CHUNK):
            piece = np.frombuffer(content[start : start + CHUNK], np.uint8) if mine else np.zeros(0, np.uint8)
            tensor = module.to_tensor(piece if mine else np.zeros(min(CHUNK, size - start), np.uint8))
            module.distributed.broadcast(tensor, src=source)
            pieces.append(content[start : start + CHUNK] if mine else tensor.numpy().tobytes())
        return b"".join(pieces)

    @contextmanager
    def shared_files(self, folder: Path, names: Sequence[str]) -> Iterator[Path]:
        """Give a folder that holds the first process's files of those names, as many as there are, while in the block.

        The others need not see the first one's disk.
        """
        if self.world == 1 or self.first:
            for name in names if self.world > 1 else ():
                path = folder / name
                self.share(b"1" + path.read_bytes() if path.is_file() else b"")
            yield folder
            return
        with TemporaryDirectory(prefix="garbage-state-") as temporary:
            for name in names:
                if content := self.share(b""):
                    (Path(temporary) / name).write_bytes(content[1:])
            yield Path(temporary)

    def rows(self, content: bytes) -> list[bytes]:
        """Return what each process gives: as many bytes each."""
        table = np.zeros((self.world, len(content)))
        table[self.rank] = np.frombuffer(content, np.uint8)
        return [row.astype(np.uint8).tobytes() for row in self.sum(table)]

    def wait(self) -> None:
        """Go on when all are here, however long that takes; raise ClusterError where one is gone."""
        if self.pulse is not None:
            self.pulse.meet()
        elif self.world > 1:
            self.sum([0.0], at_once=True)

    def keep(self, words: str) -> None:
        """Have errors say what of the run is saved."""
        if self.pulse is not None:
            self.pulse.kept = f"{words}; {_REMEDY}"


def is_first() -> bool:
    """Return whether this process is the one that writes and speaks, by what the launcher says; needs no Paddle."""
    return os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


def given_device(choice: str) -> str:
    """Return the device that the launcher gave this process; raise ConfigError if it is of another kind than chosen."""
    given = str(paddle("training").get_device())
    if choice != "auto" and choice.partition(":")[0] != given.partition(":")[0]:
        raise ConfigError(f"device is {choice}, but the launcher gave this process {given}; leave --device out")
    return given


@contextmanager
def joined(give_up: Callable[[str], None] | None = None) -> Iterator[Processes]:
    """Join the processes that the launcher has started, for the time of the block; alone if it has not.

    Where one is lost, or ends with an error, the others end with a ClusterError that names it. Where what Paddle waits
    for does not end, `give_up` is called with the same words, in another thread, and is to end the process.
    """
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) < 2:
        yield Processes()
        return
    processes, pulse = _join(give_up)
    try:
        yield processes
    except pulses.Lost as error:
        pulse.leave(str(error))
        raise ClusterError(f"{error}; {pulse.kept}") from None
    except GarbageError as error:
        pulse.leave(str(error))
        raise
    except Exception as error:
        transport = _of_transport(error)
        lost = pulse.cause(wait=pulses.PATIENCE + 5 if transport else 0)
        if transport and not lost:  # all are there, and yet
            lost = f"the processes can't exchange numbers: {' '.join(str(error).split())[-200:]}"
        pulse.leave(lost or f"{type(error).__name__}: {error}")
        if not lost:
            raise
        raise ClusterError(f"{lost}; {pulse.kept}") from None
    except BaseException:
        pulse.leave("it was stopped by hand")
        raise
    pulse.leave()


def _of_transport(error: Exception) -> bool:
    """Whether Paddle says that another process does not answer, which the pulse knows or is about to know."""
    return any(word in str(error).lower() for word in ("gloo", "nccl"))


def _join(give_up: Callable[[str], None] | None) -> tuple[Processes, pulses.Pulse]:
    """First the lines of the pulse, then Paddle's: its store waits for 15 minutes and deaf to Ctrl-C, gloo for ever."""
    ends = os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")
    rank, world = int(os.environ["PADDLE_TRAINER_ID"]), len(ends)
    names = tuple(f"rank {rank} on {end.rpartition(':')[0]}" for rank, end in enumerate(ends))
    try:
        pulse = pulses.Pulse(rank, _lines(ends, rank, names), names)
    except (OSError, pulses.Lost) as error:
        what = f"{ends[0]}, {names[0]}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
        raise ClusterError(
            f"the {world} processes did not come together: {what}; see the logs, for one may have ended before. They "
            "need to reach one another over TCP, at the addresses that --host gives"
        ) from None
    pulse.give_up = give_up
    _settle_ports(ends, rank)
    try:
        pulse.meet()
        paddle("training").distributed.init_parallel_env()
        pulse.meet()
    except pulses.Lost as error:
        pulse.leave(str(error))
        raise ClusterError(f"{error}; {pulse.kept}") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[-300:]
        pulse.leave(f"Paddle could not connect to the others: {reason}")
        raise ClusterError(
            f"{names[rank]} could not connect to the others ({reason}); they need to reach one another over TCP at any "
            "port. GLOO_SOCKET_IFNAME, or NCCL_SOCKET_IFNAME on GPUs, names the network interface to use"
        ) from None
    except BaseException:
        pulse.leave("it was stopped by hand")
        raise
    return Processes(rank, world, names, pulse), pulse


def _lines(ends: Sequence[str], rank: int, names: Sequence[str]) -> dict[int, socket.socket]:
    """The launcher finds a free port for each process: the first one listens at its own."""
    common = ",".join((*ends, os.environ.get("PADDLE_MASTER", "")))
    words = f"{ends[0]}:{hashlib.sha256(common.encode()).hexdigest()}"  # keeps out who comes by chance
    return pulses.call(words, rank) if rank else pulses.accept(pulses.listen(words), words, names)


def _settle_ports(ends: Sequence[str], rank: int) -> None:
    """Settle where Paddle's store listens if the launcher has not, and which interface gloo takes.

    An older way of launching, and `--ips`, mean it to have the port of the first process, where others may still come.
    """
    host, _, port = ends[0].rpartition(":")
    if os.environ.get("PADDLE_MASTER", ends[0]) == ends[0]:
        os.environ["PADDLE_MASTER"] = f"{host}:{int(port) + 1000 if int(port) < 60000 else int(port) - 1000}"
    if interface := _interface(ends[rank].rpartition(":")[0]):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)


def _interface(address: str) -> str:
    """The network interface that has an IPv4 address; "" if none has. Gloo takes that of the host's name otherwise."""
    if sys.platform != "linux":
        return ""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no address
                answer = fcntl.ioctl(asking.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return ""
