"""What theirs says of the learning rate.

Knows their schedules by name. Does not know optimisers.
"""

from garbage_cli.paddleclas.sheet import Sheet
from garbage_cli.paddleclas.styles import OLD, Style

_WARMUP_EPOCHS = 5
"""PaddleClas 2.0: what CosineWarmup does without warmup_epoch."""


def read_rate(sheet: Sheet, style: Style) -> None:
    """The learning rate: ours rises in a straight line and falls along half a cosine; others keep their start only."""
    name = sheet.text(style.rate_name) or "Cosine"
    warmup = f"{style.rate}.warmup_epoch"
    sheet.set("optimizer.warmup_epochs", 0.0)
    if name in ("Cosine", "CosineWarmup"):
        sheet.tell(style.rate_name, "a warm-up and half a cosine, which is ours")
        if name == "CosineWarmup" and not sheet.given(warmup):
            sheet.use(style.rate_name, "optimizer.warmup_epochs", _WARMUP_EPOCHS, "its own default")
    else:
        sheet.drop(style.rate_name, f"not supported: {name}; ours is a warm-up and half a cosine")
    if (value := sheet.number(warmup)) is not None:
        note = "PaddleClas 2.0 itself has it with CosineWarmup only" if style is OLD and name == "Cosine" else ""
        sheet.use(warmup, "optimizer.warmup_epochs", value, note)
    _read_highest(sheet, style, steps=name not in ("Cosine", "CosineWarmup"))
    for word in ("eta_min", "end_lr", "warmup_start_lr"):
        sheet.keep(f"{style.rate}.{word}", 0.0)
    for word in ("last_epoch", "verbose", "by_epoch"):
        sheet.drop(f"{style.rate}.{word}", "of their engine; ours changes it at every step", differs=False)
    if name not in ("Cosine", "CosineWarmup"):
        sheet.drop(f"{style.rate}.*", f"not supported: of {name}")


def _read_highest(sheet: Sheet, style: Style, *, steps: bool) -> None:
    """The rate itself; the first of `values` where a stepwise one has those."""
    values, value = f"{style.rate}.values", f"{style.rate}.{style.rate_value}"
    if steps and (several := sheet.numbers(values)):
        sheet.use(values, "optimizer.learning_rate", several[0], "the first of them")
        sheet.drop(value, f"{values} go before it", differs=False)
    for key in (value, style.rate):
        if (rate := sheet.number(key)) is not None and key not in sheet.unused:
            sheet.use(key, "optimizer.learning_rate", rate)
