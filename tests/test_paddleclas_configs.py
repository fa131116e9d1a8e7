import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from garbage_cli.config import parse_train_config
from garbage_cli.errors import ConfigError
from garbage_cli.paddleclas import Translation, is_paddleclas, lists_of, translate

FOLDER = Path(__file__).parent / "paddleclas_configs"
FILES = sorted(path.stem for path in FOLDER.glob("*.yml"))
OPS, VAL_OPS = "DataLoader.Train.dataset.transform_ops", "DataLoader.Eval.dataset.transform_ops"
OLD, NEW = "old_resnet50_vd_random_erasing", "new_resnet50_vd_random_erasing"


def tree(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def read(name: str, changes: dict[str, Any] | None = None) -> Translation:
    """Translate a file of the tests with some keys changed. `A.B` is a key in a section; an operation is one too."""
    changed = tree(name)
    for key, value in (changes or {}).items():
        *sections, last = key.split(".")
        here: Any = changed
        for section in sections:
            here = _holder(here, section)[section]
        _holder(here, last)[last] = value
    return translate(changed, where="my.yml")


def _holder(place: Any, word: str) -> Any:
    """The mapping that holds a key: the place itself, or its item that does."""
    return next(item for item in place if word in item) if isinstance(place, list) else place


def count_leaves(value: Any) -> int:
    """Counted on its own, in another way than the room does."""
    if isinstance(value, dict) and value:
        return sum(count_leaves(below) for below in value.values())
    if isinstance(value, list) and next(places(value), None) is not None:
        return sum(count_leaves(item) for item in value)
    return 1


def get(translation: Translation, dotted: str) -> Any:
    value: Any = translation.settings
    for word in dotted.split("."):
        value = value[word]
    return value


# ---- the recipes


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_recognised_and_every_key_of_it_told_of(name: str) -> None:
    found = read(name)
    assert is_paddleclas(tree(name))
    assert len(found.used) + len(found.unused) == count_leaves(tree(name))
    assert not found.used.keys() & found.unused.keys()
    assert set(found.differing) <= found.unused.keys()
    assert not [key for key, why in found.unused.items() if "unknown" in why]
    assert parse_train_config(found.settings, where=name).model.name == get(found, "model.name")


def test_the_source_documents_recipe_comes_out_in_both_styles() -> None:
    old, new = (parse_train_config(read(name).settings, where=name) for name in (OLD, NEW))
    for config in (old, new):
        assert (config.model.name, config.model.lr_mult) == ("ResNet50_vd", (0.5, 0.5, 0.6, 0.6, 0.8))
        assert (config.epochs, config.batch_size, config.seed, config.tune) == (60, 32, 0, "full")
        assert (config.optimizer.name, config.optimizer.learning_rate) == ("momentum", 0.00375)
        assert (config.optimizer.weight_decay, config.optimizer.warmup_epochs) == (1e-6, 0)
        assert (config.augment.erase, config.augment.erase_area) == (0.5, (0.02, 0.4))
        assert (config.augment.flip, config.augment.policy, config.augment.mixup) == (0.5, "none", 0)
        assert (config.preprocess.resize_short, config.preprocess.crop) == (256, 224)
    assert old.model.pretrained == "./pretrained/ResNet50_vd_ssld_pretrained.pdparams"
    assert new.model.pretrained == "ssld"


def test_nothing_of_it_differs_from_theirs() -> None:
    assert read(OLD).differing == read(NEW).differing == ()


def test_the_two_styles_of_a_recipe_come_out_alike() -> None:
    for name in ("mobilenetv3_mixup", "pplcnet_autoaugment_ema"):
        old, new = (parse_train_config(read(f"{style}_{name}").settings, where=name) for style in ("old", "new"))
        assert old.augment == new.augment
        assert old.optimizer == new.optimizer
        assert old.preprocess == new.preprocess
        assert (old.model.ema, old.model.pretrained, old.loss) == (new.model.ema, new.model.pretrained, new.loss)


def test_mixup_label_smoothing_and_the_warm_up_that_nobody_wrote_down() -> None:
    found = read("old_mobilenetv3_mixup")
    assert (get(found, "augment.mixup"), get(found, "augment.cutmix"), get(found, "augment.erase")) == (0.2, 0, 0)
    assert (get(found, "loss.label_smoothing"), get(found, "optimizer.warmup_epochs")) == (0.1, 5)
    assert (get(found, "model.pretrained"), get(found, "seed")) == ("none", 7)


def test_autoaugment_an_average_and_a_url() -> None:
    found = read("new_pplcnet_autoaugment_ema")
    assert (get(found, "augment.policy"), get(found, "model.ema"), get(found, "visualdl")) == (
        "autoaugment",
        0.9995,
        True,
    )
    assert get(found, "model.pretrained").startswith("https://")
    assert (get(found, "preprocess.interpolation"), get(found, "optimizer.weight_decay")) == ("bicubic", 3e-5)


def test_a_transformers_recipe_with_numbers_that_yaml_takes_for_texts() -> None:
    found = read("new_swin_adamw")
    config = parse_train_config(found.settings, where="swin")
    assert (config.optimizer.name, config.optimizer.learning_rate, config.optimizer.accumulate) == ("adamw", 1e-4, 4)
    assert (config.augment.policy, config.augment.policy_layers, config.augment.policy_magnitude) == (
        "randaugment",
        2,
        9,
    )
    assert (config.augment.mixup, config.augment.cutmix, config.augment.erase_area) == (0.8, 1.0, (0.02, 1 / 3))
    assert (config.amp.level, config.amp.dtype, config.model.ema) == ("O2", "bfloat16", 0.9999)
    assert "'pixel'; ours is always const" in found.unused[
        f"{OPS}.RandomErasing.mode"
    ]  # fmt: skip
    assert {"Arch.drop_path_rate", "Optimizer.lr.eta_min"} <= set(found.differing)
    assert "theirs is of each card" in found.used["DataLoader.Train.sampler.batch_size"]


def test_what_theirs_does_not_ask_for_is_not_done() -> None:
    bare = {"Arch": {"name": "ResNet50"}, "Global": {"epochs": 3}}
    config = parse_train_config(translate(bare, where="bare").settings, where="bare")
    assert (config.augment.erase, config.augment.flip, config.augment.crop_scale) == (0, 0, (1, 1))
    assert (config.model.pretrained, config.model.ema, config.optimizer.weight_decay) == ("none", 0, 0)
    assert (config.loss.label_smoothing, config.amp.level) == (0, "none")


def test_folders_lists_and_counts_are_given_as_they_stand_there() -> None:
    for name in (OLD, NEW):
        found = read(name)
        assert (found.image_root, found.train_list) == ("./dataset/garbage/", "./dataset/garbage/train.txt")
        assert (found.val_root, found.val_list) == ("./dataset/garbage/", "./dataset/garbage/validate.txt")
        assert (found.output, found.class_count) == ("./output/", 40)
        lists = lists_of(found)
        assert lists is not None
        assert (lists.train, lists.val, lists.class_count) == (found.train_list, found.val_list, 40)
    assert read(OLD).total_images == 11745
    assert read(NEW).label_list == "./dataset/garbage/label_list.txt"
    assert lists_of(translate({"Arch": {"name": "ResNet50"}}, where="bare")) is None


# ---- one key at a time


@pytest.mark.parametrize(
    ("key", "value", "setting", "expected"),
    [
        ("Arch.pretrained", False, "model.pretrained", "none"),
        ("Arch.use_ssld", False, "model.pretrained", "imagenet"),
        ("Arch.pretrained", "weights/mine", "model.pretrained", "weights/mine.pdparams"),
        ("Global.pretrained_model", "https://x.org/w.pdparams", "model.pretrained", "https://x.org/w.pdparams"),
        ("Global.device", "cpu", "device", "cpu"),
        ("Global.ema", {"enable": True, "decay": 0.99}, "model.ema", 0.99),
        ("Global.ema", {"enable": False, "decay": 0.99}, "model.ema", 0.0),
        ("AMP", {"level": "O1"}, "amp.level", "O1"),
        ("AMP", {"scale_loss": 128.0}, "amp.level", "O1"),
        ("AMP", {"use_amp": False, "level": "O2"}, "amp.level", "none"),
        ("Optimizer.name", "SGD", "optimizer.momentum", 0.0),
        ("Optimizer.name", "Adam", "optimizer.name", "adamw"),
        ("Optimizer.name", "Adam", "optimizer.weight_decay", 0.0),
        ("Optimizer.clip_norm", 10, "optimizer.clip_norm", 10),
        ("Optimizer.lr", 0.01, "optimizer.learning_rate", 0.01),
        ("Optimizer.lr.warmup_epoch", "5", "optimizer.warmup_epochs", 5),
        ("Optimizer.lr", {"name": "Piecewise", "values": [0.1, 0.01]}, "optimizer.learning_rate", 0.1),
        ("DataLoader.Train.loader.num_workers", 0, "tune", "full"),
        (f"{OPS}.RandCropImage.scale", [0.5, 1], "augment.crop_scale", [0.5, 1]),
        (f"{OPS}.RandFlipImage", {"flip_code": 0}, "augment.flip", 0.0),
        (f"{OPS}.RandomErasing", None, "augment.erase_area", [0.02, 0.4]),
        (f"{OPS}.RandomErasing.sh", "1.0/3.0", "augment.erase_area", [0.02, 1 / 3]),
        (f"{VAL_OPS}.ResizeImage", {"size": 256}, "preprocess.resize_short", 256),
        (f"{VAL_OPS}.NormalizeImage", {"scale": 1, "mean": [127.5] * 3, "std": [127.5] * 3},
         "preprocess.mean", pytest.approx([0.5] * 3)),
        (f"{VAL_OPS}.ResizeImage.interpolation", 2, "preprocess.interpolation", "bicubic"),
        ("DataLoader.Train.dataset.batch_transform_ops", [{"CutmixOperator": None}], "augment.cutmix", 0.2),
        ("DataLoader.Train.dataset.batch_transform_ops",
         [{"MixupCutmixHybrid": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0}}], "augment.mixup", 0.8),
    ],
)  # fmt: skip
def test_a_key_becomes_a_setting(key: str, value: Any, setting: str, expected: Any) -> None:
    assert get(read(NEW, {key: value}), setting) == expected


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"Optimizer.name": "RMSProp"}, "Optimizer.name", "RMSProp; momentum is taken instead"),
        ({"Optimizer.lr.name": "Linear"}, "Optimizer.lr.name", "Linear; ours is a warm-up and half a cosine"),
        ({"Optimizer.regularizer.name": "L1"}, "Optimizer.regularizer.coeff", "L1; ours is L2"),
        ({"Optimizer.beta1": 0.8}, "Optimizer.beta1", "0.8; ours is always 0.9"),
        ({"Global.device": "xpu"}, "Global.device", "'xpu'; there are auto, cpu and gpu"),
        ({"Global.use_multilabel": True}, "Global.use_multilabel", "one class"),
        ({"Global.checkpoints": "out/latest"}, "Global.checkpoints", "--resume"),
        ({"Arch.drop_rate": 0.1}, "Arch.drop_rate", "PaddleClas's own value"),
        ({"Loss.Train": [{"FocalLoss": {"gamma": 2}}]}, "Loss.Train.FocalLoss.gamma", "FocalLoss"),
        ({f"{OPS}.RandCropImage.size": 192},
         f"{OPS}.RandCropImage.size", "192; ours is that of evaluation, 224"),
        ({f"{VAL_OPS}.CropImage.size": [192, 256]},
         f"{VAL_OPS}.CropImage.size", "[192, 256]; ours is a square"),
        ({f"{OPS}.NormalizeImage.mean": [0, 0, 0]},
         f"{OPS}.NormalizeImage.mean", "[0, 0, 0]; ours is that of evaluation"),
        ({f"{OPS}.RandCropImage": {"size": 224, "interpolation": "lanczos"}},
         f"{OPS}.RandCropImage.interpolation", "'lanczos'; there are bilinear"),
        ({OPS: [{"Cutout": {"n_holes": 1}}]},
         f"{OPS}.Cutout.n_holes", "not supported: Cutout"),
        ({OPS: [{"AutoAugment": None}, {"RandAugment": None}]},
         f"{OPS}.RandAugment", "after another"),
        ({OPS: [{"RandCropImage": None, "size": 224}]},
         f"{OPS}[0].size", "how far it is indented"),
        ({"DataLoader.Train.dataset.batch_transform_ops": [{"OpSampler": {"MixupOperator": {"prob": 0.3}}}]},
         "DataLoader.Train.dataset.batch_transform_ops.OpSampler.MixupOperator.prob", "0.3; ours is always 1"),
        ({"DataLoader.Train.sampler.name": "PKSampler"}, "DataLoader.Train.sampler.name", "PKSampler"),
        ({"Slim": {"prune": {"name": "fpgm"}}}, "Slim.prune.name", "pruning"),
        ({"Global.epoch": 9}, "Global.epoch", "unknown key (did you mean epochs?)"),
        ({"Optimiser": {"name": "SGD"}}, "Optimiser.name", "unknown key (did you mean Optimizer?)"),
        ({"Optimizer.learning_rates": 9}, "Optimizer.learning_rates", "unknown key"),
        ({"zzz": {"a": [1, {"b": 2}]}}, "zzz.a[0]", "unknown key"),
    ],
)  # fmt: skip
def test_what_we_have_not_is_named_with_its_value(changes: dict[str, Any], key: str, said: str) -> None:
    found = read(NEW, changes)
    assert said in found.unused[key]
    assert key in found.differing


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"use_mix": False}, "TRAIN.mix.MixupOperator.alpha", "use_mix is not True"),
        ({"VALID.transforms.NormalizeImage.order": ""}, "VALID.transforms.NormalizeImage.order", "their engine"),
        ({"checkpoints": ""}, "checkpoints", "empty"),
    ],
)
def test_what_changes_nothing_is_told_apart(changes: dict[str, Any], key: str, said: str) -> None:
    found = read("old_mobilenetv3_mixup", changes)
    assert said in found.unused[key]
    assert key not in found.differing


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Global.epochs": "many"}, "my.yml: Global.epochs is 'many'; it must be a number"),
        ({"Global.epochs": 1.5}, "my.yml: Global.epochs is 1.5; it must be a whole number"),
        ({"Global.epochs": 0}, "my.yml: Global.epochs: epochs is 0"),
        ({"Global.epochs": True}, "Global.epochs is True; it must be a number"),
        ({"Optimizer.lr.learning_rate": -1}, "my.yml: Optimizer.lr.learning_rate: optimizer.learning_rate is -1"),
        ({"Optimizer.lr.learning_rate": "1/0"}, "Optimizer.lr.learning_rate is '1/0'"),
        ({"Optimizer.lr.learning_rate": float("nan")}, "Optimizer.lr.learning_rate is nan"),
        ({"Optimizer.momentum": [0.9]}, "Optimizer.momentum is [0.9]"),
        ({"Global.use_visualdl": "perhaps"}, "Global.use_visualdl is 'perhaps'; it must be True or False"),
        ({"Global.output_dir": 3}, "Global.output_dir is 3; it must be a text"),
        ({"Arch.lr_mult_list": [1, "x"]}, "Arch.lr_mult_list is [1, 'x']; it must be a list of numbers"),
        ({"Arch.name": 7}, "Arch.name is 7; it must be a text"),
        ({"Arch.name": None}, "it has no Arch.name"),
        ({"Arch.name": "RecModel", "Arch.Backbone": {"name": "PPLCNet_x2_5"}}, "for example PPLCNet_x2_5"),
        ({"AMP": {"level": "O9"}}, "AMP.level is 'O9'; it must be O1 or O2"),
        ({"AMP": {"dtype": "int8"}}, "AMP.dtype is 'int8'"),
        ({"EMA": {"decay": 1.5}}, "my.yml: EMA.decay: model.ema is 1.5"),
        ({f"{VAL_OPS}.NormalizeImage.mean": [0.5]}, "NormalizeImage.mean is [0.5]; it must be three numbers"),
        ({f"{VAL_OPS}.NormalizeImage.scale": 0}, "NormalizeImage.scale is 0"),
        ({f"{VAL_OPS}.ResizeImage.resize_short": 100}, "ResizeImage.resize_short: preprocess.crop is 224"),
        ({f"{OPS}.RandomErasing.EPSILON": 2}, "RandomErasing.EPSILON: augment.erase is 2"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_an_error_that_names_its_key_and_the_file(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(NEW, changes)
    assert str(caught.value).startswith("my.yml: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "other",
    [
        None, [], "text", {}, {"epochs": 3, "model": {"name": "ResNet50"}}, {"Global": {"infer_imgs": "x"}},
        {"Global": {"use_gpu": True}, "PreProcess": {}, "PostProcess": {}}, {"Arch": "ResNet50", "TRAIN": None}, {1: 2},
    ],
)  # fmt: skip
def test_a_tree_of_neither_style_is_not_theirs(other: Any) -> None:
    assert not is_paddleclas(other)
    if isinstance(other, dict):
        with pytest.raises(ConfigError, match="no training file of PaddleClas"):
            translate(other, where="other.yml")


def test_a_misspelt_network_section_is_still_theirs_and_said() -> None:
    changed = tree(NEW)
    changed["Arc"] = changed.pop("Arch")
    assert is_paddleclas(changed)
    with pytest.raises(ConfigError, match=r"it has no Arch\.name"):
        translate(changed, where="my.yml")


def test_files_that_hold_themselves_or_have_no_end_are_refused() -> None:
    knot = yaml.safe_load("Arch: {name: ResNet50, more: &knot {again: *knot}}")
    with pytest.raises(ConfigError, match="holds itself"):
        translate(knot, where="knot.yml")
    lines = ["a0: &a0 {x: 1, y: 2}"] + [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 30)]
    with pytest.raises(ConfigError, match="do not trust it"):
        translate(yaml.safe_load("\n".join(["Arch: {name: ResNet50}", *lines])), where="bomb.yml")
    lists = ["a0: &a0 [1, 2]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    bomb = yaml.safe_load("\n".join(["Arch: {name: ResNet50}", *lists, "Global: {epochs: *a39}"]))
    with pytest.raises(ConfigError, match=r"Global\.epochs is"):
        translate(bomb, where="bomb.yml")


# ---- whatever people wrote


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["1/3", "1e-4"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, *, into: tuple[type, ...] = (dict,)) -> Iterator[Any]:
    """Every container of a tree."""
    if isinstance(value, into):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from places(below, into=into)


def attempt(changed: dict[str, Any]) -> Translation | ConfigError:
    try:
        return translate(changed, where="my.yml")
    except ConfigError as error:
        return error


@given(st.data(), st.sampled_from(FILES))
def test_keys_added_anywhere_are_told_of(data: st.DataObject, name: str) -> None:
    changed = copy.deepcopy(tree(name))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.sampled_from(range(len(list(places(changed))))))
        key = data.draw(st.text(max_size=8).map(lambda text: f"x{text}") | st.sampled_from(["", "a.b", "[1]", "'"]))
        list(places(changed))[where][key] = data.draw(values)
    found = translate(changed, where="my.yml")
    assert len(found.used) + len(found.unused) == count_leaves(changed)
    assert not found.used.keys() & found.unused.keys()


@given(st.data(), st.sampled_from(FILES))
def test_any_value_at_any_key_is_told_of_or_an_error_that_names_the_file(data: st.DataObject, name: str) -> None:
    changed = copy.deepcopy(tree(name))
    containers = [place for place in places(changed, into=(dict, list)) if place]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(range(len(containers))))
        keys = list(containers[place]) if isinstance(containers[place], dict) else range(len(containers[place]))
        containers[place][data.draw(st.sampled_from(keys))] = data.draw(values)
    found = attempt(changed)
    if isinstance(found, ConfigError):
        assert str(found).startswith("my.yml")
        return
    assert len(found.used) + len(found.unused) == count_leaves(changed)
    parse_train_config(found.settings, where="my.yml")
