"""The documents say what is so: every command is described, every option exists, the README's block runs."""

import json
import re
import shlex
from pathlib import Path

import pytest
import rar5
import typer.main
from conftest import run_program

from garbage_cli.cli import app
from garbage_cli.dataset import Dataset

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_is_described(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"garbage {name}" in text, name


@pytest.mark.parametrize("document", [*READMES, ROOT / "docs" / "log.md"], ids=lambda path: path.name)
def test_every_option_that_is_named_exists(document: Path) -> None:
    for command in re.findall(
        r"garbage ((?:unpack|check|train|models|evaluate|export|predict|serve|request|demo)\b[^`\n#>&]*)",
        document.read_text(),
    ):
        name, *words = command.split()
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, command


def test_the_two_readmes_show_the_same_output_and_figures() -> None:
    blocks = [re.findall(r"```\w*\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL) for path in READMES]
    assert blocks[0] == blocks[1]


def test_the_json_example_is_of_the_shape_that_is_promised() -> None:
    from garbage_cli.wire import prediction_from_json, prediction_to_json

    block = re.search(r"```json\n(.*?)```", READMES[0].read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    value = json.loads(block[1])
    assert prediction_to_json(prediction_from_json(value, image=value["image"])) == value


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)\)", document.read_text(encoding="utf-8")):
            assert link.startswith("http") or (document.parent / link).exists(), f"{document}: {link}"


def test_the_bad_inputs_that_are_listed_have_tests() -> None:
    text = (ROOT / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| [^-|]", line) and not line.startswith("| input")]
    assert len(rows) >= 40
    assert len(set(rows)) == len(rows)
    tests = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    for row in rows:
        name = re.search(r"`(test_\w+)`, `(test_\w+)`", row)
        assert name is not None, row
        assert f"def {name[2]}(" in tests[name[1]], row


def test_every_room_stands_on_its_floor_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.stem for path in (ROOT / "garbage_cli").iterdir() if path.suffix == ".py" or path.is_dir()}
    for room in rooms - {"__init__", "__main__", "__pycache__"}:
        assert re.search(rf"\| `{room}/?` \|", text), room


@pytest.mark.slow
def test_the_readmes_block_runs(drawn: Dataset, tmp_path: Path) -> None:
    files = {p.relative_to(drawn.root.parent).as_posix(): p.read_bytes() for p in drawn.root.rglob("*") if p.is_file()}
    rar5.write(tmp_path / "garbage.rar", files)
    (tmp_path / "img.jpg").write_bytes(drawn.val[0].path.read_bytes())
    block = re.search(r"<!-- run -->\n```bash\n(.*?)```", READMES[0].read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()
    assert len(lines) == 5
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "garbage"
        ended = run_program(*arguments, cwd=tmp_path)
        assert ended.code == 0, f"{line}: {ended.err}"
    assert "→" in ended.out
