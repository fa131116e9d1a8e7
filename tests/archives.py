"""Writers of archives for tests, with names and flaws that proper programs would not write."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import py7zr
import pyzipper
import rar5
from backports import zstd

from garbage_cli.archive import extract

FILES = {"garbage/train.txt": b"./0/a.jpg 0\n", "garbage/0/照 片.jpg": b"\xff\xd8" * 5000}


def write_zip(path: Path, files: Mapping[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_aes_zip(path: Path, files: Mapping[str, bytes] = FILES, *, password: str) -> Path:
    with pyzipper.AESZipFile(path, "w", pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(password.encode())
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes] = FILES, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_tar_zst(path: Path, files: Mapping[str, bytes] = FILES) -> Path:
    write_tar(path, files, "w")
    path.write_bytes(zstd.compress(path.read_bytes()))
    return path


def write_7z(path: Path, files: Mapping[str, bytes] = FILES, **options: object) -> Path:
    """A solid archive; py7zr refuses unsafe names, so that they are put into its list afterwards."""
    written = io.BytesIO()  # a file would stay open if a name can't be encoded
    with py7zr.SevenZipFile(written, "w", **options) as archive:
        for number, data in enumerate(files.values()):
            archive.writestr(data, f"{number}")
        for info, name in zip(archive.header.files_info.files, files, strict=True):
            info["filename"] = name
    path.write_bytes(written.getvalue())
    return path


def write_loose_7z(path: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """An archive in which each member is packed by itself."""
    for number, (name, data) in enumerate(files.items()):
        with py7zr.SevenZipFile(path, "a" if number else "w") as archive:
            archive.writestr(data, name)
    return path


WRITERS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    "rar": rar5.write,
    "zip": write_zip,
    "7z": write_7z,
    "tar": lambda path, files: write_tar(path, files, "w"),
    "tar.gz": write_tar,
    "tar.xz": lambda path, files: write_tar(path, files, "w:xz"),
    "tar.bz2": lambda path, files: write_tar(path, files, "w:bz2"),
    "tar.zst": write_tar_zst,
}


def unpack(path: Path, out: Path, **options: object) -> dict[str, bytes]:
    for _ in extract(path, out, **options):  # type: ignore[arg-type]
        pass
    return content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_nothing_left(folder: Path, *kept: str) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(kept)


def flip(path: Path, place: int, bits: int = 0xFF) -> Path:
    data = bytearray(path.read_bytes())
    data[place] ^= bits
    path.write_bytes(data)
    return path


def flip_within(path: Path, text: bytes) -> Path:
    """Damage a stored content where it stands."""
    return flip(path, path.read_bytes().index(text))
