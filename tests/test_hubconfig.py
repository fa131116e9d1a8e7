"""A config.json of PaddleHub's: what it starts, what of it is ignored and said, and what is refused."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garbage_cli.errors import ConfigError
from garbage_cli.server import hubconfig
from garbage_cli.server.hubconfig import MAX_BYTES, HubStart, read_hub_config

SOURCE_DOCUMENT = """{
    "modules_info": {
        "garbage_classification": {
            "init_args": {
                "version": "1.0.0",
                "use_gpu": true,
                "enable_mkldnn": false
            },
            "predict_args": {
            }
        }
    },
    "port": 8866,
    "use_multiprocess": false,
    "workers": 2
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def start(
    path: Path,
    *,
    init: dict[str, Any] | None = None,
    predict: dict[str, Any] | None = None,
    given: tuple[str, ...] = (),
    **keys: Any,
) -> HubStart:
    """Read a file of one module, with these keys beside it."""
    modules = {"garbage_classification": {"init_args": init or {}, "predict_args": predict or {}}}
    path.write_text(json.dumps({"modules_info": modules, **keys}))
    return read_hub_config(path, given=given)


# ---- what it starts


def test_the_source_documents_file_is_one_worker_of_paddle_on_a_gpu(path: Path) -> None:
    path.write_text(SOURCE_DOCUMENT)
    found = read_hub_config(path)
    assert found == HubStart(8866, 1, True, False, None, ("garbage_classification",), found.notes)
    assert found.notes == (
        "workers (2) is ignored: it counts with use_multiprocess only, so there is one worker",
        'version ("1.0.0") of init_args is not looked at: the model is that of --model',
    )


def test_the_least_file_has_the_documented_defaults_and_nothing_to_say(path: Path) -> None:
    path.write_text('{"modules_info": {"clas_system": {}}}')
    assert read_hub_config(path) == HubStart(8866, 1, False, False, None, ("clas_system",), ())


def test_keys_count_as_they_stand(path: Path) -> None:
    found = start(path, init={"enable_mkldnn": True}, predict={"top_k": 3}, port=9000, use_multiprocess=True, workers=3)
    assert found == HubStart(9000, 3, False, True, 3, ("garbage_classification",), ())


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 3), (16, 31), (4000, hubconfig.MAX_WORKERS)])
def test_use_multiprocess_alone_starts_two_workers_a_core_less_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr(hubconfig, "available_cores", lambda: cores)
    assert start(path, use_multiprocess=True).workers == workers


def test_a_top_k_of_null_is_the_servers_own(path: Path) -> None:
    assert start(path, predict={"top_k": None}).top_k is None


# ---- what excludes what


@pytest.mark.parametrize("place", ["beside", "init_args"])
def test_use_gpu_excludes_use_multiprocess(path: Path, place: str) -> None:
    keys: dict[str, Any] = {"use_gpu": True} if place == "beside" else {}
    found = start(path, init={"use_gpu": place == "init_args"}, use_multiprocess=True, workers=4, **keys)
    assert (found.workers, found.use_gpu) == (1, True)
    assert "use_multiprocess is ignored: use_gpu excludes it, so there is one worker" in found.notes


def test_use_gpu_wins_over_enable_mkldnn(path: Path) -> None:
    found = start(path, init={"use_gpu": True, "enable_mkldnn": True})
    assert (found.use_gpu, found.enable_mkldnn) == (True, False)
    assert found.notes == ("enable_mkldnn is ignored: use_gpu wins over it",)


def test_one_worker_asked_for_without_use_multiprocess_needs_no_word(path: Path) -> None:
    assert start(path, workers=1).notes == ()


def test_use_gpu_beside_the_modules_does_not_move_the_answers(path: Path) -> None:
    found = start(path, use_gpu=True)
    assert found.use_gpu
    assert found.notes == (
        'use_gpu beside modules_info makes PaddleHub answer in "msg"; here the answers stay in "results"',
    )


def test_the_number_of_a_gpu_is_given_by_the_variable(path: Path) -> None:
    found = start(path, init={"use_gpu": True}, gpu="0,1")
    assert found.notes == ('gpu ("0,1") is ignored: set the variable CUDA_VISIBLE_DEVICES=0,1 to choose the GPU',)


def test_the_number_of_a_gpu_without_use_gpu_is_nothing(path: Path) -> None:
    assert start(path, gpu="1").notes == ('gpu ("1") is ignored: without use_gpu no GPU is used',)


