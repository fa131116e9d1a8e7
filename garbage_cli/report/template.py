"""Values → one HTML file that loads nothing and runs nothing but its own sorting of tables.

Knows jinja2, escaping and the content security policy. Does not know what is on a page.
"""

import base64
import hashlib
import unicodedata
from importlib import resources
from typing import Any

from garbage_cli.dataset.text import printable
from garbage_cli.errors import MissingExtraError
from garbage_cli.labels import BIDI
from garbage_cli.report import charts, heat, words


def render(name: str, **values: Any) -> str:
    """Fill a template of this room with values; every text in them is escaped, and fit to print."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise MissingExtraError("the page of an evaluation", package="jinja2", extra="evaluate") from None
    environment = Environment(
        loader=FunctionLoader(read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_finalize,
    )  # fmt: skip
    for function in (words.percent, words.interval, words.points, words.points_interval, words.photos, words.bin_of,
                     words.kind_text):  # fmt: skip
        environment.filters[function.__name__] = function
    environment.filters["key"] = heat.KEYS.__getitem__
    environment.globals |= {
        "style": Markup(read("style.css")),
        "script": Markup(read("sort.js")),
        "script_hash": source_hash(read("sort.js")),
        "colours": heat.COLOURS,
        "size": (charts.WIDTH, charts.HEIGHT),
    }
    return environment.get_template(name).render(**values)


def read(name: str) -> str:
    """Return a file of this room's templates."""
    return resources.files("garbage_cli.report").joinpath("templates", name).read_text(encoding="utf-8")


def source_hash(script: str) -> str:
    """Return what a content security policy calls this script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _finalize(value: object) -> object:
    """A plain text with what would steer the page, or is no text, as codes; markup is left alone."""
    return readable(value) if type(value) is str else value


def readable(text: str) -> str:
    """Return a text with control characters, and those that turn the order of others, as codes like `\\u202e`."""
    return printable("".join(_as_code(char) if _steers(char) else char for char in text))


def _steers(char: str) -> bool:
    """Also half characters that stand for no byte: JSON can hold them. Those that do are told as the byte."""
    if "\udc80" <= char <= "\udcff":
        return False
    return char in BIDI or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _as_code(char: str) -> str:
    return ascii(char)[1:-1]
