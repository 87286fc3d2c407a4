"""The table shows whole runs only, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import open_database
from tenure.core.errors import StateError
from tenure.core.progress import Progress
from tenure.core.settings import ValueSettings
from tenure.core.time import fixed_clock, parse_instant
from tenure.score import table
from tenure.score.batch import score_batch
from tenure.score.run import ScoreSummary
from tenure.score.table import publish_scores, published_runs, read_scores, score_runs, scores
from tests.score.world import AS_OF, FLAT, RANGED, batch_of, customers, stored, write

LATER = fixed_clock("2026-02-01T13:00:00")
ROWS = 700


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/tenure.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 150)


def run(tmp_path: Path, value: ValueSettings = RANGED, as_of: str = "2026-01-31", hour: int = 12) -> ScoreSummary:
    paths = write(customers(ROWS), tmp_path)
    batch = batch_of(paths, value, as_of=parse_instant(as_of))
    return score_batch(batch, tmp_path, clock=fixed_clock(f"2026-03-01T{hour}:00:00"))


class StoppedError(Exception):
    """Stands for the end of the process."""


def stop_after(chunks: int) -> Progress:
    def progress(stage: str, done: float) -> None:
        if stage == "table" and done >= chunks * 150 / ROWS:
            raise StoppedError

    return progress


def count(engine: Engine) -> int:
    with engine.begin() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(scores)).scalar_one()


@pytest.mark.parametrize("value", [RANGED, FLAT])
def test_the_table_says_what_the_files_say(value: ValueSettings, engine: Engine, tmp_path: Path) -> None:
    summary = run(tmp_path, value)
    publish_scores(engine, summary.folder)
    rows = [row for path in summary.parts for row in pq.read_table(path).to_pylist()]
    found = read_scores(engine, [row["customer_id"] for row in rows[:400]])
    assert len(found) == 400
    for row in rows[:400]:
        score = found[row["customer_id"]]
        assert vars(score) == {
            "expected_profit_low": None,
            "expected_profit_high": None,
            "reasons": None,
            **{key: content for key, content in row.items() if key != "clv"},
        }
    assert len(stored(engine)) == ROWS
    [published] = published_runs(engine)
    assert (published.as_of, published.model_version, published.customers) == (AS_OF, "v1", ROWS)
    assert published.contacts == summary.contacts.contacts


def test_once_more_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    summary = run(tmp_path)
    publish_scores(engine, summary.folder)
    before = stored(engine)
    publish_scores(engine, summary.folder)
    assert stored(engine) == before
    assert count(engine) == ROWS


@pytest.mark.parametrize("chunks", [1, 3, 4])
def test_a_half_loaded_run_is_not_seen_and_goes_on(chunks: int, engine: Engine, tmp_path: Path) -> None:
    summary = run(tmp_path)
    with pytest.raises(StoppedError):
        publish_scores(engine, summary.folder, stop_after(chunks))
    assert count(engine) == chunks * 150
    assert (stored(engine), published_runs(engine), read_scores(engine, ["customer-000000"])) == ([], (), {})
    publish_scores(engine, summary.folder)
    assert (len(stored(engine)), count(engine)) == (ROWS, ROWS)


def test_a_new_run_of_an_instant_replaces_the_old_one_at_once(engine: Engine, tmp_path: Path) -> None:
    publish_scores(engine, run(tmp_path).folder)
    before = stored(engine)
    changed = run(tmp_path, FLAT)
    with pytest.raises(StoppedError):
        publish_scores(engine, changed.folder, stop_after(2))
    assert stored(engine) == before
    publish_scores(engine, changed.folder)
    assert stored(engine) != before
    assert (len(published_runs(engine)), count(engine)) == (1, ROWS)


def test_a_load_that_was_given_up_is_removed(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        publish_scores(engine, run(tmp_path).folder, stop_after(2))
    publish_scores(engine, run(tmp_path, FLAT).folder)
    assert (len(stored(engine)), count(engine)) == (ROWS, ROWS)
    with pytest.raises(StoppedError):
        publish_scores(engine, run(tmp_path, RANGED, hour=13).folder, stop_after(2))
    assert {row[9] for row in stored(engine)} == {None}  # FLAT has no range


def test_a_run_that_was_retired_and_is_wanted_again_is_loaded_again(engine: Engine, tmp_path: Path) -> None:
    first = run(tmp_path)
    publish_scores(engine, first.folder)
    before = stored(engine)
    publish_scores(engine, run(tmp_path, FLAT).folder)
    publish_scores(engine, run(tmp_path).folder)
    assert stored(engine) == before
    assert count(engine) == ROWS


def test_rows_left_by_a_kill_after_publishing_are_removed(engine: Engine, tmp_path: Path) -> None:
    publish_scores(engine, run(tmp_path).folder)
    with engine.begin() as connection:  # as if the process had ended right behind the publishing transaction
        connection.execute(sa.update(score_runs).values(state="retired"))
    publish_scores(engine, run(tmp_path, FLAT).folder)
    assert (len(published_runs(engine)), count(engine)) == (1, ROWS)


def test_instants_stand_beside_each_other_and_the_newest_answers(engine: Engine, tmp_path: Path) -> None:
    publish_scores(engine, run(tmp_path, as_of="2026-02-28").folder)
    publish_scores(engine, run(tmp_path, FLAT, as_of="2026-01-31").folder)
    assert [run.as_of.day for run in published_runs(engine)] == [28, 31]
    [newest] = read_scores(engine, ["customer-000001", "nobody"]).values()
    assert newest.features_as_of == parse_instant("2026-02-28")
    [older] = read_scores(engine, ["customer-000001"], AS_OF).values()
    assert (older.features_as_of, older.expected_profit_low) == (AS_OF, None)
    assert read_scores(engine, ["customer-000001"], parse_instant("2025-01-01")) == {}


def test_somebody_else_who_loads_the_same_run_is_noticed(engine: Engine, tmp_path: Path) -> None:
    summary = run(tmp_path)

    def meanwhile(stage: str, done: float) -> None:
        assert (stage, done < 1) == ("table", True)
        with engine.begin() as connection:
            connection.execute(sa.update(score_runs).values(loaded=score_runs.c.loaded + 150))

    with pytest.raises(StateError, match="Another process is loading the same scores"):
        publish_scores(engine, summary.folder, meanwhile)
    assert stored(engine) == []


def test_a_database_that_refuses_rows_is_an_error(engine: Engine, tmp_path: Path) -> None:
    """On PostgreSQL the refusal comes from the driver itself, past SQLAlchemy."""
    summary = run(tmp_path)

    def meanwhile(stage: str, done: float) -> None:
        assert (stage, done < 1) == ("table", True)
        with engine.begin() as connection:
            number = connection.scalars(sa.select(score_runs.c.run)).one()
            row = {"run": number, "customer_id": "customer-000200", "probability": 0.5, "decision": "contact"}
            connection.execute(sa.insert(scores).values(row))

    with pytest.raises(StateError, match=r"could not be written: [\s\S]*(?i:unique)"):
        publish_scores(engine, summary.folder, meanwhile)
    assert stored(engine) == []


def test_nothing_finished_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no finished scores"):
        publish_scores(open_database("sqlite://"), tmp_path / "scores" / "2026-01-31")
    assert list(tmp_path.iterdir()) == []
