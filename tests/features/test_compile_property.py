"""Compiled features equal the oracle's, on worlds worked out by hand and on random logs that sit on the edges."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.time import hop, window_start
from tenure.features.compile import event_features, without_events
from tenure.features.declare import Feature as Declared
from tenure.features.declare import FeatureSet
from tests.features.translate import FEWER, FEWEST, SHRINKING, declared, differences, tables_of
from tests.oracle import features as oracle
from tests.oracle import logs
from tests.oracle.feature_worlds import NAMES, WORLDS, World
from tests.oracle.features import DAY, LIFETIME_OPS, WINDOWED_OPS, Block, Event, Feature

pytestmark = SHRINKING


def columns_of(blocks: Iterable[Block]) -> list[Feature]:
    return [feature for block in blocks for feature in oracle.block_features(block)]


def compiled(
    events: Sequence[Event], features: FeatureSet, customers: Iterable[str], cutoff: datetime
) -> dict[str, dict[str, object]]:
    """Every customer's row, from the tables of all declared types joined to the customers."""
    rows: ir.Table = ibis.memtable(pa.table({"customer_id": pa.array(sorted(customers), pa.string())}))
    types = sorted({feature.event for feature in features.events})
    for event_type, table in tables_of(events, types).items():
        of_type = [feature for feature in features.events if feature.event == event_type]
        columns = event_features(table, of_type, cutoff).drop("_first", "_last", "_events")
        rows = without_events(rows.left_join(columns, "customer_id").drop("customer_id_right"), of_type)
    return {row.pop("customer_id"): row for row in rows.to_pyarrow().to_pylist()}


def expected_row(
    events: Sequence[Event], blocks: Iterable[Block], customer: str, cutoff: datetime
) -> dict[str, oracle.Number | None]:
    own = [event for event in events if event["customer_id"] == customer]
    return oracle.feature_row(own, columns_of(blocks), cutoff)


def disagreements(world: logs.Log) -> list[object]:
    """List every (cutoff, customer, column, found, expected) on which package and oracle differ."""
    features, customers = declared(world.blocks), {event["customer_id"] for event in world.events} | {"nobody"}
    found: list[object] = []
    for cutoff in world.cutoffs:
        rows = compiled(world.events, features, customers, cutoff)
        for customer in customers:
            wrong = differences(rows[customer], expected_row(world.events, world.blocks, customer, cutoff))
            found += [(cutoff.isoformat(), customer, column, *pair) for column, pair in wrong.items()]
    return found


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_world_is_computed_as_worked_out_by_hand(world: World) -> None:
    features = declared(world.blocks)
    rows = compiled(world.events, features, ["ana"], world.cutoff)
    assert sorted(rows["ana"]) == sorted(world.expected)
    assert differences(rows["ana"], world.expected) == {}


@pytest.mark.parametrize(("feature", "name"), NAMES, ids=[name for _, name in NAMES])
def test_name_is_the_declared_one(feature: Feature, name: str) -> None:
    # A block keeps its value from the operations that do not use it; so does a feature.
    value = feature.value if feature.op in oracle.VALUE_OPS else None
    own = Declared(
        feature.event, feature.op, value, feature.window, feature.over, feature.category, feature.category_value
    )
    assert own.name == name


@FEWER
@given(logs.feature_logs())
def test_blocks_declare_the_columns_of_the_oracle(world: logs.Log) -> None:
    assert sorted(declared(world.blocks).names) == sorted(map(oracle.feature_name, columns_of(world.blocks)))


@given(
    st.sampled_from(logs.WINDOWS) | st.integers(1, 8_000_000).map(lambda n: timedelta(seconds=n)), logs.cutoff_lists()
)
def test_window_starts_where_the_oracle_says(window: timedelta, cutoffs: Sequence[datetime]) -> None:
    assert hop(window) == oracle.hop(window)
    assert [window_start(cutoff, window) for cutoff in cutoffs] == [
        oracle.window_start(window, cutoff) for cutoff in cutoffs
    ]


@FEWER
@given(logs.feature_logs())
def test_random_logs_give_the_values_of_the_oracle(world: logs.Log) -> None:
    assert disagreements(world) == []


@pytest.mark.parametrize("op", WINDOWED_OPS + LIFETIME_OPS)
@FEWEST
@given(data=st.data())
def test_operation_gives_the_value_of_the_oracle(op: str, data: st.DataObject) -> None:
    cutoffs = data.draw(logs.cutoff_lists())
    windows = data.draw(st.lists(st.sampled_from(logs.WINDOWS), min_size=1, max_size=2, unique=True))
    block = data.draw(logs.one_op_blocks(op, windows))
    events = data.draw(logs.event_lists(logs.window_edges(cutoffs, windows), cutoffs))
    assert disagreements(logs.Log(events, (block,), cutoffs)) == []


def amounts_of_ana(amounts: Iterable[float], cutoff: datetime) -> tuple[Event, ...]:
    return tuple(
        Event(
            customer_id="ana",
            time=cutoff - DAY,
            recorded=None,
            type="pay",
            values={"amount": amount},
            categories={},
            id=None,
        )
        for amount in amounts
    )


@FEWER
@given(
    st.lists(st.integers(-500, 500), min_size=2, max_size=40),
    st.sampled_from((10.0, 1e4, 1e6)),
    st.sampled_from(logs.CUTOFF_DAYS),
)
def test_spread_of_cents_around_a_large_amount_is_exact(cents: list[int], middle: float, cutoff: datetime) -> None:
    """A sum of squares minus a squared sum has no digit left here: the spread is a millionth of the amounts or less."""
    amounts = [middle + cent / 100 for cent in cents]
    blocks = (Block("pay", ("std", "mean", "sum"), "amount", (7 * DAY,)),)
    row = compiled(amounts_of_ana(amounts, cutoff), declared(blocks), ["ana"], cutoff)["ana"]
    assert isinstance(row["pay_amount_std_7d"], float)
    assert math.isclose(row["pay_amount_std_7d"], statistics.stdev(amounts), rel_tol=1e-9, abs_tol=1e-15 * middle)
    assert differences(row, expected_row(amounts_of_ana(amounts, cutoff), blocks, "ana", cutoff)).keys() <= {
        "pay_amount_std_7d"
    }
