"""What clients in the field send, byte by byte, and what they get: PaddleHub's three generations, /v1 and /v2.

BAD and TOLERATED are also sent to the real PaddleHub, by test_slow_hub.py.
"""

import base64
import io
import json
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import COLOURS
from PIL import Image
from test_server import b64, serving

from garbage_cli.bundle import ModelBundle
from garbage_cli.images import decode
from garbage_cli.transforms import Preprocess

ROUTES = ("/predict/garbage_classification", "/predict/clas_system")
JSON = "application/json"
NUMBER = rb"\d+(?:\.\d+)?(?:e-\d+)?"
SIDE = 32
"""Of the input of `colour_bundle`."""


def photo(colour: str, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    with io.BytesIO() as buffer:
        Image.new("RGB", size, COLOURS[colour]).save(buffer, kind)
        return buffer.getvalue()


RED, GREEN = photo("red"), photo("green", (90, 50))
RED64, GREEN64 = b64(RED), b64(GREEN)


def tensor64(*values: float, count: int = 1, **dtype: type) -> str:
    """One input or several in base64, all of one value, or with the given ones in front."""
    array = np.full(count * 3 * SIDE * SIDE, 0.25, dtype.get("dtype", np.float32))
    array[: len(values)] = values
    return b64(array.tobytes())


def in_lines(text: str, end: str = "\n") -> str:
    """As MIME has it: 76 signs a line."""
    return end.join(text[i : i + 76] for i in range(0, len(text), 76)) + end


@pytest.fixture(scope="module")
def url(colour_bundle: Path) -> Iterator[str]:
    with serving(colour_bundle) as server:
        yield server.url


def post(url: str, content: bytes, kind: str = JSON, **headers: str) -> httpx.Response:
    return httpx.post(url, content=content, headers={"content-type": kind, **headers}, timeout=30)


def fits(pattern: bytes, content: bytes) -> bool:
    """Whether bytes are as written, `#` being any number."""
    return re.fullmatch(re.escape(pattern).replace(re.escape(b"#"), NUMBER), content) is not None


# ---- PaddleHub: what is sent and answered, byte by byte


@pytest.fixture(scope="module")
def prepared(colour_bundle: Path) -> str:
    """RED and GREEN as generations B and C send them: preprocessed by the client, as the bundle says."""
    preprocess = Preprocess(ModelBundle.load(colour_bundle).preprocess)
    batch = np.stack([preprocess(decode(each)) for each in (RED, GREEN)])
    assert (batch.shape, batch.dtype) == ((2, 3, SIDE, SIDE), np.float32)
    return b64(batch.tobytes())


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"images": ["RED", "GREEN"]}',  # json.dumps, as in the source document
        b'{"images": ["RED", "GREEN"], "top_k": 1}',
        b'{"top_k": 1, "images": ["RED", "GREEN"]}',
        b'{"images":["RED","GREEN"],"top_k":1}',  # httpx and browsers
        b'{\r\n  "images" : [ "RED",\t"GREEN" ]\r\n}\r\n',
    ],
)
def test_generation_a(url: str, route: str, body: bytes) -> None:
    reply = post(url + route, body.replace(b"RED", RED64.encode()).replace(b"GREEN", GREEN64.encode()))
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    assert fits(b'{"msg":"","results":[[[0],[#],#],[[1],[#],#]],"status":"000"}\n', reply.content)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"images": "BATCH", "revert_params": {"shape": [2, 3, 32, 32], "dtype": "float32"}, "top_k": 1}',
        b'{"top_k":1,"revert_params":{"dtype":"float32","shape":[2,3,32,32]},"images":"BATCH"}',
    ],
)
def test_generation_b(url: str, prepared: str, route: str, body: bytes) -> None:
    reply = post(url + route, body.replace(b"BATCH", prepared.encode()))
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    expected = (
        b'{"msg":"","results":{"elapse":#,"prediction":[{"clas_ids":[0],"scores":[#]},{"clas_ids":[1],"scores":[#]}]},'
        b'"status":"000"}\n'
    )
    assert fits(expected, reply.content)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"images": "BATCH", "revert_params": {"shape": [2, 3, 32, 32], "dtype": "float32"}}',
        b'{"revert_params":{"dtype":"float32","shape":[2,3,32,32]},"images":"BATCH"}',
    ],
)
def test_generation_c(url: str, prepared: str, route: str, body: bytes) -> None:
    reply = post(url + route, body.replace(b"BATCH", prepared.encode()))
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    expected = (
        '{"msg":"","results":{"elapse":#,"prediction":['
        '{"class_ids":[0,2,1],"label_names":["有害垃圾/干电池","可回收物/易拉罐","厨余垃圾/菜叶菜根"],"scores":[#,#,#]},'
        '{"class_ids":[1,2,0],"label_names":["厨余垃圾/菜叶菜根","可回收物/易拉罐","有害垃圾/干电池"],"scores":[#,#,#]}'
        ']},"status":"000"}\n'
    )
    assert fits(expected.encode(), reply.content)


