"""What theirs says of the network, the optimiser, the loss, averaging and precision.

Knows both styles by `Style`, and PaddleClas's own defaults. Does not know photos.
"""

import re

from garbage_cli.errors import ConfigError
from garbage_cli.paddleclas.sheet import Sheet, shown
from garbage_cli.paddleclas.styles import Style

_COMPOUND = {"RecModel": "Arch.Backbone.name", "DistillationModel": "Arch.models.Student.name"}
"""Names that stand for several networks, and where one of them is named."""
_ONE_DECAY = "not supported: weight decay is the same for all weights"


def read_network(sheet: Sheet, style: Style) -> None:
    """The network, its multipliers, and what it starts from."""
    name = sheet.text(style.network)
    if name is None:
        raise ConfigError(f"{sheet.where}: it has no {style.network}, the network to train")
    if name in _COMPOUND:
        single = sheet.leaves.get(_COMPOUND[name])
        hint = f"for example {single}" if isinstance(single, str) else "for example PPLCNet_x1_0"
        raise ConfigError(
            f"{sheet.where}: {style.network} is {name}, which is several networks, and one is trained here; "
            f"name that one there, {hint}"
        )
    sheet.use(style.network, "model.name", name)
    sheet.set("model.lr_mult", None)
    for section in style.network_parameters:
        key = f"{section}.lr_mult_list"
        if multipliers := sheet.numbers(key):
            sheet.use(key, "model.lr_mult", multipliers)
    _read_weights(sheet, style)


def _read_weights(sheet: Sheet, style: Style) -> None:
    sheet.set("model.pretrained", "none")
    given = sheet.leaves.get(style.weights)
    if isinstance(given, list):
        sheet.drop(style.weights, f"not supported: {len(given)} files; name one")
    elif given := sheet.text(style.weights):
        sheet.use(style.weights, "model.pretrained", _file(given))
        for key in ("Arch.pretrained", "Arch.use_ssld"):
            sheet.drop(key, f"{style.weights} goes before it", differs=False)
    elif sheet.given("Arch.pretrained"):
        _read_arch_pretrained(sheet)
    sheet.drop(style.weights, "names none", differs=False)
    sheet.drop("Arch.use_ssld", "there is no Arch.pretrained: True beside it", differs=False)


def _read_arch_pretrained(sheet: Sheet) -> None:
    """Arch.pretrained: True, False, a file without its suffix, or a URL."""
    key = "Arch.pretrained"
    value = sheet.leaves[key]
    if isinstance(value, str) and value.strip().lower() not in ("true", "false"):
        sheet.use(key, "model.pretrained", _file(value.strip()))
    elif not sheet.truth(key):
        sheet.use(key, "model.pretrained", "none")
    else:
        ssld = bool(sheet.truth("Arch.use_ssld"))
        sheet.use(key, "model.pretrained", "ssld" if ssld else "imagenet")
        sheet.tell("Arch.use_ssld", f"model.pretrained {'ssld' if ssld else 'imagenet'}")


def _file(text: str) -> str:
    """Theirs leaves the suffix out."""
    return text if text.endswith(".pdparams") or "://" in text else f"{text}.pdparams"


def read_optimizer(sheet: Sheet, style: Style) -> None:
    """The optimiser, its weight decay, and what bounds the gradient."""
    name = sheet.text(style.optimizer) or "Momentum"
    kind = {"sgd": "momentum", "adam": "adamw", "adamw": "adamw"}.get(name.lower(), "momentum")
    if name.lower() in ("momentum", "sgd", "adam", "adamw"):
        sheet.use(style.optimizer, "optimizer.name", kind)
    else:
        sheet.set("optimizer.name", kind)
        sheet.drop(style.optimizer, f"not supported: {name}; momentum is taken instead")
    if name.lower() == "sgd":
        sheet.use(style.optimizer, "optimizer.momentum", 0.0)
        sheet.drop(style.momentum, "SGD has none", differs=False)
    elif kind == "momentum" and (momentum := sheet.number(style.momentum)) is not None:
        sheet.use(style.momentum, "optimizer.momentum", momentum)
    sheet.drop(style.momentum, f"{name} has none", differs=False)
    _read_decay(sheet, style, plain_adam=name.lower() == "adam")
    _read_the_rest(sheet, style)


