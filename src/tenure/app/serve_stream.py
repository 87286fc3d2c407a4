"""`tenure serve --with-stream`: the consumer of the stream as a child of the service.

Enters: what the service was told. Leaves: states that are kept fresh for as long as the service runs. Invariant: the
child never outlives the service, however that ends, and the service never waits for the child: it folds in a process of
its own, so that neither takes the other's processor time, nor its memory when it dies.

The features that are folded are the champion's. When a champion with other features is promoted, the child begins anew
with those, and fills their states; until that is done, the service answers from the batch rows and says so.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenure.app.place import Place
from tenure.app.serve import Launch
from tenure.app.stream import event_schemas, open_stream
from tenure.app.stream_run import run_consumer
from tenure.core.database import open_database
from tenure.core.errors import TenureError
from tenure.features.declare import FeatureSet
from tenure.model.registry import Registry
from tenure.model.verify import read_manifest
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
        The project is a plain table.

    Examples
    --------
    >>> from pathlib import Path
    >>> with folding(Launch(Path("no-such.toml"), {})):
    ...     pass
    Traceback (most recent call last):
    tenure.core.errors.NotFoundError: There is no file no-such.toml.
    → Write one with `tenure init --events FILE`, or name yours with --config.
    """
    event_schemas(launch.place())
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(launch, over), name="tenure-stream", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


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
    place = Launch.from_json(told).place()
    with logging_as_json():
        while not over.is_set() and os.getppid() == parent:
            try:
                _fold_features(place, lambda: over.is_set() or os.getppid() != parent)
            except TenureError as error:
                _log.warning("The consumer waits.", extra={"reason": error.message})
                over.wait(AGAIN_SECONDS)


def _fold_features(place: Place, is_over: Callable[[], bool]) -> None:
    """Fold the champion's features until another champion has others."""
    database = open_database(place.settings.project.database, root=place.root, reading=True)
    registry = Registry(database, place.workspace / "versions", place.clock)
    due = time.monotonic() + LOOK_SECONDS

    def is_done() -> bool:
        nonlocal due
        if is_over() or time.monotonic() < due:
            return is_over()
        due = time.monotonic() + LOOK_SECONDS
        return _has_others(registry, features)

    try:
        with open_stream(place) as (stream, features):
            run_consumer(stream, stopped=is_done, tell=lambda _: None, every_seconds=60.0)
    finally:
        database.dispose()


def _has_others(registry: Registry, features: FeatureSet) -> bool:
    """Whether there is a champion with other features than those that are folded."""
    try:
        champion = next((one for one in registry.versions() if "champion" in one.aliases), None)
        if champion is None:
            return False
        return read_manifest(champion.folder, champion.manifest_sha256).features != features
    except TenureError:
        return False  # a busy database, or a damaged folder, is no reason to stop folding
