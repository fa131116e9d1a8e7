"""Bulk prediction without Ray: plans, partitions, what a worker does, and what is refused."""

import csv
import io
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from conftest import COLOURS, Result, save_photo

from garbage_cli import bulk, cluster
from garbage_cli.bulk import Done, fleet, places
from garbage_cli.bulk.partitions import DONE_FILE, PLAN_FILE, Plan, cut, digest, written
from garbage_cli.bulk.places import Place
from garbage_cli.bulk.worker import AT_ONCE, TRIES, TRY, Worker, try_to_start
from garbage_cli.bundle import MANIFEST_FILE, ModelBundle
from garbage_cli.engines import Options, choosing
from garbage_cli.errors import ClusterError, ConfigError, ImageError
from garbage_cli.labels import Label
from garbage_cli.prediction import Photo, Prediction, Score
from garbage_cli.predictor import Predictor
from garbage_cli.sheets import COLUMNS

PLAN = Plan("csv", 10, 4, digest(["a"]), "m" * 64, "openvino", "f32", 0.5)
CAN = Label(3, "易拉罐", "可回收物")
ANSWERS = [
    Prediction("a b/照片.jpg", (Score(CAN, 0.987654321),)),
    Prediction("=1+1.jpg", (Score(CAN, 0.25),), sure=False),
    Prediction("broken\udce9.jpg", error="not an image"),
]


# ---- plans


def test_partitions_are_consecutive_and_the_last_may_be_shorter() -> None:
    names = [str(i) for i in range(10)]
    assert PLAN.partitions == 3
    assert list(cut(names, PLAN, range(3))) == [(0, names[:4]), (1, names[4:8]), (2, names[8:])]
    assert [PLAN.length(number) for number in range(3)] == [4, 4, 2]
    assert PLAN.left({"part-000001.csv", PLAN_FILE, "part-000000.parquet"}) == [0, 2]


def test_a_plan_is_read_back() -> None:
    assert Plan.from_json(PLAN.to_json(), "x") == PLAN


@pytest.mark.parametrize(
    "change",
    [{"form": "pickle"}, {"photos": 0}, {"size": "4"}, {"more": 1}, {"threshold": None}, {"run": 3}, None],
    ids=str,
)
def test_what_is_no_plan_is_refused(change: dict[str, object] | None) -> None:
    data = b"[1" if change is None else json.dumps({**json.loads(PLAN.to_json()), **change}).encode()
    with pytest.raises(ConfigError, match=r"out/_plan\.json is no plan of ours"):
        Plan.from_json(data, "out/_plan.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"photos": 12}, r"other photos \(10 then, 12 now\)"),
        ({"listed": "x"}, r"other photos \(others now\)"),
        ({"size": 5}, r"other --partition \(4 then, 5 now\)"),
        ({"form": "parquet"}, r"other format \(csv then, parquet now\)"),
        ({"model": "x"}, r"other model"),
        ({"threshold": 0.25}, r"begun with --threshold 0.5; it is 0.25 now"),
        ({"garbage": "9"}, r"begun by garbage .*, this is 9"),
    ],
)
def test_one_goes_on_with_the_same_only(change: dict[str, object], words: str) -> None:
    assert PLAN.goes_on_with(PLAN, Place("out")) == PLAN
    with pytest.raises(ConfigError, match=words):
        replace(PLAN, **change).goes_on_with(PLAN, Place("out"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (("onnxruntime", "auto"), "--engine openvino; it is onnxruntime"),
        (("auto", "bf16"), "--precision f32; it is bf16"),
    ],
)
def test_an_engine_that_was_not_taken_before_is_not_taken_now(wanted: tuple[str, str], words: str) -> None:
    chosen_now = replace(PLAN, engine="onnxruntime", precision="bf16")
    assert chosen_now.goes_on_with(PLAN, Place("out")) == PLAN
    assert chosen_now.goes_on_with(PLAN, Place("out"), "openvino", "f32") == PLAN
    with pytest.raises(ConfigError, match=f"out was begun with {words} now"):
        chosen_now.goes_on_with(PLAN, Place("out"), *wanted)


