import base64
import contextlib
import json
import struct
from collections.abc import Mapping
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
from garbage_cli.wire.v2 import (
    OUTPUTS,
    InferRequest,
    Output,
    infer_reply,
    model_metadata,
    parse_infer,
    server_metadata,
)

SHAPE = (3, 2, 2)
VALUES = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, *SHAPE)
ONE = VALUES[:1]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image(*data: object, **keys: object) -> dict[str, object]:
    return {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": list(data), **keys}


def tensor(values: Any = ONE, **keys: object) -> dict[str, object]:
    described = {"name": "input", "datatype": "FP32", "shape": list(np.shape(values))}
    return described | {"data": np.asarray(values).tolist()} | keys


def asked(given_: Mapping[str, object], **keys: object) -> dict[str, object]:
    return {"inputs": [given_], **keys}


def parse(value: Mapping[str, object]) -> InferRequest:
    return parse_infer(wire.dumps(value), header_length=None, input_shape=SHAPE)


def parse_binary(given_: Mapping[str, object], data: bytes, **keys: object) -> InferRequest:
    """A request with bytes after its JSON, whose size is said rightly unless the input says otherwise."""
    given_ = {"parameters": {"binary_data_size": len(data)}, **given_}
    head = wire.dumps(asked({key: value for key, value in given_.items() if key != "data"}, **keys))
    return parse_infer(head + data, header_length=len(head), input_shape=SHAPE)


def elements(*data: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(each)) + each for each in data)


# ---- requests


def test_images_come_in_base64_or_as_their_bytes() -> None:
    expected = (b"one", b"two\0")
    texts = [b64(each) for each in expected]
    assert parse(asked(image(*texts))).images == expected
    assert parse(asked(image(*texts, shape=[2, 1]))).images == expected
    assert parse(asked(image(*([each] for each in texts), shape=[2, 1]))).images == expected
    assert parse_binary(image(*texts), elements(*expected)).images == expected
    assert parse_binary(image(*texts, shape=[2, 1]), elements(*expected)).images == expected


