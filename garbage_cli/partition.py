"""Cutting a network in two: a front that is computed once for each photo, and a rest that is trained.

Knows how to find a place where only one tensor crosses, and how to run what comes after it. Does not know photos or
training. It works by watching one pass through the network, and proves each cut by comparing both ways on noise.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from garbage_cli.errors import ConfigError
from garbage_cli.vendor import paddle

Part = Literal["head", "last-stage"]
PHOTOS = 2
"""Of noise, in the pass that is watched."""
CLOSE = 1e-3
"""Largest difference between the outputs of the whole and of the two parts, relative to the largest output."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One layer's one call in a pass."""

    name: str
    layer: Any
    outputs: Any
    """A tensor, or what else it returned."""
    above: tuple[str, ...]
    """Names of the layers inside which it was called."""


class Cut:
    """A network in two parts at one tensor: the input of its head, or the output of one of its layers."""

    def __init__(
        self,
        network: Any,
        *,
        at: str,
        shape: tuple[int, ...],
        later: frozenset[str],
        skipped: dict[str, Any],
        head: bool,
    ) -> None:
        self.network = network
        self.at = at
        """The name of the layer at which the network is cut."""
        self.shape = shape
        """Of what crosses, for one photo."""
        self._head = dict(network.named_sublayers())[at] if head else None
        self._later = later
        self._skipped = skipped

    def front(self) -> Any:
        """Return a layer that maps inputs (n, 3, crop, crop) to what crosses, (n, *shape)."""
        nn = paddle("training").nn
        network, layer, head = self.network, dict(self.network.named_sublayers())[self.at], self._head is not None

        class Front(nn.Layer):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, x: Any) -> Any:
                crossing: list[Any] = []
                if head:
                    hook = layer.register_forward_pre_hook(lambda _, given: crossing.append(given[0]))
                else:
                    hook = layer.register_forward_post_hook(lambda _, given, output: crossing.append(output))
                self.network(x)
                hook.remove()
                return crossing[0]

        front = Front()
        front.eval()
        return front

    def rest(self, crossing: Any) -> Any:
        """Map what crosses, (n, *shape), to the network's outputs (n, classes)."""
        if self._head is not None:
            return self._head(crossing)
        module = paddle("training")
        with _replaced(self._stand_ins(crossing)):
            return self.network(module.zeros([crossing.shape[0], 3, 1, 1]))

    def _stand_ins(self, crossing: Any) -> Iterator[tuple[Any, Callable[..., Any]]]:
        """What the layers before the cut do in a pass through the rest: return zeros of the shape that is awaited."""
        count = crossing.shape[0]
        layers = dict(self.network.named_sublayers())
        for name, output in self._skipped.items():
            yield layers[name], (lambda *_, output=output, **__: _zeros(output, count))
        yield layers[self.at], (lambda *_, **__: crossing)

    def front_state(self) -> Iterator[tuple[str, Any]]:
        """Yield the names and values of all tensors that what crosses may depend on."""
        for name, tensor in self.network.state_dict().items():
            layer = name
            while layer and layer not in self._later:
                layer = layer.rpartition(".")[0]
            if not layer:
                yield name, tensor.numpy()

    def parameters(self) -> list[Any]:
        """Return the parameters of the rest: those that a change of the output reaches."""
        module = paddle("training")
        self.network.eval()
        output = self.rest(module.ones([2, *self.shape]))
        (output[0] if isinstance(output, (list, tuple)) else output).sum().backward()
        reached = [each for each in self.network.parameters() if each.grad is not None]
        for each in reached:
            each.clear_gradient(set_to_zero=False)
        return reached


def cut(network: Any, *, part: Part, head: str, crop: int) -> Cut:
    """Cut a network so that the rest is its head (the layer of that name), or its last stage and its head.

    The last stage begins where the map of features becomes smallest; of a network whose map keeps its size (a ViT), it
    is the last quarter of the blocks. Raises ConfigError where no cut gives what the whole gives.
    """
    module = paddle("training")
    network.eval()
    noise = module.to_tensor(_noise(crop))
    with module.no_grad():
        calls, crossing, whole = _watch(network, noise, head)
        if part == "head":
            shape = tuple(crossing.shape[1:])
            found = Cut(network, at=head, shape=shape, later=frozenset({head}), skipped={}, head=True)
            if _agrees(found, crossing, whole):
                return found
        else:
            for position in _places(calls, head):
                found = _cut_after(network, calls, position)
                if _agrees(found, calls[position].outputs, whole):
                    return found
    raise ConfigError(f"{type(network).__name__} can't be cut before its {part.replace('-', ' ')}; use --tune full")


