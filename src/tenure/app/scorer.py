"""Hybrid scoring of a project, put together from its settings.

Enters: a `Place`. Leaves: a `HybridScorer` with everything behind it open: the version, the precomputed scores, the
cache, the online store. Invariant: what is open is closed again, whatever fails in between; and nothing that is opened
here ever writes into the project, beside scores into a cache and tables that do not exist yet.

Two clocks. `place.clock` says how old a kept score is. The other one, `as_of`, says which instant live features speak
for; it is the same unless a log from the past is being replayed. Then live scores are kept in this process alone: in a
cache that others share, whoever asks about today would be answered about the past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Lock

from sqlalchemy.engine import Engine

from tenure.app.champion import Champion
from tenure.app.place import Place
from tenure.app.stream import event_schemas, open_store
from tenure.app.watcher import Watcher
from tenure.core.database import open_database
from tenure.core.errors import ConfigError, HistoryError, StateError
from tenure.core.time import Clock, format_instant
from tenure.features.declare import FeatureSet
from tenure.score.cache import Cache, MemoryCache, NoCache
from tenure.score.cache_redis import RedisCache
from tenure.score.hybrid import HybridScorer
from tenure.score.live import LiveModel
from tenure.score.observe import Observer, silent_observer
from tenure.score.precomputed import Precomputed
from tenure.score.protocol import FreshRows
from tenure.source.log import EventLog
from tenure.source.logs import open_log
from tenure.store.hybrid import HybridRows, OnlineRows
from tenure.store.protocol import OnlineStore

__all__ = ["OpenedScorer", "ahead_of", "looked_after", "moved", "open_cache", "open_scorer"]


@dataclass(frozen=True)
class OpenedScorer:
    """Everything that scoring needs, open.

    Parameters
    ----------
    scorer : HybridScorer
        What answers.
    champion : Champion
        Which version it answers with.
    database : Engine
        The project's database, for reading.
    log : EventLog or None
        The log that events go into; None where the project is a plain table.
    rows : FreshRows or None
        Fresh features, once the online store answers; None where the project is a plain table.
    """

    scorer: HybridScorer
    champion: Champion
    database: Engine
    log: EventLog | None
    rows: FreshRows | None

    def follow(self) -> LiveModel | None:
        """Answer with the version that the alias points at; gives its model where it is another one than before.

        Raises
        ------
        TenureError
            As `Champion.look`; the one before goes on answering.
        """
        model = self.champion.look()
        if model is not None:
            self.scorer.switch(model)
        return model


@contextmanager
def looked_after(opened: OpenedScorer, every_seconds: float) -> Iterator[None]:
    """Notice another version, and another batch, during the block; what cannot be looked at stays as it was.

    Parameters
    ----------
    opened : OpenedScorer
        What is looked after.
    every_seconds : float
        How often it is looked at.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.training import train_version
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> done = train_version(place)
    >>> with open_scorer(place) as opened, looked_after(opened, 1.0):
    ...     opened.scorer.model.name
    'v1'
    """

    def of_looks(*, failed: bool) -> None:
        """The log says what is the matter; whoever asks for a score is told by the score."""

    duties = {"new version": opened.follow, "dependencies": opened.scorer.probe}
    with Watcher(duties, of_looks, every_seconds=every_seconds):
        yield


@contextmanager
def open_scorer(
    place: Place, *, as_of: Clock | None = None, observer: Observer = silent_observer
) -> Iterator[OpenedScorer]:
    """Open everything that scoring needs.

    Parameters
    ----------
    place : Place
        The project.
    as_of : Clock, optional
        The instant that live features speak for; default: the project's clock.
    observer : Observer
        Who counts.

    Raises
    ------
    NotFoundError
        There is no version yet.
    ArtifactError
        The version may not be used.
    ConfigError
        A part is set to something that is not understood.
    StateError
        The database or the event log does not answer.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.scoring import score
    >>> from tenure.app.training import train_version
    >>> from tenure.score.served import Ask
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> done = train_version(place), score(place)
    >>> with open_scorer(place) as opened:
    ...     [found] = opened.scorer.score([Ask("c100")])
    >>> found.source, found.model_version, found.alias
    ('batch', 'v1', 'champion')
    """
    settings = place.settings.serve
    with ExitStack() as opened:
        place.database().dispose()  # makes the tables that are missing; what follows only reads
        database = open_database(place.settings.project.database, root=place.root, reading=True)
        opened.callback(database.dispose)
        champion = Champion(place, database, told=observer.turned)
        clock = as_of or place.clock
        cache = open_cache(place, alone=clock is not place.clock)
        opened.callback(cache.close)
        log = rows = None
        if place.settings.events:
            log = open_log(place.settings.stream, place.root, clock=clock)
            opened.callback(log.close)
            rows = _LateRows(partial(open_store, place, log), clock)
            opened.callback(rows.close)
            rows.try_opening()
        scorer = HybridScorer(
            champion.model,
            Precomputed(database, settings.entries),
            cache,
            rows,
            settings,
            clock=place.clock,
            observer=observer,
        )
        yield OpenedScorer(scorer, champion, database, log, rows)


class _LateRows:
    """Rows of an online store that need not answer yet: the first question that reaches it opens it."""

    def __init__(self, open_store: Callable[[], OnlineStore], clock: Clock) -> None:
        self._open_store, self._clock, self._opening = open_store, clock, Lock()
        self._rows: OnlineRows | None = None

    def probe(self) -> None:
        """As `OnlineRows.probe`."""
        self._opened().probe()

    def read(self, features: FeatureSet, customers: Sequence[str]) -> HybridRows:
        """As `OnlineRows.read`."""
        return self._opened().read(features, customers)

    def try_opening(self) -> None:
        """Open the store if it answers; refuse now what is set wrongly."""
        with suppress(StateError):
            self._opened()

    def close(self) -> None:
        """Close the store, if it was opened."""
        with self._opening:
            if self._rows is not None:
                self._rows.store.close()

    def _opened(self) -> OnlineRows:
        if self._rows is not None:
            return self._rows
        with self._opening:
            if self._rows is None:
                self._rows = OnlineRows(self._open_store(), self._clock)
            return self._rows


def open_cache(place: Place, *, alone: bool = False) -> Cache:
    """The cache that the settings name; a Redis is not asked yet.

    Parameters
    ----------
    place : Place
        The project.
    alone : bool
        Whether nobody else may be answered with what is kept: the memory of this process then takes a Redis's place.

    Raises
    ------
    ConfigError
        The setting is not understood.
    """
    settings = place.settings.serve
    if settings.cache == "memory" or (alone and "://" in settings.cache):
        return MemoryCache(settings.entries, settings.cache_ttl)
    if settings.cache == "none":
        return NoCache()
    if "://" in settings.cache:
        return RedisCache(settings.cache, place.settings.project.name, settings.cache_ttl, settings.budget_seconds)
    raise ConfigError(
        f"[serve] cache is {settings.cache!r}; it is memory, none, or the URL of a Redis.",
        hint='For example "memory" or "redis://localhost:6379/0".',
    )


def moved(clock: Clock, ahead: timedelta) -> Clock:
    """A clock that runs like another one, so much ahead of it.

    Examples
    --------
    >>> from tenure.core.time import fixed_clock
    >>> moved(fixed_clock("2026-02-01"), timedelta(days=-1))().isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    return (lambda: clock() + ahead) if ahead else clock


def ahead_of(place: Place, as_of: datetime) -> timedelta:
    """How far the instant of live features is ahead of the wall clock, where a replay begins at `as_of`.

    Raises
    ------
    ConfigError
        The project is a plain table, whose rows have no instant that could be chosen.
    HistoryError
        The instant lies in the future.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.core.time import fixed_clock, parse_instant
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())), clock=fixed_clock("2026-02-01"))
    >>> ahead_of(place, parse_instant("2026-01-31"))
    datetime.timedelta(days=-1)
    """
    event_schemas(place)
    now = place.now()
    if as_of > now:
        raise HistoryError(
            f"The instant {format_instant(as_of)} lies in the future: it is {format_instant(now)}.",
            hint="Leave --as-of out: live features then speak for now.",
            as_of=as_of,
        )
    return as_of - now
