"""SIGKILL at every moment of an extraction, and two at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from archives import assert_nothing_left, content, unpack, write_tar

from garbage_cli.storage import clean_up, staged_folder

NEW = {f"new/{i}": bytes([i]) * 2000 for i in range(4)}
OLD = {"old/precious": b"1", "old/mine": b"2"}

KILLED_AT = """
import os, signal, sys
from pathlib import Path
from garbage_cli.archive import extract
events, last = 0, int(sys.argv[3])
def hook(event, arguments):
    global events
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "os.listdir"):
        events += 1
        if events == last:
            os.kill(os.getpid(), signal.SIGKILL)
reports = extract(Path(sys.argv[1]), Path(sys.argv[2]), force=True)
sys.addaudithook(hook)
for _ in reports:
    pass
"""


def killed(archive: Path, out: Path, moment: int) -> bool:
    """Extract in another process, which is killed before its n-th step on the file system; say whether it was."""
    ended = subprocess.run([sys.executable, "-c", KILLED_AT, str(archive), str(out), str(moment)], check=False)
    assert ended.returncode in (0, -signal.SIGKILL)
    return ended.returncode != 0


def write_old(out: Path) -> None:
    for name, data in OLD.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def check_moment(folder: Path, archive: Path, moment: int, *, old: bool) -> bool:
    """Kill, look, clean up, look, run again, look; say whether the moment was before the end."""
    out = folder / "deep" / "out"
    if old:
        write_old(out)
    going = killed(archive, out, moment)
    assert content(out) in (({}, OLD, NEW) if old else ({}, NEW))
    clean_up(out)
    assert content(out) in ((OLD, NEW) if old else ({}, NEW))
    assert unpack(archive, out, force=True) == NEW
    assert_nothing_left(folder / "deep", "out")
    return going


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True], ids=["fresh", "force"])
def test_a_kill_at_any_step_leaves_nothing_or_all_and_the_next_run_cleans_up(tmp_path: Path, old: bool) -> None:
    archive = write_tar(tmp_path / "a.tar", NEW, "w")
    moment = 1
    while check_moment(tmp_path / f"{moment}", archive, moment, old=old):
        moment += 1
    assert moment > 15  # as many steps there are, at least


@pytest.mark.parametrize("old", [False, True], ids=["fresh", "force"])
def test_a_kill_at_some_steps_leaves_nothing_or_all(tmp_path: Path, old: bool) -> None:
    archive = write_tar(tmp_path / "a.tar", NEW, "w")
    for moment in (6, 11, 16):
        check_moment(tmp_path / f"{moment}", archive, moment, old=old)


@pytest.mark.parametrize("at", [1, 2], ids=["before-the-first-rename", "between-the-renames"])
def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path, at: int) -> None:
    out = tmp_path / "out"
    write_old(out)
    code = f"""
import os, signal
from pathlib import Path
from garbage_cli.storage import staged_folder
rename, calls = Path.rename, []
def killing(self, to):
    calls.append(to)
    if len(calls) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, to)
Path.rename = killing
with staged_folder(Path({str(out)!r})) as staging:
    (staging / "new").write_text("1")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert content(out) == (OLD if at == 1 else {})
    assert len(list(tmp_path.iterdir())) > 1 or at == 1
    clean_up(out)
    assert content(out) == OLD
    assert_nothing_left(tmp_path, "out")


def test_an_archive_for_a_folder_that_a_kill_had_moved_aside_finds_it_there_again(tmp_path: Path) -> None:
    write_old(tmp_path / ".out.abcdefgh.old" / "out")
    with pytest.raises(Exception, match="exists; replace it with --force"):
        unpack(write_tar(tmp_path / "a.tar", NEW, "w"), tmp_path / "out")
    assert content(tmp_path / "out") == OLD


def test_two_at_once_do_not_delete_one_another(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"""
import sys
from pathlib import Path
from garbage_cli.storage import staged_folder
with staged_folder(Path({str(out)!r})) as staging:
    (staging / "other").write_text("1")
    print("staged", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"staged\n"
    with staged_folder(out) as staging:
        (staging / "mine").write_text("2")
    assert content(out) == {"mine": b"2"}
    other.communicate(timeout=60)
    assert other.returncode == 0
    assert content(out) == {"other": b"1"}
    assert_nothing_left(tmp_path, "out")


def test_what_has_the_name_of_another_target_s_leftover_is_left_alone(tmp_path: Path) -> None:
    for name in (".out.2.abcdefgh.part", ".out.part", ".out.ABCDEFGH.part", ".out2.abcdefgh.old", "out.abcdefgh.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.12345678.part").write_text("a file of staged_file")
    (tmp_path / ".out.abcdefgh.part").symlink_to(tmp_path / ".out.part")
    before = {path.name for path in tmp_path.iterdir()}
    clean_up(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_without_force_a_folder_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(FileExistsError), staged_folder(out, replace=False):
        write_old(out)
    assert content(out) == OLD
    assert_nothing_left(tmp_path, "out")
    (tmp_path / "empty").mkdir()
    with staged_folder(tmp_path / "empty", replace=False) as staging:
        (staging / "new").write_text("1")
    assert content(tmp_path / "empty") == {"new": b"1"}


def test_where_folders_have_no_locks_leftovers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    left = tmp_path / ".out.abcdefgh.part"
    left.mkdir()
    with staged_folder(tmp_path / "out") as staging:
        (staging / "new").write_text("1")
    assert_nothing_left(tmp_path, "out", left.name)
    assert os.access(left, os.R_OK)
