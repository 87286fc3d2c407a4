from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ConfigError, StateError
from tenure.source.log import Batch
from tenure.source.record import EventSchema, parse
from tenure.store import archive as module
from tenure.store.archive import Archive, archive_schema
from tests.source.project import logins, only_report, take_in_events

NOW = 1_700_000_000_000_000
LOGIN = {"login": EventSchema("login", needs_id=True)}
ENGINE = duckdb.connect(config={"threads": 1})  # opening one takes longer than most queries here
ALL = {0: (0, 10**18), 1: (0, 10**18)}


def record(**more: Any) -> dict[str, Any]:
    return {"type": "login", "customer_id": "ada", "time": "2023-01-05T10:00:00", "id": "1", **more}


def add(archive: Archive, schemas: Mapping[str, EventSchema], first: int, *events: Any, partition: int = 0) -> int:
    """Add events at offsets that follow each other, as a consumer does; give the next offset."""
    offsets = np.arange(first, first + len(events))
    appended = NOW + offsets
    payloads = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    rows, _ = parse(Batch(partition, offsets, appended, payloads, [None] * len(events)), schemas, UTC)
    archive.add(partition, rows, offsets, appended)
    return first + len(events)


def ask(archive: Archive, columns: str, *, spans: Any = ALL, event_type: str = "login", once: bool = False) -> Any:
    query = archive.archived_sql(event_type, spans, once_per_id=once)
    return ENGINE.execute(f'SELECT {columns} FROM ({query}) ORDER BY partition, "offset"').fetchall()


def offsets_in(archive: Archive, **more: Any) -> list[int]:
    return [offset for (offset,) in ask(archive, '"offset"', **more)]


def test_a_raw_event_is_kept_with_its_place(tmp_path: Path) -> None:
    odd = 'a "q" 1;--'
    schemas = {"pay": EventSchema("pay", values=("amount", "größe"), categories=(odd,))}
    archive = Archive(tmp_path, schemas)
    known = "2023-01-06T00:00:00.000001"
    first = {"type": "pay", "customer_id": "ö'x", "time": "2023-01-05T10:00:00.123456", "recorded": known}
    end = add(archive, schemas, 5, {**first, "amount": 2.5, odd: "a'b"}, {**first, "recorded": None, "größe": -1})
    archive.flush(0, end)
    assert ask(archive, "*", event_type="pay") == [
        (0, 5, at(NOW + 5), "ö'x", day("2023-01-05T10:00:00.123456"), day(known), None, 2.5, None, "a'b"),
        (0, 6, at(NOW + 6), "ö'x", day("2023-01-05T10:00:00.123456"), None, None, None, -1.0, None),
    ]
    (path,) = archive.paths("pay")
    assert path == tmp_path / "pay" / "0" / f"{5:020d}-{6:020d}.parquet"
    written = pq.read_schema(path)
    assert written.equals(archive_schema(schemas["pay"]))
    assert written.names == ["partition", "offset", "appended", "customer_id", "time", "recorded", "id",
                             "amount", "größe", odd]  # fmt: skip


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


def at(micros: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=micros)  # noqa: DTZ001 - as canonical tables have it


def test_nothing_is_written_before_a_flush_and_nothing_twice(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "new", LOGIN)
    assert archive.position(0) is None
    add(archive, LOGIN, 0, record(), record())
    end = add(archive, LOGIN, 2, record(id="2"))
    assert offsets_in(archive) == []
    archive.flush(0, end)
    archive.flush(0, end)
    assert [path.name for path in archive.paths("login")] == [f"{0:020d}-{2:020d}.parquet"]
    assert offsets_in(archive) == [0, 1, 2]
    assert archive.position(0) == 3


