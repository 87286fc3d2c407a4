"""From configured sources to labelled rows with their blocks, audited.

Enters: a `Place`. Leaves: a `Prepared`: rows, blocks, features, and what the contract and the audit said. Event logs
and plain tables become the same thing here, and nothing behind this module knows which it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tenure.app.history import Opened, churn_of, declared_features, open_history, plan
from tenure.app.place import Place
from tenure.core.errors import HistoryError
from tenure.core.progress import Progress, silent
from tenure.core.settings import ChurnSettings
from tenure.core.time import format_duration
from tenure.features.audit import AuditReport, audit_blocks, audit_columns
from tenure.features.canary import audit_history
from tenure.features.declare import Attribute, FeatureSet
from tenure.features.snapshot import write_snapshots
from tenure.model.frame import Frame, equal_rows, read_frame
from tenure.model.split import Split, split_table
from tenure.source.history import ContractReport, PlainTable
from tenure.source.ingest import ingest_table

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that a training needs to know.

    Parameters
    ----------
    frame : Frame
        Labelled rows of all blocks.
    split : Split
        Which rows belong to which block.
    features : FeatureSet
        The columns, with their categories frozen.
    contract : ContractReport
        What became of the rows of the sources.
    audit : AuditReport
        What the leakage audit found in the rows that are learned from.
    fingerprint : str
        Of the data.
    churn : str
        What leaving means, as a phrase.
    first, watermark : datetime or None
        Span of the log, UTC; None for a plain table without times.
    notes : tuple of str
        What every reader of a result must know.
    """

    frame: Frame
    split: Split
    features: FeatureSet
    contract: ContractReport
    audit: AuditReport
    fingerprint: str
    churn: str
    first: datetime | None
    watermark: datetime | None
    notes: tuple[str, ...]


def prepare(place: Place, engine: duckdb.DuckDBPyConnection, progress: Progress = silent) -> Prepared:
    """Read the sources, make labelled rows, and audit them.

    Raises
    ------
    InputError
        The sources, the history or the labels do not allow it.
    """
    if place.settings.table is not None:
        return _from_table(place, progress)
    return _from_events(place, engine, progress)


def _from_events(place: Place, engine: duckdb.DuckDBPyConnection, progress: Progress) -> Prepared:
    churn = churn_of(place)
    opened = open_history(place, engine, progress)
    split = plan(place, opened.history)
    features = declared_features(place, opened, before=split.train[-1])
    folder = place.workspace / "snapshots"
    paths = write_snapshots(opened.tables, features, churn, split.cutoffs, folder, progress)
    frame = read_frame(list(paths.values()), features.names)
    audit = _audit(place, frame, split, features, opened)
    progress("audit", 1.0)
    return Prepared(
        frame=frame,
        split=split,
        features=features,
        contract=opened.report,
        audit=audit,
        fingerprint=opened.history.fingerprint,
        churn=churn_words(churn),
        first=opened.history.first,
        watermark=opened.history.watermark,
        notes=opened.report.warnings,
    )


def _from_table(place: Place, progress: Progress) -> Prepared:
    found = ingest_table(place.settings, place.root, place.workspace, place.clock, place.tables, progress)
    table = found.table
    features = FeatureSet(attributes=tuple(Attribute(name, kind) for name, kind in table.attributes))
    frame = _table_frame(place, table, features)
    split = split_table(frame, seed=place.settings.model.seed)
    audit = _audit(place, frame, split, features, None)
    settings = place.settings.table
    return Prepared(
        frame=frame,
        split=split,
        features=features,
        contract=found.report,
        audit=audit,
        fingerprint=table.fingerprint,
        churn=f"{settings.label} = {settings.positive!r}" if settings else "",
        first=table.first,
        watermark=table.last,
        notes=(split.explanation, *found.report.warnings),
    )


def _table_frame(place: Place, table: PlainTable, features: FeatureSet) -> Frame:
    rows = pa.concat_tables([pq.read_table(path) for path in table.paths])
    rows = rows.filter(pc.is_valid(rows.column("label")))
    if not 0 < table.positives < table.labelled:
        raise HistoryError(
            f"{table.positives:,} of {table.labelled:,} rows with a label are churners; a model needs both kinds.",
            hint="Check [table] label and positive.",
        )
    columns = rows.select(list(features.names))
    named = place.settings.table is not None and place.settings.table.id is not None
    ids = rows.column("customer_id").combine_chunks() if named else equal_rows(columns)
    cutoff = pc.cast(rows.column("time"), pa.int64()).to_numpy() if table.has_time else None
    return Frame.of(ids, rows.column("label").to_numpy(), columns, cutoff)


def _audit(place: Place, frame: Frame, split: Split, features: FeatureSet, opened: Opened | None) -> AuditReport:
    """Ask every question of the audit of the rows that are learned from; the test block stays out of it."""
    blocks = split.blocks(frame)
    learned = frame.take(~blocks.test)
    findings = audit_columns(learned.features, learned.label, customer_id=learned.customer_id)
    if opened is None:
        named = place.settings.table is not None and place.settings.table.id is not None
        train, test = (_keys(frame.take(rows), named=named) for rows in (blocks.train, blocks.test))
        findings += audit_blocks({"train": train, "test": test})
    else:
        findings += audit_history(opened.tables, features, churn_of(place), split.train)
    return AuditReport(findings, learned.rows, len(features.names), place.settings.audit.allow)


def _keys(frame: Frame, *, named: bool) -> list[str]:
    """What rows are told apart by; a customer who is named may have a row for every time, and those are no copies."""
    ids = [str(key) for key in frame.customer_id.to_pylist()]
    if not (named and frame.has_time):
        return ids
    return [f"{time} {key}" for key, time in zip(ids, frame.cutoff.tolist(), strict=True)]


def churn_words(churn: ChurnSettings) -> str:
    """What leaving means, as a phrase that follows "Leaving means".

    Examples
    --------
    >>> churn_words(ChurnSettings(inactivity=("purchase",), horizon="28d"))
    'no purchase in 28 days'
    >>> churn_words(ChurnSettings(event="cancel", horizon="30d", gap="7d"))
    'a cancel event within 30 days, judged from 7 days after the cutoff'
    """
    span = f"{churn.horizon.days} days" if churn.horizon.days else format_duration(churn.horizon)
    if churn.event is not None:
        words = f"a {churn.event} event within {span}"
    elif churn.expiry is not None:
        words = f"a subscription that ends within {span} and is not renewed within {churn.expiry.grace.days} days"
    else:
        words = f"no {' or '.join(churn.inactivity)} in {span}"
    return words if not churn.gap else f"{words}, judged from {churn.gap.days} days after the cutoff"
