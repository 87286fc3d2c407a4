"""The version that answers: the one that an alias points at, loaded once it has proven itself.

Enters: a project. Leaves: a `LiveModel`, and another one when the alias has moved. Invariant: a version that did not
prove itself never takes the place of one that did; whoever asks is told why, and the old one goes on answering.

A version that was refused is tried again after a minute, not at every look: verifying starts a process, and a folder
that is damaged now is most likely still damaged in a second. Once somebody restores it, a minute is not long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy.engine import Engine

from tenure.app.place import Place
from tenure.app.wanted import wanted
from tenure.core.errors import TenureError
from tenure.core.guard import State, nobody
from tenure.model.artifact import LoadedVersion, load_version
from tenure.model.registry import Version
from tenure.score.live import LiveModel

__all__ = ["Champion"]

AGAIN_SECONDS = 60.0
_log = logging.getLogger("tenure.serve")


class Champion:
    """The version that an alias points at; until the alias exists, the latest one.

    Parameters
    ----------
    place : Place
        The project; `[serve] alias` names the alias.
    database : Engine
        Where versions and aliases are read.
    told : callable
        Told the name and the new state when a breaker before a part of the version turns.
    monotonic : callable
        Seconds on a clock that never runs backwards.

    Raises
    ------
    NotFoundError
        There is no version yet.
    ArtifactError
        The version may not be used.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> Champion(place, place.database())
    Traceback (most recent call last):
    tenure.core.errors.NotFoundError: There is no version 'latest': nothing has been trained yet.
    → Train a version with `tenure train`.
    """

    def __init__(
        self,
        place: Place,
        database: Engine,
        *,
        told: Callable[[str, State], None] = nobody,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._told, self._monotonic = place, told, monotonic
        self._registry = place.registry(database)
        self._refusal: TenureError | None = None
        self._refused, self._again_at = ("", ""), 0.0
        version, alias = wanted(self._place, self._registry)
        self._identity = _identity(version)
        self.model: LiveModel = self._live(load_version(version.folder, version.manifest_sha256), alias)

    def look(self) -> LiveModel | None:
        """Another model, where the alias has moved to a version that proved itself; else None.

        Raises
        ------
        ArtifactError
            The version that the alias points at now may not be used. For a minute the same is raised again unseen.
        StateError
            The database or the version's folder cannot be read now.
        """
        version, alias = wanted(self._place, self._registry)
        identity = _identity(version)
        if identity == self._identity:
            self._refusal = None
            return None if alias == self.model.alias else self._take(identity, self.model.version, alias)
        if self._refusal is not None and identity == self._refused and self._monotonic() < self._again_at:
            raise self._refusal
        try:
            return self._take(identity, load_version(version.folder, version.manifest_sha256), alias)
        except TenureError as error:
            self._refusal, self._refused = error, identity
            self._again_at = self._monotonic() + AGAIN_SECONDS
            raise

    def _take(self, identity: tuple[str, str], loaded: LoadedVersion, alias: str | None) -> LiveModel:
        self.model = self._live(loaded, alias)
        self._identity, self._refusal = identity, None
        return self.model

    def _live(self, loaded: LoadedVersion, alias: str | None) -> LiveModel:
        settings, clock = self._place.settings, self._place.clock
        seconds, told = settings.serve.budget_seconds, self._told
        if alias is None:
            words = "The alias does not exist; the latest version answers."
            _log.warning(words, extra={"alias": settings.serve.alias, "version": loaded.name})
        return LiveModel.of(loaded, settings.value, alias=alias, clock=clock, seconds=seconds, told=told)


def _identity(version: Version) -> tuple[str, str]:
    return version.name, version.manifest_sha256
