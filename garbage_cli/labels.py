"""The words: kinds of waste, the four bins, their colours, Chinese and English.

Knows the 40 kinds of the Huawei Cloud data set and the bins of GB/T 19095-2019. Does not know photos or models.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from garbage_cli.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Bin:
    """One of the four bins, with the colour that the national standard gives it."""

    key: str
    chinese: str
    english: str
    colour: str
    """sRGB, `#rrggbb`, light enough to read on a dark terminal."""
    aliases: tuple[str, ...] = ()
    """What other cities and data sets call it."""


BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the order of those after them: a name could say another thing than it is."""

RECYCLABLE = Bin("recyclable", "可回收物", "Recyclable", "#2f8fe6", ("可回收垃圾", "可回收", "recyclable"))
KITCHEN = Bin("kitchen", "厨余垃圾", "Kitchen", "#3fae49", ("湿垃圾", "易腐垃圾", "餐厨垃圾", "kitchen"))
HAZARDOUS = Bin("hazardous", "有害垃圾", "Hazardous", "#e2453c", ("有毒有害垃圾", "hazardous"))
OTHER = Bin("other", "其他垃圾", "Other", "#9aa0a6", ("干垃圾", "其它垃圾", "residual", "other"))
BINS = (RECYCLABLE, KITCHEN, HAZARDOUS, OTHER)

_BIN_BY_WORD = {word: bin_ for bin_ in BINS for word in (bin_.chinese, *bin_.aliases)}


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
        return _BIN_BY_WORD.get(self.bin_name or "")

    @property
    def english(self) -> str | None:
        """The kind in English, where known."""
        return _ENGLISH.get(self.name)

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


_KINDS: tuple[tuple[Bin, str, str], ...] = (
    (OTHER, "一次性快餐盒", "takeaway box"),
    (OTHER, "污损塑料", "soiled plastic"),
    (OTHER, "烟蒂", "cigarette butt"),
    (OTHER, "牙签", "toothpick"),
    (OTHER, "破碎花盆及碟碗", "broken flowerpot or dish"),
    (OTHER, "竹筷", "bamboo chopsticks"),
    (KITCHEN, "剩饭剩菜", "leftovers"),
    (KITCHEN, "大骨头", "large bone"),
    (KITCHEN, "水果果皮", "fruit peel"),
    (KITCHEN, "水果果肉", "fruit flesh"),
    (KITCHEN, "茶叶渣", "tea leaves"),
    (KITCHEN, "菜叶菜根", "vegetable leaves and roots"),
    (KITCHEN, "蛋壳", "eggshell"),
    (KITCHEN, "鱼骨", "fish bone"),
    (RECYCLABLE, "充电宝", "power bank"),
    (RECYCLABLE, "包", "bag"),
    (RECYCLABLE, "化妆品瓶", "cosmetics bottle"),
    (RECYCLABLE, "塑料玩具", "plastic toy"),
    (RECYCLABLE, "塑料碗盆", "plastic bowl"),
    (RECYCLABLE, "塑料衣架", "plastic hanger"),
    (RECYCLABLE, "快递纸袋", "paper courier bag"),
    (RECYCLABLE, "插头电线", "plug and cable"),
    (RECYCLABLE, "旧衣服", "old clothes"),
    (RECYCLABLE, "易拉罐", "drink can"),
    (RECYCLABLE, "枕头", "pillow"),
    (RECYCLABLE, "毛绒玩具", "plush toy"),
    (RECYCLABLE, "洗发水瓶", "shampoo bottle"),
    (RECYCLABLE, "玻璃杯", "drinking glass"),
    (RECYCLABLE, "皮鞋", "leather shoe"),
    (RECYCLABLE, "砧板", "cutting board"),
    (RECYCLABLE, "纸板箱", "cardboard box"),
    (RECYCLABLE, "调料瓶", "seasoning bottle"),
    (RECYCLABLE, "酒瓶", "liquor bottle"),
    (RECYCLABLE, "金属食品罐", "food tin"),
    (RECYCLABLE, "锅", "cooking pot"),
    (RECYCLABLE, "食用油桶", "cooking-oil jug"),
    (RECYCLABLE, "饮料瓶", "drink bottle"),
    (HAZARDOUS, "干电池", "dry-cell battery"),
    (HAZARDOUS, "软膏", "ointment"),
    (HAZARDOUS, "过期药物", "expired medicine"),
)

THE_40 = Labels(tuple(Label(i, name, bin_.chinese) for i, (bin_, name, _) in enumerate(_KINDS)))
"""The 40 classes of the Huawei Cloud data set, by its own numbers (Shenzhen's rules)."""

_BIN_BY_KIND = {name: bin_ for bin_, name, _ in _KINDS}
_ENGLISH = {name: english for _, name, english in _KINDS} | {
    "玻璃瓶": "glass bottle",
    "金属罐": "metal can",
    "纸张": "paper",
    "塑料瓶": "plastic bottle",
    "其他": "trash",
}
