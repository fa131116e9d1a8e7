"""Names from strangers: what may be written, and that nothing is written anywhere else."""

import contextlib
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import WRITERS, assert_nothing_left, content, unpack, write_7z, write_tar, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from garbage_cli.archive import extract
from garbage_cli.archive.damage import MemberError
from garbage_cli.archive.names import Names
from garbage_cli.errors import ArchiveError

PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "/", "\\", "C:", "a", "A", "b", "é", "e\u0301", "ß", "x" * 256, "x" * 255]),
    st.sampled_from(["\x1b[31m", "\n", "\u202e", "10:30.jpg", "nul", "a.", "~", "\ud83d\ude00", "文件", "-rf", "*"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).flatmap(
    lambda parts: st.sampled_from("/\\").map(lambda by: by.join(parts))
)


@pytest.mark.parametrize("kind", ["zip", "tar", "7z", "rar"])
@settings(max_examples=40)
@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), keep_going=st.booleans())
def test_whatever_the_names_each_file_is_inside_with_its_own_content_or_nothing_is(
    tmp_path_factory: pytest.TempPathFactory, kind: str, names: list[str], keep_going: bool
) -> None:
    folder = tmp_path_factory.mktemp("names")
    (folder / "deep").mkdir()
    files = {name: f"{number}:{name!r}".encode() for number, name in enumerate(names)}
    try:
        path = WRITERS[kind](folder / "archive", files)
    except (UnicodeEncodeError, ValueError, IndexError):  # no name that this format can hold
        return
    try:
        found = unpack(path, folder / "deep" / "out", keep_going=keep_going)
    except ArchiveError:
        found = {}
        assert_nothing_left(folder / "deep")
    assert_nothing_left(folder, "archive", "deep")
    assert_nothing_left(folder / "deep", *(["out"] if found else []))
    assert len(found) == len(set(found.values()))
    if kind != "7z" or not any("\0" in name for name in names):  # its names end at a NUL: the list is out of step
        meant = {data: _meant(name) for name, data in files.items()}
        assert all(meant[data].startswith(name) for name, data in found.items())


def _meant(name: str) -> str:
    """Where a name leads to; formats end it at a NUL."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("photo.jpg", "PHOTO.JPG"),
        ("A/x.jpg", "a/y.jpg"),
        ("é.jpg", unicodedata.normalize("NFD", "é.jpg")),
        ("a", "a/b"),
        ("a/b", "A"),
    ],
)
def test_names_that_some_file_system_takes_for_the_same_are_both_named(
    tmp_path: Path, write: Callable[..., Path], first: str, second: str
) -> None:
    path = write(tmp_path / "a", {first: b"1", second: b"2"})
    with pytest.raises(ArchiveError, match="would meet") as error:
        unpack(path, tmp_path / "out")
    assert ascii(str(error.value)).count(ascii(first.split("/")[0])[1:-1]) >= 1
    assert_nothing_left(tmp_path, "a")


def test_a_member_that_is_there_twice_in_a_7z_or_zip_is_refused(tmp_path: Path) -> None:
    path = write_7z(tmp_path / "a.7z", {"a": b"1", "b": b"2"})
    twice = write_7z(tmp_path / "a.7z", _Twice({"same": b"1"}))
    assert path == twice
    with pytest.raises(ArchiveError, match="'same' is there twice"):
        unpack(path, tmp_path / "out")


class _Twice(dict[str, bytes]):
    """A mapping that lists its items two times over, as no dict would."""

    def values(self) -> list[bytes]:  # type: ignore[override]
        return [*super().values(), b"other"]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter([*super().__iter__(), *super().__iter__()])

    def __len__(self) -> int:
        return 2 * super().__len__()


def test_a_time_in_a_name_is_no_drive(tmp_path: Path) -> None:
    assert content_of(tmp_path, "10:30.jpg") == {"10:30.jpg": b"1"}


def content_of(tmp_path: Path, name: str) -> dict[str, bytes]:
    return unpack(write_tar(tmp_path / "a.tar", {name: b"1"}), tmp_path / "out")


@pytest.mark.parametrize("name", ["10:30.jpg", "CON", "nul.jpg", "COM1 .txt", "a/LPT¹", "dot.", "space ", "a ./b"])
def test_what_windows_would_take_for_a_device_or_another_name_is_refused_there_only(name: str) -> None:
    assert Names(Path("/out"), windows=False).claim(name).as_posix() == name
    with pytest.raises(MemberError, match="Windows does not allow"):
        Names(Path("/out"), windows=True).claim(name)


def test_a_path_longer_than_the_file_system_takes_is_refused() -> None:
    long = "/".join(["x" * 200] * 21)
    with pytest.raises(MemberError, match="too long a name"):
        Names(Path("/out")).claim(long)
    assert Names(Path("/out")).claim(long[:4000])


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"../\x1b]0;owned\x07": b"1"})
    with pytest.raises(ArchiveError) as error:
        unpack(path, tmp_path / "out")
    assert str(error.value).isprintable()
    reports = list(
        extract(write_zip(tmp_path / "b.zip", {"../\x1b[2J": b"1", "ok": b"1"}), tmp_path / "out", keep_going=True)
    )
    assert all(str(report).isprintable() for report in reports)


def test_a_folder_without_anything_in_it_is_not_made(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"empty/": b"", "../evil/": b"", "windows\\": b"", "full/a": b"1"})
    assert unpack(path, tmp_path / "out") == {"full/a": b"1"}
    assert_nothing_left(tmp_path / "out", "full")
    with contextlib.suppress(FileNotFoundError):
        assert content(tmp_path / "evil") == {}