def test_a_plan_with_a_threshold_that_is_no_number_is_not_gone_on_with() -> None:
    odd = Plan.from_json(PLAN.to_json().replace(b'"threshold": 0.5', b'"threshold": NaN'), "x")
    with pytest.raises(ConfigError, match=r"begun with --threshold nan; it is 0\.5 now"):
        PLAN.goes_on_with(odd, Place("out"))


def test_the_digest_tells_names_apart() -> None:
    assert len({digest(each) for each in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c\udce9"])}) == 5


# ---- files of answers


def test_the_csv_of_a_partition_is_that_of_predict(tmp_path: Path) -> None:
    text = written(ANSWERS, "csv").decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == dict(zip(COLUMNS, ("a b/照片.jpg", "可回收物", "易拉罐", "0.987654321", "true", ""), strict=True))
    assert rows[1]["image"] == "'=1+1.jpg"  # no formula
    assert (rows[1]["bin"], rows[1]["sure"], rows[2]["error"]) == ("", "false", "not an image")


def test_the_parquet_of_a_partition_has_types_and_no_made_up_values(tmp_path: Path) -> None:
    (tmp_path / "part-000000.parquet").write_bytes(written(ANSWERS, "parquet"))
    (tmp_path / PLAN_FILE).write_bytes(PLAN.to_json())  # readers of folders pass it over
    table = parquet.read_table(tmp_path)
    assert tuple(table.column_names) == COLUMNS
    assert [str(table.schema.field(name).type) for name in ("score", "sure")] == ["float", "bool"]
    first, second, third = table.to_pylist()
    assert first == {
        "image": "a b/照片.jpg", "bin": "可回收物", "kind": "易拉罐", "score": pytest.approx(0.987654321),
        "sure": True, "error": None,
    }  # fmt: skip
    assert (second["image"], second["bin"], second["kind"], second["sure"]) == ("=1+1.jpg", None, "易拉罐", False)
    assert third["image"] == "broken\\udce9.jpg"
    assert (third["kind"], third["score"], third["sure"], third["error"]) == (None, None, False, "not an image")


# ---- places


def test_a_place_on_a_disk_holds_whole_files(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "new" / "folder"))
    assert place.names() == set()
    assert place.read("x") is None
    place.write("x", b"1")
    place.write("x", b"2")
    assert (place.names(), place.read("x")) == ({"x"}, b"2")
    place.remove("x")
    place.remove("x")
    assert place.names() == set()


def test_a_place_that_cant_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/out/x can't be written: Not a directory"):
        Place(str(tmp_path / "file" / "out")).write("x", b"1")


def test_secrets_in_a_name_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="credentials in the environment only") as caught:
        Place("s3://key:secret@bucket/path")
    assert "secret" not in str(caught.value)


# ---- a worker


@pytest.fixture
def out(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "out"))


@pytest.fixture
def model(colour_bundle: Path) -> dict[str, bytes]:
    bundle = ModelBundle.load(colour_bundle)
    return {name: (colour_bundle / name).read_bytes() for name in (*bundle.files, MANIFEST_FILE)}


def started(out: Place, model: dict[str, bytes], photos: Path, plan: Plan = PLAN) -> Worker:
    out.write(PLAN_FILE, plan.to_json())
    return Worker(plan, out.name, model, start=str(photos), roots=["."], cores=1)


def test_a_worker_writes_what_predict_answers(
    out: Place, model: dict[str, bytes], photos: Path, colour_bundle: Path
) -> None:
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.*"))
    done = started(out, model, photos).answer(7, names)
    predictor = Predictor.load(colour_bundle, engine="openvino", precision="f32", threshold=0.5, top_k=1)
    expected = list(predictor.predict(Photo(name, photos / name) for name in names))
    assert out.names() == {PLAN_FILE, "part-000007.csv"}
    assert out.read("part-000007.csv") == written(expected, "csv")
    assert (done.number, done.photos, done.failed) == (7, len(names), sum(each.error is not None for each in expected))
    assert done.failed
    assert done.bins == {"有害垃圾": 1, "厨余垃圾": 1, "可回收物": 1}


