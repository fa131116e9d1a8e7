"""What the frozen part of a network makes of the photos, computed once, and batches of it.

Knows how to run that part in the fast engine and to keep what comes out. Does not know how the rest is trained.
"""

import hashlib
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from garbage_cli.batches import MIXING, Batch, mix, steps_per_epoch
from garbage_cli.batches.picking import parts, picks
from garbage_cli.batches.preparing import augmented, read
from garbage_cli.config import FrozenConfig, TrainConfig
from garbage_cli.dataset import Dataset, Sample
from garbage_cli.errors import ConfigError, ImageError
from garbage_cli.features.front import Front
from garbage_cli.features.store import Array, Digest, Store, make_room
from garbage_cli.images import open_photo
from garbage_cli.parallel import ordered_map
from garbage_cli.partition import Cut
from garbage_cli.reports import BadPhoto, FeatureReport, LeftOut, Report
from garbage_cli.transforms import Input, Preprocess, TrainPreprocess
from garbage_cli.vendor import available_cores

SHARD_BYTES = 32 << 20
"""What is lost at most when the program is killed; also what is in memory at once, per kind."""
CACHE_BYTES = 30 << 30
"""Features that were not used for longest are deleted beyond this."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The features of some samples; None for a photo that could not be read."""

    samples: Sequence[Sample]
    digests: Sequence[Digest | None]
    store: Store

    def row(self, index: int) -> Array | None:
        """Return the features of a sample, shape (views, *shape)."""
        digest = self.digests[index]
        return None if digest is None or digest not in self.store else self.store.row(digest)


@dataclass(frozen=True, slots=True)
class Features:
    """What crosses the cut for all photos: several augmented views of the training ones, one plain of the others."""

    train: Kept
    val: Kept


def frozen_config(config: TrainConfig) -> FrozenConfig:
    """Return the settings that hold while a part of the network is frozen."""
    return config.head if config.tune == "head" else config.last_stage


def compute(
    cut: Cut, config: TrainConfig, dataset: Dataset, *, folder: Path, stop: Callable[[], bool]
) -> Generator[Report, None, Features | None]:
    """Compute what is not yet in `folder`; return all of it, or None if `stop` said so: what is done is kept.

    Raises ConfigError if there is no room on the disk.
    """
    train_key, val_key = _keys(cut, config)
    views = frozen_config(config).views
    train = Store(folder / train_key, views=views, shape=cut.shape, dtype="float16")
    val = Store(folder / val_key, views=1, shape=cut.shape, dtype="float32")
    make_room(folder, keep=[train.folder, val.folder], limit=CACHE_BYTES)
    kept = []
    front = Front(cut, crop=config.preprocess.crop)
    for store, samples, plain in ((val, dataset.val, True), (train, dataset.train, False)):
        digests = yield from _digests(samples)
        missing = _missing(samples, digests, store)
        _check_room(store, len(missing))
        made = yield from _fill(store, missing, config, front, stop, plain=plain)
        if not made:
            return None
        kept.append(Kept(samples, digests, store))
    return Features(train=kept[1], val=kept[0])


