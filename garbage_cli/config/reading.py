"""Settings from YAML by name, overridden key by key, and back to YAML.

Knows files and dotted keys. Does not know what a setting means.
"""

import copy
import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from garbage_cli.config.settings import TrainConfig
from garbage_cli.errors import ConfigError

DEFAULT_CONFIG = "resnet50_vd_ssld_random_erasing"


def load_train_config(source: str = DEFAULT_CONFIG, overrides: Iterable[tuple[str, object]] = ()) -> TrainConfig:
    """Read a config by name (see `config_names`) or from a YAML file, then set dotted keys: `("model.name", "ViT")`."""
    return with_overrides(read_tree(source), overrides, where=source)


def read_tree(source: str) -> dict[str, Any]:
    """Read the nested values of a config by name or from a YAML file, whatever its keys are."""
    return _read_yaml(_locate(source))


def with_overrides(tree: Mapping[str, Any], overrides: Iterable[tuple[str, object]], *, where: str) -> TrainConfig:
    """Check nested values, then set dotted keys and check again, so that an error says which of the two is wrong."""
    config = parse_train_config(tree, where=where)
    changes = list(overrides)
    for every in (changes, _everywhere(changes)):  # as they are first: errors name what was written
        changed = copy.deepcopy(dict(tree))
        for key, value in every:
            _set(changed, key, value)
        config = parse_train_config(changed, where="the options") if changes else config
    return config


def _everywhere(changes: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """What is set for the whole network holds for a frozen one too, unless that is set on its own."""
    shared = [(key, value) for key, value in changes if key.partition(".")[0] in _SHARED]
    return [(f"{part}.{key}", value) for part in ("head", "last_stage") for key, value in shared] + changes


_SHARED = ("epochs", "batch_size", "optimizer", "augment")
"""The keys that FrozenConfig has too."""


def parse_train_config(tree: Mapping[str, Any], *, where: str) -> TrainConfig:
    """Check a nested mapping and make a TrainConfig; raise ConfigError that names the key and the nearest known one."""
    _refuse_unknown_keys(TrainConfig, tree, prefix="", where=where)
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(TrainConfig).validate_python(_merged(to_tree(TrainConfig()), tree))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key} is {first['input']!r}: {first['msg']}") from None


def _merged(defaults: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree over the defaults, section by section: one key of `head` leaves the others as they are in `head`."""
    merged = dict(defaults)
    for key, value in tree.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def to_tree(config: TrainConfig) -> dict[str, Any]:
    """Return nested plain values that `parse_train_config` reads back, fit for YAML and JSON."""
    return _plain(dataclasses.asdict(config))  # type: ignore[no-any-return]


def to_yaml(config: TrainConfig) -> str:
    """Return the config as YAML that `--config FILE` reads back."""
    return yaml.safe_dump(to_tree(config), allow_unicode=True, sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def parse_override(text: str) -> tuple[str, object]:
    """Read `a.b=c` of `--set`; the value is YAML, so numbers, lists and null work."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: write it as KEY=VALUE, for example optimizer.learning_rate=0.01")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: the value is not valid YAML") from None


def config_folder() -> Path:
    """Return the folder of ready recipes: inside the installed package, or beside it in a clone."""
    here = Path(__file__).parents[1]
    return next(folder for folder in (here / "configs", here.parent / "configs") if folder.is_dir())


def config_names() -> list[str]:
    """Return the names of the ready recipes."""
    return sorted(path.stem for path in config_folder().glob("*.yml"))


def _locate(source: str) -> Path:
    path = Path(source)
    if path.suffix in (".yml", ".yaml") or path.is_file():
        return path
    if source in config_names():
        return config_folder() / f"{source}.yml"
    raise ConfigError(
        f"no config named {source!r}{_did_you_mean(source, config_names())}; "
        f"give a YAML file or one of: {', '.join(config_names())}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: text that is no UTF-8, a date that is none
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not a config: it nests too deep") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds {type(tree).__name__}, not KEY: VALUE lines")
    return tree


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    *sections, last = key.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{key}: {section} is a single value, it has no {last}")
        tree = below
    below = tree.get(last)
    tree[last] = {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value


def _refuse_unknown_keys(type_: Any, tree: Mapping[str, Any], *, prefix: str, where: str) -> None:
    known = {f.name: f.type for f in dataclasses.fields(type_)}
    for key, value in tree.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {prefix}{key}{_did_you_mean(str(key), known)}")
        if dataclasses.is_dataclass(known[key]) and isinstance(value, Mapping):
            _refuse_unknown_keys(known[key], value, prefix=f"{prefix}{key}.", where=where)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
