"""The two styles of PaddleClas's training files: which key says what, and which say nothing to us.

Knows names of keys. Does not know what becomes of their values.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from garbage_cli.paddleclas.sheet import ALWAYS


@dataclass(frozen=True, slots=True)
class Style:
    """Where a style has what. Empty where it has none."""

    network: str
    network_parameters: tuple[str, ...]
    """The sections that hold what else a network takes; lr_mult_list is looked for in them."""
    weights: str
    """A file or a URL."""
    class_count: str
    epochs: str
    image_shape: str
    output: str
    device: str
    seed: str
    rate: str
    """The section of the learning rate."""
    rate_name: str
    rate_value: str
    optimizer: str
    momentum: str
    decay: str
    """The section of the regulariser."""
    decay_name: str
    decay_value: str
    train: str
    val: str
    """The sections of the photos."""
    list_file: str
    image_root: str
    operations: str
    mixing: str
    batch_size: str
    workers: str
    """These six are within train and val."""
    sections: tuple[str, ...]
    """At the top; two of them tell the style."""


OLD = Style(
    network="ARCHITECTURE.name",
    network_parameters=("ARCHITECTURE.params", "ARCHITECTURE"),
    weights="pretrained_model",
    class_count="classes_num",
    epochs="epochs",
    image_shape="image_shape",
    output="model_save_dir",
    device="use_gpu",
    seed="TRAIN.shuffle_seed",
    rate="LEARNING_RATE.params",
    rate_name="LEARNING_RATE.function",
    rate_value="lr",
    optimizer="OPTIMIZER.function",
    momentum="OPTIMIZER.params.momentum",
    decay="OPTIMIZER.regularizer",
    decay_name="OPTIMIZER.regularizer.function",
    decay_value="OPTIMIZER.regularizer.factor",
    train="TRAIN",
    val="VALID",
    list_file="file_list",
    image_root="data_dir",
    operations="transforms",
    mixing="mix",
    batch_size="batch_size",
    workers="num_workers",
    sections=("ARCHITECTURE", "LEARNING_RATE", "OPTIMIZER", "TRAIN", "VALID"),
)
NEW = Style(
    network="Arch.name",
    network_parameters=("Arch", "Arch.params"),
    weights="Global.pretrained_model",
    class_count="Arch.class_num",
    epochs="Global.epochs",
    image_shape="Global.image_shape",
    output="Global.output_dir",
    device="Global.device",
    seed="Global.seed",
    rate="Optimizer.lr",
    rate_name="Optimizer.lr.name",
    rate_value="learning_rate",
    optimizer="Optimizer.name",
    momentum="Optimizer.momentum",
    decay="Optimizer.regularizer",
    decay_name="Optimizer.regularizer.name",
    decay_value="Optimizer.regularizer.coeff",
    train="DataLoader.Train",
    val="DataLoader.Eval",
    list_file="dataset.cls_label_path",
    image_root="dataset.image_root",
    operations="dataset.transform_ops",
    mixing="dataset.batch_transform_ops",
    batch_size="sampler.batch_size",
    workers="loader.num_workers",
    sections=("Global", "Arch", "Loss", "Optimizer", "DataLoader", "Infer", "Metric", "AMP", "EMA"),
)

_EXPORT = "belongs to export and predict"
_EVERY_EPOCH = "ours saves and evaluates every epoch, and at Ctrl-C"
_METRICS = "ours is top-1 or macro-F1: select_by"
_ENGINE = "of their engine; changes no result"

QUIET: tuple[tuple[str, str], ...] = (
    ("mode", ALWAYS),
    ("save_interval", _EVERY_EPOCH),
    ("validate", _EVERY_EPOCH),
    ("valid_interval", _EVERY_EPOCH),
    ("print_interval", _ENGINE),
    ("topk", _METRICS),
    ("use_dali", _ENGINE),
    ("use_xpu", _ENGINE),
    ("is_distributed", _ENGINE),
    ("load_static_weights", _ENGINE),
    ("amp_scale_loss", "ours chooses the scale as it goes"),
    ("use_dynamic_loss_scaling", ALWAYS),
    ("fuse_*", _ENGINE),
    ("enable_addto", _ENGINE),
    ("LOSS.function", "ours is cross-entropy"),
    ("TRAIN.delimiter", "ours reads spaces, tabs and commas"),
    ("VALID.batch_size", "ours is that of training"),
    ("VALID.num_workers", "ours are those of training"),
    ("VALID.shuffle_seed", "evaluation needs none"),
    ("Global.save_interval", _EVERY_EPOCH),
    ("Global.eval_during_train", _EVERY_EPOCH),
    ("Global.eval_interval", _EVERY_EPOCH),
    ("Global.start_eval_epoch", _EVERY_EPOCH),
    ("Global.print_batch_step", _ENGINE),
    ("Global.save_inference_dir", _EXPORT),
    ("Global.export_for_fd", _EXPORT),
    ("Global.infer_config_path", _EXPORT),
    ("Global.to_static", _ENGINE),
    ("Global.use_dali", _ENGINE),
    ("Global.distributed", _ENGINE),
    ("Global.task", _ENGINE),
    ("AMP.scale_loss", "ours chooses the scale as it goes"),
    ("AMP.use_dynamic_loss_scaling", ALWAYS),
    ("AMP.use_fp16_test", "ours evaluates in 32 bits"),
    ("AMP.use_promote", _ENGINE),
    ("AMP.incr_every_n_steps", "ours chooses the scale as it goes"),
    ("Arch.infer_add_softmax", _EXPORT),
    ("Arch.use_sync_bn", "each process has its own batch statistics"),
    ("Arch.num_classes", "ours are counted"),
    ("*.data_format", _ENGINE),
    ("Loss.Eval.*", "ours is cross-entropy"),
    ("DataLoader.Train.dataset.delimiter", "ours reads spaces, tabs and commas"),
    ("DataLoader.Eval.dataset.delimiter", "ours reads spaces, tabs and commas"),
    ("DataLoader.Train.sampler.drop_last", "ours keeps the last batch, if it holds two photos"),
    ("DataLoader.Eval.sampler.*", "ours evaluates every photo once, in batches of training's size"),
    ("DataLoader.Eval.loader.*", "ours are those of training"),
    ("DataLoader.*.loader.use_shared_memory", _ENGINE),
    ("Infer.*", _EXPORT),
    ("Metric.*", _METRICS),
    ("Metric", _METRICS),
    ("profiler_options*", _ENGINE),
)
"""Keys whose values change nothing that is learned, and why we have no use for them."""

LOUD: tuple[tuple[str, str], ...] = (
    ("checkpoints", "not supported: a run of ours goes on with --resume"),
    ("Global.checkpoints", "not supported: a run of ours goes on with --resume"),
    ("multilabel", "not supported: a photo has one class here"),
    ("Global.use_multilabel", "not supported: a photo has one class here"),
    ("use_distillation", "not supported: one network is trained"),
    ("Global.eval_mode", "not supported: networks that classify only"),
    ("Slim.*", "not supported: pruning and quantisation"),
    ("OPTIMIZER.params.*", "not supported by the optimisers that we have"),
    ("Optimizer.rho", "not supported by the optimisers that we have"),
    ("Optimizer.layer_decay", "not supported: there are multipliers of stages, lr_mult"),
    ("use_aa", "not supported: name the operation among the transforms"),
    ("DataLoader.Eval.Query.*", "not supported: retrieval"),
    ("DataLoader.Eval.Gallery.*", "not supported: retrieval"),
    ("DataLoader.Train.sampler.*", "not supported: ours is the sampling setting"),
    ("ARCHITECTURE.*", "not supported: the network has PaddleClas's own value"),
    ("Arch.*", "not supported: the network has PaddleClas's own value"),
)
"""Keys without which ours trains otherwise, and why we have no use for them."""

OTHERS = (
    "Global", "Arch", "Loss", "Optimizer", "DataLoader", "Infer", "Metric", "AMP", "EMA", "Slim", "ARCHITECTURE",
    "LEARNING_RATE", "OPTIMIZER", "TRAIN", "VALID", "LOSS", "use_mix", "ls_epsilon", "total_images", "use_ema",
    "ema_decay", "use_fp16", "vdl_dir", "Loss.Train", "Loss.Eval", "Arch.pretrained", "Arch.use_ssld", "Arch.name",
    "Optimizer.lr.warmup_epoch", "Optimizer.lr.eta_min", "Optimizer.lr.warmup_start_lr", "Optimizer.weight_decay",
    "Optimizer.clip_norm", "LEARNING_RATE.params.warmup_epoch", "Global.use_visualdl", "Global.class_num",
    "Global.update_freq", "DataLoader.Train.dataset", "DataLoader.Train.sampler", "DataLoader.Train.loader",
    "DataLoader.Eval.dataset", "AMP.level", "AMP.dtype", "AMP.use_amp", "EMA.decay",
)  # fmt: skip
"""Keys that the tables above don't name, for guesses at what was meant."""


