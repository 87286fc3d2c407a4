"""A member of a group as a process of its own: it says on standard output, one JSON document a line, what it is told.

`python -m tests.source.kafka_member URL GROUP FOLDER`. Positions are files in FOLDER, written while the partition is
being given back and after every batch, as a store would keep them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenure.core.settings import StreamSettings
from tenure.source.log_kafka import open_kafka_log


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Member:
    """Keeps positions in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        say(assigned=list(partitions))
        return {partition: self.position(partition) for partition in partitions}

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        say(revoked=list(partitions), lost=lost)

    def position(self, partition: int) -> int:
        file = self.folder / str(partition)
        return int(file.read_text()) if file.exists() else 0

    def keep(self, partition: int, offset: int) -> None:
        fresh = self.folder / f"{partition}.new"
        fresh.write_text(str(offset))
        fresh.replace(self.folder / str(partition))


def main(url: str, group: str, folder: str) -> None:
    member = Member(Path(folder))
    reader = open_kafka_log(StreamSettings(log=url)).reader(group, member)
    while True:
        for batch in reader.poll(100, 0.1):
            member.keep(batch.partition, int(batch.offsets[-1]) + 1)
            say(read=[(batch.partition, int(offset)) for offset in batch.offsets])


if __name__ == "__main__":
    main(*sys.argv[1:])