def _keys(cut: Cut, config: TrainConfig) -> tuple[str, str]:
    """Names of the folders of the training and of the validation features: hashes of all they depend on."""
    import PIL

    digest = hashlib.sha256()
    for name, value in cut.front_state():
        digest.update(f"{name} {value.shape} {value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    # two networks may have the same weights and another forward pass
    facts = f"{config.model.name} {cut.at} {cut.shape} {asdict(config.preprocess)} {PIL.__version__} {_versions()}"
    digest.update(facts.encode())
    plain = digest.hexdigest()[:32]
    augment = replace(config.augment, mixup=0.0, cutmix=0.0)  # these come after
    digest.update(f"{asdict(augment)} {config.seed} {frozen_config(config).views}".encode())
    return digest.hexdigest()[:32], plain


def _versions() -> str:
    from importlib.metadata import version

    return " ".join(version(package) for package in ("openvino", "paddleclas"))


def _digests(samples: Sequence[Sample]) -> Generator[Report, None, list[Digest | None]]:
    """The digest of each photo's bytes; a photo that can't be read is reported, and None."""
    digests: list[Digest | None] = []
    bad = []
    threads = max(2, available_cores())
    for found in ordered_map(_digest, samples, threads=threads, ahead=4 * threads):
        digests.append(found if isinstance(found, bytes) else None)
        bad += [found] if isinstance(found, BadPhoto) else []
    if bad:
        yield LeftOut(tuple(bad))
    return digests


def _digest(sample: Sample) -> Digest | BadPhoto:
    try:
        return hashlib.sha256(read(sample)).digest()
    except ImageError as error:
        return BadPhoto(sample.path, str(error))


def _missing(samples: Sequence[Sample], digests: Sequence[Digest | None], store: Store) -> dict[Digest, Sample]:
    """One sample for each content that has no features yet."""
    return {
        digest: sample
        for digest, sample in zip(digests, samples, strict=True)
        if digest is not None and digest not in store
    }


def _check_room(store: Store, photos: int) -> None:
    needed, free = photos * store.bytes_per_photo, shutil.disk_usage(store.folder).free
    if needed > free:
        raise ConfigError(
            f"the features of {photos:,} photos take {needed / 1e9:.1f} GB; {store.folder} has {free / 1e9:.1f} GB "
            "free. Set fewer views (--set last_stage.views=2), or XDG_CACHE_HOME to a roomier place"
        )


def _fill(
    store: Store,
    missing: dict[Digest, Sample],
    config: TrainConfig,
    front: Front,
    stop: Callable[[], bool],
    *,
    plain: bool,
) -> Generator[Report, None, bool]:
    """Compute features shard by shard; return whether all are done."""
    if not missing:
        return True
    done, digests, rows = 0, list[Digest](), list[Array]()
    at_once = max(1, SHARD_BYTES // store.bytes_per_photo)
    for digest, row in _rows(store, missing, config, front, plain=plain):
        done += 1
        if isinstance(row, BadPhoto):
            yield LeftOut((row,))
        else:
            digests.append(digest)
            rows.append(row)
        last = done == len(missing) or stop()
        if digests and (len(digests) == at_once or last):
            store.add(digests, rows)
            digests, rows = [], []
        yield FeatureReport(done, len(missing), engine=front.engine, validation=plain)
        if last:
            break
    return done == len(missing)


def _rows(
    store: Store, missing: dict[Digest, Sample], config: TrainConfig, front: Front, *, plain: bool
) -> Iterator[tuple[Digest, Array | BadPhoto]]:
    """The features of each missing photo, shape (views, *shape), or why there are none, in order.

    Each thread reads, augments and infers photos of its own, so that none waits for another.
    """
    views = store.row_shape[0]

    def one(item: tuple[Digest, Sample]) -> Array | BadPhoto:
        digest, sample = item
        try:
            return front(_plain(sample, config) if plain else _augmented(sample, digest, config, views))
        except ImageError as error:
            return BadPhoto(sample.path, str(error))

    threads = front.open()
    yield from zip(missing, ordered_map(one, missing.items(), threads=threads, ahead=4 * threads), strict=True)


def _plain(sample: Sample, config: TrainConfig) -> list[Input]:
    return [Preprocess(config.preprocess)(open_photo(read(sample)).image)]


def _augmented(sample: Sample, digest: Digest, config: TrainConfig, views: int) -> list[Input]:
    """What training could see of a photo: a function of the seed, its content and the number of the view."""
    key = int.from_bytes(digest[:8], "big")
    seeds = [[config.seed, 0, key, view] for view in range(views)]
    return augmented(read(sample), TrainPreprocess(config.preprocess, config.augment), seeds)


def training_features(
    features: Features, config: TrainConfig, *, epoch: int, start: int = 0, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Yield the batches of one epoch from step `start` on, like `training_batches`, one of its views for each photo."""
    kept, size = features.train, config.batch_size
    class_ids = [sample.class_id for sample in kept.samples]
    steps = steps_per_epoch(len(class_ids), size, world=world)
    order = picks(class_ids, config.sampling, np.random.default_rng([config.seed, epoch]))
    groups = parts(order[start * size : steps * size], size, rank=rank, world=world)
    # a rectangle of another photo has no place in a vector, nor in a transformer's tokens
    augment = config.augment if len(kept.store.row_shape) == 4 else replace(config.augment, cutmix=0.0)
    for step, group in enumerate(groups, start):
        rows = [(index, kept.row(index), _view(config, epoch, index, time)) for index, time in group]
        good = [(index, row[view]) for index, row, view in rows if row is not None]
        batch = _batch(kept, good)
        yield mix(batch, augment, np.random.default_rng([config.seed, epoch, step, MIXING, rank]))


def _view(config: TrainConfig, epoch: int, index: int, time: int) -> int:
    """Which view of a photo an epoch takes: each once before any comes again."""
    views = frozen_config(config).views
    turn, place = divmod(epoch - 1 + time, views)
    return int(np.random.default_rng([config.seed, index, turn]).permutation(views)[place])


def validation_features(features: Features, config: TrainConfig, *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Yield the features of all validation photos in their order; of `world` processes each yields a part."""
    kept = features.val
    for group in parts(range(len(kept.samples)), config.batch_size, rank=rank, world=world):
        yield _batch(kept, [(index, row[0]) for index in group if (row := kept.row(index)) is not None])


def _batch(kept: Kept, rows: Sequence[tuple[int, Array]]) -> Batch:
    shape = kept.store.row_shape[1:]
    values = np.stack([row for _, row in rows]).astype(np.float32) if rows else np.empty((0, *shape), np.float32)
    return Batch(values, np.array([kept.samples[index].class_id for index, _ in rows], np.int64), ())


__all__ = ["Features", "compute", "frozen_config", "training_features", "validation_features"]
