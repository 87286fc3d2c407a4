"""The event log that the settings name.

Enters: `[stream]` and the folder that a relative path starts from. Leaves: an opened log. Invariant: what is asked
for is a log that exists or can be made; a name that means none is refused together with those that do.
"""

from __future__ import annotations

from pathlib import Path

from tenure.core.errors import ConfigError
from tenure.core.settings import StreamSettings
from tenure.core.time import Clock, system_clock
from tenure.source.log import EventLog
from tenure.source.log_kafka import open_kafka_log
from tenure.source.log_sqlite import open_sqlite_log

__all__ = ["open_log"]

SQLITE, KAFKA = "sqlite:///", "kafka://"


def open_log(settings: StreamSettings, root: Path, *, clock: Clock = system_clock) -> EventLog:
    """Open the event log of a project.

    Parameters
    ----------
    settings : StreamSettings
        `log` names it: `sqlite:///` and a path, or `kafka://host:port/topic`.
    root : Path
        The folder that a relative path starts from.
    clock : Clock
        Says when an embedded log took a record.

    Raises
    ------
    ConfigError
        The name means no kind of log, or the log has another number of partitions.
    NotFoundError
        There is no such topic, and the broker does not let it be created.
    StateError
        The log cannot be opened, or does not answer.

    Examples
    --------
    >>> import tempfile
    >>> log = open_log(StreamSettings(log="sqlite:///log.db"), Path(tempfile.mkdtemp()))
    >>> log.name, log.partitions
    ('log.db', 4)
    >>> log.close()
    """
    if settings.log.startswith(KAFKA):
        return open_kafka_log(settings)
    file = settings.log.removeprefix(SQLITE)
    if not settings.log.startswith(SQLITE) or not file:
        raise ConfigError(
            f"The event log's URL begins with {settings.log[:10]!r}; there are sqlite:/// and kafka://.",
            hint='Set [stream] log to "sqlite:///.tenure/stream/log.db" or "kafka://localhost:9092/events".',
        )
    return open_sqlite_log(root / file, settings.partitions, partitioner=settings.partitioner, clock=clock)
