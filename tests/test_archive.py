import contextlib
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rar5
from hypothesis import given
from hypothesis import strategies as st

from garbage_cli.archive import Limits, extract
from garbage_cli.errors import ArchiveError

FILES = {"garbage/train.txt": b"./0/a.jpg 0\n", "garbage/0/照 片.jpg": b"\xff\xd8" * 5000}


def write_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes] = FILES, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def unpack(path: Path, out: Path, **options: object) -> dict[str, bytes]:
    for _ in extract(path, out, **options):  # type: ignore[arg-type]
        pass
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def assert_nothing_left(folder: Path, *kept: str) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(kept)


@pytest.mark.parametrize(
    "write",
    [
        rar5.write,
        write_zip,
        write_tar,
        lambda p, f: write_tar(p, f, "w:xz"),
        lambda p, f: write_tar(p, f, "w:bz2"),
        lambda p, f: write_tar(p, f, "w"),
    ],
    ids=["rar", "zip", "tar.gz", "tar.xz", "tar.bz2", "tar"],
)
def test_every_format_unpacks_whatever_its_name(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "renamed.bin", FILES)
    assert unpack(path, tmp_path / "out") == FILES
    assert_nothing_left(tmp_path, "out", "renamed.bin")


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    members = list(extract(write_zip(tmp_path / "a.zip"), tmp_path / "out"))
    assert [member.name for member in members] == list(FILES)
    assert members[-1].done == members[-1].total == sum(map(len, FILES.values()))


def test_names_that_windows_wrote_in_gbk_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gbk.zip"
    write_zip(path, {"XXXX.jpg": b"1"})
    path.write_bytes(path.read_bytes().replace(b"XXXX", "垃圾".encode("gbk")))
    assert list(unpack(path, tmp_path / "out")) == ["垃圾.jpg"]


