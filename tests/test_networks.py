"""`garbage models`: the table of networks, on the terminal and for programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from test_cli import loaded_by, run_main

from garbage_cli import zoo

Garbage = Callable[..., Result]


def test_all_networks_are_listed_within_eighty_columns(garbage: Garbage) -> None:
    shown = garbage("models")
    assert (shown.code, shown.err) == (0, "")
    assert max(map(len, shown.out.splitlines())) <= 80
    for name in zoo.catalogue():
        assert name[:30] in shown.out
    assert "multiply-adds" in shown.out


def test_a_row_tells_size_accuracy_and_what_is_here(garbage: Garbage) -> None:
    def row() -> list[str]:
        lines = garbage("models", "resnet50_vd").out.splitlines()
        return next(line.split() for line in lines if line.strip().startswith("ResNet50_vd"))

    assert row() == ["ResNet50_vd", "224", "25.6", "4.33", "79.12", "83.00"]
    target = zoo.cached_weights(zoo.weights_url("ResNet50_vd", ssld=True))
    target.parent.mkdir(parents=True)
    target.touch()
    assert row()[-1] == "yes"
    values = [json.loads(line) for line in garbage("models", "ResNet50_vd", "--json").out.splitlines()]
    assert [value["name"] for value in values] == ["ResNet50_vd", "SE_ResNet50_vd"]
    assert values[0] == {
        "name": "ResNet50_vd",
        "pixels": 224,
        "parameters": 25629512,
        "multiply_adds": 4328824832,
        "top1": 0.7912,
        "ssld_top1": 0.83,
        "weights": zoo.weights_url("ResNet50_vd", ssld=False),
        "ssld": True,
        "cached": ["ssld"],
    }
    assert (values[1]["ssld"], values[1]["ssld_top1"], values[1]["cached"]) == (False, None, [])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("pplcnet_x1", {"PPLCNet_x1_0", "PPLCNet_x1_5"}),
        ("PPLCNet_x?_0", {"PPLCNet_x1_0", "PPLCNet_x2_0"}),
        ("hrnet_w1*", {"HRNet_W18_C"}),
        ("*net[0-9]_vd", set()),
        ("resnet18", {"ResNet18", "ResNet18_vd", "SE_ResNet18_vd"}),
    ],
)
def test_a_part_of_a_name_or_a_pattern_finds_in_any_case(garbage: Garbage, wanted: str, found: set[str]) -> None:
    shown = garbage("models", wanted, "--json")
    assert {json.loads(line)["name"] for line in shown.out.splitlines()} == found
    assert shown.code == (0 if found else 1)


def test_nothing_found_names_the_nearest(garbage: Garbage) -> None:
    told = garbage("models", "restnet50_vd")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("error: PaddleClas has no network named 'restnet50_vd'; did you mean ResNet50_vd")
    assert len(told.err.splitlines()) == 1


def test_a_network_that_is_no_classifier_has_a_row_without_counts(garbage: Garbage) -> None:
    value = json.loads(garbage("models", "WideResNet", "--json").out)
    assert (value["pixels"], value["parameters"], value["multiply_adds"], value["weights"]) == (None, None, None, "")
    assert value["cached"] == []


def test_listing_networks_loads_no_paddle(tmp_path: Path) -> None:
    assert loaded_by(run_main("models")) <= {"numpy"}
    assert loaded_by(run_main("models", "--help")) == set()