def _read_decay(sheet: Sheet, style: Style, *, plain_adam: bool) -> None:
    sheet.set("optimizer.weight_decay", 0.0)
    direct = f"{style.optimizer.partition('.')[0]}.weight_decay"
    for key in (direct, "OPTIMIZER.params.weight_decay"):
        if (value := sheet.number(key)) is not None and not plain_adam:
            sheet.use(key, "optimizer.weight_decay", value)
    if plain_adam:
        for key in (direct, f"{style.decay}.*"):
            sheet.drop(key, "not supported: L2 with Adam; there is AdamW, whose decay is another")
        return
    kind = (sheet.text(style.decay_name) or "L2").removesuffix("Decay")
    value = sheet.number(style.decay_value)
    if kind != "L2":
        sheet.drop(f"{style.decay}.*", f"not supported: {kind}; ours is L2")
    elif value is not None:
        sheet.use(style.decay_value, "optimizer.weight_decay", value)
        sheet.tell(style.decay_name, "optimizer.weight_decay")


def _read_the_rest(sheet: Sheet, style: Style) -> None:
    section = style.optimizer.partition(".")[0]
    for prefix in (section, f"{section}.params"):
        for word, value in (("beta1", 0.9), ("beta2", 0.999)):
            sheet.keep(f"{prefix}.{word}", value)
        for word in ("epsilon", "multi_precision"):
            sheet.drop(f"{prefix}.{word}", "of their engine; ours is Paddle's own", differs=False)
        for word in ("no_weight_decay_name", "one_dim_param_no_weight_decay"):
            sheet.drop(f"{prefix}.{word}", _ONE_DECAY)
        if clip := sheet.number(f"{prefix}.clip_norm"):
            note = "of the whole gradient; theirs is of each tensor's"
            sheet.use(f"{prefix}.clip_norm", "optimizer.clip_norm", clip, note)
    if steps := sheet.whole("Global.update_freq"):
        sheet.use("Global.update_freq", "optimizer.accumulate", steps)


def read_loss(sheet: Sheet, style: Style) -> None:
    """Cross-entropy and label smoothing, of all the losses they have."""
    sheet.set("loss.label_smoothing", 0.0)
    if (smoothing := sheet.number("ls_epsilon")) is not None:
        sheet.use("ls_epsilon", "loss.label_smoothing", max(0.0, smoothing))
    for path, name in sheet.items("Loss.Train").items():
        if name not in ("CELoss", "MixCELoss"):
            sheet.drop(f"{path}.*", f"not supported: {name}; ours is cross-entropy")
            continue
        if (smoothing := sheet.number(f"{path}.epsilon")) is not None:
            sheet.use(f"{path}.epsilon", "loss.label_smoothing", max(0.0, smoothing))
        sheet.keep(f"{path}.weight", 1.0)
        sheet.drop(path, "ours is cross-entropy", differs=False)


def read_averaging(sheet: Sheet) -> None:
    """The exponential moving average: EMA.decay, Global.ema, or use_ema with ema_decay."""
    sheet.set("model.ema", 0.0)
    for decay, switch, unless in (
        ("EMA.decay", "", True), ("Global.ema.decay", "Global.ema.enable", True), ("ema_decay", "use_ema", False)
    ):  # fmt: skip
        asked = sheet.truth(switch) if switch else None
        if not (unless if asked is None else asked):
            sheet.drop(decay, f"{switch} is not True", differs=False)
            sheet.drop(switch, "no average is asked for, and none is made", differs=False)
        elif (value := sheet.number(decay)) is not None:
            sheet.use(decay, "model.ema", value)
            sheet.tell(switch, f"model.ema {value:g}")
        elif asked:
            sheet.use(switch, "model.ema", 0.9999, "their default")


def read_precision(sheet: Sheet) -> None:
    """Mixed precision: the AMP section, or use_fp16 and use_pure_fp16."""
    sheet.set("amp.level", "none")
    for key, level in (("use_fp16", "O1"), ("use_pure_fp16", "O2")):
        if (asked := sheet.truth(key)) is not None:
            sheet.use(key, "amp.level", level if asked else "none")
    if not sheet.below("AMP") or "AMP" in sheet.leaves:
        return
    if sheet.truth("AMP.use_amp") is False:
        sheet.use("AMP.use_amp", "amp.level", "none")
        sheet.drop("AMP.*", "AMP.use_amp is False", differs=False)
        return
    level = sheet.text("AMP.level") or "O1"
    if not re.fullmatch("O[12]", level):
        raise ConfigError(f"{sheet.where}: AMP.level is {shown(level)}; it must be O1 or O2")
    sheet.set("amp.level", level)
    for key in ("AMP.level", "AMP.use_amp"):
        if sheet.given(key):
            sheet.use(key, "amp.level", level)
    if (kind := sheet.text("AMP.dtype")) is not None:
        if kind not in ("float16", "bfloat16"):
            raise ConfigError(f"{sheet.where}: AMP.dtype is {shown(kind)}; it must be float16 or bfloat16")
        sheet.use("AMP.dtype", "amp.dtype", kind)
