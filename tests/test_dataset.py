import json
import os
import re
import shutil
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garbage_cli.dataset import SPLITS, Dataset, cleaned
from garbage_cli.errors import DatasetError

RULE = {"0": "可回收物/易拉罐", "1": "有害垃圾/干电池", "2": "厨余垃圾/鱼骨"}


def make(root: Path, *, train: str = "./0/a.jpg 0\n", val: str = "./1/b b.jpg 1\n", **files: bytes) -> Path:
    for name in ("0/a.jpg", "1/b b.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (root / "train.txt").write_text(train, encoding="utf-8", newline="")
    (root / "validate.txt").write_text(val, encoding="utf-8", newline="")
    extra: Mapping[str, bytes] = files or {"garbage_classify_rule.json": json.dumps(RULE).encode()}
    for name, data in extra.items():
        (root / name.replace("__", ".")).write_bytes(data)
    return root


def test_class_numbers_do_not_shift_when_a_split_lacks_a_class(tmp_path: Path) -> None:
    dataset = Dataset.load(make(tmp_path))
    assert len(dataset.labels) == 3
    assert dataset.counts("train") == {0: 1, 1: 0, 2: 0}
    assert dataset.val[0].class_id == 1


def test_the_folder_above_the_lists_will_do(tmp_path: Path) -> None:
    make(tmp_path / "data" / "garbage")
    assert Dataset.load(tmp_path / "data").root == tmp_path / "data" / "garbage"


def test_paths_with_spaces_crlf_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    dataset = Dataset.load(make(tmp_path, train="\ufeff./0/a.jpg 0\r\n./1/b b.jpg 1\r\n\r\n"))
    assert [sample.path.name for sample in dataset.train] == ["a.jpg", "b b.jpg"]


def test_a_tab_may_stand_before_the_class(tmp_path: Path) -> None:
    assert Dataset.load(make(tmp_path, val="./1/b b.jpg\t1\n")).val[0].path.name == "b b.jpg"


def test_a_rule_file_in_gbk_is_read(tmp_path: Path) -> None:
    rule = json.dumps(RULE, ensure_ascii=False).encode("gbk")
    assert Dataset.load(make(tmp_path, garbage_classify_rule__json=rule)).labels[2].name == "鱼骨"


def test_labels_txt_stands_in_for_a_missing_rule_file(tmp_path: Path) -> None:
    labels = "可回收物/易拉罐\n有害垃圾/干电池\n".encode()
    assert Dataset.load(make(tmp_path, labels__txt=labels)).labels[1].name == "干电池"


def test_the_rule_file_wins_over_labels_txt(tmp_path: Path) -> None:
    rule = json.dumps({"0": "其他垃圾/烟蒂", "1": "其他垃圾/竹筷"}).encode()
    dataset = Dataset.load(make(tmp_path, garbage_classify_rule__json=rule, labels__txt=b"x\ny\n"))
    assert dataset.labels[0].name == "烟蒂"


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("./0/a.jpg 7", "unnamed-class", "class 7, but the labels name 3 classes"),
        ("./0/a.jpg 99999999999999999999", "bad-line", "not of the form"),
        ("./0/gone.jpg 0", "missing", "no such file"),
        ("./0/A.JPG 0", "missing", "there is a.jpg"),
        (f"./0/{'x' * 300}.jpg 0", "missing", "no such file"),
        ("./0/a\0.jpg 0", "missing", "no such file"),
        ("./0 0", "missing", "no such file"),
        ("./0/a.jpg", "bad-line", "not of the form PATH CLASS_NUMBER"),
        ("./0/a.jpg zero", "bad-line", "not of the form"),
        ("./0/a.jpg -1", "bad-line", "not of the form"),
        ("./0/a.jpg ²", "bad-line", "not of the form"),
        ("../../etc/passwd 0", "outside", "leads out of"),
        ("/etc/passwd 0", "outside", "leads out of"),
        ("/ 0", "outside", "leads out of"),
        ("C:\\photos\\a.jpg 0", "outside", "leads out of"),
        ("0\\..\\..\\a.jpg 0", "outside", "leads out of"),
    ],
)
def test_a_wrong_line_is_named_and_the_others_are_kept(tmp_path: Path, line: str, kind: str, said: str) -> None:
    dataset = Dataset.load(make(tmp_path, train=f"./0/a.jpg 0\n{line}\n"))
    assert [sample.path.name for sample in dataset.train] == ["a.jpg"]
    (problem,) = dataset.problems
    assert (problem.kind, problem.split, problem.where) == (kind, "train", "train.txt, line 2")
    assert said in problem.reason


