"""`/v1/corrections`: what a person says of a photo that the server has kept."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from garbage_cli import wire
from garbage_cli.collection import UnknownPhoto
from garbage_cli.server.desk import Desk, Refused
from garbage_cli.server.front import JSON, ticket_of
from garbage_cli.server.keeping import Stuck, is_foreign
from garbage_cli.wire import RequestError
from garbage_cli.wire.reading import is_whole, shown

MAX_BODY = 16 * 1024
EXAMPLE = '{"id": "<id>", "class_id": 3}'


async def correct(desk: Desk, request: Request) -> Response:
    """Take `{"id": "<id>", "class_id": 3}`, or null for none of the kinds. The answer itself is a confirmation.

    With "name", the class's name as the sender knows it, nothing moves if the class is another one by now.
    """
    body = await desk.read(request, ticket_of(request), limit=MAX_BODY)
    if is_foreign(request.headers, desk.options.cors):
        raise HTTPException(403, "a page of another site may not correct photos; --cors lets one")
    labels = desk.model.bundle.labels
    id_, class_id, name = _parse(body, classes=len(labels))
    if class_id is not None and name is not None and labels[class_id].name != name:
        known = labels[class_id].name
        raise HTTPException(409, f"class {class_id} is {known} here, not {shown(name)}; ask /v1/model for the classes")
    if desk.keeper is None:
        raise HTTPException(404, "no photos are kept here; that takes: garbage serve --collect DIR")
    try:
        correction = await desk.keeper.correct(id_, class_id, seconds=desk.options.timeout)
    except UnknownPhoto:
        raise HTTPException(404, f"no photo {shown(id_)} is kept here") from None
    except (OSError, Stuck) as error:
        reason = getattr(error, "strerror", None) or "its disk does not answer"
        message = f"the photo can't be moved ({reason}); try again later"
        raise Refused(503, message, "busy", retry_after=30) from None
    label = correction.label
    name, bin_name = (label.name, label.bin_name) if label else (None, None)
    value = {"id": id_, "class_id": class_id, "name": name, "bin": bin_name}
    return Response(wire.dumps(value), media_type=JSON)


def _parse(body: bytes, *, classes: int) -> tuple[str, int | None, str | None]:
    value = wire.parse_json(body, example=EXAMPLE)
    for key in ("id", "class_id"):
        if key not in value:
            raise RequestError(f'the key "{key}" is missing: {EXAMPLE}')
    id_, class_id = value["id"], value["class_id"]
    if not isinstance(id_, str):
        raise RequestError(f"id must be a string, not {shown(id_)}")
    if class_id is not None and not (is_whole(class_id) and 0 <= class_id < classes):
        raise RequestError(f"class_id must be null or a whole number from 0 to {classes - 1}, not {shown(class_id)}")
    name = value.get("name")
    if name is not None and not isinstance(name, str):
        raise RequestError(f"name must be a string, not {shown(name)}")
    return id_, class_id, name
