"""`tenure serve --with-stream`: the consumer of the stream as a child of the service.

Enters: what the service was told. Leaves: states that are kept fresh for as long as the service runs. Invariant: the
child never outlives the service, however that ends, and the service never waits for the child: it folds in a process of
its own, so that neither takes the other's processor time, nor its memory when it dies.

The features that are folded are those of the version that serves. When another one with other features is to serve, the
child begins anew with those, and fills their states; until that is done, the service answers from the batch rows and
says so.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from tenure.app.place import Place
from tenure.app.scorer import moved
from tenure.app.serve import Launch
from tenure.app.stream import open_stream
from tenure.app.stream_run import run_consumer
from tenure.app.wanted import wanted_features
from tenure.core.database import open_database
from tenure.core.errors import StateError, TenureError
from tenure.features.declare import FeatureSet
from tenure.model.registry import Registry
from tenure.serve.logs import logging_as_json

__all__ = ["folding"]

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
_log = logging.getLogger("tenure.stream")


@contextmanager
def folding(launch: Launch) -> Iterator[None]:
    """Keep the states of a project's stream fresh during the block, in a process of its own.

    Raises
    ------
    ConfigError
        The project is a plain table, or a part of its stream is set to something that waiting would not mend.
    NotFoundError
        The topic of the log is missing, or the version needs events that the settings no longer name.
    MissingExtraError
        A package for the log or the store is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> with folding(Launch(Path("no-such.toml"), {})):
    ...     pass
    Traceback (most recent call last):
    tenure.core.errors.NotFoundError: There is no file no-such.toml.
    → Write one with `tenure init --events FILE`, or name yours with --config.
    """
    _require_foldable(launch.place())
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(launch, over), name="tenure-stream", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _require_foldable(place: Place) -> None:
    """Refuse what the child could only wait for in vain; a store that does not answer now is waited for."""
    with suppress(StateError), open_stream(place) as (stream, _):
        stream.archive.refuse_other(stream.log.identity)


def _keep(launch: Launch, over: threading.Event) -> None:
    """Run the child, and another one where it dies; at the end stop it as `tenure stream` is stopped."""
    context = multiprocessing.get_context("spawn")
    while not over.is_set():
        child = context.Process(target=_fold, args=(launch.to_json(), os.getpid()), name="tenure-stream")
        child.start()
        while child.is_alive() and not over.wait(LOOK_SECONDS / 10):
            pass
        if over.is_set():
            child.terminate()
            child.join(PATIENCE_SECONDS)
            child.kill()
        else:
            _log.warning("The consumer died; another one is started.", extra={"exit_code": child.exitcode})
            over.wait(AGAIN_SECONDS)
        child.join()


def _fold(told: str, parent: int) -> None:
    """The child: fold until it is told to stop, or the parent is gone."""
    over = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with logging_as_json():
        try:
            _fold_until(Launch.from_json(told), over, lambda: over.is_set() or os.getppid() != parent)
        except Exception:  # noqa: BLE001 - what escaped from here would be written with its message, whatever that says
            _log.critical("The consumer failed.", exc_info=True)
            sys.exit(1)


def _fold_until(launch: Launch, over: threading.Event, is_over: Callable[[], bool]) -> None:
    """Fold on and on; what waiting may mend is waited for. The clock is the service's, also in a replay of the past."""
    place = launch.place()
    place = replace(place, clock=moved(place.clock, launch.ahead))
    while not is_over():
        try:
            _fold_features(place, is_over)
        except TenureError:
            _log.warning("The consumer waits.", exc_info=True)
            over.wait(AGAIN_SECONDS)


def _fold_features(place: Place, is_over: Callable[[], bool]) -> None:
    """Fold the features of the version that serves, until another one is to serve that has others."""
    database = open_database(place.settings.project.database, root=place.root, reading=True)
    registry = place.registry(database)
    due = time.monotonic() + LOOK_SECONDS

    def is_done() -> bool:
        nonlocal due
        if is_over() or time.monotonic() < due:
            return is_over()
        due = time.monotonic() + LOOK_SECONDS
        return _has_others(place, registry, features)

    try:
        with open_stream(place) as (stream, features):
            run_consumer(stream, stopped=is_done, tell=lambda _: None, every_seconds=60.0)
    finally:
        database.dispose()


def _has_others(place: Place, registry: Registry, features: FeatureSet) -> bool:
    """Whether a version is to serve that has other features than those that are folded."""
    try:
        served = wanted_features(place, registry)
    except TenureError:
        return False  # a busy database, or a damaged folder, is no reason to stop folding
    return served is not None and served != features
