"""Photos of a batch blended, or laid on one another: mixup and CutMix.

Knows a batch's inputs and classes. Does not know the loss, only the share that each class has in it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches.preparing import Batch
from garbage_cli.config import AugmentConfig


def mix(batch: Batch, augment: AugmentConfig, random: np.random.Generator) -> Batch:
    """Mix each input with that of another photo, or itself, drawn without repetition; one share for the whole batch.

    With mixup and CutMix both set, a coin decides. A batch of fewer than two photos stays as it is, and so does any
    where neither is set; nothing is drawn from `random` then.
    """
    if len(batch) < 2 or not (augment.mixup or augment.cutmix):
        return batch
    blending = not augment.cutmix or (augment.mixup > 0 and random.random() < 0.5)
    alpha = augment.mixup if blending else augment.cutmix
    share = float(random.beta(alpha, alpha))
    partners = random.permutation(len(batch))
    if blending:
        inputs = _blend(batch.inputs, partners, share)
    else:
        inputs, share = _lay_on(batch.inputs, partners, share, random)
    return replace(batch, inputs=inputs, other_ids=batch.class_ids[partners], share=share)


def _blend(inputs: NDArray[np.float32], partners: NDArray[np.int64], share: float) -> NDArray[np.float32]:
    """share × input + (1 − share) × partner's (Zhang et al. 2018)."""
    mixed = np.empty_like(inputs)
    for number, partner in enumerate(partners):  # one by one they fit into the processor's cache: twice as fast
        np.multiply(inputs[partner], np.float32(1 - share), out=mixed[number])
        mixed[number] += np.float32(share) * inputs[number]
    return mixed


def _lay_on(
    inputs: NDArray[np.float32], partners: NDArray[np.int64], share: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Replace one rectangle, at the same place in all, by the partner's; return the share left (Yun et al. 2019).

    Its area is 1 − `share` of the input's and its aspect the input's; its centre is anywhere, so the edge may cut it.
    """
    height, width = inputs.shape[2:]
    top, bottom = _span(height, share, random)
    left, right = _span(width, share, random)
    mixed = inputs.copy()
    mixed[:, :, top:bottom, left:right] = inputs[partners, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _span(side: int, share: float, random: np.random.Generator) -> tuple[int, int]:
    length = round(side * float(np.sqrt(1 - share)))
    first = int(random.integers(side)) - length // 2
    return max(0, first), min(side, first + length)
