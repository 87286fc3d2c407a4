"""Raw events kept as Parquet: what a restore folds again once the log has dropped it, and what training reads.

Enters: the readable events of a partition's batches, duplicates among them, in the order of the log. Leaves: one file
per type and flush, `<type>/<partition>/<first>-<last>.parquet`, named after the offsets that it covers.
Invariant: every event before `position` is in a file, and a file holds every event of its type between its two offsets.

A flush writes its files one after the other, whole or not at all, and then moves the partition's position. If it is
killed in between, the position has not moved: the events are read from the log and written again, into files that may
cover the same offsets as those of the killed flush. A place in the log is one event, whichever file tells of it, so
`archived_sql` takes every offset from one file alone. The position has a file of its own for that reason: the names of
the files of one type do not say whether those of the next type were written. It also moves where no event was readable.

The files have the columns of a canonical table and can be read as a source:

    [events.login]
    path = ".tenure/stream/archive/login/**/*.parquet"
    recorded = "recorded"
    id = "id"
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tenure.core.errors import ConfigError, StateError
from tenure.core.files import atomic_path
from tenure.core.time import Clock, system_clock
from tenure.source.record import NEVER, EventRows, EventSchema
from tenure.store.archive_read import Piece, pieces_sql

__all__ = ["Archive", "Buffered", "archive_schema"]

POSITIONS = ".positions"  # no event type is called so
_INSTANT = pa.timestamp("us")  # UTC, without an offset, as in canonical tables
_PLACE = (("partition", pa.int32()), ("offset", pa.int64()), ("appended", _INSTANT))
_EVENT = (("customer_id", pa.string()), ("time", _INSTANT), ("recorded", _INSTANT), ("id", pa.string()))
_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")


class Buffered(NamedTuple):
    """What waits to be written: how many events, and for how many seconds the first of them has waited."""

    rows: int
    age_seconds: float


@dataclass
class _Buffer:
    """Events of one partition that wait, by type, and the offset that they begin at."""

    first: int
    since: datetime
    rows: int = 0
    last: int = -1
    tables: dict[str, list[pa.Table]] = field(default_factory=dict)


def archive_schema(schema: EventSchema) -> pa.Schema:
    """The columns of a type's files: the place in the log, then those of a canonical table.

    Raises
    ------
    ConfigError
        A field of the type has the name of another column.

    Examples
    --------
    >>> archive_schema(EventSchema("login", values=("minutes",))).names
    ['partition', 'offset', 'appended', 'customer_id', 'time', 'recorded', 'id', 'minutes']
    """
    own = [(name, pa.float64()) for name in schema.values] + [(name, pa.string()) for name in schema.categories]
    ours = [name for name, _ in (*_PLACE, *_EVENT)]
    taken = [name.casefold() for name in ours] + [name.casefold() for name, _ in own]
    clashing = [name for name, _ in own if taken.count(name.casefold()) > 1]
    if clashing:
        raise ConfigError(
            f"[events.{schema.name}] cannot be archived: it has several columns called {', '.join(clashing)} "
            "(upper and lower case do not count).",
            hint=f"Rename them; every archived event has {', '.join(ours)}.",
        )
    return pa.schema([*_PLACE, *_EVENT, *own])


class Archive:
    """The archive of a project; used by one thread at a time.

    Parameters
    ----------
    folder : Path
        Where it lies; made when it is first written to.
    schemas : mapping of str to EventSchema
        The event types that are kept.
    clock : Clock
        For how long events have waited, and for nothing else.

    Raises
    ------
    ConfigError
        A field of a type has the name of another column.

    Examples
    --------
    >>> import tempfile
    >>> archive = Archive(Path(tempfile.mkdtemp()), {"login": EventSchema("login")})
    >>> no_times, stamps = np.full(2, NEVER), np.full(3, 10**15)
    >>> logins = EventRows(np.array([0, 2]), pa.array(["ada", "dan"]), stamps[:2], no_times, None, {}, {})
    >>> archive.add(0, {"login": logins}, offsets=np.array([7, 8, 9]), appended=stamps)
    >>> archive.flush(0, end=10)
    >>> archive.position(0), [path.name for path in archive.paths("login")]
    (10, ['00000000000000000007-00000000000000000009.parquet'])
    """

    def __init__(self, folder: Path, schemas: Mapping[str, EventSchema], clock: Clock = system_clock) -> None:
        self.folder, self._clock = folder, clock
        self._columns = {name: archive_schema(schema) for name, schema in schemas.items()}
        self._buffers: dict[int, _Buffer] = {}

    def add(
        self,
        partition: int,
        rows_by_type: Mapping[str, EventRows],
        offsets: NDArray[np.int64],
        appended: NDArray[np.int64],
    ) -> None:
        """Take the readable events of a batch; they are in memory until `flush`.

        Parameters
        ----------
        partition : int
            Whose batch it is.
        rows_by_type : mapping of str to EventRows
            As `tenure.source.record.parse` gives them.
        offsets, appended : int64 array, shape (n,)
            Those of the batch, also where nothing of it was readable.

        Raises
        ------
        StateError
            The batch does not follow what was added before it.
        """
        if not offsets.size:
            return
        buffer = self._buffers.setdefault(partition, _Buffer(int(offsets[0]), self._clock()))
        if offsets[0] <= buffer.last:
            raise StateError(
                f"Offset {offsets[0]} of partition {partition} was to be archived after {buffer.last}.",
                hint="Drop what is buffered of the partition and read on from the archive's position.",
            )
        buffer.last = int(offsets[-1])
        for name, rows in rows_by_type.items():
            if rows.row.size:
                table = self.table(name, partition, rows, offsets, appended)
                buffer.tables.setdefault(name, []).append(table)
                buffer.rows += table.num_rows

    def table(
        self,
        event_type: str,
        partition: int,
        rows: EventRows,
        offsets: NDArray[np.int64],
        appended: NDArray[np.int64],
    ) -> pa.Table:
        """The events of one type of a batch as an archived file has them."""
        columns, count = self._columns[event_type], rows.row.size
        recorded = pa.array(rows.recorded, pa.int64(), mask=rows.recorded == NEVER)
        given = {
            "partition": pa.array(np.full(count, partition, dtype=np.int32)),
            "offset": pa.array(offsets[rows.row]),
            "appended": pa.array(appended[rows.row]).cast(_INSTANT),
            "customer_id": rows.customer_id,
            "time": pa.array(rows.time).cast(_INSTANT),
            "recorded": recorded.cast(_INSTANT),
            "id": pa.nulls(count, pa.string()) if rows.id is None else rows.id,
            **{name: pa.array(values, from_pandas=True) for name, values in rows.values.items()},
            **rows.categories,
        }
        return pa.table([given[name] for name in columns.names], schema=columns)

    def buffered(self, partition: int) -> Buffered:
        """How many events of a partition wait, and for how long."""
        buffer = self._buffers.get(partition)
        if buffer is None:
            return Buffered(0, 0.0)
        return Buffered(buffer.rows, (self._clock() - buffer.since).total_seconds())

    def forget(self, partition: int) -> None:
        """Drop what waits, because somebody else will write it."""
        self._buffers.pop(partition, None)

    def flush(self, partition: int, end: int) -> None:
        """Write what waits, and then that everything before an offset is archived.

        Raises
        ------
        StateError
            Events at that offset or after it wait, too; or a file cannot be written, in which case what waits goes on
            waiting.
        """
        buffer = self._buffers.get(partition)
        if buffer is not None and buffer.last >= end:
            raise StateError(
                f"Partition {partition} was to be archived up to {end}, and events up to {buffer.last} wait.",
                hint="Archive up to the offset after the last one that was added.",
            )
        try:
            if buffer is not None:
                self._write(partition, buffer, end)
            self._move(partition, end)
        except OSError as error:
            raise self._unwritable(error) from error
        self._buffers.pop(partition, None)

    def _unwritable(self, error: OSError) -> StateError:
        return StateError(
            f"The archive {self.folder} cannot be written: {error}.",
            hint="Make room and check who may write there. Nothing is lost: the events are still in the log.",
        )

    def _write(self, partition: int, buffer: _Buffer, end: int) -> None:
        for name, tables in buffer.tables.items():
            target = self.folder / name / str(partition) / f"{buffer.first:020d}-{end - 1:020d}.parquet"
            with atomic_path(target) as path:
                pq.write_table(pa.concat_tables(tables), path, compression="zstd")

    def _move(self, partition: int, end: int) -> None:
        if end > (self.position(partition) or 0):
            with atomic_path(self._marker(partition)) as path:
                path.write_text(f"{end}\n", encoding="ascii")

    def _marker(self, partition: int) -> Path:
        return self.folder / POSITIONS / str(partition)

    @property
    def _owner(self) -> Path:
        return self.folder / POSITIONS / "log"

    def position(self, partition: int) -> int | None:
        """The offset before which everything is archived; None where nothing ever was.

        Raises
        ------
        StateError
            The file that tells the position is damaged or cannot be read.
        """
        marker = self._marker(partition)
        try:
            return int(marker.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateError(
                f"How far partition {partition} is archived cannot be read from {marker}: {error}.",
                hint="Remove that file; events that the log still has are then archived again.",
            ) from error

    def keep_for(self, log: str) -> None:
        """Keep the records of this log, and of no other: offsets of two logs mean different records.

        Raises
        ------
        ConfigError
            The folder holds records of another log.
        StateError
            The folder cannot be written.
        """
        if self.refuse_other(log) is None:
            try:
                with atomic_path(self._owner) as path:
                    path.write_text(log, encoding="utf-8")
            except OSError as error:
                raise self._unwritable(error) from error

    def refuse_other(self, log: str) -> str | None:
        """Refuse a folder with records of another log; gives whose records it holds, None where it holds none.

        Raises
        ------
        ConfigError
            The folder holds records of another log.
        StateError
            Whose they are cannot be read.
        """
        try:
            owner = self._owner.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateError(
                f"Whose records the archive holds cannot be read from {self._owner}: {error}.",
                hint="Check who may read there.",
            ) from error
        if owner != log:
            raise ConfigError(
                f"The archive {self.folder} holds records of another event log than the one that is set.",
                hint="Set [stream] archive to a new folder, or bring the old log back.",
                folder=str(self.folder),
            )
        return owner

    def drop(self, partition: int) -> None:
        """Remove everything of a partition, its position first.

        Raises
        ------
        StateError
            Something cannot be removed; try again.
        """
        self.forget(partition)
        try:
            self._marker(partition).unlink(missing_ok=True)
            for folder in self.folder.glob(f"[!.]*/{partition}"):
                shutil.rmtree(folder)
        except OSError as error:
            raise StateError(
                f"Partition {partition} of the archive {self.folder} cannot be removed: {error}.",
                hint="Check who may write there, then do the same again.",
            ) from error

    def paths(self, event_type: str, partition: int | None = None) -> tuple[Path, ...]:
        """The files of a type, of one partition or of all, by partition and first offset."""
        return tuple(piece.path for piece in self._pieces(event_type, partition))

    def archived_sql(self, event_type: str, spans: Mapping[int, tuple[int, int]], *, once_per_id: bool = False) -> str:
        """A query for DuckDB that gives the events of a type, each place in the log once.

        What a file lacks, because the settings did not name the column then or meant another kind of it, is null.

        Parameters
        ----------
        event_type : str
            One of the types that are kept.
        spans : mapping of int to (int, int)
            Of every partition that is asked for, the first offset and the one to end before.
        once_per_id : bool
            Of events with the same id give the first by partition and offset; those without an id all.

        Returns
        -------
        str
            A SELECT with the columns of `archive_schema`, in no particular order.
        """
        pieces = [piece for partition in sorted(spans) for piece in self._pieces(event_type, partition)]
        return pieces_sql(pieces, spans, self._columns[event_type], once_per_id=once_per_id)

    def offset_at(self, partition: int, appended: int, default: int) -> int:
        """The first archived offset of a partition appended at or after an instant, in microseconds UTC."""
        instant = pa.scalar(appended, pa.int64()).cast(_INSTANT)
        found = [default]
        for name in self._columns:
            for piece in self._pieces(name, partition):
                table = pq.read_table(piece.path, columns=["offset", "appended"], partitioning=None)
                offsets = table.filter(pc.field("appended") >= instant)["offset"]
                if len(offsets):
                    found.append(pc.min(offsets).as_py())
                    break
        return min(found)

    def _pieces(self, event_type: str, partition: int | None) -> Sequence[Piece]:
        folder = self.folder / event_type
        pattern = "*/*.parquet" if partition is None else f"{partition}/*.parquet"
        found = ((path, _NAME.fullmatch(path.name)) for path in folder.glob(pattern))
        pieces = [
            Piece(int(path.parent.name), int(match[1]), int(match[2]) + 1, path)
            for path, match in found
            if match and path.parent.name.isdecimal()
        ]
        return sorted(pieces, key=lambda piece: (piece.partition, piece.first, -piece.end))
