"""What goes wrong in reading an archive, as one of three errors: a member, the rest of the archive, or all of it.

Knows how to say it. Does not know any format.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from garbage_cli.errors import ArchiveError, GarbageError

_LONGEST = 120


class MemberError(ArchiveError):
    """One member that can't be had, or may not be written; the others can."""

    def __init__(self, name: str, reason: str, *, remedy: str = "") -> None:
        super().__init__(f"member {shown(name)} {reason}")
        self.name, self.reason, self.remedy = name, reason, remedy

    def final(self, archive: Path) -> ArchiveError:
        """Return the error that ends it all, where nobody asked to keep going."""
        remedy = f"{self.remedy}, or keep" if self.remedy else "keep"
        return ArchiveError(f"{archive}: {self}; nothing was extracted; {remedy} the rest with --keep-going")


class RestError(ArchiveError):
    """The archive can't be read any further; what came before is whole."""


def damaged(name: str, why: object) -> MemberError:
    """Return the error of a member whose content can't be read."""
    return MemberError(name, f"is damaged ({plain(why)})", remedy="download it again")


def broken(archive: Path, why: object) -> RestError:
    """Return the error of an archive whose remaining members can't be reached."""
    return RestError(f"{archive} is damaged or incomplete: {plain(why)}; download it again")


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn whatever a library raises over a damaged archive into RestError.

    The libraries' own lists of what they raise are not complete: mutated archives gave ValueError, IndexError,
    UnicodeDecodeError, AssertionError and more.
    """
    try:
        yield
    except GarbageError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        raise broken(archive, error) from None


def shown(name: str) -> str:
    """Quote a stranger's name for a terminal: control characters escaped, and no longer than a line or two."""
    return repr(name) if len(name) <= _LONGEST else f"{name[:_LONGEST]!r}…"


def plain(error: object) -> str:
    """What a library says, on one line, with the control characters of names escaped."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= 2 * _LONGEST else f"{text[: 2 * _LONGEST]}…"
