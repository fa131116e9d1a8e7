"""The words: kinds of waste, how to prepare them, the four bins, their colours, what places call them.

Knows the 40 kinds of the Huawei Cloud data set and the bins of GB/T 19095-2019. Does not know photos or models.
"""

from garbage_cli.labels.bins import BINS, HAZARDOUS, KITCHEN, OTHER, RECYCLABLE, Bin, Words
from garbage_cli.labels.classes import BIDI, THE_40, Label, Labels
from garbage_cli.labels.regions import REGIONS, Region, RegionalBin

__all__ = [
    "BIDI",
    "BINS",
    "HAZARDOUS",
    "KITCHEN",
    "OTHER",
    "RECYCLABLE",
    "REGIONS",
    "THE_40",
    "Bin",
    "Label",
    "Labels",
    "Region",
    "RegionalBin",
    "Words",
]
