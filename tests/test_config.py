import re
from dataclasses import replace
from pathlib import Path

import pytest

from garbage_cli.config import (
    DEFAULT_CONFIG,
    TrainConfig,
    config_folder,
    config_names,
    load_train_config,
    parse_duration,
    parse_override,
    parse_train_config,
    to_tree,
    to_yaml,
)
from garbage_cli.errors import ConfigError


@pytest.mark.parametrize("name", config_names())
def test_every_ready_recipe_loads_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    config = load_train_config(name)
    assert parse_train_config(to_tree(config), where="tree") == config
    (tmp_path / "again.yml").write_text(to_yaml(config))
    assert load_train_config(str(tmp_path / "again.yml")) == config


def test_the_default_recipe_is_the_source_documents() -> None:
    config = load_train_config()
    assert (config.model.name, config.model.pretrained, config.epochs) == ("ResNet50_vd", "ssld", 60)
    assert config.model.lr_mult == (0.5, 0.5, 0.6, 0.6, 0.8)
    assert config.optimizer.learning_rate == 0.00375
    assert load_train_config(DEFAULT_CONFIG, [("model.lr_mult", None)]) == TrainConfig()


def test_overrides_are_yaml_values_at_dotted_keys() -> None:
    overrides = [parse_override(text) for text in ("augment.erase=0", "augment.erase_area=[0.1, 0.2]", "epochs=3")]
    config = load_train_config(overrides=overrides)
    assert (config.augment.erase, config.augment.erase_area, config.epochs) == (0.0, (0.1, 0.2), 3)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([("epoch", 3)], "unknown key epoch (did you mean epochs?)"),
        ([("augment.erease", 0)], "unknown key augment.erease (did you mean erase?)"),
        ([("epochs", "many")], "epochs is 'many'"),
        ([("epochs", 0)], "epochs is 0; it must be at least 1"),
        ([("preprocess.crop", 512)], "preprocess.crop is 512"),
        ([("optimizer.learning_rate", -1)], "must be above 0"),
        ([("optimizer.learning_rate", float("nan"))], "learning_rate is nan"),
        ([("optimizer.momentum", 2)], "optimizer.momentum is 2"),
        ([("augment.erase", 2)], "augment.erase is 2; it must be at least 0 and at most 1"),
        ([("augment.flip", -1)], "augment.flip is -1"),
        ([("augment.crop_scale", [0.5, 0.1])], "augment.crop_scale is [0.5, 0.1]; the first"),
        ([("preprocess.mean", [float("nan"), 0, 0])], "preprocess.mean is nan"),
        ([("preprocess.std", [0, 1, 1])], "preprocess.std is 0"),
        ([("augment.mixup", -1)], "augment.mixup is -1"),
        ([("augment.policy", "rand")], "augment.policy is 'rand'"),
        ([("augment.policy_magnitude", 11)], "augment.policy_magnitude is 11"),
        ([("loss.label_smoothing", 1)], "loss.label_smoothing is 1"),
        ([("model.ema", 1)], "model.ema is 1"),
        ([("amp.level", "O3")], "amp.level is 'O3'"),
        ([("tune", "tail")], "tune is 'tail'"),
        ([("head.views", 0)], "views of head or last_stage is 0"),
        ([("optimizer.accumulate", 0)], "optimizer.accumulate is 0"),
        ([("patience", -1)], "patience is -1"),
        ([("seed", -1)], "seed is -1"),
        ([("seed", 99999999999999999999)], "seed is 99999999999999999999; it must be below"),
        ([("epochs.a", 1)], "epochs is a single value"),
        ([("model", "ViT")], "model"),
    ],
)
def test_a_wrong_setting_is_named(overrides: list[tuple[str, object]], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_train_config(overrides=overrides)
    assert said in str(error.value)
    assert "resnet50" not in str(error.value)  # the recipe is not to blame
    assert "\n" not in str(error.value)


def test_a_wrong_config_name_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean demo"):
        load_train_config("demmo")
    with pytest.raises(ConfigError, match="No such file"):
        load_train_config(str(tmp_path / "gone.yml"))
    (tmp_path / "list.yml").write_text("- 1")
    with pytest.raises(ConfigError, match="not KEY: VALUE"):
        load_train_config(str(tmp_path / "list.yml"))
    (tmp_path / "bad.yml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_train_config(str(tmp_path / "bad.yml"))


@pytest.mark.parametrize("text", ["epochs", "=3", ""])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_override(text)


@pytest.mark.parametrize("name", config_names())
def test_every_ready_recipe_says_how_to_run_it_and_what_it_reached(name: str) -> None:
    head = "".join(
        line[1:] for line in (config_folder() / f"{name}.yml").read_text().splitlines() if line.startswith("#")
    )
    assert f"garbage train --config {name}" in head
    assert re.search(r"[Rr]eached .*\d+(\.\d)? %|Nobody has run it", head), head


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800), ("45", 45)])
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "30 minutes", "-1m", "0", "nan", "infh"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write it as 90s, 30m or 1\.5h"):
        load_train_config(overrides=[("time_limit", text)])


def test_one_key_of_a_section_leaves_the_others_as_they_are_there() -> None:
    """The head's optimiser has other defaults than the whole network's."""
    config = load_train_config(overrides=[("head.optimizer.learning_rate", 0.01)])
    assert config.head == replace(
        TrainConfig().head, optimizer=replace(TrainConfig().head.optimizer, learning_rate=0.01)
    )
    assert config.head.optimizer.name == "adamw"
    assert config.last_stage == TrainConfig().last_stage


def test_what_is_set_for_the_whole_network_holds_for_a_frozen_one_unless_that_is_set_on_its_own() -> None:
    overrides: list[tuple[str, object]] = [
        ("last_stage.epochs", 5), ("epochs", 3), ("augment.erase", 0.25), ("optimizer.learning_rate", 0.5),
    ]  # fmt: skip
    config = load_train_config(overrides=overrides)
    assert (config.epochs, config.head.epochs, config.last_stage.epochs) == (3, 3, 5)
    assert config.head.augment.erase == config.last_stage.augment.erase == config.augment.erase == 0.25
    assert config.head.augment.crop_scale == (0.35, 1.0)
    assert (config.head.optimizer.name, config.head.optimizer.learning_rate) == ("adamw", 0.5)
