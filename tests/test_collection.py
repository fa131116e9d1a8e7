"""The collected photos: where they lie, who may say what of them, what stops the storing, and odd names of classes."""

import io
import random
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COLOUR_LABELS, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from garbage_cli import collection as room
from garbage_cli.collection import Collection, Correction, UnknownPhoto, prepare
from garbage_cli.dataset import Dataset
from garbage_cli.errors import DatasetError
from garbage_cli.images import open_photo
from garbage_cli.labels import THE_40, Labels

RED, GREEN, BLUE = COLOUR_LABELS.items
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif", "MPO": "jpg"}


def encoded(kind: str = "PNG", colour: tuple[int, int, int] = (230, 20, 20), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int) -> bytes:
    """A photo that is like no other."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (48, 48), random.Random(seed).randbytes(48 * 48 * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def stored(collection: Collection, photo: bytes, class_id: int) -> str:
    id_ = collection.add(photo, collection.labels[class_id])
    assert id_ is not None
    return id_


def where(folder: Path, id_: str) -> list[str]:
    """Every place where a photo lies, from the folder."""
    return [path.parent.relative_to(folder).as_posix() for path in folder.rglob(id_)]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def kept(tmp_path: Path, told: list[str]) -> Collection:
    return Collection(tmp_path / "收 集", COLOUR_LABELS, tell=told.append)


# ---- storing and correcting


def test_a_photo_lies_under_what_was_answered_as_it_came(kept: Collection) -> None:
    photo = encoded()
    id_ = stored(kept, photo, 2)
    assert where(kept.folder, id_) == ["unconfirmed/可回收物/易拉罐"]
    assert (kept.folder / "unconfirmed/可回收物/易拉罐" / id_).read_bytes() == photo
    assert (kept.folder / "labels.txt").read_text(encoding="utf-8") == "".join(f"{t}\n" for t in COLOUR_LABELS.texts)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_suffix_is_that_of_the_real_format(kept: Collection, kind: str) -> None:
    photo = encoded(
        kind, **({"save_all": True, "append_images": [Image.new("RGB", (64, 48))]} if kind == "MPO" else {})
    )
    assert open_photo(photo).format == kind
    assert stored(kept, photo, 0).endswith(f".{SUFFIXES[kind]}")


def test_an_id_is_never_given_twice_and_sorts_by_time(kept: Collection) -> None:
    ids = [stored(kept, encoded(), 0) for _ in range(50)]
    assert len(set(ids)) == 50
    assert [each[:15] for each in ids] == sorted(each[:15] for each in ids)


def test_nobody_but_the_owner_and_the_group_may_look(kept: Collection) -> None:
    id_ = stored(kept, encoded(), 2)
    kept.correct(id_, 1)
    for path in (kept.folder, *kept.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0, path


def test_what_a_person_says_moves_the_photo_and_can_be_said_again(kept: Collection) -> None:
    id_ = stored(kept, encoded(), 2)
    said = [
        (2, Correction(BLUE, "confirmed"), "train/可回收物/易拉罐"),
        (2, Correction(BLUE, None), "train/可回收物/易拉罐"),
        (0, Correction(RED, "corrected"), "train/有害垃圾/干电池"),
        (None, Correction(None, "none"), "none"),
        (None, Correction(None, None), "none"),
        (2, Correction(BLUE, "corrected"), "train/可回收物/易拉罐"),
    ]
    for class_id, correction, place in said:
        assert kept.correct(id_, class_id) == correction
        assert where(kept.folder, id_) == [place]


def test_another_process_knows_what_this_one_stored(kept: Collection) -> None:
    id_ = stored(kept, encoded(), 2)
    other = Collection(kept.folder, COLOUR_LABELS)
    assert other.correct(id_, 0) == Correction(RED, "corrected")
    assert kept.correct(id_, 0) == Correction(RED, None)


@pytest.mark.parametrize("known", [True, False])
def test_an_id_that_is_unknown_or_no_id_touches_no_path(
    kept: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    id_ = stored(kept, encoded(), 2)
    (tmp_path / id_).write_bytes(b"outside")
    other = f"{id_[:-5]}{'0' if id_[-5] != '0' else '1'}{id_[-4:]}"
    looked: list[Path] = []
    real = room.is_file
    monkeypatch.setattr(room, "is_file", lambda path: looked.append(path) or real(path))
    odd = ["", ".", "..", f"../{id_}", f"../../{id_}", f"{id_}\0", f"{id_}\n", f"./{id_}", f"/{id_}", id_.upper(), "*"]
    odd += [id_.replace("0", "०"), str(kept.folder / id_), f"{'x' * 5000}.png", "\udcff.png", id_[:-4] + ".PNG"]
    for each in [other] if known else odd:
        with pytest.raises(UnknownPhoto):
            kept.correct(each, 0)
    assert bool(looked) == known
    assert where(kept.folder, id_) == ["unconfirmed/可回收物/易拉罐"]


def test_a_photo_that_is_nowhere_is_looked_for_twice(kept: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = stored(kept, encoded(), 2)
    (kept.folder / "unconfirmed/可回收物/易拉罐" / id_).unlink()
    looked: list[Path] = []
    monkeypatch.setattr(room, "is_file", lambda path: looked.append(path))
    with pytest.raises(UnknownPhoto):
        kept.correct(id_, 0)
    assert len(looked) == 2 * (2 * len(COLOUR_LABELS) + 1)


def test_a_photo_that_others_move_all_the_time_is_looked_for_again(
    kept: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other time it is missed, and in between it is gone from where it was just seen."""
    id_ = stored(kept, encoded(), 2)
    real, seen = room.is_file, [False, True] * 4

    def restless(path: Path) -> bool:
        if path.name != id_ or not seen:
            return real(path)
        return path.parent == kept.folder / "none" and seen.pop(0)  # the last place of each time

    monkeypatch.setattr(room, "is_file", restless)
    assert kept.correct(id_, 1).label == GREEN
    assert where(kept.folder, id_) == ["train/厨余垃圾/菜叶菜根"]