def test_a_worker_says_what_its_machine_does_not_see(out: Place, model: dict[str, bytes], photos: Path) -> None:
    out.write(PLAN_FILE, PLAN.to_json())
    unseen = try_to_start(PLAN.to_json(), out.name, model, {"start": str(photos), "roots": ["gone"]})
    assert isinstance(unseen, ClusterError)
    assert "does not see" in str(unseen)
    assert "put the photos on a disk that all machines share" in str(unseen)
    out.write(PLAN_FILE, replace(PLAN, run="0").to_json())
    other = try_to_start(PLAN.to_json(), out.name, model, {"start": str(photos), "roots": ["."]})
    assert "as this machine does; name a folder on a disk that all machines share" in str(other)
    older = try_to_start(b'{"garbage": "0.0", "unknown": 1}', out.name, model, {"unknown": 1})
    assert "not 0.0; install the same everywhere" in str(older)


def test_a_worker_says_what_is_wrong_with_its_model(out: Place, model: dict[str, bytes], photos: Path) -> None:
    model["inference.yml"] += b"\n"
    with pytest.raises(ClusterError, match=rf"^{re.escape(socket.gethostname())}: .*inference\.yml has"):
        started(out, model, photos).answer(0, ["a red.jpg"])


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (replace(PLAN, engine="onnxruntime"), "onnxruntime is not installed .* with onnxruntime in f32"),
        (replace(PLAN, precision="bf16"), "this processor has no bf16 .* with openvino in bf16"),
    ],
    ids=["engine", "precision"],
)
def test_a_machine_that_would_answer_otherwise_does_not_answer(
    out: Place, model: dict[str, bytes], photos: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan, words: str
) -> None:
    monkeypatch.setattr(choosing, "is_installed", lambda name: name == "openvino")
    monkeypatch.setattr(choosing, "_machine_can", lambda choice: choice.precision == "f32")
    with pytest.raises(ClusterError, match=words):
        started(out, model, photos, plan).answer(0, ["a red.jpg"])
    assert not [name for name in out.names() if name.startswith("part-")]


def test_loading_that_takes_the_worker_along_counts_as_a_try(
    out: Place, model: dict[str, bytes], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(root: Path, **settings: object) -> Predictor:
        raise Killed

    monkeypatch.setattr(Predictor, "load", die)
    for _ in range(TRIES):
        with pytest.raises(Killed):
            started(out, model, photos).answer(1, ["a red.jpg"])
    with pytest.raises(ClusterError, match="too little memory for a model per core"):
        started(out, model, photos).answer(1, ["a red.jpg"])


def test_a_worker_has_the_threads_and_options_that_were_asked_for(
    out: Place, model: dict[str, bytes], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}
    load = Predictor.load

    def look(root: Path, **settings: object) -> Predictor:
        given.update(settings)
        return load(root, **settings)

    monkeypatch.setattr(Predictor, "load", look)
    out.write(PLAN_FILE, PLAN.to_json())
    settings = {"start": str(photos), "roots": [], "cores": 2, "options": asdict(Options(cpu_num_threads=2))}
    worker = try_to_start(PLAN.to_json(), out.name, model, settings)
    assert isinstance(worker, Worker)
    worker.answer(0, ["a red.jpg"])
    assert (given["threads"], given["options"]) == (2, Options(cpu_num_threads=2))


def test_photos_from_either_end_must_be_seen_by_all_machines(photos: Path) -> None:
    here = [str(photos / name) for name in ("a red.jpg", "绿 色.png", "broken.jpg")]
    names = ["s3://b/x.jpg", str(photos / "gone.jpg"), *here, "s3://b/y.jpg"]
    assert bulk._roots(asked(listed="list.txt"), names) == [here[0], here[-1]]
    assert bulk._roots(asked("s3://b", str(photos), str(photos / "*.jpg")), names[:1]) == [str(photos)]


def test_a_partition_that_takes_each_worker_along_ends_the_work(
    out: Place, model: dict[str, bytes], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(self: Predictor, photos: object) -> None:
        raise Killed

    monkeypatch.setattr(Predictor, "predict", die)
    for _ in range(TRIES):
        with pytest.raises(Killed):
            started(out, model, photos).answer(2, ["a red.jpg", "绿 色.png"])
    with pytest.raises(ClusterError, match=r"4 workers were lost over the photos from a red.jpg to 绿 色.png"):
        started(out, model, photos).answer(2, ["a red.jpg", "绿 色.png"])
    assert out.names() == {PLAN_FILE, f"{TRY}000002"}


def test_a_worker_that_cant_write_says_where(out: Place, model: dict[str, bytes], photos: Path) -> None:
    made = started(out, model, photos)
    Path(out.name, "part-000003.csv").mkdir()
    with pytest.raises(ConfigError, match=r"part-000003.csv can't be written"):
        made.answer(3, ["a red.jpg"])


def test_a_store_that_is_gone_is_no_fault_of_the_photos(
    out: Place, model: dict[str, bytes], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(name: str, max_bytes: int) -> bytes:
        if name.endswith("large.jpg") and max_bytes <= AT_ONCE:
            raise ImageError("too large", fault="enormous")
        if name.endswith("gone.jpg"):
            raise ImageError("not there", fault="unreadable")
        if name.endswith("lost.jpg"):
            raise ClusterError("the store does not answer")
        return (photos / "a red.jpg").read_bytes()

    monkeypatch.setattr(places, "read", read)
    made = started(out, model, photos)
    done = made.answer(0, ["s3://b/a.jpg", "s3://b/gone.jpg", "a red.jpg", "s3://b/large.jpg"])
    assert (done.photos, done.failed) == (4, 1)
    with pytest.raises(ClusterError, match="the store does not answer"):
        made.answer(1, ["s3://b/a.jpg", "s3://b/lost.jpg"])
    assert "part-000001.csv" not in out.names()


# ---- what the cluster says


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "The actor died, \x1b[36mray::W.__init__()\x1b[39m (pid=1, ip=10.0.0.7, x)\n  At\n"
            "ray.exceptions.RaySystemError: System error: x\n"
            "traceback: Traceback\nModuleNotFoundError: No module named 'garbage_cli.bulk'\n",
            r"^10\.0\.0\.7 has no garbage .* \(Mod.*Error: No module named 'garbage_cli\.bulk'\); install the same",
        ),
        ("a\nb\n  OutOfMemoryError: no room", r"^the cluster gave up: OutOfMemoryError: no room; go on with --resume$"),
        ("a\n\x1b[1mb\x1b[0m\n", r"^the cluster gave up: a b; go on with --resume$"),
    ],
    ids=["another garbage", "an error", "words"],
)
def test_what_ray_says_at_the_end_is_one_line(text: str, words: str) -> None:
    assert re.search(words, str(fleet._gave_up(text)))