EVIL = ["../evil", "/evil", "a/../../evil", "C:\\evil", "..\\evil", "a\\..\\..\\evil", "x" * 300]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("write", [rar5.write, write_zip, write_tar], ids=["rar", "zip", "tar"])
def test_a_member_that_would_leave_the_folder_stops_it_all(
    tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    path = write(tmp_path / "a", {"good": b"1", name: b"2"})
    with pytest.raises(ArchiveError, match=r"nothing was extracted|damaged"):
        unpack(path, tmp_path / "deep" / "out")
    assert_nothing_left(tmp_path, "a", "deep")
    assert_nothing_left(tmp_path / "deep")


@given(name=st.text(min_size=1, max_size=40))
def test_no_name_at_all_writes_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    tmp_path = tmp_path_factory.mktemp("fuzz")
    try:
        path = write_tar(tmp_path / "a.tar", {name: b"data"}, "w")
    except UnicodeEncodeError:  # not a name that a tar archive can hold
        return
    with contextlib.suppress(ArchiveError):
        unpack(path, tmp_path / "deep" / "out")
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and (tmp_path / "deep" / "out") not in p.parents]
    assert outside == [tmp_path / "a.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="'link' is a link or device"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert_nothing_left(tmp_path, "a.tar")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_an_archive_that_unfolds_too_far_is_stopped(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {"zeros": bytes(5_000_000)})
    assert path.stat().st_size < 10_000
    with pytest.raises(ArchiveError, match="unfolds into more than 976.6 KiB.*--max-size"):
        unpack(path, tmp_path / "out", limits=Limits(max_bytes=1_000_000))
    with pytest.raises(ArchiveError, match="more than 1 members.*--max-members"):
        unpack(write_zip(tmp_path / "many.zip"), tmp_path / "out", limits=Limits(max_members=1))
    assert_nothing_left(tmp_path, "bomb.zip", "many.zip")


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = rar5.write(tmp_path / "a.rar", FILES, crc_error=True)
    with pytest.raises(ArchiveError, match=r"a\.rar: member 'garbage/train\.txt' is damaged"):
        unpack(path, tmp_path / "out")
    data = bytearray(write_zip(tmp_path / "a.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"a\.zip: member .* is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert_nothing_left(tmp_path, "a.rar", "a.zip")


@pytest.mark.parametrize("write", [rar5.write, write_zip, write_tar], ids=["rar", "zip", "tar"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_archive_is_an_error_and_leaves_nothing(
    tmp_path: Path, write: Callable[..., Path], part: float
) -> None:
    path = write(tmp_path / "a", {name: os.urandom(20_000) for name in FILES})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(ArchiveError, match="download it again"):
        unpack(path, tmp_path / "out")
    assert_nothing_left(tmp_path, "a")


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "it is empty"), (b"<!DOCTYPE html><html>", "web page"), (b"\x89PNG\r\n\x1a\n0000", "89 50 4e 47")],
)
def test_what_is_no_archive_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "garbage.rar").write_bytes(data)
    with pytest.raises(ArchiveError, match=said):
        unpack(tmp_path / "garbage.rar", tmp_path / "out")


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path, out = write_zip(tmp_path / "a.zip"), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(ArchiveError, match="--force"):
        unpack(path, out)
    assert (out / "mine.txt").read_text() == "precious"
    assert unpack(path, out, force=True) == FILES
    assert_nothing_left(tmp_path, "a.zip", "out")


def test_force_does_not_delete_a_folder_that_holds_the_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    with pytest.raises(ArchiveError, match="would delete"):
        unpack(path, tmp_path, force=True)
    assert path.is_file()


def test_a_failure_with_force_keeps_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    unpack(write_zip(tmp_path / "a.zip"), out)
    with pytest.raises(ArchiveError):
        unpack(write_zip(tmp_path / "b.zip", {"ok": b"1", "../evil": b"2"}), out, force=True)
    assert (out / "garbage" / "train.txt").is_file()


def test_stopping_half_way_leaves_nothing(tmp_path: Path) -> None:
    members = extract(write_zip(tmp_path / "a.zip"), tmp_path / "out")
    next(members)
    members.close()  # type: ignore[attr-defined]
    assert_nothing_left(tmp_path, "a.zip")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for data in (b"1", b"2"):
            info = tarfile.TarInfo("same")
            info.size = 1
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(ArchiveError, match="there twice"):
        unpack(path, tmp_path / "out")


def three_members() -> dict[str, bytes]:
    return {f"{i}.bin": os.urandom(1024) for i in range(3)}


def test_a_tar_cut_between_two_members_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", three_members(), "w")
    path.write_bytes(path.read_bytes()[: 512 + 1024])
    with pytest.raises(ArchiveError, match="breaks off between two members"):
        unpack(path, tmp_path / "out")
    assert_nothing_left(tmp_path, "a.tar")


def test_a_tar_with_a_damaged_header_in_the_midst_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", three_members(), "w")
    data = bytearray(path.read_bytes())
    data[512 + 1024 + 150] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="breaks off between two members"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_flipped_bit_in_a_compressed_tar_is_found(tmp_path: Path, mode: str) -> None:
    for position in (0.2, 0.5, 0.8, 0.97):
        path = write_tar(tmp_path / "a.tar", three_members(), mode)
        data = bytearray(path.read_bytes())
        data[int(len(data) * position)] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match="download it again"):
            unpack(path, tmp_path / "out")
        assert_nothing_left(tmp_path, "a.tar")


def test_a_tar_that_windows_wrote_in_gbk_is_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", encoding="gbk", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("垃圾.jpg")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"1"))
    assert unpack(tmp_path / "a.tar", tmp_path / "out") == {"垃圾.jpg": b"1"}


def test_a_gigabyte_for_a_name_is_refused_unread(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(ArchiveError, match="1,073,741,824 bytes for a name"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_names_too_deep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="too deep"):
        unpack(write_zip(tmp_path / "a.zip", {"d/" * 1900 + "f": b"1"}), tmp_path / "out")


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["rar", "zip", "tar"]))
def test_no_damage_raises_anything_but_archive_error(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    random = np.random.default_rng(seed)
    write = {"rar": rar5.write, "zip": write_zip, "tar": write_tar}[kind]
    data = bytearray(write(tmp_path / "a", {f"{i}.bin": bytes(300) for i in range(3)}).read_bytes())
    for place in random.integers(0, len(data), int(random.integers(1, 6))):
        data[place] = int(random.integers(256))
    (tmp_path / "a").write_bytes(data)
    with contextlib.suppress(ArchiveError):
        unpack(tmp_path / "a", tmp_path / "out")
