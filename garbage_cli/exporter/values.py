"""What export says of itself as it goes."""

from dataclasses import dataclass

from garbage_cli.bundle import Checkpoint, ModelBundle, Quality
from garbage_cli.engines.speeds import Speed
from garbage_cli.evaluation.measured import Measured


@dataclass(frozen=True, slots=True)
class Step:
    """What export is doing now."""

    what: str


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an engine is from the checkpoint on the sample inputs."""

    engine: str
    difference: float | None
    """Largest absolute difference of a probability; None if the engine can't run this network."""
    reason: str = ""
    """Why it can't."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The finished bundle."""

    bundle: ModelBundle
    checkpoint: Checkpoint
    parity: tuple[Parity, ...]
    samples: str
    """What the engines were compared on."""
    measured: Measured | None
    """What the manifest says of how good it is; None where nobody knows."""
    precisions: tuple["Compared", ...] = ()
    speeds: tuple[Speed, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """How well the network answers in numbers of one precision."""

    precision: str
    quality: Quality
