"""`/` and `/page/…`: the files of the page at the bin.

Knows HTTP's caching and the headers of a page. Does not know what the page does.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from garbage_cli.page import CSP, INDEX, PERMISSIONS, WORKER, Asset, asset, assets
from garbage_cli.server.desk import Desk

SHELL = frozenset({"/", *(f"/page/{name}" for name in assets() if name != INDEX)})
"""The paths of the page's files. The index has but one: by another, what it names would be looked for elsewhere."""
_OF_INDEX = {
    "content-security-policy": CSP,
    "permissions-policy": PERMISSIONS,
    "referrer-policy": "no-referrer",
}
_OF_WORKER = {"service-worker-allowed": "../"}
"""It may look after the page above it. Browsers resolve this against the worker's own URL, so that it holds behind a
proxy under a path too."""


async def index(desk: Desk, request: Request) -> Response:
    """The page itself."""
    return _file(request, INDEX)


async def file(desk: Desk, request: Request) -> Response:
    """A file of the page, by its very name."""
    name = request.path_params["name"]
    if name == INDEX:
        raise _none()
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    found = asset(name)
    if found is None:
        raise _none()
    headers = {"etag": found.etag, "cache-control": "no-cache"}
    if name == INDEX:
        headers |= _OF_INDEX
    if name == WORKER:
        headers |= _OF_WORKER
    if _is_had(found, request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers | {"content-type": found.content_type})


def _none() -> HTTPException:
    return HTTPException(404, "the page has no such file")


def _is_had(found: Asset, known: list[str]) -> bool:
    """Whether one of the client's own copies is this one."""
    tags = [each.strip().removeprefix("W/") for line in known for each in line.split(",")]
    return found.etag in tags or "*" in tags
