"""A whole first configuration for somebody's files.

Enters: paths of event files, a customers table or a plain table. Leaves: a `Proposal`: TOML that runs as it is, and
what was found. Invariant: what is proposed has passed the settings' own checks.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from tenure.app.propose.churn import CANCEL, Gaps, propose_churn
from tenure.app.propose.document import section
from tenure.app.propose.features import MOST_VALUES, propose_features
from tenure.app.propose.profile import Profile, moment_sql, profile
from tenure.app.propose.roles import EventRoles, customer_roles, event_roles, event_types, table_roles
from tenure.core.config import settings_from
from tenure.core.errors import InputError
from tenure.source.engine import quote_identifier, quote_literal
from tenure.source.files import open_files
from tenure.source.protocol import Source
from tenure.source.reading import text_sql

__all__ = ["Proposal", "propose_events", "propose_table"]

_QUANTILES = (0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True)
class Proposal:
    """A proposed `tenure.toml` and the evidence for it, a sentence each."""

    text: str
    findings: tuple[str, ...]


@dataclass(frozen=True)
class _Log:
    """An event source with its guessed roles.

    `types` names a section for every event type; `values` says which value columns its rows really fill.
    """

    path: str
    source: Source
    found: Profile
    roles: EventRoles
    types: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]


def propose_events(
    engine: duckdb.DuckDBPyConnection, events: Sequence[str], customers: str | None, root: Path, name: str
) -> Proposal:
    """Propose a configuration for event files.

    Parameters
    ----------
    engine : DuckDBPyConnection
        From `tenure.source.engine.open_engine`.
    events : sequence of str
        Paths or globs, one for each source, relative to the working directory.
    customers : str or None
        Path of a customers table.
    root : Path
        Folder of the `tenure.toml`; paths in it are written relative to it.
    name : str
        The project's name.

    Raises
    ------
    InputError
        A file cannot be read, or a column that is needed cannot be recognised.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.core.settings import RuntimeSettings
    >>> from tenure.source.engine import open_engine
    >>> root = write_shop(Path(tempfile.mkdtemp())).parent
    >>> with open_engine(RuntimeSettings(), root) as engine:
    ...     proposal = propose_events(engine, [str(root / "orders.csv")], None, root, "shop")
    >>> 'inactivity = ["orders"]' in proposal.text
    True
    """
    logs = _open_logs(engine, events, root)
    types = {section_name: kind for log in logs for section_name, kind in log.types.items()}
    churn, evidence = propose_churn(types, _gaps(engine, logs))
    sections = [
        section("[project]", {"name": name, "timezone": "UTC"}, ["times without an offset are read in timezone"])
    ]
    findings = [note for log in logs for note in log.roles.notes]
    for log in logs:
        sections += _event_sections(log)
    if customers is not None:
        text, notes = _customers_section(engine, customers, root, logs[0].roles.customer)
        sections.append(text)
        findings += notes
    sections.append(section("[churn]", churn, evidence))
    sections += _feature_sections(logs, churn)
    return _proposal([*sections, _value_section()], (*findings, *evidence))


def propose_table(engine: duckdb.DuckDBPyConnection, table: str, root: Path, name: str) -> Proposal:
    r"""Propose a configuration for a plain table with a label; parameters and errors as for `propose_events`.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.core.settings import RuntimeSettings
    >>> from tenure.source.engine import open_engine
    >>> root = Path(tempfile.mkdtemp())
    >>> _ = (root / "t.csv").write_text("visits,churn\n3,no\n0,yes\n5,no\n")
    >>> with open_engine(RuntimeSettings(), root) as engine:
    ...     proposal = propose_table(engine, str(root / "t.csv"), root, "t")
    >>> 'positive = "yes"' in proposal.text
    True
    """
    found = profile(engine, open_files(engine, table, Path()))
    roles = table_roles(engine, found)
    values = {
        "path": _relative(table, root),
        "id": roles.id,
        "label": roles.label,
        "positive": roles.positive,
        "ignore": list(roles.ignore) or None,
    }
    sections = [section("[project]", {"name": name}), section("[table]", values, roles.notes), _value_section()]
    return _proposal(sections, roles.notes)


def _proposal(sections: list[str], findings: Sequence[str]) -> Proposal:
    text = "# Proposed by `tenure init` from what the files hold. Every line may be changed.\n\n" + "\n".join(sections)
    settings_from(tomllib.loads(text), source="the proposal")
    return Proposal(text, tuple(findings))


def _relative(pattern: str, root: Path) -> str:
    path = Path(pattern).expanduser()
    return str(path) if path.is_absolute() else os.path.relpath(path, root)


def _open_logs(engine: duckdb.DuckDBPyConnection, events: Sequence[str], root: Path) -> list[_Log]:
    logs: list[_Log] = []
    taken: set[str] = set()
    for number, pattern in enumerate(events):
        source = open_files(engine, pattern, Path())
        found = profile(engine, source, table=f"looked at {number}")
        roles = event_roles(engine, found)
        kinds = event_types(engine, found, roles.type) if roles.type else {_stem(pattern): found.rows}
        types = {_section_name(kind, taken): kind for kind in kinds}
        values = {name: _filled(engine, found, roles, kind) for name, kind in types.items()}
        logs.append(_Log(_relative(pattern, root), source, found, roles, types, values))
    return logs


def _stem(pattern: str) -> str:
    path = Path(pattern)
    stem = path.name.partition(".")[0]
    return path.parent.name if "*" in stem else stem


def _section_name(kind: str, taken: set[str]) -> str:
    """A name that feature names can begin with: letters, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", kind).strip("_").lower() or "event"
    plain = plain if plain[0].isalpha() else f"event_{plain}"
    name = next(name for n in range(1, len(taken) + 2) if (name := plain if n == 1 else f"{plain}_{n}") not in taken)
    taken.add(name)
    return name


