import csv
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garbage_cli.errors import ConfigError
from garbage_cli.labels import THE_40
from garbage_cli.prediction import Photo, Prediction, Score
from garbage_cli.sheets import COLUMNS, Sheet, escape, row, unescape

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
"""Also half characters, control characters and what turns the order of writing."""


def answered(name: str, score: float = 0.5, *, sure: bool = True) -> Prediction:
    return Prediction(name, (Score(THE_40[23], score),), sure=sure)


def write(path: Path, *predictions: Prediction, resume: bool = False) -> None:
    for _ in Sheet.open(str(path), resume=resume).keep(predictions):
        pass


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_a_row_says_what_json_says(tmp_path: Path) -> None:
    path = tmp_path / "答 案.csv"
    write(
        path, answered("照 片.jpg", 0.25), answered("b.jpg", 0.125, sure=False), Prediction("c.jpg", error="no, photo")
    )
    assert path.read_bytes().startswith(b"\xef\xbb\xbfimage,bin,kind,score,sure,error\n")
    assert rows(path) == [
        list(COLUMNS),
        ["照 片.jpg", "可回收物", "易拉罐", "0.25", "true", ""],
        ["b.jpg", "", "易拉罐", "0.125", "false", ""],
        ["c.jpg", "", "", "", "false", "no, photo"],
    ]


@given(st.floats(0, 1, width=32))
def test_a_score_of_32_bits_is_had_back(score: float) -> None:
    written = float(row(answered("a.jpg", score)).split(",")[3])
    assert struct.pack("f", written) == struct.pack("f", score)


@given(ANY_TEXT)
def test_any_name_is_one_line_and_can_be_had_back(name: str) -> None:
    line = row(Prediction(name, error=name)).encode()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    text = line.decode().removesuffix("\n")
    assert len(text.splitlines()) <= 1
    (cells,) = csv.reader([text], strict=True)
    assert (unescape(cells[0]), unescape(cells[5])) == (name, name)
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    "name", ["=1+1.jpg", "+a", "-", "@SUM(A1)", "\t=1", "\r=1", "＝1.jpg", "'quoted", "a\nb", "\ud800"]
)
def test_what_a_spreadsheet_would_run_is_escaped(name: str) -> None:
    assert escape(name).startswith("'")
    assert unescape(escape(name)) == name


def test_the_escape_is_as_documented() -> None:
    assert escape("=a\\b\n") == "'=a\\\\b\\u000a"
    assert escape("a\\b.jpg") == "a\\b.jpg"  # names of Windows stay as they are
    assert row(answered("a;=1.jpg")).startswith('"a;=1.jpg",')  # where the semicolon separates


@given(st.lists(ANY_TEXT, max_size=8), st.integers(0, 8))
def test_resume_recognises_every_name(tmp_path_factory: pytest.TempPathFactory, names: list[str], done: int) -> None:
    path = tmp_path_factory.mktemp("sheet") / "a.csv"
    write(path, *map(answered, names[:done]))
    sheet = Sheet.open(str(path), resume=True)
    assert [photo.name for photo in sheet.left(Photo(name, b"") for name in names)] == names[done:]
    assert sheet.rows == min(done, len(names))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_half_written_last_line_is_cut_and_the_rest_goes_on(tmp_path: Path, cut: int) -> None:
    path, names = tmp_path / "a.csv", ["一.jpg", "=二.jpg", "三.jpg", "四.jpg"]
    write(path, *map(answered, names))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    sheet = Sheet.open(str(path), resume=True)
    for _ in sheet.keep(map(answered, [photo.name for photo in sheet.left(Photo(name, b"") for name in names)])):
        pass
    assert path.read_bytes() == whole


