"""The OpenAPI document of the server, and its page."""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from garbage_cli.images import decode
from garbage_cli.server.app import ROUTES
from garbage_cli.server.docs import CSP, docs_page
from garbage_cli.server.openapi import document
from garbage_cli.wire import MAX_IMAGES

HOSTILE = """</code><script src="http://evil.example/x.js">alert('$classes')</script>&lt;"""


def make_document(model: str = "Colours", *, classes: int = 3, needs_key: bool = False) -> dict[str, Any]:
    return document(version="1.2.3", model=model, classes=classes, input_shape=(3, 32, 48), needs_key=needs_key)


def leaves(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document with its place."""
    if isinstance(node, dict | list):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            yield from leaves(value, f"{place}/{key}")
    else:
        yield place, node


def operations(whole: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


class Page(HTMLParser):
    """Tags with their attributes, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# ---- the document


@pytest.mark.parametrize("needs_key", [False, True])
def test_the_document_is_valid_openapi(needs_key: bool) -> None:
    schemathesis.openapi.from_dict(make_document(needs_key=needs_key)).validate()


def test_every_route_of_the_server_is_told_and_no_other() -> None:
    assert set(make_document()["paths"]) == set(ROUTES)


def test_what_is_told_once_has_one_name() -> None:
    names = [operation["operationId"] for _, _, operation in operations(make_document())]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in make_document()["tags"]}
    assert {tag for _, _, operation in operations(make_document()) for tag in operation["tags"]} == tags


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    whole = make_document(needs_key=True)
    used = {value for place, value in leaves(whole) if place.endswith("/$ref")}
    for reference in used:
        assert reference.startswith("#/components/"), reference
        node: Any = whole
        for step in reference[2:].split("/"):
            node = node[step]
    there = {f"#/components/{kind}/{name}" for kind, those in whole["components"].items() for name in those}
    schemes = {reference for reference in there if "/securitySchemes/" in reference}
    assert there - schemes == used
    named = {name for _, _, operation in operations(whole) for way in operation.get("security", ()) for name in way}
    assert {f"#/components/securitySchemes/{name}" for name in named} == schemes


def test_nothing_leads_outside_and_nothing_is_left_to_fill_in() -> None:
    for place, value in leaves(make_document(needs_key=True)):
        assert value is not None or "/examples/" in place, place
        assert "://" not in str(value), place
        assert not re.search(r"\$[a-z]", str(value)), place


def test_the_facts_of_the_model_are_in_it() -> None:
    whole = make_document("Colours", classes=7)
    schemas = whole["components"]["schemas"]
    assert whole["info"]["version"] == "1.2.3"
    assert "Colours, which knows 7 kinds" in whole["info"]["description"]
    assert whole["components"]["parameters"]["top_k"]["schema"]["maximum"] == 7
    assert whole["components"]["parameters"]["model"]["schema"]["enum"] == ["Colours"]
    assert schemas["PredictRequest"]["properties"]["top_k"]["maximum"] == 7
    assert schemas["PredictRequest"]["properties"]["images"]["maxItems"] == MAX_IMAGES
    assert schemas["Score"]["properties"]["class_id"]["maximum"] == 6
    assert schemas["Model"]["properties"]["input"]["properties"]["shape"]["examples"] == [[3, 32, 48]]
    assert [each["const"] for each in schemas["V2Input"]["properties"]["shape"]["prefixItems"][1:]] == [3, 32, 48]


def test_a_model_named_like_a_fact_keeps_its_name() -> None:
    whole = make_document("$classes")
    assert whole["components"]["parameters"]["model"]["schema"]["enum"] == ["$classes"]
    assert "the model $classes, which knows 3 kinds" in whole["info"]["description"]


def test_two_servers_do_not_share_a_document() -> None:
    first = make_document("first", needs_key=True)
    first["paths"].clear()
    assert set(make_document("second")["paths"]) == set(ROUTES)


def test_keys_are_spoken_of_only_where_one_is_needed() -> None:
    without = json.dumps(make_document())
    assert "security" not in without
    assert '"401"' not in without
    assert "Unauthorized" not in without
    for path, _, operation in operations(make_document(needs_key=True)):
        watched = path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
        is_open = watched or operation["tags"] == ["page"]
        assert ("security" in operation) == ("401" in operation["responses"]) == (not is_open), path


