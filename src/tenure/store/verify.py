"""Parity: what the online store answers, beside what history gives for the same customers and instant.

Enters: a store, and the parts of the truth. Leaves: every difference, by feature.

States are read together with the mark of their partition, so they are known to count history until its instant and the
records from its origin to its position, and no others. Those are taken from history, the archive and the end of the
log, and the features are computed from them by the same expressions that training uses, in DuckDB. The fold has no part
in it.

Invariant: counts must be equal; other numbers may differ by 1e-9 of their size; a missing number equals a missing one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import ibis
import numpy as np
import pyarrow as pa

from tenure.core.errors import StateError
from tenure.core.time import from_micros, parse_instant
from tenure.features.compile import event_features, without_events
from tenure.features.declare import FeatureSet
from tenure.store.consumer import fits
from tenure.store.folding import readable
from tenure.store.protocol import OnlineStore
from tenure.store.stream import Stream
from tenure.store.truth import Span, Truth, open_truth
from tenure.store.vectors import Vectors, finished

__all__ = ["Difference", "Parity", "sample_customers", "verify"]

_PAGE = 5_000
_TOLERANCE = 1e-9

Number = float | int | None


@dataclass(frozen=True)
class Difference:
    """A feature that differs: for how many customers, and one of them with both numbers."""

    feature: str
    customers: int
    customer_id: str
    online: Number
    history: Number


@dataclass(frozen=True)
class Parity:
    """What a comparison found: how much was compared at which instant (UTC), and every feature that differs."""

    as_of: datetime
    customers: int
    features: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def sample_customers(store: OnlineStore, size: int, seed: int) -> list[str]:
    """Customers who have a state, by chance; all of them where there are not more.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream() as stream:
    ...     sample_customers(stream.store, 10, seed=0), len(sample_customers(stream.store, 2, seed=0))
    (['ana', 'bo', 'cy'], 2)
    """
    chosen: list[str] = []
    met, luck = 0, np.random.default_rng(seed)
    for partition in sorted(store.marks()):
        cursor: str | None = None
        while True:
            page, cursor = store.scan(partition, cursor, _PAGE)
            for customer, _ in page:
                met += 1
                if len(chosen) < size:
                    chosen.append(customer)
                elif (place := int(luck.integers(met))) < size:
                    chosen[place] = customer
            if cursor is None:
                break
    return sorted(set(chosen))


def verify(stream: Stream, features: FeatureSet, customers: Sequence[str]) -> Parity:
    """Compare the online vectors of customers with history.

    Parameters
    ----------
    stream : Stream
        What is compared, and where the truth lies.
    features : FeatureSet
        Which features.
    customers : sequence of str
        Who; from `sample_customers`, or by name.

    Raises
    ------
    StateError
        The store is not ready, or records that it counts are gone.

    Examples
    --------
    >>> from tenure.testing.stream import SMALL_FEATURES, small_stream
    >>> with small_stream() as stream:
    ...     parity = verify(stream, SMALL_FEATURES, ["ana", "bo"])
    >>> parity.customers, parity.features, parity.equal
    (2, 3, True)
    """
    kept = stream.store.read(customers)
    layout = stream.rules.layout
    marks = {one.partition: one.mark for one in kept if one.mark is not None}
    begun = {mark.note.get("as_of") for mark in marks.values()}
    if not all(one.mark and fits(one.mark, stream.rules, stream.log) for one in kept) or len(begun) > 1:
        raise StateError("The online store is not filled.", hint="Run `tenure stream` until it is, and verify again.")
    as_of = from_micros(finished(layout, kept, None, stream.clock).as_of.max(initial=0))
    vectors = finished(layout, kept, as_of)
    until = parse_instant(text) if (text := next(iter(begun), None)) else None
    spans = {partition: Span(int(mark.note["origin"]), mark.position or 0) for partition, mark in marks.items()}
    # Looked at once: what a consumer archives from here on is read from the log, and not from its new file as well.
    borders = {partition: _archived(stream, partition, span) for partition, span in spans.items()}
    truth = Truth(
        stream.rules.schemas,
        stream.history() if until else None,
        until,
        stream.archive,
        {partition: Span(span.first, borders[partition]) for partition, span in spans.items()},
        _tail(stream, {partition: Span(borders[partition], span.end) for partition, span in spans.items()}),
    )
    with stream.engine() as engine:
        open_truth(engine, truth, customers)
        history = _history(engine, features, customers, as_of)
    return Parity(as_of, len(customers), len(vectors.columns), _differences(vectors, history, features))


def _archived(stream: Stream, partition: int, span: Span) -> int:
    """Up to where the records that count are taken from the archive."""
    return min(max(span.first, stream.archive.position(partition) or 0), span.end)


def _tail(stream: Stream, spans: Mapping[int, Span]) -> dict[str, pa.Table]:
    """The records in the spans, from the log."""
    found: dict[str, list[pa.Table]] = {}
    for partition, span in spans.items():
        if span.first >= span.end:
            continue
        for batch in stream.log.read(partition, span.first, span.end):
            for name, rows in readable(stream.rules, batch)[0].items():
                table = stream.archive.table(name, partition, rows, batch.offsets, batch.appended)
                found.setdefault(name, []).append(table)
    return {name: pa.concat_tables(tables) for name, tables in found.items()}


def _history(
    engine: duckdb.DuckDBPyConnection,
    features: FeatureSet,
    customers: Sequence[str],
    as_of: datetime,
) -> dict[str, dict[str, Number]]:
    backend = ibis.duckdb.from_connection(engine)
    rows = ibis.memtable(pa.table({"customer_id": pa.array(customers, pa.string())}))
    for event in dict.fromkeys(feature.event for feature in features.events):
        own = [feature for feature in features.events if feature.event == event]
        columns = event_features(backend.table(f"truth {event}"), own, as_of).drop("_first", "_last", "_events")
        rows = without_events(rows.left_join(columns, "customer_id").drop("customer_id_right"), own)
    return {row.pop("customer_id"): row for row in backend.to_pyarrow(rows).to_pylist()}


def _differences(
    vectors: Vectors, history: Mapping[str, Mapping[str, Number]], features: FeatureSet
) -> tuple[Difference, ...]:
    found = []
    kinds = features.kinds
    for name, column in vectors.columns.items():
        wrong = [
            (customer, None if np.isnan(online) else float(online), history[customer][name])
            for customer, online in zip(vectors.customer_id, column, strict=True)
            if not _same(float(online), history[customer][name], exact=kinds[name] == "count")
        ]
        if wrong:
            found.append(Difference(name, len(wrong), *wrong[0]))
    return tuple(sorted(found, key=lambda difference: -difference.customers))


def _same(online: float, history: Number, *, exact: bool) -> bool:
    if history is None or math.isnan(online):
        return history is None and math.isnan(online)
    return online == history if exact else math.isclose(online, history, rel_tol=_TOLERANCE, abs_tol=1e-12)
