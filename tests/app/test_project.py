"""tenure.Project: the verbs in Python, on tables of three libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tenure
from tests.cli.world import customers, has_left, read_contacts, visits, write_project

TABLE = {"path": "rows", "id": "id", "label": "churn", "positive": "Yes"}
LIGHT = {"model": {"family": "logistic", "fallback": "logistic"}, "runtime": {"threads": 1}}
NOON = tenure.fixed_clock("2026-02-01T12:00:00")
KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "arrow": lambda table: table,
    "pandas": lambda table: table.to_pandas(),
    "polars": pl.from_arrow,
}
WEIRD = ("Zoë", "日本-顧客", "a,b", "O'Brien", '"q"', "😀", " x y ", "[bold]x[/bold]", "é", "e\u0301", "00123", "=1+2")


def project(root: Path, table: Any) -> tenure.Project:
    return tenure.Project.of({"table": TABLE, **LIGHT}, root, {"rows": table}, NOON)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The scorecard's own metrics, trained on a file."""
    folder = tmp_path_factory.mktemp("file")
    config = write_project(folder, "", table_parquet=customers())
    settings = {"table": TABLE | {"path": str(config.parent / "table.parquet")}, **LIGHT}
    trained = tenure.Project.of(settings, folder, clock=NOON).train()
    return {name: estimate.value for name, estimate in trained.scorecard[0].metrics.items()}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_table_from_memory_is_what_a_file_is(kind: str, tmp_path: Path, expected: dict[str, float]) -> None:
    trained = project(tmp_path, KINDS[kind](customers())).train()
    assert {name: estimate.value for name, estimate in trained.scorecard[0].metrics.items()} == expected
    assert (trained.version, trained.alias) == ("v1", "champion")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_log_from_memory(kind: str, tmp_path: Path) -> None:
    rows = [line.split(",") for line in visits(40).splitlines()[1:]]
    log = pa.table({"customer_id": [row[0] for row in rows], "time": pa.array([row[1] for row in rows])})
    settings = {
        "events": {"visit": {"path": "log"}},
        "churn": {"inactivity": ["visit"], "horizon": "14d", "active": {"within": "28d"}},
        "features": [{"event": "visit", "ops": ["count", "days_since_last"], "windows": ["7d", "all"]}],
        **LIGHT,
    }
    features = tenure.Project.of(settings, tmp_path, {"log": KINDS[kind](log)}).features("2025-02-01")
    assert features.column_names == ["customer_id", "cutoff", "visit_count_7d", "visit_count", "visit_days_since_last"]
    frame = pd.DataFrame(rows, columns=["customer_id", "time"])
    known = frame[frame["time"] < "2025-02-01"].groupby("customer_id").size()
    found = dict(zip(features["customer_id"].to_pylist(), features["visit_count"].to_pylist(), strict=True))
    assert found
    assert found == {name: int(known[name]) for name in found}


def test_mixed_columns_of_pandas(tmp_path: Path) -> None:
    frame = customers().to_pandas().assign(code=lambda f: [7 if n % 2 else "A7" for n in range(len(f))])
    assert "code" in project(tmp_path, frame).check().features


def test_a_table_that_nobody_asked_for(tmp_path: Path) -> None:
    with pytest.raises(tenure.InputError, match="rwos"):
        tenure.Project.of({"table": TABLE, **LIGHT}, tmp_path, {"rwos": customers()}).check()


def test_something_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(tenure.InputError, match="list"):
        project(tmp_path, [1, 2, 3]).check()


def test_ids_of_every_script_come_out_as_they_went_in(tmp_path: Path) -> None:
    table = customers(len(WEIRD) + 300)
    ids = [*WEIRD, *(f"ünï{number}" for number in range(300))]
    mine = project(tmp_path, table.set_column(0, "id", pa.array(ids)))
    mine.train()
    summary = tenure.Project.of(
        {"table": TABLE, "value": {"clv": 1e9}, **LIGHT}, tmp_path, mine.place.tables, NOON
    ).score()
    contacts = read_contacts(summary.contact_list)
    assert sorted(row["customer_id"] for row in contacts) == sorted(ids)


def test_a_loaded_version_predicts_rows_given_from_python(tmp_path: Path) -> None:
    table = customers()
    mine = project(tmp_path, table)
    mine.train()
    version = mine.version()
    probability = version.predict(table.select(list(version.features.names)))
    left = has_left(table)
    assert probability.shape == (400,)
    assert probability[left].mean() > probability[~left].mean() + 0.2
    assert np.isclose(probability.mean(), left.mean(), atol=0.03)


def test_later_versions_wait_as_challenger(tmp_path: Path) -> None:
    mine = project(tmp_path, customers())
    first, second = mine.train(), mine.train()
    assert [(one.version, one.alias) for one in (first, second)] == [("v1", "champion"), ("v2", "challenger")]
    assert mine.score().version == "v1"
    assert mine.score(version="challenger").version == "v2"


def test_a_file_of_settings_is_loaded(tmp_path: Path) -> None:
    settings = '[table]\npath = "table.parquet"\nid = "id"\nlabel = "churn"\npositive = "Yes"\n'
    config = write_project(tmp_path, settings, table_parquet=customers(100))
    assert set(tenure.Project.load(config).check().features) == {"visits", "spend", "plan"}
    with pytest.raises(tenure.TenureError, match="no file"):
        tenure.Project.load(tmp_path / "other.toml")


def test_a_value_of_their_own_decides_for_each_customer(tmp_path: Path) -> None:
    table = customers()
    settings = {"table": TABLE, "value": {"clv": "spend", "contact_cost": 2, "save_rate": 0.3}, **LIGHT}
    mine = tenure.Project.of(settings, tmp_path, {"rows": table}, NOON)
    assert mine.train().threshold is None
    contacts = read_contacts(mine.score().contact_list)
    spend = dict(zip(table["id"].to_pylist(), table["spend"].to_pylist(), strict=True))
    assert contacts
    for row in contacts:
        assert float(row["clv"]) == spend[row["customer_id"]]
        profit = float(row["probability"]) * 0.3 * float(row["clv"]) - 2
        assert float(row["expected_profit"]) == pytest.approx(profit, abs=0.01)
        assert profit >= -0.01
