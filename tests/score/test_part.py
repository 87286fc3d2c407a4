"""A file of scores counts itself, and holds every customer once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenure.core.errors import InputError
from tenure.score.part import Tally, read_tally, tally, write_part
from tenure.score.scored import Scorer
from tests.score.world import AS_OF, NOON, PREDICTOR, RANGED, customers

SCORER = Scorer(PREDICTOR, RANGED, AS_OF, NOON())


def scored(ids: list[str | None]) -> pa.Table:
    table = customers(len(ids)).set_column(0, "customer_id", pa.array(ids, pa.string()))
    return SCORER(table)


def test_the_footer_says_what_the_rows_say(tmp_path: Path) -> None:
    table = SCORER(customers(200))
    written = write_part(tmp_path / "p.parquet", [table.slice(0, 90), table.slice(90)], SCORER.schema)
    assert written == read_tally(tmp_path / "p.parquet")
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert written.customers == len(rows) == 200
    assert written.worth_contacting == sum(row["decision"] == "contact" for row in rows)
    assert written.without_value == sum(row["expected_profit"] is None for row in rows)
    assert written.expected_churners == sum(row["probability"] for row in rows)  # sixteenths add up exactly
    assert written.bands == tuple(sum(row["band"] == band for row in rows) for band in ("low", "medium", "high"))
    assert (written.first, written.last) == ("customer-000000", "customer-000199")


def test_readers_see_plain_text_and_instants(tmp_path: Path) -> None:
    write_part(tmp_path / "p.parquet", [SCORER(customers(20))], SCORER.schema)
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert schema.field("decision").type == pa.string()
    assert schema.field("band").type == pa.string()
    assert schema.field("features_as_of").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "c", "b"], "not ordered: customer 'b' comes after 'c'"),
        (["a", "b", "b"], "holds customer 'b' twice"),
        (["a", None, "c"], "a customer without an id"),
        (["é", "z"], "customer 'z' comes after 'é'"),
    ],
)
def test_disorder_within_a_table_is_refused(ids: list[str | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tally(scored(ids))


def test_disorder_between_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="customer 'b' twice"):
        write_part(tmp_path / "p.parquet", [scored(["a", "b"]), scored(["b", "c"])], SCORER.schema)
    assert list(tmp_path.iterdir()) == []


def test_nothing_adds_nothing() -> None:
    some = tally(scored(["a", "b"]))
    assert Tally() + some == some + Tally() == some
    assert tally(scored([])) == Tally()
