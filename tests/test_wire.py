import base64
import contextlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garbage_cli import wire
from garbage_cli.errors import ImageError, ServerError
from garbage_cli.labels import Label
from garbage_cli.prediction import Prediction, Score
from garbage_cli.wire import RequestError

ANSWER = Prediction("照 片.jpg", (Score(Label(23, "易拉罐", "可回收物"), 0.98), Score(Label(4, "glass", None), 0.01)))


def test_a_prediction_is_the_object_others_build_on() -> None:
    assert wire.prediction_to_json(ANSWER) == {
        "image": "照 片.jpg",
        "bin": "可回收物",
        "sure": True,
        "predictions": [
            {"class_id": 23, "name": "易拉罐", "bin": "可回收物", "score": 0.98},
            {"class_id": 4, "name": "glass", "bin": None, "score": 0.01},
        ],
        "error": None,
    }


def test_a_prediction_survives_the_way_there_and_back() -> None:
    for answer in (ANSWER, replace(ANSWER, sure=False), Prediction("x.jpg", error="damaged")):
        value = json.loads(wire.dumps(wire.prediction_to_json(answer)))
        assert wire.prediction_from_json(value, image=answer.image) == answer


def test_who_is_not_sure_names_no_bin_but_its_guesses() -> None:
    value = wire.prediction_to_json(replace(ANSWER, sure=False))
    assert (value["bin"], value["sure"], value["predictions"][0]["bin"]) == (None, False, "可回收物")
    assert wire.prediction_to_json(Prediction("x.jpg", error="damaged"))["sure"] is False


def test_a_server_that_knows_no_doubt_is_sure() -> None:
    value = wire.prediction_to_json(ANSWER)
    del value["sure"]
    assert wire.prediction_from_json(value, image=ANSWER.image) == ANSWER


@pytest.mark.parametrize("value", [{}, {"error": None}, {"error": None, "predictions": [{}]}])
def test_a_reply_of_something_else_is_a_server_error(value: dict[str, object]) -> None:
    with pytest.raises(ServerError, match="not one of garbage's"):
        wire.prediction_from_json(value, image="x")


def test_the_hub_envelope_is_sorted_compact_and_unescaped() -> None:
    assert wire.hub_reply(status="000", results=[[1, 0.5]]) == b'{"msg":"","results":[[1,0.5]],"status":"000"}\n'
    assert wire.hub_reply(status="101", msg="不行") == '{"msg":"不行","results":"","status":"101"}\n'.encode()


def test_a_list_of_base64_is_read() -> None:
    data = [base64.b64encode(each).decode() for each in (b"one", b"two")]
    request = wire.parse_predict({"images": data, "top_k": 3})
    assert request == wire.PredictRequest((b"one", b"two"), 3)
    assert wire.parse_predict({"images": data[:1]}).top_k is None


GOOD = base64.b64encode(b"image").decode()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, '"images" is missing'),
        ({"images": []}, "not empty"),
        ({"images": {}}, "list of base64"),
        ({"images": GOOD}, "one string"),
        ({"images": [1]}, "images[0] is not a string"),
        ({"images": [GOOD, None]}, "images[1] is not a string"),
        ({"images": [GOOD] * 257}, "at most 256"),
        ({"images": [GOOD], "top_k": 0}, "top_k must be"),
        ({"images": [GOOD], "top_k": True}, "top_k must be"),
        ({"images": [GOOD], "top_k": 1.5}, "top_k must be"),
        ({"images": [GOOD], "top_k": "many"}, "top_k must be a whole number from 1, not 'many'"),
        ({"images": [GOOD], "top_k": []}, "top_k must be"),
        ({"images": [GOOD], "top_k": 10**4000}, "top_k must be"),
    ],
)
def test_what_clients_get_wrong_is_told_plainly(value: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError) as error:
        wire.parse_predict(value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@@@@", "not valid base64"),
        (GOOD + "\n ", "not valid base64"),
        (GOOD[:-1], "not valid base64"),
        ("图", "not valid base64"),
        ("\ud800", "not valid base64"),
        ("", "the file is empty"),
        ("data:image/jpeg;base64," + GOOD, 'begins with "data:"'),
        ("https://example.com/a.jpg", "nothing is fetched"),
        ("/etc/passwd.jpg", "nothing is fetched"),
    ],
)
def test_an_image_that_is_no_good_base64_fails_alone(text: str, said: str) -> None:
    first, bad, last = wire.parse_predict({"images": [GOOD, text, GOOD]}).images
    assert first == last == b"image"
    assert isinstance(bad, ImageError)
    assert said in str(bad)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b'{"a": NaN}', "JSON has no NaN"),
        (b'{"a": -Infinity}', "JSON has no -Infinity"),
        (b"[]", 'must be an object: {"images"'),
        (b"1", 'must be an object: {"images"'),
    ],
)
def test_a_body_that_is_no_object_is_told_plainly(body: bytes, said: str) -> None:
    with pytest.raises(RequestError) as error:
        wire.parse_json(body)
    assert said in str(error.value)


def test_half_a_surrogate_pair_goes_through_as_json_writes_it() -> None:
    assert wire.parse_json(wire.dumps({"id": "图\ud800"})) == {"id": "图\ud800"}


def test_the_client_needs_no_numpy() -> None:
    code = "import sys, garbage_cli.wire; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(images=JSON_VALUES, top_k=JSON_VALUES)
def test_no_json_at_all_raises_anything_else(images: object, top_k: object) -> None:
    with contextlib.suppress(RequestError):
        wire.parse_predict({"images": images, "top_k": top_k})


@given(body=st.binary() | st.text().map(str.encode))
def test_no_bytes_at_all_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(RequestError):
        wire.parse_json(body)


@pytest.mark.parametrize("inside", [b"[[[[]]]]," * 60_000 + b"1", b"1," * 250_000 + b"1"], ids=["lists", "numbers"])
def test_a_body_of_very_many_values_is_refused_unread(inside: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garbage_cli.wire.reading.json.loads", None)  # it would not come to that
    with pytest.raises(RequestError, match="too many values"):
        wire.parse_json(b'{"images":[' + inside + b"]}")
