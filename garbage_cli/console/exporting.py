"""The view of `export`."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from garbage_cli.console.terminal import err, out, percent, plain, print_json, say
from garbage_cli.evaluation.measured import Measured
from garbage_cli.exporter import Exported, Parity, Step


def watch(steps: Iterable[Step | Parity | Exported]) -> Exported:
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
    out.print(plain(_quality(exported.measured)), markup=False, soft_wrap=True)


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
        "root": str(bundle.root), "model": bundle.name, "files": files, "parity": parity, "calibration": calibration
    }  # fmt: skip