def test_a_list_without_a_usable_photo_is_an_error_that_names_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lists no photo"):
        Dataset.load(make(tmp_path, train="\n\n"))
    with pytest.raises(DatasetError, match=r"no training photo that can be used: train\.txt, line 1: './0/x\.jpg'"):
        Dataset.load(make(tmp_path, train="./0/x.jpg 0\n"))


NAMES = st.sampled_from(["./0/a.jpg", "1/b b.jpg", "..", "/", "0/../0/a.jpg", "\\"])
LINES = st.one_of(st.text(max_size=30), st.builds("{} {}".format, NAMES, st.text("0123456789 ", max_size=4)))


@given(
    st.lists(LINES, max_size=8),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_no_list_crashes_and_every_line_is_a_photo_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], encoding: str, ending: str
) -> None:
    root = make(tmp_path_factory.mktemp("lists"))
    (root / "train.txt").write_bytes(ending.join(["./0/a.jpg 0", *texts]).encode(encoding, errors="replace"))
    dataset = Dataset.load(root)
    assert dataset.train[0].path == root / "0" / "a.jpg"
    assert all(root in sample.path.parents and sample.path.is_file() for sample in dataset.train)
    inside = [text for text in re.split(r"\r\n|\r|\n", ending.join(texts)) if text.strip()]
    if encoding != "gb18030":  # what GBK can't hold is replaced, and what it gives may read as UTF-8 by chance
        assert len(dataset.train) - 1 + len(dataset.problems) == len([text for text in inside if text.strip()])


def test_a_list_in_utf_16_is_read(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "train.txt").write_bytes("./0/a.jpg 0\r\n".encode("utf-16"))
    assert len(Dataset.load(root).train) == 1


@pytest.mark.parametrize("written", ["NFC", "NFD", "gbk"])
def test_a_chinese_or_accented_name_is_found_however_it_was_written(tmp_path: Path, written: str) -> None:
    name = "é 垃圾.jpg" if written != "gbk" else "垃圾.jpg"
    disk = name.encode("gbk") if written == "gbk" else unicodedata.normalize(written, name).encode()
    root = make(tmp_path, train=f"./0/{name} 0\n")
    (root / "0" / os.fsdecode(disk)).write_bytes(b"")
    assert len(Dataset.load(root).train) == 1


# ---- layouts


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def shape(dataset: Dataset) -> dict[str, dict[str, int]]:
    return {split: {s.path.name: s.class_id for s in dataset.split(split)} for split in SPLITS}


def test_class_folders_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = [f"{kind}/{kind[0]}{i}.jpg" for kind in ("glass", "cardboard", "plastic") for i in range(10)]
    dataset = Dataset.load(touch(tmp_path / "data" / "TrashNet", *names, "__MACOSX/._a.jpg", "docs/readme.md"))
    assert dataset.layout == "class folders"
    assert [label.name for label in dataset.labels.items] == ["cardboard", "glass", "plastic"]
    assert dataset.counts("train") == {0: 8, 1: 8, 2: 8}
    assert dataset.counts("val") == {0: 2, 1: 2, 2: 2}


def test_class_folders_may_stand_in_folders_of_bins_or_name_the_bin(tmp_path: Path) -> None:
    for root in (
        touch(tmp_path / "a", "可回收物/易拉罐/1.jpg", "可回收物/纸板箱/2.jpg", "有害垃圾/干电池/3.jpg"),
        touch(tmp_path / "b", "可回收物_易拉罐/1.jpg", "可回收物_纸板箱/2.jpg", "有害垃圾_干电池/3.jpg"),
    ):
        texts = Dataset.load(root).labels.texts
        assert sorted(texts) == ["可回收物/易拉罐", "可回收物/纸板箱", "有害垃圾/干电池"]


