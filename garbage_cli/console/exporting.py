"""The view of `export`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from garbage_cli.console.terminal import err, out, percent, plain, print_json, say
from garbage_cli.evaluation.measured import Measured
from garbage_cli.exporter import Checked, Compared, Exported, Parity, Step


def watch(steps: Iterable[Step | Parity | Compared | Exported]) -> Exported:
    """Show each step; return the finished bundle."""
    finished: Exported | None = None
    with err.status("exporting"):
        for step in steps:
            match step:
                case Step():
                    say(f"{step.what} …")
                case Parity(difference=None):
                    say(f"{step.engine} can't run this network and is left out: {step.reason}")
                case Parity():
                    say(f"{step.engine} agrees with the checkpoint to {step.difference:.1e}")
                case Compared():
                    say(f"{step.precision}: {step.quality.why}")
                case Exported():
                    finished = step
    assert finished is not None
    return finished


def show(exported: Exported, *, json: bool) -> None:
    """Print the bundle's files and how far each engine is from the checkpoint."""
    if json:
        print_json(_as_json(exported))
        return
    bundle = exported.bundle
    out.print(f"{bundle.name}, {len(bundle.labels)} classes, in {bundle.root}", markup=False, soft_wrap=True)
    table = Table("file")
    table.add_column("MB", justify="right")
    for name, facts in bundle.files.items():
        table.add_row(name, f"{facts['bytes'] / 1e6:.2f}")
    out.print(table)
    out.print(f"Largest difference from the checkpoint, on {exported.samples}:", soft_wrap=True)
    for each in exported.parity:
        out.print(f"  {each.engine:<12}{'cannot run it' if each.difference is None else f'{each.difference:.1e}'}")
    if exported.precisions:
        out.print(_precisions(exported))
    if exported.speeds:
        out.print(_speeds(exported))
    out.print(plain(_quality(exported.measured)), markup=False, soft_wrap=True)


def _precisions(exported: Exported) -> Table:
    table = Table("numbers", "top-1", "right bin", "as f32", "answered", "right", "by itself")
    for each in exported.precisions:
        quality = each.quality
        figures = (quality.top1, quality.bin_accuracy, quality.agreement, quality.answered, quality.right_of_answered)
        table.add_row(each.precision, *map(_share, figures), "yes" if quality.ships else "no")
    return table


def _share(value: float | None) -> str:
    return "—" if value is None else percent(value)


def _speeds(exported: Exported) -> Table:
    table = Table("engine", "numbers", "start, s", "one photo, ms", "many, ms each")
    for column in table.columns[2:]:
        column.justify = "right"
    for each in exported.speeds:
        if each.failed:
            table.add_row(each.choice.engine, each.choice.precision, "—", "—", plain(each.failed[:40]))
            continue
        figures = (f"{each.ready_s:.2f}", f"{each.single_ms:.1f}", f"{each.bulk_ms:.1f}")
        table.add_row(each.choice.engine, each.choice.precision, *figures)
    return table


def show_check(checked: Iterable[Checked], root: Path, *, json: bool) -> bool:
    """Print what was looked at in a bundle; return whether all of it is good."""
    found = []
    for each in checked:
        found.append(each)
        if not json:
            out.print(f"{'ok ' if each.good else 'BAD'} {each.what}: {each.detail}", markup=False, soft_wrap=True)
    good = all(each.good for each in found)
    if json:
        rows = [{"what": each.what, "good": each.good, "detail": each.detail} for each in found]
        print_json({"root": str(root), "good": good, "checked": rows})
    else:
        say(f"{root} is what was exported" if good else f"{root} should not be used; export the model again")
    return good


def _quality(measured: Measured | None) -> str:
    """What goes along with the model, in a sentence or two."""
    if measured is None:
        return "How good it is is not known, so its scores are as the network gives them, and it always answers."
    bins = f"right bin {percent(measured.bin_accuracy)}, " if measured.bin_accuracy is not None else ""
    return (
        f"On {measured.photos} photos ({measured.split}): {bins}top-1 {percent(measured.top1)}. Not sure under a score "
        f"of {measured.threshold:.2f}: {percent(measured.coverage)} answered"
        + (
            f", {percent(measured.precision)} of those with the right {measured.precision_of}."
            if measured.precision
            else "."
        )
    )


def _as_json(exported: Exported) -> dict[str, Any]:
    bundle = exported.bundle
    parity = {each.engine: each.difference for each in exported.parity}
    files = {name: facts["bytes"] for name, facts in bundle.files.items()}
    calibration = bundle.facts["calibration"]
    return {
        "root": str(bundle.root), "model": bundle.name, "files": files, "parity": parity, "calibration": calibration,
        "precisions": bundle.facts["precisions"], "speeds": bundle.facts["speeds"],
    }  # fmt: skip
