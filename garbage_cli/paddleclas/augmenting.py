"""What theirs does to the photos of training at random.

Knows their operations and the defaults of each. Does not know what the network sees.
"""

import re
from collections.abc import Callable

from garbage_cli.paddleclas.photos import CROPS, SAME, read_filter, read_form, read_normalising, side
from garbage_cli.paddleclas.sheet import ALWAYS, Sheet, shown
from garbage_cli.paddleclas.styles import Style

_NO_CROP = "not supported without a random crop: ours takes the largest centred square"


def read_training(sheet: Sheet, style: Style) -> None:
    """What is done to each photo; what theirs does not name is not done. Read evaluation first."""
    for setting, value in (("flip", 0.0), ("policy", "none"), ("erase", 0.0)):
        sheet.set(f"augment.{setting}", value)
    sheet.set("augment.crop_scale", [1.0, 1.0])
    sheet.set("augment.crop_ratio", [1.0, 1.0])
    done: set[str] = set()
    for path, name in sheet.items(f"{style.train}.{style.operations}").items():
        kind, reader = _TRAINING.get(name, ("", None))
        if reader is None:
            if not read_form(sheet, path, name):
                sheet.drop(f"{path}.*", f"not supported: {name}")
        elif kind in done:
            sheet.drop(f"{path}.*", f"not supported: {name} after another such operation")
        elif path not in sheet.leaves or not sheet.given(path):
            done.add(kind)
            reader(sheet, path)
            sheet.tell(path, "as it is by default")


def _read_random_crop(sheet: Sheet, path: str) -> None:
    for word, default in (("scale", [0.08, 1.0]), ("ratio", [3 / 4, 4 / 3])):
        sheet.set(f"augment.crop_{word}", default)
        if (values := sheet.numbers(f"{path}.{word}")) is not None:
            sheet.use(f"{path}.{word}", f"augment.crop_{word}", values)
    square, crop = side(sheet, f"{path}.size"), sheet.settings.get("preprocess.crop", 224)
    if square == crop:
        sheet.tell(f"{path}.size", f"preprocess.crop {square}")
    elif square is not None:
        sheet.drop(f"{path}.size", f"not supported: {square}; {SAME}, {crop}")
    _read_filter_again(sheet, path)
    sheet.drop(f"{path}.use_log_aspect", ALWAYS, differs=False)


def _read_filter_again(sheet: Sheet, path: str) -> None:
    """Training's own filter, where evaluation names none."""
    if "preprocess.interpolation" in sheet.settings:
        sheet.drop(f"{path}.interpolation", f"{SAME}, {sheet.settings['preprocess.interpolation']}", differs=False)
        sheet.drop(f"{path}.backend", "ours is Pillow", differs=False)
    else:
        read_filter(sheet, path)


def _read_flip(sheet: Sheet, path: str) -> None:
    code = sheet.whole(f"{path}.flip_code")
    if code not in (None, 1):
        sheet.drop(f"{path}.flip_code", f"not supported: {code}; ours mirrors left and right, which is 1")
        return
    sheet.set("augment.flip", 0.5)
    sheet.tell(f"{path}.flip_code", "augment.flip 0.5")
    for word in ("prob", "p"):
        if (chance := sheet.number(f"{path}.{word}")) is not None:
            sheet.use(f"{path}.{word}", "augment.flip", chance)


def _read_autoaugment(sheet: Sheet, path: str) -> None:
    sheet.use(path, "augment.policy", "autoaugment")


def _read_randaugment(sheet: Sheet, path: str) -> None:
    sheet.set("augment.policy", "randaugment")
    for word, setting, default in (("num_layers", "layers", 2), ("magnitude", "magnitude", 5)):
        sheet.set(f"augment.policy_{setting}", default)
        if (value := sheet.whole(f"{path}.{word}")) is not None:
            sheet.use(f"{path}.{word}", f"augment.policy_{setting}", value)


