"""Scores for every customer of a snapshot, in bounded memory, safe to kill.

Enters: a snapshot, a version, the money settings. Leaves: a folder `scores/<as of>/` with the scores as partitioned
Parquet and the contact list. Invariant: the folder becomes visible when it is whole; a run that was killed at any
point and is started again finishes with the same bytes as an undisturbed one.

How that is achieved
--------------------
The rows of a snapshot are ordered, so a part of the result is a span of row positions, and each part is a pure
function of the run's identity (`Batch.identity`) and the moment it first began, which is written down before anything
else. Parts are written one after the other into a hidden folder that is named after the identity; each one appears
there by a rename after its bytes have reached the disk. A run that starts again finds the folder, skips the parts
that are there and goes on with the first one that is not. The contact list is sorted from the finished parts, the
manifest is written last, and one rename (or one exchange with an older result) makes everything visible.

Memory holds a few tables of `batch_rows` rows, whatever the number of customers; only the contact list's sort uses
more, up to the engine's memory limit. Reading, predicting and writing overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from itertools import groupby
from operator import add, itemgetter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tenure.core.errors import StateError
from tenure.core.progress import Progress, silent
from tenure.core.settings import RuntimeSettings, ScoreSettings, ValueSettings
from tenure.core.time import Clock, format_instant, system_clock
from tenure.model.verify import dependencies
from tenure.score.ahead import ahead
from tenure.score.contacts import ContactList, best_contacts, write_contacts
from tenure.score.part import Tally, read_tally, write_part
from tenure.score.place import exclusive, put_in_place, scores_folder
from tenure.score.predictor import Predictor
from tenure.score.reasons import REASONS, write_reasons
from tenure.score.rows import Snapshot
from tenure.score.run import CONTACTS, Run, ScoreSummary, begin, clear_work, finish, finished
from tenure.score.scored import Scorer
from tenure.source.engine import open_engine

__all__ = ["Batch", "score_batch"]

_FORMAT = 1
# Eight row groups of the size in which DuckDB writes them: a part then reads no row group in vain.
BATCH_ROWS = 122_880
PART_ROWS = 8 * BATCH_ROWS


@dataclass(frozen=True)
class Batch:
    """What to score.

    Parameters
    ----------
    snapshot : Snapshot
        Rows of all customers, from `tenure.score.rows.open_snapshot`.
    predictor : Predictor
        The version.
    value : ValueSettings
        What a customer is worth and what contacting costs.
    as_of : datetime
        UTC; the cutoff of the snapshot.
    extra : ScoreSettings
        How many contacts get reasons, and how many each; none without an explainer.
    part_rows, batch_rows : int
        Customers per file, and per step within it.
    """

    snapshot: Snapshot
    predictor: Predictor
    value: ValueSettings
    as_of: datetime
    extra: ScoreSettings = field(default_factory=ScoreSettings)
    part_rows: int = PART_ROWS
    batch_rows: int = BATCH_ROWS

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the scores depend on, except the moment the run began."""
        return {
            "format": _FORMAT,
            "as_of": format_instant(self.as_of),
            "snapshot": self.snapshot.fingerprint,
            "rows": self.snapshot.rows,
            "version": self.predictor.name,
            "version_fingerprint": self.predictor.fingerprint,
            "value": self.value.model_dump(mode="json"),
            "extra": self.extra.model_dump(mode="json"),
            "part_rows": self.part_rows,
            "batch_rows": self.batch_rows,
            "made_with": dependencies(),  # a run that is killed before an upgrade is not finished after it
        }

    @property
    def parts(self) -> range:
        """Numbers of the parts; at least one, so that nobody at risk gives a file without rows."""
        return range(max(1, -(-self.snapshot.rows // self.part_rows)))


def score_batch(
    batch: Batch,
    workspace: Path,
    *,
    runtime: RuntimeSettings | None = None,
    clock: Clock = system_clock,
    progress: Progress = silent,
) -> ScoreSummary:
    """Score a snapshot into `workspace/scores/<as of>/`, or go on where a killed run stopped.

    The same batch once more does nothing; another version or other settings for the same instant replace the result.

    Parameters
    ----------
    batch : Batch
        What to score.
    workspace : Path
        The project's `.tenure` folder.
    runtime : RuntimeSettings, optional
        Memory limit and threads of the sort behind the contact list.
    clock : Clock
        Gives `computed_at` when the run first begins.
    progress : Progress
        Told about the stages `score`, `contacts` and `publish`.

    Returns
    -------
    ScoreSummary
        What the scores say on the whole.

    Raises
    ------
    InputError
        A column is missing, money makes no sense, or the snapshot is not ordered.
    StateError
        Another run is writing the same result, or the disk is full or cannot be written. What is finished is kept.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pyarrow.parquet as pq
    >>> from tenure.core.time import fixed_clock, parse_instant
    >>> from tenure.score.rows import open_snapshot
    >>> half = Predictor("v1", "0f", ("x",), lambda table: np.full(table.num_rows, 0.5))
    >>> folder = Path(tempfile.mkdtemp())
    >>> pq.write_table(pa.table({"customer_id": ["a", "b"], "x": [1, 2]}), folder / "snapshot.parquet")
    >>> snapshot = open_snapshot([folder / "snapshot.parquet"], "0f")
    >>> batch = Batch(snapshot, half, ValueSettings(clv=600, save_rate=0.3), parse_instant("2026-01-31"))
    >>> summary = score_batch(batch, folder, clock=fixed_clock("2026-02-01"))
    >>> summary.tally.customers, summary.contacts.profit_expected
    (2, 160.0)
    >>> print(summary.contact_list.read_text(), end="")
    rank,customer_id,probability,band,clv,expected_profit
    1,"a",0.5,"high",600,80
    2,"b",0.5,"high",600,80
    """
    Scorer(batch.predictor, batch.value, batch.as_of, batch.as_of).check(batch.snapshot)
    visible = scores_folder(workspace, batch.as_of)
    identity = batch.identity
    with _clear_failures(visible), exclusive(visible):
        done = finished(visible, identity)
        if done is not None:
            clear_work(visible)
            return done
        run = begin(visible, identity, clock)
        tally = _write_parts(batch, run, progress)
        progress("contacts", 0.0)
        with open_engine(runtime or RuntimeSettings(), workspace) as engine:
            contacts = _write_list(engine, batch, run)
        progress("contacts", 1.0)
        summary = finish(run, visible, identity, tally, contacts)
        progress("publish", 0.0)
        put_in_place(run.folder, visible)
        progress("publish", 1.0)
    return summary


def _write_list(engine: duckdb.DuckDBPyConnection, batch: Batch, run: Run) -> ContactList:
    """The contact list, with reasons at its top where the version can give them."""
    paths, explainer, reasons = _paths(batch, run), batch.predictor.explainer, None
    if explainer is not None and batch.extra.explain:
        reasons = run.folder / REASONS
        best = best_contacts(engine, paths, batch.value, batch.extra.explain)
        write_reasons(engine, batch.snapshot.paths, best, explainer, reasons, batch.extra.reasons)
    return write_contacts(engine, paths, run.folder / CONTACTS, batch.value, reasons)


@contextmanager
def _clear_failures(visible: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise StateError(
            f"The scores of {visible.name} could not be finished: {error}.",
            hint="Nothing half-written is visible. Check the disk and its free space, then run the same command again; "
            "it goes on where it stopped.",
            folder=str(visible),
        ) from error


def _paths(batch: Batch, run: Run) -> list[Path]:
    return [run.folder / f"part-{number:05d}.parquet" for number in batch.parts]


def _write_parts(batch: Batch, run: Run, progress: Progress) -> Tally:
    paths = _paths(batch, run)
    scorer = Scorer(batch.predictor, batch.value, batch.as_of, run.computed_at)
    missing = [number for number in batch.parts if not paths[number].exists()]
    done = batch.snapshot.rows - sum(_span(batch, number)[1] - _span(batch, number)[0] for number in missing)
    if not batch.snapshot.rows and missing:
        write_part(paths[0], [], scorer.schema)
    stream = ahead(_scored(scorer, ahead(_read(batch, scorer, missing))))
    for number, tables in groupby(stream, key=itemgetter(0)):
        told = _told((table for _, table in tables), done, batch.snapshot.rows, progress)
        done += write_part(paths[number], told, scorer.schema).customers
        progress("score", done / batch.snapshot.rows)
    return reduce(add, (read_tally(path) for path in paths), Tally())


def _span(batch: Batch, number: int) -> tuple[int, int]:
    return number * batch.part_rows, min((number + 1) * batch.part_rows, batch.snapshot.rows)


def _read(batch: Batch, scorer: Scorer, missing: list[int]) -> Iterator[tuple[int, pa.Table]]:
    for number in missing:
        for table in batch.snapshot.read(*_span(batch, number), scorer.columns, batch.batch_rows):
            yield number, table


def _scored(scorer: Scorer, numbered: Iterator[tuple[int, pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
    return ((number, scorer(table)) for number, table in numbered)


def _told(tables: Iterator[pa.Table], done: int, rows: int, progress: Progress) -> Iterator[pa.Table]:
    for table in tables:
        yield table
        done += table.num_rows
        progress("score", done / rows)