def test_numbered_class_folders_keep_their_numbers(tmp_path: Path) -> None:
    dataset = Dataset.load(touch(tmp_path, "0/a.jpg", "3/b.jpg", "10/c.jpg"))
    assert len(dataset.labels) == 11
    assert shape(dataset)["train"] == {"a.jpg": 0, "b.jpg": 3, "c.jpg": 10}


def test_a_rule_file_names_numbered_folders_and_labels_named_ones(tmp_path: Path) -> None:
    root = touch(tmp_path / "a", "0/a.jpg", "2/b.jpg", "7/c.jpg")
    (root / "garbage_classify_rule.json").write_text(json.dumps(RULE))
    dataset = Dataset.load(root)
    assert [dataset.labels[s.class_id].name for s in dataset.train] == ["易拉罐", "鱼骨"]
    assert [(p.kind, p.where) for p in dataset.problems] == [("unnamed-class", "folder 7")]
    root = touch(tmp_path / "b", "干电池/a.jpg", "Drink Can/b.jpg", "厨余垃圾_鱼骨/c.jpg")
    (root / "labels.txt").write_text("\n".join(RULE.values()))
    assert shape(Dataset.load(root))["train"] == {"a.jpg": 1, "b.jpg": 0, "c.jpg": 2}


def test_split_folders_number_classes_over_all_splits(tmp_path: Path) -> None:
    names = ["Train/b/1.jpg", "Train/c/2.jpg", "valid/a/3.jpg", "valid/c/4.jpg", "test/b/5.jpg"]
    dataset = Dataset.load(touch(tmp_path, *names))
    assert dataset.layout == "train and val folders"
    assert [label.name for label in dataset.labels.items] == ["a", "b", "c"]
    assert shape(dataset) == {"train": {"1.jpg": 1, "2.jpg": 2}, "val": {"3.jpg": 0, "4.jpg": 2}, "test": {"5.jpg": 1}}


def test_an_empty_class_folder_is_a_class_without_photos(tmp_path: Path) -> None:
    (touch(tmp_path, "a/1.jpg", "c/2.jpg") / "b").mkdir()
    assert Dataset.load(tmp_path).counts("train") == {0: 1, 1: 0, 2: 1}


def test_years_are_names_and_names_go_before_numbers(tmp_path: Path) -> None:
    dataset = Dataset.load(touch(tmp_path / "years", "2019/a.jpg", "2020/b.jpg"))
    assert [label.name for label in dataset.labels.items] == ["2019", "2020"]
    root = touch(tmp_path / "named", "1/a.jpg", "2/b.jpg", "3/c.jpg")
    (root / "labels.txt").write_text("1\n2\n3\n")
    assert shape(Dataset.load(root))["train"] == {"a.jpg": 0, "b.jpg": 1, "c.jpg": 2}


def test_a_stray_photo_beside_kinds_does_not_hide_them(tmp_path: Path) -> None:
    dataset = Dataset.load(touch(tmp_path, "可回收物/易拉罐/1.jpg", "可回收物/包/2.jpg", "可回收物/stray.jpg"))
    assert sorted(dataset.labels.texts) == ["可回收物/包", "可回收物/易拉罐"]


def test_class_folders_may_be_links(tmp_path: Path) -> None:
    touch(tmp_path / "far", "a/1.jpg", "b/2.jpg")
    (tmp_path / "data").mkdir()
    for kind in "ab":
        (tmp_path / "data" / kind).symlink_to(tmp_path / "far" / kind)
    assert len(Dataset.load(tmp_path / "data").train) == 2


def test_absolute_paths_into_the_data_set_and_commas_are_read(tmp_path: Path) -> None:
    root = make(tmp_path, train=f"{tmp_path}/0/a.jpg 0\n0/a.jpg,1\n0/a.jpg , 2\n")
    assert [sample.class_id for sample in Dataset.load(root).train] == [0, 1, 2]


