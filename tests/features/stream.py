"""The oracle's events as the columns that states are folded from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from tenure.features.declare import FeatureSet
from tenure.features.state import NOTHING, Events
from tests.oracle.features import Event, Number

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


def visible(event: Event) -> int:
    """The first instant at which an event counts."""
    recorded = NOTHING if event["recorded"] is None else micros(event["recorded"])
    return max(micros(event["time"]) + 1, recorded)


def columns(events: Sequence[Event], customers: Sequence[str]) -> dict[str, Events]:
    """Events as columns, by type; a customer is its place in `customers`."""
    return {
        name: _columns([event for event in events if event["type"] == name], customers)
        for name in {event["type"] for event in events}
    }


def _columns(events: Sequence[Event], customers: Sequence[str]) -> Events:
    first = events[0]
    return Events(
        owner=np.array([customers.index(event["customer_id"]) for event in events], dtype=np.int64),
        time=np.array([micros(event["time"]) for event in events], dtype=np.int64),
        visible=np.array([visible(event) for event in events], dtype=np.int64),
        values={
            name: np.array([event["values"][name] for event in events], dtype=np.float64) for name in first["values"]
        },
        categories={
            name: np.array([event["categories"][name] for event in events], dtype=object)
            for name in first["categories"]
        },
    )


def row(found: Mapping[str, np.ndarray], features: FeatureSet, place: int) -> dict[str, Number | None]:
    """One customer's finished features in the oracle's terms: whole counts are integers, a missing number is None."""
    kinds = features.kinds
    return {name: _number(float(column[place]), kinds[name]) for name, column in found.items()}


def _number(value: float, kind: str) -> Number | None:
    if math.isnan(value):
        return None
    return int(value) if kind == "count" and value.is_integer() else value
