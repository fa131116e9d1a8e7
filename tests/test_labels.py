import re
import subprocess
import sys
from collections import Counter

import pytest

from garbage_cli.errors import DatasetError
from garbage_cli.labels import BINS, REGIONS, THE_40, Label, Labels, Region, Words
from garbage_cli.labels.kinds import FURTHER_KINDS, KINDS

PREPARATIONS = {
    **{label.text: label.preparation for label in THE_40.items},
    **{kind.chinese: kind.preparation for kind in FURTHER_KINDS},
    **{bin_.chinese: bin_.preparation for bin_ in BINS},
}
FILLS = {
    **{bin_.key: bin_.fill for bin_ in BINS},
    **{f"{region.key} {key}": bin_.fill for region in REGIONS for key, bin_ in region.bins.items()},
}


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance of `#rrggbb`."""
    values = [value / 255 for value in bytes.fromhex(colour.removeprefix("#"))]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_40_kinds_fall_into_the_four_bins_as_the_data_set_says() -> None:
    bins = [label.bin for label in THE_40.items]
    assert [bins.count(bin_) for bin_ in BINS] == [23, 8, 3, 6]
    assert {b.chinese for b in bins[0:6] if b} == {"其他垃圾"}
    assert {b.chinese for b in bins[6:14] if b} == {"厨余垃圾"}
    assert {b.chinese for b in bins[37:40] if b} == {"有害垃圾"}
    assert THE_40[23].name == "易拉罐"
    assert len({label.name for label in THE_40.items}) == 40


def test_every_kind_has_an_english_name() -> None:
    assert all(label.english for label in THE_40.items)


def test_the_data_sets_own_word_for_a_bin_is_kept() -> None:
    label = Label.parse(7, "干垃圾/大骨头")
    assert label.bin_name == "干垃圾"
    assert label.bin is not None
    assert label.bin.english == "Other"


def test_a_bare_kind_gets_the_bin_it_has_among_the_40() -> None:
    assert Label.parse(0, "易拉罐").text == "可回收物/易拉罐"
    assert Label.parse(0, "cardboard") == Label(0, "cardboard", None)


def test_a_rule_file_is_read_by_number_not_by_order() -> None:
    labels = Labels.from_rule({"1": "有害垃圾/软膏", "0": "其他垃圾/烟蒂"})
    assert [label.name for label in labels.items] == ["烟蒂", "软膏"]
    assert Labels.parse(labels.texts) == labels


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"0": "其他垃圾/烟蒂", "2": "有害垃圾/软膏"}, "1 is missing"),
        ({"zero": "其他垃圾/烟蒂"}, "whole number"),
        ({"0": "其他垃圾/"}, "class 0 has no name"),
        ({}, "no classes"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, str], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        Labels.from_rule(rule)


# ---- bins: their words and colours


def test_no_word_means_two_bins() -> None:
    words = Counter(word.casefold() for bin_ in BINS for word in {bin_.chinese, bin_.english.casefold(), *bin_.aliases})
    assert words.most_common(1)[0][1] == 1


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.key)
def test_a_data_set_may_name_its_bins_as_any_place_does(region: Region) -> None:
    for key, regional in region.bins.items():
        for word in (regional.chinese, regional.english, regional.english.upper()):
            bin_ = Label.parse(0, f"{word}/易拉罐").bin
            assert bin_ is not None, word
            assert bin_.key == key, word
            assert word in bin_.chinese or word.casefold() in bin_.aliases


def test_an_unknown_word_or_none_means_no_bin() -> None:
    assert Label(0, "易拉罐", "垃圾").bin is None
    assert Label(0, "易拉罐").bin is None


def test_every_place_has_all_four_bins_and_the_nation_comes_first() -> None:
    assert REGIONS[0].key == "national"
    assert [each.chinese for each in REGIONS[0].bins.values()] == [bin_.chinese for bin_ in BINS]
    assert len({region.key for region in REGIONS}) == len({region.chinese for region in REGIONS}) == len(REGIONS)
    for region in REGIONS:
        assert list(region.bins) == [bin_.key for bin_ in BINS], region.key
        for column in ("chinese", "english", "fill"):
            assert len({getattr(each, column) for each in region.bins.values()}) == 4, (region.key, column)


def test_shanghai_and_zhejiang_say_it_in_their_own_words() -> None:
    words = {region.key: [each.chinese for each in region.bins.values()] for region in REGIONS}
    assert words["shanghai"] == ["可回收物", "湿垃圾", "有害垃圾", "干垃圾"]
    assert words["zhejiang"] == ["可回收物", "易腐垃圾", "有害垃圾", "其他垃圾"]


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_white_text_can_be_read_on_every_fill(fill: str) -> None:
    assert re.fullmatch("#[0-9a-f]{6}", fill)
    assert 1.05 / (luminance(fill) + 0.05) >= 5.5


def test_the_fills_are_blue_green_red_and_grey() -> None:
    recyclable, kitchen, hazardous, other = (tuple(bytes.fromhex(bin_.fill[1:])) for bin_ in BINS)
    assert [max(range(3), key=each.__getitem__) for each in (recyclable, kitchen, hazardous)] == [2, 1, 0]
    assert max(other) - min(other) < 16


# ---- what to do with a piece before it goes in


@pytest.mark.parametrize("words", PREPARATIONS.values(), ids=PREPARATIONS)
def test_every_kind_and_every_bin_has_a_short_preparation_in_both_languages(words: Words | None) -> None:
    assert words is not None
    assert 4 <= len(words.chinese) <= 24
    assert re.fullmatch(r"[\u4e00-\u9fff，；、]+", words.chinese)
    assert not words.chinese.endswith(("，", "；"))
    assert 10 <= len(words.english) <= 70
    assert re.fullmatch(r"[A-Z][A-Za-z',; -]+\.", words.english)


@pytest.mark.parametrize("words", PREPARATIONS.values(), ids=PREPARATIONS)
def test_a_preparation_names_no_bin_as_each_place_has_its_own_words(words: Words) -> None:
    for bin_ in BINS:
        assert not any(word in words.chinese for word in (bin_.chinese, *bin_.aliases))
        assert not any(re.search(rf"\b{word}\b", words.english.casefold()) for word in bin_.aliases)


def test_every_kind_is_known_once_and_the_40_are_in_the_data_sets_order() -> None:
    assert len({kind.chinese for kind in (*KINDS, *FURTHER_KINDS)}) == 45
    assert [kind.chinese for kind in KINDS] == [label.name for label in THE_40.items]
    assert {Label(0, kind.chinese).english for kind in FURTHER_KINDS} == {kind.english for kind in FURTHER_KINDS}


def test_a_kind_that_nobody_knows_is_prepared_as_its_bin_asks() -> None:
    for bin_ in BINS:
        assert Label(0, "researcher's own", bin_.aliases[0]).preparation == bin_.preparation
    assert Label(0, "cardboard").preparation is None
    assert Label(0, "cardboard", "blue box").preparation is None


def test_a_kind_that_goes_into_another_bin_elsewhere_is_prepared_as_that_bin_asks() -> None:
    box, bone = THE_40[0], THE_40[7]
    assert Label(0, box.name, "可回收物").preparation == BINS[0].preparation
    assert Label(0, bone.name, "干垃圾").preparation == BINS[3].preparation
    assert Label(0, bone.name, "湿垃圾").preparation == Label(0, bone.name).preparation == bone.preparation


def test_the_words_load_nothing_but_the_errors() -> None:
    code = "import sys; import garbage_cli.labels; print([m for m in sys.modules if m.startswith('garbage_cli.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"'garbage_cli\.(\w+)", out)) == {"labels", "errors"}
