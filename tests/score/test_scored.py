"""Scores of one table: money per customer, and customers whose worth is unknown or makes no sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenure.core.errors import InputError, NotFoundError
from tenure.core.settings import ValueSettings
from tenure.score.rows import Snapshot, open_snapshot
from tenure.score.scored import Scorer
from tenure.value.profit import incremental_profit
from tests.score.world import AS_OF, FLAT, NOON, PREDICTOR, RANGED, customers, probability


def scorer(value: ValueSettings) -> Scorer:
    return Scorer(PREDICTOR, value, AS_OF, NOON())


def snapshot_of(table: pa.Table, folder: Path) -> Snapshot:
    pq.write_table(table, folder / "snapshot.parquet")
    return open_snapshot([folder / "snapshot.parquet"], "f")


def test_every_column_is_what_the_money_says() -> None:
    table = customers(50)
    scores = scorer(RANGED)(table)
    clv = table.column("worth").to_numpy()
    known = ~np.isnan(clv)
    for name, rate in (("expected_profit", 0.3), ("expected_profit_low", 0.1), ("expected_profit_high", 0.5)):
        expected = incremental_profit(
            probability(table)[known], clv[known], save_rate=rate, incentive_cost=5, contact_cost=10
        )
        assert scores.column(name).to_numpy()[known].tolist() == pytest.approx(expected.tolist())
        assert scores.column(name).null_count == (~known).sum() > 0
    assert scores.column("probability").to_pylist() == probability(table).tolist()
    assert scores.column("customer_id") == table.column("customer_id")
    assert scores.column("clv") == table.column("worth")
    decisions = np.array(scores.column("decision").to_pylist())
    assert (
        decisions[known] == np.where(scores.column("expected_profit").to_numpy()[known] >= 0, "contact", "no_contact")
    ).all()
    assert set(decisions[~known]) == {"no_contact"}
    assert {b for b, k in zip(scores.column("band").to_pylist(), known, strict=True) if not k} == {None}
    assert set(scores.column("model_version").to_pylist()) == {"v1"}
    assert scores.column("features_as_of").to_pylist() == [AS_OF] * 50
    assert scores.column("computed_at").to_pylist() == [NOON()] * 50


def test_without_a_range_there_are_no_ends() -> None:
    scores = scorer(FLAT)(customers(3))
    assert [name for name in scores.column_names if name.startswith("expected_profit")] == ["expected_profit"]
    assert scores.column("clv").to_pylist() == [600.0] * 3


@pytest.mark.parametrize(("worth", "shown"), [(-1.0, "-1.0"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_worth_that_makes_no_sense_names_the_customer(worth: float, shown: str) -> None:
    table = pa.table({"customer_id": ["a", "b", "c"], "x": [1, 2, 3], "worth": pa.array([None, worth, 5.0])})
    with pytest.raises(InputError) as caught:
        scorer(RANGED)(table)
    assert f"Customer 'b' has a worth of {shown};" in str(caught.value)
    assert caught.value.ids["customer_id"] == "b"


def test_a_whole_number_is_a_worth() -> None:
    table = pa.table({"customer_id": ["a", "b"], "x": [16, 16], "worth": pa.array([2**60 + 1, None], pa.int64())})
    assert scorer(RANGED)(table).column("clv").to_pylist() == [float(2**60), None]


def test_a_missing_worth_is_a_missing_column(tmp_path: Path) -> None:
    snapshot = snapshot_of(customers(2).drop_columns("worth"), tmp_path)
    with pytest.raises(NotFoundError, match=r"'worth', which \[value\] clv names.*Known: customer_id, cutoff, x"):
        scorer(RANGED).check(snapshot)
    scorer(FLAT).check(snapshot)


def test_a_worth_in_words_is_refused(tmp_path: Path) -> None:
    snapshot = snapshot_of(pa.table({"customer_id": ["a"], "x": [1], "worth": ["much"]}), tmp_path)
    with pytest.raises(InputError, match="'worth', which holds string and not numbers"):
        scorer(RANGED).check(snapshot)


def test_a_missing_feature_names_the_version(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no column 'x', which v1 was trained on"):
        scorer(FLAT).check(snapshot_of(customers(2).drop_columns("x"), tmp_path))


def test_ids_that_are_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="customer_id holds int64 and not text"):
        scorer(FLAT).check(snapshot_of(pa.table({"customer_id": [1], "x": [1]}), tmp_path))


@pytest.mark.parametrize("amount", ["clv", "contact_cost", "incentive_cost"])
def test_infinite_amounts_are_refused(amount: str, tmp_path: Path) -> None:
    value = RANGED.model_copy(update={amount: float("inf")})
    with pytest.raises(InputError, match="must be a number of at least 0, not inf"):
        scorer(value).check(snapshot_of(customers(2), tmp_path))
