"""PaddleClas's architectures by name, and weights for them from files and from the net.

Knows networks and weight files. Does not know our training. Weight files are pickles from strangers: `pickles` reads
them, and can build arrays and nothing else.
"""

from garbage_cli.zoo.catalogue import Network, catalogue, find, weights_url
from garbage_cli.zoo.fetching import Fetched, cached_weights, fetch
from garbage_cli.zoo.heads import head_of
from garbage_cli.zoo.networks import architectures, build
from garbage_cli.zoo.weights import (
    Arrays,
    Fit,
    load_exactly,
    load_pretrained,
    read_state,
    read_weights,
    weights_file,
)

__all__ = [
    "Arrays",
    "Fetched",
    "Fit",
    "Network",
    "architectures",
    "build",
    "cached_weights",
    "catalogue",
    "fetch",
    "find",
    "head_of",
    "load_exactly",
    "load_pretrained",
    "read_state",
    "read_weights",
    "weights_file",
    "weights_url",
]
