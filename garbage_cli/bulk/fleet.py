"""The workers of one run: on which machines they are, and what Ray Data brings back from them.

Knows Ray Data. Does not know how partitions are planned or what became of them before.

Ray Data gives each worker one partition's names at a time; the worker reads the photos itself and writes their answers
itself. So neither goes through the driver, and a partition that is done twice, because a machine died, is one file.
"""

import json
import logging
import re
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

from garbage_cli import __version__, cluster
from garbage_cli.bulk import partitions
from garbage_cli.bulk.partitions import Plan
from garbage_cli.bulk.places import Place
from garbage_cli.bulk.worker import Done, Worker, try_to_start
from garbage_cli.errors import ClusterError, ConfigError, GarbageError

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_ERROR = re.compile(r"[\w.]*Error: ")


def workers_of(ray: Any, cores: int) -> int:
    """How many workers of so many cores the machines have room for."""
    workers = sum(int(machine["Resources"].get("CPU", 0)) // cores for machine in cluster.machines(ray))
    if not workers:
        wanted = "a core" if cores == 1 else f"the {cores} cores of --set cpu_num_threads"
        raise ClusterError(f"no machine of the cluster has {wanted} to give; start them with `ray start --num-cpus`")
    return workers


def is_full(ray: Any, cores: int) -> bool:
    """Whether so many cores are not free: Ray waits without a word until others give theirs back."""
    for pause in (0.0, 1.0):  # what a job that has just ended had is free a moment later
        time.sleep(pause)
        if ray.available_resources().get("CPU", 0.0) >= cores:
            return False
    return True


class _Mapper:
    """What Ray Data starts on each machine."""

    def __init__(self, plan: bytes, out: str, model: Any, settings: dict[str, Any]) -> None:
        import ray

        self._worker = try_to_start(plan, out, ray.get(model), settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        if not isinstance(self._worker, Worker):
            return {"said": [_error(self._worker)]}
        try:
            done = self._worker.answer(int(batch["number"][0]), json.loads(batch["names"][0]))
        except GarbageError as error:
            return {"said": [_error(error)]}
        return {"said": [json.dumps(asdict(done))]}


def _error(error: GarbageError) -> str:
    return json.dumps({"error": str(error), "kind": type(error).__name__})


def answered(
    ray: Any, plan: Plan, out: Place, model: dict[str, bytes], names: Sequence[str], left: Sequence[int],
    workers: int, settings: dict[str, Any],
) -> Generator[Done, None, None]:  # fmt: skip
    """Have Ray Data's workers answer partitions, and yield what each says of them, as it comes.

    Raises ClusterError or ConfigError where a worker can't work, or the cluster gives up.
    """
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError, RayTaskError

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"number": number, "names": json.dumps(list(some))} for number, some in partitions.cut(names, plan, left)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Mapper,
        batch_size=1,
        fn_constructor_args=(plan.to_json(), out.absolute(), ray.put(model), settings),
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=settings["cores"],
        max_restarts=-1,
        max_task_retries=-1,  # Ray counts each look for a worker that is away; the worker itself counts (worker.TRIES)
    )
    try:
        for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
            for said in batch["said"]:
                yield _understood(json.loads(str(said)))
    except RayTaskError:  # a bug of ours, with its traceback
        raise
    except RayError as error:
        raise _gave_up(str(error) or type(error).__name__) from None


def _gave_up(text: str) -> ClusterError:
    """What Ray says where it can't go on, in one line: its last one, where that is an error's."""
    lines = [line.strip() for line in _COLOURS.sub("", text).splitlines() if line.strip()]
    reason = lines[-1] if _ERROR.match(lines[-1]) else " ".join(lines)
    if _ERROR.match(reason) and "garbage_cli" in reason:
        where = re.search(r"\bip=([\w.:]+)", text)
        return ClusterError(
            f"{where[1] if where else 'a machine'} has no garbage {__version__} ({reason}); install the same everywhere"
        )
    return ClusterError(f"the cluster gave up: {reason[:300]}; go on with --resume")


def _understood(said: dict[str, Any]) -> Done:
    if "error" in said:
        kind = ConfigError if said["kind"] == "ConfigError" else ClusterError
        raise kind(said["error"])
    return Done(**said)
