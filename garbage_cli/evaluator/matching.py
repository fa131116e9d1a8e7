"""The kinds of a data set and those of a model: which are the same.

Knows labels. Does not know photos.
"""

from garbage_cli.labels import Labels


def match(data: Labels, model: Labels) -> tuple[dict[int, int], dict[int, str], tuple[str, ...]]:
    """Return the model's number for each of the data set's that it knows, the names of the others, and remarks.

    Kinds are the same if bin and name are, or else, where no other has it, the name alone: cities differ in bins.
    """
    by_text = {label.text: label.class_id for label in model.items}
    names = [label.name for label in model.items]
    theirs = [label.name for label in data.items]
    by_name = {
        label.name: label.class_id
        for label in model.items
        if names.count(label.name) == 1 and theirs.count(label.name) == 1
    }
    known: dict[int, int] = {}
    unknown: dict[int, str] = {}
    remarks = []
    for label in data.items:
        place = by_text.get(label.text, by_name.get(label.name))
        if place is None:
            unknown[label.class_id] = label.text
            continue
        known[label.class_id] = place
        if label.bin != model[place].bin or (label.bin is None and label.bin_name != model[place].bin_name):
            remarks.append(
                f"the data set puts {label.name} into {label.bin_name}, the model into {model[place].bin_name}: "
                "the figures go by the model's bins"
            )
    return known, unknown, tuple(remarks)
