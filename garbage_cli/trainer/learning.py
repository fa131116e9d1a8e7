"""What a batch teaches: loss, gradients, the optimiser's step, and the averages of the weights.

Knows Paddle's losses, optimisers and mixed precision. Does not know photos, epochs or files.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.batches import Batch
from garbage_cli.config import TrainConfig
from garbage_cli.errors import ConfigError
from garbage_cli.trainer.processes import Processes
from garbage_cli.trainer.synchronised import Synchronised
from garbage_cli.vendor import paddle

MASTER = "master:"
"""Before the name of a weight: its 32-bit copy."""
Forward = Callable[[Any], Any]
"""A batch of inputs → the network's output."""


class Learner:
    """A network, what of it is trained, and all that changes as it is: the state of a run between two steps."""

    def __init__(
        self,
        network: Any,
        *,
        forward: Forward,
        parameters: list[Any],
        config: TrainConfig,
        class_counts: NDArray[np.int64],
        processes: Processes,
    ) -> None:
        self.network = network
        self.config = config
        self._forward = forward
        self._parameters = parameters
        self._processes = processes
        self._batch_norm = Synchronised(network, processes)
        self._weights = _class_weights(config, class_counts)
        self._level = config.amp.level if config.amp.level != "none" else "O0"
        self._dtype = _half(config)
        self.optimizer = _optimizer(config, parameters)
        if self._level == "O2":
            self._to_half()
        self._scaler = paddle("training").amp.GradScaler(enable=self._level != "O0" and self._dtype == "float16")
        self._pending = 0
        """Photos whose gradients wait for the next step, in this process."""
        self.average: dict[str, Any] | None = None
        self._averaged = 0
        if config.model.ema:
            self.average = {name: value.clone() for name, value in self._floats()}

    def _to_half(self) -> None:
        paddle("training").amp.decorate(
            self.network, self.optimizer, level="O2", dtype=self._dtype, master_weight=True, save_dtype="float32"
        )

    def learn(self, batch: Batch, *, rate: float, seed: int) -> tuple[float, int]:
        """Add a batch's gradients; return the sum of its losses and how many it had right.

        A process whose part of the batch is empty takes part all the same: the others wait for it in every batch norm.
        Raises ConfigError, in all processes, if the network's outputs are no numbers any more.
        """
        if not len(batch):
            empty = np.zeros((1, *batch.inputs.shape[1:]), np.float32)
            with self._batch_norm.absent():
                self._learn(replace(batch, inputs=empty, class_ids=np.zeros(1, np.int64)), rate, seed, counts=False)
            return 0.0, 0
        self._pending += len(batch)
        return self._learn(batch, rate, seed, counts=True)

    def _learn(self, batch: Batch, rate: float, seed: int, *, counts: bool) -> tuple[float, int]:
        module = paddle("training")
        self.optimizer.set_lr(rate)
        module.seed(seed)
        self.network.train()
        with self._mixed():
            logits = main_output(self._forward(module.to_tensor(batch.inputs)))
        logits = logits.astype("float32")
        classes = module.to_tensor(batch.class_ids)
        losses = self._losses(logits, batch)
        value = float(losses.sum())
        # Paddle's CPU kernels turn NaN logits into a finite loss, so the loss alone tells nothing
        sick = not math.isfinite(value) or not bool(module.isfinite(logits).all())
        if self._processes.sum([sick])[0]:
            raise ConfigError(
                f"the network's outputs are no numbers any more; try a lower --learning-rate (it was {rate:g})"
            )
        self._scaler.scale(losses.sum() * float(counts) / self._usual).backward()
        return value, int((logits.argmax(axis=1) == classes).sum())

    @property
    def _usual(self) -> int:
        """How many photos a step learns from, but for bad ones and an epoch's end."""
        return self.config.batch_size * self.config.optimizer.accumulate

    def _mixed(self) -> Any:
        enable = self._level != "O0"
        return paddle("training").amp.auto_cast(enable=enable, level=self._level if enable else "O1", dtype=self._dtype)

    def _losses(self, logits: Any, batch: Batch) -> Any:
        """The loss of each photo, shape (n,)."""
        losses = self._cross_entropy(logits, batch.class_ids)
        if batch.other_ids is None:
            return losses
        return batch.share * losses + (1 - batch.share) * self._cross_entropy(logits, batch.other_ids)

    def _cross_entropy(self, logits: Any, class_ids: NDArray[np.int64]) -> Any:
        module = paddle("training")
        classes = module.to_tensor(class_ids)
        functional = module.nn.functional
        smoothing = self.config.loss.label_smoothing
        if smoothing:
            one_hot = functional.one_hot(classes, logits.shape[-1])
            target = one_hot * (1 - smoothing) + smoothing / logits.shape[-1]
            losses = -(target * functional.log_softmax(logits, axis=-1)).sum(axis=-1)
        else:
            losses = functional.cross_entropy(logits, classes, reduction="none").flatten()
        return losses if self._weights is None else losses * module.to_tensor(self._weights[class_ids])

    def step(self) -> None:
        """Change the weights by what the batches since the last step have taught."""
        total = self._processes.sum([self._pending])[0]
        self._pending = 0
        self._processes.sum_gradients(self._parameters)
        if not total:
            return
        if total != self._usual:  # bad photos, or the last batch of an epoch: the mean is over those there are
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad * (self._usual / total)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.clear_grad()
        self._update_average()

    def _update_average(self) -> None:
        if self.average is None:
            return
        self._averaged += 1
        decay = min(self.config.model.ema, (1 + self._averaged) / (10 + self._averaged))
        for name, value in self._floats():
            self.average[name] = self.average[name] * decay + value.astype("float32").detach() * (1 - decay)

    def _floats(self) -> list[tuple[str, Any]]:
        """What is averaged: weights and the statistics of batch norm."""
        state = self.network.state_dict().items()
        return [(name, value.astype("float32")) for name, value in state if "float" in str(value.dtype)]

    def state(self) -> dict[str, Any]:
        """Return what, with the weights and the average, is all that a step depends on.

        Tensors, and dicts of plain values: `paddle.save` makes pairs of a name and an array of all tensors where there
        is anything else, or a tensor one floor down.
        """
        state = dict(self.optimizer.state_dict())
        masters = {f"{MASTER}{name}": value for name, value in state.pop("master_weights", {}).items()}
        plain = {"scaler": self._scaler.state_dict(), "average": {"steps": self._averaged} if self._averaged else {}}
        return {**state, **masters, **{name: values for name, values in plain.items() if values}}

    def load_state(self, state: Mapping[str, Any], average: Mapping[str, NDArray[Any]] | None) -> None:
        """Go on from what `state` and `average` returned."""
        state = dict(state)
        self._averaged = int(state.pop("average", {}).get("steps", 0))
        if scaler := state.pop("scaler", None):
            self._scaler.load_state_dict(scaler)
        masters = {name: state.pop(name) for name in [*state] if name.startswith(MASTER)}
        if masters:
            state["master_weights"] = {name.removeprefix(MASTER): value for name, value in masters.items()}
        if state:
            self.optimizer.set_state_dict(state)
        if average is not None:
            self.average = {name: paddle("training").to_tensor(value) for name, value in average.items()}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages in place of the weights for the time of the block, where there are any."""
        if self.average is None:
            yield
            return
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.set_state_dict({n: v.astype(kept[n].dtype) for n, v in self.average.items()})
        try:
            yield
        finally:
            self.network.set_state_dict(kept)

    def averaged_weights(self) -> dict[str, Any] | None:
        """Return the network's state with the averages in place of the weights; None if none are kept."""
        if self.average is None:
            return None
        return {**self.network.state_dict(), **self.average}


