"""`serve --collect`: what is kept over HTTP, and what people say of it; the server is a program of its own."""

import asyncio
import base64
import json
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import schemathesis
from conftest import COLOUR_LABELS, COLOURS, Result, make_colour_bundle, save_photo
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.errors import FailureGroup
from test_collection import noise
from test_server import Server, serving

from garbage_cli.collection import UnknownPhoto
from garbage_cli.dataset import Dataset
from garbage_cli.prediction import Photo, Prediction, Score
from garbage_cli.server import keeping
from garbage_cli.server.keeping import Keeper, Stuck
from garbage_cli.server.metrics import Metrics

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{32}\.(png|jpg)")
PLACES = {"red": "有害垃圾/干电池", "green": "厨余垃圾/菜叶菜根", "blue": "可回收物/易拉罐"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("photos")
    return {name: save_photo(folder / f"{name}.png", colour).read_bytes() for name, colour in COLOURS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "收 集"


@pytest.fixture(scope="module")
def collecting(colour_bundle: Path, folder: Path) -> Iterator[Server]:
    with serving(colour_bundle, "--collect", folder, "--workers", 2) as running:
        yield running


def keep(url: str, photo: bytes, **headers: str) -> str:
    reply = httpx.post(f"{url}/v1/predict?collect=1", content=photo, headers=headers).json()
    (id_,) = reply["collected"]
    assert ID.fullmatch(id_)
    return str(id_)


def say(url: str, body: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/corrections", json=body, headers=headers)


def where(folder: Path, id_: str) -> list[str]:
    return [path.parent.relative_to(folder).as_posix() for path in folder.rglob(id_)]


def counted(url: str) -> dict[str, float]:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    (family,) = [each for each in families if each.name == "garbage_collected"]
    return {sample.labels["what"]: sample.value for sample in family.samples}


# ---- keeping


@pytest.mark.parametrize("asked", ["1", "true"])
def test_photos_of_all_three_bodies_are_kept_as_they_came(
    collecting: Server, folder: Path, photos: dict[str, bytes], asked: str
) -> None:
    url = f"{collecting.url}/v1/predict?collect={asked}"
    red, green, blue = (photos[name] for name in ("red", "green", "blue"))
    files = [("a", ("绿.png", green)), ("b", ("bad.png", b"no photo")), ("c", ("../blue.png", blue))]
    bodies: list[tuple[dict[str, Any], list[str | None]]] = [
        ({"content": red}, ["red"]),
        ({"files": files}, ["green", None, "blue"]),
        ({"json": {"images": ["@@", base64.b64encode(blue).decode()]}}, [None, "blue"]),
    ]
    for body, names in bodies:
        reply = httpx.post(url, **body)
        assert reply.status_code == 200
        assert len(reply.json()["collected"]) == len(names) == len(reply.json()["results"])
        for id_, name in zip(reply.json()["collected"], names, strict=True):
            if name is None:
                assert id_ is None
                continue
            assert where(folder, id_) == [f"unconfirmed/{PLACES[name]}"]
            assert next(folder.rglob(id_)).read_bytes() == photos[name]


def test_photos_that_cannot_be_answered_are_not_kept(collecting: Server, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    reply = httpx.post(f"{collecting.url}/v1/predict?collect=1", content=b"no photo")
    assert (reply.status_code, reply.json()["collected"]) == (422, [None])
    assert sorted(folder.rglob("*")) == before


def test_who_does_not_ask_is_not_kept(collecting: Server, folder: Path, photos: dict[str, bytes]) -> None:
    before = sorted(folder.rglob("*"))
    images = {"images": [base64.b64encode(photos["red"]).decode()]}
    for reply in (
        httpx.post(f"{collecting.url}/v1/predict", content=photos["red"]),
        httpx.post(f"{collecting.url}/v1/predict?collect=0", content=photos["red"]),
        httpx.post(f"{collecting.url}/v1/predict?collect=false", json=images | {"collect": 1}),
        httpx.post(f"{collecting.url}/predict/clas_system?collect=1", json=images),
    ):
        assert reply.status_code == 200
        assert "collected" not in reply.json()
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("asked", ["", "yes", "2", "True", "１"])
def test_another_wish_than_1_or_0_is_said(collecting: Server, photos: dict[str, bytes], asked: str) -> None:
    reply = httpx.post(f"{collecting.url}/v1/predict", params={"collect": asked}, content=photos["red"])
    assert reply.status_code == 400
    assert "collect must be 1 or 0" in reply.json()["error"]


def test_a_server_that_does_not_collect_says_so_and_changes_nothing(
    colour_bundle: Path, collecting: Server, photos: dict[str, bytes]
) -> None:
    assert httpx.get(f"{collecting.url}/v1/model").json()["collects"] is True
    with serving(colour_bundle) as plain:
        assert httpx.get(f"{plain.url}/v1/model").json()["collects"] is False
        reply = httpx.post(f"{plain.url}/v1/predict?collect=1", content=photos["red"])
        assert (reply.status_code, "collected" in reply.json()) == (200, False)
        said = say(plain.url, {"id": "x", "class_id": 0})
        assert said.status_code == 404
        assert "garbage serve --collect" in said.json()["error"]


def test_a_page_of_another_site_keeps_and_corrects_nothing(
    collecting: Server, folder: Path, photos: dict[str, bytes]
) -> None:
    id_ = keep(collecting.url, photos["blue"], **{"sec-fetch-site": "same-origin"})
    foreign = {"sec-fetch-site": "cross-site", "origin": "https://else.example"}
    reply = httpx.post(f"{collecting.url}/v1/predict?collect=1", content=photos["red"], headers=foreign)
    assert (reply.status_code, "collected" in reply.json()) == (200, False)
    assert say(collecting.url, {"id": id_, "class_id": 0}, **foreign).status_code == 403
    assert where(folder, id_) == [f"unconfirmed/{PLACES['blue']}"]


def test_a_page_that_cors_names_may_keep(colour_bundle: Path, tmp_path: Path, photos: dict[str, bytes]) -> None:
    origin = "https://bin.example"
    with serving(colour_bundle, "--collect", tmp_path / "kept", "--cors", origin) as running:
        assert keep(running.url, photos["red"], **{"sec-fetch-site": "cross-site", "origin": origin})


# ---- corrections


def test_a_correction_by_an_old_list_of_classes_moves_nothing(
    collecting: Server, folder: Path, photos: dict[str, bytes]
) -> None:
    id_ = keep(collecting.url, photos["blue"])
    reply = say(collecting.url, {"id": id_, "class_id": 0, "name": "烟蒂"})
    assert reply.status_code == 409
    assert "class 0 is 干电池 here" in reply.json()["error"]
    assert where(folder, id_) == [f"unconfirmed/{PLACES['blue']}"]
    for class_id, name, place in (
        (0, "干电池", f"train/{PLACES['red']}"),
        (None, "烟蒂", "none"),
        (2, None, f"train/{PLACES['blue']}"),
    ):
        assert say(collecting.url, {"id": id_, "class_id": class_id, "name": name}).status_code == 200
        assert where(folder, id_) == [place]


def test_a_person_confirms_corrects_and_corrects_again(
    collecting: Server, folder: Path, photos: dict[str, bytes]
) -> None:
    before = counted(collecting.url)
    id_ = keep(collecting.url, photos["blue"])
    can = {"class_id": 2, "name": "易拉罐", "bin": "可回收物"}
    cell = {"class_id": 0, "name": "干电池", "bin": "有害垃圾"}
    none = {"class_id": None, "name": None, "bin": None}
    for value, place in (
        (can, f"train/{PLACES['blue']}"),
        (can, f"train/{PLACES['blue']}"),
        (cell, f"train/{PLACES['red']}"),
        (none, "none"),
        (can, f"train/{PLACES['blue']}"),
    ):
        reply = say(collecting.url, {"id": id_, "class_id": value["class_id"]})
        assert (reply.status_code, reply.json()) == (200, {"id": id_, **value})
        assert where(folder, id_) == [place]
    after = counted(collecting.url)
    more = {what: after[what] - before[what] for what in after}
    assert more == {"photo": 1, "confirmed": 1, "corrected": 2, "none": 1, "lost": 0}


def test_a_correction_lands_at_whichever_worker(collecting: Server, folder: Path, photos: dict[str, bytes]) -> None:
    """Connections go to either of two workers; none of sixty corrections misses its photo."""
    ids = [keep(collecting.url, photos["red"]) for _ in range(30)]
    for id_ in ids:
        assert say(collecting.url, {"id": id_, "class_id": 0}).status_code == 200
        assert say(collecting.url, {"id": id_, "class_id": 1}).status_code == 200
        assert where(folder, id_) == [f"train/{PLACES['green']}"]


@pytest.mark.parametrize(
    "id_", ["", "x", "../labels.txt", "..", "20261128-093015-" + "0" * 32 + ".png", "\0", "/etc/passwd", "x" * 9000]
)
def test_an_unknown_id_is_404(collecting: Server, id_: str) -> None:
    reply = say(collecting.url, {"id": id_, "class_id": 0})
    assert reply.status_code == 404
    assert "is kept here" in reply.json()["error"]
    assert len(reply.json()["error"]) < 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"[]", 'must be an object: {"id": "<id>"'),
        (b'{"class_id": 1}', 'the key "id" is missing'),
        (b'{"id": "x"}', 'the key "class_id" is missing'),
        (b'{"id": 1, "class_id": 1}', "id must be a string"),
        (b'{"id": "x", "class_id": 3}', "a whole number from 0 to 2, not 3"),
        (b'{"id": "x", "class_id": -1}', "a whole number from 0 to 2"),
        (b'{"id": "x", "class_id": true}', "a whole number from 0 to 2, not true"),
        (b'{"id": "x", "class_id": "1"}', "a whole number from 0 to 2"),
        (b'{"id": "x", "class_id": 1.0}', "a whole number from 0 to 2"),
        (b'{"id": "x", "class_id": NaN}', "JSON has no NaN"),
        (b'{"id": "x", "class_id": 1, "name": 1}', "name must be a string, not 1"),
    ],
)
def test_a_bad_body_is_said(collecting: Server, body: bytes, said: str) -> None:
    reply = httpx.post(f"{collecting.url}/v1/corrections", content=body)
    assert reply.status_code == 400
    assert said in reply.json()["error"]


def test_a_body_over_16_kib_is_refused(collecting: Server) -> None:
    long = json.dumps({"id": "x" * 17_000, "class_id": 0}).encode()
    for body in (long, iter([long])):  # with its length said before, and without
        reply = httpx.post(f"{collecting.url}/v1/corrections", content=body)
        assert reply.status_code == 413
        assert "16384" in reply.json()["error"]


def test_keys_count_for_corrections_as_everywhere(
    colour_bundle: Path, tmp_path: Path, photos: dict[str, bytes]
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("0123456789abcdef")
    keys.chmod(0o600)
    shown = {"x-api-key": "0123456789abcdef"}
    with serving(colour_bundle, "--collect", tmp_path / "kept", "--api-key-file", keys) as locked:
        bare = httpx.post(f"{locked.url}/v1/predict?collect=1", content=photos["red"])
        assert bare.status_code == 401
        assert not list((tmp_path / "kept").rglob("*.png"))
        id_ = keep(locked.url, photos["red"], **shown)
        assert say(locked.url, {"id": id_, "class_id": 0}).status_code == 401
        assert where(tmp_path / "kept", id_) == [f"unconfirmed/{PLACES['red']}"]
        assert say(locked.url, {"id": id_, "class_id": 0}, **shown).status_code == 200


def test_replies_are_as_the_document_says(collecting: Server, photos: dict[str, bytes]) -> None:
    document = schemathesis.openapi.from_dict(httpx.get(f"{collecting.url}/openapi.json").json())
    predict, correct = (document[f"/v1/{name}"]["POST"] for name in ("predict", "corrections"))
    for body in ({"content": photos["red"]}, {"content": b"no photo"}):
        predict.validate_response(httpx.post(f"{collecting.url}/v1/predict?collect=1", **body))
    document["/v1/model"]["GET"].validate_response(httpx.get(f"{collecting.url}/v1/model"))
    id_ = keep(collecting.url, photos["red"])
    for value, status in (({"id": id_, "class_id": 0}, 200), ({"id": id_, "class_id": None}, 200), ({}, 400),
                          ({"id": "x", "class_id": 0}, 404), ({"id": id_, "class_id": 0, "name": "烟蒂"}, 409),
                          ({"id": "x" * 20_000}, 413)):  # fmt: skip
        reply = say(collecting.url, value)
        assert reply.status_code == status
        correct.validate_response(reply)
    foreign = say(collecting.url, {"id": id_, "class_id": 0}, **{"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    correct.validate_response(foreign)
    wrong = httpx.Response(200, json={"id": 5}, request=reply.request)
    wrong.elapsed = reply.elapsed
    with pytest.raises(FailureGroup):
        correct.validate_response(wrong)


# ---- a disk that is full, gone or does not answer


def test_a_full_folder_fails_no_answer_and_is_counted(
    colour_bundle: Path, tmp_path: Path, photos: dict[str, bytes]
) -> None:
    with serving(colour_bundle, "--collect", tmp_path / "kept", "--collect-limit", "1") as full:
        replies = [httpx.post(f"{full.url}/v1/predict?collect=1", content=photos["red"]) for _ in range(3)]
        assert [(each.status_code, each.json()["collected"]) for each in replies] == [(200, [None])] * 3
        assert counted(full.url)["lost"] == 3
        full.process.terminate()
        assert full.process.stderr is not None
        said = full.process.stderr.read()
    assert said.count("photos are not kept in") == 1
    assert f"photos whose senders ask for it are kept in {tmp_path / 'kept'}" in said


class SlowCollection:
    """A collection on a disk that does not answer until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.added = 0

    def add(self, photo: bytes, label: object) -> str:
        self.let.wait(30)
        self.added += 1
        return "id"

    def correct(self, id_: str, class_id: int | None) -> object:
        raise UnknownPhoto(id_)


def test_a_disk_that_does_not_answer_holds_up_those_that_wait_for_it_and_no_more() -> None:
    disk, lost = SlowCollection(), []
    metrics = SimpleNamespace(collected=lost.append)
    keeper = Keeper(disk, metrics)  # type: ignore[arg-type]
    photo, answered = Photo("a", b"x"), Prediction("a", (Score(COLOUR_LABELS[0], 1.0),))

    async def scene() -> None:
        both = (keeper.keep([photo], [answered], seconds=0.5) for _ in range(2))
        assert await asyncio.gather(*both) == [[None], [None]]  # one at work, one that waits behind it
        assert await keeper.keep([photo], [answered], seconds=3600) == [None]
        with pytest.raises(Stuck):
            await keeper.correct("id", 0, seconds=3600)
        disk.let.set()
        assert keeper._stuck is not None
        while not keeper._stuck.done():
            await asyncio.sleep(0.01)
        assert await keeper.keep([photo], [answered], seconds=30) == ["id"]

    asyncio.run(scene())
    keeper.close()
    assert lost == ["lost", "lost", "lost", "photo"]


@pytest.mark.parametrize("limit", ["WAITING", "JOBS"])
def test_photos_that_wait_to_be_kept_have_a_limit(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(keeping, limit, 2)
    disk, counts = SlowCollection(), []
    keeper = Keeper(disk, SimpleNamespace(collected=counts.append))  # type: ignore[arg-type]
    photo, answered = Photo("a", b"x"), Prediction("a", (Score(COLOUR_LABELS[0], 1.0),))

    async def scene() -> None:
        waiting = [asyncio.create_task(keeper.keep([photo], [answered], seconds=30)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await keeper.keep([photo], [answered], seconds=3600) == [None]
        disk.let.set()
        assert await asyncio.gather(*waiting) == [["id"], ["id"]]
        assert await keeper.keep([photo], [answered], seconds=30) == ["id"]

    asyncio.run(scene())
    keeper.close()
    assert sorted(counts) == ["lost", "photo", "photo", "photo"]


def test_whatever_becomes_of_a_photo_its_answer_is_given(capfd: pytest.CaptureFixture[str]) -> None:
    counts: list[str] = []
    broken = SimpleNamespace(add=lambda photo, label: 1 / 0)
    keeper = Keeper(broken, SimpleNamespace(collected=counts.append))  # type: ignore[arg-type]
    photo, answered = Photo("a", b"x"), Prediction("a", (Score(COLOUR_LABELS[0], 1.0),))
    for _ in range(3):
        assert asyncio.run(keeper.keep([photo], [answered], seconds=30)) == [None]
    keeper.close()
    assert counts == ["lost"] * 3
    assert capfd.readouterr().err == "photos are not kept: ZeroDivisionError: division by zero\n"


def test_a_photo_that_cannot_be_moved_is_asked_for_again_later(
    colour_bundle: Path, tmp_path: Path, photos: dict[str, bytes]
) -> None:
    with serving(colour_bundle, "--collect", tmp_path / "kept") as running:
        id_ = keep(running.url, photos["red"])
        (tmp_path / "kept" / "labels.txt").unlink()  # as a disk that is gone
        reply = say(running.url, {"id": id_, "class_id": 1})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "30")
        assert "the photo can't be moved (there is no" in reply.json()["error"]


def test_a_worker_answers_where_the_folder_is_none_by_now(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    options = SimpleNamespace(collect=tmp_path / "file", collect_limit=1)
    assert keeping.open_keeper(options, COLOUR_LABELS, Metrics(routes=(), bins=())) is None  # type: ignore[arg-type]
    assert "photos can't be kept in" in capfd.readouterr().err


# ---- starting and reloading


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--collect-limit", "x", "--collect", "kept"), 1, "'x' is no size"),
        (("--collect-limit", "1G"), 2, "--collect-limit: nothing is kept without --collect DIR"),
        (("--backend", "hub", "--collect", "kept"), 2, "PaddleHub has no --collect; leave it out"),
        (("--collect", "photos"), 1, "is no folder of collected photos; name a new folder with --collect"),
        (("--collect", "other"), 1, "labels.txt names class 0 as a, the model has 有害垃圾/干电池"),
    ],
)
def test_what_can_not_be_collected_into_is_said_at_the_start(
    garbage: Callable[..., Result],
    colour_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    code: int,
    said: str,
) -> None:
    from garbage_cli.collection import prepare
    from garbage_cli.labels import Labels

    monkeypatch.chdir(tmp_path)
    save_photo(tmp_path / "photos" / "a.png", COLOURS["red"])
    prepare(tmp_path / "other", Labels.parse(["a", "b"]))
    done = garbage("serve", "--model", colour_bundle, "--port", 0, *options)
    assert (done.code, done.out) == (code, "")
    assert said in " ".join(done.err.replace("│", " ").split())


def test_a_model_of_other_classes_is_not_reloaded_over_a_collection(
    tmp_path: Path, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from garbage_cli.labels import Labels

    bundle = make_colour_bundle(tmp_path / "inference")
    with serving(bundle, "--collect", tmp_path / "kept") as running:
        id_ = keep(running.url, photos["red"])
        monkeypatch.setattr("conftest.COLOUR_LABELS", Labels.parse(["a", "b", "c"]))
        make_colour_bundle(tmp_path / "other", name="Others")
        bundle.rename(tmp_path / "before")
        shutil.copytree(tmp_path / "other", bundle)
        running.process.send_signal(signal.SIGHUP)
        assert running.process.stderr is not None
        said = ""
        while "goes on" not in said or "--collect" not in said:
            line = running.process.stderr.readline()
            assert line, said
            said += line
        assert "not reloaded, the model before goes on" in " ".join(said.split())
        assert "names class 0 as 有害垃圾/干电池, the model has a" in " ".join(said.split())
        assert httpx.get(f"{running.url}/v1/model").json()["name"] == "Colours"
        assert say(running.url, {"id": id_, "class_id": 1}).status_code == 200


def test_what_was_said_over_http_is_a_data_set(
    colour_bundle: Path, tmp_path: Path, garbage: Callable[..., Result]
) -> None:
    folder = tmp_path / "kept"
    with serving(colour_bundle, "--collect", folder) as running:
        for seed in range(24):
            id_ = keep(running.url, noise(seed))
            if seed < 21:
                assert say(running.url, {"id": id_, "class_id": seed % 3}).status_code == 200
    dataset = Dataset.load(folder)
    assert (dataset.labels, dataset.problems) == (COLOUR_LABELS, ())
    assert [len(dataset.train), len(dataset.val)] == [18, 3]
    assert garbage("check", folder, "--report", tmp_path / "report").code == 0
