"""Every kind of source keeps every promise, and the checks find one that breaks them."""

from __future__ import annotations

import csv
import gzip
import io
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tenure.source.engine import quote_identifier
from tenure.source.files import open_files
from tenure.source.memory import open_table
from tenure.source.protocol import Relation, Source
from tenure.source.sql import database_url, open_database_table
from tenure.testing.source import CHECKS, COLUMNS, ROWS, Opener, check_source

Engine = duckdb.DuckDBPyConnection


def known(rows: Sequence[Sequence[Any]] = ROWS) -> pa.Table:
    return pa.table({name: pa.array([row[n] for row in rows], pa.string()) for n, name in enumerate(COLUMNS)})


def as_csv(rows: Sequence[Sequence[Any]] = ROWS, delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()


def parquet(engine: Engine, folder: Path) -> Source:
    pq.write_table(known(), folder / "known.parquet")
    return open_files(engine, "known.parquet", folder)


def parquet_glob(engine: Engine, folder: Path) -> Source:
    pq.write_table(known(ROWS[:3]), folder / "1.parquet")
    pq.write_table(known(ROWS[3:]).select([2, 0, 1]), folder / "2.parquet")
    return open_files(engine, "*.parquet", folder)


def delimited(engine: Engine, folder: Path) -> Source:
    (folder / "known.csv").write_text(as_csv(), encoding="utf-8")
    return open_files(engine, "known.csv", folder)


def delimited_glob(engine: Engine, folder: Path) -> Source:
    (folder / "1.csv").write_text(as_csv(ROWS[:2]), encoding="utf-8")
    (folder / "2.csv").write_text(as_csv(ROWS[2:4], ";"), encoding="utf-8")
    (folder / "3.csv.gz").write_bytes(gzip.compress(as_csv(ROWS[4:], "\t").encode()))
    return open_files(engine, "*.csv*", folder)


def arrow(engine: Engine, _: Path) -> Source:
    return open_table(engine, "known", known())


def pandas(engine: Engine, _: Path) -> Source:
    return open_table(engine, "known", pd.DataFrame(known().to_pydict()))


def sqlite(_: Engine, folder: Path) -> Source:
    with closing(sqlite3.connect(folder / "known.db")) as connection:
        columns = ", ".join(quote_identifier(name) for name in COLUMNS)
        connection.execute(f"CREATE TABLE known ({columns})")
        connection.executemany("INSERT INTO known VALUES (?, ?, ?)", ROWS)
        connection.commit()
    url = database_url("sqlite:///known.db", "known")
    assert url is not None
    return open_database_table(url, "known", folder)


OPENERS: Mapping[str, Opener] = {
    opener.__name__: opener for opener in (parquet, parquet_glob, delimited, delimited_glob, arrow, pandas, sqlite)
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OPENERS)
def test_a_source_keeps_its_promises(name: str, check: Callable[[Opener], None]) -> None:
    check(OPENERS[name])


@pytest.mark.postgres
def test_postgresql_keeps_them_too(postgres_url: str) -> None:
    address = sa.make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        columns = ", ".join(f"{quote_identifier(name)} text" for name in COLUMNS)
        connection.cursor().execute(f"CREATE TABLE known ({columns})".encode())
        connection.cursor().executemany("INSERT INTO known VALUES (%s, %s, %s)", ROWS)
    url = database_url(postgres_url, "known")
    assert url is not None
    check_source(lambda _, folder: open_database_table(url, "known", folder))


class Broken:
    """An honest source with one flaw."""

    def __init__(self, source: Source, flaw: str) -> None:
        self.source, self.flaw = source, flaw
        self.loaded = 0

    @property
    def origin(self) -> str:
        return "" if self.flaw == "nameless" else self.source.origin

    @property
    def columns(self) -> Mapping[str, str]:
        columns = dict(self.source.columns)
        if self.flaw == "reordered":
            return dict(reversed(columns.items()))
        return {**columns, COLUMNS[1]: "DOUBLE"} if self.flaw == "wrong type" else columns

    @property
    def lacking(self) -> Mapping[str, str]:
        return {COLUMNS[0]: "x"} if self.flaw == "lacking" else self.source.lacking

    def load(self, engine: Engine, names: Sequence[str]) -> Relation:
        relation = self.source.load(engine, names)
        self.loaded += 1
        first_sql = quote_identifier(names[0])
        if self.flaw == "drops absent":
            return replace(relation, sql=f"(SELECT * FROM {relation.sql} WHERE {first_sql} IS NOT NULL)")
        if self.flaw == "trims":
            return replace(relation, sql=f"(SELECT * REPLACE (trim({first_sql}) AS {first_sql}) FROM {relation.sql})")
        if self.flaw == "used up" and self.loaded > 1:
            return replace(relation, sql=f"(SELECT * FROM {relation.sql} LIMIT 0)")
        return replace(relation, places=("a",), place_sql="7") if self.flaw == "misplaced" else relation


@pytest.mark.parametrize(
    "flaw",
    ["nameless", "reordered", "wrong type", "lacking", "drops absent", "trims", "used up", "misplaced"],
)
def test_a_source_that_breaks_a_promise_is_found(flaw: str) -> None:
    with pytest.raises(AssertionError):
        check_source(lambda engine, folder: Broken(arrow(engine, folder), flaw))


def test_the_honest_twin_of_the_broken_sources_passes() -> None:
    check_source(lambda engine, folder: Broken(arrow(engine, folder), "none"))
