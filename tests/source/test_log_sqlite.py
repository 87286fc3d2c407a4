"""The embedded log: offsets, stamps, flushes, several processes, and what goes wrong with disks."""

from __future__ import annotations

import itertools
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.core.errors import ConfigError, NotFoundError, StateError, UnreachableError
from tenure.core.settings import StreamSettings
from tenure.source import log_file, log_share, log_sqlite
from tenure.source.log_share import Share
from tenure.source.log_sqlite import SqliteLog, open_sqlite_log
from tenure.source.logs import open_log
from tenure.testing.log import Diary

CHILD = Path(__file__).with_name("log_child.py")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stream" / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with closing(open_sqlite_log(path, 4)) as opened:
        yield opened


def payloads(log: SqliteLog) -> list[bytes]:
    """Every payload, a partition after the other; offsets must follow each other without gaps."""
    found: list[bytes] = []
    for partition, (first, end) in log.bounds().items():
        offsets: list[int] = []
        for batch in log.read(partition, first, end):
            offsets += batch.offsets.tolist()
            found += batch.payloads
        assert offsets == list(range(first, end))
    return found


def child(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_stamps_never_run_backwards_though_the_clock_does(path: Path) -> None:
    steps = itertools.chain([0, 24, 0, -24, 1, 25], itertools.repeat(26))
    with closing(open_sqlite_log(path, 1, clock=lambda: NOON + timedelta(hours=next(steps)))) as log:
        for _ in range(7):
            log.append([("ada", b"{}")])
        (batch,) = log.read(0, 0, 7)
        noon = int(NOON.timestamp() * 1e6)
        assert [(stamp - noon) / 3.6e9 for stamp in batch.appended.tolist()] == [0, 24, 24, 24, 24, 25, 26]
        assert log.offsets_at(noon + 1) == {0: 1}
        assert log.offsets_at(noon + int(25 * 3.6e9)) == {0: 5}


def test_the_number_of_partitions_is_fixed_when_a_log_is_made(path: Path, log: SqliteLog) -> None:
    with pytest.raises(ConfigError, match=r"made with 4 partitions, and .* says 3"):
        open_sqlite_log(path, 3)
    assert log.partitions == 4


def test_a_file_that_is_no_log_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StateError, match="not a database"):
        open_sqlite_log(path, 4)
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(StateError, match="no such table"):
        open_sqlite_log(path, 4)


def test_a_log_of_a_later_format_is_refused(path: Path) -> None:
    open_sqlite_log(path, 4).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE log SET format = 2")
        connection.commit()
    with pytest.raises(StateError, match="has format 2"):
        open_sqlite_log(path, 4)


def test_settings_name_the_log(tmp_path: Path) -> None:
    with closing(open_log(StreamSettings(log="sqlite:///a/b.db", partitions=2), tmp_path)) as log:
        assert (log.partitions, (tmp_path / "a" / "b.db").exists()) == (2, True)
    for url in ("sqlite:///", "postgresql://x/y", "log.db", ""):
        with pytest.raises(ConfigError, match=r"sqlite:///.*kafka://"):
            open_log(StreamSettings(log=url), tmp_path)


