"""Whether a bundle is what was exported, and answers here what it answered there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import KINDS, Choice, holds_files, is_installed, open_engine
from garbage_cli.engines.choosing import DEVIATION
from garbage_cli.engines.speeds import deviation, probes
from garbage_cli.errors import BundleError

AGREEMENT = 1e-3
"""Largest difference of a probability between engines in f32, on inputs that no photo gives."""

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was looked at: a file, or an engine with a precision."""

    what: str
    good: bool
    detail: str


def check(root: Path) -> Iterator[Checked]:
    """Check the content of every file; if all are what was exported, run the network in every engine installed here."""
    try:
        bundle = ModelBundle.load(root)
    except BundleError as error:
        yield Checked(str(root), False, str(error))
        return
    files = [_file(bundle, name) for name in bundle.files]
    yield from files
    if all(each.good for each in files):
        ran = list(_engines(bundle))
        yield from ran or [Checked("engines", False, "it holds no network for any engine")]


def _file(bundle: ModelBundle, name: str) -> Checked:
    try:
        size = bundle.file(name).stat().st_size
    except (BundleError, OSError) as error:
        return Checked(name, False, str(error))
    return Checked(name, True, f"{size:,} bytes, SHA-256 as exported")


def _engines(bundle: ModelBundle) -> Iterator[Checked]:
    inputs = probes(bundle.input_shape)
    recorded = bundle.facts.get("probes") or {}
    first = None
    for choice in (Choice(name, precision) for name, kind in KINDS.items() for precision in kind.files):
        if not holds_files(choice, bundle) or (choice.precision != "f32" and not _is_recorded(choice, recorded)):
            continue
        if not is_installed(choice.engine):
            yield Checked(str(choice), True, "not installed here")
            continue
        try:
            engine = open_engine(choice, bundle, kept=False)
            scores = np.concatenate([engine.infer(each[None]) for each in inputs])
        except Exception as error:  # noqa: BLE001 - engines have errors of their own, of no common kind
            proven = choice.engine in (bundle.facts.get("parity") or KINDS)
            yield Checked(str(choice), not proven, f"{'' if proven else 'left out at the export too: '}{error}")
            continue
        yield _judged(choice, scores, bundle, recorded.get(choice.precision), first)
        first = scores if first is None and choice.precision == "f32" else first


def _is_recorded(choice: Choice, recorded: Mapping[str, object]) -> bool:
    """Whether it is known what a narrower precision should give: it was measured in OpenVINO only."""
    return choice.engine == "openvino" and choice.precision in recorded


def _judged(
    choice: Choice,
    scores: Rows,
    bundle: ModelBundle,
    expected: list[list[float]] | None,
    first: Rows | None,
) -> Checked:
    if scores.shape != (len(scores), len(bundle.labels)):
        return Checked(str(choice), False, f"gives {scores.shape[1:]} numbers for {len(bundle.labels)} classes")
    if not np.isfinite(scores).all() or np.abs(scores.sum(axis=1) - 1).max() > 1e-2:
        return Checked(str(choice), False, "gives no probabilities")
    if choice.precision == "f32" and first is not None and (off := float(np.abs(scores - first).max())) > AGREEMENT:
        return Checked(str(choice), False, f"differs from the other engines by {off:.1e}")
    if expected is None:
        return Checked(str(choice), True, "runs")
    distance = deviation(scores, expected)
    return Checked(str(choice), distance <= DEVIATION, f"{distance:.1e} from what it gave when it was exported")