def test_the_scores_of_b_and_c_are_those_of_a(url: str, prepared: str) -> None:
    params = {"shape": [2, 3, SIDE, SIDE], "dtype": "float32"}
    bodies: list[dict[str, Any]] = [
        {"images": [RED64, GREEN64], "top_k": 3},
        {"images": prepared, "revert_params": params, "top_k": 3},
        {"images": prepared, "revert_params": params},
    ]
    a, b, c = (httpx.post(url + ROUTES[1], json=body).json()["results"] for body in bodies)
    assert [each["clas_ids"] for each in b["prediction"]] == [ids for ids, _, _ in a]
    assert [each["class_ids"] for each in c["prediction"]] == [ids for ids, _, _ in a]
    for i, (_, scores, _) in enumerate(a):
        assert len(scores) == 3
        assert b["prediction"][i]["scores"] == pytest.approx(scores, abs=1e-6)
        assert c["prediction"][i]["scores"] == pytest.approx(scores, abs=1e-6)


def test_one_bad_photo_of_a_fails_alone(url: str) -> None:
    reply = httpx.post(url + ROUTES[0], json={"images": [RED64, "@@", GREEN64, b64(b"no photo"), ""]})
    words, _, rest = reply.content.partition(b'","results":')
    assert words.startswith(b'{"msg":"images[1]: not valid base64; images[3]: not an image')
    assert words.endswith(b"; images[4]: the file is empty")
    assert fits(b'[[[0],[#],#],[[],[],#],[[1],[#],#],[[],[],#],[[],[],#]],"status":"000"}\n', rest)


def test_111_comes_before_112_and_112_before_the_body(url: str) -> None:
    other = post(f"{url}/predict/垃圾", b"{", "text/plain")
    assert (other.status_code, other.headers["content-type"]) == (200, JSON)
    assert other.content == '{"msg":"Module 垃圾 is not available.","results":"","status":"111"}\n'.encode()
    kind = post(url + ROUTES[0], b"{", "text/plain")
    assert (kind.status_code, kind.headers["content-type"]) == (200, JSON)
    assert kind.content == b'{"msg":"The content-type must be application/json","results":"","status":"112"}\n'
    assert httpx.post(url + ROUTES[0], content=b"{").json()["status"] == "112"  # no content type at all


@pytest.mark.parametrize(
    "kind",
    ["Application/JSON", "application/json; charset=utf-8", "application/json;charset=", "application/vnd.x+json"],
)
def test_a_content_type_is_read_without_its_case_and_parameters(url: str, kind: str) -> None:
    assert post(url + ROUTES[0], b'{"images": ["%b"]}' % RED64.encode(), kind).json()["status"] == "000"


def test_a_client_of_the_source_document_reads_its_class(url: str) -> None:
    """The script of the source document, but for its HTTP library."""
    data = {"images": [base64.b64encode(RED).decode("utf8")], "top_k": 1}
    headers = {"Content-type": "application/json"}
    r = httpx.post(url=f"{url}/predict/garbage_classification", headers=headers, content=json.dumps(data))
    assert r.json()["status"] == "000"
    assert r.json()["results"][0][0][0] == 0
    assert r.json()["results"][0][1][0] > 0.9


def test_by_either_method_the_root_is_html_and_by_post_a_line_as_paddlehub_has(url: str) -> None:
    page, line = httpx.get(url), post(url, b"", "text/plain")
    for reply in (page, line):
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!doctype html>")  # PaddleHub has its line by GET too
    assert line.text == (
        "请用脚本向 /predict/garbage_classification 发送请求，或用浏览器打开本页。<br/>"
        "Send requests to /predict/garbage_classification, or open this address in a browser."
    )