@pytest.mark.parametrize(("cores", "number"), [(1, 5), (2, 2)])
def test_a_worker_fits_onto_one_machine(monkeypatch: pytest.MonkeyPatch, cores: int, number: int) -> None:
    machines = [{"Resources": {"CPU": 3.0}}, {"Resources": {"CPU": 2.0}}, {"Resources": {}}]
    monkeypatch.setattr(cluster, "machines", lambda ray: machines)
    assert fleet.workers_of(None, cores) == number
    with pytest.raises(ClusterError, match="no machine of the cluster has the 4 cores of --set cpu_num_threads"):
        fleet.workers_of(None, 4)


# ---- the order of things


class Standin:
    """In the place of Ray Data: workers in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken = self.unheard = -1
        """Partitions before which, and after whose file, it ends."""
        self.joined, self.lost = 0, False
        monkeypatch.setattr(fleet, "answered", self.answered)
        monkeypatch.setattr(cluster, "joined", self.join)
        monkeypatch.setattr(cluster, "machines", lambda ray: [{"Resources": {"CPU": 1}}])
        monkeypatch.setattr(fleet.time, "sleep", lambda seconds: None)
        self.free = [1.0]

    @contextmanager
    def join(self, address: str, what: str) -> Iterator["Standin"]:
        self.joined += 1
        yield self

    def available_resources(self) -> dict[str, float]:
        return {"CPU": self.free.pop(0) if len(self.free) > 1 else self.free[0]}

    def answered(
        self, ray: "Standin", plan: Plan, out: Place, model: dict[str, bytes], names: list[str], left: list[int],
        workers: int, settings: dict[str, object],
    ) -> Iterator[Done]:  # fmt: skip
        worker = try_to_start(plan.to_json(), out.absolute(), model, settings)
        assert isinstance(worker, Worker), worker
        for number, some in cut(names, plan, left):
            if number == self.broken:
                raise ClusterError("broken off")
            if self.lost:
                raise SystemExit(143)
            done = worker.answer(number, some)
            if number == self.unheard:
                raise SystemExit(143)
            yield done


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Standin:
    return Standin(monkeypatch)


def asked(*names: str, **more: object) -> bulk.Asked:
    return bulk.Asked(names, "out", "csv", Path("none"), **more)  # type: ignore[arg-type]


def test_what_is_broken_off_goes_on_and_the_end_is_marked(
    standin: Standin, photos: Path, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    request = replace(asked(str(photos)), out="../out", size=1, model=colour_bundle, engine="openvino", precision="f32")
    out = photos.parent / "out"
    standin.broken = 0
    with pytest.raises(ClusterError, match="broken off"):
        list(bulk.predict(request))
    assert not out.exists()  # nothing came of it

    standin.broken = 2
    with pytest.raises(ClusterError, match="broken off"):
        list(bulk.predict(request))
    assert sorted(path.name for path in out.iterdir()) == [PLAN_FILE, "part-000000.csv", "part-000001.csv"]
    for left_behind in (f"{TRY}000003", f".{TRY}000003.77.part", ".part-000003.csv.77.part"):
        (out / left_behind).write_text("1")

    standin.broken = -1
    *_, finished = bulk.predict(replace(request, resume=True))
    assert finished == bulk.Finished(4, finished.failed, finished.seconds)  # type: ignore[union-attr]
    assert sorted(path.name for path in out.iterdir()) == [
        DONE_FILE, PLAN_FILE, *(f"part-{number:06}.csv" for number in range(4))
    ]  # fmt: skip
    # how many failed before it was broken off, nobody knows
    assert json.loads((out / DONE_FILE).read_bytes()) == {"photos": 4, "failed": None, "partitions": 4}

    (out / DONE_FILE).write_text('{"kept": true}')
    joined = standin.joined
    begun, finished = bulk.predict(replace(request, resume=True))
    assert begun == bulk.Begun(4, 4, 0, 0, begun.why)  # type: ignore[union-attr]
    assert (out / DONE_FILE).read_text() == '{"kept": true}'  # nothing was left to do
    assert standin.joined == joined  # and no cluster was wanted for that
    (out / "part-000001.csv").unlink()
    standin.broken = 1
    with pytest.raises(ClusterError, match="broken off"):
        list(bulk.predict(replace(request, resume=True)))
    assert not (out / DONE_FILE).exists()  # it is not whole any more

    standin.broken = -1
    list(bulk.predict(replace(request, out="../whole")))
    ended = json.loads((photos.parent / "whole" / DONE_FILE).read_bytes())
    assert ended == {"photos": 4, "failed": 1, "partitions": 4}


def test_who_breaks_off_reads_what_is_done_also_where_nobody_had_said_so(
    standin: Standin, garbage: Callable[..., Result], photos: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    asked = (
        "predict", photos, "--ray", "local", "--csv", tmp_path / "out", "--model", colour_bundle, "--partition", 1,
        "--engine", "openvino", "--precision", "f32",
    )  # fmt: skip
    standin.broken = 0
    result = garbage(*asked)
    assert result.code == 1
    assert result.err.splitlines()[1:] == ["error: broken off"]  # nothing came of it
    standin.broken, standin.lost = -1, True
    result = garbage(*asked)
    assert result.code == 143
    assert result.err.splitlines()[1:] == ["broken off; nothing was written"]
    assert not (tmp_path / "out").exists()
    standin.lost, standin.unheard = False, 2
    result = garbage(*asked)
    assert (result.code, result.out) == (143, "")
    assert result.err.splitlines()[1:] == [
        "broken off; 3 of 4 photos are done; go on with the same command and --resume"
    ]
    standin.unheard = -1
    result = garbage(*(each for each in asked if each not in ("--partition", 1)), "--resume")  # in ones, as before
    assert "4 photos, 3 of them answered already; 1 worker on 1 machine" in result.err.splitlines()
    result = garbage(*asked, "--resume", "--json")
    assert (result.code, result.err.splitlines()) == (0, ["4 photos, all of them answered already"])
    assert json.loads(result.out)["before"] == 4


def test_a_cluster_whose_cores_are_taken_is_waited_for_and_that_is_said(
    standin: Standin, garbage: Callable[..., Result], photos: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    asked = ("predict", photos, "--ray", "local", "--model", colour_bundle, "--engine", "openvino", "--csv")
    for number, (free, said) in enumerate((([0.0, 1.0], False), ([0.0, 0.0], True))):  # just given back; taken
        standin.free = free
        first = garbage(*asked, tmp_path / str(number)).err.splitlines()[0]
        assert (
            first == "4 photos; 1 worker on 1 machine" + said * "; all cores are taken, it begins when others are done"
        )


def test_several_folders_are_one_source_and_a_list_is_one(
    standin: Standin, photos: Path, colour_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list").write_text(f"{photos}/a red.jpg\n", encoding="utf-8")
    request = bulk.Asked(
        (str(tmp_path / "empty"), str(photos)), str(tmp_path / "out"), "csv", colour_bundle, str(tmp_path / "list")
    )
    begun = next(iter(bulk.predict(request)))
    assert isinstance(begun, bulk.Begun)
    assert begun.photos == 5
    with pytest.raises(ImageError, match="is a folder, not a list of paths"):
        list(bulk.predict(replace(request, listed=str(tmp_path / "empty"))))


# ---- the command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "--ray"], "name the folder for the answers, with --csv DIR or --parquet DIR"),
        (["x", "--ray", "--csv", "a", "--parquet", "b"], "either --csv DIR or --parquet DIR, not both"),
        (["x", "--partition", "9"], "--partition: answers are written in files of so many photos with --ray"),
        (["x", "--ray", "--csv", "a", "--annotate", "b"], "--annotate: not with --ray"),
        (["x", "--ray", "auto", "--csv", "a", "--top-k", "2"], "--top-k: not with --ray"),
        (["-", "--ray", "--csv", "a"], "no part in stdin"),
        (["x", "--ray", "--csv", "-"], "no part in stdin"),
        (["--ray", "--csv", "a"], "name photos, folders or patterns"),
        (["x", "--parquet", "a"], "--parquet: files of Parquet are written with --ray"),
        (["s3://b/x"], "stores of objects are read with --ray"),
    ],
)
def test_wrong_use_is_said_at_once(garbage: Callable[..., Result], arguments: list[str], words: str) -> None:
    result = garbage("predict", *arguments)
    assert result.code == 2
    assert words in " ".join(result.err.replace("│", " ").split())


def test_a_folder_with_answers_is_not_written_over(
    garbage: Callable[..., Result], colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    asked = ("predict", photos, "--ray", "local", "--csv", tmp_path / "out", "--model", colour_bundle)
    Place(str(tmp_path / "out")).write(PLAN_FILE, PLAN.to_json())
    result = garbage(*asked)
    assert (result.code, result.out) == (1, "")
    assert "has answers in it; go on with --resume, name another folder, or delete it" in result.err
    result = garbage(*asked, "--resume")
    assert "was begun with other photos (10 then, 4 now)" in result.err
    (tmp_path / "out" / PLAN_FILE).unlink()
    (tmp_path / "out" / "part-0001.csv").write_text("x")
    assert "holds other files (part-0001.csv, say); name a new folder for the answers" in garbage(*asked).err
    into_the_photos = garbage(*asked[:5], photos, *asked[6:])
    assert "holds other files (" in into_the_photos.err
    assert not (photos / PLAN_FILE).exists()


def test_what_is_not_there_is_no_photo_and_perhaps_was_meant_as_an_address(
    garbage: Callable[..., Result], colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    asked = ("--csv", tmp_path / "out", "--model", colour_bundle)
    result = garbage("predict", "--ray", "10.0.0.1", photos, *asked)  # no port
    assert (result.code, result.out, result.err) == (1, "", "error: 10.0.0.1: no such file or folder\n")
    assert not (tmp_path / "out").exists()


def test_without_photos_or_ray_nothing_is_begun(
    garbage: Callable[..., Result], colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("predict", tmp_path, "--ray", "local", "--csv", tmp_path / "out", "--model", colour_bundle)
    assert "no photo in " in garbage(*asked).err
    save_photo(tmp_path / "red.png", COLOURS["red"])
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "predict --ray needs ray, which is not installed; install the extra with: " in garbage(*asked).err
    assert [path.name for path in tmp_path.iterdir()] == ["red.png"]
