"""Stages of a pipeline that work at the same time.

Enters: an iterable. Leaves: the same items in the same order, made in another thread a few items before they are
asked for. Invariant: at most `depth` finished items wait, so memory stays bounded; an error of the iterable appears
where its item would have.

Reading Parquet, predicting and writing Parquet all run in libraries that release Python's lock, so
`ahead(f(ahead(g)))` keeps the disk, the decoder and the model busy together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


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
