import io
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from garbage_cli.errors import ImageError
from garbage_cli.prediction import Photo
from garbage_cli.sources import Sources, is_pattern, read_list


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small tree of files that are photos by their names."""
    for name in (
        "a/2.jpg", "a/10.JPG", "a/notes.txt", "a/deep/er/x.png", "b/1.webp", "b/.hidden.jpg", ".cache/y.jpg",
        "照 片/可 乐.jpg", "odd [1].jpg", "data.bin",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*given: str, listed: str | None = None, apart: Path | None = None) -> list[str]:
    return [photo.name for photo in Sources(given, listed, apart).photos()]


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))  # type: ignore[type-var]


# ---- files, folders, patterns


def test_files_folders_and_patterns_come_in_the_order_they_are_named(here: Path) -> None:
    assert names("b", "a/2.jpg", "data.bin", "a/*/*/*.png") == ["b/1.webp", "a/2.jpg", "data.bin", "a/deep/er/x.png"]
    assert names("gone.jpg", str(here / "a" / "2.jpg")) == ["gone.jpg", str(here / "a" / "2.jpg")]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*", ["a/10.JPG", "a/2.jpg", "a/deep/er/x.png"]),  # a folder that matches is looked through
        ("a/*.jpg", ["a/2.jpg"]),
        ("a/?.*", ["a/2.jpg"]),
        ("a/[0-9]*", ["a/10.JPG", "a/2.jpg"]),
        ("[ab]/*.txt", ["a/notes.txt"]),  # a suffix that is spelled out is what is meant
        ("**/*.jpg", ["odd [1].jpg", "a/2.jpg", "照 片/可 乐.jpg"]),
        ("**", ["odd [1].jpg", "a/10.JPG", "a/2.jpg", "a/deep/er/x.png", "b/1.webp", "照 片/可 乐.jpg"]),
        ("**/*", ["odd [1].jpg", "a/10.JPG", "a/2.jpg", "a/deep/er/x.png", "b/1.webp", "照 片/可 乐.jpg"]),
        ("a/**/x.png", ["a/deep/er/x.png"]),
        ("**/**/x.p*", ["a/deep/er/x.png"]),
        ("**/deep", ["a/deep/er/x.png"]),
        (".c*/*", [".cache/y.jpg"]),
        ("b/.*", ["b/.hidden.jpg"]),
        ("./a//2.j*", ["a/2.jpg"]),
    ],
)
def test_a_pattern_finds_each_photo_once_and_sorted(here: Path, pattern: str, found: list[str]) -> None:
    assert names(pattern) == found


def test_a_file_whose_very_name_holds_brackets_is_a_file(here: Path) -> None:
    assert not is_pattern("odd [1].jpg")
    assert names("odd [1].jpg") == ["odd [1].jpg"]
    assert names("odd*") == ["odd [1].jpg"]


def test_a_pattern_that_matches_nothing_is_said_before_anything_is_read(here: Path) -> None:
    with pytest.raises(ImageError, match=r"no photo matches b/\*\.png"):
        Sources(("a", "b/*.png")).photos()


def test_no_photo_at_all_names_where_was_looked(here: Path) -> None:
    (here / "empty").mkdir()
    (here / "list.txt").write_text("\n  \n")
    with pytest.raises(ImageError, match=r"no photo in empty, the list list\.txt \(looked for"):
        Sources(("empty",), "list.txt").photos()


def test_the_folder_of_the_pictures_is_passed_over(here: Path) -> None:
    assert "a/deep/er/x.png" not in names(".", apart=Path("a/deep"))
    assert "a/deep/er/x.png" not in names("**/*.png", "a", apart=here / "a" / "deep")
    assert names("a/deep", apart=Path("a")) == ["a/deep/er/x.png"]
    with pytest.raises(ImageError, match="name another folder for the pictures"):
        Sources(("a",), apart=here / "a").photos()


# ---- lists


def test_a_list_is_read_in_the_encodings_that_people_have(here: Path) -> None:
    wanted = ["a/2.jpg", "照 片/可 乐.jpg", "gone.jpg"]
    text = "./a/2.jpg\r\n\r\n   \r\n照 片/可 乐.jpg\r\ngone.jpg"
    for encoding in ("utf-8", "utf-8-sig", "gb18030", "utf-16"):
        (here / "list.txt").write_bytes(text.encode(encoding))
        assert names(listed="list.txt") == wanted, encoding
        assert Sources((), "list.txt").count() == 3
    assert names("b", listed="list.txt") == ["b/1.webp", *wanted]


def test_spaces_around_a_path_are_its_own_only_where_the_file_has_them(here: Path) -> None:
    (here / " spaced.jpg ").write_bytes(b"x")
    (here / "list.txt").write_text(" spaced.jpg \n a/2.jpg \n gone.jpg \n")
    assert names(listed="list.txt") == [" spaced.jpg ", "a/2.jpg", "gone.jpg"]


def test_a_list_line_with_a_label_is_a_path(here: Path) -> None:
    (here / "list.txt").write_text("a/2.jpg 29\n")
    assert names(listed="list.txt") == ["a/2.jpg 29"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_found(here: Path) -> None:
    Path(os.fsdecode(b"\xb5\xff.jpg")).write_bytes(b"x")
    (here / "list.txt").write_bytes(b"\xb5\xff.jpg\n")
    assert [os.fsencode(name) for name in names(listed="list.txt")] == [b"\xb5\xff.jpg"]


def test_a_list_on_stdin_is_read_as_it_comes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        os.write(writing, b"a/2.jpg\nb/1.w")
        found = Sources((), "-").photos()
        assert next(found).name == "a/2.jpg"
        threading.Timer(0.1, lambda: (os.write(writing, b"ebp\n"), os.close(writing))).start()
        assert [photo.name for photo in found] == ["b/1.webp"]
    assert Sources((), "-").count() is None


def test_what_is_no_list_is_said(here: Path) -> None:
    for data in (b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"x" * 40_000):
        (here / "list.txt").write_bytes(data)
        with pytest.raises(ImageError, match=r"list\.txt, line 1, is no path; a list has one a line"):
            Sources((), "list.txt").photos()
    (here / "list.txt").write_bytes(b"\xff\xfea\0\xd8")
    with pytest.raises(ImageError, match=r"list\.txt is no text"):
        Sources((), "list.txt").photos()
    with pytest.raises(ImageError, match="a is a folder, not a list of paths"):
        Sources((), "a").photos()
    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        Sources(("a",), "gone.txt").photos()


# ---- stdin


def test_stdin_is_one_photo_and_no_more_of_it_is_read_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"photo")
    assert list(Sources(("-",)).photos()) == [Photo("-", b"photo")]
    stdin(monkeypatch, b"x" * 1000)
    (photo,) = Sources(("-",), max_bytes=10).photos()
    assert photo.source == b"x" * 11  # decoding says that it is too large
    assert Sources(("-",)).count() == 1


def test_stdin_is_asked_for_once_and_not_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for names_, listed in ((("-", "-"), None), (("-",), "-")):
        with pytest.raises(ImageError, match="stdin can be read once only"):
            Sources(names_, listed).photos()
    stdin(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(ImageError, match="- reads a photo from stdin; pipe one into it"):
        Sources(("-",)).photos()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ImageError, match="- reads a list from stdin"):
        next(read_list("-"))


# ---- many


def test_counting_knows_what_is_left_and_has_little_patience(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sources(("a", "**/*.webp", "gone.jpg", "-")).count() == 6
    assert Sources(("a",)).count(lambda photos: islice(photos, 2)) == 2
    (here / "list.txt").write_text("a/2.jpg\n" * 5000)
    monkeypatch.setattr("garbage_cli.sources._PATIENCE", -1)
    assert Sources((), "list.txt").count() is None


def peak(photos: Callable[[], Iterator[Photo]]) -> int:
    """Bytes at most, of the better of two runs: the interpreter's own tables grow at times."""
    most = []
    for _ in range(2):
        tracemalloc.start()
        for _ in photos():
            pass
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return min(most)


def test_memory_is_flat_over_many_folders(tmp_path: Path) -> None:
    for folder in range(40):
        (tmp_path / f"{folder:02}").mkdir()
        for number in range(50):
            (tmp_path / f"{folder:02}" / f"{number}.jpg").touch()
    for name in (str(tmp_path), f"{tmp_path}/**/*.jpg"):
        few, many = (peak(lambda: islice(Sources((name,)).photos(), number)) for number in (200, 2000))  # noqa: B023
        assert many < few + 20_000, name