def test_of_corrections_that_race_one_counts_and_the_photo_is_whole(kept: Collection) -> None:
    photo = encoded()
    ids = [stored(kept, photo, 2) for _ in range(30)]
    workers = [Collection(kept.folder, COLOUR_LABELS) for _ in range(3)]
    failed: list[BaseException] = []

    def say(worker: Collection, class_id: int | None) -> None:
        try:
            for id_ in ids:
                worker.correct(id_, class_id)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test has to see it
            failed.append(error)

    threads = [threading.Thread(target=say, args=each) for each in zip(workers, (0, 1, None), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for id_ in ids:
        (place,) = where(kept.folder, id_)
        assert place in ("train/有害垃圾/干电池", "train/厨余垃圾/菜叶菜根", "none")
        assert (kept.folder / place / id_).read_bytes() == photo


# ---- what can't be stored is told once, and raises nothing


def test_a_full_disk_stores_nothing_and_is_told_once(
    kept: Collection, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert [kept.add(encoded(), RED) for _ in range(3)] == [None] * 3
    assert told == [f"photos are not kept in {kept.folder}: No space left on device"]
    assert not list(kept.folder.rglob("*.png"))
    assert not list(kept.folder.rglob("*.part"))
    monkeypatch.undo()
    assert kept.add(encoded(), RED)


def test_a_gibibyte_of_the_disk_stays_free(kept: Collection, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    photo, free = encoded(), room.SPARE
    usage = shutil.disk_usage(kept.folder)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=free))
    free += len(photo) - 1
    assert kept.add(photo, RED) is None
    assert "less than 1.0 GiB of its disk is free" in told[0]
    free += 1
    assert kept.add(photo, RED)


def test_the_limit_counts_what_lay_there_before_and_is_told_once(tmp_path: Path, told: list[str]) -> None:
    photo = encoded()
    prepare(tmp_path / "c", COLOUR_LABELS)
    lying = (tmp_path / "c" / "labels.txt").stat().st_size
    first = Collection(tmp_path / "c", COLOUR_LABELS, limit=lying + 2 * len(photo), tell=told.append)
    assert first.add(photo, RED)
    again = Collection(tmp_path / "c", COLOUR_LABELS, limit=lying + 2 * len(photo), tell=told.append)
    assert again.add(photo, RED)
    assert [again.add(photo, RED), again.add(photo, RED)] == [None, None]
    assert len(told) == 1
    assert "raise --collect-limit" in told[0]


def test_what_others_store_and_people_take_away_is_counted_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = encoded()
    prepare(tmp_path, COLOUR_LABELS)
    limit = (tmp_path / "labels.txt").stat().st_size + len(photo)
    mine, theirs = (Collection(tmp_path, COLOUR_LABELS, limit=limit) for _ in range(2))
    id_ = stored(theirs, photo, 0)
    monkeypatch.setattr(room, "RECOUNTED", 0.0)

    def counted() -> None:
        mine.add(b"", RED)
        assert mine._counting is not None
        mine._counting.join()

    counted()
    monkeypatch.setattr(room, "RECOUNTED", 60.0)
    assert mine.add(photo, RED) is None
    mine.folder.joinpath("unconfirmed/有害垃圾/干电池", id_).unlink()
    monkeypatch.setattr(room, "RECOUNTED", 0.0)
    counted()
    assert mine.add(photo, RED)


@pytest.mark.parametrize(("took", "pause"), [(0.0, 60.0), (0.5, 60.0), (10.0, 1200.0)])
def test_a_large_folder_is_counted_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: float, pause: float
) -> None:
    clock = 1000.0
    real = room._bytes_in

    def count(folder: Path) -> int:
        nonlocal clock
        clock += took
        return real(folder)

    monkeypatch.setattr(room.time, "monotonic", lambda: clock)
    monkeypatch.setattr(room, "_bytes_in", count)
    kept = Collection(tmp_path, COLOUR_LABELS)
    clock += pause - 0.01
    stored(kept, encoded(), 0)
    assert kept._counting is None
    clock += 0.02
    stored(kept, encoded(), 0)
    assert kept._counting is not None
    kept._counting.join()


def test_folders_that_are_moved_away_are_made_anew_but_a_collection_that_is_gone_is_not(
    kept: Collection, told: list[str]
) -> None:
    stored(kept, encoded(), 0)
    shutil.rmtree(kept.folder / "unconfirmed")
    id_ = stored(kept, encoded(), 0)
    shutil.rmtree(kept.folder / "train")
    assert kept.correct(id_, 1).label == GREEN
    shutil.rmtree(kept.folder)
    assert kept.add(encoded(), RED) is None
    assert not kept.folder.exists()
    assert len(told) == 1
    kept.folder.mkdir()
    assert kept.add(encoded(), RED) is None
    assert list(kept.folder.iterdir()) == []


def test_what_is_no_photo_or_of_another_model_is_not_stored(kept: Collection, told: list[str]) -> None:
    assert kept.add(b"<html>", RED) is None
    assert kept.add(encoded(), THE_40[0]) is None
    assert kept.add(encoded(), THE_40[39]) is None
    assert ["no photo" in told[0], "is no class of this collection" in told[1], len(told)] == [True, True, 3]


# ---- the folder at the start


def test_a_collection_is_gone_on_with(kept: Collection) -> None:
    id_ = stored(kept, encoded(), 2)
    kept.correct(id_, 2)
    (kept.folder / "validate.split.txt").write_text("")
    (kept.folder / "notes").mkdir()
    prepare(kept.folder, COLOUR_LABELS)
    assert where(kept.folder, id_) == ["train/可回收物/易拉罐"]


def test_a_folder_with_nothing_of_ours_begins_one(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "unconfirmed").mkdir()
    prepare(tmp_path, COLOUR_LABELS)
    assert (tmp_path / "labels.txt").is_file()


def test_processes_that_begin_one_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from garbage_cli.collection import prepare;"
        "from garbage_cli.labels import THE_40; input(); prepare(Path(sys.argv[1]), THE_40)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a" / "b")]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert [(worker.communicate()[1], worker.returncode) for worker in workers] == [("", 0)] * 4
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "labels.txt", "none", "train", "unconfirmed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["有害垃圾/干电池", "厨余垃圾/菜叶菜根"], "names 2 classes, the model has 3"),
        (
            ["有害垃圾/干电池", "其他垃圾/菜叶菜根", "可回收物/易拉罐"],
            "class 1 as 其他垃圾/菜叶菜根, the model has 厨余",
        ),
    ],
)
def test_a_collection_of_other_classes_is_refused_and_left_alone(tmp_path: Path, texts: list[str], said: str) -> None:
    prepare(tmp_path, Labels.parse(texts))
    before = (tmp_path / "labels.txt").read_bytes()
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path, COLOUR_LABELS)
    assert f"{tmp_path / 'labels.txt'} names" in str(caught.value)
    assert said in str(caught.value)
    assert "--collect" in str(caught.value)
    assert (tmp_path / "labels.txt").read_bytes() == before


