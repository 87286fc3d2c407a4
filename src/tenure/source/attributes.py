"""Which columns of a table of customers are numbers and which are text.

Enters: columns of a source. Leaves: the kind of each, fields to read them, and what should be said about it.
Invariant: the kind follows from the source's own types where it has them. A text column is a number if nearly all of
its values are: one `n/a` among thousands is one bad value, not a reason to treat incomes as words. Codes stay text: a
leading zero, as in the postal code `01069`, says that the value is a name and not an amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from tenure.core.errors import ConfigError
from tenure.source.engine import quote_identifier, quote_literal
from tenure.source.fields import Field, number_field, text_field
from tenure.source.history import AttributeKind
from tenure.source.reading import blank_sql, kind_of, number_sql
from tenure.source.section import Section

__all__ = ["Attribute", "read_attributes"]

# A text column is a number if at least this share of its values can be read as one.
NUMERIC_SHARE = 0.99


@dataclass(frozen=True)
class Attribute:
    """One attribute, its kind, the field that reads it, and a warning if its kind may surprise."""

    name: str
    kind: AttributeKind
    field: Field
    warning: str


def read_attributes(
    engine: duckdb.DuckDBPyConnection, section: Section, names: Sequence[str], *, start: int
) -> tuple[Attribute, ...]:
    """Tell numbers from text; the fields are numbered from `start`.

    Raises
    ------
    ConfigError
        A column holds dates, times or something that is neither a number nor text.
    """
    return tuple(_attribute(engine, section, name, number) for number, name in enumerate(names, start=start))


def _attribute(engine: duckdb.DuckDBPyConnection, section: Section, name: str, number: int) -> Attribute:
    column_type = section.type_of(name)
    kind, warning = _kind(engine, section, name)
    make = number_field if kind == "number" else text_field
    return Attribute(name, kind, make(number, name, name, column_type), warning)


def _kind(engine: duckdb.DuckDBPyConnection, section: Section, name: str) -> tuple[AttributeKind, str]:
    kind = kind_of(section.type_of(name))
    if kind in {"integer", "decimal", "float", "boolean"}:
        return "number", ""
    if kind == "empty":
        return "text", f"column {name!r} holds no value at all"
    if kind != "text":
        raise ConfigError(
            f"{section.name}: the column {name!r} holds {section.type_of(name)}, which is neither a number nor text.",
            hint="Leave it out, or name it where a time belongs (since, known_at or time).",
            column=name,
        )
    return _kind_of_text(engine, section, name)


def _kind_of_text(engine: duckdb.DuckDBPyConnection, section: Section, name: str) -> tuple[AttributeKind, str]:
    value_sql = quote_identifier(name)
    parsed_sql = number_sql(value_sql, "VARCHAR")
    kept_sql = section.condition.sql if section.condition else "true"
    filled, numbers, codes, other = engine.execute(
        f"SELECT count(*), count({parsed_sql}), count(*) FILTER (regexp_matches({value_sql}, {quote_literal(_CODE)})), "
        f"min({value_sql}) FILTER ({parsed_sql} IS NULL) FROM {section.relation.sql} "
        f"WHERE ({kept_sql}) AND NOT {blank_sql(value_sql)}"
    ).fetchone() or (0, 0, 0, None)
    if not filled:
        return "text", f"column {name!r} holds no value at all"
    if numbers >= NUMERIC_SHARE * filled and not codes:
        return "number", ""
    if numbers > filled / 2 and not codes:
        return (
            "text",
            f"column {name!r} is read as text: {numbers:,} of {filled:,} values are numbers, {other!r} is not",
        )
    return "text", ""


_CODE = r"^\s*0\d"
