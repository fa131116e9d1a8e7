"""PaddleClas's networks by name.

Knows how PaddleClas's functions are called. Does not know what is inside a network, nor weights.
"""

import contextlib
import functools
import inspect
import io
import sys
from collections.abc import Callable
from typing import Any

from garbage_cli.errors import ConfigError
from garbage_cli.vendor import backbones, paddle
from garbage_cli.zoo.catalogue import catalogue, unknown
from garbage_cli.zoo.multipliers import spread

USUAL_PIXELS = 224


def architectures() -> list[str]:
    """Return the names of PaddleClas's networks, as they are installed."""
    module = backbones("listing networks")
    return sorted(name for name in module.__all__ if hasattr(module, name))


def build(name: str, *, class_count: int, lr_mult: tuple[float, ...] | None = None) -> tuple[Any, bool]:
    """Build a network by name; say whether the learning-rate multipliers are in it.

    Networks that take as many multipliers as there are have their own rule; for others `multipliers.spread` has one.
    The names of parameters do not depend on what was built before, so that a saved optimiser state fits.
    Raises ConfigError if there is no such network, or it has no classes.
    """
    module = backbones("training")
    factory = getattr(module, name, None)
    if factory is None or name not in module.__all__:
        raise unknown(name)
    make = _bare(factory, name)
    with paddle("training").utils.unique_name.guard(), contextlib.redirect_stdout(io.StringIO()):  # some networks talk
        network = _with_multipliers(make, class_count, lr_mult) if lr_mult else None
        if network is not None and _differ(network):
            return network, True
        try:
            network = network or make(class_num=class_count)
        except (TypeError, KeyError) as error:  # it wants other things than a number of classes
            raise ConfigError(f"PaddleClas's {name} is no classifier with a number of classes: {error}") from None
    known = catalogue().get(name)
    pixels = known.pixels if known and known.pixels else USUAL_PIXELS
    return network, bool(lr_mult) and spread(network, lr_mult or (), pixels=pixels)


def _bare(factory: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function without weights: some fetch them unasked, and some look for an address that PaddleClas lacks."""
    getattr(sys.modules[factory.__module__], "MODEL_URLS", {}).setdefault(name, "")
    takes = "pretrained" in inspect.signature(factory).parameters
    return functools.partial(factory, pretrained=False) if takes else factory


def _with_multipliers(make: Callable[..., Any], class_count: int, lr_mult: tuple[float, ...]) -> Any:
    """The network, if it takes so many multipliers, whatever it does with them; else None."""
    try:
        with paddle("training").utils.unique_name.guard():
            return make(class_num=class_count, lr_mult_list=list(lr_mult))
    except (TypeError, KeyError, AssertionError):
        return None


def _differ(network: Any) -> bool:
    """Whether the multipliers arrived: many networks take any word and leave it."""
    return any(parameter.optimize_attr["learning_rate"] != 1.0 for parameter in network.parameters())
