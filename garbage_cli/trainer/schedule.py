"""The learning rate at each step.

Knows the schedule. Does not know the loop.
"""

import math

from garbage_cli.config import TrainConfig


def learning_rate(config: TrainConfig, *, step: int, steps: int) -> float:
    """Return the rate of a step (from 0, over the whole run): a straight rise, then half a cosine down to 0."""
    warmup = round(config.optimizer.warmup_epochs * steps)
    if step < warmup:
        return config.optimizer.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.epochs * steps - warmup)
    return config.optimizer.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
