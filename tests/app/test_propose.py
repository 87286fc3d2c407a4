from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tenure.app.propose.proposal import Proposal, propose_events, propose_table
from tenure.core.config import Settings, settings_from
from tenure.core.errors import InputError
from tenure.core.settings import RuntimeSettings
from tenure.source.engine import open_engine
from tenure.source.simulate import SimulationSpec, simulate

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not beside the repository")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_engine(RuntimeSettings(threads=1), tmp_path / "workspace") as connection:
        yield connection


def settings_of(proposal: Proposal) -> Settings:
    return settings_from(tomllib.loads(proposal.text))


def write_csv(path: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    pa_csv.write_csv(pa.table(dict(columns)), path)
    return path


def weekly(customers: int, weeks: int) -> tuple[list[object], list[object]]:
    """Every customer comes every seven days."""
    start = datetime(2025, 1, 1, 9)  # noqa: DTZ001 - written as text without an offset
    ids: list[object] = [f"c{number}" for number in range(customers) for _ in range(weeks)]
    times: list[object] = [str(start + timedelta(weeks=week)) for _ in range(customers) for week in range(weeks)]
    return ids, times


def test_roles_are_recognised_from_names_and_content(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ids, times = weekly(20, 40)
    rows = len(ids)
    path = write_csv(
        tmp_path / "orders.csv",
        {
            "order_id": [f"o{number}" for number in range(rows)],
            "client": ids,
            "ordered_at": times,
            "loaded_at": times,
            "amount": [float(number % 17) for number in range(rows)],
            "shop": [f"s{number % 3}" for number in range(rows)],
            "zip_code": [10_000 + number % 9 for number in range(rows)],
        },
    )
    found = settings_of(propose_events(engine, [str(path)], None, tmp_path, "shop"))
    event = found.events["orders"]
    assert (event.customer, event.time, event.recorded, event.id) == ("client", "ordered_at", "loaded_at", "order_id")
    assert event.values == ("amount",)
    assert event.categories == ("shop", "zip_code")
    assert not event.lines
    assert event.path == str(path)


def test_rows_that_share_an_id_are_lines(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ids, times = weekly(10, 20)
    baskets = [f"{customer}-{time}" for customer, time in zip(ids, times, strict=True)]
    path = write_csv(
        tmp_path / "lines.csv",
        {"basket_id": baskets * 2, "household_id": ids * 2, "time": times * 2, "price": [1.5, 2.5] * len(ids)},
    )
    event = settings_of(propose_events(engine, [str(path)], None, tmp_path, "shop")).events["lines"]
    assert event.lines
    assert event.id == "basket_id"


def test_rows_without_a_customer_are_left_out_and_said(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ids, times = weekly(20, 30)
    ids = [None if number % 4 == 0 else customer for number, customer in enumerate(ids)]
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"customer_id": pa.array(ids, pa.string()), "time": times}), path)
    proposal = propose_events(engine, [str(path)], None, tmp_path, "shop")
    assert settings_of(proposal).events["log"].where == '"customer_id" IS NOT NULL AND "customer_id" <> \'\''
    assert any("25.0% of the rows have no customer_id" in finding for finding in proposal.findings)


def test_silence_is_proposed_from_the_gaps(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ids, times = weekly(20, 60)
    path = write_csv(tmp_path / "visits.csv", {"customer_id": ids, "time": times})
    proposal = propose_events(engine, [str(path)], None, tmp_path, "shop")
    churn = settings_of(proposal).churn
    assert churn is not None
    assert churn.inactivity == ("visits",)
    assert churn.horizon == timedelta(days=28)
    assert churn.active.within == timedelta(days=56)
    assert any("95% within 7" in finding for finding in proposal.findings)


def test_a_cancellation_is_recognised(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    simulate(SimulationSpec(customers=300, months=8), tmp_path / "service")
    events, customers = str(tmp_path / "service/events/*.parquet"), str(tmp_path / "service/customers.parquet")
    found = settings_of(propose_events(engine, [events], customers, tmp_path, "service"))
    assert found.churn is not None
    assert found.churn.event == "cancel"
    assert "cancel" not in found.churn.active.events
    assert found.events["session"].values == ("minutes",)
    assert found.events["login"].values == ()
    assert "cancel" not in {block.event for block in found.features}
    assert found.customers is not None
    assert found.customers.since == "signup_at"
    assert set(found.customers.attributes) == {"plan", "country"}


def test_types_become_sections_with_usable_names(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    ids, times = weekly(10, 20)
    kinds = ["Page View", "2nd-level!"] * (len(ids) // 2)
    path = write_csv(tmp_path / "log.csv", {"user_id": ids, "time": times, "event_type": kinds})
    found = settings_of(propose_events(engine, [str(path)], None, tmp_path, "shop"))
    assert {name: event.type_is for name, event in found.events.items()} == {
        "page_view": "Page View",
        "event_2nd_level": "2nd-level!",
    }


def test_a_file_without_a_time_is_refused_with_its_columns(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", {"customer_id": ["a", "b"], "amount": [1, 2]})
    with pytest.raises(InputError, match=r"time of an event.*customer_id \(text\), amount \(text\)"):
        propose_events(engine, [str(path)], None, tmp_path, "shop")


def test_a_table_proposes_its_label(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "t.csv",
        {"id": [1, 2, 3, 4], "same": ["x"] * 4, "age": [1, 2, 3, 9], "Churned": ["No", "Yes", "No", "No"]},
    )
    table = settings_of(propose_table(engine, str(path), tmp_path, "t")).table
    assert table is not None
    assert (table.id, table.label, table.positive, table.ignore) == ("id", "Churned", "Yes", ("same",))


def test_a_running_number_is_an_id_and_never_a_feature(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    number = list(range(1, 41))
    columns: dict[str, Sequence[object]] = {
        "first": number,
        "row": number[::-1],
        "age": [20 + n % 30 for n in number],
        "churn": ["yes", "no"] * 20,
        "last": number,
    }
    proposal = propose_table(engine, str(write_csv(tmp_path / "t.csv", columns)), tmp_path, "t")
    table = settings_of(proposal).table
    assert table is not None
    assert (table.id, table.ignore) == ("first", ("row", "last"))
    assert any("a running number, another one in every row, so it is the id" in one for one in proposal.findings)


def test_a_measure_with_another_value_in_every_row_stays_a_feature(
    engine: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    columns: dict[str, Sequence[object]] = {
        "fraction": [n + 0.5 * (n % 2) for n in range(40)],
        "gaps": [3 * n for n in range(40)],
        "churn": ["yes", "no"] * 20,
    }
    proposal = propose_table(engine, str(write_csv(tmp_path / "t.csv", columns)), tmp_path, "t")
    table = settings_of(proposal).table
    assert table is not None
    assert (table.id, table.ignore) == (None, ())
    assert any("called by the number of their row" in one for one in proposal.findings)


def test_running_numbers_of_a_log_and_its_customers_are_no_features(
    engine: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    ids, times = weekly(20, 30)
    amounts = [n % 7 for n in range(len(ids))]
    log = {"row": range(len(ids)), "customer_id": ids, "time": times, "amount": amounts}
    path = write_csv(tmp_path / "log.csv", {key: list(column) for key, column in log.items()})
    people = {"customer_id": sorted(set(map(str, ids))), "row": range(20), "age": [30 + n % 9 for n in range(20)]}
    customers = write_csv(tmp_path / "people.csv", {key: list(column) for key, column in people.items()})
    found = settings_of(propose_events(engine, [str(path)], str(customers), tmp_path, "shop"))
    assert found.events["log"].values == ("amount",)
    assert found.customers is not None
    assert found.customers.attributes == ("age",)


def test_a_label_with_three_values_is_refused(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", {"age": [1, 2, 3], "churn": ["yes", "no", "maybe"]})
    with pytest.raises(InputError, match=r"'maybe', 'no', 'yes'.*needs two"):
        propose_table(engine, str(path), tmp_path, "t")


@needs_shared
def test_online_retail_is_understood(engine: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    proposal = propose_events(engine, [str(SHARED / "online_retail.parquet")], None, tmp_path, "retail")
    event = settings_of(proposal).events["online_retail"]
    assert (event.customer, event.time, event.id, event.lines) == ("CustomerID", "InvoiceDate", "InvoiceNo", True)
    assert event.values == ("Quantity", "UnitPrice")
    assert event.where == '"CustomerID" IS NOT NULL'
    assert any("24.9% of the rows have no CustomerID" in finding for finding in proposal.findings)


@needs_shared
@pytest.mark.parametrize(("name", "label", "positive"), [("telco", "churn", "Yes"), ("iranian", "Churn", "1")])
def test_real_tables_are_understood(
    engine: duckdb.DuckDBPyConnection, tmp_path: Path, name: str, label: str, positive: str
) -> None:
    table = settings_of(propose_table(engine, str(SHARED / f"{name}.csv"), tmp_path, name)).table
    assert table is not None
    assert (table.label, table.positive) == (label, positive)
    assert table.id == ("rownames" if name == "telco" else None)
