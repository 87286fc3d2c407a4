"""`tenure explain`: why a customer has the score that they have.

Enters: a `Place`, a customer's id, a cutoff, the name of a version. Leaves: an `Explanation`. Invariant: the features
are those that `tenure score` reads at the same cutoff, so the probability explained is the one that is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa

from tenure.app.place import Place
from tenure.app.scoring import load, rows_of
from tenure.core.errors import InputError, NotFoundError, nearest
from tenure.core.progress import Progress, silent
from tenure.core.settings import TableSettings
from tenure.core.time import format_instant
from tenure.model.artifact import LoadedVersion
from tenure.model.families import find_family
from tenure.model.protocol import Explanation as Kind
from tenure.score.explain import Explained, Explainer
from tenure.score.explanation import to_shap
from tenure.score.rows import Snapshot

__all__ = ["Explanation", "explain_customer", "shap_of"]

MOST_SHOWN = 1_000
_ID = "customer_id"
_MOST_NEAR = 20_000  # ids to look for a similar one in
_EXAMPLES = 3  # ids to show where none is similar


@dataclass(frozen=True)
class Explanation:
    """A customer's score taken apart, with what it belongs to.

    Parameters
    ----------
    version : str
        That scored.
    as_of : datetime
        UTC; what the features speak for.
    kind : str
        How the contributions were found.
    customer : Explained
        The probability and its reasons.
    """

    version: str
    as_of: datetime
    kind: Kind
    customer: Explained


def explain_customer(
    place: Place,
    customer_id: str | int,
    as_of: datetime | None = None,
    version: str | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Explain one customer's score.

    Parameters
    ----------
    place : Place
        The project.
    customer_id : str or int
        Somebody at risk at the cutoff.
    as_of : datetime or None
        UTC cutoff; default: the end of the log.
    version : str or None
        A version, an alias or `latest`; default: `champion`.
    progress : Progress
        Told about the stages.

    Raises
    ------
    NotFoundError
        Nobody at risk has this id, there is no such version, or the table lacks a column that it was trained on.
    InputError
        The id is neither text nor a whole number.
    ConfigError, HistoryError
        As `tenure.app.scoring.score`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.training import train_version
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> _ = train_version(place)
    >>> found = explain_customer(place, "c100")
    >>> found.customer.reasons[0].feature, found.kind
    ('order_count_28d', 'exact Shapley values (coefficients)')
    """
    loaded = load(place, version)
    explainer = Explainer(loaded.parts)
    with place.alone(progress):
        rows, cutoff = _rows(place, loaded, explainer, as_of, progress)
        features = _find(place, rows, _texts([customer_id]), explainer, cutoff)
    found = explainer.explain(features, _texts([customer_id]))[0]
    return Explanation(loaded.name, cutoff, find_family(loaded.manifest.family).explanation, found)


def shap_of(
    place: Place,
    customer_ids: Sequence[str | int] | None = None,
    as_of: datetime | None = None,
    version: str | None = None,
    progress: Progress = silent,
) -> Any:
    """Explain customers as a `shap.Explanation`.

    Parameters
    ----------
    place, as_of, version, progress
        As for `explain_customer`.
    customer_ids : sequence of str or int, optional
        At risk at the cutoff; the rows have their order. Default: at most a thousand of all who
        are, at even distances.

    Raises
    ------
    MissingExtraError
        The extra `shap` is not installed.
    InputError
        The sequence of customers is empty, or an id in it is neither text nor a whole number.
    NotFoundError, ConfigError, HistoryError
        As `explain_customer`.
    """
    loaded = load(place, version)
    explainer = Explainer(loaded.parts)
    with place.alone(progress):
        rows, cutoff = _rows(place, loaded, explainer, as_of, progress)
        if customer_ids is None:
            table = _sample(rows, explainer)
        else:
            table = _find(place, rows, _texts(customer_ids), explainer, cutoff)
    return to_shap(loaded.parts, table)


def _texts(customer_ids: Sequence[str | int]) -> list[str]:
    """Ids as every table holds them; a number would be searched for among texts."""
    for one in customer_ids:
        if isinstance(one, bool) or not isinstance(one, str | Integral):
            raise InputError(
                f"{one!r} is no customer's id: it is of the type {type(one).__name__}.",
                hint="Give ids as text or as whole numbers.",
            )
    return [str(one) for one in customer_ids]


def _rows(
    place: Place, loaded: LoadedVersion, explainer: Explainer, as_of: datetime | None, progress: Progress
) -> tuple[Snapshot, datetime]:
    """The rows that `tenure score` would score, with every column that the version explains."""
    rows, cutoff = rows_of(place, loaded, as_of, progress)
    rows.require(explainer.columns, f"{loaded.name} was trained on")
    return rows, cutoff


def _find(
    place: Place, rows: Snapshot, customer_ids: Sequence[str], explainer: Explainer, cutoff: datetime
) -> pa.Table:
    """The features of customers, in the order asked for."""
    if not customer_ids:
        raise InputError(
            "No customer is named.", hint="Name at least one, or leave them out to explain a sample of all."
        )
    table = rows.pick(_ID, customer_ids, (_ID, *explainer.columns))
    found = {customer_id: number for number, customer_id in enumerate(table.column(_ID).to_pylist())}
    for customer_id in customer_ids:
        if customer_id not in found:
            raise _unknown(place, rows, customer_id, cutoff)
    return table.take([found[customer_id] for customer_id in customer_ids])


def _unknown(place: Place, rows: Snapshot, customer_id: str, cutoff: datetime) -> NotFoundError:
    looked_at = rows.rows if rows.rows <= _MOST_NEAR else _EXAMPLES
    ids = [one for table in rows.read(0, looked_at, [_ID], looked_at) for one in table.column(_ID).to_pylist()]
    near = nearest(customer_id, ids) if len(ids) == rows.rows else None
    among, hint = _who(place.settings.table, rows.rows, format_instant(cutoff))
    like = f"Did you mean {near!r}?" if near else f"Ids look like this: {', '.join(map(repr, ids[:_EXAMPLES]))}."
    return NotFoundError(
        f"Customer {customer_id!r} is not among the {among}. {like}", hint=hint, customer_id=customer_id
    )


def _who(table: TableSettings | None, customers: int, as_of: str) -> tuple[str, str]:
    """Who has a score, and why somebody may have none."""
    if table is None:
        why = "Who has not been active enough, or not lately, has no score. Check the id, or give another --as-of."
        return f"{customers:,} at risk at {as_of}", why
    check = (
        f"Check the id: it is what the column {table.id!r} holds."
        if table.id
        else ("Check the id: [table] names no id, so customers are called by the number of their row, from 1.")
    )
    if table.time is None:
        return f"{customers:,} customers of the table", check
    return f"{customers:,} customers with a row up to {as_of}", f"{check} Or give a later --as-of."


def _sample(rows: Snapshot, explainer: Explainer) -> pa.Table:
    """At most `MOST_SHOWN` customers at even distances."""
    places = np.unique(np.linspace(0, rows.rows - 1, min(MOST_SHOWN, rows.rows)).round().astype(np.int64))
    kept, start = [], 0
    for table in rows.read(0, rows.rows, explainer.columns, 100_000):
        inside = places[(places >= start) & (places < start + table.num_rows)] - start
        kept.append(table.take(inside))
        start += table.num_rows
    return pa.concat_tables(kept)
