"""Honest histories raise nothing; whatever looks past the cutoff is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import ibis.expr.types as ir
import pytest

from tenure.features import compile as compiling
from tenure.features.canary import audit_future, audit_history
from tenure.features.declare import Attribute, Feature
from tenure.features.known import instant
from tenure.features.snapshot import Tables
from tests.features.worlds import World, audited, journey, retail, service, socialnet

HONEST: dict[str, Callable[[Path], World]] = {
    "grocer": lambda _: journey(),
    "wholesaler": lambda _: retail(),
    "social network": lambda _: socialnet(),
    "few customers": lambda folder: service(folder, customers=100, months=7, seed=11),
    "hardly any leave": lambda folder: service(folder, customers=300, months=6, seed=12, churn_rate=0.02),
    "many leave, late events": lambda folder: service(
        folder, customers=300, months=6, seed=13, churn_rate=0.4, late=0.3, return_rate=0.2
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(HONEST))
def test_honest_histories_raise_nothing(name: str, tmp_path: Path) -> None:
    assert audited(HONEST[name](tmp_path / "service"), tmp_path) == ()


@dataclass(frozen=True)
class Opened:
    world: World
    tables: Tables

    def future(self) -> dict[str, str]:
        found = audit_future(self.tables, self.world.features, self.world.churn, self.world.cutoffs[1])
        assert {(finding.check, finding.severity) for finding in found} <= {("future", "leak")}
        return {finding.feature: finding.evidence for finding in found}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A service half of whose events are recorded late, whose customers' plans change over time."""
    folder = tmp_path_factory.mktemp("service")
    world = service(folder / "made", customers=200, months=7, seed=5, late=0.3)
    changing = f"""SELECT customer_id, plan, country, CAST(hash(customer_id || n) % 90 AS DOUBLE) AS points,
        since + to_days(60 * n) AS known_at FROM ({world.customers}), range(5) AS changes(n)"""
    attributes = (*world.features.attributes, Attribute("points", "number"))
    kept = tuple(feature for feature in world.features.events if feature.event in {"login", "session", "ticket"})
    world = replace(
        world, customers=changing, features=replace(world.features, events=kept, attributes=attributes, tenure=False)
    )
    with ExitStack() as stack:
        yield Opened(world, stack.enter_context(world.opened(folder)))


def test_nothing_moves_with_what_was_not_known(opened: Opened) -> None:
    assert opened.future() == {}


def test_a_compiler_that_sees_everything_is_found(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "known", lambda events, _: events)
    found = opened.future()
    assert {"login_count_30d", "login_days_since_last", "session_minutes_sum_7d", "customers at risk"} <= set(found)
    assert "points" not in found
    assert "2024-04-30" in found["login_count_30d"]


def test_a_compiler_that_forgets_when_events_were_recorded_is_found(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def happened(events: ir.Table, cutoff: object) -> ir.Table:
        return events.filter(events.time < instant(cutoff))  # type: ignore[arg-type]

    monkeypatch.setattr(compiling, "known", happened)
    assert "login_count_7d" in opened.future()


def test_one_feature_that_counts_the_future_is_found_alone(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = compiling.event_features

    def peeking(events: ir.Table, features: tuple[Feature, ...], cutoff: object) -> ir.Table:
        table = honest(events, features, cutoff)  # type: ignore[arg-type]
        if "login_count_7d" not in table.columns:
            return table
        every = events.group_by("customer_id").aggregate(_all=events.count())
        joined = table.left_join(every, "customer_id").drop("customer_id_right")
        return joined.mutate(login_count_7d=joined["_all"]).drop("_all")

    monkeypatch.setattr("tenure.features.snapshot.event_features", peeking)
    assert set(opened.future()) == {"login_count_7d"}


def test_an_attribute_from_after_the_cutoff_is_found(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def latest(rows: ir.Table, customers: ir.Table, *_: object) -> ir.Table:
        newest = customers.group_by("customer_id").aggregate(
            **{name: customers[name].argmax(customers.known_at) for name in ("plan", "country", "points")}
        )
        return rows.left_join(newest, "customer_id").drop("customer_id_right")

    monkeypatch.setattr("tenure.features.snapshot._with_attributes", latest)
    assert "points" in opened.future()


def test_the_same_seed_finds_the_same(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "known", lambda events, _: events)
    assert opened.future() == opened.future()


def test_the_whole_history_is_asked_at_the_middle_cutoff(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "known", lambda events, _: events)
    world = opened.world
    found = audit_history(opened.tables, world.features, world.churn, reversed(world.cutoffs))
    assert {finding.check for finding in found} == {"future"}
    middle = world.cutoffs[(len(world.cutoffs) - 1) // 2]
    assert all(str(middle.date()) in finding.evidence for finding in found)
    assert audit_history(opened.tables, world.features, world.churn, ()) == ()