@pytest.mark.parametrize("data", [VALUES.tolist(), VALUES.ravel().tolist(), [int(each) for each in VALUES.ravel()]])
def test_a_tensor_comes_flat_or_nested_or_in_whole_numbers(data: list[Any]) -> None:
    request = parse(asked(tensor(VALUES, data=data)))
    assert request.images == ()
    assert request.tensor is not None
    assert (request.tensor.dtype, request.tensor.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(request.tensor, np.reshape(data, VALUES.shape))


def test_a_tensor_comes_as_its_bytes() -> None:
    request = parse_binary(tensor(VALUES), VALUES.astype("<f4").tobytes())
    assert request.tensor is not None
    assert (request.tensor.flags.c_contiguous, request.tensor.flags.aligned) == (True, True)
    np.testing.assert_array_equal(request.tensor, VALUES)


def test_json_alone_may_name_its_length() -> None:
    body = wire.dumps(asked(image(b64(b"one"))))
    assert parse_infer(body, header_length=len(body), input_shape=SHAPE).images == (b"one",)


def test_an_image_that_is_no_good_fails_alone() -> None:
    in_json = parse(asked(image(b64(b"one"), "@@@@", "", "data:,"))).images
    in_bytes = parse_binary(image(1, 2), elements(b"one", b"")).images
    assert in_json[0] == in_bytes[0] == b"one"
    assert all(isinstance(each, ImageError) for each in (*in_json[1:], *in_bytes[1:]))
    assert [str(each)[:17] for each in in_json[1:]] == ["not valid base64", "the file is empty", 'begins with "data']
    assert [str(each) for each in in_bytes[1:]] == ["the file is empty"]


def test_a_request_says_how_many_classes_which_outputs_and_its_own_name() -> None:
    plain = parse(asked(image(b64(b"one"))))
    assert (plain.top_k, plain.id, plain.outputs) == (None, None, tuple(Output(name) for name in OUTPUTS))
    chosen = parse(
        asked(
            image(b64(b"one"), parameters={"content_type": "jpg"}),
            id="图 1",
            parameters={"top_k": 3, "binary_data_output": True, "priority": 0},
            outputs=[
                {"name": "scores", "parameters": {"binary_data": False}},
                {"name": "bins"},
                {"name": "names", "parameters": {}},
            ],
        )
    )
    assert (chosen.top_k, chosen.id) == (3, "图 1")
    assert chosen.outputs == (Output("scores", False), Output("bins", True), Output("names", True))
    for nothing in ([], None):
        same = parse(asked(image(b64(b"one")), outputs=nothing, parameters=None, id=None))
        assert same.outputs == plain.outputs


GOOD = image(b64(b"one"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], 'must be an object: {"inputs"'),
        ({}, '"inputs" must be a list with one input: {"inputs"'),
        ({"inputs": {}}, "list with one input"),
        ({"inputs": []}, "list with one input"),
        ({"inputs": [1]}, "list with one input"),
        ({"inputs": [GOOD, GOOD]}, "list with one input"),
        ({"inputs": [GOOD, tensor()]}, "list with one input"),
        (asked({}), 'the input is named null; send image files as "image" (BYTES)'),
        (asked({"name": "x" * 1000}), "the input is named 'xxx"),
        (asked({"name": ["image"]}), "the input is named a list of 1"),
        (asked(image("", datatype="FP32")), '"datatype" of "image" must be "BYTES", not \'FP32\''),
        (asked(tensor(datatype="FP64")), '"datatype" of "input" must be "FP32"'),
        (asked(image("", datatype=None)), "not null"),
        (asked(image("", shape=None)), '"shape" of "image" must be [n] or [n, 1]'),
        (asked(image("", shape=[])), '"shape" of "image" must be'),
        (asked(image("", shape=[0])), '"shape" of "image" must be'),
        (asked(image("", shape=[-1])), '"shape" of "image" must be'),
        (asked(image("", shape=[True])), '"shape" of "image" must be'),
        (asked(image("", shape=[1, True])), '"shape" of "image" must be'),
        (asked(image("", shape=[1.0])), '"shape" of "image" must be'),
        (asked(image("", shape=["1"])), '"shape" of "image" must be'),
        (asked(image("", shape=[[1]])), '"shape" of "image" must be'),
        (asked(image("", shape=[1, 2])), '"shape" of "image" must be'),
        (asked(image("", shape=[1, 1, 1])), '"shape" of "image" must be'),
        (asked(image(*[""] * 257)), "n from 1 to 256, not [257]"),
        (asked(image("", shape=[10**4000])), '"shape" of "image" must be'),
        (asked(image("", shape=[2])), '"data" of "image" holds 1 values; the shape [2] has 2'),
        (asked(image("", "", shape=[1])), "holds 2 values"),
        (asked(image(data=[], shape=[1])), "holds 0 values"),
        (asked(image([""], "", shape=[2, 1])), "is not nested as its shape"),
        (asked(image(["", ""], shape=[2])), "is not nested as its shape"),
        (asked(image(data="aGVsbG8=", shape=[1])), '"data" of "image" must be a list, not \'aGVsbG8=\''),
        (asked({"name": "image", "datatype": "BYTES", "shape": [1]}), '"data" of "image" must be a list, not null'),
        (asked(image("", 1)), "image[1] is not a string"),
        (asked(image({"b64": ""})), "image[0] is not a string"),
        (asked(tensor(shape=None)), '"shape" of "input" must be 4 whole numbers'),
        (asked(tensor(shape=[3, 2, 2])), '"shape" of "input" must be 4 whole numbers'),
        (asked(tensor(shape=[True, 3, 2, 2])), '"shape" of "input" must be 4 whole numbers'),
        (asked(tensor(shape=[1, 2, 2, 3])), "this model takes [3, 2, 2] of each photo"),
        (asked(tensor(shape=[1, 2, 2, 3])), 'or send the image file itself as "image"'),
        (asked(tensor(shape=[257, 3, 2, 2])), "at most 256"),
        (asked(tensor(shape=[2, 3, 2, 2])), "is not nested as its shape [2, 3, 2, 2] says; a flat list will do"),
        (asked(tensor(data=[0.0] * 11)), '"data" of "input" holds 11 values; the shape [1, 3, 2, 2] has 12'),
        (asked(tensor(data=[[0.0] * 12])), "is not nested as its shape"),
        (asked(tensor(data=[*[0.0] * 11, [0.0]])), "holds what is no number"),
        (asked(tensor(data=[*[0.0] * 11, True])), "holds what is no number"),
        (asked(tensor(data=[*[0.0] * 11, "1.0"])), "holds what is no number"),
        (asked(tensor(data=[*[0.0] * 11, None])), "holds what is no number"),
        (asked(tensor(data=[*[0.0] * 11, 1e39])), "not finite in FP32"),
        (asked(tensor(data=[*[0.0] * 11, 10**400])), "not finite in FP32"),
        (asked(GOOD, id=1), '"id" must be a string, not 1'),
        (asked(GOOD, parameters=[]), '"parameters" of the request must be an object'),
        (asked(GOOD, parameters={"top_k": 0}), "top_k must be"),
        (asked(GOOD, parameters={"binary_data_output": 1}), '"binary_data_output" must be true or false, not 1'),
        (asked(image("", parameters="x")), '"parameters" of the input must be an object'),
        (asked(GOOD, outputs={}), '"outputs" must be a list'),
        (asked(GOOD, outputs=["scores"]), "outputs[0] is null, which is none of class_ids, scores,"),
        (asked(GOOD, outputs=[{"name": "probabilities"}]), "outputs[0] is 'probabilities', which is none of class_ids"),
        (asked(GOOD, outputs=[{"name": {}}]), "outputs[0] is an object, which is none of"),
        (asked(GOOD, outputs=[{"name": "bins"}] * 2), "one of them twice"),
        (asked(GOOD, outputs=[{"name": "bins"}] * 6), "names 6; there are 5"),
        (asked(GOOD, outputs=[{"name": "bins", "parameters": 1}]), '"parameters" of outputs[0] must be an object'),
        (asked(GOOD, outputs=[{"name": "bins", "parameters": {"binary_data": None}}]), '"binary_data" must be true'),
        (asked(GOOD, outputs=[{"name": "bins", "parameters": {"classification": 3}}]), 'asks for "classification"'),
        (asked({**GOOD, "parameters": {"binary_data_size": 9}}), '"data" and "binary_data_size"; send one'),
    ],
)
def test_what_clients_get_wrong_is_told_plainly(value: Any, said: str) -> None:
    with pytest.raises(RequestError) as error:
        parse(value)
    assert said in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_json_has_no_number_for_is_refused(constant: str) -> None:
    body = wire.dumps(asked(tensor(data=[0.0] * 12))).replace(b"[0.0,", f"[{constant},".encode())
    with pytest.raises(RequestError, match=r"not finite|JSON has no"):
        parse_infer(body, header_length=None, input_shape=SHAPE)


