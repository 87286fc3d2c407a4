"""Who is at risk and who was lost equals the oracle's answer, for all three meanings of churn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.settings import ChurnSettings
from tenure.features.declare import Feature, FeatureSet
from tenure.features.label import judged_span, matures_at
from tenure.features.snapshot import Tables, snapshot
from tests.features.translate import FEWER, SHRINKING, churn_settings, opened
from tests.oracle import churn as oracle
from tests.oracle import logs
from tests.oracle.churn import Active, Churn, Period
from tests.oracle.churn_worlds import CHURN_WORLDS, MATURED, ChurnWorld
from tests.oracle.features import MICROSECOND, Event

pytestmark = SHRINKING

KINDS = ("event", "inactivity", "expiry")


def types_of(events: Sequence[Event], churn: Churn, active: Active) -> set[str]:
    """List every type that a log holds or a definition names, and the one that the only feature counts."""
    return {event["type"] for event in events} | {*churn.types, *active.events, "login"}


def judged(
    events: Sequence[Event],
    periods: Sequence[Period],
    churn: Churn,
    active: Active,
    cutoffs: Iterable[datetime],
) -> dict[datetime, dict[str, bool]]:
    """Return for each cutoff the label of every customer at risk, by customer."""
    settings, held = churn_settings(churn, active), periods if churn.kind == "expiry" else None
    with opened(types_of(events, churn, active), events, held) as tables:
        return {cutoff: labels_at(tables, settings, cutoff) for cutoff in cutoffs}


def labels_at(tables: Tables, settings: ChurnSettings, cutoff: datetime) -> dict[str, bool]:
    """Return the label of every customer at risk at a cutoff, by customer."""
    rows = snapshot(tables, FeatureSet((Feature("login", "count"),)), settings, cutoff, labels=True)
    found = tables.backend.to_pyarrow(rows).to_pylist()
    ids = [row["customer_id"] for row in found]
    # One row each, and in the order of their bytes.
    assert ids == sorted(set(ids))
    return {row["customer_id"]: row["label"] for row in found}


def expected_labels(world: logs.ChurnLog, cutoff: datetime) -> dict[str, bool]:
    own = {
        customer: (
            [event for event in world.events if event["customer_id"] == customer],
            [period for period in world.periods if period["customer_id"] == customer],
        )
        for customer in logs.CUSTOMERS
    }
    return {
        customer: oracle.label(*history, world.churn, cutoff)
        for customer, history in own.items()
        if oracle.eligible(*history, world.churn, world.active, cutoff)
    }


@pytest.mark.parametrize("world", CHURN_WORLDS, ids=lambda world: world.name)
def test_world_is_judged_as_worked_out_by_hand(world: ChurnWorld) -> None:
    found = judged(world.events, world.periods, world.churn, world.active, [world.cutoff])
    assert found[world.cutoff] == {customer: lost for customer, (at_risk, lost) in world.expected.items() if at_risk}


@pytest.mark.parametrize("kind", KINDS)
@FEWER
@given(data=st.data())
def test_random_logs_give_the_customers_and_labels_of_the_oracle(kind: str, data: st.DataObject) -> None:
    world = data.draw(logs.churn_logs(kind))
    found = judged(world.events, world.periods, world.churn, world.active, world.cutoffs)
    assert found == {cutoff: expected_labels(world, cutoff) for cutoff in world.cutoffs}


@pytest.mark.parametrize(("churn", "cutoff", "mark", "settled"), MATURED)
def test_label_matures_when_worked_out_by_hand(
    churn: Churn, cutoff: datetime, mark: datetime | None, settled: bool
) -> None:
    matures = matures_at(churn_settings(churn, Active((), cutoff - cutoff.replace(year=2023))), cutoff)
    assert (mark is not None and matures <= mark) is settled


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_judged_span_and_maturity_are_those_of_the_oracle(kind: str, data: st.DataObject) -> None:
    churn, active = data.draw(logs.churns(kind)), data.draw(logs.actives())
    settings = churn_settings(churn, active)
    for cutoff in data.draw(logs.cutoff_lists()):
        assert judged_span(settings, cutoff) == oracle.judged_span(churn, cutoff)
        mark = matures_at(settings, cutoff)
        assert oracle.matured(churn, cutoff, mark)
        assert not oracle.matured(churn, cutoff, mark - MICROSECOND)
