from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tenure.core.errors import InputError, NotFoundError
from tests.source.project import day, document, logins, only_report, take_in, take_in_events

pl = pytest.importorskip("polars", reason="the extra polars is not installed")

JAN5 = day("2026-01-05")
COLUMNS = {"customer_id": ["a", "b", None], "time": [JAN5, JAN5, JAN5], "n": [1, 2, 3], "shop": ["x", None, "x"]}


@pytest.mark.parametrize(
    "make",
    [
        pa.table,
        pd.DataFrame,
        pl.DataFrame,
        lambda columns: pd.DataFrame(columns).astype({"shop": "category", "customer_id": "category"}),
        lambda columns: pl.DataFrame(columns).with_columns(pl.col("shop").cast(pl.Categorical)),
        lambda columns: pa.table(columns).to_reader(),
        lambda columns: pd.DataFrame(columns, index=[5, 6, 7]),
    ],
    ids=["arrow", "pandas", "polars", "pandas categories", "polars categories", "arrow stream", "pandas index"],
)
def test_tables_of_every_kind_are_read_alike(tmp_path: Path, make: Any) -> None:
    done = take_in_events(tmp_path, path="log", tables={"log": make(COLUMNS)}, values=["n"], categories=["shop"])
    assert logins(done) == [("a", JAN5, 1.0, "x"), ("b", JAN5, 2.0, None)]
    assert only_report(done).rejected == {"missing customer": 1}
    assert only_report(done).origin == "table 'log'"


def test_what_pandas_writes_for_absent_is_absent(tmp_path: Path) -> None:
    frame = pd.DataFrame({"customer_id": [17850.0, 2.0, float("nan")], "time": [JAN5, pd.NaT, JAN5]})
    frame["n"] = [float("nan"), 1.0, 1.0]
    done = take_in_events(tmp_path, path="log", tables={"log": frame}, values=["n"])
    assert logins(done) == [("17850", JAN5, None)]
    assert only_report(done).rejected == {"missing customer": 1, "missing time": 1}


def test_nan_in_polars_is_no_number(tmp_path: Path) -> None:
    frame = pl.DataFrame({"customer_id": ["a", "b"], "time": [JAN5, JAN5], "n": [float("nan"), None]})
    done = take_in_events(tmp_path, path="log", tables={"log": frame}, values=["n"])
    assert only_report(done).rejected == {"n is not finite": 1}


def test_mixed_objects_are_read_as_their_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"customer_id": [1, "01", 2.0, None, 2.5], "time": ["2026-01-05"] * 5})
    done = take_in_events(tmp_path, path="log", tables={"log": frame})
    assert sorted(customer for (customer,) in logins(done, "customer_id")) == ["01", "1", "2", "2.5"]


def test_times_with_a_zone_keep_their_instant(tmp_path: Path) -> None:
    aware = pd.Series([datetime(2026, 1, 5, 23, tzinfo=UTC)]).dt.tz_convert("Asia/Tokyo")
    done = take_in_events(tmp_path, path="log", tables={"log": pd.DataFrame({"customer_id": ["a"], "time": aware})})
    assert logins(done) == [("a", day("2026-01-05T23:00"))]


def test_one_table_may_serve_several_sections(tmp_path: Path) -> None:
    table = pa.table({"customer_id": ["a", "b"], "time": ["2026-01-05"] * 2, "kind": ["login", "order"]})
    section = {"path": "log", "type": "kind"}
    done = take_in(tmp_path, document({"login": section, "order": section}), {"log": table})
    assert [table.rows for table in done.history.events.values()] == [1, 1]


def test_a_table_that_no_section_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        NotFoundError, match=r"table 'logs' was given, but no section has that path\. Did you mean 'log'"
    ):
        take_in_events(tmp_path, path="log", tables={"logs": pa.table({})})


def test_what_is_no_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'log' is a list, which tenure does not read"):
        take_in_events(tmp_path, path="log", tables={"log": [1, 2]})


def test_columns_that_share_a_name_are_an_error(tmp_path: Path) -> None:
    frame = pd.DataFrame([["a", "b", "2026-01-05"]], columns=["customer_id", "customer_id", "time"])
    with pytest.raises(InputError, match="several columns of the same name"):
        take_in_events(tmp_path, path="log", tables={"log": frame})


def test_the_fingerprint_of_a_table_follows_its_content(tmp_path: Path) -> None:
    def fingerprint(n: int) -> str:
        table = pa.table({"customer_id": ["a"], "time": ["2026-01-05"], "n": [n]})
        return take_in_events(tmp_path, path="log", tables={"log": table}, values=["n"]).history.fingerprint

    assert fingerprint(1) == fingerprint(1)
    assert fingerprint(1) != fingerprint(2)
