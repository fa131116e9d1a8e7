"""Two processes that train one network, against one process that trains it alone. They run on the CPU, over gloo."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import numpy as np
import pytest
import yaml
from conftest import free_port
from numpy.typing import NDArray
from typer.main import get_command
from yamllint import linter  # type: ignore[import-untyped]
from yamllint.config import YamlLintConfig  # type: ignore[import-untyped]

from garbage_cli import zoo
from garbage_cli.batches.picking import parts, picks
from garbage_cli.cli import app
from garbage_cli.config import TrainConfig, load_train_config, to_yaml
from garbage_cli.dataset import Dataset, Sample
from garbage_cli.errors import ClusterError
from garbage_cli.reports import Finished
from garbage_cli.trainer import agreement, train
from garbage_cli.trainer.processes import Processes, is_first, joined
from garbage_cli.trainer.pulse import Lost, Pulse, accept, call, listen

# Batch norm and depthwise convolutions; no dropout, for each process draws its own; no ReLU, for where one is at 0 the
# last bit of a sum decides whether a gradient goes on, and gradients of the same photos in another order differ by 3 %.
NETWORK = "ShuffleNetV2_swish"

WORKER = """
import json, os, pickle, shutil, sys, time
from pathlib import Path
from garbage_cli.config import load_train_config
from garbage_cli.reports import StepReport
from garbage_cli.trainer import learning, train
main_output = learning.main_output
rank, jobs = int(os.environ["PADDLE_TRAINER_ID"]), pickle.loads(Path(sys.argv[1]).read_bytes())
for job in jobs:
    steps, kinds, words = 0, [], None
    learning.main_output = (lambda output: output * float("nan")) if job["sick"] == rank else main_output
    def stop():
        return rank == 1 and bool(job["stop"]) and steps >= job["stop"]
    if job["copy_to"] and rank == 0:
        os.rename(shutil.copytree(job["output"], job["copy_to"] + ".part"), job["copy_to"])
    while job["copy_to"] and not os.path.isdir(job["copy_to"]):
        time.sleep(0.05)
    job["output"] = job["copy_to"] or job["output"]
    Path(job["output"]).mkdir(parents=True, exist_ok=True)
    mark = Path(job["output"]) / f"rank{rank}.pid"
    mark.write_text(str(os.getpid()))
    try:
        for report in train(load_train_config(job["config"]), job["data"], output=Path(job["output"]),
                            resume=job["resume"], stop=stop):
            kinds.append(type(report).__name__)
            steps += isinstance(report, StepReport)
            if job["die"] == [rank, steps]:
                os.kill(os.getpid(), 9)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
    mark.with_suffix(".json").write_text(json.dumps({"kinds": kinds, "error": words, "steps": steps}))
