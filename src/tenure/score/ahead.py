"""Stages of a pipeline that work at the same time.

Enters: an iterable, and what to do with its items. Leaves: the items, or what became of them, in the same order.
Invariant: a bounded number of items is in the making or waiting, so memory stays bounded; an error appears where its
item would have.

Reading Parquet, predicting, and writing Parquet or CSV all run in libraries that release Python's lock, so stages that
are chained keep the disk, the decoder and the model busy together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead", "side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


class _End:
    """Stands after the last item."""


_END = _End()


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Make items in a thread of their own, up to `depth` before they are needed.

    Parameters
    ----------
    items : iterable
        Asked for its items by one thread only, one at a time.
    depth : int
        How many items may be in the making or waiting.

    Examples
    --------
    >>> list(ahead(number * number for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting: deque[Future[T | _End]] = deque(thread.submit(next, iterator, _END) for _ in range(depth))
        try:
            while not isinstance(item := waiting.popleft().result(), _End):
                waiting.append(thread.submit(next, iterator, _END))
                yield item
        finally:
            for future in waiting:
                future.cancel()


def side_by_side(work: Callable[[T], R], items: Iterable[T], threads: int = 2) -> Iterator[R]:
    """Do the same with every item, several at a time; the results keep the items' order.

    Parameters
    ----------
    work : callable
        Called from any thread.
    items : iterable
        Asked for its items by the calling thread.
    threads : int
        How many items are worked on at the same time; as many more wait.

    Examples
    --------
    >>> list(side_by_side(str.upper, ["a", "b", "c"]))
    ['A', 'B', 'C']
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
