"""Partitions: consecutive photos whose answers are one file, and the plan that makes them the same ones again.

Knows names, files and formats. Does not know machines.
"""

import hashlib
import io
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, get_args

from garbage_cli import __version__
from garbage_cli.bulk.places import Place
from garbage_cli.errors import ConfigError
from garbage_cli.prediction import Prediction
from garbage_cli.sheets import COLUMNS, row
from garbage_cli.vendor import pyarrow_parquet

Form = Literal["csv", "parquet"]
PLAN_FILE = "_plan.json"
DONE_FILE = "_done.json"
"""Names with an underscore in front are no data, by the custom of those who read folders of Parquet."""

_MARK = "\ufeff"
_SAYS = {"photos": "photos", "listed": "photos", "size": "--partition", "form": "format", "model": "model"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for when the folder of answers was begun. Whoever goes on must ask for the same."""

    form: Form
    photos: int
    size: int
    """Photos of a partition; the last may have fewer."""
    listed: str
    """SHA-256 of all names in their order."""
    model: str
    """The bundle's digest."""
    engine: str
    precision: str
    threshold: float
    garbage: str = __version__
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    """By which a machine knows that it sees the same folder."""

    @property
    def partitions(self) -> int:
        """How many there are."""
        return -(-self.photos // self.size)

    def file(self, number: int) -> str:
        """The name of a partition's file."""
        return f"part-{number:06d}.{self.form}"

    def left(self, names: set[str]) -> list[int]:
        """The partitions whose files are not there yet."""
        return [number for number in range(self.partitions) if self.file(number) not in names]

    def length(self, number: int) -> int:
        """How many photos a partition has."""
        return min(self.size, self.photos - number * self.size)

    def to_json(self) -> bytes:
        """As a file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "Plan":
        """Read it back; raise ConfigError if it is none."""
        try:
            value = json.loads(data)
            kinds = {
                each.name: {"photos": int, "size": int, "threshold": float}.get(each.name, str) for each in fields(cls)
            }
            if set(value) != set(kinds) or not all(isinstance(value[name], kind) for name, kind in kinds.items()):
                raise TypeError
            if value["form"] not in get_args(Form) or value["photos"] < 1 or value["size"] < 1:
                raise TypeError
            return cls(**value)
        except (ValueError, TypeError, RecursionError):
            raise ConfigError(f"{where} is no plan of ours; name another folder, or delete this one") from None

    def goes_on_with(self, before: "Plan", where: Place, engine: str = "auto", precision: str = "auto") -> "Plan":
        """Return the plan that was there before; raise ConfigError if something else was asked for then.

        Where engine and precision are left to us now, those of before are taken.
        """
        for name, what in _SAYS.items():
            then, now = getattr(before, name), getattr(self, name)
            if then != now:
                said = f"{then} then, {now} now" if name in ("photos", "size", "form") else "others now"
                raise ConfigError(
                    f"{where} was begun with other {what} ({said}); ask for the same, or name another folder"
                )
        for name, wanted in (("engine", engine), ("precision", precision)):
            if wanted not in ("auto", then := getattr(before, name)):
                raise ConfigError(f"{where} was begun with --{name} {then}; it is {wanted} now")
        if not abs(before.threshold - self.threshold) <= 1e-9:
            raise ConfigError(f"{where} was begun with --threshold {before.threshold:g}; it is {self.threshold:g} now")
        if before.garbage != self.garbage:
            raise ConfigError(f"{where} was begun by garbage {before.garbage}, this is {self.garbage}; use that one")
        return before


def digest(names: Sequence[str]) -> str:
    """SHA-256 of names in their order."""
    whole = hashlib.sha256()
    for name in names:
        whole.update(name.encode(errors="surrogateescape") + b"\0")
    return whole.hexdigest()


def cut(names: Sequence[str], plan: Plan, numbers: Sequence[int]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield partitions with the names of their photos."""
    for number in numbers:
        yield number, names[number * plan.size : (number + 1) * plan.size]


def written(predictions: Sequence[Prediction], form: Form) -> bytes:
    """The file of a partition, with the columns of `predict --csv`; in Parquet with types, and null for nothing."""
    if form == "csv":
        return (f"{_MARK}{','.join(COLUMNS)}\n" + "".join(map(row, predictions))).encode()
    import pyarrow as pa

    text = pa.string()
    schema = pa.schema(
        zip(COLUMNS, (text, text, text, pa.float32(), pa.bool_(), text), strict=True), {"garbage": __version__}
    )
    table = pa.table(
        {
            "image": [_text(each.image) for each in predictions],
            "bin": [each.bin_name for each in predictions],
            "kind": [each.best and each.best.label.name for each in predictions],
            "score": [each.best and each.best.score for each in predictions],
            "sure": [each.sure and each.error is None for each in predictions],
            "error": [None if each.error is None else _text(each.error) for each in predictions],
        },
        schema,
    )
    with io.BytesIO() as buffer:
        pyarrow_parquet("--parquet").write_table(table, buffer, compression="zstd")
        return buffer.getvalue()


def _text(name: str) -> str:
    """A name as text: the bytes of one that is none stand as \\udc80."""
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", name)
