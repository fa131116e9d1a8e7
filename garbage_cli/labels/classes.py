"""Classes as a data set or a model names them, and the 40.

Knows how a class is written. Does not know places.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from garbage_cli.errors import DatasetError
from garbage_cli.labels.bins import Bin, Words, bin_called
from garbage_cli.labels.kinds import FURTHER_KINDS, KINDS

BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the order of those after them: a name could say another thing than it is."""

_KNOWN = {kind.chinese: kind for kind in (*KINDS, *FURTHER_KINDS)}
_BIN_BY_KIND = {kind.chinese: kind.bin for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Label:
    """A class as a data set names it: its own number, its kind, and the bin it says this goes into."""

    class_id: int
    name: str
    bin_name: str | None = None
    """The data set's own word for the bin (a city may say 湿垃圾 for 厨余垃圾); None where it names none."""

    @property
    def bin(self) -> Bin | None:
        """The bin of the national standard that this word means; None for a word we don't know."""
        return bin_called(self.bin_name or "")

    @property
    def english(self) -> str | None:
        """The kind in English, where known."""
        return kind.english if (kind := _KNOWN.get(self.name)) else None

    @property
    def preparation(self) -> Words | None:
        """What to do with a piece before it goes into its bin; None where neither kind nor bin is known.

        What holds for the bin is said of a kind we don't know, and of one that this data set puts into another bin than
        the 40's: clean and dry it for one, bag it for another.
        """
        kind, bin_ = _KNOWN.get(self.name), self.bin
        if kind and bin_ in (kind.bin, None):
            return kind.preparation
        return bin_.preparation if bin_ else None

    @property
    def text(self) -> str:
        """As a data set writes it: `可回收物/易拉罐`, or the bare kind."""
        return f"{self.bin_name}/{self.name}" if self.bin_name else self.name

    @classmethod
    def parse(cls, class_id: int, text: str) -> "Label":
        """Read `可回收物/易拉罐`, or a bare kind, whose bin is looked up among the 40."""
        bin_name, slash, name = text.strip().partition("/")
        if not slash:
            bin_name, name = "", bin_name
        if not name.strip():
            raise DatasetError(f"class {class_id} has no name: {text!r}; write it as 可回收物/易拉罐")
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI for letter in text.strip()):
            raise DatasetError(
                f"class {class_id} has control characters or broken text in its name, {text!a}; rename it"
            )
        known = _BIN_BY_KIND.get(name.strip())
        return cls(class_id, name.strip(), bin_name.strip() or (known.chinese if known else None))


@dataclass(frozen=True)
class Labels:
    """All classes of a data set or a model; `labels[i].class_id == i`."""

    items: tuple[Label, ...]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Labels":
        """Read one text per class, in the order of their numbers."""
        items = tuple(Label.parse(class_id, text) for class_id, text in enumerate(texts))
        if not items:
            raise DatasetError("no classes: the label file is empty")
        return cls(items)

    @classmethod
    def from_rule(cls, rule: Mapping[str, str]) -> "Labels":
        """Read `{"0": "其他垃圾/一次性快餐盒", …}`; the numbers must run from 0 without a gap."""
        try:
            by_id = {int(key): text for key, text in rule.items()}
        except ValueError as error:
            raise DatasetError(f"a class number is not a whole number: {error}") from None
        if len(by_id) < len(rule):
            twice = next(number for number in by_id if sum(int(key) == number for key in rule) > 1)
            raise DatasetError(f"class number {twice} is there twice")
        if missing := sorted(set(range(len(by_id))) - by_id.keys()):
            raise DatasetError(f"class numbers must run from 0 without a gap: {missing[0]} is missing")
        return cls.parse(str(by_id[class_id]) for class_id in range(len(by_id)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, class_id: int) -> Label:
        return self.items[class_id]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """One `可回收物/易拉罐` per class: what `Labels.parse` reads back."""
        return tuple(label.text for label in self.items)


THE_40 = Labels(tuple(Label(i, kind.chinese, kind.bin.chinese) for i, kind in enumerate(KINDS)))
"""The 40 classes of the Huawei Cloud data set, by its own numbers (Shenzhen's rules)."""
