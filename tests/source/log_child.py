"""What the tests of the embedded log let other processes do: append, read as a member, run out of space."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenure.core.errors import StateError
from tenure.source.log_sqlite import open_sqlite_log


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Printer:
    """A listener that says which partitions it has."""

    def __init__(self) -> None:
        self.mine: set[int] = set()

    def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self.mine.update(partitions)
        say(f"has {len(self.mine)}")
        return dict.fromkeys(partitions, 0)

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        self.mine.difference_update(partitions)
        say(f"lost {len(self.mine)}" if lost else f"has {len(self.mine)}")


def append(path: Path, name: str) -> None:
    """Append a hundred times and print every place."""
    log = open_sqlite_log(path, 4)
    for n in range(100):
        say(*log.append([(f"{name}-{n % 3}", f"{name} {n}".encode())])[0])
    log.close()


def read(path: Path) -> None:
    """Read for ever."""
    log = open_sqlite_log(path, 4)
    reader = log.reader("group", Printer())
    while True:
        reader.poll(100, 0.1)


def fill(path: Path) -> None:
    """Append until no file may grow any more, then see what is there, make room, and go on."""
    log = open_sqlite_log(path, 4)
    log.append([("ada", b"first")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    kept = 1
    try:
        while True:
            log.append([("ada", b"x" * 3_000)] * 5)
            kept += 5
    except StateError as error:
        say(error.retryable, error.message)
    (partition,) = [partition for partition, (_, end) in log.bounds().items() if end]
    say(kept, sum(len(batch.payloads) for batch in log.read(partition, 0, 10**6)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say(log.append([("ada", b"last")])[0][1])
    log.close()


if __name__ == "__main__":
    verb, file = sys.argv[1], Path(sys.argv[2])
    if verb == "append":
        append(file, sys.argv[3])
    elif verb == "read":
        read(file)
    else:
        fill(file)
