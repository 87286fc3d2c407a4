"""What a column alone knows of a label, against scikit-learn and against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tenure.features.separation import Outcome, as_numbers, as_seconds, separate, wilson_low

SEEDS = st.integers(0, 2**32 - 1)


def chunked(values: object) -> pa.ChunkedArray:
    return pa.chunked_array([values])


def labels(random: np.random.Generator, rows: int = 400, rate: float = 0.2) -> NDArray[np.bool_]:
    label = random.random(rows) < rate
    label[:2] = True, False
    return label


@given(SEEDS)
def test_the_area_of_numbers_is_at_least_that_of_ranking_by_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = labels(random)
    values = np.round(random.normal(size=400) + 2.5 * label, 1)
    expected = roc_auc_score(label, values)
    assert separate(chunked(values), Outcome.of(label)).area >= max(expected, 1 - expected) - 1e-12


@given(SEEDS)
def test_turning_and_stretching_numbers_changes_nothing_that_ranks_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = labels(random)
    values = random.normal(size=400) + label
    straight, bent = (separate(chunked(one), Outcome.of(label)) for one in (values, -np.exp(values)))
    assert bent.area_missing == straight.area_missing == 0.5
    assert bent.area == pytest.approx(straight.area, abs=0.05)  # ranges close on the other side


@given(SEEDS)
def test_an_identifier_explains_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = np.repeat(labels(random, 60), 20)  # twenty rows of each customer, all with one label
    names = [f"customer {number}" for number in range(60) for _ in range(20)]
    found = separate(chunked(names), Outcome.of(label, pa.array(names)))
    assert found.area < 0.8
    assert found.explained < 0.1
    assert found.marker is None


def test_a_label_that_is_no_rank_is_seen_in_its_cells() -> None:
    random = np.random.default_rng(0)
    label = labels(random, 2_000)
    code = np.where(label, 5.0, random.choice([1.0, 2.0, 3.0, 7.0, 8.0, 9.0], 2_000))
    found = separate(chunked(code), Outcome.of(label))
    assert roc_auc_score(label, code) < 0.65
    assert found.area == 1.0
    assert found.explained > 0.9
    assert found.marker is not None
    assert (found.marker.where, found.marker.share) == ("is 5", 1.0)


@pytest.mark.parametrize(("rate", "flips", "share"), [(0.13, 0.05, 0.66), (0.265, 0.05, 0.70), (0.41, 0.02, 0.85)])
def test_the_explained_share_of_a_flipped_label_is_its_information(rate: float, flips: float, share: float) -> None:
    random = np.random.default_rng(0)
    label = labels(random, 20_000, rate)
    disguise = label != (random.random(20_000) < flips)
    assert separate(chunked(disguise), Outcome.of(label)).explained == pytest.approx(share, abs=0.03)


def test_rows_of_one_customer_are_one_observation() -> None:
    label = np.repeat(np.arange(40) % 4 == 0, 10)
    column = chunked(np.where(label, 1.0, 0.0))
    alone = separate(column, Outcome.of(label)).marker
    grouped = separate(column, Outcome.of(label, pa.array(np.repeat(np.arange(40), 10)))).marker
    assert alone is not None
    assert grouped is not None
    assert (alone.customers, grouped.customers) == (100, 10)
    assert alone.odds > 5 * grouped.odds


def test_a_column_without_content_knows_nothing() -> None:
    label = np.arange(100) % 5 == 0
    for column in (pa.nulls(100), pa.nulls(100, pa.float64()), pa.array(["same"] * 100), pa.array([1.0] * 100)):
        found = separate(chunked(column), Outcome.of(label))
        assert found.area == pytest.approx(0.5, abs=0.1)
        assert found.explained < 0.01


@pytest.mark.parametrize(
    "text", ["2017-12-03", "2017-12-03 00:00:00", "2017-12-03T00:00:00Z", "2017/12/03", "03.12.2017", "03 Dec 2017"]
)
def test_times_are_read_as_people_write_them(text: str) -> None:
    found = as_numbers(chunked([text, None, text]))
    assert found is not None
    assert found[0] == found[2] == 1_512_259_200
    assert np.isnan(found[1])


@pytest.mark.parametrize("values", [["gold", "silver"], ["1234", "5678"], ["12:30", "8:15"], [None, None]])
def test_what_is_no_time_is_not_read_as_one(values: list[str | None]) -> None:
    assert as_seconds(chunked(pa.array(values, pa.string()))) is None


@given(share=st.floats(0, 1), n=st.integers(1, 10_000))
def test_a_lower_bound_lies_below(share: float, n: int) -> None:
    low = float(wilson_low(np.array([share]), np.array([n]))[0])
    assert -1e-9 <= low <= share + 1e-9
