"""The files of the page at the bin, as text: what they name is there, and nothing needs what the policy forbids."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

PAGE = Path(__file__).parents[1] / "garbage_cli" / "page"
SCRIPTS = sorted(PAGE.glob("*.js"))
HTML = (PAGE / "index.html").read_text("utf-8")
CODE = "\n".join(path.read_text("utf-8") for path in SCRIPTS)
HOOKS = {
    *(
        "view",
        "shoot",
        "flip",
        "pick",
        "file",
        "again",
        "mute",
        "why",
        "notice",
        "right",
        "wrong",
        "kinds",
        "collecting",
    ),
    *("answer", "answer-bin", "answer-kind", "answer-score", "answer-others", "answer-how"),
    *("open-history", "history", "counts", "answers", "clear"),
    *("open-settings", "settings", "language", "region", "handsfree", "collect", "key"),
}
WORD = re.compile(r'^  (\w+): \["(.*)", "(.*)"\],$', re.MULTILINE)


class Elements(HTMLParser):
    """The elements of the page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(HTML)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.found if attribute in attributes]


ELEMENTS = Elements()


def test_an_id_is_there_once_and_what_refers_to_it_finds_it() -> None:
    ids = Counter(ELEMENTS.all("id"))
    assert [name for name, times in ids.items() if times > 1] == []
    named = re.findall(r'(?:\$|getElementById)\("([\w-]+)"\)', CODE)
    named += re.findall(r'#((?:icon|sign)-\w+)"', CODE)
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        named += [name for value in ELEMENTS.all(attribute) for name in value.split()]
    named += [value[1:] for value in ELEMENTS.all("href") if value.startswith("#")]
    assert sorted(set(named) - set(ids)) == []
    assert sorted(HOOKS - set(ids)) == []


def test_every_word_is_there_in_both_languages_and_is_used() -> None:
    words = {name: pair for name, *pair in WORD.findall((PAGE / "words.js").read_text("utf-8"))}
    assert len(words) > 40
    assert [name for name, pair in words.items() if not all(pair)] == []
    assert [name for name, (zh, en) in words.items() if re.findall(r"{\d}", zh) != re.findall(r"{\d}", en)] == []
    named = {*ELEMENTS.all("data-t"), *ELEMENTS.all("data-t-label")}
    assert named - set(words) == set()
    quoted = {*re.findall(r'"(\w+)"', CODE), *named}
    assert set(words) - quoted == set()
    assert set(re.findall(r'\bt\("(\w+)"', CODE)) - set(words) == set()


def test_the_chinese_in_the_page_is_the_chinese_of_the_words() -> None:
    words = {name: zh for name, zh, _ in WORD.findall((PAGE / "words.js").read_text("utf-8"))}
    shown = dict(re.findall(r'data-t="(\w+)"[^>]*>([^<]+)<', HTML))
    assert shown
    assert {name: text for name, text in shown.items() if words[name] != text} == {}


def test_modules_import_what_the_others_give() -> None:
    gives = {
        path.name: set(
            re.findall(r"^export (?:async )?(?:const|let|function|class) ([\w$]+)", path.read_text("utf-8"), re.M)
        )
        for path in SCRIPTS
    }
    for path in SCRIPTS:
        for names, source in re.findall(r'import \{([^}]*)\} from "\./([\w.]+)"', path.read_text("utf-8")):
            assert {name.split(" as ")[0].strip() for name in names.split(",")} <= gives[source], path.name
        for alias, source in re.findall(r'import \* as (\w+) from "\./([\w.]+)"', path.read_text("utf-8")):
            used = set(re.findall(rf"(?<![\w./]){alias}\.(\w+)", path.read_text("utf-8")))
            assert used <= gives[source], path.name


@pytest.mark.parametrize(
    "forbidden", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_no_script_makes_code_or_markup_of_text(forbidden: str) -> None:
    assert forbidden not in CODE


def test_the_html_holds_no_script_or_style_of_its_own() -> None:
    assert [tag for tag, attributes in ELEMENTS.found if tag == "script" and "src" not in attributes] == []
    assert [tag for tag, _ in ELEMENTS.found if tag == "style"] == []
    assert [
        name for _, attributes in ELEMENTS.found for name in attributes if name == "style" or name[:2] == "on"
    ] == []


def test_the_icons_are_what_the_manifest_says() -> None:
    manifest = json.loads((PAGE / "manifest.webmanifest").read_text("utf-8"))
    assert {"start_url", "scope", "name", "short_name", "display"} <= set(manifest)
    for icon in manifest["icons"]:
        if icon["type"] == "image/png":
            with Image.open(PAGE / icon["src"]) as picture:
                assert f"{picture.width}x{picture.height}" == icon["sizes"]
        else:
            assert (PAGE / icon["src"]).read_text("utf-8").startswith("<svg")
    assert any("maskable" in icon["purpose"] for icon in manifest["icons"])
