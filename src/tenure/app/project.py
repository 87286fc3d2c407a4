"""A project in Python: the verbs of the command line as methods.

Enters: a `tenure.toml`, or settings with tables from memory. Leaves: the results that the verbs give.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tenure.app.check import CheckResult, check
from tenure.app.compare import CompareResult, compare_models
from tenure.app.explain import Explanation, explain_customer, shap_of
from tenure.app.features import write_features
from tenure.app.place import Place
from tenure.app.scorer import ahead_of, looked_after, moved, open_scorer
from tenure.app.scoring import load, score
from tenure.app.stream_append import Appended, append_events
from tenure.app.stream_read import customer_vectors
from tenure.app.training import TrainResult, train_version
from tenure.core.config import settings_from
from tenure.core.progress import Progress, silent
from tenure.core.time import Clock, parse_instant, parse_timezone, system_clock
from tenure.model.artifact import LoadedVersion
from tenure.score.hybrid import HybridScorer
from tenure.score.run import ScoreSummary

__all__ = ["Project"]


@dataclass(frozen=True)
class Project:
    """A business's churn project.

    Parameters
    ----------
    place : Place
        Settings, folder, clock and tables; `load` and `of` make one.

    Examples
    --------
    >>> table = pa.table(
    ...     {"visits": [n % 20 for n in range(400)], "left": ["yes" if n % 20 < 6 else "no" for n in range(400)]}
    ... )
    >>> settings = {"table": {"path": "customers", "label": "left", "positive": "yes"}, "model": {"family": "logistic"}}
    >>> project = Project.of(settings, tempfile.mkdtemp(), tables={"customers": table})
    >>> project.check().features
    ('visits',)
    """

    place: Place

    @classmethod
    def load(cls, path: Path | str = "tenure.toml", clock: Clock = system_clock) -> Self:
        """Open the project of a settings file.

        Raises
        ------
        NotFoundError
            The file does not exist.
        ConfigError
            A key or value is not understood.
        """
        return cls(Place.load(path, clock=clock))

    @classmethod
    def of(
        cls,
        settings: Mapping[str, Any],
        root: Path | str,
        tables: Mapping[str, Any] | None = None,
        clock: Clock = system_clock,
    ) -> Self:
        """Open a project whose settings and tables come from Python.

        Parameters
        ----------
        settings : mapping
            What `tenure.toml` would say.
        root : Path or str
            Folder of the project; `.tenure/` is made in it.
        tables : mapping, optional
            Arrow, pandas or polars tables, each in place of the `path` that it is named after.
        clock : Clock
            What time it is.

        Raises
        ------
        ConfigError
            A key or value is not understood.
        """
        return cls(Place(settings_from(settings), Path(root).resolve(), clock, tables or {}))

    def check(self, progress: Progress = silent) -> CheckResult:
        """Read the sources, plan cutoffs, count labels and audit features, without training."""
        return check(self.place, progress)

    def features(self, as_of: str | datetime | None = None, *, labels: bool = False) -> pa.Table:
        """The features of every customer at risk at a cutoff, ordered by customer."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "snapshot.parquet"
            write_features(self.place, self._cutoff(as_of), path, labels=labels)
            return pq.read_table(path)

    def train(self, progress: Progress = silent) -> TrainResult:
        """Train, judge, write and register a version."""
        return train_version(self.place, progress)

    def compare(
        self, families: Sequence[str] = (), imbalances: Sequence[str] = (), progress: Progress = silent
    ) -> CompareResult:
        """Train families and imbalance methods side by side, and say what the evidence allows."""
        return compare_models(self.place, families, imbalances, progress)

    def score(
        self, as_of: str | datetime | None = None, version: str | None = None, progress: Progress = silent
    ) -> ScoreSummary:
        """Score every customer at risk and publish the result."""
        return score(self.place, self._cutoff(as_of), version, progress)

    def explain(
        self,
        customers: str | int | Sequence[str | int] | None = None,
        as_of: str | datetime | None = None,
        version: str | None = None,
    ) -> Any:
        """Explain customers as a `shap.Explanation`, for `shap.plots`; one row per customer, in log odds.

        Without names, at most a thousand of those at risk. It needs the extra `shap`; `reasons` does not.
        """
        named = [customers] if isinstance(customers, str | int | Integral) else customers
        return shap_of(self.place, named, self._cutoff(as_of), version)

    def reasons(
        self, customer: str | int, as_of: str | datetime | None = None, version: str | None = None
    ) -> Explanation:
        """Explain one customer in words and percentage points, the strongest reason first."""
        return explain_customer(self.place, customer, self._cutoff(as_of), version)

    def append(self, events: Iterable[Mapping[str, Any]] | Any, event_type: str | None = None) -> Appended:
        """Append events to the log, all of them or none: mappings, or an Arrow, pandas or polars table.

        Raises
        ------
        InputError
            One of them cannot be an event; nothing was appended.
        """
        return append_events(self.place, events, event_type=event_type)

    def vectors(self, customers: Sequence[str], as_of: str | datetime | None = None) -> pa.Table:
        """Features of customers as the stream knows them: now, or at an instant since the last event."""
        return customer_vectors(
            self.place, [customers] if isinstance(customers, str) else customers, self._cutoff(as_of)
        )

    @contextmanager
    def scorer(self, as_of: str | datetime | None = None) -> Iterator[HybridScorer]:
        """Score customers one by one or some at once, from the cheapest source that is fresh enough.

        In a `with` block, as it holds the online store open. Within it another version and another batch are noticed as
        by the service, every `[serve] refresh_seconds`. `as_of` lets live features begin at an instant of the past
        instead of now, from which they go on with the clock.

        Raises
        ------
        NotFoundError
            There is no version yet.
        ArtifactError
            The version may not be used.
        """
        start = self._cutoff(as_of)
        clock = None if start is None else moved(self.place.clock, ahead_of(self.place, start))
        every_seconds = self.place.settings.serve.refresh_seconds
        with open_scorer(self.place, as_of=clock) as opened, looked_after(opened, every_seconds):
            yield opened.scorer

    def version(self, name: str | None = None) -> LoadedVersion:
        """Load a version after it proved itself; default: `champion`, else the latest."""
        return load(self.place, name)

    def _cutoff(self, as_of: str | datetime | None) -> datetime | None:
        return None if as_of is None else parse_instant(as_of, parse_timezone(self.place.settings.project.timezone))
