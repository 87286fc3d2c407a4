"""Hindsight: customer attributes that were counted up or looked up after the cutoff.

Enters: opened tables, features, the churn definition and a training cutoff. Leaves: findings. Invariant: only customers
at risk at the cutoff are compared, at most about 20,000 of them.

A customers table without `known_at` is a picture of today, and every cutoff sees it. Most attributes do not mind (a
country); some know the future. Each is asked three questions:

- *Is it a time after the cutoff*, no later than the log reaches (`last_seen`, `closed_at`)? It counts for at least ten
  customers and 5 % of the times. Where some lie beyond the log's end they may have been planned, as the end of a
  contract is, and it is a note.
- *Is it a total of the whole log* (`orders_total`, `lifetime_revenue`, `last_seen` as a number)? It is compared with
  the count, sum, mean, largest value, active days and last time of every event type, as of the log's end and as of the
  cutoff. A leak equals the total for most customers whose total changed after the cutoff; or it goes with the total
  (rank correlation at least .9), and does so beyond everything that was known of these events at the cutoff (partial
  rank correlation at least .88). The second number tells a leak from an honest cause: a size or a price that decides
  how much somebody buys goes with the future too, as closely as with the past. In theory it reaches .71 where both
  halves of the log are equally noisy copies of it, in simulated trade at most .83; totals, with 5 % noise or in another
  currency, reached .93 to 1. That is the reason to ask at a cutoff in the middle.
- *Does it tell who is gone at the log's end* (`status`, a filled `closed_at`)? The limits are those of
  `tenure.features.audit`; for being filled alone, ten times the usual odds are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tenure.core.settings import ChurnSettings
from tenure.core.time import format_duration, format_instant
from tenure.features.audit import Finding, pure, tells_apart
from tenure.features.compile import event_features
from tenure.features.declare import Feature, FeatureSet
from tenure.features.known import instant
from tenure.features.label import active_types
from tenure.features.rings import EVENTS, FIRST, LAST
from tenure.features.sample import sample_customers
from tenure.features.separation import Outcome, as_numbers, as_seconds, separate
from tenure.features.snapshot import Tables, snapshot

__all__ = ["audit_attributes"]

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Said = tuple[Literal["leak", "note"], str]
_Totals = Mapping[str, pd.DataFrame]

_MOST_CUSTOMERS, _FEWEST_CUSTOMERS = 20_000, 50
_FEWEST_LATER, _LATER_ABOVE, _PLANNED_ABOVE = 10, 0.05, 0.05
_FEWEST_CHANGED, _EQUAL_ABOVE, _EQUAL_VALUES = 20, 0.8, 5
_TOTAL_ABOVE, _BEYOND_ABOVE = 0.9, 0.88
_FILLED_ODDS = 10.0
_ROUNDING = 1e-6
_VALUE_OPS = ("sum", "mean", "max")
_LAST, _COUNT = "time of the last {name}", "number of {name} events"
_ADVICE = "Give [customers] known_at, so that a cutoff sees what was known then, or leave it out of attributes."


def audit_attributes(
    tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime, seed: int = 0
) -> tuple[Finding, ...]:
    """See whether customer attributes without a history know what happened after the cutoff.

    Parameters
    ----------
    tables, features, churn
        As for `tenure.features.canary.audit_future`.
    cutoff : datetime
        UTC; best a training cutoff in the middle of the log.
    seed : int
        Which customers are sampled.

    Examples
    --------
    >>> import tempfile
    >>> from dataclasses import replace
    >>> from datetime import UTC
    >>> from pathlib import Path
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.features.declare import Attribute
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     orders = tables.events["order"]
    ...     today = orders.group_by("customer_id").aggregate(orders_total=orders.count().cast("float64"))
    ...     counted = FeatureSet(attributes=(Attribute("orders_total", "number"),))
    ...     known_today = replace(tables, customers=today)
    ...     found = audit_attributes(known_today, counted, place.settings.churn, datetime(2025, 6, 9, tzinfo=UTC))
    >>> found[0].evidence.partition(" for ")[0]
    "it equals the number of order events up to the log's end"
    """
    watermark = tables.history.watermark
    if tables.customers is None or "known_at" in tables.customers.columns or not features.attributes or not watermark:
        return ()
    customers = max((table.customers for table in tables.history.events.values()), default=0)
    sampled = sample_customers(tables, customers, _MOST_CUSTOMERS, seed)
    rows = sampled.backend.to_pyarrow(
        snapshot(sampled, FeatureSet(attributes=features.attributes), churn, cutoff).order_by("customer_id")
    )
    if rows.num_rows < _FEWEST_CUSTOMERS:
        return ()
    ids = rows["customer_id"].to_pandas()
    then, today = _totals(sampled, ids, cutoff), _totals(sampled, ids, watermark + timedelta(microseconds=1))
    fates = _fates(sampled, churn, ids, watermark, seed)
    found = []
    for name in (attribute.name for attribute in features.attributes):
        later = _time_after(rows[name], cutoff, watermark)
        total = None if later else _total(as_numbers(rows[name]), then, today, cutoff)
        fate = None if later or total else _fate(rows[name], fates)
        found += [Finding("hindsight", name, *said, _ADVICE) for said in (later, total, fate) if said]
    return tuple(found)


def _time_after(column: pa.ChunkedArray, cutoff: datetime, watermark: datetime) -> Said | None:
    times = as_seconds(column) if pa.types.is_string(column.type) else None
    if times is None:
        return None
    given, later = int(np.isfinite(times).sum()), times > cutoff.timestamp()
    count = int(later.sum())
    if count < max(_FEWEST_LATER, _LATER_ABOVE * given):
        return None
    planned = float((times[later] > (watermark + timedelta(days=1)).timestamp()).mean())
    evidence = f"{count:,} of {given:,} values are times after the cutoff {format_instant(cutoff)}"
    if planned > _PLANNED_ABOVE:
        return "note", f"{evidence}, {planned:.0%} of them beyond the log's end, so they may have been planned."
    return "leak", f"{evidence} and none was planned beyond the log's end." if not planned else f"{evidence}."


def _total(numbers: Numbers | None, then: _Totals, today: _Totals, cutoff: datetime) -> Said | None:
    """Compare with every total of the log's end; the first that fits is told."""
    if numbers is None or np.isfinite(numbers).sum() < _FEWEST_CUSTOMERS:
        return None
    fits = [
        (*fit, name)
        for event, totals in today.items()
        for name in totals.columns
        if (fit := _fit(numbers, then[event], totals[name].to_numpy(), name))
    ]
    if not fits:
        return None
    _, why, name = max(fits)
    what = f"{name} up to the log's end"
    return "leak", f"{why.format(what=what)} (cutoff {format_instant(cutoff)})."


