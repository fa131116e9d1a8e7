"""The real server against its own OpenAPI document: with requests that it allows, and with ones that it does not.

schemathesis draws both from the document, and checks status, content type, headers and shape of each reply.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from conftest import COLOUR_LABELS
from hypothesis import HealthCheck
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from test_server import Server, serving

from garbage_cli import __version__
from garbage_cli.server.openapi import document

KEY = "0123456789abcdef"


def make_document(*, needs_key: bool = False) -> dict[str, Any]:
    """The document of a server with the colour bundle."""
    classes, shape = len(COLOUR_LABELS), (3, 32, 32)
    return document(version=__version__, model="Colours", classes=classes, input_shape=shape, needs_key=needs_key)


schema = schemathesis.openapi.from_dict(make_document())
# what has many alternatives is slow to draw, and some of what is drawn for it is thrown away
drawing = hypothesis.settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
)


@pytest.fixture(scope="module")
def server(colour_bundle: Path) -> Iterator[Server]:
    with serving(colour_bundle) as running:
        yield running


def check(case: schemathesis.Case, server: Server) -> None:
    """Send a request; all checks of schemathesis that can apply to it hold for the reply."""
    reply = case.call(base_url=server.url)
    assert reply.headers["x-request-id"]
    case.validate_response(reply, excluded_checks=_not_for(case))


def _not_for(case: schemathesis.Case) -> list[Any]:
    checks = []
    if case.media_type is not None:
        # random bytes and base64 fit the document and are no photos; no schema says how long the JSON of a body is
        checks.append(positive_data_acceptance)
    if case.path == "/predict/{module}":
        checks.append(negative_data_rejection)  # PaddleHub's errors have HTTP status 200
    if "top_k" in (case.query or {}) and isinstance(case.body, dict) and "top_k" in case.body:
        checks.append(negative_data_rejection)  # the query's top_k does not count beside the body's
    if case.path.endswith("/infer") and '"BYTES"' in json.dumps(case.body, default=str):
        checks.append(negative_data_rejection)  # a photo that is no good base64 fails alone, under HTTP status 200
    return checks


def test_the_server_gives_this_document(server: Server) -> None:
    assert httpx.get(f"{server.url}/openapi.json").json() == make_document()


@schema.parametrize()
@hypothesis.settings(drawing, max_examples=15, derandomize=True)
def test_replies_are_as_the_document_says(case: schemathesis.Case, server: Server) -> None:
    check(case, server)


@pytest.mark.slow
@schema.parametrize()
@hypothesis.settings(drawing, max_examples=400)
def test_replies_are_as_the_document_says_at_length(case: schemathesis.Case, server: Server) -> None:
    check(case, server)


def test_a_key_is_needed_where_the_document_says_so(colour_bundle: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(KEY)
    keys.chmod(0o600)
    whole = make_document(needs_key=True)
    with serving(colour_bundle, "--api-key-file", keys) as locked, httpx.Client(base_url=locked.url) as client:
        for path, methods in whole["paths"].items():
            for method, operation in methods.items():
                url = path.format(module="clas_system", model="Colours", version="1", name="style.css")
                bare = client.request(method, url)
                assert (bare.status_code == 401) == ("security" in operation), path
                for shown in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
                    assert client.request(method, url, headers=shown).status_code in (200, 400), path
        assert client.get("/openapi.json", headers={"x-api-key": KEY}).json() == whole
        assert "<form" not in client.get("/docs", headers={"x-api-key": KEY}).text


def test_the_page_comes_with_its_policy(server: Server) -> None:
    reply = httpx.get(f"{server.url}/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "/v1/predict" in reply.text
