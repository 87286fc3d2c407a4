"""Scoring is killed before every deed and at random moments, started again, and nobody can tell.

Visible is `scores/<as of>/` and what readers of the table see. At every observed moment both hold nothing or one whole
result; in the end both hold the same bytes and rows as an undisturbed run.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from tenure.score import table
from tests.fault import score_child
from tests.score.world import customers, hidden, visible, write

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork a prepared process"
)
ROWS = 600
TABLE = (
    "SELECT r.as_of, r.computed_at, r.model_version, r.customers, r.contacts, s.customer_id, s.probability, s.decision,"
    " s.expected_profit, s.expected_profit_low, s.expected_profit_high, s.band FROM score_runs r JOIN scores s"
    " ON s.run = r.run WHERE r.state = 'published' ORDER BY r.as_of, s.customer_id"
)


@dataclass(frozen=True)
class Seen:
    """What is visible: digests of the files, and a digest of the table."""

    files: tuple[tuple[str, str], ...]
    rows: str


NOTHING = Seen((), "")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_files(folder: Path) -> tuple[tuple[str, str], ...]:
    """Files of a folder as of one moment: through its handle, and once more if it was replaced meanwhile."""
    while folder.exists():
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = []
            for name in sorted(os.listdir(handle)):  # noqa: PTH208 - a path has no handle
                with open(os.open(name, os.O_RDONLY, dir_fd=handle), "rb") as file:  # noqa: PTH123 - relative to a handle
                    found.append((name, digest(file.read())))
            if os.stat(folder).st_ino == os.fstat(handle).st_ino:  # noqa: PTH116 - the same call as for the handle
                return tuple(found)
        except FileNotFoundError:
            if folder.exists() and os.stat(folder).st_ino == os.fstat(handle).st_ino:  # noqa: PTH116
                raise
        finally:
            os.close(handle)
    return ()


def read_rows(database: Path) -> str:
    """The table in one statement, which sees one moment."""
    if not database.exists():
        return ""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            rows = connection.execute(TABLE).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return ""
            raise
    return digest(repr(rows).encode()) if rows else ""


def look(workspace: Path) -> Seen:
    return Seen(read_files(workspace / "scores" / "2026-01-31"), read_rows(workspace / "tenure.db"))


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes are forked from one that has imported everything, so hundreds of them are cheap."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["__main__", score_child.__name__])
    return found


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", score_child.CHUNK_ROWS)


@dataclass(frozen=True)
class Stage:
    """Where a scenario plays: what is there before, what is scored, and what an undisturbed run leaves."""

    context: ForkServerContext
    snapshot: Path
    before: Path
    value: str
    old: Seen
    new: Seen
    deeds: tuple[str, ...]

    def start(self, workspace: Path, die_at: int | None = None) -> ForkServerProcess:
        given = (self.snapshot, workspace, self.value, die_at)
        process = self.context.Process(target=score_child.run, args=given, daemon=True)
        process.start()
        return process

    def finish(self, workspace: Path, hour: int = 12) -> None:
        """Start it once more, in this process, and let it run to its end."""
        engine = score_child.open_store(workspace)
        score_child.score_and_publish(score_child.batch_in(self.snapshot, self.value), engine, workspace, hour)
        engine.dispose()

    def check(self, seen: Seen) -> None:
        """Files and table each show the old result or the new one, and the table never runs ahead of the files."""
        assert seen.files in {self.old.files, self.new.files}
        assert seen.rows in {self.old.rows, self.new.rows}
        if seen.rows != self.old.rows:
            assert seen.files == self.new.files


@pytest.fixture(scope="module", params=["first result", "in place of another"])
def stage(
    request: pytest.FixtureRequest, context: ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> Stage:
    root = tmp_path_factory.mktemp("killed")
    [snapshot] = write(customers(ROWS), root)
    before, undisturbed = root / "before", root / "undisturbed"
    before.mkdir()
    if request.param == "in place of another":
        Stage(context, snapshot, before, "flat", NOTHING, NOTHING, ()).finish(before)
    shutil.copytree(before, undisturbed)
    process = Stage(context, snapshot, before, "ranged", NOTHING, NOTHING, ()).start(undisturbed)
    process.join()
    assert process.exitcode == 0
    deeds = tuple((undisturbed / "deeds.txt").read_text().splitlines())
    return Stage(context, snapshot, before, "ranged", look(before), look(undisturbed), deeds)


def test_the_scenarios_are_what_they_claim(stage: Stage) -> None:
    assert stage.new not in {stage.old, NOTHING}
    assert {deed.partition(" ")[0] for deed in stage.deeds} > {
        "score",
        "contacts",
        "publish",
        "table",
        "os.rename",
        "COMMIT",
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_before_every_deed_it_ends_the_same(stage: Stage, tmp_path: Path) -> None:
    """The clock has moved on when it is started again; the scores still bear the time of the first start."""
    begun = next(number for number, deed in enumerate(stage.deeds, start=1) if deed.startswith("score"))
    for number, deed in enumerate(stage.deeds, start=1):
        workspace = shutil.copytree(stage.before, tmp_path / str(number))
        killed = stage.start(workspace, die_at=number)
        killed.join()
        assert killed.exitcode == score_child.KILLED, deed
        stage.check(look(workspace))
        stage.finish(workspace, hour=15 if number >= begun else 12)
        assert look(workspace) == stage.new, f"killed at deed {number}, {deed}"
        assert (visible(workspace), hidden(workspace)) == (["2026-01-31"], [])


def test_killed_again_and_again_it_ends_the_same(stage: Stage, tmp_path: Path) -> None:
    """No start gets further than some thirty deeds."""
    workspace = shutil.copytree(stage.before, tmp_path / "again")
    exits: list[Any] = []
    while not exits or exits[-1] == score_child.KILLED:
        process = stage.start(workspace, die_at=25)
        process.join()
        exits.append(process.exitcode)
        stage.check(look(workspace))
        assert len(exits) < 50
    assert exits[-1] == 0
    assert len(exits) > 2
    assert look(workspace) == stage.new


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_it_never_shows_a_half(stage: Stage, seed: int, tmp_path: Path) -> None:
    """Killed by the system at moments that nothing announces, and watched all the while."""
    chance = random.Random(seed)
    workspace = shutil.copytree(stage.before, tmp_path / "any")
    for _ in range(6):
        process = stage.start(workspace)
        process.join(timeout=chance.uniform(0.02, 0.5))
        looks = 0
        while process.is_alive() and looks < chance.randrange(1, 8):
            stage.check(look(workspace))
            looks += 1
        process.kill()
        process.join()
        stage.check(look(workspace))
    stage.finish(workspace)
    assert look(workspace) == stage.new
    assert (visible(workspace), hidden(workspace)) == (["2026-01-31"], [])
