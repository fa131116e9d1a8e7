"""A writer of stored RAR 5 archives, after the format's public description; enough for tests."""

import zlib
from collections.abc import Mapping
from pathlib import Path

SIGNATURE = b"Rar!\x1a\x07\x01\x00"


def write(path: Path, files: Mapping[str, bytes], *, crc_error: bool = False, compressed: bool = False) -> Path:
    """Write files, each stored (or so it says), in the given order."""
    blocks = [_header(_vint(1) + _vint(0) + _vint(0))]
    for name, data in files.items():
        blocks.append(_file(name.encode(), data, crc_error, compressed))
    path.write_bytes(SIGNATURE + b"".join(blocks) + _header(_vint(5) + _vint(0) + _vint(0)))
    return path


def _file(name: bytes, data: bytes, crc_error: bool, compressed: bool) -> bytes:
    crc = (zlib.crc32(data) ^ crc_error).to_bytes(4, "little")
    flags, attributes, method, unix = 0x0004, 0o100644, 3 << 7 if compressed else 0, 1
    fields = _vint(flags) + _vint(len(data)) + _vint(attributes) + crc + _vint(method) + _vint(unix)
    has_data = 0x0002
    return _header(_vint(2) + _vint(has_data) + _vint(len(data)) + fields + _vint(len(name)) + name) + data


def _header(content: bytes) -> bytes:
    sized = _vint(len(content)) + content
    return zlib.crc32(sized).to_bytes(4, "little") + sized


def _vint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
