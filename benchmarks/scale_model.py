"""What N machines give, reckoned from what one gives: the model of docs/scale.md as a table.

    python benchmarks/scale_model.py --rate 190 --photos 1000000 [--cores 16] [--start 15] [--share 1.0]

`--rate` is the photos a second of one core, measured by benchmarks/bulk.py (one process's rate by its cores). All else
has a default that docs/scale.md explains.
"""

import argparse
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """Machines that are alike, working through partitions of photos."""

    rate: float
    """Photos a second of one core in a single process."""
    cores: int = 16
    """Of one machine."""
    share: float = 1.0
    """What a worker under Ray reaches of that rate."""
    start: float = 15.0
    """Seconds until all workers have their model."""
    partition: int = 500
    photo_bytes: float = 50_000
    store: float = 1.25e9
    """Bytes a second that the disk or the store of objects gives to all machines together."""
    head: int = 1
    """Cores that Ray's own processes take on the first machine."""

    def seconds(self, photos: int, machines: int) -> float:
        """How long so many photos take, without failures."""
        workers = max(1, machines * self.cores - self.head)
        each = self.rate * self.share
        waves = math.ceil(math.ceil(photos / self.partition) / workers)
        working = max(waves * self.partition / each, photos * self.photo_bytes / self.store)
        return self.start + working

    def lost(self, machines: int, *, left: float) -> float:
        """Seconds more when a machine dies with `left` seconds to go: the others do its part as well."""
        if machines < 2:
            return math.inf
        again = self.partition / (self.rate * self.share)
        return again + left / (machines - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--start", type=float, default=15.0)
    parser.add_argument("--head", type=int, default=1)
    parser.add_argument("--partition", type=int, default=500)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    asked = parser.parse_args()
    model = Model(asked.rate, asked.cores, asked.share, asked.start, partition=asked.partition, head=asked.head)
    one = model.seconds(asked.photos, 1)
    print("| machines | minutes | photos/s | of N times one |\n|---:|---:|---:|---:|")
    for machines in asked.machines:
        seconds = model.seconds(asked.photos, machines)
        share = one / seconds / machines
        print(f"| {machines} | {seconds / 60:.1f} | {asked.photos / seconds:,.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
