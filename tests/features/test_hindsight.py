"""Attributes of a customers table that is a picture of today: those that know the future are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenure.features.audit import Finding
from tenure.features.declare import Attribute, FeatureSet
from tenure.features.hindsight import audit_attributes
from tests.features.worlds import World, journey, retail, service

TOTALS = {
    "orders_total": "n",
    "orders_elsewhere": "round(n * (0.95 + 0.1 * chance))",
    "lifetime_revenue": "revenue",
    "revenue_in_dollars": "revenue * 1.19 + chance",
    "last_seen_epoch": "epoch(seen)",
    "last_seen_day": "floor(epoch(seen) / 86400)",
    "last_seen_compact": "CAST(strftime(seen, '%Y%m%d') AS DOUBLE)",
    "days_silent": "date_diff('day', seen, log_end)",
    "closed_epoch": "CASE WHEN gone THEN epoch(seen) + 5e5 END",
    "exit_survey_score": "CASE WHEN gone AND chance < 0.5 THEN floor(20 * chance) END",
}
TEXTS = {
    "last_seen": "CAST(seen AS VARCHAR)",
    "last_seen_date": "strftime(seen, '%Y-%m-%d')",
    "last_seen_written": "strftime(seen, '%d.%m.%Y')",
    "closed_at": "CASE WHEN gone THEN CAST(seen + INTERVAL 5 DAY AS VARCHAR) END",
    "status": "CASE WHEN gone THEN 'inactive' ELSE 'active' END",
    "status_with_errors": "CASE WHEN gone != (chance < 0.02) THEN 'inactive' ELSE 'active' END",
    "churn_reason": "CASE WHEN gone AND chance < 0.6 THEN 'price' END",
}
HONEST = {
    "household_size": ("number", "1 + floor(5 * chance)"),
    "income": ("number", "floor(1e5 * chance)"),
    "size": ("number", "early * (0.9 + 0.2 * chance)"),
    "joined": ("text", "CAST(began - INTERVAL 30 DAY AS VARCHAR)"),
    "region": ("text", "CASE WHEN chance < 0.3 THEN 'north' WHEN chance < 0.9 THEN 'south' END"),
    "contract_end": ("text", "CAST(log_end + to_days(CAST(400 * chance - 100 AS INTEGER)) AS VARCHAR)"),
}


def with_attributes(world: World, bought: str, value: str, silent: str) -> World:
    """Add every attribute above, worked out at the end of the log, to a world's customers."""
    active = world.churn.active.events or world.churn.inactivity
    events = " UNION ALL ".join(f"SELECT customer_id, time FROM ({world.events[name]})" for name in active)
    columns = {name: ("number", sql) for name, sql in TOTALS.items()}
    columns |= {name: ("text", sql) for name, sql in TEXTS.items()} | HONEST
    kinds = {"number": "DOUBLE", "text": "VARCHAR"}
    listed = ", ".join(f"CAST({sql} AS {kinds[kind]}) AS {name}" for name, (kind, sql) in columns.items())
    query = f"""
        WITH facts AS (SELECT customer_id, min(time) began, max(time) seen FROM ({events}) GROUP BY 1),
        bought AS (SELECT customer_id, count(*) n, sum({value}) revenue, count_if(time < (
            SELECT min(time) + (max(time) - min(time)) / 4 FROM ({events}))) early
            FROM ({world.events[bought]}) GROUP BY 1),
        today AS (SELECT *, (SELECT max(seen) FROM facts) log_end, hash(customer_id) % 9973 / 9973.0 chance FROM facts)
        SELECT customer_id, {listed} FROM (SELECT *, seen < log_end - INTERVAL {silent} gone FROM today)
        LEFT JOIN bought USING (customer_id)"""
    attributes = tuple(Attribute(name, "number" if kind == "number" else "text") for name, (kind, _) in columns.items())
    return replace(world, customers=query, features=FeatureSet(attributes=attributes))


def found_in(world: World, folder: Path) -> dict[str, Finding]:
    middle = world.cutoffs[len(world.cutoffs) // 2 - 1]
    with world.opened(folder) as tables:
        found = audit_attributes(tables, world.features, world.churn, middle)
        assert found == audit_attributes(tables, world.features, world.churn, middle)
    assert len({finding.feature for finding in found}) == len(found)
    return {finding.feature: finding for finding in found}


@pytest.mark.parametrize("source", ["service", "grocer", "wholesaler"])
def test_attributes_that_know_the_future_are_found_and_no_others(source: str, tmp_path: Path) -> None:
    if source == "service":
        made = service(tmp_path / "made", customers=600, months=8, seed=3)
        world = with_attributes(made, "payment", "amount", "60 DAY")
    elif source == "grocer":
        world = with_attributes(journey(), "purchase", "sales_value", "56 DAY")
    else:
        world = with_attributes(retail(), "invoice", "amount", "60 DAY")
    found = found_in(world, tmp_path)
    assert {name for name, finding in found.items() if finding.severity == "leak"} == {*TOTALS, *TEXTS}
    assert {name for name, finding in found.items() if finding.severity == "note"} == {"contract_end"}
    assert {finding.check for finding in found.values()} == {"hindsight"}
    assert "number of" in found["orders_total"].evidence
    assert "known_at" in found["orders_total"].advice


def test_attributes_with_a_history_are_left_to_the_canary(tmp_path: Path) -> None:
    world = with_attributes(service(tmp_path / "made", customers=100, months=6, seed=4), "payment", "amount", "60 DAY")
    dated = replace(world, customers=f"SELECT *, TIMESTAMP '2024-01-01' AS known_at FROM ({world.customers})")
    assert found_in(dated, tmp_path) == {}


def test_without_attributes_or_customers_nothing_is_asked(tmp_path: Path) -> None:
    world = service(tmp_path / "made", customers=100, months=6, seed=4)
    assert found_in(replace(world, customers=None, features=FeatureSet()), tmp_path) == {}
