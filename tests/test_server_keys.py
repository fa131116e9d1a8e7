"""API keys: the file of them, and whose key a request shows."""

import pickle
from pathlib import Path

import pytest

from garbage_cli.errors import ServerError
from garbage_cli.server.keys import Keys

FIRST, SECOND = "k" * 16, "0123456789abcdef+/="


def keys_in(folder: Path, text: str | bytes) -> Path:
    path = folder / "keys.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.load(keys_in(tmp_path, f"# ours\n\n分拣线 3: {FIRST}\n{SECOND}\n"))


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "name"),
    [
        (f"Bearer {FIRST}", None, "分拣线 3"),
        (f"bearer   {SECOND} ", None, "key 2"),
        (None, SECOND, "key 2"),
        ("Basic dXNlcjpwYXNz", FIRST, "分拣线 3"),
        (f"Bearer {SECOND}x", FIRST, "分拣线 3"),
        (FIRST, None, None),
        (f"Basic {FIRST}", None, None),
        (f"Bearer {FIRST[:-1]}", None, None),
        (f"Bearer {FIRST}k", None, None),
        (None, FIRST.upper(), None),
        ("Bearer", "", None),
        ("Bearer 钥匙\udcff", "\x00\xff", None),
        (None, None, None),
    ],
)
def test_a_key_is_known_by_either_header(
    keys: Keys, authorization: str | None, x_api_key: str | None, name: str | None
) -> None:
    assert keys.who(authorization, x_api_key) == name


def test_every_key_is_compared_whichever_is_shown(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append(other) or one == other)
    assert keys.who(f"Bearer {FIRST}", None) == "分拣线 3"
    first = list(compared)
    compared.clear()
    assert keys.who(None, "wrong") is None
    assert compared == first
    assert len(set(compared)) == 2


def test_keys_are_sent_to_workers_and_shown_to_nobody(keys: Keys) -> None:
    sent = pickle.dumps(keys)
    assert pickle.loads(sent) == keys
    assert pickle.loads(sent).who(None, FIRST) == "分拣线 3"
    for shown in (repr(keys).encode(), sent):
        assert FIRST.encode() not in shown
        assert SECOND.encode() not in shown
    assert "digest" not in repr(keys)


def test_a_file_from_another_system_is_read(tmp_path: Path) -> None:
    keys = Keys.load(keys_in(tmp_path, b"\xef\xbb\xbf" + f"a: {FIRST}\r\n  \r\nb:\t{SECOND}".encode()))
    assert keys.names == ("a", "b")
    assert keys.who(None, SECOND) == "b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# nothing\n\n", "holds no key"),
        (f"{FIRST}\nshort-secret\n", "line 2: the key has 12 characters"),
        (f"\n\na: {FIRST} x\n", "line 3: the key holds a space"),
        (f"a:{FIRST}\n", "line 1: a key holds no colon"),
        (f": {FIRST}\n", "line 1: a name has 1 to 64"),
        (f"{'n' * 65}: {FIRST}\n", "line 1: a name has 1 to 64"),
        (f"a: b: {FIRST}\n", "line 1: a name has 1 to 64"),
        ("a:\n", "line 1: a key holds no colon"),
        (f"{FIRST}钥匙\n", "line 1: the key holds characters that no header carries"),
        (f"{FIRST}\x00\n", "line 1: the key holds characters that no header carries"),
        (f"a: {FIRST}\na: {SECOND}\n", "line 2: the name a stands there twice"),
        (f"key 2: {FIRST}\n{SECOND}\n", "line 2: the name key 2 stands there twice"),
        (f"a: {FIRST}\n{FIRST}\n", "line 2: this key stands there twice"),
        ("密钥".encode("gb18030"), "not text in UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than"),
    ],
)
def test_a_wrong_file_is_refused_by_line_and_no_key_is_shown(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        Keys.load(keys_in(tmp_path, text))
    assert words in str(caught.value)
    assert "keys.txt" in str(caught.value)
    assert all(secret not in str(caught.value) for secret in (FIRST, SECOND, "short-secret"))


@pytest.mark.parametrize("name", ["missing.txt", ""])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServerError, match="can't be read") as caught:
        Keys.load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_open_to_everyone_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    path = keys_in(tmp_path, FIRST)
    Keys.load(path, tell=told.append)
    assert told == []
    path.chmod(0o644)
    assert Keys.load(path, tell=told.append).who(None, FIRST) == "key 1"
    assert len(told) == 1
    assert f"chmod o-r {path}" in told[0]
