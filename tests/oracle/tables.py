"""Reads the tables in which the worlds of this folder are written down.

A table's first line names its columns, ``-`` is null, and what follows ``#`` is the reason for the line.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tests.oracle.churn import Period
from tests.oracle.features import Event, Number


def table(text: str) -> list[dict[str, str]]:
    """Read a table written with bars; the first line names the columns."""
    lines = [line.split("#")[0] for line in text.strip().splitlines()]
    header, *body = [[cell.strip() for cell in line.split("|")] for line in lines if line.strip()]
    return [dict(zip(header, cells, strict=True)) for cells in body]


def instant(text: str) -> datetime:
    """Read a time of the year 2024 in UTC, or of another year where it is written out."""
    full = text if text[4:5] == "-" else f"2024-{text}"
    return datetime.fromisoformat(full).replace(tzinfo=UTC)


def number(text: str) -> Number | None:
    """Read a number; whole numbers without a point are counts."""
    if text == "-":
        return None
    return float(text) if "." in text else int(text)


def log(text: str) -> tuple[Event, ...]:
    """Read events; a missing column is null throughout and a missing customer is ana."""
    return tuple(_event(row) for row in table(text))


def _event(row: dict[str, str]) -> Event:
    recorded, amount, channel = (row.get(name, "-") for name in ("recorded", "amount", "channel"))
    return Event(
        customer_id=row.get("customer", "ana"),
        time=instant(row["time"]),
        recorded=None if recorded == "-" else instant(recorded),
        type=row["type"],
        values={"amount": None if amount == "-" else float(amount)},
        categories={"channel": None if channel == "-" else channel},
        id=None,
    )


def subscriptions(text: str) -> tuple[Period, ...]:
    """Read the table ``customer | start | end``."""
    return tuple(
        Period(customer_id=row["customer"], start=instant(row["start"]), end=instant(row["end"])) for row in table(text)
    )


def expected_columns(text: str) -> dict[str, Number | None]:
    """Read the table ``column | value``."""
    return {row["column"]: number(row["value"]) for row in table(text)}


def expected_customers(text: str) -> dict[str, tuple[bool, bool]]:
    """Read the table ``customer | at risk | lost``."""
    return {row["customer"]: (row["at risk"] == "yes", row["lost"] == "yes") for row in table(text)}
