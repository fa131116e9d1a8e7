import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_wire import JSON_VALUES

from garbage_cli import wire
from garbage_cli.errors import ImageError
from garbage_cli.labels import Label
from garbage_cli.prediction import Prediction, Score
from garbage_cli.wire import RequestError
from garbage_cli.wire.hub import Generation, HubRequest, hub_message, hub_results, parse_hub

SHAPE = (3, 4, 5)
VALUES = np.linspace(-2, 2, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, *SHAPE)

CAN = Score(Label(23, "易拉罐", "可回收物"), 0.75)
GLASS = Score(Label(4, "glass"), 0.25)
GOOD = Prediction("images[0]", (CAN, GLASS))
BAD = Prediction("images[1]", error="not an image")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def body(tensor: np.ndarray[Any, Any] = VALUES, **keys: object) -> dict[str, object]:
    params = {"shape": list(tensor.shape), "dtype": "float32"}
    return {"images": b64(tensor.tobytes()), "revert_params": params, **keys}


# ---- requests


def test_a_list_is_generation_a() -> None:
    request = parse_hub({"images": [b64(b"one"), b64(b"two")], "top_k": 3}, input_shape=SHAPE)
    assert (request.generation, request.images, request.tensor, request.top_k) == ("A", (b"one", b"two"), None, 3)
    assert parse_hub({"images": [b64(b"one")]}, input_shape=SHAPE).top_k is None
    assert parse_hub(body() | {"images": [b64(b"one")]}, input_shape=SHAPE).generation == "A"


@pytest.mark.parametrize(
    ("keys", "generation", "top_k"), [({"top_k": 2}, "B", 2), ({"top_k": None}, "B", None), ({}, "C", None)]
)
def test_a_string_is_b_with_a_top_k_and_c_without(
    keys: dict[str, object], generation: Generation, top_k: int | None
) -> None:
    request = parse_hub(body(**keys), input_shape=SHAPE)
    assert (request.generation, request.images, request.top_k) == (generation, (), top_k)
    assert request.tensor is not None
    assert (request.tensor.dtype, request.tensor.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(request.tensor, VALUES)


def test_an_image_of_a_that_is_no_good_base64_fails_alone() -> None:
    images = parse_hub({"images": [b64(b"one"), "@@@@", ""]}, input_shape=SHAPE).images
    assert images[0] == b"one"
    assert [(type(each), str(each)) for each in images[1:]] == [
        (ImageError, "not valid base64"),
        (ImageError, "the file is empty"),
    ]


ONE = VALUES[:1]
LENGTH = 4 * 60 * 4 // 3  # of ONE in base64


def changed(**params: object) -> dict[str, object]:
    """The body of ONE with other `revert_params`."""
    return body(ONE) | {"revert_params": {"shape": [1, *SHAPE], "dtype": "float32", **params}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, '"images" is missing'),
        ({"images": None}, "list of base64"),
        ({"images": 1}, "list of base64"),
        ({"images": {}}, "list of base64"),
        ({"images": []}, "not empty"),
        ({"images": [1]}, "images[0] is not a string"),
        ({"images": ["aGVsbG8="] * 257}, "at most 256"),
        ({"images": ["aGVsbG8="], "top_k": 0}, "top_k must be"),
        ({"images": "aGVsbG8="}, 'as a list of base64 strings, also a single one: {"images": ["<base64>"]}'),
        ({"images": "aGVsbG8="}, '"revert_params": {"shape": [1, 3, 4, 5], "dtype": "float32"}'),
        (body(ONE, top_k=True), "top_k must be"),
        (body(ONE, revert_params=None), '"revert_params" must be an object, not null'),
        (body(ONE, revert_params=[1, 3, 4, 5]), '"revert_params" must be an object'),
        (body(ONE, revert_params={"shape": [1, *SHAPE]}), '"dtype" in "revert_params" must be "float32", not null'),
        (changed(dtype="float64"), "must be \"float32\", not 'float64'"),
        (changed(dtype=["float32"]), 'must be "float32"'),
        (changed(shape=None), "4 whole numbers from 1, as in [1, 3, 4, 5], not null"),
        (changed(shape="1,3,4,5"), "4 whole numbers"),
        (changed(shape=[]), "4 whole numbers"),
        (changed(shape=[3, 4, 5]), "4 whole numbers from 1, as in [1, 3, 4, 5], not [3, 4, 5]"),
        (changed(shape=[True, 3, 4, 5]), "4 whole numbers"),
        (changed(shape=[0, 3, 4, 5]), "4 whole numbers"),
        (changed(shape=[-1, -3, 4, 5]), "4 whole numbers"),
        (changed(shape=[1.0, 3, 4, 5]), "4 whole numbers"),
        (changed(shape=[1, 3, 4, 5, 1]), "4 whole numbers"),
        (changed(shape=[1, [3], 4, 5]), "4 whole numbers"),
        (changed(shape=[1, 4, 5, 3]), "is [1, 4, 5, 3], but this model takes [3, 4, 5] of each photo; preprocess"),
        (changed(shape=[1, 4, 5, 3]), "or send the image file itself in base64, in a list"),
        (changed(shape=[257, 3, 4, 5]), "says 257 images; send at most 256"),
        (changed(shape=[10**3000, 3, 4, 5]), "at most 256"),
        (changed(shape=[2, 3, 4, 5]), "has 320 characters; a tensor of shape [2, 3, 4, 5] in float32 has 480 bytes"),
        (body(ONE, images=""), "has 0 characters"),
        (body(ONE, images="data:;base64,AAAA"), 'begins with "data:"'),
        (body(ONE, images="@" * LENGTH), "not valid base64"),
        (body(ONE, images="图" * LENGTH), "not valid base64"),
        (body(ONE, images="A" * (LENGTH - 4) + "AA=="), "holds 238 bytes"),
        (body(np.full((1, *SHAPE), np.nan, np.float32)), "not finite"),
        (body(np.full((1, *SHAPE), -np.inf, np.float32)), "not finite"),
    ],
)
def test_what_clients_get_wrong_is_told_plainly(value: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_hub(value, input_shape=SHAPE)
    assert said in str(error.value)
    assert len(str(error.value)) < 400


def test_the_length_of_base64_is_known_with_and_without_padding() -> None:
    for side in range(1, 7):  # 4, 8 and 12 bytes leave 1, 2 and 0 over
        values = np.ones((1, 1, 1, side), np.float32)
        tensor = parse_hub(body(values), input_shape=(1, 1, side)).tensor
        assert tensor is not None
        np.testing.assert_array_equal(tensor, values)


def test_nothing_is_decoded_before_all_else_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object, **__: object) -> bytes:
        raise AssertionError("decoded")

    monkeypatch.setattr(base64, "b64decode", decoded)
    for value in (changed(dtype="int8"), changed(shape=[1, 3, 5, 4]), changed(shape=[2, *SHAPE]), body(top_k="x")):
        with pytest.raises(RequestError):
            parse_hub(value, input_shape=SHAPE)


