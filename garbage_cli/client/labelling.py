"""What class numbers mean, for servers that answer nothing else.

Knows label sources: the 40 kinds, an inference folder, a data set, a rule or label file. Does not know replies.
"""

from dataclasses import dataclass
from pathlib import Path

from garbage_cli.errors import DatasetError
from garbage_cli.labels import THE_40, Label, Labels


@dataclass(frozen=True, slots=True)
class Naming:
    """How a class that a server answers is called."""

    given: Labels | None = None
    """Those of --labels, which count before all others."""

    def name(self, class_id: int, said: str | None, *, by_the_40: bool) -> Label:
        """Return the label of a number by the given labels, the name that was `said`, or the 40 kinds; else itself."""
        if self.given is not None and class_id < len(self.given):
            return self.given[class_id]
        if said is not None:
            try:
                return Label.parse(class_id, said)
            except DatasetError:  # a name that could not be shown
                pass
        if self.given is None and by_the_40 and class_id < len(THE_40):
            return THE_40[class_id]
        return Label(class_id, str(class_id))


def read_labels(source: Path) -> Labels:
    """Read the classes of an inference folder, a data set's folder, or a rule or label file.

    Raises BundleError or DatasetError that names it.
    """
    from garbage_cli.bundle import MANIFEST_FILE, ModelBundle
    from garbage_cli.dataset.text import LABEL_FILES, RULE_FILE, read_label_file
    from garbage_cli.dataset.text import read_labels as read_folder

    if not source.is_dir():
        return read_label_file(source)
    if (source / MANIFEST_FILE).is_file():
        return ModelBundle.load(source).labels
    if found := read_folder(source):
        return found[0]
    raise DatasetError(
        f"{source} names no classes: no {MANIFEST_FILE}, {RULE_FILE} or {LABEL_FILES[0]} in it; name such a file"
    )
