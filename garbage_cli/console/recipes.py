"""What `train` says of a training file of PaddleClas, before anything else."""

from pathlib import Path

from garbage_cli.console.terminal import say
from garbage_cli.paddleclas import Translation
from garbage_cli.recipes import Recipe, harmless


def show(recipe: Recipe, *, data: Path | None) -> None:
    """Say how many keys are used, name every other one, and say where the photos are from; nothing for ours."""
    if recipe.theirs is None:
        return
    _show_keys(recipe.source, recipe.theirs)
    if recipe.lists:
        lists = " and ".join(recipe.lists)
        say(f"photos by {lists}" if data is None else f"photos of {data}, not by {lists}, for {data} is named")


def _show_keys(source: str, theirs: Translation) -> None:
    total = len(theirs.used) + len(theirs.unused)
    say(f"{source} is a training file of PaddleClas: {len(theirs.used)} of its {total} keys are used")
    for key in theirs.differing:
        say(f"not used, so training differs: {key}: {theirs.unused[key]}")
    if same := len(theirs.unused) - len(theirs.differing):
        others = "1 other key has" if same == 1 else f"{same} other keys have"
        say(f"{others} no meaning here: {', '.join(harmless(theirs))}")
