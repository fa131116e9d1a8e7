"""Encrypted archives: a password is asked for once, if at all, and nobody waits for one in vain."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import FILES, assert_nothing_left, flip, unpack, write_7z, write_aes_zip, write_zip

from garbage_cli.archive import read_password
from garbage_cli.errors import ArchiveError, MissingExtraError

SECRET = "pässwörd 密码 🔑"

Encrypt = Callable[[Path, str], Path]


def write_old_zip(path: Path, password: str) -> Path:
    """ZipCrypto, which Python reads and does not write: the system's zip does."""
    folder = path.parent / "plain"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    command = ["zip", "-q", "-r", "-P", password, str(path), "garbage"]
    try:
        subprocess.run(command, cwd=folder, check=True)
    except FileNotFoundError:
        pytest.skip("no zip program here")
    subprocess.run(["rm", "-r", str(folder)], check=True)
    return path


ENCRYPTED: dict[str, Encrypt] = {
    "zip": lambda path, password: write_old_zip(path.with_suffix(".zip"), password),
    "aes.zip": lambda path, password: write_aes_zip(path, password=password),
    "7z": lambda path, password: write_7z(path, password=password),
    "7z-names-too": lambda path, password: write_7z(path, password=password, header_encryption=True),
}
each_kind = pytest.mark.parametrize("encrypt", ENCRYPTED.values(), ids=ENCRYPTED)


class Asked:
    """Gives a password, and counts how often it was asked to."""

    def __init__(self, password: str | None) -> None:
        self.password, self.times = password, 0

    def __call__(self) -> str | None:
        self.times += 1
        return self.password


@each_kind
def test_the_password_is_asked_for_once_and_opens_it(tmp_path: Path, encrypt: Encrypt) -> None:
    asked = Asked(SECRET)
    assert unpack(encrypt(tmp_path / "a", SECRET), tmp_path / "out", password=asked) == FILES
    assert asked.times == 1


@each_kind
@pytest.mark.parametrize("keep_going", [False, True])
def test_a_wrong_password_says_so_and_leaves_nothing(tmp_path: Path, encrypt: Encrypt, keep_going: bool) -> None:
    path = encrypt(tmp_path / "a", SECRET)
    for wrong in ("wrong", "Пароль", "x" * 200):
        asked = Asked(wrong)
        with pytest.raises(ArchiveError, match=r"password of .* is wrong|damaged, or the password is wrong"):
            unpack(path, tmp_path / "out", password=asked, keep_going=keep_going)
        assert asked.times == 1
    assert_nothing_left(tmp_path, path.name)


@each_kind
def test_no_password_says_how_to_give_one(tmp_path: Path, encrypt: Encrypt) -> None:
    path = encrypt(tmp_path / "a", SECRET)
    for nothing in (None, ""):
        with pytest.raises(ArchiveError, match="is encrypted; give its password with --password-file FILE"):
            unpack(path, tmp_path / "out", password=Asked(nothing))
    assert_nothing_left(tmp_path, path.name)


def test_what_is_not_encrypted_asks_for_nothing(tmp_path: Path) -> None:
    asked = Asked("never")
    for number, write in enumerate((write_zip, write_7z)):
        assert unpack(write(tmp_path / "a"), tmp_path / f"out{number}", password=asked) == FILES
    assert asked.times == 0


def test_damage_after_a_password_that_has_opened_something_is_damage(tmp_path: Path) -> None:
    path = write_aes_zip(tmp_path / "a.zip", {"a": os.urandom(500), "b": os.urandom(500)}, password=SECRET)
    flip(path, path.read_bytes().rindex(b"PK\x03\x04") + 300)
    with pytest.raises(ArchiveError, match="member 'b' is damaged"):
        unpack(path, tmp_path / "out", password=Asked(SECRET))


def test_aes_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_aes_zip(tmp_path / "a.zip", password=SECRET)
    monkeypatch.setitem(sys.modules, "pyzipper", None)
    with pytest.raises(MissingExtraError, match=r"needs pyzipper.*garbage-cli\[archives\]"):
        unpack(path, tmp_path / "out", password=Asked(SECRET))


# ---- password files


@pytest.mark.parametrize("text", ["geheim", "geheim\n", "geheim\r\n", "\ufeffgeheim\nsecond line\n"])
def test_the_first_line_of_the_file_is_the_password(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_bytes(text.encode())
    assert read_password(tmp_path / "file") == "geheim"


def test_spaces_around_a_password_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(" a b \n")
    assert read_password(tmp_path / "file") == " a b "


@pytest.mark.parametrize(
    ("data", "said"), [(None, "can't read"), (b"", "is empty"), (b"\nsecond", "is empty"), (b"\xff\xfe", "not UTF-8")]
)
def test_a_password_file_without_a_password_is_one_clear_line(tmp_path: Path, data: bytes | None, said: str) -> None:
    if data is not None:
        (tmp_path / "file").write_bytes(data)
    with pytest.raises(ArchiveError, match=said):
        read_password(tmp_path / "file")


# ---- the program, and its terminal


def command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "garbage_cli", "unpack", str(path), "--out", str(path.parent / "out"), *options]


@each_kind
@pytest.mark.parametrize("stdin", ["closed", "open"])
def test_without_a_terminal_nobody_is_waited_for(tmp_path: Path, encrypt: Encrypt, stdin: str) -> None:
    path = encrypt(tmp_path / "a", SECRET)
    inlet = subprocess.PIPE if stdin == "open" else subprocess.DEVNULL
    process = subprocess.Popen(
        command(path), stdin=inlet, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.wait(timeout=60) == 1  # the pipe is open all the while
    out, err = process.communicate()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("is encrypted; give its password with --password-file FILE\n")
    assert_nothing_left(tmp_path, path.name)


def on_terminal(arguments: list[str], typed: str) -> tuple[str, int]:
    """Run a program on a terminal of its own, and type when it asks for a password; return what the screen shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(arguments[0], arguments)
    screen, has_typed = b"", False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            screen += os.read(terminal, 4096)
        except OSError:  # the program has ended
            break
        if not has_typed and b"password of" in screen:
            os.write(terminal, typed.encode())
            has_typed = True
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return screen.decode(errors="replace"), os.waitstatus_to_exitcode(status)


def test_on_a_terminal_the_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    path = write_aes_zip(tmp_path / "a.zip", password=SECRET)
    screen, _ = on_terminal(command(path), SECRET + "\n")
    assert "password of a.zip: " in screen
    assert "密码" not in screen
    assert "2 files in" in " ".join(screen.split())


def test_ctrl_d_at_the_prompt_is_no_password(tmp_path: Path) -> None:
    path = write_aes_zip(tmp_path / "a.zip", password=SECRET)
    screen, code = on_terminal(command(path), "\x04")
    assert "is encrypted; give its password" in " ".join(screen.split())
    assert code == 1
    assert_nothing_left(tmp_path, "a.zip")