@pytest.mark.parametrize(
    "rule",
    [
        '{"0": "a", "00": "b"}',
        '{"0": "a", "1": "b", "1": "c"}',
        '{"0": "a\\u202eb"}',
        '{"0": "\\ud800x"}',
        '{"0": "\\u001b]0;x"}',
        '{"0": ' + "9" * 5000 + "}",
    ],
)
def test_rule_files_that_would_mislead_are_refused(tmp_path: Path, rule: str) -> None:
    root = make(tmp_path, garbage_classify_rule__json=rule.encode())
    with pytest.raises(DatasetError, match=r"rule\.json: "):
        Dataset.load(root)


@pytest.mark.parametrize("numbered", [False, True])
def test_paddlex_lists_are_read(tmp_path: Path, numbered: bool) -> None:
    root = touch(tmp_path, "images/1.jpg", "images/2.jpg", "images/3.jpg")
    (root / "label.txt").write_text("0 易拉罐\n1 干 电池\n" if numbered else "易拉罐\n干 电池\n", encoding="gbk")
    for name, text in (("train", "images/1.jpg 1"), ("val", "images/2.jpg 0"), ("test", "images/3.jpg 1")):
        (root / f"{name}.txt").write_text(text)
    dataset = Dataset.load(root)
    assert dataset.layout == "PaddleX lists"
    assert [label.name for label in dataset.labels.items] == ["易拉罐", "干 电池"]
    assert shape(dataset) == {"train": {"1.jpg": 1}, "val": {"2.jpg": 0}, "test": {"3.jpg": 1}}


def test_the_original_release_is_read(tmp_path: Path) -> None:
    root = touch(tmp_path / "garbage_classify", *[f"train_data/img_{i}.jpg" for i in range(12)], "train_data/odd.jpg")
    (root / "garbage_classify_rule.json").write_text(json.dumps(RULE))
    for i in range(12):
        (root / "train_data" / f"img_{i}.txt").write_bytes(f"\ufeffimg_{i}.jpg, {i % 2}\r\n".encode())
    (root / "train_data" / "odd.txt").write_text("no label here")
    (root / "train_data" / "img_99.txt").write_text("img_99.jpg, 1")
    dataset = Dataset.load(tmp_path)
    assert dataset.layout == "photos with texts"
    assert dataset.counts("train") == {0: 5, 1: 5, 2: 0}
    assert dataset.counts("val") == {0: 1, 1: 1, 2: 0}
    assert sorted((p.kind, p.where) for p in dataset.problems) == [("bad-line", "odd.txt"), ("missing", "img_99.txt")]


