"""Count parameters and multiply-adds of PaddleClas's networks, and write them into garbage_cli/zoo/networks.csv.

    python benchmarks/count_networks.py                # all; half an hour on two cores, 10 GB of memory
    python benchmarks/count_networks.py ResNet50_vd    # some

Parameters are those of `network.parameters()` with 1,000 classes. Multiply-adds are counted while the network runs once
on one picture: of every convolution, linear layer and matrix product that it calls, attention's two included, by the
shapes of what goes in and comes out. Norms, activations, pooling, biases and sums are not counted. The size is the one
that the network is made for, where that is known; else 224. A row whose network can't be run as a classifier of square
pictures is left empty, and why is said on stderr.
"""

import contextlib
import csv
import gc
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from garbage_cli.vendor import backbones, paddle
from garbage_cli.zoo import build
from garbage_cli.zoo.catalogue import TABLE
from garbage_cli.zoo.heads import run_once

COUNTED = ("pixels", "parameters", "multiply_adds")

SIZES = {
    r"EfficientNetB1": 240, r"EfficientNetB2": 260, r"EfficientNetB3": 300, r"EfficientNetB4": 380,
    r"EfficientNetB5": 456, r"EfficientNetB6": 528, r"EfficientNetB7": 600, r"EfficientNetV2_S": 384,
    r"Inception.*|Xception.*": 299, r"DarkNet53|CSPDarkNet53|ResNeSt101|MobileViT.*": 256,
    r"ResNeSt200": 320, r"ResNeSt269": 416, r"MobileNetV4_(conv|hybrid)_large": 448, r"MobileNetV4_conv_medium": 320,
    r"MobileNetV4_(conv_small|hybrid_medium)": 256,
    r"TinyNet_A": 192, r"TinyNet_B": 188, r"TinyNet_C": 184, r"TinyNet_D": 152, r"TinyNet_E": 106,
    r"RepVGG_D2se": 320, r"LeViT.*": 224, r"AdaFace.*|MobileFaceNet": 112, r"WideResNet": 32,
}  # fmt: skip
"""Where the size is not in the name: what the published figures are for."""


def size_of(name: str) -> int:
    """Return the side of the pictures that a network is made for."""
    for pattern, pixels in SIZES.items():
        if re.fullmatch(pattern, name):
            return pixels
    named = re.search(r"_(224|256|336|384)(?![0-9])", name)
    return int(named[1]) if named else 224


class Counter:
    """Adds up the multiply-adds of the products that are called while it is in place."""

    def __init__(self) -> None:
        self.total = 0
        self.inside = False  # a counted function may call another counted one

    def watch(self, function: Callable[..., Any], cost: Callable[..., int]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            if self.inside:
                return function(*given, **named)
            self.inside = True
            try:
                answer = function(*given, **named)
            finally:
                self.inside = False
            self.total += cost(answer, *given, **named)
            return answer

        return counted


def _convolution(answer: Any, x: Any, weight: Any, *_: Any, **__: Any) -> int:
    return int(answer.size) * math.prod(weight.shape[1:])


def _linear(answer: Any, x: Any, weight: Any, *_: Any, **__: Any) -> int:
    return int(answer.size) * int(weight.shape[0])


def _product(answer: Any, x: Any, y: Any, transpose_x: bool = False, *_: Any, **__: Any) -> int:
    return int(answer.size) * int(x.shape[-2] if transpose_x else x.shape[-1])


def _attention(answer: Any, query: Any, key: Any, *_: Any, **__: Any) -> int:
    """Batch, places, heads, width: queries by keys, and the weights by the values."""
    return 2 * int(query.size) * int(key.shape[1])


@contextlib.contextmanager
def counting() -> Iterator[Counter]:
    """Count the products that Paddle is asked for in the block."""
    module = paddle("counting")
    functional, tensor, counter = module.nn.functional, module.Tensor, Counter()
    convolution = sys.modules["paddle.nn.functional.conv"]
    places = [
        (convolution, "_conv_nd", _convolution), (functional, "conv2d", _convolution),
        (functional, "linear", _linear), (functional, "scaled_dot_product_attention", _attention),
        (module, "matmul", _product), (module, "bmm", _product), (module, "mm", _product),
        (tensor, "matmul", _product), (tensor, "__matmul__", _product),
    ]  # fmt: skip
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, cost in places:
        setattr(owner, name, counter.watch(getattr(owner, name), cost))
    try:
        yield counter
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def count(name: str) -> tuple[int, int, int]:
    """Return the size of the picture, the parameters and the multiply-adds of a network with 1,000 classes."""
    network, _ = build(name, class_count=1000)
    pixels = size_of(name)
    with counting() as counter:
        answer = run_once(network, lambda *_: None, pixels=pixels)
    if list(answer.shape) != [1, 1000]:
        raise ValueError(f"answers {list(answer.shape)}")
    return pixels, sum(int(each.size) for each in network.parameters()), counter.total


def main(names: list[str]) -> None:
    """Count, and write the table anew."""
    backbones("counting")
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not names or row["name"] in names:
            row.update(zip(COUNTED, counted(row["name"]), strict=True))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def counted(name: str) -> tuple[str, ...]:
    """Return the cells of a row."""
    try:
        cells = tuple(map(str, count(name)))
    except Exception as error:  # noqa: BLE001 - networks that are no classifiers fail in ways of their own
        print(name, type(error).__name__, " ".join(str(error).split())[:300], file=sys.stderr, flush=True)
        return ("",) * len(COUNTED)
    gc.collect()
    print(name, *cells, flush=True)
    return cells


if __name__ == "__main__":
    main(sys.argv[1:])
