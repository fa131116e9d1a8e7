"""The kinds of two label lists, of a data set and a model or of two models: which are the same.

Knows labels. Does not know photos.
"""

from collections import Counter

from garbage_cli.labels import Label, Labels

NAMED = 10
"""Kinds that a remark names."""


def match(data: Labels, model: Labels) -> tuple[dict[int, int], dict[int, str], tuple[str, ...]]:
    """Return the model's number for each of the data set's that it knows, the names of the others, and remarks.

    The same list is the same, number by number. Otherwise kinds are the same if bin and name are, or else, where no
    other has it, the name alone, Chinese or English: cities differ in bins. What is there twice is not guessed at.
    """
    if data.texts == model.texts:
        return {label.class_id: label.class_id for label in data.items}, {}, ()
    by_text = _alone({label.class_id: label.text for label in model.items})
    by_name = _alone({label.class_id: label.english or "" for label in model.items})
    by_name |= _alone({label.class_id: label.name.casefold() for label in model.items})
    names = Counter(label.name for label in data.items)
    known: dict[int, int] = {}
    unknown: dict[int, str] = {}
    for label in data.items:
        place = by_text.get(label.text, by_name.get(label.name.casefold()) if names[label.name] == 1 else None)
        if place is None:
            unknown[label.class_id] = label.text
        else:
            known[label.class_id] = place
    return known, unknown, _remarks([(data[ours], model[theirs]) for ours, theirs in known.items()])


def _alone(texts: dict[int, str]) -> dict[str, int]:
    """The number of each text that only one has."""
    counts = Counter(texts.values())
    return {text: class_id for class_id, text in texts.items() if counts[text] == 1}


def _remarks(pairs: list[tuple[Label, Label]]) -> tuple[str, ...]:
    other = [
        f"{ours.name} ({ours.bin_name}, {theirs.bin_name or 'none'})"
        for ours, theirs in pairs
        if ours.bin_name and bin_key(ours) != bin_key(theirs)
    ]
    if not other:
        return ()
    more = f" and {len(other) - NAMED} more" if len(other) > NAMED else ""
    named = ", ".join(other[:NAMED]) + more
    return (f"data set and model put some kinds into different bins: {named}; the figures go by the model's bins",)


def bin_key(label: Label) -> tuple[str, str]:
    """Return what is equal for kinds of one bin, whatever a city calls it; a kind without a bin is alone."""
    if label.bin is not None:
        return "bin", label.bin.key
    return ("word", label.bin_name) if label.bin_name else ("kind", label.text)