# ---- PaddleHub: bodies that are out of the ordinary, and still understood


@dataclass(frozen=True)
class Tolerated:
    name: str
    content: bytes
    classes: int = 1
    """That the first photo's answer names."""


TOLERATED = [
    Tolerated("UTF-8 with a BOM", b"\xef\xbb\xbf" + b'{"images": ["%b"]}' % RED64.encode()),
    Tolerated("UTF-16", f'{{"images": ["{RED64}"], "名": "图"}}'.encode("utf-16")),
    Tolerated("unknown keys", f'{{"images": ["{RED64}"], "名": "图", "use_gpu": true, "self": 1}}'.encode()),
    Tolerated("a key twice, the last one good", f'{{"images": 7, "images": ["{RED64}"]}}'.encode()),
    Tolerated("escaped slashes, as PHP writes them", f'{{"images": ["{RED64}"]}}'.replace("/", "\\/").encode()),
    Tolerated("escaped signs", f'{{"images": ["{RED64}"]}}'.replace("+", "\\u002b").replace("=", "\\u003d").encode()),
    Tolerated("line breaks, as Java's MIME encoder", json.dumps({"images": [in_lines(RED64, "\r\n")]}).encode()),
    Tolerated("line breaks, as the program base64", json.dumps({"images": [in_lines(RED64)]}).encode()),
    Tolerated("top_k null", f'{{"images": ["{RED64}"], "top_k": null}}'.encode()),
    Tolerated("top_k as a string", f'{{"images": ["{RED64}"], "top_k": "2"}}'.encode(), 2),
    Tolerated("revert_params of an A", f'{{"images": ["{RED64}"], "revert_params": 1, "top_k": 3}}'.encode(), 3),
    Tolerated("256 photos", json.dumps({"images": [RED64, *["QUJD"] * 255]}).encode()),
]


@pytest.mark.parametrize("body", TOLERATED, ids=lambda body: body.name)
def test_what_is_out_of_the_ordinary_is_understood(url: str, body: Tolerated) -> None:
    value = post(url + ROUTES[0], body.content).json()
    assert value["status"] == "000", value["msg"]
    assert value["results"][0][0] == [0, 2, 1][: body.classes]


def test_line_breaks_in_a_tensor_are_passed_over(url: str) -> None:
    params = {"shape": [1, 3, SIDE, SIDE], "dtype": "float32"}
    whole, broken = (
        httpx.post(url + ROUTES[0], json={"images": text, "revert_params": params}).json()["results"]["prediction"]
        for text in (tensor64(1, 2, 3), in_lines(tensor64(1, 2, 3), "\r\n"))
    )
    assert broken == whole


def test_a_client_that_waits_for_100_continue_and_one_that_sends_chunks_are_answered(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    body = f'{{"images": ["{RED64}"]}}'.encode()
    head = f"POST {ROUTES[0]} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {JSON}\r\nConnection: close\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as replies:
        connection.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert replies.readline() == b"HTTP/1.1 100 Continue\r\n"
        connection.sendall(body)
        assert b'"status":"000"' in replies.read()
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as replies:
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:half], body[half:]))
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert b'"status":"000"' in replies.read()


# ---- PaddleHub: bad bodies


@dataclass(frozen=True)
class Bad:
    name: str
    content: bytes
    words: str
    """That the message has."""
    kind: str = JSON
    status: str = "101"


def images(*texts: object, **keys: object) -> bytes:
    return json.dumps({"images": texts, **keys}).encode()


def tensor(text: str | None = None, *, drop: str = "", **params: object) -> bytes:
    """A body of generation C; `text` or `params` wrong, or one of them left out."""
    params = {"shape": [1, 3, SIDE, SIDE], "dtype": "float32", **params}
    params.pop(drop, None)
    return json.dumps({"images": tensor64() if text is None else text, "revert_params": params}).encode()