@pytest.mark.parametrize(
    ("given_", "data", "said"),
    [
        (image(1), b"", '"image" holds 0 elements, but its shape says 1'),
        (image(1), b"\1\0\0", "breaks off in the length of element 0"),
        (image(1), b"\4\0\0\0abc", 'element 0 of "image" has 4 bytes, but 3 are left'),
        (image(1), b"\xff\xff\xff\xff", "has 4294967295 bytes, but 0 are left"),
        (image(1), elements(b"a", b"b"), "more than the 1 elements"),
        (image(1, 2, 3), elements(b"a", b"b"), "holds 2 elements, but its shape says 3"),
        (tensor(), ONE.tobytes()[:-1], '"input" has 47 bytes; the shape [1, 3, 2, 2] in FP32 has 48'),
        (tensor(), b"", "has 0 bytes"),
        (tensor(), np.full(12, np.nan, "<f4").tobytes(), "not finite"),
        (image(1, parameters={"binary_data_size": -5}), b"12345", '"binary_data_size" is -5, but 5 bytes follow'),
        (image(1, parameters={"binary_data_size": True}), b"1", '"binary_data_size" is true'),
        (image(1, parameters={"binary_data_size": 4}), b"12345", '"binary_data_size" is 4, but 5 bytes follow'),
        (image(1, parameters={"binary_data_size": 10**4000}), b"12345", "but 5 bytes follow"),
        (image(1, parameters={}), b"12345", '"data" of "image" must be a list, not null'),
    ],
)
def test_bytes_that_are_not_what_the_json_says_are_refused(
    given_: Mapping[str, object], data: bytes, said: str
) -> None:
    with pytest.raises(RequestError) as error:
        parse_binary(given_, data)
    assert said in str(error.value)


