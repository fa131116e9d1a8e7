"""What theirs says of the course of a run: epochs, batches, the device, folders and lists.

Knows both styles by `Style`. Does not know what is learned.
"""

from garbage_cli.paddleclas.sheet import Sheet, shown
from garbage_cli.paddleclas.styles import NEW, OLD, Style

_SAMPLERS = ("DistributedBatchSampler", "BatchSampler")
_DATASETS = ("ImageNetDataset", "CommonDataset")


def read_running(sheet: Sheet, style: Style) -> None:
    """Epochs, batches, the device, the seed, logs. Theirs trains the whole network, always."""
    sheet.set("tune", "full")
    batches = f"of all cards together{'; theirs is of each card' if style is NEW else ''}"
    for key, setting, note in (
        (style.epochs, "epochs", ""),
        (style.seed, "seed", ""),
        (f"{style.train}.{style.batch_size}", "batch_size", batches),
    ):
        if (value := sheet.whole(key)) is not None:
            sheet.use(key, setting, value, note)
    workers = f"{style.train}.{style.workers}"
    if (count := sheet.whole(workers)) is not None and count > 0:
        sheet.use(workers, "workers", count, "threads; theirs are processes")
    sheet.drop(workers, "ours has a thread per core", differs=False)
    sheet.set("visualdl", False)
    for key in ("Global.use_visualdl", "vdl_dir"):
        if sheet.given(key):
            asked = sheet.truth(key) if key == "Global.use_visualdl" else True
            sheet.use(key, "visualdl", asked)
    _read_device(sheet, style)
    _read_sampling(sheet, style)


def _read_device(sheet: Sheet, style: Style) -> None:
    if style is OLD:
        if (gpu := sheet.truth(style.device)) is not None:
            sheet.use(style.device, "device", "gpu" if gpu else "cpu")
    elif device := sheet.text(style.device):
        if device.partition(":")[0] in ("cpu", "gpu"):
            sheet.use(style.device, "device", device)
        sheet.drop(style.device, f"not supported: {shown(device)}; there are auto, cpu and gpu")


def _read_sampling(sheet: Sheet, style: Style) -> None:
    if style is OLD:
        return
    _keep_name(sheet, f"{style.train}.sampler.name", _SAMPLERS, "ours is the sampling setting")
    sheet.keep(f"{style.train}.sampler.shuffle", True)
    sheet.drop(f"{style.train}.sampler.drop_last", "ours keeps the last batch, if it holds two photos", differs=False)
    for part in (style.train, style.val):
        _keep_name(sheet, f"{part}.dataset.name", _DATASETS, "ours reads lines of PATH CLASS_NUMBER")


def _keep_name(sheet: Sheet, key: str, like_ours: tuple[str, ...], ours: str) -> None:
    name = sheet.text(key)
    if name in like_ours:
        sheet.drop(key, ours, differs=False)
    elif name is not None:
        sheet.drop(key, f"not supported: {shown(name)}; {ours}")


def read_places(sheet: Sheet, style: Style) -> dict[str, str | None]:
    """The folders and files that theirs names, as they stand there."""
    keys = {
        "image_root": f"{style.train}.{style.image_root}",
        "train_list": f"{style.train}.{style.list_file}",
        "val_root": f"{style.val}.{style.image_root}",
        "val_list": f"{style.val}.{style.list_file}",
        "label_list": "Infer.PostProcess.class_id_map_file",
        "output": style.output,
    }
    words = {
        "image_root": "the folder of the photos", "train_list": "the list of the training photos",
        "val_root": "the folder of the validation photos", "val_list": "the list of the validation photos",
        "label_list": "the names of the classes", "output": "the folder of runs",
    }  # fmt: skip
    for name, key in keys.items():
        if sheet.given(key) and not isinstance(sheet.leaves[key], list):
            sheet.tell(key, words[name])
        elif sheet.given(key):
            sheet.drop(key, "not supported: several files; write them into one")
    return {name: sheet.text(key) if key in sheet.used else None for name, key in keys.items()}


def read_counts(sheet: Sheet, style: Style) -> tuple[int | None, int | None]:
    """The number of classes and of training photos, as the file has them. Ours are counted."""
    counts: list[int | None] = []
    for keys, what in (
        ((style.class_count, "Global.class_num", "ARCHITECTURE.params.class_dim"), "the number of classes"),
        (("total_images",), "the number of training photos"),
    ):
        given = [key for key in keys if sheet.given(key)]
        for key in given:
            sheet.tell(key, f"{what}, as the file has it")
        counts.append(sheet.whole(given[0]) if given else None)
    return counts[0], counts[1]