BAD = [
    Bad("empty body", b"", "not valid JSON"),
    Bad("spaces only", b"  \r\n", "not valid JSON"),
    Bad("a list", b"[]", "must be an object"),
    Bad("null", b"null", "must be an object"),
    Bad("a string", b'"x"', "must be an object"),
    Bad("a number", b"1", "must be an object"),
    Bad("NaN", b'{"images": NaN}', "JSON has no NaN"),
    Bad("-Infinity", images(RED64).replace(b"}", b', "top_k": -Infinity}'), "JSON has no -Infinity"),
    Bad("truncated JSON", images(RED64)[:-9], "not valid JSON"),
    Bad("two objects", b"{}{}", "not valid JSON"),
    Bad("Python's repr", b"{'images': ['QUJD']}", "not valid JSON"),
    Bad("a form", b"images=QUJD&top_k=1", "not valid JSON"),
    Bad("a photo", RED, "not valid JSON"),
    Bad("GBK", '{"images": ["易拉罐"]}'.encode("gbk"), "not valid JSON"),
    Bad("deep nesting", b'{"images": ' + b"[" * 100_000, "not valid JSON"),
    Bad("an integer of 10,000 digits", b'{"images": ["QUJD"], "top_k": ' + b"9" * 10_000 + b"}", "not valid JSON"),
    Bad("a form by its content type", b"images=QUJD", "content-type", "application/x-www-form-urlencoded", "112"),
    Bad("text by its content type", images(RED64), "content-type", "text/plain", "112"),
    Bad("images missing", b'{"image": ["QUJD"], "top_k": 1}', 'the key "images" is missing'),
    Bad("images null", b'{"images": null}', "must be a list"),
    Bad("images a number", b'{"images": 1}', "must be a list"),
    Bad("images true", b'{"images": true}', "must be a list"),
    Bad("images an object", b'{"images": {"0": "QUJD"}}', "must be a list"),
    Bad("images empty", images(), "not empty"),
    Bad("images a nested list", images([RED64]), "images[0] is not a string"),
    Bad("images of numbers", images(255, 216), "images[0] is not a string"),
    Bad("images with null", images(RED64, None), "images[1] is not a string"),
    Bad("images one string", json.dumps({"images": RED64}).encode(), "one string; send image files as a list"),
    Bad("images twice, the last one bad", b'{"images": ["QUJD"], "images": []}', "not empty"),
    Bad("257 images", images(*["QUJD"] * 257), "257 images; send at most 256"),
    Bad("data: prefix", images("data:image/png;base64," + RED64), 'images[0]: begins with "data:"'),
    Bad("URL", images("http://127.0.0.1:1/a.jpg"), "nothing is fetched"),
    Bad("file URL", images("file:///etc/hosts.jpg"), "nothing is fetched"),
    Bad("file path", images("/etc/hosts.conf"), "nothing is fetched"),
    Bad("relative path", images("img_1.jpg"), "not valid base64"),
    Bad("junk base64", images("@@@@"), "not valid base64"),
    Bad("half a photo as base64", images(RED64[:81]), "not valid base64"),
    Bad("base64 without padding", images("QQ"), "not valid base64"),
    Bad("base64 of the URL-safe alphabet", images("_9j-4AAQ"), "not valid base64"),
    Bad("base64 with a space for a plus", images("QUJD RUZH"), "not valid base64"),
    Bad("Python's repr of base64", images(f"b'{RED64}'"), "without str()"),
    Bad("Chinese for base64", images("图片"), "not valid base64"),
    Bad("half a surrogate pair for base64", b'{"images": ["\\ud800"]}', "not valid base64"),
    Bad("empty string", images(""), "images[0]: the file is empty"),
    Bad("line breaks only", images("\r\n"), "images[0]: the file is empty"),
    Bad("no photo", images(b64("不是照片".encode())), "images[0]: not an image"),
    Bad("half a photo", images(b64(RED[:60])), "images[0]: "),
    Bad("five that fail", images("@", "@", "@", "@", "@"), "images[2]: not valid base64; and 2 more"),
    Bad("top_k 0", images(RED64, top_k=0), "top_k must be a whole number from 1, not 0"),
    Bad("top_k -1", images(RED64, top_k=-1), "top_k must be"),
    Bad("top_k 1.5", images(RED64, top_k=1.5), "top_k must be"),
    Bad("top_k true", images(RED64, top_k=True), "top_k must be"),
    Bad("top_k a word", images(RED64, top_k="all"), "top_k must be"),
    Bad("top_k an empty string", images(RED64, top_k=""), "top_k must be"),
    Bad("top_k a list", images(RED64, top_k=[1]), "top_k must be"),
    Bad("top_k 10**400", images(RED64, top_k=10**400), "top_k must be"),
    Bad("top_k half a surrogate pair", b'{"images": ["QUJD"], "top_k": "\\udc00"}', "top_k must be"),
    Bad("top_k over the classes", images(RED64, top_k=4), "this model knows 3 classes"),
    Bad("B: revert_params null", b'{"images": "QUJD", "revert_params": null}', "must be an object"),
    Bad("B: revert_params a list", b'{"images": "QUJD", "revert_params": [1, 3, 32, 32]}', "must be an object"),
    Bad("B: no shape", tensor(drop="shape"), '"shape"'),
    Bad("B: no dtype", tensor(drop="dtype"), '"dtype"'),
    Bad("B: float64", tensor(tensor64(dtype=np.float64), dtype="float64"), 'must be "float32"'),
    Bad("B: uint8", tensor(tensor64(dtype=np.uint8), dtype="uint8"), 'must be "float32"'),
    Bad("B: dtype an object", tensor(dtype={}), 'must be "float32"'),
    Bad("B: NHWC", tensor(shape=[1, SIDE, SIDE, 3]), "this model takes [3, 32, 32]"),
    Bad("B: shape of another model", tensor(shape=[1, 3, 224, 224]), "this model takes [3, 32, 32]"),
    Bad("B: shape of 3", tensor(shape=[3, SIDE, SIDE]), "4 whole numbers"),
    Bad("B: shape of 5", tensor(shape=[1, 1, 3, SIDE, SIDE]), "4 whole numbers"),
    Bad("B: shape of strings", tensor(shape=["1", "3", "32", "32"]), "4 whole numbers"),
    Bad("B: shape a string", tensor(shape="(1, 3, 32, 32)"), "4 whole numbers"),
    Bad("B: shape negative", tensor(shape=[-1, 3, SIDE, SIDE]), "4 whole numbers"),
    Bad("B: shape of no photo", tensor(shape=[0, 3, SIDE, SIDE]), "4 whole numbers"),
    Bad("B: shape huge", tensor(shape=[10**9, 3, SIDE, SIDE]), "at most 256"),
    Bad("B: shape beyond 64 bits", tensor(shape=[10**30, 3, SIDE, SIDE]), "at most 256"),
    Bad("B: too few bytes", tensor(tensor64()[:-16]), "a tensor of shape [1, 3, 32, 32] in float32 has 12288 bytes"),
    Bad("B: too many bytes", tensor(tensor64(count=2)), "a tensor of shape [1, 3, 32, 32] in float32 has 12288 bytes"),
    Bad("B: no bytes", tensor(""), "0 characters"),
    Bad("B: NaN inside", tensor(tensor64(float("nan"))), "not finite"),
    Bad("B: infinite inside", tensor(tensor64(float("-inf"))), "not finite"),
    Bad("B: junk base64", tensor("@" * 16384), "not valid base64"),
    Bad("B: data: prefix", tensor("data:;base64," + tensor64()), 'begins with "data:"'),
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: body.name)
def test_a_bad_body_gets_words_in_the_envelope(url: str, body: Bad) -> None:
    replies = [post(url + route, body.content, body.kind) for route in ROUTES]
    assert replies[0].content == replies[1].content
    assert (replies[0].status_code, replies[0].headers["content-type"]) == (200, JSON)
    value = replies[0].json()
    assert list(value) == ["msg", "results", "status"]
    assert (value["results"], value["status"]) == ("", body.status)
    assert body.words in value["msg"]
    assert len(value["msg"]) < 400
    assert replies[0].content == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def test_the_names_of_the_bodies_differ() -> None:
    names = [body.name for body in (*BAD, *TOLERATED)]
    assert len(set(names)) == len(names)


