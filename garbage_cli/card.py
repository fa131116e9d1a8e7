"""The model card of a bundle: what the model is, how good it is on what, and what it is not for.

Knows Markdown. Does not know how figures are made, nor the bundle's other files. After Mitchell et al., "Model Cards
for Model Reporting" (2019).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from garbage_cli import __version__
from garbage_cli.bundle import Checkpoint, Quality
from garbage_cli.dataset.text import printable
from garbage_cli.evaluation.measured import Measured, MeasuredKind
from garbage_cli.labels import HAZARDOUS, Label

CARD_FILE = "MODEL_CARD.md"


def model_card(
    checkpoint: Checkpoint, measured: Measured | None, precisions: Mapping[str, Quality] | None = None
) -> str:
    """Return the card's text; without figures it says that there are none."""
    parts = (
        _what(checkpoint),
        _use(checkpoint),
        _figures(measured),
        _precisions(precisions or {}),
        _kinds(checkpoint, measured),
        _data(checkpoint),
        _licence(checkpoint),
    )
    return "\n".join(line for part in parts for line in (*part, ""))


def _what(checkpoint: Checkpoint) -> Iterator[str]:
    config = checkpoint.config
    yield f"# {config.model.name}: which bin does it belong in"
    yield ""
    yield (
        f"A classifier of single photos into {len(checkpoint.labels)} kinds of waste"
        f"{_bins(checkpoint)}. A [PaddleClas](https://github.com/PaddlePaddle/PaddleClas) network, "
        f"trained and exported by `garbage` {__version__}."
    )
    yield ""
    side = config.preprocess.crop
    yield f"- Input: one photo, turned upright, RGB; the network sees {side} × {side} pixels."
    yield "- Output: a probability for each kind, which add up to 1, and the bin of the likeliest kind."


def _bins(checkpoint: Checkpoint) -> str:
    bins = dict.fromkeys(label.bin_name for label in checkpoint.labels.items if label.bin_name)
    return f" in {len(bins)} bin{'s' if len(bins) > 1 else ''} ({_text('、'.join(bins))})" if bins else ""


def _use(checkpoint: Checkpoint) -> Iterator[str]:
    yield "## Use and limits"
    yield ""
    yield "For a camera that helps people at a bin, and for counting; a person, or the sorting behind it, decides."
    yield "用于在垃圾桶旁辅助投放与统计，最终以人工或后端分拣为准。"
    yield ""
    yield "- One thing per photo. Of several things it names one, and does not say that there are more."
    yield "- It knows the kinds below and no others. A thing of none of them is taken for one of them, or answered"
    yield "  「不确定」 not sure if the score is low; a low score is no proof, and a high one neither."
    yield "- It has learnt the light, the backgrounds and the things of its training photos. Measure it on photos of"
    yield "  your own bins before you rely on it: `garbage evaluate inference --data YOUR_PHOTOS --split all`."
    yield "- Rules differ between cities; the bins are those of the data set's labels."
    if any(label.bin is HAZARDOUS for label in checkpoint.labels.items):
        yield "- Not for sorting out hazardous waste without a person: see the recall of its kinds below."
    else:
        yield "- It knows no hazardous waste: a battery is taken for something else, or answered not sure."


def _figures(measured: Measured | None) -> Iterator[str]:
    yield "## How good it is"
    yield ""
    if measured is None:
        yield "Not measured: the data set was not there when it was exported. Run `garbage evaluate` on it."
        return
    yield f"On {measured.photos} photos, the split {_text(measured.split)} of {_text(measured.data)}:"
    yield ""
    yield "| figure | value |"
    yield "|---|---|"
    for name, value in _rows(measured):
        yield f"| {name} | {value} |"
    yield ""
    yield from (f"- {_text(note)}" for note in measured.notes)


def _rows(measured: Measured) -> Iterator[tuple[str, str]]:
    yield "right bin", _percent(measured.bin_accuracy)
    yield "top-1 (right kind)", _percent(measured.top1)
    yield f"top-{measured.top5_k}", _percent(measured.top5)
    yield "macro-F1", _percent(measured.macro_f1)
    before = f"before the temperature of {measured.temperature:g}: {_percent(measured.ece_uncalibrated)}"
    yield "expected calibration error", f"{_percent(measured.ece)} ({before})"
    yield "threshold of 「不确定」 not sure", f"{measured.threshold:.3f}"
    yield "photos answered at it", _percent(measured.coverage)
    yield f"right {measured.precision_of} of those", f"{_percent(measured.precision)}{_doubts(measured)}"


