"""Depthwise convolutions over small maps as products of matrices: on a CPU, Paddle trains twice as fast through those.

Knows convolution layers. Does not know networks or training. Paddle's kernel for them takes longer than the 1 × 1
convolutions around it, which have fifty times the arithmetic (docs/log.md, 2026-11-24).
"""

from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.vendor import paddle

SMALL = 100
"""Places of a map up to which the product is faster: its cost grows with their square."""


def use_products(network: Any) -> int:
    """Let the depthwise convolutions of a network run as products where their map is small; return how many there are.

    A layer's weights and what it answers stay the same, but for the rounding of 32-bit floats.
    """
    layers = [layer for layer in network.sublayers() if _is_depthwise(layer)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)
    return len(layers)


def _is_depthwise(layer: Any) -> bool:
    if not isinstance(layer, paddle("training").nn.Conv2D):
        return False
    filters, depth, *kernel = layer.weight.shape
    plain = layer._dilation in (1, [1, 1], (1, 1)) and layer._padding_mode == "zeros" and layer._data_format == "NCHW"
    plain = plain and layer._padding_algorithm == "EXPLICIT"  # of "same" Paddle notes a padding of 0
    return bool(depth == 1 and layer._groups == filters > 1 and kernel[0] == kernel[1] and plain and _spread(layer))


def _spread(layer: Any) -> tuple[int, int] | None:
    """Stride and padding, if both are the same in height and width."""
    found = []
    for value in (layer._stride, layer._updated_padding):
        pair = [value, value] if isinstance(value, int) else value
        if not isinstance(pair, list | tuple) or len(pair) != 2 or pair[0] != pair[1] or not isinstance(pair[0], int):
            return None
        found.append(pair[0])
    return found[0], found[1]


def _forward(layer: Any, usual: Any, x: Any) -> Any:
    places = x.shape[2] * x.shape[3]
    spread = _spread(layer)
    if places > SMALL or spread is None or not paddle("training").in_dynamic_mode():
        return usual(x)
    return _product(layer, x, *spread)


def _product(layer: Any, x: Any, stride: int, padding: int) -> Any:
    """Each channel's map as a row, times the matrix that its filter amounts to: (c, n, h·w) × (c, h·w, h′·w′)."""
    module = paddle("training")
    count, channels, height, width = x.shape
    kernel = layer.weight.shape[-1]
    places, out = _places(height, width, kernel, stride, padding)
    matrices = module.matmul(layer.weight.reshape([channels, -1]), module.to_tensor(places))
    rows = x.reshape([count, channels, -1]).transpose([1, 0, 2])
    product = module.bmm(rows, matrices.reshape([channels, height * width, -1]))
    answer = product.transpose([1, 0, 2]).reshape([count, channels, *out])
    return answer if layer.bias is None else answer + layer.bias.reshape([1, -1, 1, 1])


@lru_cache(maxsize=64)
def _places(
    height: int, width: int, kernel: int, stride: int, padding: int
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Where each weight of a filter stands in its matrix: shape (kernel², h·w · h′·w′); and (h′, w′)."""
    out = tuple((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    places = np.zeros((kernel, kernel, height, width, *out), np.float32)
    i, j, a, b = np.indices((kernel, kernel, *out))
    y, x = a * stride + i - padding, b * stride + j - padding
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    places[i[inside], j[inside], y[inside], x[inside], a[inside], b[inside]] = 1
    return places.reshape(kernel * kernel, -1), (out[0], out[1])