def test_every_reply_has_a_request_id() -> None:
    whole = make_document()
    for _, _, operation in operations(whole):
        for reply in operation["responses"].values():
            if "$ref" in reply:
                reply = whole["components"]["responses"][reply["$ref"].rpartition("/")[2]]
            assert "X-Request-Id" in reply["headers"]


def test_the_photo_of_the_examples_is_one() -> None:
    texts = {value for _, value in leaves(make_document()) if isinstance(value, str) and value.startswith("iVBOR")}
    assert len(texts) == 1
    assert decode(base64.b64decode(texts.pop(), validate=True)).shape == (2, 2, 3)


# ---- the page


@pytest.mark.parametrize("needs_key", [False, True])
def test_the_page_tells_every_route_and_every_reply(needs_key: bool) -> None:
    whole = make_document(needs_key=needs_key)
    page = docs_page(whole)
    Page(page)
    for path, method, operation in operations(whole):
        part = page[page.index(f'<details id="{operation["operationId"]}"') :].partition("</details>")[0]
        assert f">{method.upper()}</span>" in part
        assert f"<code>{path}</code>" in part
        for status in operation["responses"]:
            assert f">{status}</span>" in part, (path, status)
        assert ("Authorization: Bearer KEY" in part) == ("security" in operation)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    for tag, attributes in Page(docs_page(make_document(HOSTILE))).tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "svg"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            assert name not in ("src", "style"), name
            assert name != "href" or str(value).startswith("#"), value
    assert "url(" not in docs_page(make_document())
    assert "@import" not in docs_page(make_document())


def test_links_lead_to_places_of_the_page() -> None:
    tags = Page(docs_page(make_document())).tags
    places = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(places) == len(set(places))
    links = [str(attributes["href"])[1:] for tag, attributes in tags if tag == "a"]
    assert links
    assert set(links) <= set(places)


def test_the_policy_allows_the_pages_own_style_and_a_form_to_here() -> None:
    styles = re.findall(r"<style>(.*?)</style>", docs_page(make_document()), re.DOTALL)
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in CSP
    rules = dict(rule.strip().split(" ", 1) for rule in CSP.split(";"))
    assert rules.pop("style-src")
    assert rules == {
        "default-src": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }


def test_a_hostile_model_name_is_only_text() -> None:
    page = docs_page(make_document(HOSTILE))
    assert "<script" not in page
    assert HOSTILE in unescape(page)


def test_the_form_is_there_only_where_a_browser_can_use_it() -> None:
    forms = [attributes for tag, attributes in Page(docs_page(make_document())).tags if tag == "form"]
    assert forms == [{"method": "post", "action": "/v1/predict", "enctype": "multipart/form-data"}]
    assert "<form" not in docs_page(make_document(needs_key=True))


@pytest.mark.parametrize("model", ["PP-LCNet_x1_0", "a 'quoted' name; rm -rf /"])
def test_every_curl_line_is_one_command_to_a_route(model: str) -> None:
    page = docs_page(make_document(model, needs_key=True), url="http://127.0.0.1:8866/")
    lines = [unescape(each) for each in re.findall(r"<pre><code>(curl .*?)</code></pre>", page)]
    assert len(lines) >= len(ROUTES)
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/?]+", path) + r"(\?top_k=1)?") for path in ROUTES]
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "curl"
        address = words[-1].removeprefix("http://127.0.0.1:8866")
        assert any(pattern.fullmatch(address) for pattern in patterns), line
        if "-d" in words:
            assert json.loads(words[words.index("-d") + 1])


def test_both_colour_schemes_have_contrast() -> None:
    """At least 4.5 : 1 (WCAG 2.2, 1.4.3), of text on the page and on the softer ground of code."""
    style = docs_page(make_document()).partition("<style>")[2].partition("</style>")[0]
    schemes = re.findall(r":root \{([^}]*)\}", style)
    assert len(schemes) == 2
    for scheme in schemes:
        colour = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", scheme))
        for ground in ("back", "soft"):
            for text in ("fore", "note", "get", "post", "bad"):
                assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)


def contrast(first: str, second: str) -> float:
    """WCAG 2's contrast ratio of two sRGB colours."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_document_is_packaged_beside_its_reader() -> None:
    import garbage_cli.server.openapi as reader

    assert Path(reader.__file__).with_suffix(".yaml").is_file()
