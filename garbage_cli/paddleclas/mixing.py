"""How theirs mixes the photos of a batch.

Knows MixUp and CutMix under their names. Does not know what is done to single photos.
"""

from garbage_cli.paddleclas.sheet import Sheet
from garbage_cli.paddleclas.styles import Style

_MIXERS = {"MixupOperator": ("augment.mixup", 1.0), "CutmixOperator": ("augment.cutmix", 0.2)}
"""Their operations on batches, with the alpha that they have by default."""


def read_mixing(sheet: Sheet, style: Style) -> None:
    """MixUp and CutMix: alone, one after the other, or drawn by OpSampler. The old style needs use_mix: True."""
    sheet.set("augment.mixup", 0.0)
    sheet.set("augment.cutmix", 0.0)
    section, asked = f"{style.train}.{style.mixing}", sheet.truth("use_mix")
    if section.startswith("TRAIN") and not asked:
        sheet.drop(f"{section}.*", "use_mix is not True", differs=False)
        sheet.drop("use_mix", "nothing is mixed", differs=False)
        return
    sheet.tell("use_mix", "augment.mixup and augment.cutmix")
    for path, name in sheet.items(section).items():
        if name == "OpSampler":
            _read_sampler(sheet, path)
        elif name == "MixupCutmixHybrid":
            _read_hybrid(sheet, path)
        elif name in _MIXERS:
            _read_mixer(sheet, path, name, chance=1.0)
        else:
            sheet.drop(f"{path}.*", f"not supported: {name}")


def _read_mixer(sheet: Sheet, path: str, name: str, *, chance: float) -> None:
    if chance <= 0:
        sheet.drop(f"{path}.*", "its prob is 0", differs=False)
        return
    setting, default = _MIXERS[name]
    if "use_mix" in sheet.leaves:
        default = 0.2  # of both, in PaddleClas 2.0
    alpha = sheet.number(f"{path}.alpha")
    sheet.set(setting, default)
    sheet.tell(path, f"{setting} {default:g}")
    if alpha is not None:
        sheet.use(f"{path}.alpha", setting, alpha)


def _read_sampler(sheet: Sheet, path: str) -> None:
    """OpSampler draws one by its prob, or none; ours mixes every batch, and tosses a coin between the two."""
    found = sheet.items(path)
    chances = {each: sheet.number(f"{each}.prob") or 0.0 for each in found}
    mixers = {each for each, name in found.items() if name in _MIXERS and chances[each] > 0}
    for each, name in found.items():
        if name not in _MIXERS:
            sheet.drop(f"{each}.*", f"not supported: {name}")
            continue
        _read_mixer(sheet, each, name, chance=chances[each])
        sheet.keep(f"{each}.prob", 1 / max(1, len(mixers)))


def _read_hybrid(sheet: Sheet, path: str) -> None:
    for word, setting, default in (("mixup_alpha", "augment.mixup", 1.0), ("cutmix_alpha", "augment.cutmix", 0.0)):
        sheet.set(setting, default)
        if (alpha := sheet.number(f"{path}.{word}")) is not None:
            sheet.use(f"{path}.{word}", setting, alpha)
    sheet.drop(f"{path}.num_classes", "ours are counted", differs=False)
    sheet.keep(f"{path}.prob", 1.0)
    sheet.keep(f"{path}.switch_prob", 0.5)
