"""The API key that a server asks for, from a file: a command line is seen by everybody on the machine.

Knows the file. Does not know what the key opens.
"""

from pathlib import Path

from garbage_cli.errors import ConfigError

_LONGEST = 64 * 1024
"""Bytes of a key file that are read."""


def read_api_key(path: Path) -> str:
    """Return the first line that is neither blank nor a comment (`#`); raise ConfigError if there is none."""
    try:
        with path.open("rb") as file:  # a pipe too: its writer may be a password manager
            text = file.read(_LONGEST).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"can't read the API key file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the API key file {path} is not UTF-8 text") from None
    lines = (line.strip() for line in text.splitlines())
    key = next((line for line in lines if line and not line.startswith("#")), None)
    if key is not None and ": " in key:  # a line of the server's own file, with a name
        key = key.partition(": ")[2].strip()
    if not key:
        raise ConfigError(f"the API key file {path} is empty; put the key on its first line")
    if not all("!" <= letter <= "~" for letter in key):
        raise ConfigError(f"the key in {path} holds spaces or letters that no header can carry; is it another file?")
    return key