def _read_timm(sheet: Sheet, path: str) -> None:
    """`rand-m9-n2-mstd0.5-inc1`: RandAugment of 2 changes at strength 9; `original`: AutoAugment's policy."""
    key = f"{path}.config_str"
    words = (sheet.text(key) or "rand-m9-mstd0.5-inc1").split("-")
    for word in ("img_size", "interpolation"):
        sheet.drop(f"{path}.{word}", "ours is that of the input", differs=False)
    if sheet.number(f"{path}.prob") == 0:
        sheet.use(f"{path}.prob", "augment.policy", "none")
        sheet.drop(key, "its prob is 0", differs=False)
        return
    sheet.keep(f"{path}.prob", 1.0)
    if words[0] not in ("rand", "original", "originalr"):
        sheet.drop(key, f"not supported: {shown(words[0])}; there are rand and original")
    elif words[0] == "rand":
        found = {match[1]: int(match[2]) for word in words[1:] if (match := re.fullmatch(r"([mn])(\d{1,3})", word))}
        sheet.set("augment.policy_layers", found.get("n", 2))
        sheet.set("augment.policy_magnitude", min(10, found.get("m", 10)))
        sheet.use(key, "augment.policy", "randaugment", "its number and strength of changes, none of its variation")
    else:
        sheet.use(key, "augment.policy", "autoaugment")


def _read_erasing(sheet: Sheet, path: str) -> None:
    values = {word: sheet.number(f"{path}.{word}") for word in ("EPSILON", "sl", "sh", "r1")}
    chance, least, most, aspect = (
        default if (given := values[word]) is None else given
        for word, default in (("EPSILON", 0.5), ("sl", 0.02), ("sh", 0.4), ("r1", 0.3))
    )
    for word, setting, value in (
        ("EPSILON", "erase", chance), ("sl", "erase_area", [least, most]), ("sh", "erase_area", [least, most]),
        ("r1", "erase_aspect", aspect),
    ):  # fmt: skip
        sheet.set(f"augment.{setting}", value)
        if values[word] is not None:
            sheet.use(f"{path}.{word}", f"augment.{setting}", value)
    if any(sheet.numbers(f"{path}.mean") or ()):
        sheet.drop(f"{path}.mean", f"not supported: {shown(sheet.leaves[f'{path}.mean'])}; ours fills with 0")
    sheet.drop(f"{path}.mean", ALWAYS, differs=False)
    sheet.keep(f"{path}.mode", "const")
    sheet.keep(f"{path}.use_log_aspect", False)
    sheet.drop(f"{path}.attempt", "ours tries a hundred times", differs=False)


def _read_resize_in_training(sheet: Sheet, path: str) -> None:
    _read_filter_again(sheet, path)
    sheet.drop(f"{path}.*", _NO_CROP)


def _read_normalising_again(sheet: Sheet, path: str) -> None:
    """Training's own values, where evaluation has none; else they have to be the same."""
    kept = {word: sheet.settings.get(f"preprocess.{word}") for word in ("mean", "std")}
    read_normalising(sheet, path)
    for word, value in kept.items():
        if value is not None and value != sheet.settings[f"preprocess.{word}"]:
            sheet.set(f"preprocess.{word}", value)
            sheet.retract(f"{path}.{word}", f"not supported: {shown(sheet.leaves[f'{path}.{word}'])}; {SAME}")


_Reader = Callable[[Sheet, str], None]
_TRAINING: dict[str, tuple[str, _Reader]] = {
    **dict.fromkeys(CROPS, ("crop", _read_random_crop)),
    "RandFlipImage": ("flip", _read_flip),
    "RandomHorizontalFlip": ("flip", _read_flip),
    "AutoAugment": ("policy", _read_autoaugment),
    "ImageNetPolicy": ("policy", _read_autoaugment),
    "RandAugment": ("policy", _read_randaugment),
    "TimmAutoAugment": ("policy", _read_timm),
    "RawTimmAutoAugment": ("policy", _read_timm),
    "RandomErasing": ("erase", _read_erasing),
    "NormalizeImage": ("normalise", _read_normalising_again),
    "ResizeImage": ("resize", _read_resize_in_training),
}
"""Their operations of training: those of one kind exclude each other, and who reads them."""
