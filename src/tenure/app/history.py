"""From configured sources to point-in-time tables, cutoffs and features.

Enters: a `Place`. Leaves: the opened history with what its rows passed, the split of its cutoffs, and the features with
their categories frozen. Invariant: whatever is frozen is decided by what was known at the last training cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from tenure.app.place import Place
from tenure.core.errors import ConfigError, HistoryError
from tenure.core.progress import Progress, silent
from tenure.core.settings import ChurnSettings
from tenure.core.time import floor_time
from tenure.features.declare import Attribute, FeatureSet, declare, splits
from tenure.features.snapshot import Tables, frequent_values, open_tables
from tenure.model.split import Split, choose_cutoffs, plan_split
from tenure.source.history import ContractReport, History
from tenure.source.ingest import ingest

__all__ = ["Opened", "churn_of", "declared_features", "default_as_of", "open_history", "plan"]


@dataclass(frozen=True)
class Opened:
    """A history opened in a query engine, with what became of the rows of its sources."""

    tables: Tables
    report: ContractReport

    @property
    def history(self) -> History:
        """The record of the tables."""
        return self.tables.history


def churn_of(place: Place) -> ChurnSettings:
    """The `[churn]` section.

    Raises
    ------
    ConfigError
        The project is a plain table, which has none.
    """
    if place.settings.churn is None:
        raise ConfigError("A plain table has no cutoffs.", hint="This needs [events] and [churn] in tenure.toml.")
    return place.settings.churn


def open_history(place: Place, engine: duckdb.DuckDBPyConnection, progress: Progress = silent) -> Opened:
    """Read and check the sources, or reuse what was read before, and open the result.

    Raises
    ------
    ContractError
        More rows are bad than the project allows.
    InputError
        A source cannot be read.
    """
    found = ingest(place.settings, place.root, place.workspace, place.clock, place.tables, progress)
    return Opened(open_tables(engine, found.history), found.report)


def plan(place: Place, history: History) -> Split:
    """Choose cutoffs and their blocks.

    Raises
    ------
    HistoryError
        The log is empty or too short; the message says by how much.
    """
    churn = churn_of(place)
    if history.first is None or history.watermark is None:
        raise HistoryError("The log holds no events.", hint="Check path and where in [events].")
    return plan_split(choose_cutoffs(history.first, history.watermark, churn), churn)


def declared_features(place: Place, opened: Opened, before: datetime) -> FeatureSet:
    """The configured features, with the categories that `by` splits frozen as of `before`."""
    blocks = place.settings.features
    customers = opened.history.customers
    return declare(
        blocks,
        frequent_values(opened.tables, splits(blocks), before),
        tuple(
            Attribute(name, "number" if kind == "number" else "text")
            for name, kind in (customers.attributes if customers else ())
        ),
        tenure=customers is not None and customers.has_since,
    )


def default_as_of(history: History) -> datetime:
    """The first whole second after the log's last event, so that every event counts.

    Raises
    ------
    HistoryError
        The log holds no events.

    Examples
    --------
    >>> from datetime import UTC
    >>> from tenure.source.history import EventTable
    >>> last = datetime(2026, 1, 31, 12, 0, 0, 5, UTC)
    >>> login = EventTable("login", (), 1, 1, last, last, (), (), has_recorded=False, has_id=False)
    >>> default_as_of(History({"login": login}, None, None, "0f")).second
    1
    """
    if history.watermark is None:
        raise HistoryError("The log holds no events.", hint="Check path and where in [events].")
    second = timedelta(seconds=1)
    return floor_time(history.watermark, second) + second
