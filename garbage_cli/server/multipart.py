"""The files of a multipart body. Works on bytes that are here already, so it can run in a thread."""

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from garbage_cli.prediction import Photo
from garbage_cli.wire import MAX_IMAGES, RequestError, parse_top_k

MAX_FIELDS = 1_000
"""Parts of a body that are no files."""


def read_files(body: bytes, content_type: str) -> list[Photo]:
    """Return each file part as a photo, by its file's name; raise RequestError if there is none."""
    return read_form(body, content_type)[0]


def read_form(body: bytes, content_type: str) -> tuple[list[Photo], int | None]:
    """Return the photos of `read_files`, and the field top_k where there is one."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise RequestError("the multipart body can't be read: its content type names no boundary")
    photos: list[Photo] = []
    ends: list[bool] = []
    fields: list[Field] = []
    asked: list[int | None] = []

    def note(field: Field) -> None:
        fields.append(field)
        if field.field_name == b"top_k":
            asked.append(parse_top_k((field.value or b"").decode("utf-8", "replace")))
        if len(fields) > MAX_FIELDS:  # a body of nothing else would keep a thread busy for half a minute
            raise RequestError(f"the multipart body holds over {MAX_FIELDS} fields that are no files; leave them out")

    def take(file: File) -> None:
        if len(photos) == MAX_IMAGES:
            raise RequestError(f"the multipart body holds over {MAX_IMAGES} files; send at most so many in one request")
        file.file_object.seek(0)
        name = (file.file_name or b"").decode("utf-8", "replace")
        photos.append(Photo(name or f"images[{len(photos)}]", file.file_object.read()))

    # all of it stays in memory: it is there already, and within the limit
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "MAX_BODY_SIZE": len(body) + 1}
    try:
        parser = FormParser(
            "multipart/form-data",
            note,
            take,
            on_end=lambda: ends.append(True),
            boundary=boundary,
            config=config,
        )
        parser.write(body)
        parser.finalize()
        parser.close()
    except RequestError:
        raise
    except (FormParserError, ValueError, AttributeError, TypeError, IndexError) as error:
        raise RequestError(f"the multipart body can't be read: {error}") from None
    if not ends:
        raise RequestError("the multipart body breaks off: its last boundary is missing")
    if not photos:
        raise RequestError("the multipart body holds no file; send each photo as a file part")
    return photos, asked[-1] if asked else None
