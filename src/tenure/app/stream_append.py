"""Events go into the project's log: from files, from standard input, from Python.

Enters: documents. Leaves: records at the end of the log, and what was refused, by reason. Invariant: what would be set
aside by the consumer is refused here, by the same judgement; unless the bad ones are to be skipped, either every
document of a call is appended, or none.

Documents are checked first and kept aside meanwhile (in memory, beyond 64 MiB in a temporary file), so that what can be
read only once, like standard input, is still appended as a whole or not at all.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from tenure.app.place import Place
from tenure.app.stream import event_schemas
from tenure.core.errors import InputError, NotFoundError, StateError, did_you_mean
from tenure.core.progress import Progress, silent
from tenure.core.time import parse_timezone, to_micros
from tenure.source.admit import admit
from tenure.source.event_schema import EventSchema
from tenure.source.log import EventLog
from tenure.source.logs import open_log
from tenure.source.memory import to_arrow
from tenure.source.record_files import Placed, Record, read_documents, read_lines, read_placed

__all__ = ["Appended", "Refused", "append_events", "append_files", "project_log"]

STDIN = "-"
_SHOWN = 20
_AT_ONCE = 5_000
_IN_MEMORY_BYTES = 64 << 20


@dataclass(frozen=True)
class Refused:
    """A document that was refused: where it is, the reason in the words of the contract, and what was found."""

    place: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Appended:
    """What became of documents.

    Parameters
    ----------
    read, appended : int
        How many there were, and how many are in the log now.
    refused : mapping of str to int
        How many were refused, by reason.
    examples : tuple of Refused
        The first of those.
    """

    read: int
    appended: int
    refused: Mapping[str, int]
    examples: tuple[Refused, ...]

    @property
    def summary(self) -> str:
        """What was refused, in a sentence."""
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in self.refused.items())
        number = sum(self.refused.values())
        return f"{number:,} of {self.read:,} events {'was' if number == 1 else 'were'} refused ({reasons})."


@contextmanager
def project_log(place: Place) -> Iterator[EventLog]:
    """Open the project's event log alone.

    Raises
    ------
    ConfigError
        The project is a plain table, or the log's URL is not understood.
    UnreachableError
        The log does not answer.

    Examples
    --------
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with project_log(place) as log:
    ...     log.name
    'log.db'
    """
    event_schemas(place)
    log = open_log(place.settings.stream, place.root, clock=place.clock)
    try:
        yield log
    finally:
        log.close()


def append_files(
    place: Place,
    files: Sequence[str | Path],
    *,
    event_type: str | None = None,
    skip_bad: bool = False,
    standard_input: IO[bytes] | None = None,
    progress: Progress = silent,
) -> Appended:
    r"""Append files of events to the log.

    Parameters
    ----------
    place : Place
        The project.
    files : sequence of str or Path
        JSON Lines or Parquet; `-` is standard input, JSON Lines.
    event_type : str, optional
        The type of events that name none.
    skip_bad : bool
        Append what is good, piece by piece as it is read, in place of all or nothing.
    standard_input : binary file, optional
        What `-` means.
    progress : Progress
        Told how far it is.

    Raises
    ------
    NotFoundError
        There is no such file, or no such event type.
    InputError
        A file is damaged, or neither JSON Lines nor Parquet.
    StateError
        The log did not take everything; the message says how much it took.

    Examples
    --------
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> path = place.root / "new.jsonl"
    >>> _ = path.write_text('{"customer_id": "c001", "time": "2026-01-31", "amount": 7}\n{"customer_id": "c002"}')
    >>> append_files(place, [path], event_type="order", skip_bad=True).refused
    {'missing time': 1}
    """
    lacking = [str(file) for file in files if str(file) != STDIN and not Path(file).is_file()]
    if lacking:
        raise NotFoundError(
            f"There is no file {', '.join(lacking)}.", hint="Name JSON Lines or Parquet files, or - for standard input."
        )

    def read() -> Iterator[list[Placed]]:
        for number, file in enumerate(files):
            progress("check", number / len(files))
            if str(file) == STDIN:
                pieces, name = read_lines(standard_input or io.BytesIO(), event_type=event_type), "standard input"
            else:
                pieces, name = read_placed(Path(file), event_type=event_type), Path(file).name
            for piece in pieces:
                yield [(f"{name}, {where}", found) for where, found in piece]
        progress("check", 1.0)

    return _append(place, read(), event_type, skip_bad=skip_bad, progress=progress)


def append_events(
    place: Place, events: Iterable[Mapping[str, Any]] | object, *, event_type: str | None = None
) -> Appended:
    """Append events that Python has, all of them or none.

    Parameters
    ----------
    place : Place
        The project.
    events : iterable of mappings, or a table
        Mappings, or an Arrow, pandas or polars table with a column per field.
    event_type : str, optional
        The type of events that name none.

    Raises
    ------
    InputError
        One of them cannot be an event; nothing was appended.
    StateError
        The log did not take everything.

    Examples
    --------
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> append_events(place, [{"type": "order", "customer_id": "c001", "time": "2026-01-31", "amount": 7}]).appended
    1
    """
    documents = events if isinstance(events, Iterable) and not _is_table(events) else _rows(to_arrow("events", events))
    appended = _append(place, read_documents(documents, event_type=event_type), event_type)
    if appended.refused:
        first = appended.examples[0]
        raise InputError(
            f"{appended.summary} Nothing was appended. The first is {first.place}: {first.reason}, {first.detail}",
            hint="Correct them, or leave them out.",
            refused=appended.refused,
        )
    return appended


def _is_table(events: object) -> bool:
    return hasattr(events, "__arrow_c_stream__")


def _rows(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    for batch in table.to_batches(max_chunksize=_AT_ONCE):
        yield from batch.to_pylist()


def _append(
    place: Place,
    pieces: Iterator[list[Placed]],
    event_type: str | None,
    *,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> Appended:
    schemas = event_schemas(place)
    if event_type is not None and event_type not in schemas:
        raise NotFoundError(
            f"There are no events of type {event_type!r}. {did_you_mean(event_type, schemas)}",
            hint="Name a section [events.…] of tenure.toml.",
        )
    checked = _Checked(place, schemas)
    with project_log(place) as log, tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as kept:
        into = _Appending(log)
        for piece in pieces:
            good = checked.take(piece)
            if skip_bad:
                into.append(good)
            elif not checked.refused:
                _keep(kept, good)
        if not skip_bad and not checked.refused:
            kept.seek(0)
            for good in _kept(kept):
                into.append(good)
                progress("append", into.count / checked.read)
    return Appended(checked.read, into.count, dict(checked.refused.most_common()), tuple(checked.examples))


class _Checked:
    """Which documents are good, and what was refused so far."""

    def __init__(self, place: Place, schemas: Mapping[str, EventSchema]) -> None:
        self._schemas, self._clock = schemas, place.clock
        self._zone = parse_timezone(place.settings.project.timezone)
        self.read = 0
        self.refused: Counter[str] = Counter()
        self.examples: list[Refused] = []

    def take(self, piece: Sequence[Placed]) -> list[Record]:
        """The good ones of a piece."""
        self.read += len(piece)
        found = admit([document for _, document in piece], self._schemas, self._zone, to_micros(self._clock()))
        self.refused.update(one.reason for one in found.refused)
        shown = found.refused[: _SHOWN - len(self.examples)]
        self.examples += [Refused(piece[one.index][0], one.reason, one.detail) for one in shown]
        return list(found.records.values())


class _Appending:
    """Appends, and counts what is durable."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.count = 0

    def append(self, records: Sequence[Record]) -> None:
        """Append; a failure says how many were appended before."""
        try:
            self._log.append(records)
        except StateError as error:
            if not self.count:
                raise
            raise StateError(
                f"After {self.count:,} events were appended: {error.message}",
                hint="Run it again once the log answers: events with an id count once, those without one twice.",
                appended=self.count,
            ) from error
        self.count += len(records)


def _keep(kept: Any, records: Sequence[Record]) -> None:
    """A line for the customer and one for the payload: JSON without layout has no line breaks."""
    for customer, payload in records:
        kept.write(json.dumps(customer).encode() + b"\n" + payload + b"\n")


def _kept(kept: Any) -> Iterator[list[Record]]:
    records: list[Record] = []
    while line := kept.readline():
        records.append((json.loads(line), kept.readline()[:-1]))
        if len(records) == _AT_ONCE:
            yield records
            records = []
    if records:
        yield records
