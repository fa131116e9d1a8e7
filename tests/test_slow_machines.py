"""Two machines that train one network: two network namespaces, with a cable between them that can be cut."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from garbage_cli import zoo
from garbage_cli.config import TrainConfig, load_train_config, to_yaml
from garbage_cli.dataset import Dataset
from garbage_cli.reports import Finished
from garbage_cli.trainer import train

pytestmark = pytest.mark.slow

NETWORK = "ShuffleNetV2_swish"
EPOCHS = 4
PORT = 7411


def settings() -> TrainConfig:
    chosen = {
        "epochs": EPOCHS,
        "batch_size": 16,
        "model.name": NETWORK,
        "model.pretrained": "none",
        "preprocess.resize_short": 64,
        "preprocess.crop": 64,
        "optimizer.name": "momentum",  # Adam divides by what is next to nothing, and makes much of a last bit
        "optimizer.learning_rate": 0.005,
    }
    return load_train_config(overrides=chosen.items())


@dataclass
class Machine:
    """A network namespace with a folder that stands for its disk."""

    rank: int
    disk: Path
    namespace: str
    cable: str
    address: str
    launcher: "subprocess.Popen[str] | None" = None
    runs: int = field(default=0)

    @property
    def run(self) -> Path:
        return self.disk / "out" / NETWORK

    def start(self, *more: str, config: Sequence[str] = ("--config", "config.yml"), **environment: str) -> None:
        """Launch `garbage train` here."""
        self.runs += 1
        command = [
            "ip", "netns", "exec", self.namespace,
            sys.executable, "-m", "paddle.distributed.launch", "--master", f"10.97.0.1:{PORT}", "--host", self.address,
            "--nnodes", "2", "--rank", str(self.rank), "--nproc_per_node", "1", "--log_dir", f"log{self.runs}",
            str(Path(sys.executable).parent / "garbage"), "train", "data", *config, "--out", "out", *more,
        ]  # fmt: skip
        own = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.disk / "cache"), **environment}
        with (self.disk / "launcher.txt").open("w") as said:
            self.launcher = subprocess.Popen(
                command, cwd=self.disk, env={**os.environ, **own}, stdout=said, stderr=said, text=True
            )

    def end(self) -> int:
        assert self.launcher is not None
        return self.launcher.wait(timeout=300)

    def log(self) -> str:
        """What the process of ours said, which its launcher keeps."""
        return (self.disk / f"log{self.runs}" / "workerlog.0").read_text(errors="replace")

    def errors(self) -> list[str]:
        assert "Traceback" not in self.log()
        return [line for line in self.log().splitlines() if line.startswith("error: ")]

    def kill(self) -> None:
        """Take everything away that runs here."""
        for each in running(self.namespace):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        if self.launcher is not None:
            self.launcher.wait(timeout=20)

    def epochs(self) -> int:
        try:
            return len(json.loads((self.run / "run.json").read_text())["history"])
        except FileNotFoundError:
            return 0


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")


def running(namespace: str) -> list[int]:
    done = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, timeout=20, check=False)
    return [int(each) for each in done.stdout.split()]


def remove_left_over() -> None:
    """Remove the namespaces of tests that were killed, and what runs there."""
    for name in Path("/run/netns").glob("gt*[ab]"):
        owner = name.name[2:-1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            for each in running(name.name):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name.name], capture_output=True, timeout=20, check=False)


@pytest.fixture(scope="module")
def cable() -> Iterator[tuple[str, str]]:
    """Two namespaces that reach one another."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root, and `ip` of iproute2")
    remove_left_over()
    names = f"gt{os.getpid()}a", f"gt{os.getpid()}b"
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.97.0.{number}/24", "dev", name)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", name, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)


@pytest.fixture
def machines(cable: tuple[str, str], drawn: Dataset, tmp_path: Path) -> Iterator[list[Machine]]:
    """Two machines, each with its own copy of the data and an output folder of its own."""
    made = []
    for rank, name in enumerate(cable):
        disk = tmp_path / f"machine{rank}"
        shutil.copytree(drawn.root, disk / "data")
        (disk / "config.yml").write_text(to_yaml(settings()))
        made.append(Machine(rank, disk, name, name, f"10.97.0.{rank + 1}"))
    try:
        yield made
    finally:
        for machine in made:
            machine.kill()


