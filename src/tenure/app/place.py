"""A project: one `tenure.toml` and the folder `.tenure/` beside it.

Enters: settings, a folder, a clock, and tables given from Python. Leaves: an object with the verbs of the command line.
Invariant: a project holds no state of its own between verbs; everything lives in the workspace and the database. Verbs
that write into the workspace take turns (`Place.alone`), whichever processes they run in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout
from sqlalchemy.engine import Engine

from tenure.core.config import KeyPath, Settings, load_settings
from tenure.core.database import open_database
from tenure.core.progress import Progress
from tenure.core.time import Clock, system_clock
from tenure.model.registry import Registry
from tenure.source.engine import open_engine

__all__ = ["Place"]

WORKSPACE = ".tenure"


@dataclass(frozen=True)
class Place:
    """Where a project is and what it is set to; the verbs of `tenure.app` take one.

    Parameters
    ----------
    settings : Settings
        What `tenure.toml`, the environment and the command line say.
    root : Path
        The settings file's folder; relative paths start there.
    clock : Clock
        What time it is.
    tables : mapping
        Tables given from Python: Arrow, pandas or polars, each in place of the `path` that it is named after.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())), {("value", "clv"): 700})
    >>> place.settings.value.clv, place.workspace.name
    (700.0, '.tenure')
    """

    settings: Settings
    root: Path
    clock: Clock = system_clock
    tables: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls, path: Path | str, overrides: Mapping[KeyPath, Any] | None = None, clock: Clock = system_clock
    ) -> Place:
        """Read a settings file.

        Raises
        ------
        NotFoundError
            The file does not exist.
        ConfigError
            A key or value is not understood.
        """
        path = Path(path)
        return cls(load_settings(path, overrides), path.resolve().parent, clock)

    def with_parameters(self, parameters: Mapping[str, float]) -> Place:
        """The same project with these parameters of the family beside those that are set.

        Examples
        --------
        >>> from tenure.testing.shop import write_shop
        >>> import tempfile
        >>> place = Place.load(write_shop(Path(tempfile.mkdtemp()))).with_parameters({"max_depth": 4})
        >>> place.settings.model.parameters
        {'max_depth': 4.0}
        """
        model = self.settings.model
        given = {name: float(value) for name, value in (*model.parameters.items(), *parameters.items())}
        settings = self.settings.model_copy(update={"model": model.model_copy(update={"parameters": given})})
        return replace(self, settings=settings)

    @property
    def workspace(self) -> Path:
        """The folder of everything that tenure keeps for the project."""
        return self.root / WORKSPACE

    @contextmanager
    def alone(self, progress: Progress, work: str = "lock") -> Iterator[None]:
        """Wait until nobody else does this work in the workspace, and keep others waiting; a killed one keeps nobody.

        Parameters
        ----------
        progress : Progress
            Told that somebody else is at work.
        work : str
            Name of the lock's file. Different works do not wait for each other.
        """
        self.workspace.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.workspace / work, is_singleton=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            progress("wait for another tenure in this folder", 0.0)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def engine(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A query engine within the project's limits."""
        with open_engine(self.settings.runtime, self.workspace) as engine:
            yield engine

    def database(self) -> Engine:
        """The project's relational database."""
        return open_database(self.settings.project.database, root=self.root)

    def registry(self, database: Engine | None = None) -> Registry:
        """The project's versions and aliases; in a database that is open already where one is given."""
        return Registry(self.database() if database is None else database, self.workspace / "versions", self.clock)

    def now(self) -> datetime:
        """The clock's time."""
        return self.clock()
