"""Training files that people have from PaddleClas, of 2.0 and of today → our settings, with word of every key.

Knows both styles. Does not know Paddle, the terminal, or how settings are used. What theirs does without being asked is
set as well, so that nothing of ours comes in by default: no erasing where none is named, no weights, the full network.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from garbage_cli.config import parse_train_config
from garbage_cli.errors import ConfigError
from garbage_cli.paddleclas.augmenting import read_training
from garbage_cli.paddleclas.learning import read_averaging, read_loss, read_network, read_optimizer, read_precision
from garbage_cli.paddleclas.mixing import read_mixing
from garbage_cli.paddleclas.photos import read_evaluation
from garbage_cli.paddleclas.rates import read_rate
from garbage_cli.paddleclas.running import read_counts, read_places, read_running
from garbage_cli.paddleclas.sheet import Sheet
from garbage_cli.paddleclas.styles import Style, meant, reason, style_of

__all__ = ["Lists", "Translation", "is_paddleclas", "lists_of", "translate"]


@dataclass(frozen=True, slots=True)
class Translation:
    """A training file of theirs in our settings. Every leaf of it is a key of `used` or of `unused`."""

    settings: dict[str, object]
    """Nested; `config.parse_train_config` takes it, and has taken it."""
    used: dict[str, str]
    """Their dotted keys, and what they became: `optimizer.learning_rate 0.00375`."""
    unused: dict[str, str]
    """Their dotted keys, and why we have no use for them."""
    differing: tuple[str, ...]
    """Those of `unused` without which ours trains otherwise than theirs; the rest changes nothing."""
    image_root: str | None
    """The folder that the lines of the lists start from. Paths are theirs: from the working folder, if relative."""
    train_list: str | None
    val_list: str | None
    val_root: str | None
    """The folder that the lines of `val_list` start from, mostly `image_root`."""
    label_list: str | None
    """A file with a line `NUMBER NAME` per class."""
    output: str | None
    class_count: int | None
    total_images: int | None
    """Photos of training, as the file says."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What it takes to read the data set that a training file names. Paths are as it has them."""

    image_root: str
    train: str
    val: str | None
    val_root: str
    labels: str | None
    class_count: int | None


def is_paddleclas(tree: object) -> bool:
    """Say whether a nested tree is a training file of PaddleClas, of either style."""
    return isinstance(tree, Mapping) and style_of(tree) is not None


def translate(tree: Mapping[str, object], *, where: str) -> Translation:
    """Read a training file of PaddleClas, whatever else is in it; `where` names it in errors.

    Raises ConfigError that names the key for a value of the wrong kind or out of range, and for a tree that has no
    network or several. Keys after PaddleClas's configs and its documents of 2.0 to 2.6.
    """
    style = style_of(tree)
    if style is None:
        raise ConfigError(f"{where} is no training file of PaddleClas: it has neither ARCHITECTURE nor Arch")
    sheet = Sheet(tree, where=where)
    read_network(sheet, style)
    read_optimizer(sheet, style)
    read_rate(sheet, style)
    read_loss(sheet, style)
    read_averaging(sheet)
    read_precision(sheet)
    read_evaluation(sheet, style)
    read_training(sheet, style)
    read_mixing(sheet, style)
    read_running(sheet, style)
    places = read_places(sheet, style)
    class_count, total_images = read_counts(sheet, style)
    _explain_the_rest(sheet, style)
    settings = _nested(sheet.settings)
    _check(settings, sheet)
    return Translation(
        settings, sheet.used, sheet.unused, tuple(key for key in sheet.unused if key in sheet.differing),
        image_root=places["image_root"], train_list=places["train_list"], val_list=places["val_list"],
        val_root=places["val_root"], label_list=places["label_list"], output=places["output"],
        class_count=class_count, total_images=total_images,
    )  # fmt: skip


def lists_of(translation: Translation) -> Lists | None:
    """Return the list files that a training file names, with what their lines start from; None if it names none."""
    if translation.train_list is None:
        return None
    root = translation.image_root or "."
    return Lists(
        root, translation.train_list, translation.val_list, translation.val_root or root, translation.label_list,
        translation.class_count,
    )  # fmt: skip


def _explain_the_rest(sheet: Sheet, style: Style) -> None:
    operations = tuple(f"{part}.{style.operations}[" for part in (style.train, style.val))
    for key in sheet.left():
        if key.startswith(operations):
            sheet.drop(key, "not of the form NAME: {KEY: VALUE}; look at how far it is indented")
        elif not sheet.given(key):
            sheet.drop(key, "it is empty", differs=False)
        elif known := reason(key):
            sheet.drop(key, known[0], differs=known[1])
        else:
            sheet.drop(key, f"unknown key{meant(key, style)}")


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        below = tree.setdefault(section, {}) if section else tree
        assert isinstance(below, dict)
        below[name] = value
    return tree


def _check(settings: Mapping[str, object], sheet: Sheet) -> None:
    """Let our own rules judge the values, and name the key of theirs that a message is about."""
    try:
        parse_train_config(settings, where=sheet.where)
    except ConfigError as error:
        message = str(error).removeprefix(f"{sheet.where}: ")
        theirs = sheet.origin(message)
        raise ConfigError(f"{sheet.where}: {f'{theirs}: ' if theirs else ''}{message}") from None