def test_a_log_that_is_deleted_is_missed(path: Path, log: SqliteLog) -> None:
    for file in path.parent.glob("log.db*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(UnreachableError, match="unable to open"):
        log.bounds()
    with pytest.raises(StateError, match="took none of the records"):
        log.append([("ada", b"{}")])
    assert not path.exists()


def test_trimming_drops_what_is_old_and_nothing_else(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sqlite, "TRIM_RECORDS", 3)
    places = log.append([("ada", str(n).encode()) for n in range(20)])
    partition = places[0][0]
    assert log.trim(partition, 8) == 8
    assert log.trim(partition, 5) == 8
    assert log.bounds()[partition] == (8, 20)
    assert payloads(log) == [str(n).encode() for n in range(8, 20)]
    with pytest.raises(StateError, match=r"from offset 7, but it holds offsets 8 to before 20"):
        list(log.read(partition, 7, 20))
    assert log.trim(partition, 100) == 20
    assert log.append([("ada", b"next")]) == [(partition, 20)]
    assert log.offsets_at(0)[partition] == 20
    with pytest.raises(NotFoundError, match="no partition 4: it has 0 to 3"):
        log.trim(4, 0)


def test_a_reader_behind_the_trimmed_beginning_is_told(log: SqliteLog) -> None:
    ((partition, _), *_) = log.append([("ada", b"{}")] * 10)
    log.append([(f"c{n}", b"{}") for n in range(20)])
    diary = Diary()
    with closing(log.reader("g", diary)) as reader:
        log.trim(partition, 5)
        for _ in range(4):
            with pytest.raises(StateError, match="What lies before was trimmed"):
                reader.poll(100, 0)
        reader.seek(partition, 5)
        found = diary.note(itertools.chain.from_iterable(reader.poll(100, 0) for _ in range(4)))
        assert len(found) == 25  # nothing of the other partitions was skipped by the errors
        with pytest.raises(NotFoundError, match="not this reader's"):
            reader.seek(9, 0)


def test_a_reader_is_told_of_a_partition_without_an_offset(log: SqliteLog) -> None:
    class Forgetful(Diary):
        def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
            return dict(itertools.islice(super().assigned(partitions).items(), 2))

    with closing(log.reader("g", Forgetful())) as reader, pytest.raises(KeyError):
        reader.poll(10, 0)
    with closing(log.reader("g", diary := Diary())) as reader:
        reader.poll(10, 0)
        assert diary.mine == {0, 1, 2, 3}


def test_a_group_may_have_any_name(log: SqliteLog, tmp_path: Path) -> None:
    for group in ("../..", ".", "a/b", "Zoë", "con "):
        with closing(log.reader(group, diary := Diary())) as reader:
            reader.poll(10, 0)
            assert len(diary.mine) == 4
    assert {entry.name for entry in tmp_path.iterdir()} == {"stream"}


def test_a_group_that_cannot_be_joined_is_an_error(path: Path, log: SqliteLog) -> None:
    path.with_name("log.db.groups").write_text("no folder")
    with pytest.raises(StateError, match="cannot be joined"):
        log.reader("g", Diary())


class Recorded(sqlite3.Connection):
    """A connection that notes its statements, and fails before or after one of them."""

    said: list[str]
    fail_at: int | None = None
    after = False
    gate: threading.Event | None = None

    def _do(self, run: Callable[[], sqlite3.Cursor], statement: str) -> sqlite3.Cursor:
        number = len(Recorded.said)
        Recorded.said.append(statement)
        if Recorded.gate is not None and statement == "COMMIT":
            Recorded.gate.wait()
        if number == Recorded.fail_at and not Recorded.after:
            raise sqlite3.OperationalError("disk I/O error")
        cursor = run()
        if number == Recorded.fail_at:
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self._do(lambda: super(Recorded, self).execute(sql, parameters), sql)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return self._do(lambda: super(Recorded, self).executemany(sql, parameters), sql)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def recording(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, factory=Recorded, **options)

    monkeypatch.setattr(sqlite3, "connect", recording)
    monkeypatch.setattr(Recorded, "said", [], raising=False)
    monkeypatch.setattr(Recorded, "fail_at", None)
    monkeypatch.setattr(Recorded, "after", False)
    monkeypatch.setattr(Recorded, "gate", None)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("after", [False, True])
def test_a_failure_at_any_statement_leaves_all_or_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    with closing(open_sqlite_log(path, 2)) as log:
        log.append([("ada", b"before")])
        log.close()
        Recorded.said.clear()
        log.append([("ada", b"1"), ("dan", b"2")])
        statements = list(Recorded.said)
        assert statements[-1] == "COMMIT"
        monkeypatch.setattr(Recorded, "after", after)
        for number, statement in enumerate(statements):
            log.close()
            before = payloads(log)
            Recorded.said.clear()
            monkeypatch.setattr(Recorded, "fail_at", number)
            uncertain = "may or may not" if statement == "COMMIT" else "took none"
            with pytest.raises(StateError, match=uncertain) as caught:
                log.append([("ada", b"3"), ("dan", b"4")])
            assert caught.value.retryable
            monkeypatch.setattr(Recorded, "fail_at", None)
            gained = sorted(payloads(log))
            is_in = after and statement == "COMMIT"
            assert gained == sorted(before + [b"3", b"4"] * is_in)
            log.append([("ada", b"5")])
            assert len(payloads(log)) == len(gained) + 1


@pytest.mark.usefixtures("recorded")
def test_threads_that_wait_share_one_flush(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_sqlite_log(path, 2)) as log, ThreadPoolExecutor(9) as pool:
        gate = threading.Event()
        monkeypatch.setattr(Recorded, "gate", gate)
        Recorded.said.clear()
        first = pool.submit(log.append, [("ada", b"0")])
        while "COMMIT" not in Recorded.said:
            threading.Event().wait(0.001)
        others = [pool.submit(log.append, [("ada", str(n).encode())] * n) for n in range(1, 9)]
        while len(log._waiting) < 8:
            threading.Event().wait(0.001)
        gate.set()
        assert first.result() == [(0, 0)]
        places = [job.result() for job in others]
        assert Recorded.said.count("COMMIT") == 2
        assert [len(its) for its in places] == list(range(1, 9))
        assert sorted(itertools.chain(*places)) == [(0, offset) for offset in range(1, 37)]


@pytest.mark.usefixtures("recorded")
def test_one_threads_records_that_do_not_fit_fail_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_sqlite_log(path, 1)) as log, ThreadPoolExecutor(3) as pool:
        log.append([("ada", b"first")])
        (pages,) = log._connection.execute("PRAGMA page_count").fetchone() if log._connection else (0,)
        if log._connection is not None:
            log._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        gate = threading.Event()
        monkeypatch.setattr(Recorded, "gate", gate)
        Recorded.said.clear()
        head = pool.submit(log.append, [("ada", b"head")])
        while "COMMIT" not in Recorded.said:
            threading.Event().wait(0.001)
        large = pool.submit(log.append, [("ada", b"x" * 100_000)])
        small = pool.submit(log.append, [("ada", b"small")])
        while len(log._waiting) < 2:
            threading.Event().wait(0.001)
        # Once the connection has failed, the next one has the limit, too.
        monkeypatch.setattr(log_sqlite, "connect", _limited(pages + 2))
        gate.set()
        with pytest.raises(StateError, match="full"):
            large.result()
        assert head.result() == [(0, 1)]
        assert small.result() == [(0, 2)]
        assert payloads(log) == [b"first", b"head", b"small"]


