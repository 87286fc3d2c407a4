"""Hybrid rows hold what the states and the last batch say, and nothing that neither does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import StateError
from tenure.core.time import DAY_MICROS, from_micros, parse_instant, span_micros, to_micros
from tenure.features.declare import Attribute, Feature, FeatureSet
from tenure.features.series import Layout
from tenure.store.hybrid import NOTHING, HybridRows, OnlineRows, pack_rows, read_hybrid
from tenure.store.protocol import Update
from tenure.store.stream import Stream
from tenure.store.vectors import read_vectors
from tenure.testing.stream import SMALL_FEATURES, small_stream

NOW = parse_instant("2026-01-31T12:00:00Z")
FEATURES = FeatureSet(
    SMALL_FEATURES.events, (Attribute("plan", "text"), Attribute("age", "number")), tenure=True
)  # the layout is that of SMALL_FEATURES
EVENTS = tuple(feature.name for feature in FEATURES.events)
PUBLISHED = ("ana", "bo", "dot")  # dot has had no event; cy and nobody are in no batch
EVERYBODY = ("ana", "bo", "cy", "dot", "nobody")
UNREADY = 1  # the partition of bo and cy

Row = dict[str, Any]
NUMBER = st.none() | st.floats(-1e9, 1e9)
BATCH_ROW = st.fixed_dictionaries(
    {
        "pay_count_7d": st.none() | st.integers(0, 99),
        "pay_amount_sum_28d": NUMBER,
        "pay_days_since_last": NUMBER,
        "tenure_days": NUMBER,
        "plan": st.none() | st.sampled_from(["basic", "naïve", ""]),
        "age": NUMBER,
    }
)
TYPES = {"pay_count_7d": pa.int64(), "plan": pa.string()}


@pytest.fixture(scope="module")
def stream() -> Iterator[Stream]:
    """Five payments of three customers; the states of one partition are gone."""
    with small_stream() as opened:
        assert {kept.customer_id: kept.partition for kept in opened.store.read(EVERYBODY)}["bo"] == UNREADY
        opened.store.reset(UNREADY, {})
        yield opened


def publish(stream: Stream, rows: Mapping[str, Row], as_of: datetime) -> None:
    columns = {name: pa.array([row[name] for row in rows.values()], TYPES.get(name, pa.float64())) for name in _names()}
    table = pa.table({"customer_id": list(rows), **columns})
    stream.store.publish(dict(pack_rows(table, as_of)))


def _names() -> list[str]:
    return [*EVENTS, "tenure_days", "plan", "age"]


@dataclass(frozen=True)
class Expected:
    """One customer's row, worked out the slow way."""

    as_of: datetime
    events: str
    values: Row


def expected(stream: Stream, customer: str, rows: Mapping[str, Row], batch_at: datetime) -> Expected:
    batch = rows.get(customer)
    if stream.store.read([customer])[0].partition != UNREADY:
        vectors = read_vectors(stream.store, stream.rules.layout, [customer], clock=lambda: NOW)
        values: Row = {name: vectors.columns[name][0] for name in EVENTS}
        as_of, events = NOW, "online"
    else:
        values = {name: None if batch is None else batch[name] for name in EVENTS}
        as_of, events = (NOW, "none") if batch is None else (batch_at, "batch")
    known: Row = batch or dict.fromkeys(("tenure_days", "plan", "age"))
    tenure = known["tenure_days"]
    if tenure is not None:
        tenure += span_micros(as_of - batch_at) / DAY_MICROS
    others = {"tenure_days": tenure, "plan": known["plan"], "age": known["age"]}
    return Expected(as_of, events, {name: _blank(value) for name, value in (values | others).items()})


