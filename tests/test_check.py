import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Result, run_program
from faults import JPEG, SPOILT, add, assert_all_thirty, encoded, photo, plant_thirty, with_orientation
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from garbage_cli.check import KINDS, Checked, check, fixing, page
from garbage_cli.check import cache as cache_room
from garbage_cli.check.inspection import Record, Row, fingerprint, inspect, inspect_all, inspect_chunk
from garbage_cli.check.same import MAX_BITS, Near, _candidates, near
from garbage_cli.dataset import Dataset
from garbage_cli.errors import DatasetError

Garbage = Callable[..., Result]


def checked(root: Path) -> Checked:
    *_, result = check(Dataset.load(root))
    assert isinstance(result, Checked)
    return result


def found(root: Path) -> dict[str, list[str]]:
    """What is found: the paths (or, of classes, the details) by kind."""
    by_kind: dict[str, list[str]] = {}
    for finding in checked(root).findings:
        by_kind.setdefault(finding.kind.name, []).append(finding.path or finding.detail)
    return by_kind


@pytest.fixture
def data(drawn: Dataset, tmp_path: Path) -> Path:
    """A good data set of 48 drawn photos, to be spoilt."""
    return Path(shutil.copytree(drawn.root, tmp_path / "数 据"))


def test_a_good_data_set_has_no_findings(data: Path) -> None:
    assert found(data) == {}
    assert checked(data).usable


# ---- one fault at a time: content of a file → kind


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_photo_is_found_and_called_by_its_kind(data: Path, what: str) -> None:
    name, content, kind = SPOILT[what]
    add(data, f"0/{name}", content)
    assert found(data) == {kind: [f"0/{name}"]}
    assert checked(data).usable == (KINDS[kind].severity != "error")


def test_a_file_that_may_not_be_read_or_is_too_large_is_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (data / "0" / "big.jpg").open("wb") as file:
        file.truncate(51 * 2**20)
    add(data, "0/locked.jpg", JPEG)
    with (data / "train.txt").open("a") as lists:
        lists.write("./0/big.jpg 0\n")
    original = Path.read_bytes

    def read_bytes(path: Path) -> bytes:  # root may read everything, so the refusal is made here
        if path.name == "locked.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert found(data) == {"unreadable": ["0/locked.jpg"], "enormous": ["0/big.jpg"]}


# ---- the same photo twice