def _event_sections(log: _Log) -> list[str]:
    roles = log.roles
    common = {
        "path": log.path,
        "customer": roles.customer,
        "time": roles.time,
        "recorded": roles.recorded,
        "id": roles.id,
        "lines": True if roles.lines else None,
        "type": roles.type,
    }
    rest = {"categories": list(roles.categories) or None, "where": roles.where}
    named = (
        (
            name,
            {
                **common,
                "type_is": kind if roles.type and kind != name else None,
                "values": list(log.values[name]) or None,
                **rest,
            },
        )
        for name, kind in log.types.items()
    )
    return [
        section(f"[events.{name}]", values, roles.notes if n == 0 else ()) for n, (name, values) in enumerate(named)
    ]


def _customers_section(
    engine: duckdb.DuckDBPyConnection, customers: str, root: Path, customer: str
) -> tuple[str, tuple[str, ...]]:
    found = profile(engine, open_files(engine, customers, Path()), table="looked at customers")
    roles = customer_roles(found, customer)
    values = {
        "path": _relative(customers, root),
        "id": roles.id,
        "since": roles.since,
        "attributes": list(roles.attributes) or None,
        "known_at": roles.known_at,
    }
    return section("[customers]", values, roles.notes), roles.notes


def _feature_sections(logs: Sequence[_Log], churn: Mapping[str, Any]) -> list[str]:
    values = {name: log.values[name] for log in logs for name in log.types if name != churn.get("event")}
    blocks = propose_features(values, churn["horizon"])
    why = [
        "windows around the horizon and all history; trends compare the recent past with the time before",
        f"at most {MOST_VALUES} values of each event",
    ]
    return [section("[[features]]", block, why if n == 0 else ()) for n, block in enumerate(blocks)]


def _filled(engine: duckdb.DuckDBPyConnection, found: Profile, roles: EventRoles, kind: str) -> tuple[str, ...]:
    """The values that rows of this type hold: in a source of several types most columns belong to one of them."""
    if roles.type is None or not roles.values:
        return roles.values
    counts_sql = ", ".join(f"count(DISTINCT {quote_identifier(value)})" for value in roles.values)
    of_kind = f"CAST({quote_identifier(roles.type)} AS VARCHAR) = {quote_literal(kind)}"
    counts = _row(engine, f"SELECT {counts_sql} FROM {quote_identifier(found.table)} WHERE {of_kind}")
    return tuple(value for value, count in zip(roles.values, counts, strict=True) if count > 1)


def _value_section() -> str:
    return section(
        "[value]",
        {"clv": 600.0, "contact_cost": 10.0, "incentive_cost": 0.0, "save_rate": [0.1, 0.3]},
        [
            "in your currency: what a kept customer is worth, what a contact and an incentive cost,",
            "and the share of contacted churners who stay; a range gives results as a range",
        ],
    )


def _gaps(engine: duckdb.DuckDBPyConnection, logs: Sequence[_Log]) -> Gaps:
    """Days between active days over all sources, cancellations left out."""
    days_sql = " UNION ".join(_days_sql(engine, log) for log in logs)
    engine.execute(f"CREATE OR REPLACE TEMP TABLE active_days AS SELECT DISTINCT customer, day FROM ({days_sql})")
    first, last, customers = _row(engine, "SELECT min(day), max(day), count(DISTINCT customer) FROM active_days")
    if first is None:
        raise InputError("No row has both a customer and a readable time.", hint="Check the files.")
    gaps_sql = "SELECT customer, day - lag(day) OVER (PARTITION BY customer ORDER BY day) AS gap FROM active_days"
    shares_sql = f"quantile_disc(gap, {list(_QUANTILES)}), count(DISTINCT customer)"
    quantiles, returning = _row(engine, f"SELECT {shares_sql} FROM ({gaps_sql}) WHERE gap IS NOT NULL")
    found = dict(zip(_QUANTILES, map(float, quantiles), strict=True)) if returning else {}
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
    return Gaps(start, end, customers, returning, found)


def _row(engine: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = engine.execute(sql).fetchone()
    return () if row is None else row


def _days_sql(engine: duckdb.DuckDBPyConnection, log: _Log) -> str:
    roles = log.roles
    names = [roles.customer, roles.time, *([roles.type] if roles.type else [])]
    relation = log.source.load(engine, names)
    customer_sql = text_sql(quote_identifier(roles.customer), relation.columns[roles.customer])
    moment = moment_sql(roles.time, relation.columns[roles.time], UTC)
    rows_sql = f"SELECT {customer_sql} AS customer, CAST({moment} AS DATE) AS day FROM {relation.sql}"
    leaving = [kind for kind in log.types.values() if roles.type and CANCEL.match(kind)]
    if leaving and roles.type:
        listed = ", ".join(quote_literal(kind) for kind in leaving)
        rows_sql += f" WHERE CAST({quote_identifier(roles.type)} AS VARCHAR) NOT IN ({listed})"
    return f"SELECT customer, day FROM ({rows_sql}) WHERE customer <> '' AND day IS NOT NULL"