@pytest.mark.parametrize("length", [0, 2, 3, 10, 34, 35])
def test_a_file_that_ends_in_its_first_line_is_begun_again(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.csv"
    write(path, answered("a.jpg"))
    whole = path.read_bytes()
    for resume in (False, True):
        path.write_bytes(whole[:length])
        write(path, answered("a.jpg"), resume=resume)
        assert path.read_bytes() == whole


def test_failed_photos_and_those_named_twice_are_passed_over_as_often_as_they_have_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(path, Prediction("bad.jpg", error="no photo"), answered("twice.jpg"))
    photos = [Photo(name, b"") for name in ("bad.jpg", "twice.jpg", "new.jpg", "twice.jpg")]
    sheet = Sheet.open(str(path), resume=True)
    for _ in range(2):  # counting them does not use them up
        assert [photo.name for photo in sheet.left(photos)] == ["new.jpg", "twice.jpg"]


def test_a_file_that_excel_has_saved_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(path, answered("a.jpg"))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    write(path, answered("b.jpg"), resume=True)
    assert [cells[0] for cells in rows(path)] == ["image", "a.jpg", "b.jpg"]


def test_rows_are_in_the_file_as_soon_as_they_are_yielded(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for number, _ in enumerate(Sheet.open(str(path)).keep(map(answered, "abc")), start=1):
        assert len(rows(path)) == number + 1


# ---- what can be wrong


def test_answers_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(path, answered("a.jpg"))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"a\.csv has answers in it; go on with --resume, name another file"):
        Sheet.open(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "content", ["name,score\na,1\n", "\ufeffimage;bin;kind;score;sure;error\n", "x", "\n", "x" * 5000]
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: str, resume: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not a file of answers: it does not begin with image,bin,"):
        Sheet.open(str(path), resume=resume)
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("line", [b"a.jpg,1\n", b"\xff,,,,,\n", b'"a,,,,,,\n', b"\n"])
def test_a_row_that_is_none_is_named_with_its_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.csv"
    write(path, answered("a.jpg"))
    path.write_bytes(before := path.read_bytes() + line)
    with pytest.raises(ConfigError, match=r"a\.csv, line 3, is not a row of answers"):
        Sheet.open(str(path), resume=True)
    assert path.read_bytes() == before


def test_two_processes_do_not_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    pytest.importorskip("fcntl")
    first = Sheet.open(str(path)).keep(map(answered, "abc"))
    next(first)
    second = Sheet.open(str(path), resume=True).keep(map(answered, "xyz"))
    with pytest.raises(ConfigError, match="is being written by another process"):
        next(second)
    assert len(list(first)) == 2
    assert [cells[0] for cells in rows(path)] == ["image", "a", "b", "c"]


def test_a_file_that_has_grown_since_it_was_read_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(path, answered("a.jpg"))
    late = Sheet.open(str(path), resume=True)
    write(path, answered("b.jpg"), resume=True)
    with pytest.raises(ConfigError, match="has changed since it was read"):
        next(late.keep([answered("c.jpg")]))
    assert [cells[0] for cells in rows(path)] == ["image", "a.jpg", "b.jpg"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_names_the_file() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        list(Sheet.open("/dev/full").keep([answered("a.jpg")]))


def test_a_disk_that_fills_up_meanwhile_keeps_whole_rows_for_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "a.csv"
    names = [f"{number}.jpg" for number in range(100)]
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match=r"a\.csv"):
            write(path, *map(answered, names))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.stat().st_size == 1000
    sheet = Sheet.open(str(path), resume=True)
    left = [photo.name for photo in sheet.left(Photo(name, b"") for name in names)]
    assert 0 < len(left) < 100
    write(path, *map(answered, left), resume=True)
    assert [cells[0] for cells in rows(path)] == ["image", *names]


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        list(Sheet.open(str(tmp_path / "gone" / "a.csv")).keep([answered("a.jpg")]))
    with pytest.raises(OSError, match="directory"):
        list(Sheet.open(str(tmp_path)).keep([answered("a.jpg")]))
    if os.geteuid():
        tmp_path.chmod(0o500)
        with pytest.raises(PermissionError):
            list(Sheet.open(str(tmp_path / "a.csv")).keep([answered("a.jpg")]))


def test_nothing_is_made_before_the_first_answer_is_asked_for(tmp_path: Path) -> None:
    def broken() -> Iterator[Prediction]:
        raise KeyError
        yield

    path = tmp_path / "a.csv"
    kept = Sheet.open(str(path)).keep(broken())
    assert not path.exists()
    with pytest.raises(KeyError):
        next(kept)
    write(path, answered("a.jpg"))  # a file without answers is in nobody's way
    assert len(rows(path)) == 2
