"""Features: computed once for each content, kept in shards, and never wrong."""

import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training import NETWORK, config

from garbage_cli import features, zoo
from garbage_cli.config import TrainConfig
from garbage_cli.dataset import Dataset, Sample
from garbage_cli.errors import ConfigError
from garbage_cli.features import Features, compute, front, training_features, validation_features
from garbage_cli.features.store import DIGESTS, ROWS, Store, make_room, usable_folder
from garbage_cli.partition import Cut, cut
from garbage_cli.reports import FeatureReport, LeftOut

VIEWS = 3


def settings(**more: object) -> TrainConfig:
    part = {"views": VIEWS, "epochs": 2, "batch_size": 8}
    return config(tune="head", model__pretrained="some", head=part, last_stage=part, **more)


@pytest.fixture(scope="module")
def network() -> Any:
    import paddle

    paddle.seed(7)
    return zoo.build(NETWORK, class_count=8)[0]


@pytest.fixture
def head(network: Any) -> Cut:
    return cut(network, part="head", head="fc", crop=32)


@pytest.fixture
def some(drawn: Dataset) -> Dataset:
    return replace(drawn, train=drawn.train[:10], val=drawn.val[:4])


@pytest.fixture(autouse=True)
def in_paddle(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No conversion for most tests: it takes seconds."""
    if "openvino" not in request.node.name:
        monkeypatch.setattr(front, "in_openvino", lambda *_: (_ for _ in ()).throw(RuntimeError))


def made(found: Cut, chosen: TrainConfig, data: Dataset, folder: Path) -> tuple[Features, list[Any], int, int]:
    """The features, the reports, and how many training and validation photos were computed."""
    reports = []
    work = compute(found, chosen, data, folder=folder, stop=lambda: False)
    while True:
        try:
            reports.append(next(work))
        except StopIteration as end:
            counts = [
                sum(isinstance(r, FeatureReport) and r.validation is plain for r in reports) for plain in (False, True)
            ]
            return end.value, reports, *counts


def rows(kept: features.Kept) -> list[np.ndarray | None]:
    return [kept.row(index) for index in range(len(kept.samples))]


def assert_rows_same(one: features.Kept, other: features.Kept) -> None:
    for mine, theirs in zip(rows(one), rows(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_same_photo_under_another_name_is_not_computed_again(head: Cut, some: Dataset, tmp_path: Path) -> None:
    first, _, *counts = made(head, settings(), some, tmp_path / "cache")
    assert counts == [10, 4]
    copied = []
    for sample in reversed(some.train):
        copied.append(replace(sample, path=tmp_path / f"copy of {sample.path.name}"))
        shutil.copyfile(sample.path, copied[-1].path)
    again, _, *counts = made(head, settings(), replace(some, train=tuple(copied)), tmp_path / "cache")
    assert counts == [0, 0]
    for mine, theirs in zip(rows(first.train), reversed(rows(again.train)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine is not None
        assert mine.shape == (VIEWS, 1280)
        assert not np.array_equal(mine[0], mine[1])


def test_two_photos_of_one_content_are_computed_once(head: Cut, some: Dataset, tmp_path: Path) -> None:
    twice = replace(some, train=some.train[:3] * 2)
    assert made(head, settings(), twice, tmp_path)[2] == 3


def test_a_changed_photo_is_computed_anew(head: Cut, some: Dataset, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    shutil.copyfile(some.train[0].path, photo)
    data = replace(some, train=(Sample(photo, 0), *some.train[1:]))
    before = made(head, settings(), data, tmp_path / "cache")[0]
    old = np.array(before.train.row(0))
    shutil.copyfile(some.val[0].path, photo)
    after, _, *counts = made(head, settings(), data, tmp_path / "cache")
    assert counts == [1, 0]
    assert not np.array_equal(after.train.row(0), old)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"seed": 43}, [10, 0]),
        ({"augment__erase": 0.1}, [10, 0]),
        ({"augment__policy": "randaugment"}, [10, 0]),
        ({"preprocess__resize_short": 40}, [10, 4]),
        ({"preprocess__crop": 31}, [10, 4]),
        ({"preprocess__mean": [0.5, 0.5, 0.5]}, [10, 4]),
        ({"loss__label_smoothing": 0.1, "select_by": "macro_f1", "workers": 1}, [0, 0]),
        ({"augment__mixup": 0.5}, [0, 0]),
    ],
    ids=str,
)
def test_what_features_depend_on_computes_them_anew_and_nothing_else_does(
    network: Any, head: Cut, some: Dataset, tmp_path: Path, change: dict[str, object], counts: list[int]
) -> None:
    made(head, settings(), some, tmp_path)
    other = settings(**change)
    assert made(cut(network, part="head", head="fc", crop=other.preprocess.crop), other, some, tmp_path)[2:] == (
        *counts,
    )


def test_other_weights_compute_features_anew_but_another_head_does_not(
    head: Cut, network: Any, some: Dataset, tmp_path: Path
) -> None:
    made(head, settings(), some, tmp_path)
    network.fc.weight.set_value(network.fc.weight + 1)
    assert made(head, settings(), some, tmp_path)[2:] == (0, 0)
    kept = network.conv.conv.weight.clone()
    try:
        network.conv.conv.weight.set_value(kept * 1.001)
        assert made(head, settings(), some, tmp_path)[2:] == (10, 4)
    finally:
        network.conv.conv.weight.set_value(kept)


def shards(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.rglob(f"*{kind}"))


@pytest.mark.parametrize("kind", [ROWS, DIGESTS])
@pytest.mark.parametrize("damage", ["empty", "half", "short", "gone", "noise"])
def test_a_damaged_shard_is_computed_again(head: Cut, some: Dataset, tmp_path: Path, kind: str, damage: str) -> None:
    first = made(head, settings(), some, tmp_path)[0]
    expected = [np.array(row) for row in rows(first.train)]
    del first
    for path in shards(tmp_path, kind):
        data = path.read_bytes()
        path.unlink()
        if damage != "gone":
            spoilt = {
                "empty": b"", "half": data[: len(data) // 2], "short": data[:-1], "noise": bytes(range(256)) * 40,
            }  # fmt: skip
            path.write_bytes(spoilt[damage])
    again, _, *counts = made(head, settings(), some, tmp_path)
    assert counts == [10, 4]
    for mine, theirs in zip(rows(again.train), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_stopped_it_keeps_what_is_done_and_bad_photos_are_named_once(head: Cut, some: Dataset, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(some.train[0].path.read_bytes()[:300])
    bad = (Sample(tmp_path / "bad.jpg", 1), Sample(tmp_path / "missing.jpg", 1))
    data = replace(some, train=(*bad, *some.train))
    done = 0

    def stop() -> bool:
        return done >= 7

    for report in compute(head, settings(), data, folder=tmp_path / "cache", stop=stop):
        done += isinstance(report, FeatureReport)
    found, reports, train, val = made(head, settings(), data, tmp_path / "cache")
    assert val == 0
    assert train < 10
    named = [bad.path.name for report in reports if isinstance(report, LeftOut) for bad in report.photos]
    assert sorted(named) == ["bad.jpg", "missing.jpg"]
    assert [row is None for row in rows(found.train)] == [True, True] + 10 * [False]
    batches = list(training_features(found, replace(settings(), batch_size=12), epoch=1))
    assert [len(batch) for batch in batches] == [10]


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from test_features import settings
from test_training import NETWORK
import paddle
from garbage_cli import features, zoo
from garbage_cli.features import front
from garbage_cli.dataset import Dataset
from garbage_cli.partition import cut
from garbage_cli.reports import FeatureReport
front.in_openvino = lambda *_: (_ for _ in ()).throw(RuntimeError)
features.SHARD_BYTES = 2 * 3 * 1280 * 2
paddle.seed(7)
network = zoo.build(NETWORK, class_count=8)[0]
data = Dataset.load(Path(sys.argv[2]))
data = replace(data, train=data.train[:10], val=data.val[:4])
done = 0
found = cut(network, part="head", head="fc", crop=32)
for report in features.compute(found, settings(), data, folder=Path(sys.argv[3]), stop=lambda: False):
    done += isinstance(report, FeatureReport)
    if done == 4 + 7:
        os.kill(os.getpid(), 9)
"""


def test_killed_it_loses_one_shard_at_most(some: Dataset, tmp_path: Path) -> None:
    import paddle

    arguments = [str(Path(__file__).parent), str(some.root), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False, timeout=200)
    assert done.returncode == -9, done.stderr.decode()
    paddle.seed(7)
    same = cut(zoo.build(NETWORK, class_count=8)[0], part="head", head="fc", crop=32)
    train, val = made(same, settings(), some, tmp_path)[2:]
    assert val == 0
    assert train == 10 - 6


def test_a_cache_that_cannot_be_written_is_replaced_for_the_time_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with usable_folder() as folder:
        assert folder.is_dir()
        (folder / "shard").write_text("kept for now")
    assert not folder.exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fresh"))
    with usable_folder() as folder:
        assert folder.is_relative_to(tmp_path / "fresh")
    assert folder.exists()


def test_a_disk_without_room_is_said_before_anything_is_computed(
    head: Cut, some: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(
        ConfigError, match=r"the features of 4 photos take 0\.0 GB; .* has 0\.0 GB free\. Set fewer views"
    ):
        made(head, settings(), some, tmp_path)
    assert not shards(tmp_path, ROWS)


def test_what_was_used_longest_ago_makes_room_and_nothing_in_use_does(tmp_path: Path) -> None:
    for number, name in enumerate(["old", "middle", "new", "used"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 + number, 1000 + number))
    os.utime(tmp_path / "used", (1, 1))
    make_room(tmp_path, keep=[tmp_path / "used"], limit=250)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "used"}
    make_room(tmp_path, keep=[tmp_path / "used"], limit=10)
    assert {path.name for path in tmp_path.iterdir()} == {"used"}


def test_two_programs_at_once_leave_features_that_a_third_uses(head: Cut, some: Dataset, tmp_path: Path) -> None:
    ready, failed = threading.Barrier(2), []

    def fill(seed: int) -> None:
        store = Store(tmp_path, views=1, shape=(5,), dtype="float32")
        ready.wait()
        try:
            for number in range(20):
                digest = bytes([number]) * 32
                if digest not in store:
                    store.add([digest], [np.full((1, 5), number, np.float32)])
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=fill, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    third = Store(tmp_path, views=1, shape=(5,), dtype="float32")
    for number in range(20):
        np.testing.assert_array_equal(third.row(bytes([number]) * 32), np.full((1, 5), number))


def test_the_features_from_openvino_are_those_of_the_network(head: Cut, some: Dataset, tmp_path: Path) -> None:
    import paddle

    from garbage_cli.batches import evaluation_batches

    found, reports, *_ = made(head, settings(), some, tmp_path)
    assert {report.engine for report in reports if isinstance(report, FeatureReport)} == {"OpenVINO"}
    (photos,) = evaluation_batches(some.val, settings())
    (batch,) = validation_features(found, settings())
    with paddle.no_grad():
        expected = head.front()(paddle.to_tensor(photos.inputs)).numpy()
    np.testing.assert_allclose(batch.inputs, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(batch.class_ids, photos.class_ids)


def test_each_view_comes_once_before_any_comes_again(head: Cut, some: Dataset, tmp_path: Path) -> None:
    found = made(head, settings(), some, tmp_path)[0]
    chosen = replace(settings(), batch_size=10)

    def seen(epochs: Iterator[int]) -> list[list[bytes]]:
        batches = [next(training_features(found, chosen, epoch=epoch)) for epoch in epochs]
        return [sorted(row.tobytes() for row in batch.inputs) for batch in batches]

    turn = seen(iter(range(1, VIEWS + 1)))
    assert len({row for epoch in turn for row in epoch}) == 10 * VIEWS
    assert {row for epoch in seen(iter(range(VIEWS + 1, 2 * VIEWS + 1))) for row in epoch} == {
        row for epoch in turn for row in epoch
    }


def test_tokens_of_a_transformer_are_not_cut_as_if_they_were_a_picture(tmp_path: Path, some: Dataset) -> None:
    store = Store(tmp_path, views=VIEWS, shape=(6, 4), dtype="float16")
    digests = [bytes([number]) * 32 for number in range(10)]
    store.add(digests, [np.full((VIEWS, 6, 4), number) for number in range(10)])
    kept = features.Kept(some.train, digests, store)
    chosen = replace(settings(augment__cutmix=1.0), tune="last-stage", batch_size=10)
    (batch,) = training_features(Features(kept, kept), chosen, epoch=1)
    assert batch.inputs.shape == (10, 6, 4)
    assert batch.other_ids is None
