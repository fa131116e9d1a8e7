"""The shapes, defaults and ranges of settings.

Knows what a setting means. Does not know where its value comes from.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from garbage_cli.errors import ConfigError


def _check_range(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Refuse what is outside low…high, or equal to `low` if it must be `above` it. NaN is outside of everything."""
    if not (low < value <= high if above else low <= value <= high):
        limits = f"{'above' if above else 'at least'} {low:g}" + ("" if math.isinf(high) else f" and at most {high:g}")
        raise ConfigError(f"{name} is {value:g}; it must be {limits}")


def _check_span(name: str, span: tuple[float, float], high: float) -> None:
    if span[0] > span[1]:
        raise ConfigError(f"{name} is {list(span)}; the first number must not be above the second")
    _check_range(f"{name}[0]", span[0], 0, high, above=True)
    _check_range(f"{name}[1]", span[1], span[0], high)


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """How an upright RGB photo becomes the network's input. Training, export, predict and serve share it."""

    resize_short: int = 256
    """Pixels of the shorter side after resizing."""
    crop: int = 224
    """Side of the centre crop, pixels: the network's input is 3 × crop × crop."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per channel, of values 0…1 (ImageNet's)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel, of values 0…1 (ImageNet's)."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Pillow's filter, which averages when it shrinks."""

    def __post_init__(self) -> None:
        _check_range("preprocess.resize_short", self.resize_short, 1, 4096)
        for mean, std in zip(self.mean, self.std, strict=True):
            _check_range("preprocess.mean", mean, -1000, 1000)
            _check_range("preprocess.std", std, 0, 1000, above=True)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which network, and what it starts from."""

    name: str = "ResNet50_vd"
    """A PaddleClas architecture."""
    pretrained: str = "ssld"
    """`ssld` or `imagenet` (PaddleClas's weights), `none`, a .pdparams file, or a URL of one."""
    lr_mult: tuple[float, ...] | None = None
    """Learning-rate multipliers of the stem and the four stages, for the networks that take them."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which is what is evaluated and kept; 0 means none."""

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ConfigError(f"model.ema is {self.ema:g}; it must be at least 0 and below 1, for example 0.999")


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """What training does to a photo, at random, in this order."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Area of the random crop, as a part of the photo's."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width : height of the random crop."""
    flip: float = 0.5
    """Probability of mirroring left and right."""
    policy: Literal["none", "randaugment", "autoaugment"] = "none"
    """Changes of colour and geometry: RandAugment (Cubuk et al. 2020), or AutoAugment's ImageNet policy (2019)."""
    policy_layers: int = 2
    """RandAugment's changes per photo."""
    policy_magnitude: int = 5
    """RandAugment's strength, 0 to 10."""
    erase: float = 0.5
    """Probability of RandomErasing, after normalisation, filled with 0 (Zhong et al. 2017)."""
    erase_area: tuple[float, float] = (0.02, 0.4)
    """Area of the erased rectangle, as a part of the input's."""
    erase_aspect: float = 0.3
    """Least height : width of the erased rectangle; the most is its inverse."""
    mixup: float = 0.0
    """Alpha of the beta distribution by which two photos are blended (Zhang et al. 2018); 0 means none."""
    cutmix: float = 0.0
    """Alpha of the beta distribution by which a part of one photo is laid on another (Yun et al. 2019); 0 means none.

    With mixup as well, each batch takes one of the two by the toss of a coin."""

    def __post_init__(self) -> None:
        _check_range("augment.flip", self.flip, 0, 1)
        _check_range("augment.erase", self.erase, 0, 1)
        _check_range("augment.erase_aspect", self.erase_aspect, 0, 1, above=True)
        _check_range("augment.policy_layers", self.policy_layers, 1, 14)
        _check_range("augment.policy_magnitude", self.policy_magnitude, 0, 10)
        _check_range("augment.mixup", self.mixup, 0, 100)
        _check_range("augment.cutmix", self.cutmix, 0, 100)
        _check_span("augment.crop_scale", self.crop_scale, 1)
        _check_span("augment.crop_ratio", self.crop_ratio, math.inf)
        _check_span("augment.erase_area", self.erase_area, 1)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Cross-entropy, and how much each class counts."""

    label_smoothing: float = 0.0
    """Part of the target that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a photo counts by the inverse of its class's number of training photos; 1 on average."""

    def __post_init__(self) -> None:
        _check_range("loss.label_smoothing", self.label_smoothing, 0, 0.99)


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """SGD with momentum, or AdamW."""

    name: Literal["momentum", "adamw"] = "momentum"
    learning_rate: float = 0.00375
    """The highest one, for the whole batch."""
    momentum: float = 0.9
    """Of momentum; AdamW has betas of 0.9 and 0.999."""
    weight_decay: float = 1e-6
    """momentum: L2, added to the gradient. adamw: the part of a weight that each step takes away, times the rate."""
    warmup_epochs: float = 0.0
    """The learning rate rises in a straight line over these, then falls along half a cosine to 0."""
    clip_norm: float = 0.0
    """Largest length of the whole gradient; longer ones are scaled down. 0 means no limit."""
    accumulate: int = 1
    """Batches whose gradients are averaged before a step is taken."""

    def __post_init__(self) -> None:
        _check_range("optimizer.learning_rate", self.learning_rate, 0, 1000, above=True)
        _check_range("optimizer.momentum", self.momentum, 0, 1)
        _check_range("optimizer.weight_decay", self.weight_decay, 0, 1)
        _check_range("optimizer.warmup_epochs", self.warmup_epochs, 0, math.inf)
        _check_range("optimizer.clip_norm", self.clip_norm, 0, math.inf)
        _check_range("optimizer.accumulate", self.accumulate, 1, 4096)


@dataclass(frozen=True, slots=True)
class AmpConfig:
    """Automatic mixed precision: computing in 16-bit floats where that is safe."""

    level: Literal["none", "O1", "O2"] = "none"
    """O1: operations that gain from it. O2: nearly all, with weights in 16 bits and a 32-bit copy for the optimiser."""
    dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    """auto: bfloat16 where the device has it, else float16, whose loss is scaled."""


@dataclass(frozen=True, slots=True)
class FrozenConfig:
    """What replaces the settings of the same names while a part of the network is frozen.

    The frozen part is computed once for each of a few augmented views of every photo, and kept on disk."""

    views: int = 8
    """Augmented views of each training photo."""
    epochs: int = 40
    batch_size: int = 64
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop_scale=(0.35, 1.0), erase=0.0))
    """Milder than for the whole of a network: a few views have to show what a photo is of."""

    def __post_init__(self) -> None:
        for name, least, most in (("views", 1, 10_000), ("epochs", 1, math.inf), ("batch_size", 2, math.inf)):
            _check_range(f"{name} of head or last_stage", getattr(self, name), least, most)


