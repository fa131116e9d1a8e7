"""A training file, ours or PaddleClas's → settings, and what else it names: the data set, the folder of runs.

Knows which of the two a file is. Does not know the terminal, nor how theirs is translated.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.config import TrainConfig, read_tree, with_overrides
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError, DatasetError
from garbage_cli.paddleclas import Translation, is_paddleclas, lists_of, translate
from garbage_cli.paddleclas.styles import NEW, OLD


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training file with the options on top of it."""

    source: str
    """The file, or the name of a ready one."""
    config: TrainConfig
    theirs: Translation | None = None
    """What became of every key, if the file is PaddleClas's."""

    @property
    def output(self) -> Path | None:
        """The folder of runs that the file names."""
        return Path(self.theirs.output) if self.theirs and self.theirs.output else None

    @property
    def lists(self) -> tuple[str, ...]:
        """The list files that the file names, as it has them."""
        named = lists_of(self.theirs) if self.theirs else None
        return tuple(path for path in (named.train, named.val) if path) if named else ()

    def dataset(self) -> Dataset | None:
        """Read the data set by the lists that the file names, from the working folder; None if it names none.

        Raises DatasetError, which begins with the file's name, as `Dataset.from_lists` does.
        """
        named = lists_of(self.theirs) if self.theirs else None
        if named is None or self.theirs is None:
            return None
        try:
            return Dataset.from_lists(
                Path(named.image_root), train=Path(named.train), val=_path(named.val), val_root=Path(named.val_root),
                labels=_path(named.labels), class_count=named.class_count, total_images=self.theirs.total_images,
            )  # fmt: skip
        except DatasetError as error:
            raise DatasetError(f"{self.source}: {error}") from None


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def read_recipe(source: str, overrides: Iterable[tuple[str, object]] = ()) -> Recipe:
    """Read a ready recipe by name, or a file of ours or of PaddleClas; then set dotted keys of ours.

    Raises ConfigError that names the file, or the options, and the key.
    """
    tree = read_tree(source)
    if not is_paddleclas(tree):
        return Recipe(source, with_overrides(tree, overrides, where=source))
    both = [style.network.partition(".")[0] for style in (OLD, NEW)]
    if all(section in tree for section in both):
        raise ConfigError(f"{source} has {' and '.join(both)}, of two styles of PaddleClas's files; leave one of them")
    theirs = translate(tree, where=source)
    return Recipe(source, with_overrides(theirs.settings, overrides, where=source), theirs)


def harmless(theirs: Translation) -> list[str]:
    """Name the unused keys without which training is the same; `SECTION.*` stands for all of a section."""
    same = [key for key in theirs.unused if key not in theirs.differing]
    return list(dict.fromkeys(_in_short(same, {*theirs.used, *theirs.differing})))


def _in_short(keys: Collection[str], others: Collection[str]) -> Iterator[str]:
    taken = {section for key in others for section in _sections(key)}
    for key in keys:
        yield next((f"{section}.*" for section in _sections(key) if section not in taken), key)


def _sections(key: str) -> list[str]:
    """The sections that a key lies in, the outermost first."""
    parts = key.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]
