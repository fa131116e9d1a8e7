"""The two streams, and the words that all views share. Data goes to stdout, talk and bars to stderr."""

import json
import unicodedata
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from garbage_cli.labels import BIDI, Label

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

WIDE = 100
"""Columns from which a table has room for kinds in English too."""


def show_error(message: str) -> None:
    """Write one line on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), plain(" ".join(message.split()))), soft_wrap=True)


def say(message: str) -> None:
    """Write a line of talk on stderr."""
    err.print(escape(plain(message)), soft_wrap=True)


def plain(text: str) -> str:
    """The text with what would steer the terminal, or is no text, as codes: names come from strangers."""
    return "".join(
        ascii(char)[1:-1] if unicodedata.category(char) in _STEERING or char in BIDI else char for char in text
    )


_STEERING = ("Cc", "Cs", "Zl", "Zp")


def count(number: int, thing: str) -> str:
    """1 photo, 2 photos; 1 entry, 2 entries."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number} {thing if number == 1 else plural}"


def print_json(value: Any) -> None:
    """Write one line of JSON on stdout, Chinese unescaped."""
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201 - rich would wrap it


def label_text(label: Label) -> Text:
    """可回收物 Recyclable → 易拉罐 drink can, the bin in its colour."""
    text = bin_text(label)
    text.append(" → ")
    text.append(label.name, "bold")
    text.append(f" {label.english}" if label.english else "")
    return text


def bin_text(label: Label) -> Text:
    """The bin as the data set names it, with its English name, in its colour."""
    if label.bin is None:
        return Text(label.bin_name or "?")
    return Text(f"{label.bin_name} {label.bin.english}", style=f"bold {label.bin.colour}")


def percent(share: float) -> str:
    """98.2 %."""
    return f"{share * 100:.1f} %"


def duration(seconds: float) -> str:
    """1:02:03, or 4:05 under an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
