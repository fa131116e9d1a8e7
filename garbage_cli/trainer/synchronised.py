"""Batch normalisation over the whole batch where each process holds a part of it.

Knows layers of batch norm and sums over processes. Does not know networks or losses. Paddle's own SyncBatchNorm has no
kernel for the CPU, and passes by the layers of the older kind that many of PaddleClas's networks have.
"""

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from garbage_cli.trainer.processes import Processes
from garbage_cli.vendor import paddle

if TYPE_CHECKING:
    from collections.abc import Iterator


class Synchronised:
    """Batch norm of a network that is computed over the photos of all processes; as it was where there is but one."""

    def __init__(self, network: Any, processes: Processes) -> None:
        self._share = 1.0
        nn = paddle("training").nn
        kinds = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D)
        layers = [layer for layer in network.sublayers() if isinstance(layer, kinds)] if processes.world > 1 else []
        if not layers:
            return
        normalise = _normaliser(processes)
        for layer in layers:
            layer.forward = partial(self._forward, layer, layer.forward, normalise)

    @contextmanager
    def absent(self) -> "Iterator[None]":
        """Let what this process puts in count for nothing in the block: it has no photos, but must take part."""
        self._share = 0.0
        try:
            yield
        finally:
            self._share = 1.0

    def _forward(self, layer: Any, usual: Any, normalise: Any, x: Any) -> Any:
        if not layer.training or layer._use_global_stats:
            return usual(x)
        module = paddle("training")
        axis = 1 if _layout(layer).startswith("NC") else x.ndim - 1
        normal, mean, variance = normalise(x, axis, layer._epsilon, self._share)
        with module.no_grad():
            for kept, fresh in ((layer._mean, mean), (layer._variance, variance)):
                module.assign(kept * layer._momentum + fresh.astype(kept.dtype) * (1 - layer._momentum), kept)
        shape = [-1 if place == axis else 1 for place in range(x.ndim)]
        normal = normal if layer.weight is None else normal * layer.weight.reshape(shape)
        normal = normal if layer.bias is None else normal + layer.bias.reshape(shape)
        answer = normal.astype(x.dtype)
        act = getattr(layer, "_act", None)
        return getattr(module.nn.functional, act)(answer) if act else answer


def _layout(layer: Any) -> str:
    return str(getattr(layer, "_data_format", None) or layer._data_layout)


def _normaliser(processes: Processes) -> Any:
    """A function of x, the axis of channels, epsilon and this process's share: (x − mean) ÷ deviation, mean, variance.

    The mean and the (biased) variance are those over all processes (Ioffe, Szegedy 2015), and so are the two sums in
    the gradient.
    """
    module = paddle("training")

    class Normalise(module.autograd.PyLayer):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(context: Any, x: Any, axis: int, epsilon: float, share: float) -> Any:
            x = x.astype("float32")
            over = [place for place in range(x.ndim) if place != axis]
            shape = [-1 if place == axis else 1 for place in range(x.ndim)]
            count, channels = x.size // x.shape[axis], x.shape[axis]
            mean = x.mean(axis=over)
            spread = (x - mean.reshape(shape)).square().sum(axis=over)
            # in 64 bits, for a difference of squares is to come
            own = [array.numpy().astype(np.float64) for array in (mean, spread)]
            parts = [count * own[0], own[1] + count * own[0] ** 2, [float(count)]]
            sums = processes.sum(share * np.concatenate(parts), at_once=True)
            total = sums[-1]
            means = sums[:channels] / total
            variances = np.maximum(0, sums[channels:-1] / total - means**2)
            mean, variance = (module.to_tensor(array.astype(np.float32)) for array in (means, variances))
            inverse = (variance + epsilon).rsqrt().reshape(shape)
            normal = (x - mean.reshape(shape)) * inverse
            context.save_for_backward(normal, inverse)
            context.facts = (over, shape, share / total)
            context.mark_non_differentiable(mean, variance)
            return normal, mean, variance

        @staticmethod
        def backward(context: Any, gradient: Any, *_: Any) -> Any:
            normal, inverse = context.saved_tensor()
            over, shape, share = context.facts
            sums = module.stack([gradient.sum(axis=over), (gradient * normal).sum(axis=over)])
            module.distributed.all_reduce(sums)
            first, second = (sums[place].reshape(shape) for place in (0, 1))
            return inverse * (gradient - share * (first + normal * second))

    return Normalise.apply
