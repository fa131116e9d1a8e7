"""The options of `garbage serve`: what is refused, what is ignored and said, and what goes on to the real PaddleHub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from garbage_cli import hubmodule, server

Garbage = Callable[..., Result]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reaches the two rooms that serve, in place of their serving."""
    found: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda options, **_: found.append(options))
    monkeypatch.setattr(hubmodule, "serve_with_hub", lambda bundle, **settings: found.append((bundle.name, settings)))
    return found


def write_config(folder: Path, **keys: object) -> Path:
    init_args = keys.pop("init_args", {})
    modules = {"garbage_classification": {"init_args": init_args, "predict_args": {"top_k": 2}}}
    path = folder / "config.json"
    path.write_text(json.dumps({"modules_info": modules, **keys}))
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--backend", "x"), "--backend x: it is garbage or hub"),
        (("--queue", 0), "--queue"),
        (("--timeout", 0), "--timeout"),
        (("--max-pixels", 0), "--max-pixels"),
        (("--workers", 0), "--workers"),
        (("--backend", "hub", "--cors", "https://a.example"), "PaddleHub has no --cors; leave it out"),
        (("--backend", "hub", "--api-key-file", "keys.txt", "--host", "::"), "PaddleHub has no --api-key-file, --host"),
        (("--backend", "hub", "--certificate", "cert.pem"), "PaddleHub has no --certificate; leave it out"),
        (("--private-key", "key.pem"), "--private-key: it is for https, which takes --certificate FILE too"),
        (("--backend", "hub", "--set", "cpu_num_threads=2"), "PaddleHub's module takes use_gpu only"),
    ],
)
def test_what_can_not_be_is_wrong_usage(
    garbage: Garbage, colour_bundle: Path, asked: list[Any], options: tuple[object, ...], said: str
) -> None:
    done = garbage("serve", "--model", colour_bundle, *options)
    assert done.code == 2
    assert said in " ".join(done.err.replace("│", " ").split())
    assert asked == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-body", "x"), "'x' is no size"),
        (("--host", ""), "--host is empty"),
        (("--host", "no.such.host.invalid"), "is --host an address of this machine?"),
        (("--cors", "sorting.example"), "--cors 'sorting.example' is no origin"),
        (("--cors", "https://sorting.example/page"), "is no origin"),
        (("--cors", "*"), "is no origin"),
        (("--api-key-file", "gone.txt"), "gone.txt"),
        (("--config", "gone.json"), "gone.json"),
    ],
)
def test_what_is_wrong_with_a_value_is_one_line(
    garbage: Garbage, colour_bundle: Path, options: tuple[object, ...], said: str
) -> None:
    done = garbage("serve", "--model", colour_bundle, "--port", 0, *options)
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1 + ("whoever reaches" in done.err)


def test_an_open_network_is_told_unless_there_are_keys(
    garbage: Garbage, colour_bundle: Path, asked: list[Any], tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("0123456789abcdef0123\n")
    keys.chmod(0o600)
    warning = "whoever reaches 0.0.0.0 can have photos answered; --api-key-file asks for a key"
    assert warning in garbage("serve", "--model", colour_bundle, "--host", "0.0.0.0").err
    assert garbage("serve", "--model", colour_bundle, "--host", "0.0.0.0", "--api-key-file", keys).err == ""
    assert garbage("serve", "--model", colour_bundle).err == ""
    assert [options.keys is None for options in asked] == [True, False, True]


@pytest.mark.parametrize(
    ("host", "url", "without_camera"),
    [
        ("127.0.0.1", "http://127.0.0.1:8866", False),
        ("::1", "http://[::1]:8866", False),
        ("0.0.0.0", "http://127.0.0.1:8866", True),
        ("192.0.2.7", "http://192.0.2.7:8866", True),
        ("0.0.0.0", "https://127.0.0.1:8866", False),
    ],
)
def test_once_ready_the_page_is_named_and_what_phones_need_for_their_camera(
    garbage: Garbage, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, host: str, url: str, without_camera: bool
) -> None:
    monkeypatch.setattr(server, "serve", lambda options, *, on_ready, **_: on_ready(url))
    lines = garbage("serve", "--model", colour_bundle, "--host", host).err.splitlines()
    assert [line for line in lines if line.startswith(f"ready at {url}")]
    assert f"the page at the bin, for a browser: {url}/" in lines
    hint = "phones give their camera to pages over https only; --certificate FILE makes it that"
    assert (hint in lines) is without_camera
    done = garbage("serve", "--model", colour_bundle, "--host", host, "--json")
    assert json.loads(done.out) == {"url": url, "workers": 1}
    assert "the page" not in done.err


def test_the_real_paddlehub_has_no_page(garbage: Garbage, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubmodule, "serve_with_hub", lambda bundle, *, on_ready, **_: on_ready("http://127.0.0.1:8866"))
    done = garbage("serve", "--model", colour_bundle, "--backend", "hub")
    assert done.err.startswith("ready at http://127.0.0.1:8866 with 1 worker")
    assert "page" not in done.err


def test_a_config_json_counts_and_the_options_beside_it_are_said_to_be_ignored(
    garbage: Garbage, colour_bundle: Path, asked: list[Any], tmp_path: Path
) -> None:
    config = write_config(tmp_path, port=8877, use_multiprocess=True, workers=3, init_args={"enable_mkldnn": True})
    done = garbage(
        "serve", "--config", config, "--model", colour_bundle, "--port", 1, "--workers", 9, "--top-k", 1, "--queue", 7
    )
    assert done.code == 0
    (options,) = asked
    assert (options.port, options.workers, options.top_k, options.engine, options.queue) == (8877, 3, 2, "auto", 7)
    for ignored in ("--port", "--workers", "--top-k"):
        assert f"{ignored} is ignored" in done.err
    assert "--queue" not in done.err
    assert "only this machine can reach it; PaddleHub listens on the whole network" in done.err
    assert "enable_mkldnn asks for speed on a CPU; the fastest engine here is taken in any case" in done.err


def test_the_source_documents_config_asks_for_the_gpu_alone(
    garbage: Garbage, colour_bundle: Path, asked: list[Any], tmp_path: Path
) -> None:
    init_args = {"version": "1.0.0", "use_gpu": True, "enable_mkldnn": True}
    config = write_config(tmp_path, port=8866, use_multiprocess=True, workers=2, init_args=init_args)
    done = garbage("serve", "--config", config, "--model", colour_bundle)
    (options,) = asked
    assert (options.workers, options.engine, options.options.use_gpu) == (1, "paddle", True)
    assert "use_multiprocess is ignored: use_gpu excludes it" in done.err
    assert "enable_mkldnn is ignored: use_gpu wins over it" in done.err


def test_the_real_paddlehub_gets_what_it_can_follow(
    garbage: Garbage, colour_bundle: Path, asked: list[Any], tmp_path: Path
) -> None:
    config = write_config(tmp_path, port=8877, use_multiprocess=True, workers=2, init_args={"enable_mkldnn": True})
    garbage("serve", "--backend", "hub", "--config", config, "--model", colour_bundle)
    garbage("serve", "--backend", "hub", "--model", colour_bundle, "--port", 9000, "--top-k", 3)
    first, second = ((name, settings) for name, settings in asked)
    names = ("port", "workers", "use_gpu", "enable_mkldnn", "top_k")
    assert (first[0], [first[1][each] for each in names]) == ("Colours", [8877, 2, False, True, 2])
    assert [second[1][each] for each in names] == [9000, 1, False, False, 3]
