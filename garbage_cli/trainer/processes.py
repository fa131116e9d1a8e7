"""The processes that train one network together, started by `paddle.distributed.launch`.

Knows ranks and sums over all of them. Does not know networks. In a single process every function is a no-op.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import ConfigError
from garbage_cli.vendor import paddle


@dataclass(frozen=True, slots=True)
class Processes:
    """Which of how many processes this is."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the run folder."""
        return self.rank == 0

    def sum(self, values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of numbers over all processes: shape and order as given."""
        array = np.asarray(values, np.float64)
        if self.world == 1:
            return array
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
        if self.world > 1:
            for tensor in tensors:
                paddle("training").distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Go on when all are here."""
        self.sum([0.0])


def is_first() -> bool:
    """Return whether this process is the one that writes and speaks, by what the launcher says; needs no Paddle."""
    return os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


def given_device(choice: str) -> str:
    """Return the device that the launcher gave this process; raise ConfigError if it is of another kind than chosen."""
    given = str(paddle("training").get_device())
    if choice != "auto" and choice.partition(":")[0] != given.partition(":")[0]:
        raise ConfigError(f"device is {choice}, but the launcher gave this process {given}; leave --device out")
    return given


def join() -> Processes:
    """Join the processes that the launcher has started; alone if it has not."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) < 2:
        return Processes()
    distributed = paddle("training").distributed
    distributed.init_parallel_env()
    return Processes(rank=distributed.get_rank(), world=distributed.get_world_size())