def style_of(tree: Mapping[str, object]) -> Style | None:
    """Tell the style by its sections: the network's, or any two; None if it is neither."""
    held = {style: [name for name in style.sections if isinstance(tree.get(name), Mapping)] for style in (OLD, NEW)}
    for style in (OLD, NEW):
        if style.network.partition(".")[0] in held[style]:
            return style
    best = max(held, key=lambda style: len(held[style]))
    return best if len(held[best]) > 1 else None


def reason(key: str) -> tuple[str, bool] | None:
    """Why we have no use for a key, and whether ours trains otherwise without it; None for one that is unknown."""
    for table, differs in ((QUIET, False), (LOUD, True)):
        for pattern, why in table:
            if fnmatchcase(key, pattern):
                return why, differs
    return None


def meant(key: str, style: Style) -> str:
    """A guess at what a key that nobody knows was meant to be: ` (did you mean NAME?)`, or nothing."""
    known = _known(style)
    parts = key.split(".")
    for depth in range(1, len(parts) + 1):
        above, word = ".".join(parts[: depth - 1]), parts[depth - 1]
        beside = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == above]
        if word not in beside:
            near = difflib.get_close_matches(word, beside, n=1, cutoff=0.7)
            return f" (did you mean {near[0]}?)" if near else ""
    return ""


def _known(style: Style) -> set[str]:
    named = [getattr(style, name) for name in style.__slots__ if name not in ("sections", "network_parameters")]
    inside = [f"{part}.{name}" for part in (style.train, style.val) for name in _within(style)]
    tables = [pattern.removesuffix(".*") for pattern, _ in (*QUIET, *LOUD)]
    full = {*named, *inside, *tables, *OTHERS} - set(_within(style))
    top = {name.partition(".")[0] for name in full}
    return {above for name in full for above in _upwards(name) if "*" not in above} | (top - {""})


def _within(style: Style) -> Iterable[str]:
    return (style.list_file, style.image_root, style.operations, style.mixing, style.batch_size, style.workers)


def _upwards(name: str) -> Iterable[str]:
    """A dotted name, and those of what it lies in."""
    parts = name.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