def test_the_position_moves_where_nothing_was_readable(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    archive.flush(0, add(archive, LOGIN, 0, b"{", b"\xff"))
    assert archive.position(0) == 2
    archive.flush(0, 7)  # the log left a gap
    assert archive.position(0) == 7
    archive.flush(0, add(archive, LOGIN, 7, record()))
    assert Archive(tmp_path, LOGIN).position(0) == 8
    assert archive.position(1) is None
    assert offsets_in(archive) == [7]


def test_the_position_never_goes_back(tmp_path: Path) -> None:
    ours, late = Archive(tmp_path, LOGIN), Archive(tmp_path, LOGIN)
    add(ours, LOGIN, 0, record(), record(), record())
    ours.flush(0, 3)
    add(late, LOGIN, 0, record(), record())
    late.flush(0, 2)  # by a consumer that lost the partition and does not know it yet
    assert ours.position(0) == 3
    assert offsets_in(ours) == [0, 1, 2]


def test_partitions_are_apart(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    add(archive, LOGIN, 0, record(), record(), partition=0)
    add(archive, LOGIN, 0, record(), partition=1)
    archive.flush(0, 2)
    assert archive.buffered(1).rows == 1
    assert archive.position(1) is None
    archive.flush(1, 1)
    assert ask(archive, 'partition, "offset"') == [(0, 0), (0, 1), (1, 0)]
    assert ask(archive, 'partition, "offset"', spans={0: (1, 9), 1: (0, 0)}) == [(0, 1)]
    assert [path.parent.name for path in archive.paths("login")] == ["0", "1"]
    assert archive.paths("login", 1) == archive.paths("login")[1:]
    archive.drop(0)
    assert (archive.position(0), archive.position(1)) == (None, 1)
    assert ask(archive, 'partition, "offset"') == [(1, 0)]
    archive.drop(0)


def test_what_waits_is_told_and_can_be_dropped(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    archive = Archive(tmp_path, LOGIN, lambda: now)
    assert archive.buffered(0) == (0, 0.0)
    add(archive, LOGIN, 0, record(), b"{")
    now += timedelta(seconds=90)
    add(archive, LOGIN, 2, record())
    assert archive.buffered(0) == (2, 90.0)
    archive.forget(0)
    archive.forget(0)
    assert archive.buffered(0) == (0, 0.0)
    archive.flush(0, 3)
    assert archive.paths("login") == ()


def test_a_batch_without_records_changes_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    add(archive, LOGIN, 0)
    assert archive.buffered(0) == (0, 0.0)


def test_what_does_not_follow_is_refused(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    add(archive, LOGIN, 5, record(), record())
    with pytest.raises(StateError, match="Offset 6 of partition 0 was to be archived after 6"):
        add(archive, LOGIN, 6, record())
    with pytest.raises(StateError, match="up to 6, and events up to 6 wait"):
        archive.flush(0, 6)
    assert archive.buffered(0).rows == 2


# Kills.


class KilledError(Exception):
    pass


def test_a_flush_that_is_killed_between_two_types_is_made_again(tmp_path: Path, monkeypatch: Any) -> None:
    schemas = {name: EventSchema(name) for name in ("login", "pay", "visit")}
    events = [record(type=name) for name in ("login", "pay", "visit")]
    archive = Archive(tmp_path, schemas)
    archive.flush(0, add(archive, schemas, 0, *events))
    add(archive, schemas, 3, *events)
    left = iter([True, False])

    def write(*arguments: Any, **options: Any) -> None:
        if not next(left):
            raise KilledError
        pq.write_table(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "pq", type("Killed", (), {"write_table": staticmethod(write)}))
        with pytest.raises(KilledError):
            archive.flush(0, 6)
    again = Archive(tmp_path, schemas)
    assert again.position(0) == 3
    add(again, schemas, 3, *events)
    again.flush(0, add(again, schemas, 6, *events))
    assert len(again.paths("login")) == 3
    for place, name in enumerate(schemas):
        assert offsets_in(again, event_type=name) == [place, place + 3, place + 6]


def test_what_a_kill_left_half_written_is_no_file(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    archive.flush(0, add(archive, LOGIN, 0, record()))
    (path,) = archive.paths("login")
    for name in (f".{path.name}.4711-0.partial", f"{path.name}.partial", "notes.parquet"):
        (path.parent / name).write_bytes(path.read_bytes()[:40])
    assert offsets_in(archive) == [0]


def test_a_damaged_position_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    archive.flush(0, 5)
    (tmp_path / ".positions" / "0").write_bytes(b"\0\0")
    with pytest.raises(StateError, match="Remove that file"):
        archive.position(0)


def test_what_cannot_be_written_goes_on_waiting(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive", LOGIN)
    add(archive, LOGIN, 0, record())
    (tmp_path / "archive").write_text("in the way")
    with pytest.raises(StateError, match="cannot be written"):
        archive.flush(0, 1)
    (tmp_path / "archive").unlink()
    archive.flush(0, 1)
    assert offsets_in(archive) == [0]


def test_what_cannot_be_removed_is_a_clear_error(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    (tmp_path / ".positions" / "0").mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be removed"):
        archive.drop(0)


# Queries.


pieces = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 12)), max_size=7)
asked = st.dictionaries(st.integers(0, 1), st.tuples(st.integers(0, 30), st.integers(0, 40)))


def write(folder: Path, partition: int, first: int, count: int) -> list[tuple[int, int]]:
    """A file that covers a span and holds the events at its odd offsets; give their places."""
    offsets = np.arange(first, first + count)
    rows, _ = parse(Batch(partition, offsets, offsets + NOW, [json.dumps(record()).encode()] * count, []), LOGIN, UTC)
    table = Archive(folder, LOGIN).table("login", partition, rows["login"], offsets, offsets + NOW)
    target = folder / "login" / str(partition)
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.filter(offsets % 2 == 1), target / f"{first:020d}-{first + count - 1:020d}.parquet")
    return [(partition, offset) for offset in offsets.tolist() if offset % 2]


@given(pieces, asked)
def test_every_place_occurs_once_however_files_overlap(
    written: Sequence[tuple[int, int, int]], spans: Mapping[int, tuple[int, int]]
) -> None:
    with TemporaryDirectory() as folder:
        places = {place for span in written for place in write(Path(folder), *span)}
        expected = [(p, o) for p, o in sorted(places) if p in spans and spans[p][0] <= o < spans[p][1]]
        assert ask(Archive(Path(folder), LOGIN), 'partition, "offset"', spans=spans) == expected


def test_of_an_id_the_first_place_is_given(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    archive.flush(0, add(archive, LOGIN, 0, record(id="b"), record(id="a")))
    archive.flush(0, add(archive, LOGIN, 2, record(id="a"), record(id="c"), record(id="b")))
    archive.flush(1, add(archive, LOGIN, 0, record(id="c"), record(id="d"), partition=1))
    assert ask(archive, 'partition, "offset"', once=True) == [(0, 0), (0, 1), (0, 3), (1, 1)]
    assert ask(archive, 'partition, "offset"', spans={0: (1, 9)}, once=True) == [(0, 1), (0, 3), (0, 4)]


def test_events_without_an_id_are_all_given(tmp_path: Path) -> None:
    schemas = {"login": EventSchema("login")}
    archive = Archive(tmp_path, schemas)
    archive.flush(0, add(archive, schemas, 0, record(), record()))
    assert offsets_in(archive, once=True) == [0, 1]


def test_columns_that_came_later_are_null_before(tmp_path: Path) -> None:
    archive = Archive(tmp_path, LOGIN)
    archive.flush(0, add(archive, LOGIN, 0, record(minutes=1, shop="x")))
    more = {"login": EventSchema("login", values=("minutes",), categories=("shop",), needs_id=True)}
    assert ask(Archive(tmp_path, more), "minutes, shop") == [(None, None)]
    later = Archive(tmp_path, more)
    later.flush(0, add(later, more, 1, record(minutes=2, shop="y")))
    assert ask(later, "minutes, shop") == [(None, None), (2.0, "y")]
    changed = {"login": EventSchema("login", values=("shop",), categories=("minutes",))}
    assert ask(Archive(tmp_path, changed), "minutes, shop") == [(None, None), ("2.0", None)]


def test_an_archive_without_files_gives_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "none", LOGIN)
    assert ask(archive, "*") == []
    assert archive.paths("login") == ()


def test_a_folder_with_odd_signs_is_read(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "it's [1] *", LOGIN)
    archive.flush(0, add(archive, LOGIN, 0, record()))
    assert offsets_in(archive) == [0]


@pytest.mark.parametrize("name", ["offset", "Partition", "TIME"])
def test_a_field_that_takes_a_name_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"several columns called {name}"):
        Archive(tmp_path, {"login": EventSchema("login", values=(name,))})


def test_an_archive_is_of_one_log(tmp_path: Path) -> None:
    Archive(tmp_path / "a", LOGIN).keep_for("log-1")
    Archive(tmp_path / "a", LOGIN).keep_for("log-1")
    with pytest.raises(ConfigError, match="another event log"):
        Archive(tmp_path / "a", LOGIN).keep_for("log-2")


def test_the_archive_is_a_source(tmp_path: Path) -> None:
    schemas = {"login": EventSchema("login", values=("minutes",), needs_id=True)}
    archive = Archive(tmp_path / ".tenure" / "stream" / "archive", schemas)
    archive.flush(0, add(archive, schemas, 0, record(minutes=3), record(minutes=3), record(id="2", customer_id="dan")))
    known = "2023-02-01T00:00:00"
    archive.flush(1, add(archive, schemas, 0, record(id="3", recorded=known), partition=1))
    path = ".tenure/stream/archive/login/**/*.parquet"
    done = take_in_events(tmp_path, path=path, id="id", recorded="recorded", values=["minutes"])
    at_ten = day("2023-01-05T10:00:00")
    assert sorted(logins(done, "customer_id, time, recorded, id, minutes"), key=str) == [
        ("ada", at_ten, None, "1", 3.0),
        ("ada", at_ten, day(known), "3", None),
        ("dan", at_ten, None, "2", None),
    ]
    assert only_report(done).rejected == {"duplicate id": 1}