# ---- /v1


def test_v1_byte_by_byte(url: str) -> None:
    reply = post(f"{url}/v1/predict", b'{"images": ["%b", "@"], "top_k": 1}' % RED64.encode())
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    expected = (
        '{"model":"Colours","results":[{"image":"images[0]","bin":"有害垃圾","sure":true,"predictions":'
        '[{"class_id":0,"name":"干电池","bin":"有害垃圾","score":#}],"error":null},'
        '{"image":"images[1]","bin":null,"sure":false,"predictions":[],"error":"not valid base64"}]}'
    )
    assert fits(expected.encode(), reply.content)


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--x\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (h.encode(), c) for h, c in parts)


def test_v1_takes_the_form_of_a_browser(url: str) -> None:
    """File parts of any name, fields beside them, the boundary in quotes, names in UTF-8 as they are."""
    body = form(("name=words", b"x"), ('name="f"; filename="红.png"', RED), ('name="g"; filename=""', GREEN))
    reply = post(f"{url}/v1/predict", body + b"--x--\r\n", 'multipart/form-data; boundary="x"')
    assert reply.status_code == 200, reply.text
    assert [(each["image"], each["predictions"][0]["class_id"]) for each in reply.json()["results"]] == [
        ("红.png", 0),
        ("images[1]", 1),
    ]


MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("content", "kind", "query", "status", "words"),
    [
        (b"", "image/png", "", 400, "the body is empty"),
        (b"", JSON, "", 400, "not valid JSON"),
        (b"[]", JSON, "", 400, "must be an object"),
        (images(), JSON, "", 400, "not empty"),
        (b'{"image": "QUJD"}', JSON, "", 400, 'the key "images" is missing'),
        (b'{"images": "QUJD"}', JSON, "", 400, "send a list"),
        (images(1), JSON, "", 400, "images[0] is not a string"),
        (images(*["QUJD"] * 257), JSON, "", 400, "at most 256"),
        (images(RED64, top_k=4), JSON, "", 400, "this model knows 3 classes"),
        (images(RED64, top_k=True), JSON, "", 400, "top_k must be"),
        (RED, "image/png", "?top_k=0", 400, "top_k must be"),
        (RED, "image/png", "?top_k=", 400, "top_k must be"),
        (RED, "image/png", "?top_k=9999999999999", 400, "this model knows 3 classes"),
        (b"no photo", "image/jpeg", "", 422, "not an image"),
        (images("@@", "http://a/b.jpg"), JSON, "", 422, "not valid base64"),
        (form(('name=a; filename="a.png"', b"no photo")) + b"--x--\r\n", MULTIPART, "", 422, "not an image"),
        (form(("name=a", RED)) + b"--x--\r\n", MULTIPART, "", 400, "no file"),
        (form(('name=a; filename="a.png"', RED)), MULTIPART, "", 400, "breaks off"),
        (RED, "multipart/form-data", "", 400, "no boundary"),
        (form(*[('name=a; filename="a"', b"")] * 257) + b"--x--\r\n", MULTIPART, "", 400, "over 256 files"),
    ],
)
def test_v1_says_what_is_wrong(url: str, content: bytes, kind: str, query: str, status: int, words: str) -> None:
    reply = post(f"{url}/v1/predict{query}", content, kind)
    assert (reply.status_code, reply.headers["content-type"]) == (status, JSON)
    value = reply.json()
    assert words in (value["error"] if status == 400 else value["results"][0]["error"])
    assert list(value) == (["error"] if status == 400 else ["model", "results"])


