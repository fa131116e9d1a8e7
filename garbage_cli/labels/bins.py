"""The four bins: their words, their colours, what holds for all that goes in.

Knows the bins of GB/T 19095-2019. Does not know kinds of waste or places.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """The same in both languages."""

    chinese: str
    english: str


@dataclass(frozen=True, slots=True)
class Bin:
    """One of the four bins, with the colour that the national standard gives it."""

    key: str
    chinese: str
    english: str
    colour: str
    """sRGB, `#rrggbb`, light enough to read on a dark terminal."""
    fill: str
    """sRGB, `#rrggbb`, dark enough for white text on it: for a screen that shows the bin."""
    preparation: Words
    """What to do with a piece before it goes in, whatever it is."""
    aliases: tuple[str, ...] = ()
    """What other cities and data sets call it, the longer before what they begin with."""


RECYCLABLE = Bin(
    "recyclable",
    "可回收物",
    "Recyclable",
    colour="#2f8fe6",
    fill="#0b5cad",
    preparation=Words("清空洗净，保持干燥，能压平的压平", "Empty it, keep it clean and dry, flatten it if you can."),
    aliases=("可回收垃圾", "可回收", "recyclable waste", "recyclables", "recyclable"),
)
KITCHEN = Bin(
    "kitchen",
    "厨余垃圾",
    "Kitchen",
    colour="#3fae49",
    fill="#00703c",
    preparation=Words("沥干水分，去掉包装和塑料袋", "Drain it; leave out packaging and the plastic bag."),
    aliases=(
        "湿垃圾", "易腐垃圾", "餐厨垃圾",
        "household food waste", "food waste", "perishable waste", "kitchen waste", "kitchen",
    ),
)  # fmt: skip
HAZARDOUS = Bin(
    "hazardous",
    "有害垃圾",
    "Hazardous",
    colour="#e2453c",
    fill="#c4201d",
    preparation=Words(
        "保持完好，轻放；易碎、漏液的先包好", "Keep it whole, handle it gently, wrap what may break or leak."
    ),
    aliases=("有毒有害垃圾", "hazardous waste", "harmful waste", "hazardous"),
)
OTHER = Bin(
    "other",
    "其他垃圾",
    "Other",
    colour="#9aa0a6",
    fill="#4d5358",
    preparation=Words("沥干水分，包好尖锐物，装袋扎紧", "Drain it, wrap sharp pieces, tie it up in a bag."),
    aliases=("干垃圾", "其它垃圾", "residual waste", "other waste", "residual", "other"),
)
BINS = (RECYCLABLE, KITCHEN, HAZARDOUS, OTHER)

_BY_WORD = {word.casefold(): bin_ for bin_ in BINS for word in (bin_.chinese, bin_.english, *bin_.aliases)}


def bin_called(word: str) -> Bin | None:
    """Return the bin that this word means somewhere, in capitals or not; None for a word we don't know."""
    return _BY_WORD.get(word.casefold())
