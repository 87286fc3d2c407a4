"""The embedded event log keeps every promise, and the checks find one that breaks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tenure.source.log import Batch, EventLog, Listener, LogReader
from tenure.source.log_sqlite import open_sqlite_log
from tenure.testing.log import CHECKS, PARTITIONS, Opener, check_event_log


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_embedded_log_keeps_every_promise(check: Callable[[Opener], None], tmp_path: Path) -> None:
    check(lambda name: open_sqlite_log(tmp_path / f"{name}.db", PARTITIONS))


class Broken:
    """An honest log with one flaw."""

    partitions = PARTITIONS

    def __init__(self, log: EventLog, flaw: str) -> None:
        self.log, self.flaw, self.name = log, flaw, log.name
        self.identity = "same" if flaw == "one identity" else log.identity

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        if self.flaw == "forgets" and len(records) == 60:
            return [*self.log.append(records[:-1]), (0, 0)]
        if self.flaw == "strips":
            records = [(customer, payload.strip()) for customer, payload in records]
        if self.flaw == "scatters":
            records = [(f"{customer}{n}", payload) for n, (customer, payload) in enumerate(records)]
        return self.log.append(records)

    def reader(self, group: str, listener: Listener) -> LogReader:
        return self.log.reader(group, listener)

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        return self.log.bounds()

    def offsets_at(self, appended: int) -> Mapping[int, int]:
        return self.log.offsets_at(appended + 1 if self.flaw == "late" else appended)

    def read(self, partition: int, first: int, end: int) -> Iterator[Batch]:
        if self.flaw == "silent" and first > self.bounds()[partition][1]:
            return
        for batch in self.log.read(partition, first, end):
            broken = batch
            if self.flaw == "backwards":
                broken = replace(batch, appended=batch.appended - np.arange(len(batch.offsets)))
            elif self.flaw == "keyless":
                broken = replace(batch, keys=[None] * len(batch.keys))
            yield broken

    def trim(self, partition: int, before_offset: int) -> int:
        return self.log.trim(partition, before_offset + 1 if self.flaw == "greedy" else before_offset)

    def close(self) -> None:
        self.log.close()


FLAWS = ["forgets", "strips", "scatters", "late", "silent", "backwards", "keyless", "one identity", "greedy"]


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_log_that_breaks_a_promise_is_found(flaw: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        check_event_log(lambda name: Broken(open_sqlite_log(tmp_path / f"{name}.db", PARTITIONS), flaw))


def test_the_honest_twin_of_the_broken_logs_passes(tmp_path: Path) -> None:
    check_event_log(lambda name: Broken(open_sqlite_log(tmp_path / f"{name}.db", PARTITIONS), "none"))
