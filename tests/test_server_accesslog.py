"""The access log: whole lines, from several processes, whatever happens to the file."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from garbage_cli.errors import ServerError
from garbage_cli.server import accesslog
from garbage_cli.server.accesslog import AccessLog, check_target, request_id


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread; the test's own time limit is the end of patience."""
    while not condition():
        time.sleep(0.005)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.fixture
def lost() -> list[int]:
    return []


def test_records_are_lines_of_json_in_their_order(tmp_path: Path, lost: list[int]) -> None:
    path = tmp_path / "access.log"
    path.write_text('{"before": 1}\n')
    log = AccessLog(str(path), on_lost=lost.append)
    for number in range(1000):
        log.write({"number": number, "bin": "可回收物", "seconds": 0.25, "key": None, "ok": True})
    log.close()
    found = lines_of(path)
    assert found[0] == {"before": 1}
    assert found[1:] == [
        {"number": i, "bin": "可回收物", "seconds": 0.25, "key": None, "ok": True} for i in range(1000)
    ]
    assert "可回收物".encode() in path.read_bytes()
    assert lost == []


def test_a_new_file_is_closed_to_others(tmp_path: Path) -> None:
    check_target(str(tmp_path / "new.log"))
    assert (tmp_path / "new.log").stat().st_mode & 0o007 == 0


def test_nothing_a_stranger_sends_breaks_a_line(tmp_path: Path, lost: list[int]) -> None:
    path = tmp_path / "access.log"
    nasty = {
        "path": 'a\nb\r\x00\x1b[31m\x7f\x85\x9b\u2028\u2029\u202e"\\',
        "surrogate": "x\udcff\ud800",
        "nan": float("nan"),
        "huge": 10**400,
        "bytes": b"\xff\n",
        "deep": {"a": {"b": {"c": ["d"]}}},
        "list": ["一", {"二": 2}],
        "key\n\udc80": 1,
    }
    log = AccessLog(str(path), on_lost=lost.append)
    log.write(nasty)
    log.write({"next": 1})
    log.close()
    text = path.read_bytes().decode()  # strictly UTF-8
    assert len(text.splitlines()) == 2
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text.replace("\n", ""))
    first, second = lines_of(path)
    assert first["path"] == nasty["path"]
    assert first["surrogate"] == nasty["surrogate"]
    assert first["nan"] == "nan"
    assert first["list"] == nasty["list"]
    assert first["key\n\udc80"] == 1
    assert second == {"next": 1}
    assert lost == []


@pytest.mark.parametrize(
    "record",
    [
        {"path": "/" + "路" * 100_000, "agent": "\x01" * 100_000},
        {f"name {i}": "x" * 5000 for i in range(60)},
        {f"{'n' * 500}{i}": ["\x01" * 90] * 50 for i in range(500)},
    ],
    ids=["long texts", "many texts", "many lists"],
)
def test_a_line_never_outgrows_one_write(tmp_path: Path, record: dict[str, object]) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), on_lost=pytest.fail)
    log.write(record)
    log.close()
    assert path.stat().st_size <= 4096
    assert len(lines_of(path)) == 1


def test_a_record_that_changes_after_it_was_written_is_logged_as_it_was(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"), on_lost=pytest.fail)
    record = {"status": 200}
    log.write(record)
    record["status"] = 500
    log.close()
    assert lines_of(tmp_path / "access.log") == [{"status": 200}]


def test_no_target_is_no_log(lost: list[int]) -> None:
    check_target(None)
    log = AccessLog(None, on_lost=lost.append)
    log.write({"a": 1})
    log.close()
    assert lost == []


def test_a_full_disk_costs_lines_and_is_said_once(lost: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("/dev/full", on_lost=lost.append)
    for _ in range(500):
        log.write({"a": 1})
    log.close()
    log.write({"after": "the end"})
    assert sum(lost) == 500
    said = ""

    def heard() -> str:
        nonlocal said
        said += capfd.readouterr().err
        return said

    until(lambda: "\n" in heard())
    assert said == "the access log /dev/full loses lines: No space left on device\n"


SHORT_OF_ROOM = """
import resource, sys, time
from garbage_cli.server import accesslog
accesslog._CALM = 0.0
lost, path = [], sys.argv[1]
log = accesslog.AccessLog(path, on_lost=lost.append)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
for number in range(5):
    log.write({"number": number, "text": "x" * 20})
while sum(lost) < 3:
    time.sleep(0.005)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
log.write({"number": 5})
log.close()
print(sum(lost))
"""


def test_a_disk_that_has_room_again_goes_on_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_ROOM, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    whole = path.read_bytes().split(b"\n")
    assert [json.loads(line)["number"] for line in (*whole[:2], *whole[3:-1])] == [0, 1, 5]
    assert len(whole[2]) < 20  # what there was room for
    assert sorted(done.stderr.splitlines()) == [
        f"the access log {path} loses lines: there was room for a part only",
        f"the access log {path} works again; 3 lines were lost",
    ]


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path, lost: list[int]) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), on_lost=lost.append)
    log.write({"n": 1})
    until(lambda: path.stat().st_size)
    path.rename(tmp_path / "access.log.1")
    log.write({"n": 2})
    until(lambda: path.exists() and path.stat().st_size)
    path.unlink()
    log.write({"n": 3})
    log.close()
    assert lines_of(tmp_path / "access.log.1") == [{"n": 1}]
    assert lines_of(path) == [{"n": 3}]
    assert lost == []


