"""A SQLite file is locked, full, damaged or gone: the error says so, and states and position fit."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tenure.core.errors import FencedError, StateError, UnreachableError
from tenure.store.online import open_online
from tenure.store.protocol import Mark, OnlineStore, Update

only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
CUSTOMERS = [f"customer-{number}" for number in range(500)]


def open_store(folder: Path, timeout: float = 30.0) -> OnlineStore:
    return open_online(f"sqlite:///online.db?timeout={timeout}", folder, project="shop", partitions=1)


def write(store: OnlineStore, mark: Mark, position: int, size: int = 1) -> Mark:
    """Every state tells the position it was written at."""
    return store.apply(0, mark, Update(position, {}, dict.fromkeys(CUSTOMERS, b"%d;" % position * size)))


def fits(store: OnlineStore) -> int | None:
    found = store.read(CUSTOMERS)
    [position] = {kept.mark.position if kept.mark else None for kept in found}
    [told] = {kept.state and int(kept.state.split(b";")[0]) for kept in found}
    assert told == position
    return position


def write_for_ever(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        mark = store.claim(0)
        while True:
            mark = write(store, mark, (mark.position or 0) + 1)


def test_a_killed_writer_leaves_whole_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with closing(open_store(tmp_path)) as store:
        reached = 0
        for _ in range(3):
            child = context.Process(target=write_for_ever, args=(tmp_path,))
            child.start()
            while (fits(store) or 0) < reached + 5:
                time.sleep(0.005)
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
            reached = fits(store) or 0
            assert store.claim(0).position == reached
            assert fits(store) == reached


def test_a_locked_file_is_given_up_in_time_and_used_again(tmp_path: Path) -> None:
    with closing(open_store(tmp_path, timeout=0.2)) as store:
        mark = write(store, store.claim(0), 1)
        with closing(sqlite3.connect(tmp_path / "online.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for ask in (partial(store.claim, 0), partial(write, store, mark, 2)):
                with pytest.raises(UnreachableError, match=r"locked by another process for 0\.2 seconds"):
                    ask()
            assert fits(store) == 1
            other.execute("ROLLBACK")
        assert write(store, mark, 2).position == 2


def write_under_a_limit(folder: Path) -> None:
    """In a process of its own: a limit on the size of files stands for the full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with closing(open_store(folder)) as store:
        mark = write(store, store.claim(0), 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        try:
            write(store, mark, 2, size=2_000)
        except StateError as error:
            said = str(error)
        assert fits(store) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        write(store, mark, 2, size=2_000)
        (folder / "said.txt").write_text(said)


@only_linux
def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=write_under_a_limit, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert "Check that the disk is not full" in (tmp_path / "said.txt").read_text()
    with closing(open_store(tmp_path)) as store:
        assert fits(store) == 2


def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        mark = write(store, store.claim(0), 1)
        for path in tmp_path.glob("online.db*"):
            path.unlink()
        assert fits(store) is None
        with pytest.raises(FencedError, match="emptied"):
            write(store, mark, 2)
        assert store.claim(0).position is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "online.db").write_text("customer,state\n" * 1_000)
    with pytest.raises(StateError, match="not a database"):
        open_store(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StateError, match="cannot be used"):
        open_online("sqlite:///taken/online.db", tmp_path, project="shop", partitions=1)
