from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tenure.core.errors import ConfigError
from tenure.source.where import compile_where, where_columns

TYPES = {
    "quantity": "VARCHAR",
    "price": "VARCHAR",
    "at": "VARCHAR",
    "flag": "VARCHAR",
    "n": "BIGINT",
    "Customer ID": "VARCHAR",
}
ROWS = pa.table(
    {
        "quantity": ["10", "9", "-1", "n/a", None],
        "price": ["9", "10", "2.5", "1", "x"],
        "at": ["2020-01-01", "2020-06-01 10:00", "2021-01-01", "soon", None],
        "flag": ["true", "no", "1", "f", "?"],
        "n": [1, 2, 3, 4, None],
        "Customer ID": ["a", "B", None, "it's", "ab"],
    }
)


def kept(text: str) -> list[Any]:
    """What a condition says about each of `ROWS`."""
    condition = compile_where(text, TYPES, section="events.login")
    with duckdb.connect() as engine:
        engine.register("given", ROWS)
        return [value for (value,) in engine.execute(f"SELECT {condition.sql} FROM given").fetchall()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quantity > 5", [True, True, False, None, None]),
        ("quantity > '5'", [True, True, False, None, None]),
        ("quantity = '9'", [False, True, False, False, None]),
        ("quantity BETWEEN 0 AND price", [False, True, False, None, None]),
        ("quantity * price > 0", [True, True, False, None, None]),
        ("quantity IN (9, 10)", [True, True, False, None, None]),
        ("-quantity > 0", [False, False, True, None, None]),
        ("(quantity) >= (9)", [True, True, False, None, None]),
        ("CAST(quantity AS DOUBLE) < CAST(price AS DOUBLE)", [False, True, True, None, None]),
        ("quantity IS NOT NULL", [True, True, True, True, False]),
        ("n > 1 AND N < 4", [False, True, True, False, None]),
        ("\"Customer ID\" LIKE 'a%'", [True, False, None, False, True]),
        ("\"customer id\" = 'it''s'", [False, False, None, True, False]),
        ("lower(\"Customer ID\") IN ('a', 'b')", [True, True, None, False, False]),
        ("at >= DATE '2020-06-01'", [False, True, True, None, None]),
        ("at + INTERVAL 1 DAY > TIMESTAMP '2020-12-31'", [False, False, True, None, None]),
        ("flag", [True, False, True, False, None]),
        ("NOT flag", [False, True, False, True, None]),
        ("flag = true AND n > 0", [True, False, True, False, None]),
        ("coalesce(quantity, 0) >= 0", [True, True, False, True, True]),
        ("abs(quantity) = 1 OR price = 9", [True, False, True, None, None]),
        ("length(price) = 2", [False, True, False, False, False]),
        ("CASE WHEN n > 2 THEN true ELSE false END", [False, False, True, True, False]),
        ("n > 1 -- and nothing else", [False, True, True, True, None]),
    ],
)
def test_a_condition_reads_text_as_what_it_is_compared_with(text: str, expected: list[Any]) -> None:
    assert kept(text) == expected


def test_what_a_condition_could_not_read_is_named() -> None:
    condition = compile_where("quantity > 0 AND flag AND n > 0", TYPES, section="events.login")
    assert [(unread.column, unread.read_as) for unread in condition.unreadable] == [
        ("flag", "BOOLEAN"),
        ("quantity", "DOUBLE"),
    ]
    with duckdb.connect() as engine:
        engine.register("given", ROWS)
        fails = [
            [value for (value,) in engine.execute(f"SELECT {unread.fails_sql} FROM given").fetchall()]
            for unread in condition.unreadable
        ]
    assert fails == [[False, False, False, False, True], [False, False, False, True, False]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quantity >",
        "n = 1; DROP TABLE events",
        "n = 1; SELECT 1",
        "n IN (SELECT 1)",
        "EXISTS (SELECT 1)",
        "n = (SELECT max(n) FROM given)",
        "quantity IN (SELECT content FROM read_text('/etc/hostname'))",
        "read_csv('x') IS NULL",
        "n = getenv('HOME')",
        "current_date > at",
        "random() > 0.5",
        "count(*) > 1",
        "max(n) > 1",
        "row_number() OVER () = 1",
        "n = $1",
        "n = ?",
        "COLUMNS(*) > 1",
        "* IS NULL",
        "n > ANY (SELECT 1)",
        "nextval('s') > 1",
    ],
)
def test_a_condition_can_only_look_at_its_row(text: str) -> None:
    with pytest.raises(ConfigError, match=r"events\.login\.where"):
        compile_where(text, TYPES, section="events.login")


@pytest.mark.parametrize(
    ("text", "near"), [("quantty > 0", "quantity"), ("x.n = 1", "n"), ('"customerid" = 1', "Customer ID")]
)
def test_an_unknown_column_is_an_error_that_names_the_nearest(text: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{near}'"):
        compile_where(text, TYPES, section="events.login")


def test_two_text_columns_are_not_put_in_order() -> None:
    with pytest.raises(ConfigError, match="puts two text columns in order"):
        compile_where("quantity < price", TYPES, section="events.login")
    assert compile_where("quantity <> price", TYPES, section="events.login").unreadable == ()


def test_columns_are_listed_as_the_condition_spells_them() -> None:
    assert where_columns('N > 1 AND n < 5 AND "Customer ID" = n', section="x") == ("N", "n", "Customer ID")
