from pathlib import Path

import pytest

from garbage_cli.storage import staged_folder, write_text


def old_and_new(folder: Path) -> Path:
    target = folder / "target"
    target.mkdir()
    (target / "old").write_text("precious")
    return target


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = old_and_new(tmp_path)
    with staged_folder(target) as staging:
        (staging / "new").write_text("1")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, RuntimeError])
@pytest.mark.parametrize("at", [1, 2], ids=["first-rename", "second-rename"])
def test_what_was_there_survives_a_failure_in_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], at: int
) -> None:
    target = old_and_new(tmp_path)
    rename, calls = Path.rename, []

    def failing(self: Path, to: Path) -> Path:
        calls.append(to)
        if len(calls) == at:
            raise error
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(error), staged_folder(target) as staging:
        (staging / "new").write_text("1")
    assert (target / "old").read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_text(path, "new")
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