def test_a_folder_of_other_classes_alone_gets_no_folders(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(DatasetError, match=r"names 2 classes, the model has 3|names class 0 as a"):
        prepare(tmp_path, COLOUR_LABELS)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.txt"]


@pytest.mark.parametrize("name", ["photo.jpg", "train/0/a.jpg", "none/a.jpg", "易拉罐/a.jpg", "train"])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "labels.txt").write_text("".join(f"{text}\n" for text in COLOUR_LABELS.texts))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="is no folder of collected photos; name a new folder with --collect"):
        prepare(tmp_path, COLOUR_LABELS)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DatasetError, match="name a folder that can be written to with --collect") as caught:
            prepare(place, COLOUR_LABELS)
        assert f"photos can't be kept in {place}" in str(caught.value)


def test_a_collection_on_a_disk_that_is_read_only_is_refused_at_the_start(
    kept: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(room, "TemporaryFile", refuse)
    with pytest.raises(DatasetError, match="Read-only file system; name a folder that can be written"):
        prepare(kept.folder, COLOUR_LABELS)


# ---- names of classes that are no names of folders

ODD = [
    "可回收物/易拉罐", "a/b/c", "/", "..", ".hidden", "x" * 300, "罐" * 100, "CON", "com1.txt", "nul", "a:b", "a\\b",
    "what?", "Glass", "glass", "trash ", "6", "3", "可回收物", "other", "其他垃圾/other", "其他垃圾/6", "其他垃圾/CON",
    "湿垃圾/鱼骨", "鱼骨", "厨余垃圾/鱼骨", "Restmüll/Dose", "__MACOSX", "train", "none", "unconfirmed", "有害垃圾/..",
    "可回收物_易拉罐", "\u200bzero", "a.", "drink can", "\ufeffmark", "labels.txt",
]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.permutations(ODD), st.integers(1, len(ODD)))
def test_classes_of_any_name_are_found_again_by_the_data_sets_reader(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], count: int
) -> None:
    usable = [text for text in texts if text.strip("/ ")][:count]
    assert_found_again(tmp_path_factory.mktemp("odd"), Labels.parse(usable))