def _noise(crop: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).normal(size=(PHOTOS, 3, crop, crop)).astype(np.float32)


def _watch(network: Any, inputs: Any, head: str) -> tuple[list[_Call], Any, Any]:
    """Run the network once; return the calls of its layers as they ended, the head's input, and the output."""
    calls: list[_Call] = []
    under_way: list[str] = []
    given_to_head: list[Any] = []

    def begin(name: str) -> Callable[..., None]:
        def hook(_: Any, given: Any) -> None:
            under_way.append(name)
            if name == head:
                given_to_head.append(given[0])

        return hook

    def end(name: str) -> Callable[..., None]:
        def hook(layer: Any, _: Any, outputs: Any) -> None:
            under_way.pop()
            calls.append(_Call(name, layer, outputs, tuple(under_way)))

        return hook

    hooks = []
    for name, layer in network.named_sublayers():
        hooks += [layer.register_forward_pre_hook(begin(name)), layer.register_forward_post_hook(end(name))]
    try:
        output = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, given_to_head[0], output


def _places(calls: list[_Call], head: str) -> Iterator[int]:
    """Positions of calls after which the last stage may begin, the best first.

    Best is just before the outermost layer that makes the map smallest: before a stage, before a block, inside one.
    """
    maps = [i for i, call in enumerate(calls) if head not in (call.name, *call.above) and _positions(call.outputs) > 1]
    if not maps:
        return
    smallest = min(_positions(calls[i].outputs) for i in maps)
    first = next(i for i in maps if _positions(calls[i].outputs) == smallest)
    if first == maps[0]:  # a map that keeps its size
        first = maps[len(maps) * 3 // 4]
    chain = (*calls[first].above, calls[first].name)
    before = [i for i in maps if i < first]
    stage = {_positions(calls[i].outputs) for i in before[-1:]}
    levels = [[i for i in before if calls[i].above == chain[:level]] for level in range(len(chain))]
    yield from (level[-1] for level in levels if level and _positions(calls[level[-1]].outputs) in stage)
    yield from (level[-1] for level in reversed(levels) if level)


def _positions(output: Any) -> int:
    """How many places a map of features has: height × width, or tokens; 0 of what is no map of the photos.

    Windows of a map (Swin) stand in the place of photos, so there are more of them.
    """
    shape = tuple(getattr(output, "shape", ()))
    if shape[:1] != (PHOTOS,):
        return 0
    return int(prod(shape[2:] if len(shape) == 4 else shape[1:2])) if len(shape) in (3, 4) else 0


def _cut_after(network: Any, calls: list[_Call], position: int) -> Cut:
    call = calls[position]
    before = {each.name: each for each in calls[:position] if call.name not in each.above}
    return Cut(
        network,
        at=call.name,
        shape=tuple(call.outputs.shape[1:]),
        later=frozenset(each.name for each in calls[position + 1 :] if each.name not in call.above),
        skipped={name: each.outputs for name, each in before.items() if not set(each.above) & before.keys()},
        head=False,
    )


def _agrees(found: Cut, crossing: Any, whole: Any) -> bool:
    """Whether the rest makes of what crosses what the whole network made."""
    try:
        output = found.rest(crossing)
    except Exception:  # noqa: BLE001 - a layer that got zeros of a wrong kind may say so in any words
        return False
    one, other = (each[0] if isinstance(each, (list, tuple)) else each for each in (output, whole))
    if one.shape != other.shape:
        return False
    return bool(((one - other).abs().max() <= CLOSE * other.abs().max()).item())


def _zeros(output: Any, count: int) -> Any:
    """Zeros like an output of another count of photos."""
    if isinstance(output, (list, tuple)):
        return type(output)(_zeros(each, count) for each in output)
    module = paddle("training")
    if not hasattr(output, "shape") or not output.shape:
        return output
    return module.zeros([1, *output.shape[1:]], output.dtype).expand([count, *output.shape[1:]])


@contextmanager
def _replaced(stand_ins: Iterator[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Give layers another `forward` for the time of the block."""
    changed = []
    try:
        for layer, forward in stand_ins:
            changed.append((layer, layer.__dict__.get("forward")))
            layer.forward = forward
        yield
    finally:
        for layer, own in changed:
            if own is None:
                del layer.forward
            else:
                layer.forward = own
