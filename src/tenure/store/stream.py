"""The parts of a stream, put together once and handed to whoever folds, restores or verifies.

Enters: parts that are open. Leaves: one record of them. Invariant: whoever has it can name every part; none is found
anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import duckdb
from sqlalchemy.engine import Engine

from tenure.core.progress import Progress, silent
from tenure.core.settings import StreamSettings
from tenure.core.time import Clock, system_clock
from tenure.source.history import History
from tenure.source.log import EventLog
from tenure.store.archive import Archive
from tenure.store.folding import Rules
from tenure.store.protocol import OnlineStore

__all__ = ["Stream"]


@dataclass(frozen=True)
class Stream:
    """A log, what is made of it, and where that goes.

    Parameters
    ----------
    settings : StreamSettings
        How much is read at once, by which group, and how often the archive gets its events.
    rules : Rules
        What events are and which features are made of them.
    log : EventLog
        Where events come from.
    store : OnlineStore
        Where states go.
    archive : Archive
        Where raw events are kept.
    database : Engine
        The project's: dead letters, and where partitions begin.
    history : callable
        Opens the history that a bootstrap began with.
    engine : callable
        Opens a query engine.
    clock : Clock
        For the age of events and for what "now" is to a reader; no event is judged by it.
    progress : Progress
        Told about long work.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream() as stream:
    ...     stream.log.partitions, stream.rules.layout.events
    (2, ('pay',))
    """

    settings: StreamSettings
    rules: Rules
    log: EventLog
    store: OnlineStore
    archive: Archive
    database: Engine
    history: Callable[[], History]
    engine: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    clock: Clock = system_clock
    progress: Progress = silent
