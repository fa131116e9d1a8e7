import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import rar5
from archives import FILES, WRITERS, assert_nothing_left, unpack, write_tar, write_zip

from garbage_cli.archive import Limits, extract
from garbage_cli.errors import ArchiveError


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
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


EVIL = ["../evil", "/evil", "a/../../evil", "C:\\evil", "C:evil", "..\\evil", "a\\..\\..\\evil", "x" * 300]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_member_that_would_leave_the_folder_stops_it_all(
    tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    path = write(tmp_path / "a", {"good": b"1", name: b"2"})
    with pytest.raises(ArchiveError, match=r"nothing was extracted|damaged"):
        unpack(path, tmp_path / "deep" / "out")
    assert_nothing_left(tmp_path, "a")


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
    with pytest.raises(ArchiveError, match=r"unfolds into more than 976\.6 KiB.*--max-size"):
        unpack(path, tmp_path / "out", limits=Limits(max_bytes=1_000_000))
    with pytest.raises(ArchiveError, match=r"more than 1 members.*--max-members"):
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


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_archive_is_an_error_and_leaves_nothing(
    tmp_path: Path, write: Callable[..., Path], part: float
) -> None:
    path = write(tmp_path / "a", {name: os.urandom(100_000) for name in FILES})
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


def test_a_target_that_can_not_be_made_a_folder_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "a.zip")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path / "empty")
    for out in (Path(), Path("../empty"), Path("x/..")):
        with pytest.raises(ArchiveError, match="is the folder you are in"):
            unpack(path, out)
    for name in ("link", "dangling"):
        with pytest.raises(ArchiveError, match="is a link"):
            unpack(path, tmp_path / name)
    assert_nothing_left(tmp_path, "a.zip", "dangling", "empty", "link")


def test_folders_made_for_a_target_that_failed_go_again(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"good": b"1", "../evil": b"2"})
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "new" / "deep" / "out")
    assert_nothing_left(tmp_path, "a.zip")


def test_what_is_no_regular_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.rar")
    with pytest.raises(ArchiveError, match="is no regular file"):
        unpack(tmp_path / "pipe.rar", tmp_path / "out")


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


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "tar.bz2", "7z", "rar"])
def test_a_flipped_bit_in_a_format_with_check_sums_is_found(tmp_path: Path, kind: str) -> None:
    for position in (0.2, 0.5, 0.8, 0.97):
        path = WRITERS[kind](tmp_path / "a.tar", three_members())
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
