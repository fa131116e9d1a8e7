"""How much may come out, and what a full disk does."""

import errno
import gzip
import io
import subprocess
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from archives import FILES, WRITERS, assert_nothing_left, unpack, write_tar_zst, write_zip

from garbage_cli.archive import Limits, limits
from garbage_cli.config import human, parse_size
from garbage_cli.errors import ArchiveError, ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [("200G", 200 * 1024**3), ("1.5T", 1536 * 1024**3), ("800MB", 800 * 1024**2), ("3 KiB", 3072), ("1000", 1000)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "1E", "1,5G", "nan", "1GG", "٣"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match="is no size; give one such as 200G"):
        parse_size(text)


def test_sizes_are_shown_in_the_nearest_unit() -> None:
    assert [human(size) for size in (0, 3, 2048, 64 * 1024**3, 5 * 1024**4)] == [
        "0 bytes", "3 bytes", "2.0 KiB", "64.0 GiB", "5.0 TiB"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("limit", "option"),
    [
        (Limits(max_bytes=999_999, max_ratio=1e9), "--max-size"),
        (Limits(max_members=1, max_ratio=1e9), "--max-members"),
        (Limits(max_ratio=0.5), "--max-ratio"),
    ],
)
def test_each_limit_holds_in_each_format_even_with_keep_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, limit: Limits, option: str
) -> None:
    monkeypatch.setattr(limits, "FREE_RATIO", 1000)
    path = WRITERS[kind](tmp_path / "a", {"a": bytes(500_000), "b": bytes(500_000)})
    with pytest.raises(ArchiveError, match=f"raise the limit with {option}"):
        unpack(path, tmp_path / "out", limits=limit, keep_going=True)
    assert_nothing_left(tmp_path, "a")


def test_a_bomb_is_stopped_by_what_comes_out_where_nothing_is_declared(tmp_path: Path) -> None:
    path = write_tar_zst(tmp_path / "bomb.tar.zst", {"zeros": bytes(120 * 1024**2)})
    assert path.stat().st_size < 100_000
    with pytest.raises(ArchiveError, match=r"more than 200 times its own size.*--max-ratio"):
        unpack(path, tmp_path / "out")
    assert_nothing_left(tmp_path, "bomb.tar.zst")


def test_little_may_be_compressed_as_much_as_it_likes(tmp_path: Path) -> None:
    assert unpack(write_zip(tmp_path / "a.zip", {"zeros": bytes(5_000_000)}), tmp_path / "out")


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("kind", WRITERS)
def test_space_is_checked_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda folder: Usage(10_000, 9_900, 100))
    path = WRITERS[kind](tmp_path / "a", FILES)
    with pytest.raises(ArchiveError, match=r"not enough space for .*out: .* are needed and 100 bytes are free"):
        unpack(path, tmp_path / "deep" / "out")
    assert_nothing_left(tmp_path, "a")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("keep_going", [False, True])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, keep_going: bool
) -> None:
    path, left = WRITERS[kind](tmp_path / "a", FILES), [5000]
    opening = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            left[0] -= len(data)
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

    def filling(self: Path, mode: str = "r", **options: Any) -> Any:
        return Full(opening(self, mode)) if mode == "xb" else opening(self, mode, **options)

    monkeypatch.setattr(Path, "open", filling)
    with pytest.raises(ArchiveError, match=r"no space left for .*out .*make room"):
        unpack(path, tmp_path / "out", keep_going=keep_going)
    assert_nothing_left(tmp_path, "a")


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_is_really_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        path = WRITERS[kind](tmp_path / "a", {"a": bytes(600_000), "b": bytes(600_000)})
        with pytest.raises(ArchiveError, match=r"no space left|not enough space"):
            unpack(path, disk / "out")
        monkeypatch.setattr(limits.shutil, "disk_usage", lambda folder: Usage(1, 1, 1 << 40))
        with pytest.raises(ArchiveError, match=r"no space left"):
            unpack(path, disk / "out")
        assert_nothing_left(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("kind", ["rar", "zip", "7z"])
def test_what_an_archive_declares_is_checked_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("garbage_cli.archive.staged_folder", lambda *given, **options: pytest.fail("was written"))
    path = WRITERS[kind](tmp_path / "a", {"a": b"1" * 500, "b": b"2" * 500})
    for limit in (Limits(max_bytes=999), Limits(max_members=1)):
        with pytest.raises(ArchiveError, match="raise the limit"):
            unpack(path, tmp_path / "out", limits=limit)


@pytest.mark.parametrize("where", ["behind the end", "in a member that is passed over"])
def test_what_a_stream_unfolds_into_unseen_counts_too(tmp_path: Path, where: str) -> None:
    """160 MiB of zeros that no member holds that is kept."""
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=9) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:  # type: ignore[arg-type]
            good = tarfile.TarInfo("good")
            good.size = 1
            archive.addfile(good, io.BytesIO(b"1"))
            if where.startswith("in"):
                evil = tarfile.TarInfo("../evil")
                evil.size = 160 << 20
                archive.addfile(evil, Zeros())
        if where.startswith("behind"):
            for _ in range(160):
                packed.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match="--max-ratio"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", keep_going=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


class Zeros(io.RawIOBase):
    """As many zeros as anybody asks for."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_a_limit_counts_folders_too(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a/": b"", "b/": b"", "c/": b"", "d": b"1"})
    with pytest.raises(ArchiveError, match="more than 3 members"):
        unpack(path, tmp_path / "out", limits=Limits(max_members=3))