def _fit(numbers: Numbers, known: pd.DataFrame, total: Numbers, name: str) -> tuple[float, str] | None:
    """How closely an attribute follows a total, and in words; nothing where that is no more than it could know."""
    both = np.isfinite(numbers) & np.isfinite(total)
    changed = both & ~_equal(total, known[name].to_numpy())
    if changed.sum() < max(_FEWEST_CHANGED, 0.05 * both.sum()):
        return None
    equal = changed & _equal(numbers, total)
    share = float(equal.sum() / changed.sum())
    if share >= _EQUAL_ABOVE and len(np.unique(total[equal])) >= _EQUAL_VALUES:
        whom = f"{share:.0%} of the {changed.sum():,} customers for whom that changed after the cutoff"
        return 1.0 + share, f"it equals the {{what}} for {whom}"
    value, end = _ranks(numbers[both]), _ranks(total[both])
    together = _correlation(value, end)
    if abs(together) < _TOTAL_ABOVE:
        return None
    beyond = _beyond(value, end, known[both])
    if abs(beyond) < _BEYOND_ABOVE:
        return None
    return abs(beyond), (
        f"it goes with the {{what}} (rank correlation {together:.2f} over {both.sum():,} customers), and beyond what "
        f"was known before (partial {beyond:.2f})"
    )


def _equal(left: Numbers, right: Numbers) -> Flags:
    return np.isclose(left, right, rtol=1e-6, atol=1e-9, equal_nan=True)


