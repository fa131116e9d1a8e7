"""The page of a server's OpenAPI document, for people: one file without scripts that loads nothing.

Knows OpenAPI and HTML. Does not know what the server does beyond its document.
"""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

Json = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1b1f24; --soft: #f2f4f6; --line: #ccd2d8; --note: #525c66; \
--get: #0b57a4; --post: #1a672e; --bad: #a3241c }
@media (prefers-color-scheme: dark) { :root { --back: #14181d; --fore: #e6e9ec; --soft: #1f252c; --line: #3c454f; \
--note: #a9b4bf; --get: #82bcff; --post: #74d391; --bad: #ff9b92 } }
* { box-sizing: border-box }
body { background: var(--back); color: var(--fore); font: 16px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", \
"Microsoft YaHei", sans-serif; margin: 0 auto; max-width: 62rem; overflow-wrap: anywhere; padding: 1rem }
h1 { font-size: 1.6rem; margin: 0 } h1 small, .note { color: var(--note); font-weight: 400 }
h2 { border-top: 1px solid var(--line); font-size: 1.25rem; margin: 2rem 0 0; padding-top: 1rem }
h3 { display: inline; font-size: 1rem; font-weight: 400 } h4 { font-size: .95rem; margin: 1rem 0 .25rem }
p { margin: .5rem 0 } a { color: var(--get) } nav a { display: inline-block; margin-right: 1rem; padding: .5rem 0 }
code, pre { font: .875rem/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, "Noto Sans Mono CJK SC", monospace }
pre { background: var(--soft); border-radius: .4rem; margin: .25rem 0 .75rem; padding: .6rem .75rem; \
white-space: pre-wrap }
form, details { border: 1px solid var(--line); border-radius: .5rem; margin: .75rem 0; padding: .25rem 1rem }
summary { cursor: pointer; margin: 0 -1rem; padding: .6rem 1rem } summary:hover { background: var(--soft) }
summary h3 code { font-size: 1rem; font-weight: 600 } summary .note { margin-left: .4rem }
.tag { border: 1px solid; border-radius: .3rem; display: inline-block; font-size: .75rem; font-weight: 700; \
margin-right: .4rem; padding: 0 .4rem }
.get { color: var(--get) } .post { color: var(--post) } .bad { color: var(--bad) }
ul { margin: 0; padding-left: 1.1rem } li { margin: .2rem 0 } ul.replies { list-style: none; padding: 0 }
input, button { font: inherit; margin: .4rem .6rem .4rem 0; max-width: 100%; min-height: 2.75rem }
button { background: var(--fore); border: 0; border-radius: .4rem; color: var(--back); cursor: pointer; \
padding: 0 1.25rem }
:focus-visible { outline: 3px solid var(--get); outline-offset: 2px }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CSP = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The page's Content-Security-Policy: its own style and a form to this server, nothing else."""

_CHINESE = re.compile("[\u2e80-\u9fff\uff00-\uffef]+(?:[^<>&]*[\u2e80-\u9fff\uff00-\uffef]+)?")
_DEEPEST = 6
_ERROR = "#/components/schemas/Error"
"""The shape that all errors share; the page tells it once, at the top."""


def docs_page(document: Json, *, url: str = "http://127.0.0.1:8866") -> str:
    """Return the page of a document; `url` is where its examples send requests."""
    info = document["info"]
    sections = [_section(document, tag, url) for tag in document["tags"]]
    links = [f'<a href="#{_id(tag["name"])}">{escape(tag["name"])}</a>' for tag in document["tags"]]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: API</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header>\n<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            _paragraphs(info["description"]),
            _keys(document),
            f"<nav>{' '.join(links)}</nav>\n</header>\n<main>",
            _form(document),
            *sections,
            "</main>\n</body>\n</html>\n",
        ]
    )


def _id(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower())


def _prose(text: str) -> str:
    """Text for the page; what is Chinese says so, for fonts and readers."""
    return _CHINESE.sub(lambda found: f'<span lang="zh-Hans">{found[0]}</span>', escape(text))


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{_prose(each)}</p>" for each in text.split("\n\n") if each.strip())


def _keys(document: Json) -> str:
    schemes = document["components"].get("securitySchemes", {}).values()
    ways = " or ".join(f"<code>{escape(each['description'])}</code>" for each in schemes)
    return f"<p>Routes marked <b>key</b> need an API key, sent as {ways}.</p>" if ways else ""


def _form(document: Json) -> str:
    """A form to try a photo; a browser's form can't send a key."""
    if document["components"].get("securitySchemes") or "/v1/predict" not in document["paths"]:
        return ""
    return (
        '<form method="post" action="/v1/predict" enctype="multipart/form-data">\n'
        f'<p><label for="photo">{_prose("Try a photo 试一张照片")}</label></p>\n'
        '<input id="photo" type="file" name="images" accept="image/*" multiple required>\n'
        f"<button>{_prose('Classify 分类')}</button>\n</form>"
    )


def _section(document: Json, tag: Json, url: str) -> str:
    routes = [
        _route(document, path, method, operation, url)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    heading = f'<h2 id="{_id(tag["name"])}">{escape(tag["name"])}</h2>'
    return "\n".join([f"<section>\n{heading}", _paragraphs(tag["description"]), *routes, "</section>"])


def _route(document: Json, path: str, method: str, operation: Json, url: str) -> str:
    opened = " open" if path == "/v1/predict" else ""
    key = '<span class="tag bad">key</span>' if operation.get("security") else ""
    return "\n".join(
        [
            f'<details id="{escape(operation["operationId"])}"{opened}>',
            f'<summary><h3><span class="tag {method}">{method.upper()}</span>{key}<code>{escape(path)}</code> '
            f'<span class="note">{_prose(operation["summary"])}</span></h3></summary>',
            _paragraphs(operation["description"]),
            _parameters(document, operation),
            _bodies(document, operation),
            *_curls(document, path, method, operation, url),
            _replies(document, operation),
            "</details>",
        ]
    )


def _resolved(document: Json, node: Json) -> Json:
    """What a node refers to, with what stands beside the reference."""
    if "$ref" not in node:
        return node
    found: Any = document
    for step in node["$ref"].removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return {**_resolved(document, found), **{key: value for key, value in node.items() if key != "$ref"}}


def _parameters(document: Json, operation: Json) -> str:
    rows = [_parameter(document, _resolved(document, each)) for each in operation.get("parameters", ())]
    return f"<h4>Parameters</h4>\n<ul>{''.join(rows)}</ul>" if rows else ""


def _parameter(document: Json, parameter: Json) -> str:
    need = "" if parameter.get("required") else ", optional"
    kind = f"{_kind(document, parameter['schema'])}, in the {parameter['in']}{need}"
    return _row(parameter["name"], kind, parameter["description"])


def _row(name: str, kind: str, description: str, inner: str = "") -> str:
    said = f": {_prose(description)}" if description else ""
    return f'<li><code>{escape(name)}</code> <span class="note">{escape(kind)}</span>{said}{inner}</li>'


def _bodies(document: Json, operation: Json) -> str:
    if "requestBody" not in operation:
        return ""
    body = _resolved(document, operation["requestBody"])
    rows = [_body(document, kind, media) for kind, media in body["content"].items()]
    return f"<h4>Body</h4>\n{_paragraphs(body.get('description', ''))}\n<ul>{''.join(rows)}</ul>"


def _body(document: Json, content_type: str, media: Json) -> str:
    schema = _resolved(document, media["schema"])
    inner = _shape(document, schema) + "".join(map(_example, media.get("examples", {}).values()))
    return _row(content_type, _kind(document, schema), schema.get("description", ""), inner)


def _example(example: Json) -> str:
    said = escape(json.dumps(example["value"], ensure_ascii=False))
    return f"<p>{_prose(example.get('summary', 'Example'))}</p><pre><code>{said}</code></pre>"


def _replies(document: Json, operation: Json) -> str:
    told: dict[str, str] = {_ERROR: ""}
    rows = [_reply(document, status, each, told) for status, each in operation["responses"].items()]
    return f'<h4>Replies</h4>\n<ul class="replies">{"".join(rows)}</ul>'


def _reply(document: Json, status: str, node: Json, told: dict[str, str]) -> str:
    reply = _resolved(document, node)
    colour = "post" if status.startswith("2") else "bad"
    kinds = reply.get("content", {})
    content = "".join(_reply_body(document, status, kind, media, told) for kind, media in kinds.items())
    return f'<li><span class="tag {colour}">{escape(status)}</span>{_prose(reply["description"])}{content}</li>'


def _reply_body(document: Json, status: str, content_type: str, media: Json, told: dict[str, str]) -> str:
    """The shape of a reply; one that was told before, under another status, is not told again."""
    name = media["schema"].get("$ref", "")
    if name in told:
        return f' <span class="note">The body is as under {told[name]}.</span>' if told[name] else ""
    if name:
        told[name] = status
    inner = _shape(document, media["schema"]) + "".join(map(_example, media.get("examples", {}).values()))
    return f' <span class="note"><code>{escape(content_type)}</code></span>{inner}'


def _shape(document: Json, schema: Json, depth: int = 0) -> str:
    """What is inside a schema, as nested lists."""
    if depth > _DEEPEST:
        return ""
    rows = "".join(_inside(document, _resolved(document, schema), depth + 1))
    return f"<ul>{rows}</ul>" if rows else ""


def _inside(document: Json, schema: Json, depth: int) -> Iterator[str]:
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        alternative = _resolved(document, each)
        title = alternative.get("title") or _kind(document, alternative)
        yield f"<li>{_prose(title)}{_shape(document, alternative, depth)}</li>"
    for name, each in schema.get("properties", {}).items():
        inner = _resolved(document, each)
        need = "" if name in schema.get("required", ()) else ", optional"
        yield _row(
            name, _kind(document, inner) + need, inner.get("description", ""), _shape(document, _item(inner), depth)
        )


def _item(schema: Json) -> Json:
    """What a list is made of; anything else itself."""
    item = schema.get("items", schema)
    return item if isinstance(item, Mapping) else schema


def _kind(document: Json, schema: Json) -> str:
    """A schema's type in a few words."""
    schema = _resolved(document, schema)
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema or "oneOf" in schema:
        return "one of these"
    kinds = schema.get("type", "anything")
    said = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if said == "array":
        return _list_kind(document, schema)
    said = {"binary": "file", "byte": "string in base64"}.get(schema.get("format", ""), said)
    return said + _range(schema.get("minimum"), schema.get("maximum"))


def _list_kind(document: Json, schema: Json) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(_kind(document, each) for each in schema['prefixItems'])}]"
    count = _range(schema.get("minItems"), schema.get("maxItems"))
    count = f" ({count.strip()})" if count else ""
    return f"list{count} of {_kind(document, schema['items'])}" if "items" in schema else f"list{count}"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if low == high:
        return f" {low}"
    if high is None:
        return f" from {low}"
    return f" to {high:g}" if low is None else f" {low} to {high:g}"