def test_a_log_whose_folder_is_gone_loses_lines_until_it_is_back(tmp_path: Path, lost: list[int]) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "access.log"
    log = AccessLog(str(path), on_lost=lost.append)
    path.unlink()
    folder.rmdir()
    log.write({"n": 1})
    until(lambda: lost == [1])
    folder.mkdir()
    log.write({"n": 2})
    log.close()
    assert lines_of(path) == [{"n": 2}]


def test_a_renamed_file_takes_lines_until_a_new_one_can_be_made(tmp_path: Path, lost: list[int]) -> None:
    folder, moved = tmp_path / "logs", tmp_path / "moved"
    folder.mkdir()
    log = AccessLog(str(folder / "access.log"), on_lost=lost.append)
    folder.rename(moved)
    log.write({"n": 1})
    log.close()
    assert lines_of(moved / "access.log") == [{"n": 1}]
    assert lost == []


def test_a_reader_that_stops_reading_costs_lines_but_nobody_waits(
    lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "_CAPACITY", 100)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    monkeypatch.setattr(accesslog, "_duplicate_of_stdout", lambda: writing)
    log = AccessLog("-", on_lost=lost.append)
    for number in range(1000):
        log.write({"number": number})
    assert 600 <= sum(lost) <= 900
    log.close()
    assert sum(lost) == 1000
    # free the thread, so that it ends with the test
    os.set_blocking(reading, False)
    thread = next(each for each in threading.enumerate() if each.name == "access log")
    while thread.is_alive():
        try:
            os.read(reading, 1 << 20)
        except BlockingIOError:
            thread.join(0.01)
    os.close(reading)


WRITER = """
import sys
from garbage_cli.server.accesslog import AccessLog
lost = []
log = AccessLog(sys.argv[1], on_lost=lost.append)
print("begun", file=sys.stderr, flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    log.write({"who": sys.argv[2], "number": number, "text": sys.argv[2] * (number % 1500)})
log.close()
print("lost", sum(lost), file=sys.stderr, flush=True)
"""


def start_writer(target: object, who: str, count: int, stdout: int | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(target), who, str(count)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    return process


def read_all(handle: int) -> bytes:
    with os.fdopen(handle, "rb") as file:
        return file.read()


@pytest.mark.parametrize("through", ["a file", "a pipe"])
def test_lines_of_two_processes_do_not_mix(tmp_path: Path, through: str) -> None:
    path = tmp_path / "access.log"
    if through == "a file":
        writers = [start_writer(path, who, 3000) for who in "甲b"]
        readers = []
    else:
        reading, writing = os.pipe()
        writers = [start_writer("-", who, 3000, writing) for who in "甲b"]
        os.close(writing)
        pump = threading.Thread(target=lambda: path.write_bytes(read_all(reading)))
        pump.start()
        readers = [pump]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.communicate()[1] == "lost 0\n"
    for reader in readers:
        reader.join()
    found = lines_of(path)
    for who in "甲b":
        assert [line["number"] for line in found if line["who"] == who] == list(range(3000))


def test_a_closed_stdout_costs_lines_and_not_the_process() -> None:
    reading, writing = os.pipe()
    writer = start_writer("-", "a", 10, writing)
    os.close(writing)
    os.close(reading)
    _, said = writer.communicate("\n")
    assert writer.returncode == 0
    assert sorted(said.splitlines()) == ["lost 10", "the access log - loses lines: Broken pipe"]


def test_stdout_that_was_never_open_is_refused() -> None:
    command = f"{sys.executable} -c 'from garbage_cli.server.accesslog import *; check_target(\"-\")' >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ServerError: the access log - can't be opened: stdout is closed; name another file" in done.stderr


@pytest.mark.parametrize("name", ["", "missing/access.log", "a pipe", "\x00"])
def test_a_target_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "a pipe")
    target = str(tmp_path / name)
    for attempt in (lambda: check_target(target), lambda: AccessLog(target, on_lost=pytest.fail)):
        with pytest.raises(ServerError, match=r"can't be opened: .+; name another file, or - for stdout") as caught:
            attempt()
        assert target in str(caught.value)


@pytest.mark.parametrize("given", ["abc-1.2_3~Z", "x" * 128, b"7f"])
def test_a_harmless_request_id_is_kept(given: str | bytes) -> None:
    assert request_id(given) == (given.decode() if isinstance(given, bytes) else given)


@pytest.mark.parametrize("given", [None, "", b"", "x" * 129, "a b", "a\n", "a\r\nSet-Cookie: x", "编号", b"\xff", '"'])
def test_any_other_request_id_is_replaced_by_a_new_one(given: str | bytes | None) -> None:
    first, second = request_id(given), request_id(given)
    assert first != second
    assert request_id(first) == first
    assert len(first) <= 36
