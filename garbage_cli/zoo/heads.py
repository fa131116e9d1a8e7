"""Which layer of a network gives its answer.

Knows layers and the order in which they run. Does not know any network by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from garbage_cli.errors import ConfigError
from garbage_cli.vendor import paddle


def head_of(network: Any, *, pixels: int = 224) -> tuple[str, Any]:
    """Return the name and the linear layer whose output is the network's answer: what a new task starts afresh.

    It is found by running the network once, on a picture of `pixels` × `pixels`; the network is left as it was.
    Of several answers (auxiliary heads) the first counts, as in training. Raises ConfigError if a layer of another
    kind gives the answer (SqueezeNet's is a convolution), if it is made of several (DeiT's distilled networks average
    two), or if the network can't take pictures of this size.
    """
    module = paddle("finding the head")
    linear = {id(layer): name for name, layer in network.named_sublayers() if isinstance(layer, module.nn.Linear)}
    last: list[tuple[Any, Any]] = []

    def note(layer: Any, given: Any, answered: Any) -> None:
        if id(layer) in linear:
            last.append((layer, answered))

    answer = run_once(network, note, pixels=pixels).numpy()
    for layer, output in reversed(last):
        if output.numpy().size == answer.size and np.array_equal(output.numpy().reshape(answer.shape), answer):
            return linear[id(layer)], layer
    raise ConfigError(f"{type(network).__name__} has no linear layer whose output is its answer, so no head to replace")


def run_once(network: Any, note: Callable[[Any, Any, Any], None], *, pixels: int) -> Any:
    """Run a network on one picture, tell `note` each layer, its inputs and its output; return the answer.

    The picture is a fixed slope and not zeros: without biases all outputs of a zero picture are alike. Raises
    ConfigError if the network can't take pictures of this size.
    """
    module = paddle("looking at a network")
    slope = np.linspace(-2, 2, 3 * pixels * pixels, dtype=np.float32).reshape(1, 3, pixels, pixels)
    hooks = [layer.register_forward_post_hook(note) for layer in network.sublayers(include_self=True)]
    try:
        with _evaluating(network), module.no_grad():
            answer = network(module.to_tensor(slope))
    except Exception as error:  # noqa: BLE001 - networks say in many ways that a size is not theirs, and some are broken
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(
            f"{type(network).__name__} can't take inputs of {pixels} × {pixels} pixels: {first}"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    return answer[0] if isinstance(answer, list | tuple) else answer


@contextmanager
def _evaluating(network: Any) -> Iterator[None]:
    """Evaluate for the time of the block, layer by layer: `network.eval()` is more than that in some networks."""
    layers = network.sublayers(include_self=True)
    kept = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.training = False
        yield
    finally:
        for layer, training in zip(layers, kept, strict=True):
            layer.training = training
