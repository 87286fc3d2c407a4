"""Files of events become records to append.

Enters: a JSON Lines file (also compressed with gzip) or a Parquet file, of any size, whose columns have the names
that events on the log have. Leaves: records, some thousands at a time, and with them the lines or rows that cannot be
events. Invariant: a file is read once from its beginning to its end, and no more of it is in memory than one piece;
every line that holds anything, and every row, is either a record or refused with its place.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.errors import InputError, NotFoundError
from tenure.source.document import LARGEST, to_record
from tenure.source.reading import WHITESPACE

__all__ = ["Placed", "Record", "Unfit", "as_record", "read_documents", "read_lines", "read_placed", "read_records"]

Record = tuple[str, bytes]
PIECE = 5_000
LINES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
PARQUET = (".parquet", ".pq")
_ROLES = {"customer_id": "customer", "recorded": "recorded time"}  # as the contract calls them


@dataclass(frozen=True)
class Unfit:
    """What cannot be an event: why in a sentence, what to do about it, and the reason in the words of the contract."""

    message: str
    hint: str = ""
    reason: str = "malformed event"


Placed = tuple[str, Record | Unfit]


def read_records(path: Path, *, event_type: str | None = None) -> Iterator[list[Record]]:
    """Read a file of events, some thousands at a time.

    Parameters
    ----------
    path : Path
        JSON Lines or Parquet, told by the file's name.
    event_type : str, optional
        The type of events that name none.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        The file is of another kind or damaged, or a line or row cannot be an event. Pieces before it have been given:
        read the file once without appending to be sure of the whole.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.jsonl"
    >>> _ = path.write_text('{"customer_id": "ada", "time": "2026-01-31"}')
    >>> list(read_records(path, event_type="visit"))
    [[('ada', b'{"customer_id":"ada","time":"2026-01-31","type":"visit"}')]]
    """
    for piece in read_placed(path, event_type=event_type):
        records = []
        for place, record in piece:
            if isinstance(record, Unfit):
                raise InputError(f"{path.name}, {place}: {record.message}", hint=record.hint)
            records.append(record)
        yield records


def read_placed(path: Path, *, event_type: str | None = None) -> Iterator[list[Placed]]:
    """Read a file of events, some thousands at a time, each record and each refusal with its place.

    Parameters
    ----------
    path : Path
        JSON Lines or Parquet, told by the file's name.
    event_type : str, optional
        The type of events that name none.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        The file is of another kind or damaged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.jsonl"
    >>> _ = path.write_text('{"type": "visit", "customer_id": "ada"}')
    >>> [(place, unfit)] = next(read_placed(path))
    >>> place, unfit.message
    ('line 1', 'This cannot be an event: it has no time, only type, customer_id.')
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="Name a JSON Lines or Parquet file.", path=str(path))
    name = path.name.lower()
    if name.endswith(PARQUET):
        yield from _pieces(_rows(path), event_type)
    elif name.endswith(LINES):
        with _readable(path.name), _opened(path) as handle:
            yield from read_lines(handle, event_type=event_type)
    else:
        raise InputError(
            f"{path.name} is neither JSON Lines nor Parquet by its name.",
            hint=f"Name it after what it holds: {', '.join((*LINES, *PARQUET))}.",
        )


def read_lines(handle: IO[bytes], *, event_type: str | None = None) -> Iterator[list[Placed]]:
    """Read JSON Lines from what is open already, such as standard input.

    Parameters
    ----------
    handle : binary file
        Read to its end.
    event_type : str, optional
        The type of events that name none.

    Examples
    --------
    >>> import io
    >>> list(read_lines(io.BytesIO(b"{")))[0][0][1].message
    'This is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1).'
    """
    yield from _pieces(_lines(handle), event_type)


def read_documents(documents: Iterable[Mapping[str, Any]], *, event_type: str | None = None) -> Iterator[list[Placed]]:
    """Read events that Python has, some thousands at a time.

    Parameters
    ----------
    documents : iterable of mappings
        Each is one event.
    event_type : str, optional
        The type of events that name none.

    Examples
    --------
    >>> [[(place, unfit)]] = read_documents([{"type": "visit", "customer_id": "ada", "time": "soon"}])
    >>> place, unfit.reason
    ('event 1', 'unreadable time')
    """
    yield from _pieces(((f"event {number:,}", one) for number, one in enumerate(documents, 1)), event_type)


def as_record(document: object, event_type: str | None = None) -> Record | Unfit:
    """The record of one document, or why it can be none.

    Parameters
    ----------
    document : mapping, or anything else
        What is meant to be an event; what was found unfit already stays so.
    event_type : str, optional
        The type of an event that names none.

    Examples
    --------
    >>> as_record({"customer_id": "ada", "time": "2026-01-31"}, "visit")
    ('ada', b'{"customer_id":"ada","time":"2026-01-31","type":"visit"}')
    >>> as_record(["ada"]).message
    'This is no JSON object.'
    """
    if isinstance(document, Unfit):
        return document
    if not isinstance(document, Mapping):
        return Unfit("This is no JSON object.", "Write each event as an object.")
    named = document if document.get("type") is not None or event_type is None else {**document, "type": event_type}
    try:
        return to_record(named)
    except InputError as error:
        return Unfit(error.message, error.hint, _reason(named, error.ids.get("field")))


def _pieces(
    documents: Iterator[tuple[str, Mapping[str, Any] | Unfit]], event_type: str | None
) -> Iterator[list[Placed]]:
    placed = ((place, as_record(document, event_type)) for place, document in documents)
    while piece := list(islice(placed, PIECE)):
        yield piece


def _reason(document: Mapping[str, Any], name: object) -> str:
    if not isinstance(name, str):
        return "malformed event"
    value = document.get(name)
    is_absent = value is None or (isinstance(value, str) and not value.strip(WHITESPACE))
    return f"{'missing' if is_absent else 'unreadable'} {_ROLES.get(name, name)}"


def _lines(handle: IO[bytes]) -> Iterator[tuple[str, Mapping[str, Any] | Unfit]]:
    number = 0
    while line := handle.readline(LARGEST + 2):
        number += 1
        place = f"line {number:,}"
        if len(line) > LARGEST + 1:
            while line and not line.endswith(b"\n"):
                line = handle.readline(LARGEST)
            yield place, Unfit(f"This has more than {LARGEST:,} bytes.", "Write an event per line.")
        elif line.strip():
            yield place, _document(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _document(line: bytes) -> Mapping[str, Any] | Unfit:
    try:
        document = json.loads(line.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return Unfit(f"This is not JSON: {error}.", "Write one JSON object per line, in UTF-8.")
    if not isinstance(document, dict):
        return Unfit("This is no JSON object.", "Write one JSON object per line.")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name is given twice")
    return document


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    number = 0
    with _readable(path.name), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PIECE):
            columns = {name: batch.column(n).to_pylist() for n, name in enumerate(batch.schema.names)}
            for values in zip(*columns.values(), strict=True):
                number += 1
                yield f"row {number:,}", dict(zip(columns, values, strict=True))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{name} cannot be read: {error}.", hint="Check that the file is whole.") from error