@pytest.mark.parametrize("length", [-1, 0, 10_000, True, 10**4000])
def test_a_header_length_that_can_not_be_is_refused(length: int) -> None:
    with pytest.raises(RequestError, match="its JSON can't have"):
        parse_infer(wire.dumps(asked(GOOD)), header_length=length, input_shape=SHAPE)


def test_bytes_that_nothing_speaks_of_are_refused() -> None:
    body = wire.dumps(asked(GOOD))
    with pytest.raises(RequestError, match='1 bytes follow the JSON, but the input has no "binary_data_size"'):
        parse_infer(body + b"x", header_length=len(body), input_shape=SHAPE)
    with pytest.raises(RequestError, match="is the header Inference-Header-Content-Length there"):
        parse(asked({"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}))


ANY_INPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["image", "input"]) | JSON_VALUES,
        "datatype": st.sampled_from(["BYTES", "FP32"]) | JSON_VALUES,
        "shape": st.sampled_from([[1], [2, 1], [1, *SHAPE]]) | st.lists(st.integers()) | JSON_VALUES,
        "data": st.lists(st.floats() | st.integers() | st.booleans(), min_size=12, max_size=12) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(0, 60) | JSON_VALUES}) | JSON_VALUES,
    },
)
ANY_OUTPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(list(OUTPUTS)) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data": st.booleans() | JSON_VALUES}) | JSON_VALUES,
    },
)
ANY_REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(ANY_INPUT, min_size=1, max_size=2) | JSON_VALUES},
    optional={
        "id": JSON_VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"top_k": JSON_VALUES, "binary_data_output": JSON_VALUES}),
        "outputs": st.lists(ANY_OUTPUT) | JSON_VALUES,
    },
)


@given(value=ANY_REQUEST, tail=st.binary(max_size=60), off=st.integers(-3, 3) | st.none())
def test_no_request_at_all_raises_anything_else(value: object, tail: bytes, off: int | None) -> None:
    head = wire.dumps(value)
    length = None if off is None else len(head) + off
    with contextlib.suppress(RequestError):
        parse_infer(head + tail, header_length=length, input_shape=SHAPE)


@given(body=st.binary() | JSON_VALUES.map(wire.dumps), length=st.integers() | st.none() | st.integers(0, 20))
def test_no_bytes_at_all_raise_anything_else(body: bytes, length: int | None) -> None:
    with contextlib.suppress(RequestError):
        parse_infer(body, header_length=length, input_shape=SHAPE)


@given(count=st.integers(1, 3), data=st.binary(max_size=40))
def test_binary_elements_are_read_to_the_last_byte_or_refused(count: int, data: bytes) -> None:
    with contextlib.suppress(RequestError):
        images = parse_binary(image(*range(count)), data).images
        assert elements(*(each if isinstance(each, bytes) else b"" for each in images)) == data


@pytest.mark.parametrize("place", ["id", "inputs", "outputs", "parameters"])
def test_values_that_are_nested_for_ever_are_told_plainly(place: str) -> None:
    for depth in range(900, 1000):
        body = f'{{"{place}": {"[" * depth}{"]" * depth}}}'.encode()
        with pytest.raises(RequestError):
            parse_infer(body, header_length=None, input_shape=SHAPE)


def test_data_that_is_nested_for_ever_is_told_plainly() -> None:
    for depth in range(900, 1000):
        body = wire.dumps(asked(tensor(data=["x"]))).replace(b'"x"', b"[" * depth + b"]" * depth)
        with pytest.raises(RequestError):
            parse_infer(body, header_length=None, input_shape=SHAPE)


# ---- replies

CAN, GLASS = Score(Label(23, "易拉罐", "可回收物"), 0.75), Score(Label(4, "glass"), 0.25)
SURE = Prediction("images[0]", (CAN, GLASS))
UNSURE = Prediction("images[1]", (CAN, GLASS), sure=False)
FAILED = Prediction("images[2]", error="not an image")