"""


def config(**overrides: object) -> TrainConfig:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "model.name": NETWORK,
        "model.pretrained": "none",
        "preprocess.resize_short": 64,
        "preprocess.crop": 64,
        "optimizer.learning_rate": 0.005,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    return load_train_config(overrides=settings.items())


def job(settings: TrainConfig, data: Dataset, output: Path, **more: Any) -> dict[str, Any]:
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.yml").write_text(to_yaml(settings))
    common = {"config": str(output / "config.yml"), "data": data, "output": str(output)}
    return {**common, "stop": 0, "die": None, "resume": False, "copy_to": "", "sick": None, **more}


def together(jobs: list[dict[str, Any]], folder: Path, *, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """Two processes do some jobs, one after the other."""
    import pickle

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "worker.py").write_text(WORKER)
    (folder / "jobs").write_bytes(pickle.dumps(jobs))
    command = [
        sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo",
        "--log_dir", str(folder / "logs"), str(folder / "worker.py"), str(folder / "jobs"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted((folder / "logs").glob("workerlog.*")))


def told(output: Path, rank: int) -> dict[str, Any]:
    return json.loads((output / f"rank{rank}.json").read_text())  # type: ignore[no-any-return]


def history(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "run.json").read_text())["history"]  # type: ignore[no-any-return]


def weights(run: Path) -> dict[str, NDArray[Any]]:
    return zoo.read_weights(run / "latest.pdparams")


@pytest.fixture(scope="session")
def with_bad(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """All photos bad that rank 1 has in the second batch of the first epoch; rank 0 has but one good one there."""
    bad = tmp_path_factory.mktemp("bad") / "bad.jpg"
    bad.write_bytes(b"no photo")
    order = picks([each.class_id for each in drawn.train], "shuffle", np.random.default_rng([42, 1]))
    spoiled = {index for index, _ in parts(order, 8, rank=1, world=2)[1]}
    spoiled |= {index for index, _ in parts(order, 8, rank=0, world=2)[1][2:]}
    samples = [Sample(bad, each.class_id) if i in spoiled else each for i, each in enumerate(drawn.train)]
    return replace(drawn, train=tuple(samples))


FROZEN = {"views": 2, "epochs": 2, "batch_size": 8, "optimizer.learning_rate": 0.005, "optimizer.name": "momentum"}
EVERYTHING = {
    "loss__class_weights": "balanced", "loss__label_smoothing": 0.1, "optimizer__accumulate": 2, "model__ema": 0.9,
    "optimizer__clip_norm": 1.0, "optimizer__weight_decay": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="session")
def both(drawn: Dataset, with_bad: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Run folders by case: of one process, and of two."""
    root = tmp_path_factory.mktemp("both")
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")
    assert isinstance(list(train(config(epochs=1), drawn, output=root / "first"))[-1], Finished)
    start = {"model__pretrained": str(root / "first" / NETWORK / "latest.pdparams")}
    part = {f"{kind}__{key}": value for kind in ("head", "last_stage") for key, value in FROZEN.items()}
    everything = config(**EVERYTHING)
    cases = {
        "full": (everything, with_bad),
        "head": (config(tune="head", **start, **part), drawn),
        "last-stage": (config(tune="last-stage", **start, **part), drawn),
    }
    for name, (settings, data) in cases.items():
        assert isinstance(list(train(settings, data, output=root / "one" / name))[-1], Finished)
    os.environ["XDG_CACHE_HOME"] = str(root / "other cache")
    jobs = [job(settings, data, root / "two" / name) for name, (settings, data) in cases.items()]
    jobs += [
        job(everything, with_bad, root / "two" / "stopped", stop=1),
        job(config(), drawn, root / "two" / "sick", sick=1),
        job(config(time_limit="0.001s"), drawn, root / "two" / "limit"),
        job(config(device="gpu"), drawn, root / "two" / "gpu"),
    ]
    jobs.insert(-3, {**jobs[-4], "copy_to": str(root / "two" / "resumed"), "resume": True, "stop": 0})
    done = together(jobs, root)
    assert done.returncode == 0, done.stdout[-3000:] + logs(root)
    return {each.name: (root / "one" / each.name / NETWORK, each / NETWORK) for each in (root / "two").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["full", "head", "last-stage"])
def test_two_processes_train_what_one_would(both: dict[str, tuple[Path, Path]], case: str) -> None:
    one, two = both[case]
    for mine, theirs in zip(history(two), history(one), strict=True):
        for figure in ("train_loss", "val_loss", "train_top1", "val_top1", "val_macro_f1", "learning_rate"):
            assert mine[figure] == pytest.approx(theirs[figure], rel=2e-3, abs=1e-6), figure
    trained = weights(two)
    for name, value in weights(one).items():
        np.testing.assert_allclose(trained[name], value, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.slow
def test_a_part_without_good_photos_waits_for_nobody_and_nobody_for_it(both: dict[str, tuple[Path, Path]]) -> None:
    for rank in (0, 1):
        assert told(both["full"][1].parent, rank)["kinds"][-1] == "Finished"


@pytest.mark.slow
def test_one_process_that_is_asked_to_stop_stops_both_and_the_run_goes_on_from_there(
    both: dict[str, tuple[Path, Path]],
) -> None:
    root = both["stopped"][1].parent
    assert {told(root, rank)["kinds"][-1] for rank in (0, 1)} == {"Interrupted"}
    assert {told(root, rank)["steps"] for rank in (0, 1)} == {2}  # where gradients are accumulated
    assert {told(both["resumed"][1].parent, rank)["kinds"][-1] for rank in (0, 1)} == {"Finished"}
    resumed = weights(both["resumed"][1])
    for name, value in weights(both["full"][1]).items():
        np.testing.assert_allclose(resumed[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_outputs_of_one_that_are_no_numbers_stop_both(both: dict[str, tuple[Path, Path]]) -> None:
    for rank in (0, 1):
        answer = told(both["sick"][1].parent, rank)
        assert "no numbers any more" in answer["error"]
        assert answer["kinds"] == ["Started"]


@pytest.mark.slow
def test_a_time_limit_stops_both(both: dict[str, tuple[Path, Path]]) -> None:
    for rank in (0, 1):
        answer = told(both["limit"][1].parent, rank)
        assert (answer["kinds"][-1], answer["steps"]) == ("Interrupted", 1)


@pytest.mark.slow
def test_a_device_of_another_kind_than_the_launchers_is_refused(both: dict[str, tuple[Path, Path]]) -> None:
    assert "the launcher gave this process cpu; leave --device out" in told(both["gpu"][1].parent, 0)["error"]


@pytest.mark.slow
def test_only_the_first_process_writes(both: dict[str, tuple[Path, Path]]) -> None:
    root = both["full"][1].parent
    assert {path.name for path in root.iterdir() if path.is_dir()} == {NETWORK}  # no NETWORK.1 beside it
    assert len(list((root / NETWORK).glob("state-*"))) == 1
    assert json.loads((root / NETWORK / "environment.json").read_text())["processes"] == 2


def test_the_first_process_is_known_without_paddle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_first()
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    assert not is_first()
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "1")
    with joined() as processes:
        assert processes == Processes()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_takes_the_other_with_it_and_the_run_goes_on(
    drawn: Dataset, both: dict[str, tuple[Path, Path]], tmp_path: Path, rank: int
) -> None:
    done = together([job(config(), drawn, tmp_path / "out", die=[rank, 5])], tmp_path)
    assert done.returncode != 0
    begun = max((tmp_path / "out" / f"rank{each}.pid").stat().st_mtime for each in (0, 1))
    assert time.time() - begun < 60
    for other in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "out" / f"rank{other}.pid").read_text()), 0)
    assert len(history(tmp_path / "out" / NETWORK)) == 1