def _doubts(measured: Measured) -> str:
    """How sure the precision is, and what was wanted."""
    but = "" if measured.precision_reached else ", not reached"
    parts = [f"{100 * measured.asked_precision:g} % was asked for{but}"]
    if measured.precision_interval:
        low, high = measured.precision_interval
        parts.insert(0, f"95 % interval {100 * low:.1f} to {100 * high:.1f}")
    if measured.cross_fitted is not None:
        parts.append(f"{_percent(measured.cross_fitted)} on photos that the threshold was not chosen on")
    return f" ({'; '.join(parts)})"


def _precisions(precisions: Mapping[str, Quality]) -> Iterator[str]:
    if not precisions:
        return
    yield "## In narrower numbers"
    yield ""
    yield "| numbers | top-1 | right bin | same kind as f32 | answered | right of those | used by itself |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for name, each in precisions.items():
        shares = (_percent(value) for value in _figures_of(each))
        yield f"| {name} | {' | '.join(shares)} | {'yes' if each.ships else 'no'} |"


def _figures_of(quality: Quality) -> tuple[float | None, ...]:
    return quality.top1, quality.bin_accuracy, quality.agreement, quality.answered, quality.right_of_answered


def _kinds(checkpoint: Checkpoint, measured: Measured | None) -> Iterator[str]:
    if measured is None:
        yield "The kinds: " + ", ".join(_named(label) for label in checkpoint.labels.items) + "."
        return
    yield "| kind | photos | precision | recall | F1 |"
    yield "|---|---:|---:|---:|---:|"
    for label, kind in zip(checkpoint.labels.items, measured.kinds, strict=True):
        yield _row(label, kind)


def _named(label: Label) -> str:
    return _text(f"{label.name} {label.english}" if label.english else label.name)


def _row(label: Label, kind: MeasuredKind) -> str:
    shares = (_percent(each) for each in (kind.precision, kind.recall, kind.f1))
    return f"| {_named(label)} | {kind.photos} | {' | '.join(shares)} |"


def _data(checkpoint: Checkpoint) -> Iterator[str]:
    photos: Mapping[str, Any] = checkpoint.record.get("photos") or {}
    yield "## Training"
    yield ""
    counts = ", ".join(f"{photos[split]} {name} photos" for split, name in _SPLITS.items() if photos.get(split))
    of = f", {counts}" if counts else ""
    yield f"- Data: {_text(checkpoint.data.name)}{of}. Its licence is its makers'; ask them."
    yield f"- Weights: {_text(checkpoint.weights.name)} of the run {_text(checkpoint.root.name)}."
    yield f"- Trained: {checkpoint.config.tune}, from {_text(_origin(checkpoint))}"


_SPLITS = {"train": "training", "val": "validation"}


def _origin(checkpoint: Checkpoint) -> str:
    pretrained = checkpoint.config.model.pretrained
    if pretrained in ("ssld", "imagenet"):
        kind = "distilled (SSLD) " if pretrained == "ssld" else ""
        return (
            f"the {kind}weights that PaddleClas publishes for {checkpoint.config.model.name}, trained on ImageNet-1k."
        )
    if pretrained == "none":
        return "random weights."
    name = pretrained.replace("\\", "/").rpartition("/")[2]
    return f"the weight file {name}, given by hand."


def _licence(checkpoint: Checkpoint) -> Iterator[str]:
    yield "## Licence of the weights"
    yield ""
    pretrained = checkpoint.config.model.pretrained
    if pretrained in ("ssld", "imagenet"):
        yield "PaddleClas publishes its weights under Apache-2.0; the photos of ImageNet have terms of their own,"
        yield "mostly for research. What was trained on top is the trainer's, within the terms of the training photos."
    elif pretrained == "none":
        yield "Trained from nothing on the photos above: the trainer's, within the terms of those photos."
    else:
        yield "Not known: the weights they were trained from were given as a file. Ask where that comes from. What was"
        yield "trained on top is the trainer's, within those terms and the terms of the training photos."


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


def _text(text: str) -> str:
    """A stranger's text as it can stand in Markdown: one line, no markup, no cell's end."""
    plain = " ".join(printable(text).split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in plain)
