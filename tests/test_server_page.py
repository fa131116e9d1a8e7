"""The page at the bin as the server gives it: its files, their headers, and what stays closed."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from conftest import COLOURS, save_photo
from test_server import Server, serving

from garbage_cli import page

KEY = "0123456789abcdef"
NAMES = sorted(page.assets())
FILES = [name for name in NAMES if name != page.INDEX]
"""Those that are asked for by their names."""


@pytest.fixture(scope="module")
def server(colour_bundle: Path) -> Iterator[Server]:
    with serving(colour_bundle) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(colour_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(KEY)
    keys.chmod(0o600)
    with serving(colour_bundle, "--api-key-file", keys) as running:
        yield running


def said(server: Server, target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    """What comes back for a target as it stands, which httpx would put right."""
    host, port = server.url.removeprefix("http://").split(":")
    lines = [b"%s %s HTTP/1.1" % (method, target), *(headers or (b"Host: x",)), b"Connection: close", b"", b""]
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as reply:
        connection.sendall(b"\r\n".join(lines))
        return reply.read()


# ---- the files


def test_the_page_has_what_it_names() -> None:
    index, worker = page.asset(page.INDEX), page.asset(page.WORKER)
    assert index is not None
    assert worker is not None
    named = re.findall(r'(?:src|href)="page/([^"]+)"', index.body.decode())
    assert {"style.css", "manifest.webmanifest", "icon.svg", "app.js"} <= set(named)
    modules = [re.findall(rb'from "\./([^"]+)"', each.body) for each in page.assets().values()]
    named += [name.decode() for names in modules for name in names]
    assert set(named) <= set(NAMES)
    kept = re.search(r"FILES = \[(.*?)\]", worker.body.decode(), re.DOTALL)
    assert kept is not None
    shell = set(NAMES) - {page.INDEX, page.WORKER} | {"../"}
    assert set(re.findall(r'"([^"]+)"', kept[1])) == shell  # else the page is not whole when the server is away


def test_the_page_is_small_and_names_no_other_host() -> None:
    assert sum(len(each.body) for each in page.assets().values()) < 100_000
    for name, each in page.assets().items():
        hosts = set(re.findall(rb"(?:https?|wss?)://([\w.-]+)", each.body)) - {b"www.w3.org"}  # SVG's name space
        assert not hosts, name


def test_the_workers_cache_has_the_name_of_the_version() -> None:
    worker = page.asset(page.WORKER)
    assert worker is not None
    assert page.version()[:12].encode() in worker.body
    assert not [name for name in (page.INDEX, page.WORKER) if page.VERSION in page.assets()[name].body]


def test_another_content_or_name_of_any_file_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for files in ({"a.js": b"1", "b.js": b"2"}, {"a.js": b"1", "b.js": b"3"}, {"a.js": b"1", "c.js": b"2"}):
        monkeypatch.setattr(page, "_read", lambda files=files: files)
        found.add(page.version.__wrapped__())
    assert len(found) == 3


@pytest.mark.parametrize("name", ["__init__.py", "__pycache__", "", ".", "..", "/", "style.css/", "STYLE.CSS", "a\0b"])
def test_what_is_no_file_of_the_page_is_none(name: str) -> None:
    assert page.asset(name) is None


# ---- over HTTP


@pytest.mark.parametrize("name", FILES)
def test_every_file_comes_with_its_type_and_is_asked_for_anew(server: Server, name: str) -> None:
    expected = page.assets()[name]
    reply = httpx.get(f"{server.url}/page/{name}")
    assert (reply.status_code, reply.content) == (200, expected.body)
    assert reply.headers["content-type"] == expected.content_type
    assert "charset=utf-8" in expected.content_type or name.endswith((".png", ".webmanifest"))
    assert (reply.headers["etag"], reply.headers["cache-control"]) == (expected.etag, "no-cache")
    assert reply.headers["x-content-type-options"] == "nosniff"
    head = httpx.head(f"{server.url}/page/{name}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(expected.body))
    assert head.headers["etag"] == expected.etag


def test_the_page_stands_at_the_root_with_its_policy(server: Server) -> None:
    for path in ("/", "/?utm=1"):
        reply = httpx.get(server.url + path)
        assert (reply.status_code, reply.content) == (200, page.assets()[page.INDEX].body)
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
            "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'none'; "
            "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types garbage"
        )
        assert reply.headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
    posted = httpx.post(server.url, content=b"anything")
    assert posted.text.startswith("请用脚本")
    assert "content-security-policy" not in posted.headers


@pytest.mark.parametrize("base", ["https://bin.example/", "https://bin.example/sorting/"])
def test_the_worker_may_look_after_the_page_also_behind_a_proxy_under_a_path(server: Server, base: str) -> None:
    allowed = httpx.get(f"{server.url}/page/sw.js").headers["service-worker-allowed"]
    assert urljoin(urljoin(base, "page/sw.js"), allowed) == base  # browsers resolve it against the script's URL
    assert "service-worker-allowed" not in httpx.get(f"{server.url}/page/app.js").headers


def test_a_copy_that_is_still_the_same_is_not_sent_again(server: Server) -> None:
    for path, name in (("/", "index.html"), ("/page/style.css", "style.css"), ("/page/sw.js", "sw.js")):
        etag = page.assets()[name].etag
        for known in (etag, f"W/{etag}", f'"other", {etag}', f'W/"other" ,{etag}', "*"):
            for method in ("GET", "HEAD"):
                reply = httpx.request(method, server.url + path, headers={"if-none-match": known})
                assert (reply.status_code, reply.content) == (304, b""), known
                assert (reply.headers["etag"], reply.headers["cache-control"]) == (etag, "no-cache")
                assert "content-type" not in reply.headers
        for other in ('"other"', etag.strip('"'), "", f'"{etag}"', "W/"):
            assert httpx.get(server.url + path, headers={"if-none-match": other}).status_code == 200, other
    reply = httpx.get(server.url, headers={"if-none-match": page.assets()["index.html"].etag})
    assert reply.headers["content-security-policy"] == page.CSP


@pytest.mark.parametrize(
    "target",
    [
        b"/page", b"/page/", b"/page/gone.js", b"/page/__init__.py", b"/page/%5f_init__.py", b"/page/STYLE.CSS",
        b"/page/style.css/", b"/page//style.css", b"//page/style.css", b"/page/./style.css", b"/page/..",
        b"/page/../page/style.css", b"/page/../v1/model", b"/page/..%2fv1%2fmodel", b"/page/%2e%2e/v1/model",
        b"/page/%2e%2e%2fv1/model", b"/page/..%5cserver%5capp.py", b"/page/..%2f..%2f..%2f..%2fetc%2fpasswd",
        b"/page/%2fetc%2fpasswd", b"/page/style.css%00", b"/page/style.css%00.js", b"/page/%00",
        b"/page/style.css%20", b"/page/style.css%3fa", b"/page/style.css;a=1", b"/page/%ff%fe", b"/page/%e5%9e%83",
        b"/page/%c0%ae%c0%ae%c0%afstyle.css", b"/page/%", b"/page/%252e%252e%252fv1", b"/page/" + b"a" * 10_000,
        b"/page/index.html", b"/page/index%2ehtml", b"/index.html", b"/style.css", b"/sw.js", b"/favicon.ico",
    ],
)  # fmt: skip
def test_what_is_not_in_the_page_is_404_in_the_usual_shape(server: Server, target: bytes) -> None:
    head, _, body = said(server, target).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"content-type: application/json" in head
    assert body.startswith(b'{"error":"GET /')
    assert str(Path(page.__file__).parent).encode() not in body


@pytest.mark.parametrize("target", [b"/page/\0", b"/page/style.css\0", b"/page/\xff", b"/page/a b"])
def test_bytes_that_no_path_has_are_400(server: Server, target: bytes) -> None:
    assert said(server, target).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
def test_a_file_is_only_read(server: Server, method: bytes) -> None:
    head = said(server, b"/page/style.css", method=method).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"GET" in head


def test_whatever_host_is_asked_for_the_page_is_the_same_and_says_nothing_of_it(server: Server) -> None:
    tricks = (
        (b"Host: evil.example",),
        (b'Host: "><script>alert(1)</script>',),
        (b"Host: evil.example", b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: https"),
        (b"Host: x", b"X-Original-URL: /v1/model", b"X-Rewrite-URL: /v1/model"),
        (b"Host:",),
    )
    for target, name in ((b"/", "index.html"), (b"/page/app.js", "app.js"), (b"http://evil.example/", "index.html")):
        for headers in tricks:
            head, _, body = said(server, target, *headers).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), headers
            assert body == page.assets()[name].body
            assert b"evil" not in head
            assert b"\r\nlocation:" not in head


# ---- keys


def test_the_page_needs_no_key_and_all_that_it_asks_does(guarded: Server) -> None:
    for path in ("/", "/?a=b", *(f"/page/{name}" for name in FILES)):
        assert httpx.get(guarded.url + path).status_code == 200
        assert httpx.head(guarded.url + path).status_code == 200
    for path in ("/v1/model", "/metrics", "/docs", "/openapi.json", "/v2"):
        assert httpx.get(guarded.url + path).status_code == 401
    for path in ("/", "/page/style.css", "/v1/predict", "/v1/corrections", "/predict/clas_system"):
        assert httpx.post(guarded.url + path, content=b"x").status_code == 401
    assert httpx.post(guarded.url, headers={"x-api-key": KEY}).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        b"/page/../v1/model", b"/page/..%2fv1%2fmodel", b"/page/%2e%2e/v1/model", b"/page/style.css/../../v1/model",
        b"/page/style.css%2f..%2f..%2fv1%2fmodel", b"/page/style.css%00/../v1/model", b"//v1/model", b"/./v1/model",
        b"/%2fv1/model", b"/page/gone.js", b"/page/index.html", b"http://x/v1/model",
    ],
)  # fmt: skip
def test_no_path_through_the_page_gets_around_the_key(guarded: Server, target: bytes) -> None:
    assert said(guarded, target).startswith(b"HTTP/1.1 401 ")


# ---- Server-Timing


def stages(header: str) -> dict[str, float]:
    found = [re.fullmatch(r"([a-z]+);dur=(\d+\.\d)", each) for each in header.split(", ")]
    return {each[1]: float(each[2]) for each in found if each}


def test_an_answer_says_how_long_each_stage_took(server: Server, tmp_path: Path) -> None:
    red = save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()
    spent = stages(httpx.post(f"{server.url}/v1/predict", content=red).headers["server-timing"])
    assert list(spent) == ["read", "wait", "decode", "infer", "total"]
    assert spent["total"] >= spent["decode"] + spent["infer"] - 0.3  # each is rounded
    several = httpx.post(f"{server.url}/v1/predict", files=[("images", ("1.png", red)), ("images", ("2.png", b"x"))])
    assert list(stages(several.headers["server-timing"])) == ["read", "wait", "decode", "infer", "total"]
    unread = httpx.post(f"{server.url}/v1/predict", content=b"no photo")
    assert (unread.status_code, list(stages(unread.headers["server-timing"]))[-1]) == (422, "total")
    empty = httpx.post(f"{server.url}/v1/predict", content=b"")
    assert (empty.status_code, list(stages(empty.headers["server-timing"]))) == (400, ["read", "total"])
    for other in (httpx.get(f"{server.url}/v1/model"), httpx.get(server.url), httpx.post(server.url)):
        assert "server-timing" not in other.headers