def free_words() -> str:
    return f"127.0.0.1:{free_port()}:{'0' * 32}"


@contextmanager
def lines(count: int) -> Iterator[list[Pulse]]:
    """The pulses of so many processes, without Paddle."""
    words, names = free_words(), [f"rank {rank}" for rank in range(count)]
    with ThreadPoolExecutor() as pool:
        links = [pool.submit(call, words, rank) for rank in range(1, count)]  # nobody listens yet
        accepting = pool.submit(accept, listen(words), words, names)
        pulses = [
            Pulse(rank, each, names)
            for rank, each in enumerate([accepting.result(), *(each.result() for each in links)])
        ]
        try:
            yield pulses
        finally:
            list(pool.map(Pulse.leave, pulses))


def test_processes_meet_however_late_one_comes() -> None:
    with lines(3) as pulses, ThreadPoolExecutor() as pool:
        for late in range(3):
            early = [pool.submit(each.meet) for each in pulses if each is not pulses[late]]
            assert not wait(early, timeout=0.2).done
            pulses[late].meet()
            for each in early:
                each.result(timeout=20)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_process_that_is_gone_is_named_to_all_that_wait(gone: int) -> None:
    with lines(3) as pulses, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(each.meet) for each in pulses if each is not pulses[gone]]
        for line in pulses[gone]._lines.values():
            line.link.shutdown(socket.SHUT_RDWR)
        for each in waiting:
            with pytest.raises(Lost, match=f"rank {gone} is gone: it was killed"):
                each.result(timeout=20)


def test_the_error_of_one_process_is_told_to_all_and_an_end_is_none() -> None:
    with lines(3) as pulses:
        pulses[2].leave("no folder\ndata")
        for each in pulses[:2]:
            with pytest.raises(Lost, match="rank 2 stopped: no folder data"):
                each.meet()
    with lines(2) as pulses:
        pulses[1].leave()
        assert pulses[0].cause(wait=0.3) == ""
        with pytest.raises(Lost, match="rank 1 ended before the others"):
            pulses[0].meet()


def test_silence_is_a_loss_and_a_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    given: Queue[str] = Queue()
    with lines(2) as pulses:
        pulses[0].kept = "all is saved"
        pulses[0].give_up = given.put
        monkeypatch.setattr("garbage_cli.trainer.pulse.GRACE", 0.5)
        monkeypatch.setattr(pulses[1], "_say", lambda text: None)
        monkeypatch.setattr("garbage_cli.trainer.pulse.PATIENCE", 0.5)
        assert given.get(timeout=20) == "nothing was heard of rank 1 for 0 s; all is saved"


def test_a_stranger_at_the_port_is_sent_away_and_the_others_are_waited_for() -> None:
    words = free_words()
    with ThreadPoolExecutor() as pool:
        accepting = pool.submit(accept, listen(words), words, ["rank 0", "rank 1"])
        for wrong in ("1" * 32, ""):
            with pytest.raises(ConnectionError):
                call(f"{words.rpartition(':')[0]}:{wrong}", 1)
        (right,) = call(words, 1).values()
        assert list(accepting.result(timeout=20)) == [1]
        right.close()
    accepting.result()[1].close()


