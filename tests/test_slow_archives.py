"""Archives that real programs wrote: rarfile's own test files, from its source package, and the system's tools."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from archives import FILES, unpack, write_zip

from garbage_cli.archive import Skipped, extract
from garbage_cli.errors import ArchiveError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rars")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "rarfile==4.5"]
    subprocess.run([*command, "--dest", str(folder)], check=True, timeout=300)
    with tarfile.open(next(folder.glob("rarfile-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("rarfile-*/test/files"))


@pytest.mark.parametrize(
    ("name", "files", "size"),
    [
        ("rar15-comment.rar", 2, 15),  # RAR 1.5, one compressed and one stored
        ("rar15-comment-lock.rar", 2, 15),
        ("rar202-comment-nopsw.rar", 2, 14),
        ("rar2-unix-owner.rar", 1, 4),  # RAR 2, compressed
        ("rar3-solid.rar", 2, 4096),
        ("rar3-subdirs.rar", 4, 25),
        ("rar3-vols.part1.rar", 2, 207_050),  # three volumes
        ("rar3-old.rar", 2, 207_050),  # three volumes, old naming
        ("rar5-crc.rar", 2, 4096),
        ("rar5-solid.rar", 2, 4096),
        ("rar5-solid-qo.rar", 4, 8192),
        ("rar5-vols.part1.rar", 2, 207_050),
        ("rar5-dups.rar", 9, 18_432),  # references to an earlier member
        ("rar5-hlink.rar", 3, 6144),
        ("seektest.rar", 2, 4096),  # strongest compression
        ("unicode.rar", 2, 4),
        ("unicode2.rar", 2, 4),  # names in UTF-16 pairs
    ],
)
def test_rar_1_5_to_5_stored_compressed_solid_and_in_volumes(
    rars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: int, size: int
) -> None:
    monkeypatch.setenv("PATH", "")  # no system tool may be needed
    extracted = unpack(rars / name, tmp_path / "out")
    assert (len(extracted), sum(map(len, extracted.values()))) == (files, size)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rar3-symlink-unix.rar", "is a link"),
        ("rar5-symlink-unix.rar", "is a link"),
        ("rar5-symlink-win.rar", "is a link"),
        ("rar5-evil-symlink-traversal.rar", "is a link"),
        ("rar3-comment-psw.rar", "encrypted"),
        ("rar3-comment-hpsw.rar", "encrypted"),
        ("rar5-psw.rar", "encrypted"),
        ("rar5-hpsw.rar", "encrypted"),
        ("rar5-vols.part2.rar", r"first volume: .*rar5-vols\.part1\.rar"),
        ("rar3-vols.part3.rar", r"first volume: .*rar3-vols\.part1\.rar"),
        ("rar3-old.r00", r"first volume: .*rar3-old\.rar"),
    ],
)
def test_rars_with_links_or_without_their_password_or_first_volume_are_refused(
    rars: Path, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(ArchiveError, match=said):
        unpack(rars / name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_", ["rar3", "rar5"])
def test_a_volume_that_is_missing_is_named_and_not_waited_for(rars: Path, tmp_path: Path, format_: str) -> None:
    for number in (1, 2):
        shutil.copy(rars / f"{format_}-vols.part{number}.rar", tmp_path)
    with pytest.raises(ArchiveError, match=rf"lacks a volume: no file .*{format_}-vols\.part3\.rar"):
        unpack(tmp_path / f"{format_}-vols.part1.rar", tmp_path / "out")


SIZES = [
    ("rar202-comment-psw.rar", 14),
    ("rar5-psw.rar", 4096),
    ("rar5-psw-blake.rar", 4096),
    ("rar5-hpsw.rar", 4096),  # the names too
]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_encrypted_rars_open_with_their_password_asked_for_once(
    rars: Path, tmp_path: Path, name: str, size: int
) -> None:
    asked = []
    extracted = unpack(rars / name, tmp_path / "out", password=lambda: asked.append(1) or "password")
    assert (sum(map(len, extracted.values())), asked) == (size, [1])


@pytest.mark.parametrize("name", ["rar3-comment-psw.rar", "rar3-comment-hpsw.rar"])
def test_encrypted_rar_3_is_opened_as_far_as_its_empty_files(rars: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="only empty ones"):
        unpack(rars / name, tmp_path / "out", password=lambda: "password")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rar202-comment-psw.rar", "damaged, or the password is wrong"),
        ("rar3-comment-hpsw.rar", "damaged, or the password is wrong"),
        ("rar5-psw.rar", "password of .* is wrong"),
        ("rar5-psw-blake.rar", "password of .* is wrong"),
        ("rar5-hpsw.rar", "password of .* is wrong"),
    ],
)
@pytest.mark.parametrize("wrong", ["wröng 密码 🔑", "x" * 500])
def test_a_wrong_password_of_a_rar_is_said(rars: Path, tmp_path: Path, name: str, said: str, wrong: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        unpack(rars / name, tmp_path / "out", password=lambda: wrong, keep_going=True)
    assert list(tmp_path.iterdir()) == []


def test_links_of_a_rar_are_skipped_where_asked(rars: Path, tmp_path: Path) -> None:
    reports = list(extract(rars / "rar5-symlink-unix.rar", tmp_path / "out", keep_going=True))
    assert "data_link" in [report.name for report in reports if isinstance(report, Skipped)]
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize(
    ("tool", "suffix"),
    [("zip -q -r", ".zip"), *(("tar -caf", f".tar{suffix}") for suffix in ("", ".gz", ".xz", ".bz2", ".zst"))],
)
def test_what_the_system_s_tools_pack_is_read(tmp_path: Path, tool: str, suffix: str) -> None:
    if not shutil.which(tool.split()[0]):
        pytest.skip(f"no {tool.split()[0]} program here")
    unpack(write_zip(tmp_path / "made.zip"), tmp_path / "made")
    path = tmp_path / f"a{suffix}"
    done = subprocess.run([*tool.split(), str(path), "garbage"], cwd=tmp_path / "made", check=False)
    if done.returncode:
        pytest.skip(f"no program for {suffix} here")
    assert unpack(path, tmp_path / "out") == FILES


def test_a_zip_that_zip_cut_into_pieces_says_so(tmp_path: Path) -> None:
    if not shutil.which("zip"):
        pytest.skip("no zip program here")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 1000)
    subprocess.run(["zip", "-q", "-0", "-s", "64k", "a.zip", "big"], cwd=tmp_path, check=True)
    for name in ("a.zip", "a.z01"):
        with pytest.raises(ArchiveError, match="in pieces"):
            unpack(tmp_path / name, tmp_path / "out")
