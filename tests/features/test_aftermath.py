"""Event types that are a part of leaving are found; those that only warn of it are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenure.core.settings import ActiveSettings
from tenure.features.aftermath import audit_consequences
from tenure.features.audit import Finding
from tenure.features.declare import Feature
from tests.features.worlds import World, journey, retail, service

# When an event that goes with a loss happens, and which customers' losses it goes with.
PLANTED = {
    "cancel_page": "SELECT customer_id, loss - INTERVAL 7 MINUTE AS time FROM losses",
    "cancel_form": "SELECT customer_id, loss - to_days(CAST(1 + 5 * chance AS INTEGER)) AS time FROM losses",
    "account_closed": "SELECT customer_id, loss + to_days(CAST(1 + 20 * chance AS INTEGER)) AS time FROM losses",
    "rare_survey": "SELECT customer_id, loss + INTERVAL 1 DAY AS time FROM losses WHERE chance < 0.3",
    "cancel_page_by_mistake": """SELECT customer_id, loss - INTERVAL 1 DAY AS time FROM losses
        UNION ALL SELECT customer_id, time FROM others WHERE chance < 0.1""",
}
HONEST = {
    "complaint": """SELECT customer_id, loss - INTERVAL 4 DAY AS time FROM losses WHERE chance < 0.5
        UNION ALL SELECT customer_id, time FROM others WHERE chance > 0.5""",
    "newsletter": "SELECT customer_id, time FROM others UNION ALL SELECT customer_id, loss FROM losses",
}


def with_events(world: World, losses: str, names: tuple[str, ...]) -> World:
    """Add event types to a world, with a feature of each; `losses` gives customers and instants.

    `others` are as many instants as there are losses, of customers who stay for long after.
    """
    active = world.churn.active.events or world.churn.inactivity
    activity = " UNION ALL ".join(f"SELECT customer_id, time FROM ({world.events[name]})" for name in active)
    frame = f"""WITH losses AS (SELECT *, hash(customer_id) % 997 / 997.0 chance FROM ({losses})),
        others AS (SELECT customer_id, time, hash(customer_id, 1) % 997 / 997.0 chance FROM (
            SELECT customer_id, any_value(time ORDER BY hash(customer_id, time)) AS time FROM ({activity}) a
            WHERE NOT EXISTS (FROM losses l WHERE l.customer_id = a.customer_id) GROUP BY 1))"""
    planted = {name: f"{frame} {(PLANTED | HONEST)[name]}" for name in names}
    features = tuple(Feature(name, "count") for name in (*world.events, *names) if name != world.churn.event)
    return replace(
        world, events={**world.events, **planted}, features=replace(world.features, events=features, attributes=())
    )


def found_in(world: World, folder: Path) -> dict[str, Finding]:
    with world.opened(folder) as tables:
        found = audit_consequences(tables, world.features, world.churn)
        assert found == audit_consequences(tables, world.features, world.churn)
    assert {(finding.check, finding.severity) for finding in found} <= {("consequence", "leak")}
    return {finding.feature: finding for finding in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return service(tmp_path_factory.mktemp("service") / "made", customers=600, months=8, seed=3)


def cancellations(world: World) -> str:
    return f"SELECT customer_id, time AS loss FROM ({world.events['cancel']})"


@pytest.mark.parametrize("names", [tuple(PLANTED), *((name,) for name in PLANTED)])
def test_parts_of_cancelling_are_found(names: tuple[str, ...], made: World, tmp_path: Path) -> None:
    found = found_in(with_events(made, cancellations(made), names), tmp_path)
    assert set(found) == set(names)
    assert f'"{names[0]}"' in found[names[0]].advice


def test_what_only_warns_is_let_pass(made: World, tmp_path: Path) -> None:
    assert found_in(with_events(made, cancellations(made), tuple(HONEST)), tmp_path) == {}


@pytest.mark.parametrize("source", ["grocer", "wholesaler"])
def test_parts_of_falling_silent_are_found(source: str, tmp_path: Path) -> None:
    world, name, days = (journey(), "purchase", 28) if source == "grocer" else (retail(), "invoice", 60)
    bought = f"SELECT DISTINCT customer_id, time FROM ({world.events[name]})"
    losses = f"""SELECT customer_id, min(time) AS loss FROM (
        SELECT *, lead(time) OVER (PARTITION BY customer_id ORDER BY time) next FROM ({bought}))
        WHERE coalesce(next, (SELECT max(time) FROM ({bought}))) > time + INTERVAL {days} DAY GROUP BY 1"""
    names = ("cancel_page", "cancel_form", "rare_survey")
    assert set(found_in(with_events(world, losses, (*names, "newsletter")), tmp_path)) == set(names)


def test_a_type_that_only_makes_customers_active_is_asked_too(made: World, tmp_path: Path) -> None:
    world = with_events(made, cancellations(made), ("account_closed",))
    logins = tuple(feature for feature in world.features.events if feature.event == "login")
    unused = replace(world, features=replace(world.features, events=logins))
    assert found_in(unused, tmp_path) == {}
    everything = made.churn.model_copy(update={"active": ActiveSettings(within="60d")})
    assert set(found_in(replace(unused, churn=everything), tmp_path)) == {"account_closed"}


def test_few_customers_prove_nothing(made: World, tmp_path: Path) -> None:
    few = f"{cancellations(made)} ORDER BY time LIMIT 15"
    assert found_in(with_events(made, few, ("cancel_page",)), tmp_path) == {}


def test_without_other_types_there_is_nothing_to_compare_with(made: World, tmp_path: Path) -> None:
    world = with_events(made, cancellations(made), ("cancel_page",))
    kept = {name: world.events[name] for name in ("cancel", "cancel_page")}
    only = tuple(feature for feature in world.features.events if feature.event == "cancel_page")
    churn = made.churn.model_copy(update={"active": ActiveSettings(within="60d")})
    alone = replace(world, events=kept, churn=churn, features=replace(world.features, events=only))
    assert found_in(alone, tmp_path) == {}
