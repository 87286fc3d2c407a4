"""The best contacts first, whatever order the customers come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.value.target import choose, choose_by_batch

profits = st.lists(
    st.one_of(st.sampled_from([-1.0, 0.0, 1.0, 2.0]), st.floats(-1e6, 1e6), st.just(float("nan"))), max_size=30
)


@given(profits, st.one_of(st.none(), st.integers(0, 35)), st.randoms(use_true_random=False))
def test_the_chosen_are_the_first_of_the_ranking(profit: list[float], capacity: int | None, random: object) -> None:
    rows = [(money, f"customer-{index}") for index, money in enumerate(profit)]
    random.shuffle(rows)  # type: ignore[attr-defined]
    money = np.array([row[0] for row in rows], dtype=np.float64)
    ids = np.array([row[1] for row in rows], dtype=object)
    ranking = sorted((-m, i) for m, i in rows if m >= 0)
    assert sorted(ids[choose(money, ids, capacity)]) == sorted(i for _, i in ranking[:capacity])


def test_no_capacity_contacts_nobody_and_no_limit_everybody_who_pays() -> None:
    profit, ids = np.array([3.0, -1.0, np.nan, 0.0]), np.array(list("abcd"), dtype=object)
    assert choose(profit, ids, 0).tolist() == [False, False, False, False]
    assert choose(profit, ids).tolist() == [True, False, False, True]


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(InputError, match="-1 contacts"):
        choose(np.zeros(1), np.array(["a"], dtype=object), -1)


def test_every_batch_has_the_whole_capacity() -> None:
    profit, ids = np.array([1.0, 2.0, 3.0, 4.0]), np.array(list("abcd"), dtype=object)
    months = np.array(["2026-01", "2026-01", "2026-02", "2026-02"], dtype="datetime64[us]")
    never = np.full(4, np.datetime64("NaT"), dtype="datetime64[us]")
    assert choose_by_batch(profit, ids, months, 1).tolist() == [False, True, False, True]
    assert choose_by_batch(profit, ids, never, 1).tolist() == [False, False, False, True]
    assert choose_by_batch(profit, ids, months).all()