def test_several_data_sets_in_one_folder_are_not_guessed_between(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    with pytest.raises(DatasetError, match=r"holds 2 data sets \(one, two…\): name one"):
        Dataset.load(tmp_path)


# ---- a validation split where there is none


def test_the_split_that_is_made_is_written_down_and_holds(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{kind}/{i}.jpg" for kind in "ab" for i in range(10)])
    first = Dataset.load(tmp_path)
    said = first.write_split()
    assert said is not None
    assert "20% of each class set aside (seed 42), 4 photos" in said
    assert Dataset.load(tmp_path).val == first.val
    assert "validation photos as in " in str(Dataset.load(tmp_path).write_split())
    (tmp_path / "validate.split.txt").unlink()
    assert Dataset.load(tmp_path).val == first.val


def test_a_split_grows_with_its_data_set_and_by_new_photos_alone(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{kind}/{i}.jpg" for kind in "ab" for i in range(10)])
    first = Dataset.load(tmp_path)
    first.write_split()
    touch(tmp_path, *[f"a/new {i}.jpg" for i in range(40)])
    later = Dataset.load(tmp_path)
    assert later.counts("val") == {0: 10, 1: 2}
    before, now = ({sample.path for sample in each.val} for each in (first, later))
    assert before < now
    assert all(path.name.startswith("new") for path in now - before)
    assert "12 photos, written to" in str(later.write_split())
    assert Dataset.load(tmp_path).val == later.val
    for path in now:  # nobody knows any more what was validated with
        path.unlink()
    assert Dataset.load(tmp_path).counts("val") == {0: 8, 1: 2}


def test_a_split_of_a_version_that_wrote_one_list_only_grows_from_its_second_load_on(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{kind}/{i}.jpg" for kind in "ab" for i in range(10)])
    first = Dataset.load(tmp_path)
    first.write_split()
    (tmp_path / "train.split.txt").unlink()
    touch(tmp_path, *[f"a/{i}.jpg" for i in range(10, 20)])
    assert Dataset.load(tmp_path).val == first.val  # each of them may have been trained on
    assert "validation photos as in " in str(Dataset.load(tmp_path).write_split())
    touch(tmp_path, *[f"a/{i}.jpg" for i in range(20, 30)])
    later = Dataset.load(tmp_path)
    assert later.counts("val") == {0: 6, 1: 2}
    assert all(int(sample.path.stem) >= 20 for sample in later.val if sample not in first.val)


def test_a_new_copy_goes_where_the_photo_is(tmp_path: Path) -> None:
    touch(tmp_path, *[f"a/{i}.jpg" for i in range(10)], *[f"b/{i}.jpg" for i in range(10)])
    for path in tmp_path.rglob("*.jpg"):
        path.write_text(f"{path.parent.name}{path.stem}")
    first = Dataset.load(tmp_path)
    first.write_split()
    validated = {sample.path for sample in first.val}
    for path in (*validated, *(sample.path for sample in first.train)):
        (path.parent / f"copy of {path.name}").write_bytes(path.read_bytes())
    copies = {path.with_name(f"copy of {path.name}") for path in validated}
    assert {sample.path for sample in Dataset.load(tmp_path).val} == validated | copies


def test_something_is_left_to_train_on_of_each_class(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{kind}/{i}.jpg" for kind in "ab" for i in range(5)])
    first = Dataset.load(tmp_path)
    first.write_split()
    for sample in first.train:
        sample.path.unlink()
    touch(tmp_path, *[f"{kind}/new {i}.jpg" for kind in "ab" for i in range(9)])
    for path in tmp_path.rglob("new*"):
        path.write_text("the same")
    dataset = Dataset.load(tmp_path)
    assert (dataset.counts("train"), dataset.counts("val")) == ({0: 9, 1: 9}, {0: 1, 1: 1})


def test_the_written_split_survives_new_and_removed_classes(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{kind}/{i}.jpg" for kind in "bc" for i in range(10)])
    before = Dataset.load(tmp_path)
    before.write_split()
    touch(tmp_path, *[f"a/{i}.jpg" for i in range(10)])  # the classes are numbered anew
    after = Dataset.load(tmp_path)
    assert {s.path for s in before.val} < {s.path for s in after.val}
    assert after.counts("val") == {0: 2, 1: 2, 2: 2}
    assert "6 photos, written to" in str(after.write_split())
    shutil.rmtree(tmp_path / "b")
    assert Dataset.load(tmp_path).counts("val") == {0: 2, 1: 2}


def test_a_split_of_nothing_is_not_written(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    assert Dataset.load(tmp_path).write_split() is None
    touch(tmp_path, *[f"{kind}/new {i}.jpg" for kind in "ab" for i in range(9)])
    assert len(Dataset.load(tmp_path).val) == 4


def test_copies_go_to_one_side_of_a_split_that_is_made(tmp_path: Path) -> None:
    touch(tmp_path, *[f"a/{i}.jpg" for i in range(20)])
    for i in range(20):
        (tmp_path / "a" / f"{i}.jpg").write_bytes(f"photo {i // 2}".encode())
    (tmp_path / "labels.txt").write_text("a\n")
    dataset = Dataset.load(tmp_path)
    assert len(dataset.val) == 4
    assert not {s.path.read_bytes() for s in dataset.val} & {s.path.read_bytes() for s in dataset.train}


def test_the_split_depends_on_names_alone(tmp_path: Path) -> None:
    touch(tmp_path / "x", *[f"{kind}/{i}.jpg" for kind in "ab" for i in range(10)])
    touch(tmp_path / "y", *[f"{kind}/{i}.jpg" for kind in "ab" for i in reversed(range(10))])
    chosen = [{d.name(s.path) for s in d.val} for d in map(Dataset.load, (tmp_path / "x", tmp_path / "y"))]
    assert chosen[0] == chosen[1]


def test_a_split_that_is_there_is_left_alone(tmp_path: Path) -> None:
    dataset = Dataset.load(make(tmp_path))
    assert dataset.write_split() is None
    assert not (tmp_path / "validate.split.txt").exists()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="garbage unpack"):
        Dataset.load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"no data set in .*: no train\.txt"):
        Dataset.load(tmp_path)
    make(tmp_path)
    (tmp_path / "garbage_classify_rule.json").write_text("{")
    with pytest.raises(DatasetError, match=r"rule\.json: not valid JSON, line 1"):
        Dataset.load(tmp_path)
    (tmp_path / "garbage_classify_rule.json").write_text("[" * 100_000)
    with pytest.raises(DatasetError, match=r"rule\.json: "):
        Dataset.load(tmp_path)
    (tmp_path / "garbage_classify_rule.json").unlink()
    with pytest.raises(DatasetError, match="the classes have no names"):
        Dataset.load(tmp_path)


# ---- lists that someone names


def photos_in(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def named(folder: Path, **options: object) -> Dataset:
    """Photos in folder/images, lists of other names than we know in folder/lists."""
    photos_in(folder / "images", *(f"{i}.jpg" for i in range(8)))
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists" / "a.txt").write_text("".join(f"{i}.jpg {i % 2}\n" for i in range(6)))
    (folder / "lists" / "b.txt").write_text("6.jpg\t0\n7.jpg 1\n")
    (folder / "lists" / "names.txt").write_text("0 can\n1 fish bone\n")
    values: dict[str, Any] = {"train": folder / "lists" / "a.txt", "val": folder / "lists" / "b.txt", **options}
    return Dataset.from_lists(folder / "images", **values)


def test_named_lists_are_read_from_a_root_that_is_elsewhere(tmp_path: Path) -> None:
    found = named(tmp_path, labels=tmp_path / "lists" / "names.txt", class_count=2, total_images=6)
    assert (found.root, found.layout, found.notes) == (tmp_path / "images", "PaddleClas lists", ())
    assert ([s.path.name for s in found.val], len(found.train)) == (["6.jpg", "7.jpg"], 6)
    assert found.labels.texts == ("can", "fish bone")
    assert found.where("val", found.val[1]) == "b.txt, line 2"


def test_without_a_validation_list_some_are_set_aside_and_stay(tmp_path: Path) -> None:
    first = named(tmp_path, val=None)
    assert (first.split_made, len(first.train), len(first.val)) == (True, 4, 2)
    assert "written to" in (first.write_split() or "")
    assert named(tmp_path, val=None).val == first.val


@pytest.mark.parametrize("place", ["images/labels.txt", "labels.txt", "lists/labels.txt"])
def test_names_of_classes_are_looked_for_beside_the_photos_above_them_and_beside_the_list(
    tmp_path: Path, place: str
) -> None:
    photos_in(tmp_path, place)
    (tmp_path / place).write_text("can\nfish bone\n")
    assert named(tmp_path).labels.texts == ("can", "fish bone")


def test_without_names_the_numbers_are_names(tmp_path: Path) -> None:
    assert named(tmp_path).labels.texts == ("0", "1")
    found = named(tmp_path, class_count=3)
    assert found.labels.texts == ("0", "1", "2")
    assert "called 0 … 2" in found.notes[0]


def test_a_slip_in_a_class_number_does_not_make_a_million_classes(tmp_path: Path) -> None:
    named(tmp_path)
    (tmp_path / "lists" / "slip.txt").write_text("0.jpg 0\n1.jpg 1\n2.jpg 100000000\n")
    found = named(tmp_path, train=tmp_path / "lists" / "slip.txt")
    assert (len(found.labels), [problem.kind for problem in found.problems]) == (2, ["unnamed-class"])


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_a_class_count_that_cannot_be_is_named(tmp_path: Path, count: int) -> None:
    with pytest.raises(DatasetError, match=f"has {count} classes; it must be 1 to 100,000"):
        named(tmp_path, class_count=count)


def test_a_class_count_that_differs_from_the_names_is_told(tmp_path: Path) -> None:
    names = tmp_path / "lists" / "names.txt"
    more = named(tmp_path, labels=names, class_count=40)
    assert (len(more.labels), more.notes) == (
        2, (f"the training file has 40 classes, {names} names 2: the network gets 2",),
    )  # fmt: skip
    few = named(tmp_path, labels=names, class_count=1)
    assert (few.labels.texts, {problem.kind for problem in few.problems}) == (("0",), {"unnamed-class"})
    assert "names 2 classes, the training file has 1: it is not used" in few.notes[0]
    (tmp_path / "images" / "labels.txt").write_text("can\nfish bone\nbox\n")
    cut = named(tmp_path, class_count=2)
    assert (cut.labels.texts, "the first 2 are taken" in cut.notes[0]) == (("can", "fish bone"), True)


def test_a_file_of_names_that_is_no_use_is_told_and_done_without(tmp_path: Path) -> None:
    gone = named(tmp_path, labels=tmp_path / "gone.txt")
    assert (gone.labels.texts, gone.notes[0]) == (
        ("0", "1"), f"no file {tmp_path / 'gone.txt'}: the names of the classes are looked for beside the lists",
    )  # fmt: skip
    (tmp_path / "bad.json").write_text("{")
    assert "it is not used" in named(tmp_path, labels=tmp_path / "bad.json").notes[0]


def test_another_number_of_training_photos_than_lines_is_told(tmp_path: Path) -> None:
    found = named(tmp_path, class_count=2, labels=tmp_path / "lists" / "names.txt", total_images=11745)
    assert "speaks of 11745 training photos" in found.notes[0]
    assert "has 6 lines" in found.notes[0]


def test_a_validation_root_beside_or_inside_the_other_will_do(tmp_path: Path) -> None:
    photos_in(tmp_path / "others", "6.jpg", "7.jpg")
    beside = named(tmp_path, val_root=tmp_path / "others")
    assert (beside.root, [beside.name(s.path) for s in beside.val]) == (tmp_path, ["others/6.jpg", "others/7.jpg"])
    photos_in(tmp_path / "images" / "val", "6.jpg", "7.jpg")
    inside = named(tmp_path, val_root=tmp_path / "images" / "val")
    assert (inside.root, inside.name(inside.val[0].path)) == (tmp_path / "images", "val/6.jpg")
    photos_in(tmp_path / "far" / "away", "6.jpg", "7.jpg")
    with pytest.raises(DatasetError, match="put one of them beside the other or inside it"):
        named(tmp_path, val_root=tmp_path / "far" / "away")


def test_lines_that_lead_out_of_the_root_are_never_opened(tmp_path: Path) -> None:
    named(tmp_path)
    (tmp_path / "lists" / "out.txt").write_text("0.jpg 0\n1.jpg 1\n../lists/a.txt 0\n/etc/passwd 1\n")
    found = named(tmp_path, train=tmp_path / "lists" / "out.txt")
    assert [problem.kind for problem in found.problems] == ["outside", "outside"]


def test_lists_that_hold_nothing_or_nothing_of_use_are_named(tmp_path: Path) -> None:
    named(tmp_path)
    (tmp_path / "lists" / "empty.txt").write_text("\n")
    with pytest.raises(DatasetError, match="no training photo"):
        named(tmp_path, train=tmp_path / "lists" / "empty.txt")
    (tmp_path / "lists" / "wrong.txt").write_text("gone.jpg 0\n")
    with pytest.raises(DatasetError, match=r"wrong\.txt names no photo that can be used: wrong\.txt, line 1"):
        named(tmp_path, val=tmp_path / "lists" / "wrong.txt")


def test_cleaned_lists_count_where_the_named_lists_are_the_folders_own(tmp_path: Path) -> None:
    root = make(tmp_path / "data", train="./0/a.jpg 0\n./1/b b.jpg 1\n")
    (root / "test.txt").write_text("./0/a.jpg 0\n")
    asked = {"train": root / "train.txt", "val": root / "validate.txt"}
    plain = Dataset.load(root)
    assert Dataset.from_lists(root, **asked).found == plain.found
    splits = {"train": plain.train[:1], "val": plain.val, "test": plain.test}
    cleaned.write(root, splits, left_out=[], fingerprint=plain.found)
    assert len(Dataset.from_lists(root, **asked).train) == 1
    other = Dataset.from_lists(root, train=root / "train.txt")
    assert len(other.train) + len(other.val) == 2
    assert "are of other lists or classes than the training file's: not used" in other.notes[0]


# ---- what a server collects


def collected(root: Path, *names: str, labels: str = "可回收物/易拉罐\n有害垃圾/干电池\n") -> Path:
    for folder in ("train", "unconfirmed", "none"):
        (root / folder).mkdir(parents=True)
    (root / "labels.txt").write_text(labels, encoding="utf-8")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_of_collected_photos_those_count_that_a_person_said_a_word_to(tmp_path: Path) -> None:
    root = collected(
        tmp_path, "train/有害垃圾/干电池/a.jpg", "train/1/b.jpg", "unconfirmed/可回收物/易拉罐/c.jpg", "none/d.jpg"
    )
    dataset = Dataset.load(root)
    assert (dataset.layout, len(dataset.labels)) == ("train and val folders", 2)
    assert {(sample.path.name, sample.class_id) for sample in (*dataset.train, *dataset.val)} == {
        ("a.jpg", 1), ("b.jpg", 1),
    }  # fmt: skip


@pytest.mark.parametrize("emptied", [(), ("train/可回收物/易拉罐",)])
def test_a_collection_nobody_has_looked_through_is_not_read_and_says_how(
    tmp_path: Path, emptied: tuple[str, ...]
) -> None:
    photos = ("unconfirmed/可回收物/易拉罐/a.jpg", "unconfirmed/有害垃圾/干电池/b.jpg", "none/c.jpg")
    root = collected(tmp_path / "data" / "c", *photos)
    for name in emptied:
        (root / name).mkdir(parents=True)
    for named in (root, tmp_path / "data"):
        with pytest.raises(DatasetError, match="has been confirmed or corrected yet") as caught:
            Dataset.load(named)
        assert f"nothing in {root} has" in str(caught.value)
        assert f"look through {root / 'unconfirmed'}, and move what is right into {root / 'train'}" in str(caught.value)


def test_the_unconfirmed_photos_are_read_where_they_are_named(tmp_path: Path) -> None:
    root = collected(tmp_path, "unconfirmed/有害垃圾/干电池/a.jpg", "train/可回收物/易拉罐/b.jpg", "none/c.jpg")
    for folder, class_id in (("unconfirmed", 1), ("train", 0)):  # one class alone will do: its name is known
        dataset = Dataset.load(root / folder)
        assert [sample.class_id for sample in dataset.train] == [class_id]
        assert len(dataset.labels) == 2


def test_a_data_set_beside_an_untouched_collection_is_found(tmp_path: Path) -> None:
    collected(tmp_path / "collected", "unconfirmed/有害垃圾/干电池/a.jpg")
    make(tmp_path / "garbage")
    assert Dataset.load(tmp_path).root == tmp_path / "garbage"


@pytest.mark.parametrize("beside", ["unconfirmed", "can"])
def test_classes_called_none_and_unconfirmed_are_classes(tmp_path: Path, beside: str) -> None:
    for name in ("none", beside):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"")
    (tmp_path / "labels.txt").write_text(f"{beside}\nnone\n")
    dataset = Dataset.load(tmp_path)
    assert dataset.layout == "class folders"
    assert {sample.class_id for sample in (*dataset.train, *dataset.val)} == {0, 1}