def test_a_process_that_never_comes_is_named_and_those_that_came_end_too() -> None:
    words = free_words()
    with listen(words) as server, ThreadPoolExecutor() as pool:
        early = pool.submit(call, words, 1)
        with pytest.raises(Lost, match="nothing was heard of rank 2 on c within 2 s"):
            accept(server, words, ["rank 0 on a", "rank 1 on b", "rank 2 on c"], within=2)
        with pytest.raises(ConnectionError, match="waited in vain for others; see its log"):
            early.result(timeout=20)
    with pytest.raises(ConnectionRefusedError):
        call(words, 1, within=0.5)


TRAINING = Path(__file__).parents[1] / "deploy" / "training"


def manifest() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((TRAINING / "kubernetes.yaml").read_text()))


def test_the_kubernetes_manifest_is_one_and_yamllint_finds_nothing() -> None:
    for part in manifest():
        kubernetes_validate.validate(part, "1.31", strict=True)
    rules = YamlLintConfig("{extends: default, rules: {line-length: {max: 140}}}")
    assert list(linter.run((TRAINING / "kubernetes.yaml").read_text(), rules)) == []


def test_the_kubernetes_job_has_as_many_machines_wherever_it_says_so_and_one_port() -> None:
    service, job_ = manifest()
    pod = job_["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert job_["spec"]["completions"] == job_["spec"]["parallelism"] == int(environment["MACHINES"])
    script, port = container["command"][2], service["spec"]["ports"][0]["port"]
    assert {int(number) for number in re.findall(r"\b7\d{3}\b", script)} == {port}
    assert f"{job_['metadata']['name']}-0.{service['metadata']['name']}" in script
    assert pod["subdomain"] == service["metadata"]["name"]


def test_the_scripts_are_of_their_shells_and_give_train_what_it_has() -> None:
    (container,) = manifest()[1]["spec"]["template"]["spec"]["containers"]
    inner = container["command"][2]
    slurm = (TRAINING / "slurm.sh").read_text()
    for shell, script in (("bash", slurm), ("sh", inner)):
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    program = re.search(r"python -c '\n(.*?)\n'", inner, re.DOTALL)
    assert program is not None
    compile(program[1], "inline", "exec")
    known = {option for each in get_command(app).commands["train"].params for option in each.opts}  # type: ignore[attr-defined]
    ours = [*container["args"], *(text for script in (slurm, inner) for text in script.split("train ")[-1].split())]
    used = {text for text in ours if text.startswith("--") and text != "--"}
    used |= {text for script in (slurm, inner) for text in re.findall(r"set -- (--[a-z-]+)", script)}
    assert {"--out", "--resume", "--epochs"} <= used
    launching = {"--kill-on-bad-exit=1"}  # srun's
    assert used - launching <= known


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_slurm_script() -> None:
    done = subprocess.run(
        ["shellcheck", str(TRAINING / "slurm.sh")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


@dataclass(frozen=True)
class Two:
    """Two processes, of which this is the first, and what the second gives."""

    theirs: bytes
    world: int = 2
    names: tuple[str, str] = ("rank 0 on a", "rank 1 on b")

    def rows(self, content: bytes) -> list[bytes]:
        return [content, hashlib.sha256(self.theirs).digest()]

    def share(self, content: bytes, *, source: int = 0) -> bytes:
        return self.theirs if source else content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer__learning_rate": 0.5}, "rank 1 on b has optimizer.learning_rate 0.5, but rank 0 on a has 0.005"),
        ({"garbage": "0.0.1"}, "rank 1 on b has garbage 0.0.1, but rank 0 on a has"),
        ({"--resume": True}, "rank 1 on b has --resume true, but rank 0 on a has false; start all with the same comm"),
        ({"lists of photos": "ab"}, "rank 1 on b has lists of photos ab, but .*; all need the same data set"),
        ({}, ""),
        ({"workers": 7}, ""),
    ],
)
def test_what_one_process_has_otherwise_is_named(drawn: Dataset, change: dict[str, Any], words: str) -> None:
    settings = {key: value for key, value in change.items() if "__" in key or key == "workers"}
    facts = agreement._facts(config(**settings), drawn, resume=False)
    theirs = json.dumps(facts | {key: value for key, value in change.items() if key not in settings}).encode()
    expected = pytest.raises(ClusterError, match=words) if words else nullcontext()
    with expected:
        agreement.check_agreement(Two(theirs), config(), drawn, resume=False)  # type: ignore[arg-type]


def test_a_process_that_is_given_up_ends_with_the_words_and_code_1() -> None:
    program = "import threading, time; from garbage_cli.cli.models import _give_up\n"
    program += "threading.Thread(target=_give_up, args=('rank 1 is gone; all is saved',)).start(); time.sleep(100)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: rank 1 is gone; all is saved\n")