def test_options_beside_the_file_are_ignored_and_each_is_said(path: Path) -> None:
    found = start(path, port=9001, given=("--workers", "--port", "--set"))
    assert found.port == 9001
    assert found.notes == (
        "--port is ignored: a config file counts before it; write port in the file, or leave --config out",
        "--set is ignored: a config file counts before it; leave --config out to use it",
        "--workers is ignored: a config file counts before it; write use_multiprocess and workers "
        "in the file, or leave --config out",
    )


# ---- what is ignored


def test_where_paddlehub_would_load_the_module_from_is_not_looked_at(path: Path, tmp_path: Path) -> None:
    found = start(
        path, init={"version": "2.0", "directory": str(tmp_path / "gone"), "source": "https://x", "update": True}
    )
    (note,) = found.notes
    assert note.startswith('version ("2.0"), directory ("')
    assert note.endswith(
        ' source ("https://x"), update (true) of init_args are not looked at: the model is that of --model'
    )


def test_unknown_keys_are_named_with_their_place(path: Path) -> None:
    found = start(path, init={"use_gpus": True}, predict={"use_gpu": True}, use_multiproces=True, 别的=[1])
    assert found == HubStart(modules=("garbage_classification",), notes=found.notes)
    assert found.notes == (
        "use_gpus of modules_info.garbage_classification.init_args is unknown here, and ignored "
        "(did you mean use_gpu?)",
        "use_gpu of modules_info.garbage_classification.predict_args is unknown here, and ignored",
        "use_multiproces, 别的 are unknown here, and ignored (did you mean use_multiprocess?)",
    )


def test_a_thousand_unknown_keys_are_one_sentence(path: Path) -> None:
    (note,) = start(path, **{f"key{i}": i for i in range(1000)}).notes
    assert note == "key0, key1, key2, key3, key4 and 995 more are unknown here, and ignored"


def test_a_name_that_could_move_the_cursor_is_shown_as_codes(path: Path) -> None:
    (note,) = start(path, **{"\x1b[2J\n": 1, "x" * 500: 2}).notes
    assert note.isprintable()
    assert "\\u001b[2J\\n" in note
    assert len(note) < 200


def test_other_modules_are_said_to_answer_111(path: Path) -> None:
    modules = {"lac": {"init_args": {}}, "clas_system": {"predict_args": {"top_k": 2}}, "senta_lstm": 1}
    path.write_text(json.dumps({"modules_info": modules}))
    found = read_hub_config(path)
    assert (found.modules, found.top_k) == (("clas_system",), 2)
    assert found.notes == ("lac, senta_lstm of modules_info answer 111 (not available): no such model here",)


def test_of_two_names_for_the_model_the_first_ones_arguments_count(path: Path) -> None:
    modules = {"clas_system": {"predict_args": {"top_k": 2}}, "garbage_classification": {"predict_args": {"top_k": 3}}}
    path.write_text(json.dumps({"modules_info": modules}))
    found = read_hub_config(path)
    assert (found.modules, found.top_k) == (("clas_system", "garbage_classification"), 2)
    assert found.notes == (
        "the arguments of garbage_classification are ignored: both names answer with one model, "
        "and those of clas_system come first",
    )


def test_two_names_with_the_same_arguments_need_no_word(path: Path) -> None:
    path.write_text(json.dumps({"modules_info": {"clas_system": {}, "garbage_classification": {"init_args": {}}}}))
    assert read_hub_config(path).notes == ()