def wait_for(what: Callable[[], Any], machines: list[Machine]) -> None:
    end = time.monotonic() + 300
    while not what():
        for machine in machines:
            assert machine.launcher is not None
            assert machine.launcher.poll() is None, machine.log()[-3000:]
        assert time.monotonic() < end, [machine.log()[-3000:] for machine in machines]
        time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that nothing happens to."""
    out = tmp_path_factory.mktemp("alone")
    assert isinstance(list(train(settings(), drawn, output=out))[-1], Finished)
    return out / NETWORK


def same(run: Path, other: Path) -> None:
    mine, theirs = (json.loads((each / "run.json").read_text())["history"] for each in (run, other))
    assert len(mine) == len(theirs) == EPOCHS
    for here, there in zip(mine, theirs, strict=True):
        for figure in ("train_loss", "val_loss", "learning_rate"):
            assert here[figure] == pytest.approx(there[figure], rel=1e-2, abs=1e-6), figure
    weights = zoo.read_weights(run / "latest.pdparams")
    for name, value in zoo.read_weights(other / "latest.pdparams").items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-2, atol=2e-3, err_msg=name)


def goes_on_alone(machine: Machine, alone: Path) -> None:
    """One process goes on with what two have saved."""
    data = Dataset.load(machine.disk / "data")
    assert isinstance(list(train(settings(), data, output=machine.disk / "out", resume=True))[-1], Finished)
    same(machine.run, alone)


def test_a_machine_that_is_killed_ends_the_other_with_words_and_both_go_on(
    machines: list[Machine], alone: Path
) -> None:
    first, second = machines
    for machine in machines:
        machine.start()
    wait_for(lambda: first.epochs() >= 1, machines)
    second.kill()
    assert first.end() == 1
    (error,) = first.errors()
    assert "rank 1 on 10.97.0.2 is gone: it was killed, or its machine stopped; the run is saved up to" in error
    assert "go on with the same command and --resume, on all machines" in error
    assert not second.run.exists()
    shutil.rmtree(second.disk / "out", ignore_errors=True)  # the new machine that takes the place of the dead one
    for machine in machines:
        machine.start("--resume", config=())  # the run's own, which the first one has
    assert [machine.end() for machine in machines] == [0, 0], [machine.log()[-3000:] for machine in machines]
    same(first.run, alone)
    assert not second.run.exists()


def test_a_cable_that_is_cut_ends_both_with_words_and_nothing_is_half_written(
    machines: list[Machine], cable: tuple[str, str], alone: Path
) -> None:
    first, second = machines
    for machine in machines:
        machine.start()
    wait_for(lambda: first.epochs() >= 1, machines)
    ip("-n", cable[1], "link", "set", cable[1], "down")
    try:
        assert [machine.end() for machine in machines] == [1, 1]
    finally:
        ip("-n", cable[1], "link", "set", cable[1], "up")
    for machine, other in ((first, "rank 1 on 10.97.0.2"), (second, "rank 0 on 10.97.0.1")):
        (error,) = machine.errors()
        assert f"nothing was heard of {other} for 20 s; the run is saved up to" in error
    goes_on_alone(first, alone)


def test_sigterm_on_one_machine_stops_both_at_the_same_step_with_the_state_saved(
    machines: list[Machine], alone: Path
) -> None:
    first, second = machines
    for machine in machines:
        machine.start()
    wait_for(lambda: first.epochs() >= 1, machines)
    assert second.launcher is not None
    second.launcher.send_signal(signal.SIGTERM)
    assert first.end() == 130
    assert second.end() == 15  # Paddle's launcher gives the signal's number
    assert "stopping after this step, and saving" in second.log()
    progress = json.loads((first.run / "run.json").read_text())["progress"]
    assert progress["step"] > 0 or progress["epoch"] > 1
    for machine in machines:
        assert not machine.errors()
        assert "--resume" in machine.log()
    goes_on_alone(first, alone)


def test_machines_that_have_other_photos_are_told_apart_before_anything_is_written(machines: list[Machine]) -> None:
    second = machines[1]
    lines = (second.disk / "data" / "train.txt").read_text().splitlines(keepends=True)
    (second.disk / "data" / "train.txt").write_text("".join(lines[1:]))
    for machine in machines:
        machine.start()
    assert [machine.end() for machine in machines] == [1, 1]
    for machine in machines:
        (error,) = machine.errors()
        assert "rank 1 on 10.97.0.2 has photos of training 31, but rank 0 on 10.97.0.1 has 32" in error
        assert not machine.run.exists()


def test_an_error_of_one_machine_is_told_by_the_other(machines: list[Machine]) -> None:
    first, second = machines
    shutil.rmtree(second.disk / "data")
    for machine in machines:
        machine.start()
    assert [machine.end() for machine in machines] == [1, 1]
    (error,) = first.errors()
    (reason,) = second.errors()
    assert f"rank 1 on 10.97.0.2 stopped: {reason.removeprefix('error: ')}; nothing was saved yet" in error


def test_a_wrong_network_interface_ends_both_with_words_though_gloo_waits_for_ever(machines: list[Machine]) -> None:
    for machine in machines:
        machine.start(GLOO_SOCKET_IFNAME="lo")
    assert [machine.end() for machine in machines] == [1, 1]
    found = 0
    for rank, machine in enumerate(machines):  # either may notice first, and the other is told or has noticed too
        (error,) = machine.errors()
        if f"rank {rank} on 10.97.0.{rank + 1} could not connect to the others (" in error:
            assert "GLOO_SOCKET_IFNAME, or NCCL_SOCKET_IFNAME on GPUs, names the network interface to use" in error
            found += 1
        else:
            other = f"rank {1 - rank} on 10.97.0.{2 - rank}"
            assert f"{other} stopped: Paddle could not connect to the others: " in error
    assert found


SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
SLURM_NODEID=0 ip netns exec {0} "$@" & first=$!
SLURM_NODEID=1 ip netns exec {1} "$@" & second=$!
wait $first && wait $second
"""


def test_the_slurm_script_trains_on_the_machines_that_it_is_given(
    machines: list[Machine], alone: Path, tmp_path: Path
) -> None:
    """`srun` is one of ours, that runs a task in either namespace; Slurm starts the script on the first machine."""
    first = machines[0]
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "srun").write_text(SRUN.format(*(machine.namespace for machine in machines)))
    (programs / "srun").chmod(0o755)
    given = {
        **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "PROCESSES": "1",
        "SLURM_JOB_ID": "12345", "SLURM_JOB_NUM_NODES": "2", "SLURM_RESTART_COUNT": "0",
        "GARBAGE": str(Path(sys.executable).parent / "garbage"),
    }  # fmt: skip
    script = Path(__file__).parents[1] / "deploy" / "training" / "slurm.sh"
    done = subprocess.run(
        ["ip", "netns", "exec", first.namespace, "bash", str(script), "--config", "config.yml"],
        cwd=first.disk, env={**given, "OUT": "out"}, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    logs = [path.read_text() for path in first.disk.glob("out/log/12345/*/workerlog.0")]
    assert done.returncode == 0, (done.stderr[-2000:], logs)
    assert len(logs) == 2
    same(first.run, alone)
