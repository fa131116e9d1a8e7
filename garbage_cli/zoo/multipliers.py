"""Learning rates by depth: pretrained layers near the picture learn more slowly than those near the answer.

Knows layers, the order in which they run, and how many places their outputs have. Does not know any network by name.

The rule. The head, the linear layer that gives the answer, keeps 1.0. The other layers fall into stages, in the order
in which they run: a new stage begins where the places of a convolution's or linear layer's output (pixels or tokens)
fall to half or less of what they were at the stage's start. What runs on one place, as in squeeze-and-excitation or
after pooling, belongs to the stage that it stands in. If there are as many stages as multipliers, each has its own: the
stem, then 56 × 56, 28 × 28, 14 × 14 and 7 × 7 of most networks. If there is one stage too few, and the first has more
than one layer, its first layer is taken for a stage of its own, as in Swin and ConvNeXt, whose stem makes 56 × 56 at
once. Otherwise, as in ViT, where all layers have the same places, the convolutions and linear layers are divided into
groups of equal number. Norms and the like go with the convolution or linear layer before them; parameters of a block,
such as tokens, with the block's first layer. Parameters that take no part in an evaluation keep 1.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from garbage_cli.errors import ConfigError
from garbage_cli.vendor import paddle
from garbage_cli.zoo.heads import head_of, run_once


@dataclass(slots=True)
class _Run:
    """A layer with parameters, as it ran."""

    layer: Any
    places: int
    """Of its output, if it is a convolution or linear layer; else 0."""
    group: int = 0


def spread(network: Any, multipliers: Sequence[float], *, pixels: int) -> bool:
    """Give a network's layers the multipliers, from the picture to the answer; say whether it could be done.

    It can't where `head_of` finds no head, or the network can't take pictures of `pixels` × `pixels`.
    """
    try:
        _, head = head_of(network, pixels=pixels)
        runs = _runs(network, head, pixels=pixels)
    except ConfigError:
        return False
    _group(runs, len(multipliers))
    groups = {id(run.layer): run.group for run in runs}
    for layer in network.sublayers(include_self=True):
        own = layer.parameters(include_sublayers=False)
        inside = [groups[id(each)] for each in layer.sublayers(include_self=True) if id(each) in groups]
        if own and inside and layer is not head:
            for parameter in own:
                _multiply(parameter, multipliers[min(inside)])
    return True


def _multiply(parameter: Any, multiplier: float) -> None:
    attributes = parameter.optimize_attr
    parameter.optimize_attr = {**attributes, "learning_rate": attributes["learning_rate"] * multiplier}


def _runs(network: Any, head: Any, *, pixels: int) -> list[_Run]:
    """The innermost layers that have parameters, but for the head, in the order in which they first run."""
    seen: dict[int, _Run] = {}

    def note(layer: Any, given: Any, answered: Any) -> None:
        if id(layer) not in seen and layer is not head and not layer.sublayers() and layer.parameters():
            seen[id(layer)] = _Run(layer, _places(layer, answered))

    run_once(network, note, pixels=pixels)
    return list(seen.values())


def _places(layer: Any, answered: Any) -> int:
    layers = paddle("looking at a network").nn
    if isinstance(layer, layers.Conv2D):
        return int(answered.size) // int(layer.weight.shape[0])
    return int(answered.size) // int(layer.weight.shape[1]) if isinstance(layer, layers.Linear) else 0


def _group(runs: list[_Run], count: int) -> None:
    """Number the layers' groups from 0 to `count` - 1, by stages if that comes out even, else by depth."""
    stages = _by_stage(runs)
    first = [number for number, run in enumerate(runs) if run.places and run.group == 0]
    if stages == count - 1 and len(first) > 1:
        for run in runs[first[1] :]:
            run.group += 1
    elif stages != count:
        _by_depth(runs, count)


def _by_stage(runs: list[_Run]) -> int:
    stage, places = 0, 0
    for run in runs:
        if run.places > 1:
            stage += bool(places) and 2 * run.places <= places
            places = run.places if not places or 2 * run.places <= places else places
        run.group = stage
    return stage + 1


def _by_depth(runs: list[_Run], count: int) -> None:
    weighty, number = sum(bool(run.places) for run in runs), 0
    for run in runs:
        number += bool(run.places)
        run.group = max(0, number - 1) * count // max(1, weighty)
