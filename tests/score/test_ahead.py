"""Items come in order, errors at their place, and never more than were allowed are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.score.ahead import ahead, side_by_side


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


@given(st.lists(st.integers()), st.integers(1, 4))
def test_results_side_by_side_keep_the_order(items: list[int], threads: int) -> None:
    assert list(side_by_side(lambda item: -item, items, threads)) == [-item for item in items]


def test_work_side_by_side_is_done_at_the_same_time() -> None:
    meet = threading.Barrier(2, timeout=60)  # nobody gets past it alone
    assert list(side_by_side(lambda item: meet.wait() >= 0 and item, [1, 2, 3, 4], threads=2)) == [1, 2, 3, 4]


def test_an_error_side_by_side_appears_where_its_result_would_have() -> None:
    stream = side_by_side(lambda item: 6 // item, [1, 0, 2])
    assert next(stream) == 6
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_a_bounded_number_waits_side_by_side() -> None:
    taken = 0

    def counted() -> Iterator[int]:
        for number in range(30):
            assert number - taken <= 4
            yield number

    for _ in side_by_side(abs, counted(), threads=2):
        taken += 1
    assert taken == 30