def _limited(pages: int) -> Callable[[Path], sqlite3.Connection]:
    def connect(path: Path) -> sqlite3.Connection:
        connection = log_file.connect(path)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    return connect


def test_a_surprise_in_one_thread_is_no_silence_in_another(path: Path) -> None:
    broken = threading.Event()

    def clock() -> datetime:
        if broken.is_set():
            raise OverflowError("no such day")
        return NOON

    with closing(open_sqlite_log(path, 1, clock=clock)) as log:
        log.append([("ada", b"1")])
        broken.set()
        ask = log_sqlite._Ask([(0, b"ada", b"2")])
        log._waiting.append(ask)
        with pytest.raises(OverflowError):
            log.append([("ada", b"3")])
        assert isinstance(ask.error, StateError)
        broken.clear()
        assert log.append([("ada", b"4")]) == [(0, 1)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_is_an_error_and_then_goes_on(path: Path) -> None:
    lines = child("fill", path).communicate(timeout=100)[0].splitlines()
    retryable, message = lines[0].split(maxsplit=1)
    kept, readable = map(int, lines[1].split())
    assert retryable == "True"
    assert str(path) in message
    assert kept == readable
    assert int(lines[2]) == kept
    with closing(open_sqlite_log(path, 4)) as log:
        assert len(payloads(log)) == kept + 1


def test_processes_that_append_at_once_give_every_record_a_place(path: Path) -> None:
    children = [child("append", path, f"p{n}") for n in range(3)]
    printed = [process.communicate(timeout=100)[0].split() for process in children]
    places = [(words[n], words[n + 1]) for words in printed for n in range(0, len(words), 2)]
    assert len(set(places)) == 300
    with closing(open_sqlite_log(path, 4)) as log:
        assert sorted(payloads(log)) == sorted(f"p{m} {n}".encode() for m in range(3) for n in range(100))


def test_the_partitions_of_a_killed_process_are_taken_over(path: Path) -> None:
    with closing(open_sqlite_log(path, 4)) as log:
        other = child("read", path)
        stdout = other.stdout
        assert stdout is not None
        while stdout.readline() != "has 4\n":
            continue
        with closing(log.reader("group", diary := Diary())) as reader:
            while len(diary.mine) < 2:
                reader.poll(10, 0.1)
            assert len(diary.mine) == 2
            other.send_signal(signal.SIGKILL)
            other.wait()
            stdout.close()
            while len(diary.mine) < 4:
                reader.poll(10, 0.1)
        assert list((path.parent / "log.db.groups" / "group" / "members").iterdir()) == []


def test_shares_are_even_and_settle(tmp_path: Path) -> None:
    members = [Share(tmp_path, 7) for _ in range(3)]
    for _ in range(3):
        for member in members:
            member.release(member.surplus())
            member.take()
    assert sorted(len(member.held) for member in members) == [2, 2, 3]
    assert sorted(itertools.chain(*(member.held for member in members))) == list(range(7))
    members.pop().close()
    for member in members:
        member.take()
    assert sum(len(member.held) for member in members) == 7
    for member in members:
        member.close()


def test_who_cannot_see_the_others_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Share(tmp_path, 4)
    one.take()
    other = Share(tmp_path, 4)
    with other._roster.acquire():
        assert one.surplus() == []
        monkeypatch.setattr(log_share, "JOIN_SECONDS", 0.01)
        with pytest.raises(StateError, match="cannot be joined"):
            Share(tmp_path, 4)
    assert len(one.surplus()) == 2
    one.close()
    other.close()


def test_a_reader_gives_its_partitions_back_though_its_listener_fails(log: SqliteLog) -> None:
    class Stubborn(Diary):
        def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
            super().revoked(partitions, lost=lost)
            raise ConnectionError("the store is not there")

    reader = log.reader("g", Stubborn())
    reader.poll(10, 0)
    with pytest.raises(ConnectionError):
        reader.close()
    reader.close()
    with closing(log.reader("g", diary := Diary())) as other:
        other.poll(10, 0)
        assert len(diary.mine) == 4


def test_a_poll_returns_as_soon_as_there_is_something(log: SqliteLog) -> None:
    with closing(log.reader("g", Diary())) as reader, ThreadPoolExecutor(1) as pool:
        assert reader.poll(10, 0) == []
        waiting = pool.submit(reader.poll, 10, 100.0)
        log.append([("ada", b"{}")])
        assert [batch.payloads for batch in waiting.result(timeout=60)] == [[b"{}"]]
