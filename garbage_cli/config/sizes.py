"""Sizes in bytes, as people write and read them."""

import re

from garbage_cli.errors import ConfigError

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse_size(text: str) -> int:
    """Return the bytes of 200G, 1.5T, 800MB or 1000 (units of 1,024); raise ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    size = float(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not 1 <= size < 2**63:
        raise ConfigError(f"{text!r} is no size; give one such as 200G, 1.5T or 800M")
    return round(size)


def human(size: float) -> str:
    """64.0 GiB, 3 bytes."""
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}" if unit != "KiB" or size >= 1 else f"{round(size * 1024)} bytes"
    return f"{size / 1024:.1f} TiB"