def data_of(body: bytes, length: int | None) -> dict[str, Any]:
    """A reply's outputs as a client reads them, JSON or bytes."""
    value = json.loads(body[:length])
    at, found = length or len(body), {}
    for output in value["outputs"]:
        if "data" in output:
            found[output["name"]] = output["data"]
            continue
        size = output["parameters"]["binary_data_size"]
        piece, at = body[at : at + size], at + size
        found[output["name"]] = unpacked(piece, output["datatype"])
    assert at == len(body)
    return found


def unpacked(piece: bytes, datatype: str) -> list[Any]:
    if datatype != "BYTES":
        return list(np.frombuffer(piece, {"INT64": "<i8", "FP32": "<f4"}[datatype]).tolist())
    texts = []
    while piece:
        length = int.from_bytes(piece[:4], "little")
        texts.append(piece[4 : 4 + length].decode())
        piece = piece[4 + length :]
    return texts


def test_a_reply_in_json() -> None:
    body, length = infer_reply(InferRequest(id="图"), [SURE, UNSURE, FAILED], model="Colours", version="1")
    assert length is None
    assert json.loads(body) == {
        "model_name": "Colours",
        "model_version": "1",
        "id": "图",
        "outputs": [
            {"name": "class_ids", "datatype": "INT64", "shape": [3, 2], "data": [23, 4, 23, 4, -1, -1]},
            {"name": "scores", "datatype": "FP32", "shape": [3, 2], "data": [0.75, 0.25, 0.75, 0.25, 0.0, 0.0]},
            {
                "name": "names",
                "datatype": "BYTES",
                "shape": [3, 2],
                "data": ["易拉罐", "glass", "易拉罐", "glass", "", ""],
            },
            {"name": "bins", "datatype": "BYTES", "shape": [3], "data": ["可回收物", "", ""]},
            {"name": "errors", "datatype": "BYTES", "shape": [3], "data": ["", "", "not an image"]},
        ],
    }
    assert "id" not in json.loads(infer_reply(InferRequest(), [SURE], model="m", version="1")[0])


def test_a_reply_in_bytes_says_the_same() -> None:
    predictions = [SURE, UNSURE, FAILED]
    in_json = data_of(*infer_reply(InferRequest(), predictions, model="m", version="1"))
    for kinds in (dict.fromkeys(OUTPUTS, True), {"names": True, "scores": False, "bins": True}):
        request = InferRequest(outputs=tuple(Output(name, binary) for name, binary in kinds.items()))
        body, length = infer_reply(request, predictions, model="m", version="1")
        assert length is not None
        assert [each["name"] for each in json.loads(body[:length])["outputs"]] == list(kinds)
        assert data_of(body, length) == {name: in_json[name] for name in kinds}


def test_rows_are_of_one_length_whatever_comes() -> None:
    short = Prediction("images[1]", (CAN,))
    value = data_of(*infer_reply(InferRequest(), [SURE, short], model="m", version="1"))
    assert (value["class_ids"], value["scores"]) == ([23, 4, 23, -1], [0.75, 0.25, 0.75, 0.0])
    alone = json.loads(infer_reply(InferRequest(), [FAILED], model="m", version="1")[0])
    assert [each["shape"] for each in alone["outputs"]] == [[1, 1], [1, 1], [1, 1], [1], [1]]


@given(identity=st.text(st.characters()) | st.just("\ud800"))
def test_an_id_comes_back_as_it_was(identity: str) -> None:
    request = parse(asked(GOOD, id=identity))
    body, _ = infer_reply(request, [SURE], model="m", version="1")
    assert json.loads(body)["id"] == identity


def test_metadata_describes_what_is_read_and_written() -> None:
    value = model_metadata(model="Colours", version="1", input_shape=SHAPE)
    assert (value["name"], value["versions"], value["platform"]) == ("Colours", ["1"], "garbage")
    assert value["inputs"] == [
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
        {"name": "input", "datatype": "FP32", "shape": [-1, 3, 2, 2]},
    ]
    replied = json.loads(infer_reply(InferRequest(), [SURE], model="Colours", version="1")[0])["outputs"]
    described = [{**each, "shape": [-1] * len(each["shape"])} for each in replied]
    assert value["outputs"] == [{k: v for k, v in each.items() if k != "data"} for each in described]
    assert server_metadata("0.3") == {"name": "garbage", "version": "0.3", "extensions": ["binary_tensor_data"]}
