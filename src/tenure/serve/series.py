"""Counts, spreads and levels that several worker processes share.

Enters: increments, from any thread of any worker. Leaves: Prometheus's text format, the sum over all workers.
Invariant: a count is never lost and never counted twice. Every worker writes to files of its own, named after its place
(0, 1, …) and not after its process: a worker that replaces a dead one goes on counting where that one stopped, and
however often workers die, there are as many files as places. What a dead worker claimed to be doing right now is
removed before its successor starts.

The folder of these files is `PROMETHEUS_MULTIPROC_DIR`, set by `shared_counts` before workers start; where it is unset,
counts are those of this process alone.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)

__all__ = [
    "Counts",
    "Level",
    "Moving",
    "Registry",
    "Spread",
    "forget_worker",
    "shared_counts",
    "take_place",
    "this_place",
]

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
PLACE = "TENURE_WORKER"
Labels = tuple[str | int, ...]


@contextmanager
def shared_counts() -> Iterator[Path]:
    """A folder in which the workers that are started inside this block count together; removed at its end.

    Examples
    --------
    >>> with shared_counts() as folder:
    ...     os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
    True
    """
    before = os.environ.get(FOLDER)
    with TemporaryDirectory(prefix="tenure-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[FOLDER] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[FOLDER]
            else:
                os.environ[FOLDER] = before


def take_place(place: int) -> None:
    """Say, in a worker, which of the places it fills; before it counts anything.

    Parameters
    ----------
    place : int
        From 0; no other living worker may have it.
    """
    os.environ[PLACE] = str(place)


def this_place() -> int | None:
    """Which of the places this process fills; None in a process that is no worker."""
    place = os.environ.get(PLACE)
    return None if place is None else int(place)


def forget_worker(place: int, folder: Path) -> None:
    """Take back what a worker that has died claimed to be doing; its counts stay."""
    multiprocess.mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]


@cache
def _values_of(files: tuple[str, str]) -> Any:
    """Where a worker's numbers are kept, by folder and place; made once, for two would overwrite each other's files."""
    return values.MultiProcessValue(lambda: files[1])  # type: ignore[no-untyped-call]


class Registry:
    """The series of one worker, and the text in which those of all workers are told.

    Examples
    --------
    >>> registry = Registry()
    >>> Counts(registry, "tenure_demo", "Things seen.", ("kind",)).add(("good",), 2)
    >>> print(registry.text().decode())
    # HELP tenure_demo_total Things seen.
    # TYPE tenure_demo_total counter
    tenure_demo_total{kind="good"} 2.0
    <BLANKLINE>
    """

    def __init__(self) -> None:
        self._folder = os.environ.get(FOLDER)
        # Several processes cannot tell when a series was made, so one does not either.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        # The library asks this name for a place to keep a number whenever a series is made; a process that has its own
        # notion of who it is sets it, as servers do whose workers are numbered.
        if self._folder:
            values.ValueClass = _values_of((self._folder, os.environ.get(PLACE, str(os.getpid()))))
        self.own = CollectorRegistry()

    def text(self) -> bytes:
        """Every series, summed over all workers; a few milliseconds."""
        if not self._folder:
            return generate_latest(self.own)
        everybody = CollectorRegistry()
        multiprocess.MultiProcessCollector(everybody, self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


class Counts:
    """Counters by labels; a set of labels is looked up once.

    Parameters
    ----------
    registry : Registry
        Where they belong.
    name : str
        Without the `_total` that Prometheus appends.
    text : str
        What is counted.
    labels : tuple of str
        Their names.
    """

    def __init__(self, registry: Registry, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._counter = Counter(name, text, labels, registry=registry.own)
        self._children: dict[Labels, Counter] = {} if labels else {(): self._counter}

    def add(self, labels: Labels, amount: int = 1) -> None:
        """Count; an amount of zero makes the series known."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._counter.labels(*labels)
        child.inc(amount)


class _Histogram(Histogram):
    """Many observations at the price of the buckets that they fall into."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        buckets: dict[int, int] = {}
        for amount in amounts:
            bucket = bisect_left(self._upper_bounds, amount)
            buckets[bucket] = buckets.get(bucket, 0) + 1
        self._sum.inc(sum(amounts))
        for bucket, count in buckets.items():
            self._buckets[bucket].inc(count)


class Spread:
    """Histograms by labels.

    Parameters
    ----------
    registry, name, text, labels
        As of `Counts`.
    bounds : tuple of float
        Upper bounds of the buckets, ascending; what is larger counts too.
    """

    def __init__(
        self, registry: Registry, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]
    ) -> None:
        self._histogram = _Histogram(name, text, labels, registry=registry.own, buckets=bounds)
        self._children: dict[Labels, _Histogram] = {} if labels else {(): self._histogram}

    def add(self, labels: Labels, amounts: Sequence[float]) -> None:
        """Observe amounts that are not negative."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._histogram.labels(*labels)
        child.observe_many(amounts)


class Level:
    """Gauges by labels: what is now, over the workers that live.

    Parameters
    ----------
    registry, name, text, labels
        As of `Counts`.
    over_workers : {"sum", "max"}
        What is said where several workers say something.
    """

    def __init__(
        self, registry: Registry, name: str, text: str, labels: tuple[str, ...], over_workers: Literal["sum", "max"]
    ) -> None:
        mode: Literal["livesum", "livemax"] = "livesum" if over_workers == "sum" else "livemax"
        self._gauge = Gauge(name, text, labels, registry=registry.own, multiprocess_mode=mode)
        self._labelled = bool(labels)

    def set(self, labels: Labels, value: float) -> None:
        """Say what is now."""
        (self._gauge.labels(*labels) if self._labelled else self._gauge).set(value)


class Moving:
    """How many of something are under way: a level that every request changes twice.

    Writing it every time would cost as much as all else that is counted. It is written when nothing is under way any
    more, and otherwise at every eighth change, so that it is exact at rest and close under load.
    """

    def __init__(self, level: Level) -> None:
        self._level = level
        self._now = 0
        self._changes = 0
        self._lock = threading.Lock()
        level.set((), 0)

    def add(self, change: int) -> None:
        """One more, or one less."""
        with self._lock:
            self._now += change
            self._changes += 1
            if not self._now or not self._changes % 8:
                self._level.set((), self._now)
