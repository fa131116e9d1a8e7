"""What a run starts from: pretrained weights, and a network that takes the inputs it will get.

Knows the choices of `pretrained`. Does not know the loop.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from garbage_cli.config import TrainConfig
from garbage_cli.errors import CheckpointError, ConfigError
from garbage_cli.reports import Report
from garbage_cli.vendor import paddle
from garbage_cli.zoo import Fit, cached_weights, fetch, load_pretrained, read_weights, weights_file, weights_url

SUFFIX = ".pdparams"


def load_weights(network: Any, config: TrainConfig, class_count: int) -> Generator[Report, None, Fit | None]:
    """Load the weights that the config names, fetching them first where need be.

    Raises CheckpointError for a file that is not there, can't be fetched, or does not fit; ConfigError where PaddleClas
    publishes none for this network.
    """
    choice = config.model.pretrained
    if choice == "none":
        return None
    if choice in ("ssld", "imagenet") or choice.startswith(("http://", "https://")):
        url = choice if "://" in choice else weights_url(config.model.name, ssld=choice == "ssld")
        yield from fetch(url)
        path = cached_weights(url)
    elif "://" in choice:
        raise CheckpointError(f"--pretrained {choice}: only http:// and https:// addresses are fetched")
    else:
        path = _named_file(choice)
    return load_pretrained(network, read_weights(path), class_count=class_count, source=str(path))


def _named_file(choice: str) -> Path:
    try:
        return weights_file(Path(choice))
    except CheckpointError as error:
        raise CheckpointError(f"--pretrained {error}; {_instead(choice)}") from None


def _instead(choice: str) -> str:
    """What to write for a file that is not there: those of PaddleClas are known by their names, and fetched."""
    name = Path(choice).name.removesuffix(SUFFIX)
    if not name.endswith("_pretrained"):
        return "use ssld, imagenet, none, a file or a URL"
    return f"PaddleClas's weights are fetched by: --pretrained {'ssld' if '_ssld' in name else 'imagenet'}"


def check_input(network: Any, config: TrainConfig) -> None:
    """Run the network once on nothing: some are built for one input size, and say so in words of their own."""
    module, crop = paddle("training"), config.preprocess.crop
    network.eval()
    try:
        with module.no_grad():
            network(module.zeros([1, 3, crop, crop]))
    except (AssertionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{config.model.name} can't take inputs of {crop} × {crop} pixels; set preprocess.crop to the size it "
            f"is made for, mostly 224 ({reason})"
        ) from None
