"""How good the network is on the validation photos.

Knows losses and counts. Does not know where the batches come from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches import Batch
from garbage_cli.trainer.learning import Forward, main_output
from garbage_cli.trainer.processes import Processes
from garbage_cli.vendor import paddle


@dataclass(frozen=True, slots=True)
class Score:
    """Figures over all validation photos."""

    loss: float
    top1: float
    macro_f1: float


def evaluate(
    network: Any, forward: Forward, batches: Iterable[Batch], *, class_count: int, processes: Processes
) -> Score | None:
    """Return the figures over the batches of all processes; None if they hold no photo."""
    module = paddle("training")
    confusion = np.zeros((class_count, class_count))
    loss_sum = 0.0
    network.eval()
    for batch in batches:
        if not len(batch):
            continue
        with module.no_grad():
            logits = main_output(forward(module.to_tensor(batch.inputs))).astype("float32")
            classes = module.to_tensor(batch.class_ids)
            loss_sum += float(module.nn.functional.cross_entropy(logits, classes, reduction="sum"))
        np.add.at(confusion, (batch.class_ids, logits.argmax(axis=1).numpy()), 1)
    loss_sum, *counts = processes.sum([loss_sum, *confusion.ravel()])
    confusion = np.array(counts).reshape(confusion.shape)
    seen = confusion.sum()
    return Score(loss_sum / seen, float(np.trace(confusion) / seen), macro_f1(confusion)) if seen else None


def macro_f1(confusion: NDArray[np.float64]) -> float:
    """Return the mean F1 of the classes that have photos, from counts [true class, answered class]."""
    true, answered, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    present = true > 0
    return float((2 * right[present] / (true + answered)[present]).mean())
