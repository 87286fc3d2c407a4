"""What may go into the log is what a consumer would count, and every other document is refused with its reason."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.time import parse_instant, to_micros
from tenure.source.admit import Refusal, admit
from tenure.source.event_schema import EventSchema
from tenure.source.log import Batch
from tenure.source.record import parse
from tenure.source.record_files import Record, Unfit, as_record

NOW = to_micros(parse_instant("2026-02-01T12:00:00Z"))
SCHEMAS = {
    "pay": EventSchema("pay", values=("amount",), categories=("shop",), needs_id=True),
    "visit": EventSchema("visit"),
}
GOOD = {"type": "pay", "customer_id": "ana", "time": "2026-01-31", "id": "p1", "amount": 2.5, "shop": "x"}


@pytest.mark.parametrize(
    ("wrong", "reason", "field"),
    [
        ({"type": None}, "missing type", "type"),
        ({"type": "pya"}, "unknown type", "type"),
        ({"customer_id": None}, "missing customer", "customer_id"),
        ({"customer_id": True}, "unreadable customer", "customer_id"),
        ({"customer_id": "a" * 2_001}, "customer is too long", "customer_id"),
        ({"time": None}, "missing time", "time"),
        ({"time": "soon"}, "unreadable time", "time"),
        ({"time": "1970-12-31"}, "time out of range", "time"),
        ({"time": "2026-02-01T12:05:01Z"}, "time in the future", "time"),
        ({"recorded": "later"}, "unreadable recorded time", "recorded"),
        ({"recorded": "2027-01-01"}, "recorded time in the future", "recorded"),
        ({"id": None}, "missing id", "id"),
        ({"id": "x" * 2_001}, "id is too long", "id"),
        ({"amount": "much"}, "amount is not a number", "amount"),
        ({"amount": 10**400}, "amount is not finite", "amount"),
        ({"amount": [1]}, "unreadable amount", "amount"),
        ({"shop": 7}, "shop is not text", "shop"),
        ({"shop": "\ud800"}, "unreadable shop", "shop"),
        ({"\ud800": 1}, "malformed event", None),
    ],
)
def test_a_refusal_has_its_reason_and_names_the_field(wrong: dict[str, Any], reason: str, field: str | None) -> None:
    found = admit([as_record(GOOD), as_record(GOOD | wrong), as_record(GOOD)], SCHEMAS, UTC, NOW)
    (refused,) = found.refused
    assert (refused.index, refused.reason, refused.field) == (1, reason, field)
    assert list(found.records) == [0, 2]


def test_what_is_no_document_names_no_field() -> None:
    found = admit([as_record("ana"), as_record(Unfit("broken"))], SCHEMAS, UTC, NOW)
    assert [(one.reason, one.field) for one in found.refused] == [("malformed event", None)] * 2
    assert admit([], SCHEMAS, UTC, NOW).refused == ()


def test_a_field_may_have_any_name() -> None:
    assert Refusal(0, "is too long is not a number", "").field == "is too long"


documents = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["pay", "visit", "pya", None]),
        "customer_id": st.one_of(st.text(max_size=3), st.none(), st.integers(0, 9)),
        "time": st.sampled_from(["2026-01-31", "2026-01-31T12:00:00+01:00", "soon", "2027-01-01", None, 5]),
        "recorded": st.sampled_from(["2026-01-31", "2027-01-01", "", None]),
        "id": st.one_of(st.text(max_size=2), st.none()),
        "amount": st.one_of(st.floats(), st.none(), st.text(max_size=1)),
        "shop": st.one_of(st.text(max_size=2), st.none(), st.integers()),
    },
)


@given(st.lists(documents, max_size=6))
def test_what_is_admitted_is_what_a_consumer_counts(found: list[dict[str, Any]]) -> None:
    made = [as_record(document) for document in found]
    admitted = admit(made, SCHEMAS, UTC, NOW)
    assert sorted([*admitted.records, *(one.index for one in admitted.refused)]) == list(range(len(made)))
    for at, one in enumerate(made):
        assert (at in admitted.records) == (not isinstance(one, Unfit) and counts(one))


def counts(record: Record) -> bool:
    """Whether a consumer that meets the record alone counts it."""
    batch = Batch(0, np.arange(1), np.full(1, NOW), [record[1]], [record[0].encode()])
    events, faults = parse(batch, SCHEMAS, UTC, partitions=1)
    assert len(faults) + sum(len(rows.row) for rows in events.values()) == 1
    assert json.loads(record[1])["customer_id"] == record[0]
    return not faults