SIZES = st.integers() | st.sampled_from([1, 3, 4, 5, True, 3.0]) | JSON_VALUES
PARAMS = JSON_VALUES | st.fixed_dictionaries(
    {},
    optional={
        "shape": st.lists(SIZES, max_size=5) | st.just([1, *SHAPE]) | JSON_VALUES,
        "dtype": st.just("float32") | JSON_VALUES,
    },
)
IMAGES = JSON_VALUES | st.binary(max_size=300).map(b64) | st.binary(min_size=240, max_size=240).map(b64)


@given(value=st.fixed_dictionaries({}, optional={"images": IMAGES, "revert_params": PARAMS, "top_k": JSON_VALUES}))
def test_no_json_at_all_raises_anything_else(value: dict[str, object]) -> None:
    with contextlib.suppress(RequestError):
        request = parse_hub(value, input_shape=SHAPE)
        assert (request.tensor is None) == (request.generation == "A")
        assert request.tensor is None or np.isfinite(request.tensor).all()


@given(values=st.lists(st.floats(width=32), min_size=60, max_size=60))
def test_a_tensor_arrives_as_it_was_sent_if_it_is_finite(values: list[float]) -> None:
    sent = np.array(values, np.float32).reshape(1, *SHAPE)
    if not np.isfinite(sent).all():
        with pytest.raises(RequestError):
            parse_hub(body(sent), input_shape=SHAPE)
        return
    tensor = parse_hub(body(sent), input_shape=SHAPE).tensor
    assert tensor is not None
    assert tensor.tobytes() == sent.tobytes()


def test_a_body_that_is_nested_for_ever_in_its_values_is_told_plainly() -> None:
    for key in ("images", "revert_params", "top_k"):
        for depth in range(900, 1000):
            text = json.dumps({"images": "AAAA", "revert_params": {}})[:-1] + f', "{key}": ' + "[" * depth + "]" * depth
            with pytest.raises(RequestError):
                parse_hub(wire.parse_json(text.encode() + b"}"), input_shape=SHAPE)


# ---- results


@pytest.mark.parametrize(
    ("generation", "results"),
    [
        ("A", "[[[23,4],[0.75,0.25],0.25],[[],[],0.25]]"),
        ("B", '{"prediction":[{"clas_ids":[23,4],"scores":[0.75,0.25]},{"clas_ids":[],"scores":[]}],"elapse":0.5}'),
        (
            "C",
            '{"prediction":[{"class_ids":[23,4],"scores":[0.75,0.25],"label_names":["可回收物/易拉罐","glass"]},'
            '{"class_ids":[],"scores":[],"label_names":[]}],"elapse":0.5}',
        ),
    ],
)
def test_each_generation_gets_its_results(generation: Generation, results: str) -> None:
    found = hub_results(HubRequest(generation), [GOOD, BAD], seconds=0.5)
    assert wire.dumps(found).decode() == results
    reply = wire.hub_reply(status="000", results=found).decode()
    in_order = json.dumps(json.loads(results), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert reply == f'{{"msg":"","results":{in_order},"status":"000"}}\n'


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        ([], ""),
        ([GOOD], ""),
        ([GOOD, BAD], "images[1]: not an image"),
        ([BAD] * 3, "; ".join(["images[1]: not an image"] * 3)),
        ([BAD, GOOD, *[BAD] * 4], "; ".join(["images[1]: not an image"] * 3) + "; and 2 more"),
    ],
)
def test_the_message_names_the_first_that_failed(predictions: list[Prediction], said: str) -> None:
    assert hub_message(predictions) == said
