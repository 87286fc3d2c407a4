"""Labelled rows for training and evaluation: one per customer and cutoff.

Enters: the Parquet files of labelled snapshots, or columns of a plain table. Leaves: a `Frame`, whose parts are as long
as each other. Invariant: features, label and the columns that baselines rank by are kept apart, so that nothing but
declared features can reach a model.

Reading ten snapshots of 100,000 customers and 60 features takes about half a gigabyte; blocks of whole cutoffs are cut
out of it without copying, because the rows of a cutoff lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tenure.core.errors import HistoryError, InputError, NotFoundError, did_you_mean
from tenure.features.snapshot import ACTIVITY
from tenure.model.bootstrap import customer_codes
from tenure.model.protocol import Flags

__all__ = ["Frame", "Times", "equal_rows", "read_frame"]

Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Frame:
    """Labelled rows.

    Parameters
    ----------
    customer_id : Arrow array of text (rows,)
        Whose row it is.
    cutoff : datetime64[us] array (rows,)
        The UTC instant that the row speaks for; NaT in a table without time.
    label : bool array (rows,)
        Whether the customer was lost.
    features : table
        The feature columns and no other.
    activity : table
        The columns of `tenure.features.snapshot.ACTIVITY`, which baselines rank by; no columns in a plain table.

    Examples
    --------
    >>> frame = Frame.of(["a", "b", "c"], [True, False, False], pa.table({"visits": [0, 4, 9]}))
    >>> frame.rows, frame.churners, frame.take(np.array([False, True, True])).features["visits"].to_pylist()
    (3, 1, [4, 9])
    """

    customer_id: pa.Array
    cutoff: Times
    label: Flags
    features: pa.Table
    activity: pa.Table

    def __post_init__(self) -> None:
        lengths = {len(self.customer_id), len(self.cutoff), len(self.label), self.features.num_rows}
        if self.activity.num_columns:
            lengths.add(self.activity.num_rows)
        if len(lengths) > 1:
            raise InputError(
                f"Columns of {', '.join(map(str, sorted(lengths)))} rows do not make one frame.",
                hint="Give a customer, a label and every feature for each row.",
            )

    @classmethod
    def of(
        cls,
        customer_id: pa.Array | npt.ArrayLike,
        label: npt.ArrayLike,
        features: pa.Table,
        cutoff: npt.ArrayLike | None = None,
        activity: pa.Table | None = None,
    ) -> Self:
        """Put columns together; without `cutoff` the rows have no time."""
        ids = pa.array(customer_id)
        never = np.full(len(ids), np.datetime64("NaT"))
        return cls(
            ids if pa.types.is_string(ids.type) else pc.cast(ids, pa.string()),
            np.asarray(never if cutoff is None else cutoff).astype("datetime64[us]"),
            np.asarray(label, dtype=np.bool_),
            features,
            pa.table({}) if activity is None else activity,
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.label)

    @property
    def churners(self) -> int:
        """Number of rows whose customer was lost."""
        return int(self.label.sum())

    @property
    def has_time(self) -> bool:
        """Whether the rows speak for instants."""
        return not bool(np.isnat(self.cutoff).any())

    def group(self) -> npt.NDArray[np.int64]:
        """The customer of each row as a number from 0 on."""
        return customer_codes(self.customer_id)[0]

    def take(self, rows: Flags) -> Frame:
        """The rows that a mask marks; nothing is copied where they lie together."""
        places = np.flatnonzero(rows)
        if len(places) and places[-1] - places[0] + 1 == len(places):
            start, count = int(places[0]), len(places)
            within = slice(start, start + count)
            ids, features, activity = (
                part.slice(start, count) for part in (self.customer_id, self.features, self.activity)
            )
            return Frame(ids, self.cutoff[within], self.label[within], features, activity)
        mask = pa.array(rows)
        activity = self.activity.filter(mask) if self.activity.num_columns else self.activity
        return Frame(
            self.customer_id.filter(mask), self.cutoff[rows], self.label[rows], self.features.filter(mask), activity
        )


def read_frame(paths: Sequence[Path], features: Sequence[str]) -> Frame:
    """Read labelled snapshots, one file per cutoff, in the order given.

    Parameters
    ----------
    paths : sequence of Path
        Files that `tenure.features.snapshot` wrote with labels.
    features : sequence of str
        The feature columns, in the order that the model shall see.

    Raises
    ------
    NotFoundError
        A file or a column does not exist.
    HistoryError
        There is no row, or a row has no label.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "2026-01-01.parquet"
    >>> columns = {"customer_id": ["a", "b"], "cutoff": [0, 0], "label": [True, False], "visits": [0, 3]}
    >>> pq.write_table(pa.table(columns | dict.fromkeys(ACTIVITY, [1.0, 2.0])), path)
    >>> read_frame([path], ["visits"]).churners
    1
    """
    wanted = ["customer_id", "cutoff", "label", *ACTIVITY, *features]
    table = pa.concat_tables([_read(path, wanted) for path in paths], promote_options="permissive") if paths else None
    if table is None or not table.num_rows:
        raise HistoryError(
            f"The {len(paths)} snapshots hold no customer at risk.",
            hint="Check [churn] active: who counts as active, within which time.",
            files=[str(path) for path in paths],
        )
    unlabelled = table.column("label").null_count
    if unlabelled:
        raise HistoryError(
            f"{unlabelled} of {table.num_rows} rows have no label.",
            hint="Train on matured cutoffs only.",
            rows=unlabelled,
        )
    cutoff = pc.cast(pc.cast(table.column("cutoff"), pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy()
    return Frame.of(
        table.column("customer_id").combine_chunks(),
        table.column("label").to_numpy(),
        table.select(list(features)),
        cutoff,
        table.select(list(ACTIVITY)),
    )


def _read(path: Path, wanted: list[str]) -> pa.Table:
    if not path.exists():
        raise NotFoundError(f"There is no snapshot {path}.", hint="Run `tenure train` again.", path=str(path))
    known = pq.read_schema(path).names
    for name in wanted:
        if name not in known:
            raise NotFoundError(
                f"The snapshot {path} has no column {name!r}. {did_you_mean(name, known)}",
                hint="Write it again with the features that are declared now, and with labels.",
                column=name,
                path=str(path),
            )
    return pq.read_table(path, columns=wanted)


def equal_rows(features: pa.Table) -> pa.Array:
    """Ids for rows that came without one: rows equal in every column share an id.

    Exact copies of a row are usually one customer written down twice. Sharing an id keeps them in one block, one fold
    and one draw of the bootstrap, so that a model is never judged on a row that it was trained on. Where fewer than
    half of the rows are distinct, equality is in the nature of the columns: every row gets an id of its own.

    Examples
    --------
    >>> equal_rows(pa.table({"x": [1, 2, 1], "y": ["a", "a", "a"]})).to_pylist()
    ['0', '1', '0']
    """
    codes = np.zeros(features.num_rows, dtype=np.int64)
    for column in features.columns:
        values, distinct = customer_codes(column)
        codes = np.unique(codes * (distinct + 1) + values, return_inverse=True)[1].astype(np.int64)
    _, first, places = np.unique(codes, return_index=True, return_inverse=True)
    if len(first) < features.num_rows / 2:
        return pc.cast(pa.array(np.arange(features.num_rows)), pa.string())
    return pc.cast(pa.array(np.argsort(np.argsort(first))[places]), pa.string())
