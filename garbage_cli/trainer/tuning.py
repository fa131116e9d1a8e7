"""What of a network is trained, and the batches for that: photos for all of it, features for a part.

Knows the choices of `tune`. Does not know the loop.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from garbage_cli.batches import Batch, evaluation_batches, training_batches
from garbage_cli.config import TrainConfig, Tune
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError
from garbage_cli.features import Features, compute, frozen_config, training_features, validation_features
from garbage_cli.partition import Cut, cut
from garbage_cli.reports import Report
from garbage_cli.trainer.processes import Processes
from garbage_cli.vendor import available_cores
from garbage_cli.zoo import catalogue, head_of

MINUTES = 15
"""What training the last stage may be estimated to take on a CPU before `auto` trains the head alone."""
LAST_STAGE = 0.3
"""Part of a network's arithmetic that the last stage has, roughly: MobileNetV2 0.29, ResNet50_vd 0.20."""
PER_CORE = 8e9
"""Multiply-adds that training does in a second on one core (docs/log.md, 2026-11-24)."""


def settled(config: TrainConfig, device: str, *, photos: int) -> TrainConfig:
    """Return the config with `tune` decided, and the settings of a frozen part in place of the others.

    `photos` of training decide with the number of cores whether a CPU can train the last stage in minutes. Raises
    ConfigError for what can't be had on this device.
    """
    if device == "cpu" and config.amp.level != "none":  # it warns, and computes in 32 bits
        raise ConfigError(
            f"amp.level is {config.amp.level}, but on a CPU Paddle has no mixed precision; use --set amp.level=none"
        )
    tune = _chosen(config, device, photos)
    if tune == "full":
        return replace(config, tune=tune)
    frozen = frozen_config(replace(config, tune=tune))
    # a rectangle of another photo has no place in a vector
    augment = replace(frozen.augment, cutmix=0.0) if tune == "head" else frozen.augment
    return replace(
        config,
        tune=tune,
        epochs=frozen.epochs,
        batch_size=frozen.batch_size,
        optimizer=frozen.optimizer,
        augment=augment,
    )


def _chosen(config: TrainConfig, device: str, photos: int) -> Tune:
    if config.tune != "auto":
        if config.tune != "full" and config.model.pretrained == "none":
            raise ConfigError(f"tune is {config.tune}, but nothing is pretrained; use --tune full, or --pretrained")
        return config.tune
    if device != "cpu" or config.model.pretrained == "none":
        return "full"
    return "last-stage" if _minutes(config, photos) <= MINUTES else "head"


def _minutes(config: TrainConfig, photos: int) -> float:
    """What training the last stage is estimated to take here; infinite for a network of unknown size."""
    network = catalogue().get(config.model.name)
    if network is None or not network.multiply_adds or not network.pixels:
        return float("inf")
    forward = network.multiply_adds * LAST_STAGE * (config.preprocess.crop / network.pixels) ** 2
    return 3 * forward * photos * config.last_stage.epochs / (PER_CORE * available_cores()) / 60


@dataclass(slots=True)
class Material:
    """What is trained of a network, and what it is trained on."""

    config: TrainConfig
    dataset: Dataset
    processes: Processes
    parameters: list[Any]
    forward: Callable[[Any], Any]
    words: str
    """What is trained, in words."""
    cut: Cut | None = None
    features: Features | None = None

    def training(self, *, epoch: int, start: int) -> Iterator[Batch]:
        """Yield this process's batches of an epoch from step `start` on."""
        place: dict[str, int] = {"epoch": epoch, "start": start}
        shared: dict[str, int] = {"rank": self.processes.rank, "world": self.processes.world}
        if self.features is not None:
            return training_features(self.features, self.config, **place, **shared)
        return training_batches(self.dataset.train, self.config, **place, **shared)

    def validation(self) -> Iterator[Batch]:
        """Yield this process's part of the validation photos."""
        shared: dict[str, int] = {"rank": self.processes.rank, "world": self.processes.world}
        if self.features is not None:
            return validation_features(self.features, self.config, **shared)
        return evaluation_batches(self.dataset.val, self.config, **shared)


def fitting(
    network: Any, config: TrainConfig, dataset: Dataset, processes: Processes, *, asked: TrainConfig
) -> Material:
    """Return what is trained under a settled config; for `auto`, the next best where a network can't be cut so."""
    while True:
        try:
            return material(network, config, dataset, processes)
        except ConfigError:
            next_best: dict[Tune, Tune] = {"last-stage": "head", "head": "full"}
            if asked.tune != "auto" or config.tune not in next_best:
                raise
            config = settled(replace(asked, tune=next_best[config.tune]), "cpu", photos=len(dataset.train))


def material(network: Any, config: TrainConfig, dataset: Dataset, processes: Processes) -> Material:
    """Return what is trained under a settled config; features are computed later."""
    if config.tune in ("full", "auto"):
        parameters = [each for each in network.parameters() if not each.stop_gradient]
        return Material(config, dataset, processes, parameters, network, "the whole network")
    try:
        head, _ = head_of(network, pixels=config.preprocess.crop)
    except ConfigError as error:
        raise ConfigError(f"{error}; use --tune full") from None
    part = cut(network, part="head" if config.tune == "head" else "last-stage", head=head, crop=config.preprocess.crop)
    parameters = part.parameters()
    share = sum(p.size for p in parameters) / sum(p.size for p in network.parameters())
    where = f"the head {head!r}" if config.tune == "head" else f"what comes after {part.at!r}"
    words = f"{where}, {share:.1%} of the weights"
    return Material(config, dataset, processes, parameters, part.rest, words, part)


def compute_features(made: Material, *, folder: Path, stop: Callable[[], bool]) -> Generator[Report, None, bool]:
    """Compute what the frozen part makes of the photos, each process a share of it; return whether all is done."""
    if made.cut is None:
        return True
    rank, world = made.processes.rank, made.processes.world
    share = replace(made.dataset, train=made.dataset.train[rank::world], val=made.dataset.val[rank::world])
    for part in (share, made.dataset) if world > 1 else (made.dataset,):  # all of it is there by the second time
        made.features = yield from compute(made.cut, made.config, part, folder=folder, stop=stop)
        if made.processes.sum([made.features is None])[0]:
            return False
    return True