def _curls(document: Json, path: str, method: str, operation: Json, url: str) -> Iterator[str]:
    """A line for each kind of body, ready to be pasted into a shell."""
    start = ["curl"]
    if operation.get("security"):
        start += ["-H", "Authorization: Bearer KEY"]
    address = url.rstrip("/") + _filled_path(document, path, operation)
    content = _resolved(document, operation.get("requestBody", {})).get("content", {})
    if not content:
        lines = [[*start, *(["-X", method.upper()] if method != "get" else []), address]]
    else:
        sent = [_sent(content_type, media) for content_type, media in content.items()]
        lines = [[*start, *each, address] for each in sent if each]
    yield "<h4>curl</h4>"
    yield from (f"<pre><code>{escape(shlex.join(line))}</code></pre>" for line in lines)


def _sent(content_type: str, media: Json) -> list[str]:
    """How curl sends such a body; nothing for one that a line can't show."""
    if content_type == "multipart/form-data":
        return ["-F", "images=@photo.jpg", "-F", "images=@another.jpg"]
    named = ["-H", f"Content-Type: {content_type.replace('*', 'jpeg')}"]
    examples = [each["value"] for each in media.get("examples", {}).values()]
    if examples:
        return [*named, "-d", json.dumps(examples[0], ensure_ascii=False)]
    file = media["schema"].get("x-file")
    return [*named, "--data-binary", f"@{file}"] if file else []


def _filled_path(document: Json, path: str, operation: Json) -> str:
    """A path with the parameters' examples in their places."""
    asked = []
    for parameter in (_resolved(document, each) for each in operation.get("parameters", ())):
        values = [each["value"] for each in parameter.get("examples", {}).values()]
        value = quote(str((values or parameter["schema"].get("enum") or ["…"])[0]), safe="")
        if parameter["in"] == "query" and values:
            asked.append(f"{quote(parameter['name'])}={value}")
        elif parameter["in"] != "query":
            path = path.replace(f"{{{parameter['name']}}}", value)
    return path + ("?" + "&".join(asked) if asked else "")