def _blank(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def row_of(found: HybridRows, place: int) -> Row:
    return {
        name: column[place] if isinstance(column, list) else _blank(float(column[place]))
        for name, column in found.columns.items()
    }


@given(
    st.fixed_dictionaries(dict.fromkeys(PUBLISHED, BATCH_ROW)),
    st.timedeltas(timedelta(0), timedelta(days=40)),
    st.lists(st.sampled_from(EVERYBODY), min_size=1, max_size=7),
)
def test_rows_hold_what_the_states_and_the_batch_say(
    stream: Stream, rows: Mapping[str, Row], age: timedelta, asked: Sequence[str]
) -> None:
    publish(stream, rows, NOW - age)
    found = OnlineRows(stream.store, lambda: NOW).read(FEATURES, asked)
    plain = read_hybrid(stream.store, FEATURES, stream.rules.layout, asked, clock=lambda: NOW)
    assert (found.customer_id, tuple(found.columns)) == (tuple(asked), FEATURES.names)
    for place, (customer, row) in enumerate(zip(asked, plain, strict=True)):
        wanted = expected(stream, customer, rows, NOW - age)
        assert row_of(found, place) == row.values == wanted.values
        assert (from_micros(int(found.as_of[place])), found.events[place]) == (wanted.as_of, wanted.events)
        assert (row.as_of, row.events, row.customer_id) == (wanted.as_of, wanted.events, customer)
        assert found.unready[place] == (wanted.events != "online")
        assert found.known[place] == (customer in {*PUBLISHED, "ana"})
        published = customer in PUBLISHED
        assert found.attributes_as_of[place] == (to_micros(NOW - age) if published else NOTHING)
        assert row.attributes_age == (age if published else None)


def test_whole_numbers_are_read_as_such(stream: Stream) -> None:
    full = {"pay_count_7d": 3, "pay_amount_sum_28d": 7.0, "pay_days_since_last": 2.0}
    row = {**full, "tenure_days": 1.0, "plan": None, "age": 40.0}
    publish(stream, dict.fromkeys(PUBLISHED, row), NOW)
    for found in read_hybrid(stream.store, FEATURES, stream.rules.layout, ["ana", "bo"], clock=lambda: NOW):
        kinds = {name: type(value) for name, value in found.values.items()}
        assert kinds == {**dict.fromkeys(_names(), float), "pay_count_7d": int, "plan": type(None)}


def test_the_newest_event_and_the_last_record_are_told() -> None:
    with small_stream() as stream:
        found = OnlineRows(stream.store, stream.clock).read(SMALL_FEATURES, ["bo", "nobody", "cy"])
        marks = stream.store.marks()
        appended = [marks[kept.partition].note["appended"] for kept in stream.store.read(found.customer_id)]
    told = to_micros(NOW)  # so late an event counts from when it was appended
    assert found.newest.tolist() == [to_micros(parse_instant("2026-01-30T18:00:00Z")) + 1, NOTHING, told]
    assert found.folded.tolist() == appended
    assert found.known.tolist() == [True, False, True]
    assert not found.unready.any()


def test_ages_are_told_of_rows_that_have_events(stream: Stream) -> None:
    row = {**dict.fromkeys(_names()), "age": 40.0}
    publish(stream, dict.fromkeys(PUBLISHED, row), NOW - timedelta(hours=1))
    later = OnlineRows(stream.store, lambda: NOW + timedelta(minutes=2)).read(FEATURES, ["ana", "bo", "nobody"])
    earlier = OnlineRows(stream.store, lambda: NOW - timedelta(days=9)).read(FEATURES, ["bo"])
    nobody = stream.store.read(["nobody"])[0].partition
    ages = [120.0, 3720.0, *([120.0] if nobody != UNREADY else [])]
    assert (later.ages(), earlier.ages()) == (ages, [0.0])


@pytest.mark.parametrize(("name", "kind", "value"), [("age", "number", "forty"), ("plan", "text", 7.0)])
def test_batch_rows_of_other_features_are_no_features(name: str, kind: str, value: Any) -> None:
    with small_stream() as stream:
        table = pa.table({"customer_id": ["ana"], name: [value]})
        stream.store.publish(dict(pack_rows(table, NOW)))
        with pytest.raises(StateError, match=f"do not hold {kind}s? as '{name}'") as caught:
            OnlineRows(stream.store, stream.clock).read(FEATURES, ["ana"])
        assert caught.value.ids["column"] == name


def test_features_of_several_versions_are_read_side_by_side() -> None:
    """Only one of the sets has states here; for the others there is nothing, and the store says so."""
    sets = [FeatureSet((Feature("pay", "count", window=timedelta(days=days)),)) for days in range(1, 7)]
    with small_stream() as stream:
        online = OnlineRows(stream.store, stream.clock)
        for _ in range(2):
            for features in (*sets, SMALL_FEATURES):
                found = online.read(features, ["ana"])
                ready = Layout.of(features).hash == stream.rules.layout.hash
                assert (found.events, found.unready.tolist()) == (("online",) if ready else ("none",), [not ready])
                assert tuple(found.columns) == features.names


def test_nobody_is_asked_about() -> None:
    with small_stream() as stream:
        found = OnlineRows(stream.store, stream.clock).read(FEATURES, [])
    assert (found.customer_id, len(found.as_of), len(found.columns["age"])) == ((), 0, 0)


def test_a_batch_row_of_other_features_has_no_events(stream: Stream) -> None:
    """What it does not name was never worked out, which is something else than missing."""
    table = pa.table({"customer_id": ["bo"], "pay_count_7d": [5], "plan": ["basic"]})
    stream.store.publish(dict(pack_rows(table, NOW - timedelta(days=1))))
    found = OnlineRows(stream.store, lambda: NOW).read(FEATURES, ["bo"])
    assert (found.events, found.known.tolist()) == (("none",), [True])
    assert row_of(found, 0) == {**dict.fromkeys(_names()), "plan": "basic"}
    assert found.as_of.tolist() == [to_micros(NOW)]
    assert found.attributes_as_of.tolist() == [to_micros(NOW - timedelta(days=1))]


def test_a_damaged_state_costs_its_own_customer_alone() -> None:
    with small_stream() as stream:
        online, everybody = OnlineRows(stream.store, stream.clock), ["ana", "bo", "cy"]
        before = online.read(SMALL_FEATURES, everybody)
        kept = stream.store.read(["bo"])[0]
        mark = stream.store.claim(kept.partition)
        stream.store.apply(kept.partition, mark, Update(mark.position, mark.note, {"bo": (kept.state or b"")[:-1]}))
        after = online.read(SMALL_FEATURES, everybody)
        with pytest.raises(StateError, match="damaged"):
            read_hybrid(stream.store, SMALL_FEATURES, stream.rules.layout, everybody, clock=stream.clock)
    assert (after.events, after.unready.tolist()) == (("online", "none", "online"), [False, True, False])
    for place in (0, 2):
        assert row_of(after, place) == row_of(before, place)
    assert row_of(after, 1) == dict.fromkeys(EVENTS)
