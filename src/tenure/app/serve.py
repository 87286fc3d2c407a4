"""`tenure serve`: the parts of a service, opened from a project's settings, and the worker that serves them.

Enters: a `Place`, or what `tenure serve` was told, by an environment variable, in a process of its own. Leaves: an open
`Service`, or an application. Invariant: a service is handed out only once a version has proven itself and every
dependency was asked once, so that the first request finds what the thousandth does.

A worker process is told what to serve by `TENURE_SERVE`: a JSON document that holds the settings file, what the command
line puts over it, and how far the clock of live features is away from the wall clock. Passwords stand in the settings
and in the environment, where they are anyway; none is written into that document that was not on the command line.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from tenure.app.place import Place
from tenure.app.scorer import OpenedScorer, moved, open_cache, open_scorer
from tenure.app.stream import event_schemas
from tenure.app.wanted import wanted
from tenure.app.watcher import Watcher
from tenure.core.config import KeyPath
from tenure.core.errors import ConfigError, StateError, TenureError
from tenure.core.guard import State
from tenure.core.time import Clock, parse_timezone
from tenure.model.verify import read_manifest
from tenure.serve.app import Application, create_app
from tenure.serve.facts import FactsReader
from tenure.serve.idempotency import IdempotencyKeys
from tenure.serve.intake import Intake
from tenure.serve.keys import KeyRing, load_keys
from tenure.serve.limits import Limiter
from tenure.serve.logs import RequestLog
from tenure.serve.metrics import Metrics
from tenure.serve.service import About, Readiness, Service
from tenure.serve.tracing import TracedObserver, TracedScorer, tracing

__all__ = ["TOLD", "Launch", "open_service", "require_startable", "worker_app"]

TOLD = "TENURE_SERVE"
_RATES = "rates"
_SAID: Mapping[State, str] = {"open": "does not answer", "half_open": "did not answer and is about to be tried again"}
_log = logging.getLogger("tenure.serve")


@dataclass(frozen=True)
class Launch:
    """What `tenure serve` was told.

    Parameters
    ----------
    config : Path
        The settings file.
    overrides : mapping
        What the command line puts over it.
    ahead : timedelta
        How far the instant of live features is ahead of the wall clock; negative in a replay of the past.
    tls : bool
        Whether connections are encrypted.

    Examples
    --------
    >>> told = Launch(Path("tenure.toml"), {("serve", "port"): 0}, timedelta(days=-1)).to_json()
    >>> Launch.from_json(told).overrides, Launch.from_json(told).ahead
    ({('serve', 'port'): 0}, datetime.timedelta(days=-1))
    """

    config: Path
    overrides: Mapping[KeyPath, Any]
    ahead: timedelta = timedelta(0)
    tls: bool = False

    def to_json(self) -> str:
        """The same as text, for another process."""
        document = {
            "config": str(self.config),
            "overrides": list(self.overrides.items()),
            "ahead_seconds": self.ahead.total_seconds(),
            "tls": self.tls,
        }
        return json.dumps(document, default=_text)

    @classmethod
    def from_json(cls, text: str) -> Launch:
        """What another process was told."""
        found = json.loads(text)
        overrides = {tuple(path): value for path, value in found["overrides"]}
        return cls(Path(found["config"]), overrides, timedelta(seconds=found["ahead_seconds"]), found["tls"])

    def place(self) -> Place:
        """The project.

        Raises
        ------
        NotFoundError
            There is no settings file.
        ConfigError
            A key or value is not understood.
        """
        return Place.load(self.config, self.overrides)


def _text(value: object) -> str:
    """A value of TOML that JSON does not have: dates and times, which settings read as text just as well."""
    if isinstance(value, date):
        return value.isoformat()
    raise ConfigError(f"{value!r} cannot be a setting.", hint="Use text, numbers, lists and dates.")


def require_startable(place: Place) -> None:
    """Refuse what every worker would refuse, as far as it is found out at once.

    Raises
    ------
    NotFoundError
        There is no version yet.
    ArtifactError
        The version's manifest is absent or another one.
    ConfigError
        `[serve] cache` is not understood.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> require_startable(Place.load(write_shop(Path(tempfile.mkdtemp()))))
    Traceback (most recent call last):
    tenure.core.errors.NotFoundError: There is no version 'latest': nothing has been trained yet.
    → Train a version with `tenure train`.
    """
    version, _ = wanted(place, place.registry())
    read_manifest(version.folder, version.manifest_sha256)
    open_cache(place).close()


@contextmanager
def open_service(place: Place, *, ahead: timedelta = timedelta(0), tls: bool = False) -> Iterator[Service]:
    """Open everything that a service needs, and look after it until the end of the block.

    Parameters
    ----------
    place : Place
        The project.
    ahead : timedelta
        How far the instant of live features is ahead of the wall clock.
    tls : bool
        Whether connections are encrypted.

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
    >>> from tenure.app.training import train_version
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> done = train_version(place)
    >>> with open_service(place) as service:
    ...     service.about().version, service.ready().ready
    ('v1', True)
    """
    settings, clock, metrics = place.settings.serve, moved(place.clock, ahead), Metrics()
    with ExitStack() as opened:
        spans = tracing()
        observer = metrics if spans is None else TracedObserver(metrics, spans)
        scoring = opened.enter_context(open_scorer(place, as_of=clock, observer=observer))
        keys = KeyRing(lambda: load_keys(scoring.database))
        limiter = Limiter(settings.rate, place.workspace / _RATES)
        opened.callback(limiter.close)
        intake = _intake(place, scoring, clock, metrics, opened)
        watchers = _watchers(scoring, intake, keys, metrics, settings.refresh_seconds)
        for watcher in watchers:
            watcher.look()
        service = Service(
            scoring.scorer if spans is None else TracedScorer(scoring.scorer, spans),
            intake,
            _facts(scoring, clock),
            keys,
            limiter,
            metrics,
            _ready(scoring, intake, watchers),
            _about(scoring),
            settings,
            tls=tls,
        )
        for watcher in watchers:
            opened.enter_context(watcher)
        yield service


def _intake(place: Place, opened: OpenedScorer, clock: Clock, metrics: Metrics, exits: ExitStack) -> Intake | None:
    if opened.log is None:
        return None
    database = place.database()
    exits.callback(database.dispose)
    zone = parse_timezone(place.settings.project.timezone)
    keys = IdempotencyKeys(database)
    intake = Intake(opened.log, event_schemas(place), zone, keys, clock, told=metrics.turned)
    exits.callback(intake.close)
    return intake


def _facts(opened: OpenedScorer, clock: Clock) -> FactsReader | None:
    if opened.rows is None:
        return None
    champion, scorer = opened.champion, opened.scorer
    return FactsReader(scorer.fresh, scorer.score, lambda: champion.model.features, clock)


def _watchers(
    opened: OpenedScorer, intake: Intake | None, keys: KeyRing, metrics: Metrics, every_seconds: float
) -> tuple[Watcher, Watcher]:
    """Who follows the alias, and who looks at all else: a key is revoked while a version is being verified, too."""
    following = _Following(opened, metrics)

    def told(*, failed: bool) -> None:
        metrics.refreshed(failed=failed or following.is_blind)

    def of_versions(*, failed: bool) -> None:
        """What is the matter with a version is told with the rest."""

    duties: dict[str, Callable[[], object]] = {
        "keys": keys.refresh,
        "dependencies": opened.scorer.probe,  # it looks for new batch scores, too
        "states of breakers": lambda: metrics.breakers(_states(opened, intake)),
    }
    versions = Watcher({"new version": following.look}, of_versions, every_seconds=every_seconds)
    return versions, Watcher(duties, told, every_seconds=every_seconds)


class _Following:
    """Has the version answer that the alias points at.

    A version that was looked at and refused is counted as such, once. It is no look that failed: `is_blind` says
    whether the last look could not even tell which version shall answer, or what is in its folder.
    """

    def __init__(self, opened: OpenedScorer, metrics: Metrics) -> None:
        self._opened, self._metrics = opened, metrics
        self._refusals: set[str] = set()
        self.is_blind = False
        model = opened.champion.model
        metrics.serves(model.name, model.alias)

    def look(self) -> None:
        try:
            model = self._opened.follow()
        except Exception as error:
            self.is_blind = isinstance(error, StateError) or not isinstance(error, TenureError)
            if not self.is_blind and str(error) not in self._refusals:
                self._refusals.add(str(error))
                self._metrics.refused()
            raise
        self.is_blind = False
        if model is not None:
            self._metrics.serves(model.name, model.alias)
            _log.info("A new version serves.", extra={"version": model.name, "alias": model.alias})


def _states(opened: OpenedScorer, intake: Intake | None) -> dict[str, State]:
    """Every breaker that there is now, with its state."""
    return {**opened.scorer.states(), **({} if intake is None else intake.states())}


def _ready(opened: OpenedScorer, intake: Intake | None, watchers: Sequence[Watcher]) -> Callable[[], Readiness]:
    """Whether the service is ready: its version is verified, and every dependency was asked before anybody could ask.

    What is said is for anybody to read, so that it names parts and nothing else.
    """

    def ready() -> Readiness:
        model, states = opened.champion.model, _states(opened, intake)
        degraded = [f"{name} {_SAID[state]}" for name, state in states.items() if state != "closed"]
        degraded += [f"the {name} could not be looked at" for watcher in watchers for name in sorted(watcher.troubles)]
        return Readiness(True, model.name, model.alias, states, "; ".join(degraded))

    return ready


def _about(opened: OpenedScorer) -> Callable[[], About]:
    package = metadata.version("tenure")

    def about() -> About:
        model = opened.champion.model
        manifest = model.version.manifest
        return About(
            package,
            model.name,
            model.alias,
            manifest.family,
            manifest.created_at,
            model.fingerprint,
            tuple(manifest.features.names),
        )

    return about


@contextmanager
def worker_app() -> Iterator[Application]:
    """The application of a worker process, opened from `TENURE_SERVE` and closed when the worker stops.

    Raises
    ------
    ConfigError
        `TENURE_SERVE` is not set: this is no worker of `tenure serve`.
    TenureError
        As `open_service`.

    Examples
    --------
    >>> with worker_app() as app:
    ...     pass
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: TENURE_SERVE is not set.
    → Start the service with `tenure serve`.
    """
    told = os.environ.get(TOLD)
    if not told:
        raise ConfigError(f"{TOLD} is not set.", hint="Start the service with `tenure serve`.")
    launch = Launch.from_json(told)
    place = launch.place()
    share = place.settings.serve.log_share
    with open_service(place, ahead=launch.ahead, tls=launch.tls) as service, closing(RequestLog(share=share)) as log:
        yield create_app(service, finished=[log.finished])
