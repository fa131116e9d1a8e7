"""What is known of PaddleClas's networks without Paddle: sizes, published figures, where weights are.

Knows the table `networks.csv`. Does not know how networks are built.

Columns of the table: `pixels` is the side of the pictures a network is made for; `parameters` and `multiply_adds` are
counted by benchmarks/count_networks.py; empty where a network can't be used as a classifier of square photos.
`top1` and `ssld_top1` are shares of ImageNet's validation set as PaddleClas publishes them (its repository,
docs/zh_CN/models/ImageNet1k: README, PP-HGNetV2, PP-LCNetV2, SwinTransformerV2, MobileNetV4, FasterNet, StarNet,
MobileViTV2, MobileViTV3); empty where it says nothing. `ssld_top1` is there if and only if SSLD weights are published.
`weights` is the address that PaddleClas 2.6.0 has for a network, and for PPHGNet_base and SE_HRNet_W64_C, for which it
has none, that of its README.
"""

import csv
import difflib
import fnmatch
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from garbage_cli.errors import ConfigError
from garbage_cli.zoo.fetching import is_cached

TABLE = Path(__file__).with_name("networks.csv")

ORDINARY, DISTILLED = "_pretrained", "_ssld_pretrained"
"""How the names of weight files end: PaddleClas makes one of the other (ppcls/utils/save_load.py)."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of PaddleClas."""

    name: str
    pixels: int | None
    """The side of the pictures it is made for; None if it is no classifier of square photos."""
    parameters: int | None
    """With 1,000 classes."""
    multiply_adds: int | None
    """Of convolutions, linear layers and matrix products, for one picture."""
    top1: float | None
    """Share of ImageNet's validation photos, as published."""
    ssld_top1: float | None
    """The same for the weights made by distillation (SSLD); None if there are none."""
    weights: str
    """Where PaddleClas publishes weights; empty if it does not."""

    @property
    def ssld(self) -> bool:
        """Whether SSLD weights are published."""
        return self.ssld_top1 is not None

    def url(self, *, ssld: bool) -> str:
        """Return the address of its weights; empty if there are none of this kind."""
        if not ssld or DISTILLED in self.weights:
            return self.weights
        return self.weights.replace(ORDINARY, DISTILLED) if self.ssld else ""

    def cached(self) -> list[str]:
        """Return which of its weights are in the cache here: `imagenet`, `ssld`."""
        kinds = {"imagenet": "" if DISTILLED in self.weights else self.weights, "ssld": self.url(ssld=True)}
        return [kind for kind, url in kinds.items() if url and is_cached(url)]


@cache
def catalogue() -> dict[str, Network]:
    """Return PaddleClas's networks by name, in the order of the alphabet."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [_network(row) for row in csv.DictReader(file)]
    return {network.name: network for network in rows}


def _network(row: dict[str, str]) -> Network:
    counts = [int(row[key]) if row[key] else None for key in ("pixels", "parameters", "multiply_adds")]
    shares = [float(row[key]) if row[key] else None for key in ("top1", "ssld_top1")]
    return Network(row["name"], counts[0], counts[1], counts[2], shares[0], shares[1], row["weights"])


def find(wanted: str) -> list[Network]:
    """Return the networks whose names hold `wanted`, or match it if it is a pattern with `*`, `?` or `[`.

    Case does not matter. Raises ConfigError that names the nearest if there are none.
    """
    lower = wanted.lower()
    pattern = lower if any(char in lower for char in "*?[") else f"*{lower}*"
    found = [each for name, each in catalogue().items() if fnmatch.fnmatchcase(name.lower(), pattern)]
    if not found:
        raise unknown(wanted)
    return found


def unknown(name: str) -> ConfigError:
    """Return the error that names the networks nearest to `name`."""
    lower = {each.lower(): each for each in catalogue()}
    near = difflib.get_close_matches(name.lower().strip("*?"), lower, n=3, cutoff=0.4)
    meant = f"; did you mean {', '.join(lower[each] for each in near)}?" if near else ""
    return ConfigError(f"PaddleClas has no network named {name!r}{meant}")


def weights_url(name: str, *, ssld: bool) -> str:
    """Return where PaddleClas publishes the weights of a network; raise ConfigError where it publishes none."""
    network = catalogue().get(name)
    if network is None:
        raise unknown(name)
    if not network.weights:
        raise ConfigError(f"PaddleClas publishes no weights for {name}; use --pretrained none, or a file")
    if url := network.url(ssld=ssld):
        return url
    raise ConfigError(
        f"PaddleClas publishes no SSLD weights for {name}; use --pretrained imagenet, none, or a file "
        "(garbage models shows which networks have them)"
    )
