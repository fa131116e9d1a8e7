"""The password of an archive: asked for once, and only if there is need.

Knows when to ask. Does not know how: that is the caller's.
"""

from collections.abc import Callable
from pathlib import Path

from garbage_cli.errors import ArchiveError


class Password:
    """What opens one archive."""

    def __init__(self, ask: Callable[[], str | None], archive: Path) -> None:
        self._ask, self._archive = ask, archive
        self._given: str | None = None
        self.proved = False
        """Something has been decrypted with it, check sum and all: what fails after that is damaged."""

    def get(self) -> str:
        """Return it; raise ArchiveError if nobody gives one."""
        if self._given is None:
            self._given = self._ask()
        if not self._given:
            raise ArchiveError(f"{self._archive} is encrypted; give its password with --password-file FILE")
        return self._given

    def wrong(self) -> ArchiveError:
        """Return the error of a password that certainly does not fit."""
        return ArchiveError(f"the password of {self._archive} is wrong; nothing was extracted")

    def doubtful(self) -> ArchiveError:
        """Return the error for formats that can't tell a wrong password from damage."""
        return ArchiveError(f"{self._archive} is damaged, or the password is wrong; nothing was extracted")


def read_password(path: Path) -> str:
    """Return the first line of a file; raise ArchiveError if there is none."""
    try:
        with path.open(encoding="utf-8-sig", newline=None) as file:
            password = file.readline().removesuffix("\n")
    except UnicodeDecodeError:
        raise ArchiveError(f"the password file {path} is not UTF-8 text") from None
    except OSError as error:
        raise ArchiveError(f"can't read the password file {path}: {error.strerror}") from None
    if not password:
        raise ArchiveError(f"the password file {path} is empty; put the password on its first line")
    return password
