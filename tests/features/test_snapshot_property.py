"""Whole rows of a snapshot equal the oracle's: events of every type, attributes as of the cutoff, nobody missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.features.declare import Attribute
from tenure.features.snapshot import frequent_values, snapshot
from tests.features.translate import FEWER, FEWEST, SHRINKING, churn_settings, declared, differences, naive, opened
from tests.oracle import features as oracle
from tests.oracle import logs
from tests.oracle.churn import Active, Churn
from tests.oracle.feature_worlds import ATTRIBUTES
from tests.oracle.features import DAY, Block, CustomerRow, Event

pytestmark = SHRINKING

ATTRIBUTE_COLUMNS = (Attribute("income", "number"), Attribute("plan", "text"))
# Everybody with an event in the last hundred years is at risk.
ANYBODY = churn_settings(Churn("inactivity", DAY, logs.TYPES), Active(logs.TYPES, within=36_500 * DAY))


def rows_of(
    events: Sequence[Event], customers: Sequence[CustomerRow], blocks: Sequence[Block], cutoffs: Sequence[datetime]
) -> dict[datetime, dict[str, dict[str, object]]]:
    """Return for each cutoff the snapshot's rows by customer."""
    features = declared(blocks, ATTRIBUTE_COLUMNS, tenure=True)
    with opened(logs.TYPES, events, customers=customers) as tables:
        found = {
            cutoff: tables.backend.to_pyarrow(snapshot(tables, features, ANYBODY, cutoff)).to_pylist()
            for cutoff in cutoffs
        }
    return {cutoff: {row.pop("customer_id"): row for row in rows} for cutoff, rows in found.items()}


def expected_rows(
    events: Sequence[Event], customers: Sequence[CustomerRow], blocks: Sequence[Block], cutoff: datetime
) -> dict[str, dict[str, float | str | None]]:
    features = [feature for block in blocks for feature in oracle.block_features(block)]
    return {
        customer: {
            **oracle.feature_row([event for event in events if event["customer_id"] == customer], features, cutoff),
            **oracle.attribute_row(
                [row for row in customers if row["customer_id"] == customer], ["income", "plan"], cutoff
            ),
        }
        for customer in {event["customer_id"] for event in events if oracle.known(event, cutoff)}
    }


@st.composite
def customer_tables(draw: st.DrawFn, seen: Sequence[str], cutoffs: Sequence[datetime]) -> list[CustomerRow]:
    """Draw a customers table, with or without a history, for most customers of a log and some others."""
    listed = sorted({*seen, *draw(st.lists(st.sampled_from(logs.CUSTOMERS), max_size=2))})
    listed = listed[draw(st.sampled_from((0, 0, 0, 1))) :]
    if draw(st.booleans()):
        return [draw(logs.customer_rows(customer, None, cutoffs)) for customer in listed]
    return [row for customer in listed for row in draw(logs.customer_histories(customer, cutoffs))]


@FEWEST
@given(data=st.data())
def test_random_logs_give_the_rows_of_the_oracle(data: st.DataObject) -> None:
    world = data.draw(logs.feature_logs())
    seen = sorted({event["customer_id"] for event in world.events})
    customers = data.draw(customer_tables(seen, world.cutoffs))
    for cutoff, found in rows_of(world.events, customers, world.blocks, world.cutoffs).items():
        expected = expected_rows(world.events, customers, world.blocks, cutoff)
        assert found.keys() == expected.keys()
        assert {one: wrong for one in expected if (wrong := differences(found[one], expected[one]))} == {}
        assert all(row["cutoff"] == naive(cutoff) for row in found.values())


@pytest.mark.parametrize(("rows", "cutoff", "income", "tenure"), ATTRIBUTES)
def test_attributes_are_as_worked_out_by_hand(
    rows: Sequence[CustomerRow], cutoff: datetime, income: float | None, tenure: float | None
) -> None:
    seen = Event(
        customer_id="ana",
        time=cutoff - timedelta(minutes=1),
        recorded=None,
        type="login",
        values={},
        categories={},
        id=None,
    )
    filled = [CustomerRow(**{**row, "attributes": {**row["attributes"], "plan": None}}) for row in rows]
    found = rows_of([seen], filled, [Block("login", ("count",))], [cutoff])[cutoff]["ana"]
    assert differences(found, {"income": income, "tenure_days": tenure, "login_count": 1}) == {}


@FEWER
@given(data=st.data(), top=st.integers(1, 4))
def test_frequent_values_are_those_of_the_oracle(data: st.DataObject, top: int) -> None:
    cutoffs = data.draw(logs.cutoff_lists())
    events = data.draw(logs.event_lists(logs.window_edges(cutoffs, [DAY]), cutoffs))
    before = [event for event in events if event["type"] == "order" and oracle.known(event, cutoffs[-1])]
    with opened(logs.TYPES, events) as tables:
        found = frequent_values(tables, [("order", logs.CATEGORY, top)], cutoffs[-1])
    assert list(found["order", logs.CATEGORY, top]) == oracle.top_values(before, logs.CATEGORY, top)