def _ranks(values: Numbers) -> Numbers:
    ranks = pd.Series(values).rank().to_numpy(dtype=float)
    centred: Numbers = (ranks - ranks.mean()) / len(ranks)
    return centred


def _correlation(left: Numbers, right: Numbers) -> float:
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum() / scale) if scale > 0 else 0.0


def _beyond(value: Numbers, end: Numbers, known: pd.DataFrame) -> float:
    """Correlation of what is left of two ranks after a curve on the ranks of everything known is taken out of both.

    Something that the known numbers explain leaves only rounding errors, which correlate with nothing.
    """
    ranks = np.column_stack([_ranks(known[name].fillna(-np.inf).to_numpy()) for name in known])
    design = np.column_stack([np.ones(len(value)), ranks, ranks**2])
    left, right = (one - design @ np.linalg.lstsq(design, one, rcond=None)[0] for one in (value, end))
    if min((left**2).mean(), (right**2).mean()) < _ROUNDING:
        return 0.0
    return _correlation(left, right)


def _fate(column: pa.ChunkedArray, fates: Mapping[timedelta, Outcome]) -> Said | None:
    for silence, gone in fates.items():
        who = f"the customers who were silent in the log's last {format_duration(silence)}"
        found = separate(column, gone)
        why = tells_apart(found, gone, who) or pure(found.filled, gone, who, odds=_FILLED_ODDS)
        if why:
            return "leak", why
    return None


def _fates(
    tables: Tables, churn: ChurnSettings, ids: pd.Series[str], watermark: datetime, seed: int
) -> dict[timedelta, Outcome]:
    """Who was silent at the log's end, for as long as leaving takes and for as long as the `active` rule waits."""
    found = {}
    for silence in sorted({churn.active.within, churn.gap + churn.horizon}):
        gone = ~ids.isin(_seen_since(tables, churn, watermark - silence)).to_numpy()
        if min(gone.sum(), (~gone).sum()) >= _FEWEST_LATER:
            found[silence] = Outcome.of(gone, seed=seed)
    return found


def _seen_since(tables: Tables, churn: ChurnSettings, since: datetime) -> list[str]:
    types = [tables.events[name] for name in active_types(churn, tables.events)]
    recent = [table.filter(table.time >= instant(since)).select("customer_id") for table in types]
    seen = (ibis.union(*recent) if len(recent) > 1 else recent[0]).distinct()
    found: list[str] = tables.backend.to_pyarrow(seen)["customer_id"].to_pylist()
    return found


def _totals(tables: Tables, ids: pd.Series[str], at: datetime) -> _Totals:
    """Everything that an instant's reader can count up, for each event type and over all of them."""
    totals = {name: _type_totals(tables, name, ids, at) for name in tables.events}
    if len(totals) > 1:
        last = pd.concat([found[_LAST.format(name=name)] for name, found in totals.items()], axis=1).max(axis=1)
        count = sum(found[_COUNT.format(name=name)] for name, found in totals.items())
        totals["*"] = pd.DataFrame({_LAST.format(name="event"): last, _COUNT.format(name="all"): count})
    return totals


def _type_totals(tables: Tables, name: str, ids: pd.Series[str], at: datetime) -> pd.DataFrame:
    values = tables.history.events[name].values
    wanted = [Feature(name, "active_days"), *(Feature(name, op, value) for value in values for op in _VALUE_OPS)]
    rows = event_features(tables.events[name], wanted, at)
    rows = rows.mutate(**{edge: rows[edge].epoch_seconds().cast("float64") for edge in (FIRST, LAST)})
    found = tables.backend.to_pyarrow(rows).to_pandas().set_index("customer_id").reindex(ids).reset_index(drop=True)
    count = found[EVENTS].fillna(0).astype(float)
    known = {
        _LAST.format(name=name): found[LAST],
        _COUNT.format(name=name): count,
        f"number of days with {name} events": found[wanted[0].name].fillna(0).astype(float),
        f"pace of {name} events": count / (at.timestamp() - found[FIRST]).clip(lower=1.0),
    }
    known |= {f"{one.op} of {name} {one.value}": found[one.name].astype(float) for one in wanted[1:]}
    return pd.DataFrame(known)
