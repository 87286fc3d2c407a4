"""Files of events become records to append.

Enters: a JSON Lines file (also compressed with gzip) or a Parquet file, of any size, whose columns have the names
that events on the log have. Leaves: records, some thousands at a time. Invariant: a file is read once from its
beginning to its end, and no more of it is in memory than one piece; what cannot be an event stops the reading with
the line or row that it is in.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.errors import InputError, NotFoundError
from tenure.source.document import LARGEST, to_record

__all__ = ["Record", "read_records"]

Record = tuple[str, bytes]
PIECE = 5_000
LINES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
PARQUET = (".parquet", ".pq")


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
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="Name a JSON Lines or Parquet file.", path=str(path))
    name = path.name.lower()
    if name.endswith(PARQUET):
        documents = _rows(path)
    elif name.endswith(LINES):
        documents = _lines(path)
    else:
        raise InputError(
            f"{path.name} is neither JSON Lines nor Parquet by its name.",
            hint=f"Name it after what it holds: {', '.join((*LINES, *PARQUET))}.",
        )
    records = _records(path, documents, event_type)
    while piece := list(islice(records, PIECE)):
        yield piece


def _records(
    path: Path, documents: Iterator[tuple[str, Mapping[str, Any]]], event_type: str | None
) -> Iterator[Record]:
    for place, document in documents:
        named = document if document.get("type") is not None or event_type is None else {**document, "type": event_type}
        try:
            yield to_record(named)
        except InputError as error:
            raise InputError(f"{path.name}, {place}: {error.message}", hint=error.hint, **error.ids) from error


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    number = 0
    with _readable(path), _opened(path) as handle:
        while line := handle.readline(LARGEST + 2):
            number += 1
            place = f"line {number:,}"
            if len(line) > LARGEST + 1:
                raise InputError(
                    f"{path.name}, {place} has more than {LARGEST:,} bytes.", hint="Write an event per line."
                )
            if line.strip():
                yield place, _document(path, place, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _document(path: Path, place: str, line: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(line.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path.name}, {place} is not JSON: {error}.", hint="Write one JSON object per line, in UTF-8."
        ) from None
    if not isinstance(document, dict):
        raise InputError(f"{path.name}, {place} is no JSON object.", hint="Write one JSON object per line.")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name is given twice")
    return document


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    number = 0
    with _readable(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PIECE):
            columns = {name: batch.column(n).to_pylist() for n, name in enumerate(batch.schema.names)}
            for values in zip(*columns.values(), strict=True):
                number += 1
                yield f"row {number:,}", dict(zip(columns, values, strict=True))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, pa.ArrowException) as error:
        raise InputError(f"{path.name} cannot be read: {error}.", hint="Check that the file is whole.") from error
