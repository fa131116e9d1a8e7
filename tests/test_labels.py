import pytest

from garbage_cli.errors import DatasetError
from garbage_cli.labels import BINS, THE_40, Label, Labels


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
