"""One file of scores, and what it counts up to.

Enters: tables of scores in the order of their customer ids. Leaves: a finished Parquet file that carries its own
tally in its footer, so a run that goes on after a kill counts without reading the scores again. Invariant: the ids
ascend strictly within a file and from file to file; therefore nobody is scored twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tenure.core.errors import InputError
from tenure.core.files import atomic_path
from tenure.score.scored import CONTACT, ID
from tenure.value.decision import BANDS

__all__ = ["Tally", "read_tally", "tally", "write_part"]

_FOOTER = b"tenure.tally"
_WORDS = ["decision", "band", "model_version", "clv", "features_as_of", "computed_at"]


@dataclass(frozen=True)
class Tally:
    """What scores count up to, and which ids they span.

    Parameters
    ----------
    customers : int
        How many are scored.
    worth_contacting : int
        How many of them contacting pays for.
    without_value : int
        How many have no known value and are not contacted for that reason.
    expected_churners : float
        Sum of the probabilities.
    bands : tuple of int
        Customers in each of `tenure.value.decision.BANDS`.
    first, last : str or None
        Smallest and largest customer id; None without customers.

    Examples
    --------
    >>> total = Tally(1, 1, 0, 0.5, (0, 0, 1), "a", "a") + Tally(2, 0, 1, 0.25, (1, 0, 0), "b", "c")
    >>> total.customers, total.expected_churners, total.bands, total.last
    (3, 0.75, (1, 0, 1), 'c')
    """

    customers: int = 0
    worth_contacting: int = 0
    without_value: int = 0
    expected_churners: float = 0.0
    bands: tuple[int, int, int] = (0, 0, 0)
    first: str | None = None
    last: str | None = None

    def __add__(self, other: Tally) -> Tally:
        """Count on with the scores that follow.

        Raises
        ------
        InputError
            They do not follow: their first id does not come after the last one here.
        """
        if self.last is not None and other.first is not None and not self.last < other.first:
            raise _out_of_order(self.last, other.first)
        low, medium, high = (mine + theirs for mine, theirs in zip(self.bands, other.bands, strict=True))
        return Tally(
            self.customers + other.customers,
            self.worth_contacting + other.worth_contacting,
            self.without_value + other.without_value,
            self.expected_churners + other.expected_churners,
            (low, medium, high),
            other.first if self.first is None else self.first,
            self.last if other.last is None else other.last,
        )


def _out_of_order(before: str, after: str) -> InputError:
    twice = f"The snapshot holds customer {after!r} twice" if before == after else None
    return InputError(
        f"{twice or f'The snapshot is not ordered: customer {after!r} comes after {before!r}'}.",
        hint="Give one row per customer, ordered by customer_id.",
        customer_id=after,
    )


def tally(scores: pa.Table) -> Tally:
    """Count the scores of one table.

    Raises
    ------
    InputError
        A customer has no id, comes twice, or stands out of order.
    """
    ids = scores.column(ID).combine_chunks()
    if ids.null_count:
        raise InputError("The snapshot holds a customer without an id.", hint="Remove it from the customers table.")
    if not len(ids):
        return Tally()
    _check_order(ids)
    low, medium, high = (pc.sum(pc.equal(scores.column("band"), band)).as_py() or 0 for band in BANDS)
    return Tally(
        len(ids),
        pc.sum(pc.equal(scores.column("decision"), CONTACT)).as_py(),
        scores.column("expected_profit").null_count,
        pc.sum(scores.column("probability")).as_py(),
        (low, medium, high),
        ids[0].as_py(),
        ids[-1].as_py(),
    )


def _check_order(ids: pa.Array) -> None:
    ascends = pc.less(ids[:-1], ids[1:])
    place = pc.index(ascends, False).as_py()
    if place >= 0:
        raise _out_of_order(ids[place].as_py(), ids[place + 1].as_py())


def write_part(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> Tally:
    """Write a file of scores; it appears when it is whole.

    Parameters
    ----------
    path : Path
        The file.
    tables : iterable of tables
        Scores; each table becomes one row group.
    schema : pyarrow.Schema
        Their columns.
    """
    total = Tally()
    with atomic_path(path) as temporary:
        # Ids and probabilities hardly repeat: a dictionary of them would be built for nothing. The schema is not stored
        # in Arrow's own words, so every reader sees plain text where the writer had codes.
        options = {"compression": "zstd", "use_dictionary": _WORDS, "store_schema": False}
        with pq.ParquetWriter(temporary, schema, **options) as writer:
            for table in tables:
                total += tally(table)
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
            writer.add_key_value_metadata({_FOOTER: json.dumps(asdict(total))})
    return total


def read_tally(path: Path) -> Tally:
    """Read back what `write_part` counted.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "part.parquet"
    >>> write_part(path, [], pa.schema([("customer_id", pa.string())])) == read_tally(path)
    True
    """
    kept = json.loads(pq.read_metadata(path).metadata[_FOOTER])
    return Tally(**{**kept, "bands": tuple(kept["bands"])})
