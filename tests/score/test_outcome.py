"""A score of a batch that is decided again has the digits that `tenure score` would give now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.settings import ValueSettings
from tenure.core.time import EPOCH
from tenure.score.outcome import decided_again
from tenure.score.predictor import Predictor
from tenure.score.scored import Scorer
from tenure.score.table import StoredScore

amounts = st.floats(0, 500)
alike = st.builds(
    ValueSettings,
    clv=st.floats(501, 1e6),
    contact_cost=amounts,
    incentive_cost=amounts,
    save_rate=st.one_of(st.floats(0.01, 1), st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1))),
)
chances = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def batch(chances: Sequence[float], value: ValueSettings, worth: Sequence[float | None] = ()) -> list[StoredScore]:
    """What `tenure score` leaves of customers with these probabilities."""
    predictor = Predictor("v1", "0f", ("x",), lambda table: np.asarray(table.column("x").to_numpy(), np.float64))
    ids = [f"c{place}" for place in range(len(chances))]
    columns: dict[str, Sequence[object]] = {"customer_id": ids, "x": list(chances)}
    if worth:
        columns["income"] = worth
    rows = Scorer(predictor, value, EPOCH, EPOCH)(pa.table(columns)).to_pylist()
    nothing = {"expected_profit_low": None, "expected_profit_high": None}
    return [StoredScore(**{name: cell for name, cell in {**nothing, **row}.items() if name != "clv"}) for row in rows]


@given(chances, alike, alike)
def test_the_digits_are_those_of_a_batch_under_the_settings_of_today(
    chances: list[float], then: ValueSettings, today: ValueSettings
) -> None:
    stored = batch(chances, then)
    assert decided_again(stored, then) == stored
    assert decided_again(stored, today) == batch(chances, today)


def test_what_a_column_decided_stays() -> None:
    value = ValueSettings(clv="income")
    stored = batch([0.9, 0.9, 0.9], value, [1000.0, 1.0, None])
    assert [score.decision for score in stored] == ["contact", "no_contact", "no_contact"]
    assert decided_again(stored, value.model_copy(update={"contact_cost": 1e6})) == stored


def test_what_is_no_probability_costs_the_others_nothing() -> None:
    whole = batch([0.9, 0.1], ValueSettings(clv=600.0))
    broken = [replace(whole[0], probability=number) for number in (7.0, -0.1, math.inf)]
    today = ValueSettings(clv=600.0, contact_cost=100.0)
    assert decided_again([whole[0], *broken, whole[1]], today) == [
        decided_again(whole, today)[0], *broken, decided_again(whole, today)[1],
    ]  # fmt: skip
    assert decided_again([], today) == []
