"""The view of `models`."""

from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.table import Table

from garbage_cli.console.terminal import out, print_json
from garbage_cli.zoo import Network

_NOTES = """\
px: the pictures' side, M: million parameters, G: billion multiply-adds of convolutions, linear layers and matrix \
products for one picture; both with 1,000 classes. top-1: percent of ImageNet, as PaddleClas publishes it. SSLD: the \
same for the weights made by distillation (--pretrained ssld). —: not published, or no classifier of square photos. \
here: weights are in the cache."""


def show(networks: Sequence[Network], *, json: bool) -> None:
    """Print a table of 80 columns, or one object a line."""
    if json:
        for network in networks:
            print_json({**asdict(network), "ssld": network.ssld, "cached": network.cached()})
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("px", "M", "G", "top-1", "SSLD"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("here")
    for network in networks:
        table.add_row(*_row(network))
    out.print(table)
    out.print(_NOTES, style="dim")


def _row(network: Network) -> tuple[str, ...]:
    return (
        network.name,
        str(network.pixels) if network.pixels else "—",
        _scaled(network.parameters, 1e6),
        _scaled(network.multiply_adds, 1e9),
        _percent(network.top1),
        _percent(network.ssld_top1),
        "yes" if network.cached() else "",
    )


def _scaled(count: int | None, unit: float) -> str:
    if count is None:
        return "—"
    value = count / unit
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{share * 100:.2f}"
