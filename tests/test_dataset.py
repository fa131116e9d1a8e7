import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from garbage_cli.dataset import Dataset
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
    ("train", "said"),
    [
        ("./0/a.jpg 7\n", r"train\.txt, line 1: class 7, but the labels name 3 classes"),
        ("./0/a.jpg 0\n./0/gone.jpg 0\n", r"line 2: no file .*gone\.jpg"),
        ("./0/a.jpg\n", "line 1: './0/a.jpg' is not of the form"),
        ("./0/a.jpg zero\n", "not of the form"),
        ("../../etc/passwd 0\n", "leads out of"),
        ("/etc/passwd 0\n", "leads out of"),
        ("\n\n", "lists no photo"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, train: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        Dataset.load(make(tmp_path, train=train))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="garbage unpack"):
        Dataset.load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"no train\.txt"):
        Dataset.load(tmp_path)
    make(tmp_path)
    (tmp_path / "garbage_classify_rule.json").write_text("{")
    with pytest.raises(DatasetError, match=r"rule\.json: not valid JSON, line 1"):
        Dataset.load(tmp_path)
    (tmp_path / "garbage_classify_rule.json").unlink()
    with pytest.raises(DatasetError, match="the classes have no names"):
        Dataset.load(tmp_path)
