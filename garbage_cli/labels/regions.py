"""What places call the four bins, and the colours these have there.

Knows the words of rules and of the signs made by them. Does not know where a kind goes: the same piece may go into
another bin in another place. A place that is not here says it as the nation does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from garbage_cli.labels.bins import BINS, HAZARDOUS, KITCHEN, OTHER, RECYCLABLE


@dataclass(frozen=True, slots=True)
class RegionalBin:
    """A bin as a place has it."""

    chinese: str
    english: str
    fill: str
    """sRGB, `#rrggbb`, dark enough for white text on it."""


@dataclass(frozen=True, slots=True)
class Region:
    """A place, and its four bins by their key."""

    key: str
    chinese: str
    english: str
    bins: Mapping[str, RegionalBin]


def _region(
    key: str, chinese: str, english: str, *words: tuple[str, str], fills: Mapping[str, str] | None = None
) -> Region:
    """A region from its words, in the order of BINS; where it names no fill, the nation's."""
    bins = {
        bin_.key: RegionalBin(*said, (fills or {}).get(bin_.key, bin_.fill))
        for bin_, said in zip(BINS, words, strict=True)
    }
    return Region(key, chinese, english, bins)


REGIONS = (
    # GB/T 19095-2019 生活垃圾分类标志, the standard's signs: blue, green, red, and grey to black.
    _region(
        "national",
        "全国",
        "China",
        (RECYCLABLE.chinese, "Recyclable"),
        (KITCHEN.chinese, "Food waste"),
        (HAZARDOUS.chinese, "Hazardous waste"),
        (OTHER.chinese, "Residual waste"),
    ),
    # 上海市生活垃圾管理条例 (2019), article 4: 湿垃圾, that is 易腐垃圾; 干垃圾, that is 其他垃圾. The English and the
    # colours, brown for wet and black for dry, are those of 上海市生活垃圾分类投放指南 (2019) and of the bins.
    _region(
        "shanghai",
        "上海",
        "Shanghai",
        ("可回收物", "Recyclable waste"),
        ("湿垃圾", "Household food waste"),
        ("有害垃圾", "Hazardous waste"),
        ("干垃圾", "Residual waste"),
        fills={KITCHEN.key: "#7a4a24", OTHER.key: "#1f1f1f"},
    ),
    # DB33/T 1166-2019 城镇生活垃圾分类标准: blue, green, red, grey. The English is Wenzhou's announcement of it (2019).
    _region(
        "zhejiang",
        "浙江",
        "Zhejiang",
        ("可回收物", "Recyclable waste"),
        ("易腐垃圾", "Perishable waste"),
        ("有害垃圾", "Hazardous waste"),
        ("其他垃圾", "Other waste"),
    ),
    # 深圳市生活垃圾分类管理条例 (2020); the English is that of the city's guides. The 40 kinds follow its rules.
    _region(
        "shenzhen",
        "深圳",
        "Shenzhen",
        ("可回收物", "Recyclables"),
        ("厨余垃圾", "Kitchen waste"),
        ("有害垃圾", "Hazardous waste"),
        ("其他垃圾", "Other waste"),
    ),
)
"""The nation first."""
