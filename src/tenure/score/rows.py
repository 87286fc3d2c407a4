"""Rows of a snapshot by their position.

Enters: the Parquet files of a snapshot, ordered by customer. Leaves: any span of its rows as tables of an exact
length. Invariant: what is read depends on the rows alone and not on how the files divide them into row groups, so
scores come out in the same bytes if the same snapshot is written once more with another layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from tenure.core.errors import InputError, NotFoundError, did_you_mean

__all__ = ["Snapshot", "open_snapshot", "rechunk"]


@dataclass(frozen=True)
class _Group:
    """One row group: its file, its number there, and its rows' positions in the snapshot."""

    path: Path
    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot; `open_snapshot` makes one.

    Parameters
    ----------
    fingerprint : str
        Changes whenever a row would be another one.
    schema : pyarrow.Schema
        Columns of every file.
    groups : tuple
        Where the rows are.

    Examples
    --------
    >>> Snapshot("0f", pa.schema({"customer_id": pa.string()}), ()).rows
    0
    """

    fingerprint: str
    schema: pa.Schema
    groups: tuple[_Group, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.groups[-1].stop if self.groups else 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order of their rows."""
        return tuple(dict.fromkeys(group.path for group in self.groups))

    def require(self, columns: Iterable[str], purpose: str) -> None:
        """Refuse a snapshot that lacks a column.

        Parameters
        ----------
        columns : iterable of str
            Names of the columns.
        purpose : str
            What they are needed for, for the message.

        Raises
        ------
        NotFoundError
            A column is missing; the message lists those that exist.
        """
        for name in columns:
            if self.schema.names.count(name) != 1:
                raise NotFoundError(
                    f"The snapshot has no column {name!r}, which {purpose}. {did_you_mean(name, self.schema.names)}",
                    hint="Compute the features again with the settings that belong to this version.",
                    column=name,
                )

    def read(self, start: int, stop: int, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Read the rows at positions `start` to `stop`, in tables of `rows` rows; the last one may be shorter."""
        wanted = list(dict.fromkeys(columns))
        return rechunk(self._pieces(start, stop, wanted, rows), rows)

    def pick(self, column: str, wanted: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """The rows whose text in a column is one of those wanted, in the order of the snapshot."""
        rows = dataset([str(path) for path in self.paths], format="parquet")
        return rows.to_table(columns=list(dict.fromkeys(columns)), filter=pc.field(column).isin(list(wanted)))

    def _pieces(self, start: int, stop: int, columns: list[str], rows: int) -> Iterator[pa.Table]:
        for group in self.groups:
            if group.stop <= start or group.start >= stop:
                continue
            position = group.start
            with pq.ParquetFile(group.path) as file:
                for batch in file.iter_batches(rows, row_groups=[group.number], columns=columns):
                    first, last = max(start - position, 0), min(stop - position, batch.num_rows)
                    position += batch.num_rows
                    if first < last:
                        # By name once more: Parquet reads `columns` as prefixes of dotted paths.
                        yield pa.Table.from_batches([batch]).slice(first, last - first).select(columns)


def open_snapshot(paths: Sequence[Path], fingerprint: str) -> Snapshot:
    """Read where the rows of a snapshot are, without reading them.

    Parameters
    ----------
    paths : sequence of Path
        Parquet files of one schema, which hold the rows in the order of their customer ids.
    fingerprint : str
        Changes whenever a row would be another one: a digest of the data, the features and the cutoff.

    Raises
    ------
    InputError
        There is no file, or the files disagree about their columns.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "snapshot.parquet"
    >>> pq.write_table(pa.table({"customer_id": ["a", "b", "c"]}), path, row_group_size=2)
    >>> snapshot = open_snapshot([path], "0f")
    >>> snapshot.rows, [table.column(0).to_pylist() for table in snapshot.read(1, 3, ["customer_id"], rows=10)]
    (3, [['b', 'c']])
    """
    if not paths:
        raise InputError("A snapshot without files cannot be scored.", hint="Compute the features first.")
    schema = pq.read_schema(paths[0]).remove_metadata()
    sizes: list[tuple[Path, int, int]] = []
    for path in paths:
        found = pq.read_schema(path).remove_metadata()
        if not found.equals(schema):
            raise InputError(
                f"{path.name} has other columns than {paths[0].name}.",
                hint="Compute the features again; the files of one snapshot belong to one run.",
            )
        metadata = pq.read_metadata(path)
        sizes += [(path, number, metadata.row_group(number).num_rows) for number in range(metadata.num_row_groups)]
    stops = accumulate(size for _, _, size in sizes)
    groups = [_Group(path, number, stop - size, stop) for (path, number, size), stop in zip(sizes, stops, strict=True)]
    return Snapshot(fingerprint, schema, tuple(groups))


def rechunk(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut a stream of tables into tables of exactly `rows` rows; the last one may be shorter.

    Examples
    --------
    >>> stream = [pa.table({"x": [1]}), pa.table({"x": [2, 3, 4]}), pa.table({"x": [5]})]
    >>> [table.column("x").to_pylist() for table in rechunk(stream, 2)]
    [[1, 2], [3, 4], [5]]
    """
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        while count >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows).combine_chunks()
            held, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(held).combine_chunks()