def variants(image: Image.Image) -> dict[str, bytes]:
    larger = image.resize((image.width * 2, image.height * 2), Image.Resampling.LANCZOS)
    smaller = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    return {
        "stronger JPEG": encoded(image, quality=40),
        "PNG": encoded(image, "PNG"),
        "larger": encoded(larger),
        "smaller": encoded(smaller),
        "turned by EXIF": with_orientation(image.transpose(Image.Transpose.ROTATE_90), 6),
        "a quarter": encoded(image.resize((image.width // 4, image.height // 4), Image.Resampling.LANCZOS)),
        "cropped by 2 pixels a side": encoded(image.crop((2, 2, image.width - 2, image.height - 2))),
        "a little brighter": encoded(Image.fromarray((np.asarray(image) * 0.94 + 14).astype(np.uint8))),
    }


@pytest.mark.parametrize("what", variants(photo(20)))
def test_a_photo_saved_anew_is_nearly_the_same(data: Path, what: str) -> None:
    add(data, "0/first.jpg", encoded(photo(20), quality=92))
    add(data, "0/second.jpg", variants(photo(20))[what])
    assert found(data)["near-duplicate"] == ["0/second.jpg"]


@pytest.mark.parametrize(
    ("listed", "class_id", "exact", "near"),
    [
        ("train.txt", 0, "duplicate", "near-duplicate"),
        ("validate.txt", 0, "leak", "near-leak"),
        ("train.txt", 1, "two-labels", "near-two-labels"),
        ("validate.txt", 1, "two-labels", "near-two-labels"),
    ],
)
def test_what_a_copy_means_depends_on_its_split_and_label(
    data: Path, listed: str, class_id: int, exact: str, near: str
) -> None:
    add(data, "0/first.jpg", JPEG)
    add(data, "0/copy.jpg", JPEG, listed=listed, class_id=class_id)
    copied = found(data)
    assert copied.pop("folder-disagrees", ["0/copy.jpg"]) == ["0/copy.jpg"]
    assert list(copied) == [exact]
    (data / "0" / "copy.jpg").write_bytes(encoded(photo(1), quality=50))
    copied = found(data)
    copied.pop("folder-disagrees", None)
    assert list(copied) == [near]


def test_one_file_listed_twice_or_under_two_classes_is_found(data: Path) -> None:
    line = (data / "train.txt").read_text().splitlines()[0]
    with (data / "train.txt").open("a") as file:
        file.write(f"{line}\n")
    name = line.split()[0].removeprefix("./")
    assert found(data) == {"duplicate": [name]}
    with (data / "train.txt").open("a") as file:
        file.write(f"./{name} 7\n")
    assert found(data) == {"two-labels": [name], "folder-disagrees": [name]}


def looks(image: Image.Image) -> Record:
    hash_, grid = fingerprint(image)
    return Record(hash=hash_, grid=grid)


def nearly(records: Sequence[Record], classes: Sequence[int] = (), held_out: Sequence[bool] = ()) -> list[Near]:
    n = len(records)
    return near(records, contents=range(n), classes=classes or [0] * n, held_out=held_out or [False] * n)


def test_photos_of_different_things_are_not_called_nearly_the_same() -> None:
    rng = np.random.default_rng(0)
    assert nearly([looks(photo(int(rng.integers(2**40)))) for _ in range(300)]) == []


def test_flat_photos_are_told_apart_by_colour() -> None:
    colours = ((250, 250, 250), (200, 200, 200), (250, 250, 248), (40, 90, 200))
    assert nearly([looks(Image.new("RGB", (64, 64), colour)) for colour in colours]) == [Near("duplicate", 2, 0)]


def test_things_of_one_shape_in_other_colours_are_not_nearly_the_same() -> None:
    records = []
    for colour in ((200, 30, 40), (30, 160, 150), (250, 150, 180), (20, 20, 20), (240, 200, 20), (120, 60, 160)):
        image = Image.new("RGB", (160, 120), (245, 245, 243))
        image.paste(colour, (60, 30, 100, 100))
        image.paste((230, 230, 235), (70, 15, 90, 30))
        records.append(looks(image))
    assert nearly(records) == []


def test_a_photo_has_one_finding_the_gravest_and_the_training_photo_is_the_one_that_leaks() -> None:
    records = [looks(photo(1))] * 5
    found = nearly(records, classes=[0] * 5, held_out=[False, False, True, True, False])
    assert [(each.relation, each.item) for each in found] == [("leak", 0), ("leak", 1), ("duplicate", 3), ("leak", 4)]
    assert {each.other for each in found} == {2, 3}
    found = nearly(records, classes=[0, 1, 0, 0, 0])
    assert [(each.relation, each.item) for each in found] == [
        ("two-labels", 1),
        ("two-labels", 2),
        ("two-labels", 3),
        ("two-labels", 4),
    ]
    assert {each.other for each in found} == {0, 1}


def test_what_is_of_equal_content_is_not_called_nearly_the_same() -> None:
    records = [looks(photo(1))] * 3
    (only,) = near(records, contents=[7, 7, 8], classes=[0] * 3, held_out=[False] * 3)
    assert (only.relation, only.item) == ("duplicate", 2)


def test_thousands_of_nearly_equal_photos_give_a_finding_each_and_no_more() -> None:
    records = [looks(photo(1))] * 5000
    assert len(nearly(records)) == 4999


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=30), st.data())
def test_the_search_in_bands_finds_every_pair_that_comparing_all_would(hashes: list[int], draw: st.DataObject) -> None:
    for _ in range(5):  # neighbours, so that there is something to find
        base = draw.draw(st.sampled_from(hashes))
        flips = draw.draw(st.lists(st.integers(0, 63), max_size=MAX_BITS + 2))
        hashes.append(base ^ sum(1 << bit for bit in set(flips)))
    got = {
        (min(pair), max(pair))
        for first, second in _candidates(np.array(hashes, np.uint64))
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    wanted = {(i, j) for j in range(len(hashes)) for i in range(j) if (hashes[i] ^ hashes[j]).bit_count() <= MAX_BITS}
    assert got >= wanted


# ---- classes and lists


def test_classes_without_photos_without_validation_and_far_smaller_ones_are_found(data: Path) -> None:
    rule = json.loads((data / "garbage_classify_rule.json").read_text())
    (data / "garbage_classify_rule.json").write_text(json.dumps({**rule, "8": "可回收物/锅", "9": "可回收物/砧板"}))
    for i in range(50):
        add(data, f"0/more {i}.jpg", encoded(photo(100 + i)))
    (data / "9").mkdir()
    add(data, "9/one.jpg", encoded(photo(200)), class_id=9)
    kinds = found(data)
    assert kinds["empty-class"] == ["class 8 可回收物/锅: no validation photos, none to train"]
    assert kinds["no-validation"] == ["class 9 可回收物/砧板: 1 training photos"]
    assert len(kinds["unbalanced"]) == 8  # 1 to 7 have 4 photos, 9 has one; 0 has 54
    assert set(kinds) == {"empty-class", "no-validation", "unbalanced"}


def test_list_lines_photos_in_no_list_and_other_folders_are_found(data: Path) -> None:
    with (data / "train.txt").open("a") as file:
        file.write("./0/gone.jpg 0\n../../etc/passwd 0\nnonsense\n./0/img_0.jpg 40\n")
    (data / "0" / "extra.jpg").write_bytes(JPEG)
    add(data, "3/moved.jpg", encoded(photo(30)), class_id=4)
    kinds = found(data)
    assert kinds == {
        "bad-line": ["nonsense"],
        "outside": ["../../etc/passwd"],
        "missing": ["./0/gone.jpg"],
        "unnamed-class": ["./0/img_0.jpg"],
        "folder-disagrees": ["3/moved.jpg"],
        "unlisted": ["0/extra.jpg"],
    }


# ---- thirty faults at once


def test_thirty_planted_faults_are_found_and_nothing_else(data: Path) -> None:
    plant_thirty(data)
    assert_all_thirty(found(data))


# ---- cleaned lists


def test_fix_writes_lists_that_are_used_and_touches_nothing_else(data: Path, garbage: Garbage, tmp_path: Path) -> None:
    plant_thirty(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    result = garbage("check", data, "--fix", "--report", tmp_path / "check")
    assert result.code == 0, result.out
    assert "usable with the cleaned lists" in result.out
    after = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert sorted(path.name for path in after.keys() - before.keys()) == [
        "checked.json", "train.checked.txt", "validate.checked.txt",
    ]  # fmt: skip
    dataset = Dataset.load(data)
    assert "cleaned lists" in dataset.notes[0]
    names = {dataset.name(sample.path) for sample in (*dataset.train, *dataset.val)}
    for gone in ("0/f01.jpg", "1/f06.webp", "2/f08.png", "5/f26a.jpg", "2/f26b.jpg"):
        assert gone not in names
    for kept in ("3/f14.gif", "3/f15.jpg", "4/f20.jpg"):
        assert kept in names
    assert checked(data).usable
    assert "unlisted" not in found(data)
    assert garbage("check", data, "--report", tmp_path / "check").code == 0


def test_of_copies_one_stays_of_a_leak_the_validation_photo_of_two_labels_none(data: Path) -> None:
    add(data, "0/a.jpg", JPEG)
    add(data, "0/b.jpg", JPEG)
    add(data, "1/c.jpg", encoded(photo(50)), class_id=1)
    add(data, "1/d.jpg", encoded(photo(50)), class_id=1, listed="validate.txt")
    add(data, "2/e.jpg", encoded(photo(51)), class_id=2)
    add(data, "3/f.jpg", encoded(photo(51)), class_id=3, listed="validate.txt")
    before = Dataset.load(data)
    fixed = fixing.fix(checked(data))
    assert sorted(each.path for each in fixed.left_out) == ["0/b.jpg", "1/c.jpg", "2/e.jpg", "3/f.jpg"]
    after = Dataset.load(data)
    assert len(before.train) - len(after.train) == 3
    assert len(before.val) - len(after.val) == 1


def test_cleaned_lists_of_another_state_are_not_used_and_said(data: Path) -> None:
    add(data, "0/a.jpg", b"")
    fixing.fix(checked(data))
    assert len(Dataset.load(data).left_out) == 1
    add(data, "0/b.jpg", JPEG)
    dataset = Dataset.load(data)
    assert dataset.left_out == ()
    assert "is of another state of this data set" in dataset.notes[0]
    assert data / "0" / "b.jpg" in {sample.path for sample in dataset.train}


def test_folders_can_be_fixed_too(tmp_path: Path) -> None:
    for kind, seed in (("glass", 60), ("paper", 80)):
        (tmp_path / kind).mkdir()
        for i in range(10):
            (tmp_path / kind / f"{i}.jpg").write_bytes(encoded(photo(seed + i)))
    (tmp_path / "glass" / "bad.jpg").write_bytes(b"")
    Dataset.load(tmp_path).write_split()
    fixed = fixing.fix(checked(tmp_path))
    assert [each.path for each in fixed.left_out] == ["glass/bad.jpg"]
    dataset = Dataset.load(tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.left_out)) == (16, 4, 1)
    assert checked(tmp_path).findings == ()


def test_cleaned_lists_of_a_split_that_was_made_stay_in_use(tmp_path: Path, garbage: Garbage) -> None:
    root = tmp_path / "data"
    for kind, seed in (("glass", 60), ("paper", 80)):
        (root / kind).mkdir(parents=True)
        for i in range(10):
            (root / kind / f"{i}.jpg").write_bytes(encoded(photo(seed + i)))
    first = Dataset.load(root)
    first.write_split()
    for sample in (first.val[0], first.train[0], first.train[2]):
        sample.path.write_bytes(b"junk")
    asked = ("check", root, "--report", tmp_path / "check")
    assert garbage(*asked, "--fix").code == 0
    written = {path.name: path.read_bytes() for path in root.glob("*.split.txt")}
    for _ in range(3):
        assert "using the cleaned lists of" in garbage(*asked).err
        assert {path.name: path.read_bytes() for path in root.glob("*.split.txt")} == written
        assert (len(Dataset.load(root).train), len(Dataset.load(root).val)) == (14, 3)


def test_fix_does_not_empty_a_split(data: Path) -> None:
    (data / "validate.txt").write_text("./0/gone.jpg 0\n")
    with pytest.raises(DatasetError, match="no validation photo would be left; no list was written"):
        fixing.fix(checked(data))
    assert not (data / "checked.json").exists()


def test_what_was_found_is_on_disk_even_if_the_lists_cannot_be_written(
    data: Path, garbage: Garbage, tmp_path: Path
) -> None:
    (data / "validate.txt").write_text("./0/gone.jpg 0\n")
    result = garbage("check", data, "--fix", "--report", tmp_path / "check")
    assert result.code == 1
    assert result.err.splitlines()[-1].endswith("no validation photo would be left; no list was written; add photos")
    assert json.loads((tmp_path / "check" / "check.json").read_text())["counts"]["missing"] == 1
    assert (tmp_path / "check" / "check.html").is_file()


def test_fixing_twice_keeps_the_record_of_what_was_left_out(data: Path, tmp_path: Path, garbage: Garbage) -> None:
    add(data, "0/a.jpg", b"")
    assert garbage("check", data, "--fix", "--report", tmp_path / "check").code == 0
    record = json.loads((data / "checked.json").read_text())
    assert garbage("check", data, "--fix", "--report", tmp_path / "check").code == 0
    assert json.loads((data / "checked.json").read_text()) == record
    assert [row["path"] for row in record["left_out"]] == ["0/a.jpg"]
    assert found(data) == {}


def test_two_texts_that_name_one_photo_leave_one_of_it(tmp_path: Path) -> None:
    (tmp_path / "garbage_classify_rule.json").write_text(json.dumps({"0": "可回收物/易拉罐", "1": "有害垃圾/干电池"}))
    for i in range(12):
        (tmp_path / f"img_{i}.jpg").write_bytes(encoded(photo(500 + i)))
        (tmp_path / f"img_{i}.txt").write_text(f"img_{i}.jpg, {i % 2}")
    Dataset.load(tmp_path).write_split()
    copied = Dataset.load(tmp_path).train[0]
    (tmp_path / "img_99.txt").write_text(f"{copied.path.name}, {copied.class_id}")
    fixed = fixing.fix(checked(tmp_path))
    assert [(each.path, each.why) for each in fixed.left_out] == [(copied.path.name, "duplicate: listed twice")]
    assert copied in Dataset.load(tmp_path).train


@pytest.mark.parametrize(
    "name", ["a\t1.jpg", "a\\1.jpg", "a  b.jpg", os.fsdecode(b"\xc0\xac 1.jpg"), "1.jpg 7.jpg", "，.jpg"]
)
def test_lists_of_ours_hold_whatever_names_photos_have(tmp_path: Path, name: str) -> None:
    for kind, seed in (("glass", 600), ("纸", 620)):
        (tmp_path / kind).mkdir()
        for i in range(10):
            (tmp_path / kind / f"{i} {name}").write_bytes(encoded(photo(seed + i)))
    (tmp_path / "glass" / "line\nbreak.jpg").write_bytes(encoded(photo(640)))
    (tmp_path / "glass" / "bad.jpg").write_bytes(b"")
    first = Dataset.load(tmp_path)
    first.write_split()
    assert Dataset.load(tmp_path).val == first.val
    fixed = fixing.fix(checked(tmp_path))
    assert sorted(each.path for each in fixed.left_out) == ["glass/bad.jpg", "glass/line\nbreak.jpg"]
    dataset = Dataset.load(tmp_path)
    assert len(dataset.left_out) == 2
    assert {s.path for s in (*dataset.train, *dataset.val)} == set(tmp_path.glob("*/*[0-9]*.jpg"))


def test_many_equal_photos_give_a_small_result(data: Path) -> None:
    for i in range(300):
        add(data, f"0/same {i}.jpg", JPEG, listed="train.txt" if i % 2 else "validate.txt")
    result = checked(data)
    assert result.counts() == {"leak": 150, "unbalanced": 7}
    assert len(json.dumps(page.as_json(result))) < 100_000


# ---- the cache


def test_a_second_check_reads_nothing_and_finds_the_same(data: Path) -> None:
    plant_thirty(data)
    first, second = checked(data), checked(data)
    assert first.fresh == len(first.records)
    assert second.fresh == 0
    assert second.findings == first.findings
    assert second.records == first.records


def test_a_photo_that_changes_is_read_again_though_size_and_time_stay(data: Path) -> None:
    path = Dataset.load(data).train[0].path
    checked(data)
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = checked(data)
    assert result.fresh == 1
    assert list(result.bad_photos()) == [path]


def test_a_cache_that_is_damaged_within_is_made_anew(data: Path) -> None:
    checked(data)
    file = cache_room.cache_file(Dataset.load(data).root)
    content = bytearray(file.read_bytes())
    content[2000:] = bytes(len(content) - 2000)
    file.write_bytes(content)
    assert checked(data).findings == ()
    checked(data)  # found damaged when it was written to, and made anew
    assert checked(data).fresh == 0


@given(st.integers(0, 2**32), st.integers(1, 200))
@settings(max_examples=60)
def test_whatever_damages_the_cache_the_check_is_right(drawn: Dataset, seed: int, bits: int) -> None:
    *_, right = check(drawn)
    file = cache_room.cache_file(drawn.root)
    content, random = bytearray(file.read_bytes()), np.random.default_rng(seed)
    for place in random.integers(0, len(content), bits):
        content[place] ^= 1 << int(random.integers(8))
    file.write_bytes(content[: int(random.integers(1, len(content) + 1))] if seed % 4 == 0 else content)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    *_, result = check(drawn)
    assert isinstance(result, Checked)
    assert isinstance(right, Checked)
    assert result.findings == right.findings
    assert result.records == right.records


@pytest.mark.parametrize(
    "left_out", [{}, [{"path": 5, "split": 7, "why": None}], [{"path": "\ud800", "split": "train", "why": ""}], [1]]
)
def test_a_record_of_cleaned_lists_that_a_stranger_wrote_is_not_believed(data: Path, left_out: object) -> None:
    add(data, "0/a.jpg", b"")
    fixing.fix(checked(data))
    record = json.loads((data / "checked.json").read_text())
    (data / "checked.json").write_text(json.dumps({**record, "left_out": left_out}))
    assert "another state" in Dataset.load(data).notes[0]
    fixing.fix(checked(data))
    assert len(Dataset.load(data).left_out) == 1


def test_a_photo_of_the_far_future_is_no_trouble(data: Path) -> None:
    path = Dataset.load(data).train[0].path
    os.utime(path, (10**10, 10**10))
    checked(data)
    assert checked(data).fresh == 0


@pytest.mark.parametrize("spoil", ["damaged", "a folder", "no place"])
def test_a_cache_that_cannot_be_used_is_done_without(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    file = cache_room.cache_file(Dataset.load(data).root)
    file.parent.mkdir(parents=True)
    if spoil == "damaged":
        file.write_bytes(b"not a database" * 100)
    elif spoil == "a folder":
        file.mkdir()
    else:
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert checked(data).findings == ()
    assert checked(data).fresh == (0 if spoil == "damaged" else 48)


def test_names_that_are_no_utf_8_are_kept_and_shown(data: Path, garbage: Garbage, tmp_path: Path) -> None:
    name = os.fsdecode(b"0/\xc0\xac \x1b[31m.jpg")
    (data / name).write_bytes(b"")
    folder = tmp_path / "folders"
    shutil.copytree(data / "0", folder / "0")
    shutil.copytree(data / "1", folder / "1")
    result = garbage("check", folder, "--report", tmp_path / "check")
    assert result.code == 1
    assert "\x1b[31m" not in result.out
    assert "\\xc0\\xac" in result.out
    assert json.loads((tmp_path / "check" / "check.json").read_text())["counts"]["empty"] == 1
    assert checked(folder).fresh == 0


# ---- many photos, and files that kill who reads them


def killing(paths: Sequence[str]) -> list[Row]:
    """Work for a worker process: dies over one file, as a decoder with a bug would."""
    if any("killer" in path for path in paths):
        os.kill(os.getpid(), signal.SIGKILL)
    return inspect_chunk(paths)


def test_a_file_that_kills_its_reader_is_found_out_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garbage_cli.check.inspection.FEW", 10)
    monkeypatch.setattr("garbage_cli.check.inspection.CHUNK", 4)
    paths = [str(tmp_path / f"{i}.png") for i in range(30)]
    for path in paths:
        photo(1, (40, 40)).save(path)
    paths[13] = str(tmp_path / "killer.jpg")
    results = list(inspect_all(paths, work=killing))
    assert len(results) == 30
    assert [i for i, each in enumerate(results) if each.record.fault] == [13]
    assert "died over it" in results[13].record.reason
    assert results[13].stamp is None  # so it is not remembered


def test_processes_and_threads_find_the_same(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(sample.path) for sample in Dataset.load(data).train]
    by_threads = list(inspect_all(paths))
    monkeypatch.setattr("garbage_cli.check.inspection.FEW", 0)
    assert list(inspect_all(paths)) == by_threads == [inspect(path) for path in paths]


def make_slow_data(root: Path) -> None:
    """1,200 photos of six megapixels, so that there is time to stop a check in."""
    for kind in "ab":
        (root / kind).mkdir(parents=True)
    content = encoded(photo(1, (3000, 2000)), quality=50)
    for i in range(1200):
        (root / "ab"[i % 2] / f"{i}.jpg").write_bytes(content + i.to_bytes(2, "big"))


def test_ctrl_c_keeps_what_was_read_and_leaves_no_workers(tmp_path: Path) -> None:
    make_slow_data(tmp_path / "data")
    process = subprocess.Popen(
        [sys.executable, "-m", "garbage_cli", "check", "data"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    file = cache_room.cache_file(tmp_path / "data")
    deadline = time.monotonic() + 120
    while not (file.is_file() and cached(tmp_path / "data")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert cached(tmp_path / "data") >= 500
    assert not (tmp_path / "check").exists()
    with pytest.raises(ProcessLookupError):
        wait_for_end_of_group(process.pid)


def cached(root: Path) -> int:
    with cache_room.open_cache(root) as cache:
        return len(cache.load())


def wait_for_end_of_group(group: int) -> None:
    """Raise ProcessLookupError as soon as no process of the group is left."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        os.killpg(group, 0)
        time.sleep(0.1)


def test_a_killed_check_leaves_no_workers(tmp_path: Path) -> None:
    make_slow_data(tmp_path / "data")
    process = subprocess.Popen(
        [sys.executable, "-m", "garbage_cli", "check", "data"], cwd=tmp_path, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not cached(tmp_path / "data") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait(timeout=30)
    with pytest.raises(ProcessLookupError):
        wait_for_end_of_group(process.pid)


# ---- what a person sees


def test_the_table_the_json_and_the_exit_code(data: Path, garbage: Garbage, tmp_path: Path) -> None:
    plant_thirty(data)
    report = tmp_path / "报 告"
    shown = garbage("check", data, "--report", report)
    assert shown.code == 1
    for word in (
        "可回收物 Recyclable",
        "photos that break off",
        "f09 不在.jpg",
        "train.txt, line",
        "not usable as it is",
    ):
        assert word in shown.out
    assert max(len(line) for line in shown.out.splitlines() if "│" in line) <= 80
    told = garbage("check", data, "--report", report, "--json")
    value = json.loads(told.out)
    assert told.code == 1
    assert json.loads((report / "check.json").read_text(encoding="utf-8")) == value
    assert (value["usable"], value["layout"]) == (False, "AI Studio lists")
    assert Counter(finding["kind"] for finding in value["findings"]) == value["counts"]
    (gone,) = [finding for finding in value["findings"] if finding["kind"] == "missing"]
    assert gone["path"] == "./2/f09 不在.jpg"
    assert gone["where"].startswith("train.txt, line ")


def test_the_page_shows_the_offenders_and_runs_nothing(data: Path) -> None:
    add(data, "0/<script>alert(1)<!-- '\".jpg", encoded(photo(70, (20, 20))))
    rule = json.loads((data / "garbage_classify_rule.json").read_text())
    rule["7"] = "有害垃圾/<img src=x onerror=alert(2)>"
    (data / "garbage_classify_rule.json").write_text(json.dumps(rule))
    html = page.render(checked(data))
    assert "<script" not in html
    assert "<img src=x" not in html
    assert html.count("data:image/jpeg;base64,") == 1
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_page_of_ten_thousand_offenders_stays_small(data: Path) -> None:
    result = checked(data)
    finding = replace(result.findings[0], path="0/img_0.jpg") if result.findings else None
    assert finding is None
    with (data / "train.txt").open("a") as file:
        file.writelines(f"./0/gone {i}.jpg 0\n" for i in range(10_000))
    html = page.render(checked(data))
    assert "lines that point nowhere: 10000" in html
    assert "and 9000 more; check.json names all" in html
    assert len(html) < 500_000


def test_check_says_what_it_needs_where_the_extra_is_missing(drawn: Dataset, tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['imagehash'] = None\n"
        f"sys.argv = ['garbage', 'check', {str(drawn.root)!r}]\n"
        "from garbage_cli.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("install the extra with: pip install 'garbage-cli[check]'\n")


def test_a_report_that_cannot_be_written_is_one_line(data: Path, garbage: Garbage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = garbage("check", data, "--report", tmp_path / "file")
    assert result.code == 1
    assert result.err.endswith("file is a file; name another folder with --report\n")
    assert result.err.count("\n") == 1  # and no photo was read before


def test_check_makes_and_writes_a_split_and_says_so(garbage: Garbage, tmp_path: Path) -> None:
    for kind, seed in (("glass", 300), ("paper", 320)):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "photos" / kind / f"{i}.jpg").write_bytes(encoded(photo(seed + i)))
    shutil.copy(tmp_path / "photos" / "glass" / "3.jpg", tmp_path / "photos" / "glass" / "copy.jpg")
    result = garbage("check", tmp_path / "photos", "--report", tmp_path / "check")
    assert result.code == 0, result.out  # a copy is on the side of its original, so nothing leaks
    assert "20% of each class set aside (seed 42), 4 photos, written to" in result.err
    assert len((tmp_path / "photos" / "validate.split.txt").read_text().splitlines()) == 4


# ---- training begins with it


def test_train_names_the_bad_photos_and_trains_on_the_others(data: Path, tmp_path: Path) -> None:
    add(data, "0/bad one.jpg", JPEG[:300])
    add(data, "0/good.jpg", JPEG)
    add(data, "0/good.jpg", JPEG, listed="validate.txt")
    options = ["--model", "MobileNetV3_small_x0_35", "--pretrained", "none", "--epochs", 1, "--batch-size", 8]
    small = ["--set", "preprocess.resize_short=32", "--set", "preprocess.crop=32"]
    result = run_program("train", data, *options, *small, cwd=tmp_path)
    assert result.code == 0, result.err
    assert "left out 0/bad one.jpg: damaged or incomplete image" in result.err
    assert "1 × the same photo in training and validation" in result.err
    assert "33 training and 17 validation photos" in result.err
    run = json.loads(next(tmp_path.glob("output/*/run.json")).read_text())
    assert run["photos"] == {"train": 33, "val": 17}


def test_train_on_nothing_but_bad_photos_is_one_line(data: Path, garbage: Garbage) -> None:
    for path in data.glob("*/*.jpg"):
        path.write_bytes(b"")
    result = garbage("train", data)
    assert result.code == 1
    assert "no training photo can be used; see: garbage check" in result.err


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", JPEG[:600], encoded(photo(4), "PNG")[:300], encoded(photo(4), "GIF")]),
)
def test_no_bytes_at_all_crash_the_inspection(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, head: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.jpg"
    path.write_bytes(head + tail)
    record = inspect(str(path)).record
    assert bool(record.fault) != bool(record.width)
    with contextlib.suppress(OSError):
        path.unlink()