# ---- what is refused


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"port": "8866"}, 'port is "8866"; write a whole number from 0 to 65535, without quotes'),
        ({"port": True}, "port is true; write a whole number"),
        ({"port": 65536}, "port is 65536; write a whole number from 0 to 65535"),
        ({"port": -1}, "port is -1; "),
        ({"port": 8866.0}, "port is 8866.0; "),
        ({"port": None}, "port is null; "),
        ({"port": float("nan")}, "port is NaN; "),
        ({"workers": 0}, "workers is 0; write a whole number from 1 to 1024"),
        ({"workers": 10**9}, "workers is 1000000000; "),
        ({"workers": False}, "workers is false; "),
        ({"use_multiprocess": 1}, "use_multiprocess is 1; write true or false, without quotes"),
        ({"use_multiprocess": "false"}, 'use_multiprocess is "false"; write true or false'),
        ({"use_gpu": []}, "use_gpu is a list; write true or false"),
        ({"gpu": 0}, 'gpu is 0; write the numbers of the GPUs in quotes, as "0" or "0,1"'),
        ({"gpu": "0; reboot"}, 'gpu is "0; reboot"; '),
        ({"init": {"use_gpu": "yes"}}, 'modules_info.garbage_classification.init_args.use_gpu is "yes"; write true'),
        ({"init": {"enable_mkldnn": None}}, "init_args.enable_mkldnn is null; "),
        ({"predict": {"top_k": 0}}, "predict_args.top_k is 0; write a whole number from 1, without quotes"),
        ({"predict": {"top_k": "x" * 9999}}, "predict_args.top_k is "),
        ({"predict": {"top_k": True}}, "predict_args.top_k is true; "),
    ],
)
def test_a_wrong_value_is_named_with_its_file_its_key_and_the_remedy(path: Path, keys: Any, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        start(path, **keys)
    assert str(raised.value).startswith(f"{path}: ")
    assert said in str(raised.value)
    assert len(str(raised.value)) < len(str(path)) + 250


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "the key modules_info is missing; the least is {"),
        ({"modules_info": []}, "modules_info is a list; it must be an object"),
        ({"modules_info": {}}, "modules_info names no module; what is served here is garbage_classification and clas"),
        ({"modules_info": {"lac": {}}}, "modules_info names lac; what is served here is garbage_classification"),
        ({"modules_info": {"clas_system": "1.0.0"}}, 'modules_info.clas_system is "1.0.0"; it must be an object'),
        ({"modules_info": {"clas_system": {"init_args": None}}}, "modules_info.clas_system.init_args is null; "),
        ({"modules_info": {"clas_system": {"predict_args": [1]}}}, "modules_info.clas_system.predict_args is a list; "),
        ([], "holds a list, not an object"),
        (8866, "holds 8866, not an object"),
    ],
)
def test_a_file_of_another_shape_is_refused(path: Path, tree: Any, said: str) -> None:
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError) as raised:
        read_hub_config(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not valid JSON (line 1, column 1"),
        (SOURCE_DOCUMENT.replace("2\n}", "2,\n}").encode(), "is not valid JSON (line 16, column "),
        (b'{\n  // port\n  "port": 8866\n}', "is not valid JSON (line 2, column 3"),
        (b"modules_info:\n  clas_system: {}\n", "is not valid JSON (line 1, column 1"),
        (b"\x89PNG\r\n\x1a\n\xff\xff", "is neither UTF-8 nor GBK text"),
        (b"[" * 500_000, "nests too deep"),
        (b'{"port": ' + b"9" * 9999 + b"}", "a number in it is too long"),
        (b" " * (MAX_BYTES + 1), "has more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_json_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_hub_config(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_of_an_enormous_file_only_the_beginning_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    with pytest.raises(ConfigError, match="has more than 1,048,576 bytes"):
        read_hub_config(path)


def test_a_missing_file_a_folder_and_a_pipe_are_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in [("gone.json", "No such file"), (".", "is a folder"), ("pipe", "is not a regular file")]:
        with pytest.raises(ConfigError, match=said) as raised:
            read_hub_config(tmp_path / name)
        assert "give --config" in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le"])
def test_a_file_is_read_as_editors_in_china_save_it(path: Path, encoding: str) -> None:
    path.write_text('{"modules_info": {"clas_system": {}}, "port": 8867, "说明": "垃圾分类"}', encoding=encoding)
    found = read_hub_config(path)
    assert (found.port, found.notes) == (8867, ("说明 is unknown here, and ignored",))


def _objects(values: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


_any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_arguments = _objects(st.booleans() | st.integers(1, 5) | _any, "use_gpu", "enable_mkldnn", "top_k", "version")
_modules = _objects(_objects(_arguments, "init_args", "predict_args") | _any, "garbage_classification", "clas_system")
_keys = _objects(st.booleans() | st.integers(1, 9999) | _any, "port", "workers", "use_multiprocess", "use_gpu", "gpu")


@settings(max_examples=200)
@given(_modules, _keys)
def test_whatever_json_it_holds_it_starts_or_is_refused_in_our_words(
    tmp_path_factory: pytest.TempPathFactory, modules: dict[str, Any], keys: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({**keys, "modules_info": modules}))
    with suppress(ConfigError):
        found = read_hub_config(path)
        assert 0 <= found.port <= 65535
        assert 1 <= found.workers <= hubconfig.MAX_WORKERS
        assert set(found.modules) == set(modules)
        assert all(note.isprintable() and len(note) < 700 for note in found.notes)
