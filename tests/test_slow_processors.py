"""Processors without bf16 or 8-bit products, emulated: answers are those of any other processor, in f32."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COLOURS, Result, run_program, save_photo
from test_engines import make_bundle

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines.machine import has_int8_products
from garbage_cli.engines.openvino import has_bf16

EMULATOR = shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(EMULATOR is None, reason="there is no qemu-x86_64 (apt-get install qemu-user)"),
]

PROCESSORS = ("Nehalem", "Haswell")
"""With SSE 4.2 alone, and with AVX2 but nothing for 8-bit numbers."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose int8 and bf16 networks are good enough, so that nothing but the processor is against them."""
    root = make_bundle(tmp_path_factory.mktemp("narrow") / "inference")
    loaded = ModelBundle.load(root)
    assert all(quality.ships for quality in loaded.precisions.values())
    assert set(loaded.precisions) == {"f32", "bf16", "int8"}
    return root


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photo(tmp_path_factory.mktemp("photo") / "red.png", COLOURS["red"])


def predict_on(processor: str, *arguments: object) -> Result:
    """Run the command line under an emulated processor."""
    command = [str(EMULATOR), "-cpu", processor, sys.executable, "-m", "garbage_cli", "predict", *map(str, arguments)]
    # what is said of the processor around it, as OPENBLAS_CORETYPE, is not true of this one
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=own)
    # what it lacks is said for each start: "TCG doesn't support requested feature"
    told = "".join(
        line for line in done.stderr.splitlines(keepends=True) if not line.startswith("qemu-x86_64: warning")
    )
    return Result(done.returncode, done.stdout, told)


def scores(result: Result) -> list[float]:
    assert result.code == 0, result.err
    return [each["score"] for each in json.loads(result.out)["predictions"]]


def labels(result: Result) -> list[str]:
    return [each["name"] for each in json.loads(result.out)["predictions"]]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_an_old_processor_answers_what_any_other_does(bundle: Path, photo: Path, processor: str) -> None:
    native = run_program("predict", photo, "--model", bundle, "--precision", "f32", "--json")
    told = predict_on(processor, photo, "--model", bundle, "--json", "-v")
    assert scores(told) == pytest.approx(scores(native), abs=1e-5)
    assert labels(told) == labels(native)
    assert len(told.err.splitlines()) == 1
    assert "openvino f32: " in told.err  # why it was taken


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_narrow_numbers_that_an_old_processor_lacks_are_told_and_f32_used(
    bundle: Path, photo: Path, processor: str, precision: str
) -> None:
    native = run_program("predict", photo, "--model", bundle, "--precision", "f32", "--json")
    told = predict_on(processor, photo, "--model", bundle, "--json", "-v", "--precision", precision)
    assert scores(told) == pytest.approx(scores(native), abs=1e-5)
    first, why = told.err.splitlines()
    assert f"this processor has no {precision} (" in first
    assert first.endswith("; f32 is used in its place")
    assert "openvino f32: " in why
    assert "int8" not in why
    assert "bf16" not in why


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_processor_that_has_narrow_numbers_uses_them(bundle: Path, photo: Path, precision: str) -> None:
    """The other side of the same: without it, those above would pass if nobody ever got them."""
    if not (has_bf16() if precision == "bf16" else has_int8_products()):
        pytest.skip(f"this processor has no {precision}")
    told = run_program("predict", photo, "--model", bundle, "--json", "-v", "--engine", "openvino",
                       "--precision", precision)  # fmt: skip
    assert scores(told)
    assert told.err.startswith(f"openvino {precision}: ")