def main_output(output: Any) -> Any:
    """The main output of networks that have several (auxiliary heads, distillation tokens)."""
    return output[0] if isinstance(output, (list, tuple)) else output


def _optimizer(config: TrainConfig, parameters: list[Any]) -> Any:
    module, chosen = paddle("training"), config.optimizer
    clip = module.nn.ClipGradByGlobalNorm(chosen.clip_norm) if chosen.clip_norm else None
    common = {"learning_rate": chosen.learning_rate, "parameters": parameters, "grad_clip": clip}
    common["multi_precision"] = config.amp.level == "O2"
    if chosen.name == "adamw":
        return module.optimizer.AdamW(weight_decay=chosen.weight_decay, **common)
    return module.optimizer.Momentum(momentum=chosen.momentum, weight_decay=chosen.weight_decay, **common)


def _class_weights(config: TrainConfig, counts: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """A weight for each class, inverse to its number of photos; 1 on average over the photos."""
    if config.loss.class_weights == "none":
        return None
    present = np.maximum(counts, 1)
    return np.asarray(counts.sum() / (np.count_nonzero(counts) * present), np.float32)


def _half(config: TrainConfig) -> str:
    """The 16-bit type that mixed precision computes in."""
    if config.amp.dtype != "auto":
        return config.amp.dtype
    module = paddle("training")
    on_gpu = module.get_device().startswith("gpu")
    return "bfloat16" if not on_gpu or module.amp.is_bfloat16_supported() else "float16"
