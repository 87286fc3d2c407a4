"""Draws move whole customers, and their interval is as wide as statistics says it should be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tenure.core.errors import HistoryError
from tenure.model.bootstrap import customer_codes, interval, resample


def test_customers_are_numbered_alike_from_any_container() -> None:
    ids = ["b", "a", "b", "c"]
    for given in (np.array(ids, dtype=object), np.array(ids), pa.array(ids), pa.chunked_array([ids[:1], ids[1:]]), ids):
        codes, customers = customer_codes(given)
        assert codes.tolist() == [0, 1, 0, 2]
        assert customers == 3


def test_the_interval_of_a_mean_is_the_one_of_theory() -> None:
    values = np.random.default_rng(1).normal(size=400)
    samples = resample(lambda drawn: np.array([drawn @ values / drawn.sum()]), 400, seed=2, repeats=2000)
    low, high = interval(samples)
    expected = 2 * 1.96 * values.std() / 20
    assert high[0] - low[0] == pytest.approx(expected, rel=0.05)
    assert low[0] < values.mean() < high[0]


def test_the_same_seed_gives_the_same_draws() -> None:
    def first(drawn: np.ndarray) -> np.ndarray:
        return drawn[:3]

    one, same, other = (resample(first, 50, seed=seed, repeats=4) for seed in (7, 7, 8))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_undefined_draws_do_not_count() -> None:
    low, high = interval(np.array([[np.nan, np.nan], [1.0, np.nan], [1.0, np.nan]]))
    assert low[0] == high[0] == 1
    assert np.isnan(low[1])
    assert np.isnan(high[1])


@pytest.mark.parametrize("customers", [0, 1])
def test_one_customer_gives_no_interval(customers: int) -> None:
    with pytest.raises(HistoryError, match="at least two customers"):
        resample(lambda drawn: drawn, customers, seed=0)