@pytest.mark.parametrize("texts", [["0 a", "1 b"], ["1 a", "0 b"], ["\ufeffa", "b"], ["1", "0"], ["only"]])
def test_a_label_file_of_odd_lines_says_the_same_classes(tmp_path: Path, texts: list[str]) -> None:
    assert_found_again(tmp_path, Labels.parse(texts))


def assert_found_again(folder: Path, labels: Labels) -> None:
    kept = Collection(folder, labels)
    ids = {label.class_id: [stored(kept, noise(2 * label.class_id + i), label.class_id) for i in range(2)]
           for label in labels.items}  # fmt: skip
    unconfirmed = Dataset.load(folder / "unconfirmed")
    for those in ids.values():
        kept.correct(those[0], labels.items[-1].class_id)
    for class_id, those in ids.items():
        for id_ in those:
            kept.correct(id_, class_id)
    for found in (unconfirmed, Dataset.load(folder)):
        assert found.labels == labels
        assert found.problems == ()
        samples = [*found.train, *found.val]
        assert len(samples) == 2 * len(labels)
        assert all(sample.path.name in ids[sample.class_id] for sample in samples)
    assert Dataset.load(folder).layout == "train and val folders"


# ---- the loop: what was collected is checked and trained on


def test_what_was_collected_is_checked_as_it_is(
    kept: Collection, garbage: Callable[..., Result], tmp_path: Path
) -> None:
    for seed in range(30):
        id_ = stored(kept, noise(seed), seed % 3)
        if seed < 24:
            kept.correct(id_, None if seed % 8 == 0 else (seed + seed // 12) % 3)
    done = garbage("check", kept.folder, "--report", tmp_path / "report", "--json")
    assert (done.code, "unlisted" in done.out) == (0, False), done.out
    dataset = Dataset.load(kept.folder)
    assert len(dataset.train) + len(dataset.val) == 21
    prepare(kept.folder, COLOUR_LABELS)  # the files that checking leaves there are no harm
    assert garbage("check", kept.folder, "--report", tmp_path / "report", "--fix").code == 0
    assert kept.correct(id_, 0).label == RED


def test_what_was_collected_is_trained_on(kept: Collection, tmp_path: Path) -> None:
    from test_training import config, run

    from garbage_cli.bundle import Checkpoint
    from garbage_cli.reports import Finished

    for seed in range(12):
        kept.correct(stored(kept, noise(seed), seed % 3), seed % 3)
    settings = config(epochs=1, batch_size=4)
    assert isinstance(run(settings, Dataset.load(kept.folder), tmp_path / "output")[-1], Finished)
    assert Checkpoint.load(next((tmp_path / "output").iterdir())).labels == COLOUR_LABELS
