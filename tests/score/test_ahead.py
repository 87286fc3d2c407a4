"""Items come in order, errors at their place, and never more than were allowed are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.score.ahead import ahead


@given(st.lists(st.integers()), st.integers(1, 4))
def test_the_items_are_the_same_in_the_same_order(items: list[int], depth: int) -> None:
    assert list(ahead(ahead(items, depth), depth)) == items


def test_an_error_appears_where_its_item_would_have() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    stream = ahead(broken())
    assert next(stream) == 1
    with pytest.raises(OSError, match="no more"):
        next(stream)


def test_at_most_depth_items_are_made_before_they_are_asked_for() -> None:
    made: list[int] = []
    taken = 0

    def counted() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            assert number - taken <= 3
            yield number

    for _ in ahead(counted(), depth=3):
        taken += 1
    assert made == list(range(20))


def test_items_are_made_in_another_thread_that_ends_with_the_stream() -> None:
    before = threading.active_count()
    threads = ahead((threading.get_ident() for _ in range(5)), depth=1)
    assert next(threads) != threading.get_ident()
    threads.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