Tune = Literal["auto", "head", "last-stage", "full"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run, whole."""

    epochs: int = 60
    batch_size: int = 32
    """Photos per step, over all processes together."""
    seed: int = 42
    """Order of the photos, augmentation, dropout, and the start of what is not pretrained."""
    tune: Tune = "auto"
    """What is trained: the head (the last linear layer), the last stage and the head, or the full network.
    auto: full on a GPU or without pretrained weights; else the last stage if that takes minutes, or the head."""
    device: str = "auto"
    """auto, cpu, gpu, or gpu:N."""
    workers: int = 0
    """Threads that decode and augment; 0 means one per core, at least two."""
    time_limit: str | float | None = None
    """Stop after so long, such as 30m or 1.5h, with the state saved; --resume goes on."""
    patience: int = 0
    """Stop after so many epochs without a better one; 0 means never."""
    select_by: Literal["top1", "macro_f1"] = "top1"
    """The figure on the validation photos by which the best epoch is chosen."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """balanced: every class equally often, photos of small classes repeated; an epoch stays as long."""
    visualdl: bool = False
    """Write logs for VisualDL into the run folder."""
    model: ModelConfig = field(default_factory=ModelConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    amp: AmpConfig = field(default_factory=AmpConfig)
    head: FrozenConfig = field(
        default_factory=lambda: FrozenConfig(
            views=4,
            epochs=30,
            batch_size=64,
            optimizer=OptimizerConfig("adamw", learning_rate=0.003, weight_decay=0.01),
        )
    )
    """In place of epochs, batch_size, optimizer and augment where only the head is trained."""
    last_stage: FrozenConfig = field(
        default_factory=lambda: FrozenConfig(
            views=6,
            epochs=12,
            batch_size=64,
            optimizer=OptimizerConfig("momentum", learning_rate=0.03, weight_decay=1e-4, warmup_epochs=1),
        )
    )
    """In place of epochs, batch_size, optimizer and augment where the last stage and the head are trained."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("workers", 0), ("seed", 0), ("patience", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.seed >= 2**32:
            raise ConfigError(f"seed is {self.seed}; it must be below {2**32}")
        if not 0 < self.preprocess.crop <= self.preprocess.resize_short:
            raise ConfigError(
                f"preprocess.crop is {self.preprocess.crop}; it must be from 1 to "
                f"preprocess.resize_short, which is {self.preprocess.resize_short}"
            )
        if self.time_limit is not None:
            parse_duration(str(self.time_limit))


def parse_duration(text: str) -> float:
    """Turn `90s`, `30m`, `1.5h` or a number of seconds into seconds; raise ConfigError for anything else."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"time_limit is {text!r}; write it as 90s, 30m or 1.5h")
    return seconds
