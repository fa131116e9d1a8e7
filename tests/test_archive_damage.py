"""Archives that are damaged, or in part beyond us: what is said, and what --keep-going keeps."""

import contextlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rar5
from archives import (
    WRITERS,
    assert_nothing_left,
    content,
    flip,
    flip_within,
    unpack,
    write_7z,
    write_loose_7z,
    write_tar,
    write_zip,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from garbage_cli.archive import Member, Skipped, extract
from garbage_cli.errors import ArchiveError, MissingExtraError

THREE = {f"{i}.bin": bytes([i]) * 300 for i in range(3)}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), keep_going=st.booleans())
def test_no_damage_raises_anything_but_archive_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, keep_going: bool
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    random = np.random.default_rng(seed)
    data = bytearray(WRITERS[kind](folder / "a", THREE).read_bytes())
    for place in random.integers(0, len(data), int(random.integers(1, 6))):
        data[place] = int(random.integers(256))
    (folder / "a").write_bytes(data[: int(random.integers(len(data) // 2, len(data) + 1))])
    try:
        found = unpack(folder / "a", folder / "out", keep_going=keep_going)
    except ArchiveError:
        assert_nothing_left(folder, "a")
    else:
        assert_nothing_left(folder, "a", "out")
        assert any(found.values())


@pytest.mark.parametrize("kind", ["rar", "7z"])
@given(place=st.integers(0, 10_000))
@settings(max_examples=40)
def test_where_all_is_under_check_sums_no_damage_passes_unseen(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    path = WRITERS[kind](folder / "a", THREE)
    flip(path, place % path.stat().st_size)
    with contextlib.suppress(ArchiveError):
        assert unpack(path, folder / "out") == THREE


def kept(path: Path, out: Path) -> tuple[dict[str, bytes], list[Skipped]]:
    reports = list(extract(path, out, keep_going=True))
    skipped = [report for report in reports if isinstance(report, Skipped)]
    assert len(content(out)) == sum(isinstance(report, Member) for report in reports)
    return content(out), skipped


def write_stored_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("write", [rar5.write, write_stored_zip], ids=["rar", "zip"])
def test_a_damaged_member_is_skipped_and_the_rest_is_kept(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    path = flip_within(write(tmp_path / "a", THREE), THREE["1.bin"])
    found, skipped = kept(path, tmp_path / "out")
    assert found == {"0.bin": THREE["0.bin"], "2.bin": THREE["2.bin"]}
    assert [each.name for each in skipped] == ["1.bin"]
    assert "damaged" in skipped[0].reason
    assert_nothing_left(tmp_path, "a", "out")


def test_in_a_7z_what_is_packed_with_a_damaged_member_is_named_and_other_blocks_are_kept(tmp_path: Path) -> None:
    files = {f"{i}.bin": os.urandom(5000) for i in range(4)}
    loose = flip(write_loose_7z(tmp_path / "loose.7z", files), 32 + 5000 + 2500)
    found, skipped = kept(loose, tmp_path / "out")
    assert found == {name: data for name, data in files.items() if name != "1.bin"}
    assert [each.name for each in skipped] == ["1.bin"]
    solid = flip(write_7z(tmp_path / "solid.7z", files), 32 + 8000)
    found, skipped = kept(solid, tmp_path / "out2")
    assert [each.name for each in skipped] == ["1.bin", "2.bin", "3.bin"]
    assert "packed together with a damaged one" in skipped[-1].reason
    assert found == {"0.bin": files["0.bin"]}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "tar.zst", "rar"])
def test_of_an_archive_that_breaks_off_what_came_before_is_kept(tmp_path: Path, kind: str) -> None:
    files = {f"{i}.bin": os.urandom(200_000) for i in range(5)}
    path = WRITERS[kind](tmp_path / "a", files)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    found, skipped = kept(path, tmp_path / "out")
    assert set(found) >= {"0.bin", "1.bin"}
    assert all(data == files[name] for name, data in found.items())
    assert "the rest can't be reached" in str(skipped[-1])
    assert skipped[-1].name == ""


def test_unsafe_links_and_colliding_members_are_skipped_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in [("ok", tarfile.REGTYPE), ("../evil", tarfile.REGTYPE), ("OK", tarfile.REGTYPE)]:
            info = tarfile.TarInfo(name)
            info.size, info.type = 1, kind
            archive.addfile(info, io.BytesIO(b"1"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found, skipped = kept(path, tmp_path / "out")
    assert found == {"ok": b"1"}
    assert [each.name for each in skipped] == ["../evil", "OK", "link"]
    assert_nothing_left(tmp_path, "a.tar", "out")


def test_nothing_that_can_be_had_is_an_error_even_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"../a": b"1", "../b": b"1"})
    with pytest.raises(ArchiveError, match=r"nothing in .*a\.zip can be had; the first: '\.\./a' would be written"):
        unpack(path, tmp_path / "out", keep_going=True)
    assert_nothing_left(tmp_path, "a.zip")


def test_a_way_of_compressing_that_python_lacks_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = write_stored_zip(tmp_path / "a.zip", {"big.jpg": b"1" * 50, "ok.jpg": b"2"})
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 9  # the method, in both of its places
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"'big\.jpg' is compressed by Deflate64 \(method 9\).*7-Zip"):
        unpack(path, tmp_path / "out")
    found, _ = kept(path, tmp_path / "out")
    assert found == {"ok.jpg": b"2"}


def test_links_in_a_7z_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    import py7zr

    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.write(tmp_path / "link", "link")
    with pytest.raises(ArchiveError, match="'link' is a link or device"):
        unpack(tmp_path / "a.7z", tmp_path / "out")


def test_folders_and_empty_files_between_the_members_of_a_7z_do_not_mix_them_up(tmp_path: Path) -> None:
    import py7zr

    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    for mode in ("w", "a"):  # two blocks: with one alone py7zr itself keeps them apart
        with py7zr.SevenZipFile(tmp_path / "a.7z", mode) as archive:
            archive.writestr(f"{mode} first".encode(), f"{mode}1")
            archive.write(tmp_path / "folder", f"{mode} folder")
            archive.write(tmp_path / "empty", f"{mode} empty")
            archive.writestr(f"{mode} second".encode(), f"{mode}2")
    assert unpack(tmp_path / "a.7z", tmp_path / "out") == {
        "w1": b"w first", "w2": b"w second", "w empty": b"", "a1": b"a first", "a2": b"a second", "a empty": b"",
    }  # fmt: skip


def test_a_device_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("device")
    info.external_attr = (stat.S_IFCHR | 0o666) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "")
    with pytest.raises(ArchiveError, match="is a link or device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def cut(path: Path, count: int) -> list[Path]:
    data = path.read_bytes()
    size = -(-len(data) // count)
    parts = [path.with_name(f"{path.name}.{number + 1:03}") for number in range(count)]
    for number, part in enumerate(parts):
        part.write_bytes(data[number * size : (number + 1) * size])
    path.unlink()
    return parts


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz", "tar.zst"])
def test_an_archive_cut_into_numbered_pieces_is_read_as_one(tmp_path: Path, kind: str) -> None:
    parts = cut(WRITERS[kind](tmp_path / "a.x", THREE), 4)
    assert unpack(parts[0], tmp_path / "out") == THREE
    with pytest.raises(ArchiveError, match=r"later piece of one; give the first: .*a\.x\.001"):
        unpack(parts[1], tmp_path / "out2")
    parts[2].unlink()
    with pytest.raises(ArchiveError, match=r"lacks a volume: no file a\.x\.003"):
        unpack(parts[0], tmp_path / "out2")


def test_a_zip_in_pieces_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.z01").write_bytes(b"PK\x07\x08PK\x03\x04" + bytes(100))
    end = b"PK\x05\x06\x02\x00\x02\x00" + bytes(14)
    (tmp_path / "a.zip").write_bytes(bytes(100) + end)
    for name in ("a.z01", "a.zip"):
        with pytest.raises(ArchiveError, match=r"in pieces .*7z x"):
            unpack(tmp_path / name, tmp_path / "out")


def test_one_compressed_file_without_a_tar_in_it_is_said(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "photo.gz").write_bytes(gzip.compress(os.urandom(5000)))
    with pytest.raises(ArchiveError, match="one file compressed by gzip, with no tar"):
        unpack(tmp_path / "photo.gz", tmp_path / "out")


def test_a_rar_that_extracts_itself_is_read(tmp_path: Path) -> None:
    path = rar5.write(tmp_path / "a.exe", THREE)
    path.write_bytes(b"MZ" + bytes(5000) + path.read_bytes())
    assert unpack(path, tmp_path / "out") == THREE


def test_a_rar_cut_between_two_members_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = rar5.write(tmp_path / "a.rar", THREE)
    path.write_bytes(path.read_bytes()[:-8])  # the block for the end
    with pytest.raises(ArchiveError, match="breaks off between two members"):
        unpack(path, tmp_path / "out")
    found, skipped = kept(path, tmp_path / "out")
    assert (found, len(skipped)) == (THREE, 1)


@pytest.mark.parametrize(
    ("kind", "module", "package"),
    [("7z", "py7zr", "py7zr"), ("tar.zst", "backports.zstd", "backports.zstd")],
)
def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str, package: str
) -> None:
    path = WRITERS[kind](tmp_path / "a", THREE)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"needs {package}.*pip install 'garbage-cli\[archives\]'"):
        unpack(path, tmp_path / "out")


def test_without_the_unrar_library_stored_members_are_read_and_others_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garbage_cli.archive.unrar.library", lambda: None)
    monkeypatch.setenv("PATH", "")
    path = rar5.write(tmp_path / "a.rar", THREE)
    assert unpack(path, tmp_path / "out") == THREE
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArchiveError, match="breaks off between two members"):
        unpack(path, tmp_path / "out2")
    path = rar5.write(tmp_path / "b.rar", THREE, compressed=True)
    with pytest.raises(ArchiveError, match="needs the unrar library; install it with: pip install unrar2-cffi"):
        unpack(path, tmp_path / "out2")


def test_stopping_half_way_ends_the_thread_that_reads_a_7z(tmp_path: Path) -> None:
    import threading

    files = {f"{i}.bin": os.urandom(1000) for i in range(50)}
    reports = extract(write_7z(tmp_path / "a.7z", files), tmp_path / "out")
    next(reports)
    assert any(thread.name == "7z" for thread in threading.enumerate())
    reports.close()
    assert not any(thread.name == "7z" for thread in threading.enumerate())
    assert_nothing_left(tmp_path, "a.7z")


def test_a_tar_of_other_kinds_of_links_is_refused_by_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"ok": b"1"}, "w")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("hard")
        info.type, info.linkname = tarfile.LNKTYPE, "ok"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="'hard' is a link or device"):
        unpack(path, tmp_path / "out")
