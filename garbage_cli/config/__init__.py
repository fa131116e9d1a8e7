"""Settings: typed, with their defaults, read from YAML by name and overridden key by key.

Knows the shapes and ranges of settings. Does not know who uses them.
"""

from garbage_cli.config.reading import (
    DEFAULT_CONFIG,
    config_folder,
    config_names,
    load_train_config,
    parse_override,
    parse_train_config,
    read_tree,
    to_tree,
    to_yaml,
    with_overrides,
)
from garbage_cli.config.settings import (
    AmpConfig,
    AugmentConfig,
    FrozenConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PreprocessConfig,
    TrainConfig,
    Tune,
    parse_duration,
)
from garbage_cli.config.sizes import human, parse_size

__all__ = [
    "DEFAULT_CONFIG",
    "AmpConfig",
    "AugmentConfig",
    "FrozenConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PreprocessConfig",
    "TrainConfig",
    "Tune",
    "config_folder",
    "config_names",
    "human",
    "load_train_config",
    "parse_duration",
    "parse_override",
    "parse_size",
    "parse_train_config",
    "read_tree",
    "to_tree",
    "to_yaml",
    "with_overrides",
]
