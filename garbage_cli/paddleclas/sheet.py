"""One file of theirs while it is read: its leaves, what became of each, and our settings as they grow.

Knows kinds of values and who asked for what. Does not know what a setting means.
"""

import math
import reprlib
from collections.abc import Mapping

from garbage_cli.errors import ConfigError
from garbage_cli.paddleclas.leaves import leaves

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 2

ALWAYS = "ours is always so"


def shown(value: object) -> str:
    """A value for a message, cut short."""
    return _SHORT.repr(value)


class Sheet:
    """The leaves of a tree. Each is told of once: `used`, or `unused` with a reason."""

    def __init__(self, tree: Mapping[str, object], *, where: str) -> None:
        self.where = where
        self.leaves = leaves(tree, where=where)
        self.settings: dict[str, object] = {}
        """Ours, by dotted key."""
        self.used: dict[str, str] = {}
        self.unused: dict[str, str] = {}
        self.differing: set[str] = set()
        """Those of `unused` without which ours trains otherwise than theirs."""
        self._origins: dict[str, str] = {}

    # ---- asking

    def given(self, key: str) -> bool:
        """Whether the key is there and holds something."""
        return self.leaves.get(key) not in (None, "", [], {})

    def number(self, key: str) -> float | None:
        """Read a number, also as the texts that YAML makes of 1e-4 and 1.0/3.0; None if there is none."""
        if not self.given(key):
            return None
        try:
            value = _number(self.leaves[key])
        except (ValueError, ZeroDivisionError, OverflowError):
            raise self.bad(key, "a number") from None
        if not math.isfinite(value):
            raise self.bad(key, "a number")
        return value

    def whole(self, key: str) -> int | None:
        """Read a whole number; None if there is none."""
        value = self.number(key)
        if value is not None and value != int(value):
            raise self.bad(key, "a whole number")
        return None if value is None else int(value)

    def truth(self, key: str) -> bool | None:
        """Read True or False; None if there is neither."""
        if not self.given(key):
            return None
        value = {"true": True, "false": False}.get(str(self.leaves[key]).strip().lower())
        if value is None:
            raise self.bad(key, "True or False")
        return value

    def text(self, key: str) -> str | None:
        """Read a text; None if there is none."""
        if not self.given(key):
            return None
        value = self.leaves[key]
        if not isinstance(value, str):
            raise self.bad(key, "a text")
        return value.strip()

    def numbers(self, key: str) -> list[float] | None:
        """Read a list of numbers; None if there is none."""
        if not self.given(key):
            return None
        value = self.leaves[key]
        try:
            read = [_number(item) for item in value] if isinstance(value, list) else []
        except (ValueError, ZeroDivisionError, OverflowError):
            read = []
        if not read or not all(math.isfinite(item) for item in read):
            raise self.bad(key, "a list of numbers")
        return read

    def bad(self, key: str, wanted: str) -> ConfigError:
        """The error for a value of the wrong kind."""
        return ConfigError(f"{self.where}: {key} is {shown(self.leaves[key])}; it must be {wanted}")

    # ---- telling

    def set(self, setting: str, value: object) -> None:
        """Give one of our settings a value that no key of theirs asks for: what theirs does without being asked."""
        self.settings[setting] = value

    def use(self, key: str, setting: str, value: object, note: str = "") -> None:
        """Give one of our settings the value that a key of theirs asks for."""
        self.settings[setting] = value
        self._origins[setting] = key
        self.tell(key, f"{setting} {_plain(value)}{f' ({note})' if note else ''}")

    def tell(self, key: str, became: str) -> None:
        """Say what became of a key that is there; several things may."""
        if key in self.leaves:
            self.unused.pop(key, None)
            self.differing.discard(key)
            self.used[key] = f"{self.used[key]}, {became}" if key in self.used else became

    def drop(self, key: str, reason: str, *, differs: bool = True) -> None:
        """Say why a key is not used, unless it was told of before; with `.*` also for those below it."""
        keys = self.below(key[:-2]) if key.endswith(".*") else [key]
        for each in keys:
            if each in self.leaves and each not in self.used and each not in self.unused:
                self.unused[each] = reason
                if differs:
                    self.differing.add(each)

    def retract(self, key: str, reason: str) -> None:
        """A key that was told to be used is not, after all."""
        self.used.pop(key, None)
        self.drop(key, reason)

    def keep(self, key: str, *ours: object) -> None:
        """A key of which we have these values only: say whether theirs is one. Numbers may be texts."""
        value = self.number(key) if isinstance(ours[0], float) else self.leaves.get(key)
        if value in ours or not self.given(key):
            self.drop(key, ALWAYS, differs=False)
        else:
            self.drop(key, f"not supported: {shown(value)}; ours is always {_plain(ours[0])}")

    def below(self, key: str) -> list[str]:
        """The leaf of this name, and those inside it."""
        return [each for each in self.leaves if each == key or each.startswith((f"{key}.", f"{key}["))]

    def items(self, key: str) -> dict[str, str]:
        """The items of a list of operations: where each lies, and its name."""
        found: dict[str, str] = {}
        for each in self.leaves:
            if each.startswith(f"{key}."):
                word = each[len(key) + 1 :].partition(".")[0]
                found.setdefault(f"{key}.{word}", word.partition("[")[0])
        return found

    def left(self) -> list[str]:
        """The leaves that nothing was said of."""
        return [key for key in self.leaves if key not in self.used and key not in self.unused]

    def origin(self, message: str) -> str | None:
        """The key of theirs that asked for the setting of ours that a message names."""
        named = [setting for setting in self._origins if setting in message]
        return self._origins[max(named, key=len)] if named else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    if isinstance(value, str) and "/" in value:
        over, under = value.split("/")
        return float(over) / float(under.strip().rstrip("/"))
    return float(value)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return str(value)
