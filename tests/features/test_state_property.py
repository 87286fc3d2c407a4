"""Whatever the order, the batches and the restarts: states finish what the oracle and DuckDB find in history."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import StateError
from tenure.features.finish import finish
from tenure.features.series import Layout
from tenure.features.state import States, empty, fold, merge, prune, settle
from tenure.features.wire import decode, encode
from tests.features.stream import columns, micros, row, visible
from tests.features.test_compile_property import columns_of, compiled, expected_row
from tests.features.translate import FEWER, FEWEST, SHRINKING, declared, differences
from tests.oracle import logs
from tests.oracle.feature_worlds import WORLDS, World
from tests.oracle.features import DAY, HOUR, LIFETIME_OPS, MICROSECOND, WINDOWED_OPS, Event

pytestmark = SHRINKING

LAGS = (0 * DAY, MICROSECOND, HOUR, 2 * DAY, 40 * DAY)


def streamed(
    world: logs.Log, customers: Sequence[str], cutoff: datetime, order: random.Random, *, lag: int, batches: int
) -> States:
    """Fold a log as a consumer does: in any order, batch by batch, each state written and read in between."""
    layout, now = Layout.of(declared(world.blocks)), micros(cutoff) - lag
    events = list(world.events)
    order.shuffle(events)
    states = empty(layout, len(customers))
    for batch in (events[start::batches] for start in range(batches)):
        stored = settle(decode(layout, encode(states)), now)
        states = prune(merge(stored, fold(layout, columns(batch, customers), len(customers), now)))
    return states


def wrong_at(world: logs.Log, cutoff: datetime, order: random.Random, lag: int, batches: int) -> list[object]:
    customers = sorted({event["customer_id"] for event in world.events} | {"nobody"})
    features = declared(world.blocks)
    states = streamed(world, customers, cutoff, order, lag=lag, batches=batches)
    found = finish(states, np.full(len(customers), micros(cutoff)))
    rows = {customer: row(found, features, place) for place, customer in enumerate(customers)}
    return [
        (cutoff.isoformat(), customer, name, *pair)
        for customer in customers
        for name, pair in differences(
            rows[customer], expected_row(world.events, world.blocks, customer, cutoff)
        ).items()
    ]


@given(logs.feature_logs(), st.randoms(use_true_random=False), st.sampled_from(LAGS), st.integers(1, 4))
def test_states_finish_what_the_oracle_finds(
    world: logs.Log, order: random.Random, lag: timedelta, batches: int
) -> None:
    """At any cutoff, with events that happen or are recorded only after it kept waiting."""
    behind = lag // MICROSECOND
    assert [w for cutoff in world.cutoffs for w in wrong_at(world, cutoff, order, behind, batches)] == []


@FEWEST
@pytest.mark.parametrize("op", WINDOWED_OPS + LIFETIME_OPS)
@given(data=st.data(), order=st.randoms(use_true_random=False))
def test_every_operation_alone(op: str, data: st.DataObject, order: random.Random) -> None:
    world = data.draw(logs.feature_logs())
    block = data.draw(logs.one_op_blocks(op, logs.WINDOWS))
    assert wrong_at(replace(world, blocks=(block,)), world.cutoffs[0], order, 0, 2) == []


@FEWEST
@given(logs.feature_logs(), st.randoms(use_true_random=False))
def test_states_finish_what_duckdb_finds_in_history(world: logs.Log, order: random.Random) -> None:
    features, cutoff = declared(world.blocks), world.cutoffs[-1]
    customers = sorted({event["customer_id"] for event in world.events} | {"nobody"})
    history = compiled(world.events, features, customers, cutoff)
    found = finish(streamed(world, customers, cutoff, order, lag=0, batches=3), np.full(len(customers), micros(cutoff)))
    for place, customer in enumerate(customers):
        expected = {name: history[customer][name] for name in features.names}
        assert differences(row(found, features, place), expected) == {}  # type: ignore[arg-type]


@FEWER
@given(logs.feature_logs(), st.data())
def test_a_later_reading_needs_nothing_that_was_dropped(world: logs.Log, data: st.DataObject) -> None:
    """Reading at a later instant after pruning at an earlier one, with everything due folded in between."""
    first, last = world.cutoffs[0], world.cutoffs[-1] + data.draw(st.sampled_from((0 * DAY, HOUR, 30 * DAY)))
    customers = sorted({event["customer_id"] for event in world.events} | {"nobody"})
    states = streamed(world, customers, first, random.Random(1), lag=0, batches=2)
    states = prune(states, np.full(len(customers), micros(first)))
    found = finish(states, np.full(len(customers), micros(last)))
    features = declared(world.blocks)
    for place, customer in enumerate(customers):
        expected = expected_row(world.events, world.blocks, customer, last)
        assert differences(row(found, features, place), expected) == {}


@FEWER
@given(logs.feature_logs(), st.data())
def test_a_state_is_not_asked_about_a_time_before_what_it_counts(world: logs.Log, data: st.DataObject) -> None:
    layout, customers = Layout.of(declared(world.blocks)), sorted({event["customer_id"] for event in world.events})
    counted: list[Event] = [event for event in world.events if event["type"] in layout.events]
    if not counted:
        return
    event = data.draw(st.sampled_from(counted))
    now = max(visible(one) for one in counted)
    states = fold(layout, columns(counted, customers), len(customers), now)
    place = customers.index(event["customer_id"])
    mine = decode(layout, [encode(states)[place]])
    with pytest.raises(StateError, match="cannot be finished"):
        finish(mine, mine.floor - 1)
    assert finish(mine, mine.floor).keys() == {feature.name for feature in layout.features}


@FEWER
@given(logs.feature_logs(), st.integers(0, 3))
def test_what_is_written_is_read_again(world: logs.Log, lag_days: int) -> None:
    layout, now = Layout.of(declared(world.blocks)), micros(world.cutoffs[0]) - lag_days * (DAY // MICROSECOND)
    customers = sorted({event["customer_id"] for event in world.events} | {"nobody"})
    states = fold(layout, columns(world.events, customers), len(customers), now)
    written = encode(states)
    again = decode(layout, written)
    assert encode(again) == written
    assert again.pending == states.pending
    assert again.floor.tolist() == states.floor.tolist()
    one_by_one = [encode(decode(layout, [state]))[0] for state in written]
    assert one_by_one == written


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_world_is_computed_as_worked_out_by_hand(world: World) -> None:
    layout = Layout.of(declared(world.blocks))
    now = micros(world.cutoff)
    states = fold(layout, columns(world.events, ["ana"]), 1, now)
    found = row(finish(states, np.array([now])), declared(world.blocks), 0)
    assert {feature.name for feature in layout.features} <= set(world.expected)
    assert columns_of(world.blocks)
    assert differences(found, world.expected) == {}


def test_states_of_other_features_and_damaged_ones_are_refused() -> None:
    one, other = (Layout.of(declared(world.blocks)) for world in WORLDS[:2])
    assert one.hash != other.hash
    written = encode(empty(one, 1))[0]
    for damaged in (b"", written[:-1], written + b"x", b"\xff" * len(written), bytes(len(written))):
        with pytest.raises(StateError):
            decode(one, [written, damaged])
    for foreign in (encode(empty(other, 1))[0], bytes(200)):
        with pytest.raises(StateError, match="other features"):
            decode(one, [foreign])