def test_a_photo_is_taken_whatever_its_content_type_says(url: str) -> None:
    for kind in ("image/jpeg", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded", ""):
        reply = post(f"{url}/v1/predict", RED, kind)
        assert (reply.status_code, reply.json()["results"][0]["predictions"][0]["class_id"]) == (200, 0)


# ---- the Open Inference Protocol


INFER = "/v2/models/Colours/infer"


def test_v2_byte_by_byte_as_kserve_sends_it(url: str) -> None:
    body = (
        b'{"id": "7f-1", "inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": ["%b", "@"]}],'
        b' "parameters": {"top_k": 1}}' % RED64.encode()
    )
    reply = post(url + INFER, body)
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    expected = (
        '{"model_name":"Colours","model_version":"1","id":"7f-1","outputs":['
        '{"name":"class_ids","datatype":"INT64","shape":[2,1],"data":[0,-1]},'
        '{"name":"scores","datatype":"FP32","shape":[2,1],"data":[#,#]},'
        '{"name":"names","datatype":"BYTES","shape":[2,1],"data":["干电池",""]},'
        '{"name":"bins","datatype":"BYTES","shape":[2],"data":["有害垃圾",""]},'
        '{"name":"errors","datatype":"BYTES","shape":[2],"data":["","not valid base64"]}]}'
    )
    assert fits(expected.encode(), reply.content)
    assert post(url + INFER.replace("/infer", "/versions/1/infer"), body).status_code == 200


def test_v2_byte_by_byte_as_tritons_client_sends_it(url: str) -> None:
    """Photos as BYTES after the JSON: each is its length in 4 bytes and its content. Outputs come so, too."""
    photos = b"".join(struct.pack("<I", len(each)) + each for each in (RED, GREEN))
    head = (
        b'{"inputs":[{"name":"image","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":%d}}],'
        b'"outputs":[{"name":"class_ids","parameters":{"binary_data":true}},'
        b'{"name":"names","parameters":{"binary_data":true}},{"name":"scores","parameters":{"binary_data":true}},'
        b'{"name":"bins","parameters":{"binary_data":false}}],"parameters":{"top_k":1}}' % len(photos)
    )
    length = {"Inference-Header-Content-Length": str(len(head))}
    reply = post(url + INFER, head + photos, "application/octet-stream", **length)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/octet-stream")
    cut = int(reply.headers["inference-header-content-length"])
    names = b"".join(struct.pack("<I", len(each)) + each for each in ("干电池".encode(), "菜叶菜根".encode()))
    expected = (
        '{"model_name":"Colours","model_version":"1","outputs":['
        '{"name":"class_ids","datatype":"INT64","shape":[2,1],"parameters":{"binary_data_size":16}},'
        f'{{"name":"names","datatype":"BYTES","shape":[2,1],"parameters":{{"binary_data_size":{len(names)}}}}},'
        '{"name":"scores","datatype":"FP32","shape":[2,1],"parameters":{"binary_data_size":8}},'
        '{"name":"bins","datatype":"BYTES","shape":[2],"data":["有害垃圾","厨余垃圾"]}]}'
    )
    assert reply.content[:cut] == expected.encode()
    tail = reply.content[cut:]
    assert tail[: 16 + len(names)] == struct.pack("<2q", 0, 1) + names
    one, two = struct.unpack("<2f", tail[16 + len(names) :])
    assert 0.9 < one <= 1
    assert 0.9 < two <= 1


def test_v2_takes_an_input_as_fp32_in_json_and_in_bytes(url: str, prepared: str) -> None:
    raw = base64.b64decode(prepared)
    values = np.frombuffer(raw, "<f4").tolist()
    described = {"name": "input", "shape": [2, 3, SIDE, SIDE], "datatype": "FP32"}
    listed = httpx.post(url + INFER, json={"inputs": [{**described, "data": values}]}).json()["outputs"]
    head = json.dumps({"inputs": [{**described, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    sent = post(url + INFER, head + raw, "application/octet-stream", **length).json()["outputs"]
    assert listed[0]["data"] == sent[0]["data"]
    assert listed[0]["data"][0::3] == [0, 1]
    assert listed[1]["data"] == pytest.approx(sent[1]["data"], abs=1e-6)


def infer(length: int | None = None, tail: bytes = b"", **keys: object) -> tuple[bytes, dict[str, str]]:
    """A body with the input changed, and its header."""
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [RED64], **keys}
    head = json.dumps({"inputs": [{name: value for name, value in given.items() if value is not None}]}).encode()
    if not tail and length is None:
        return head, {}
    return head + tail, {"Inference-Header-Content-Length": str(len(head) if length is None else length)}


def binary(size: int, tail: bytes, **keys: object) -> tuple[bytes, dict[str, str]]:
    return infer(None, tail, data=None, parameters={"binary_data_size": size}, **keys)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ((b"", {}), "not valid JSON"),
        ((b"[]", {}), "must be an object"),
        ((b"{}", {}), '"inputs" must be a list with one input'),
        ((b'{"inputs": [1, 2]}', {}), '"inputs" must be a list with one input'),
        ((images(RED64), {}), '"inputs"'),
        (infer(name="x"), "is named 'x'"),
        (infer(datatype="FP32"), 'must be "BYTES"'),
        (infer(shape=[2]), "the shape [2] has 2"),
        (infer(shape=[0]), "n from 1 to 256"),
        (infer(shape=[-1]), "n from 1 to 256"),
        (infer(shape=None), "n from 1 to 256"),
        (infer(data="x"), "must be a list"),
        (infer(data=[1]), "image[0] is not a string"),
        (infer(name="input", datatype="FP32", shape=[1, 3, 8, 8]), "this model takes [3, 32, 32]"),
        (infer(name="input", datatype="FP32", shape=[1, 3, 32, 32], data=["x"] * 3072), "no number"),
        (infer(name="input", datatype="FP32", shape=[1, 3, 32, 32], data=[1e39] * 3072), "not finite"),
        (infer(length=10**6), "its JSON can't have 1000000 of them"),
        (infer(length=0), "its JSON can't have 0 of them"),
        ((infer()[0], {"Inference-Header-Content-Length": "-1"}), "must be a number of bytes"),
        ((infer()[0], {"Inference-Header-Content-Length": "9" * 99}), "must be a number of bytes"),
        (infer(tail=b"more"), "4 bytes follow the JSON"),
        (binary(9, b"\x04\0\0\0abcd"), "is 9, but 8 bytes follow the JSON"),
        (binary(8, b"\xff\0\0\0abcd"), "has 255 bytes, but 4 are left"),
        (binary(8, b"\x01\0\0\0a\x09\0\0"), "breaks off in the length of element 1"),
        (binary(9, b"\x01\0\0\0a\0\0\0\0"), "more than the 1 elements"),
        (binary(8, b"\x04\0\0\0abcd", shape=[2]), "holds 1 elements, but its shape says 2"),
        (binary(8, b"\x04\0\0\0abcd", name="input", datatype="FP32", shape=[1, 3, 32, 32]), "has 8 bytes"),
        ((binary(8, b"\x04\0\0\0abcd")[0], {}), "not valid JSON"),
    ],
)
def test_v2_says_what_is_wrong(url: str, body: tuple[bytes, dict[str, str]], words: str) -> None:
    content, headers = body
    reply = post(url + INFER, content, "application/octet-stream" if headers else JSON, **headers)
    assert (reply.status_code, reply.headers["content-type"], list(reply.json())) == (400, JSON, ["error"])
    assert words in reply.json()["error"]


def test_v2_metadata_and_what_it_does_not_know(url: str) -> None:
    assert httpx.get(f"{url}/v2").json()["extensions"] == ["binary_tensor_data"]
    model = httpx.get(f"{url}/v2/models/Colours").json()
    assert model == httpx.get(f"{url}/v2/models/Colours/versions/1").json()
    assert model["inputs"][1] == {"name": "input", "datatype": "FP32", "shape": [-1, 3, SIDE, SIDE]}
    for path in ("health/live", "health/ready", "models/Colours/ready", "models/Colours/versions/1/ready"):
        assert httpx.get(f"{url}/v2/{path}").status_code == 200
    for path in ("models/Other", "models/Other/ready", "models/Colours/versions/2", "models/Colours/versions/2/ready"):
        reply = httpx.get(f"{url}/v2/{path}")
        assert (reply.status_code, list(reply.json())) == (404, ["error"])
        assert "this server has Colours, version 1" in reply.json()["error"]
    assert httpx.post(f"{url}/v2/models/Other/infer", content=b"{").status_code == 404


# ---- the rest


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/predict/clas_system", 405, {"POST"}),
        ("PUT", "/", 405, {"GET", "HEAD", "POST"}),
        ("POST", "/healthz", 405, {"GET", "HEAD"}),
        ("GET", INFER, 405, {"POST"}),
        ("GET", "/nowhere", 404, None),
        ("POST", "/predict", 404, None),
        ("POST", "/predict/", 404, None),
        ("POST", "/predict/clas_system/", 404, None),
        ("POST", "/predict/clas_system/more", 404, None),
        ("GET", "/gradio/clas_system", 404, None),
        ("GET", "/v2/", 404, None),
    ],
)
def test_what_is_not_there_is_said_in_json(
    url: str, method: str, path: str, status: int, allow: set[str] | None
) -> None:
    reply = httpx.request(method, url + path)
    assert (reply.status_code, reply.headers["content-type"]) == (status, JSON)
    assert reply.json()["error"].startswith(f"{method} {path}: ")
    assert ("allow" in reply.headers) == (allow is not None)
    assert allow is None or set(reply.headers["allow"].split(", ")) == allow


def test_the_server_still_answers_after_all_that(url: str) -> None:
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.post(url + ROUTES[0], json={"images": [RED64]}).json()["status"] == "000"
