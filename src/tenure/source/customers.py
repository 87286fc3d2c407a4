"""The customers table becomes canonical.

Enters: rows about customers. Leaves: `customer_id`, `since` and `known_at` where configured, then the attributes.
Invariant: at any time at most one row speaks for a customer. Two rows of one customer (with `known_at`: of one
customer and time) that say the same are one; two that contradict each other are both rejected, for nothing tells which
of them holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from tenure.core.settings import CustomersSettings
from tenure.source.attributes import Attribute, read_attributes
from tenure.source.contract import check_rows
from tenure.source.duplicates import mark_duplicates
from tenure.source.engine import read_parquet_sql
from tenure.source.fields import Field, TimeRule, id_field, time_field
from tenure.source.history import AttributeKind, CustomerTable
from tenure.source.section import Built, Section, form_warnings, refuse_clashes, validity

__all__ = ["build_customers", "customer_columns", "describe_attributes", "describe_customers"]

RESERVED = ("customer_id", "since", "known_at")


def customer_columns(settings: CustomersSettings) -> Iterator[tuple[str, str]]:
    """The source columns that the customers section names, each with its key.

    Examples
    --------
    >>> list(customer_columns(CustomersSettings(path="c.csv", id="user", attributes=("age",))))
    [('id', 'user'), ('attributes', 'age')]
    """
    yield "id", settings.id
    for key, column in (("since", settings.since), ("known_at", settings.known_at)):
        if column is not None:
            yield key, column
    yield from (("attributes", column) for column in settings.attributes)


def build_customers(engine: duckdb.DuckDBPyConnection, section: Section, settings: CustomersSettings) -> Built:
    """Read and judge the customers.

    Raises
    ------
    ConfigError
        A column cannot be what the section says, or two would share a name.
    """
    refuse_clashes(section.name, RESERVED, settings.attributes)
    attributes = read_attributes(engine, section, settings.attributes, start=3)
    fields = (*_key_fields(section, settings), *(attribute.field for attribute in attributes))
    checked = check_rows(engine, section.relation, fields, table=f"checked {section.name}", condition=section.condition)
    valid_from, valid_until = validity(engine, checked, [field for field in fields if field.name in RESERVED[1:]])
    warnings = (*form_warnings(engine, checked, section.zone), *_attribute_warnings(attributes))
    key = [field for field in fields if field.name in {"customer_id", "known_at"}]
    checked = mark_duplicates(engine, checked, "customer", key)
    columns_sql = ", ".join(f"{field.alias_sql} AS {field.name_sql}" for field in fields)
    key_sql = ", ".join(field.name_sql for field in key)
    return Built(
        checked,
        f"SELECT {columns_sql} FROM {checked.table_sql} WHERE fault = 0 ORDER BY {key_sql}",
        warnings=warnings,
        valid_from=valid_from,
        valid_until=valid_until,
    )


def _key_fields(section: Section, settings: CustomersSettings) -> Iterator[Field]:
    yield id_field(0, "customer_id", settings.id, section.type_of(settings.id), role="customer")
    if settings.since is not None:
        rule = TimeRule(section.zone, required=False, latest=section.latest)
        yield time_field(1, "since", settings.since, section.type_of(settings.since), role="since", rule=rule)
    if settings.known_at is not None:
        known, rule = settings.known_at, TimeRule(section.zone, required=True, latest=section.latest)
        yield time_field(2, "known_at", known, section.type_of(known), role="known_at", rule=rule)


def _attribute_warnings(attributes: tuple[Attribute, ...]) -> Iterator[str]:
    return (attribute.warning for attribute in attributes if attribute.warning)


def describe_customers(
    engine: duckdb.DuckDBPyConnection, settings: CustomersSettings, paths: tuple[Path, ...]
) -> CustomerTable:
    """Describe a finished customers table."""
    rows, attributes = describe_attributes(engine, paths, RESERVED)
    return CustomerTable(
        paths, rows, attributes, has_since=settings.since is not None, has_known_at=settings.known_at is not None
    )


def describe_attributes(
    engine: duckdb.DuckDBPyConnection, paths: tuple[Path, ...], reserved: tuple[str, ...]
) -> tuple[int, tuple[tuple[str, AttributeKind], ...]]:
    """Rows of a finished table, and its columns beside the reserved ones with their kinds."""
    table_sql = read_parquet_sql(paths)
    (rows,) = engine.execute(f"SELECT count(*) FROM {table_sql}").fetchone() or (0,)
    described = engine.execute(f"DESCRIBE SELECT * FROM {table_sql}").fetchall()
    kinds: list[tuple[str, AttributeKind]] = [
        (row[0], "number" if row[1] == "DOUBLE" else "text") for row in described if row[0] not in reserved
    ]
    return rows, tuple(kinds)
