"""Reasons on the contact list: for the best contacts, with the list's own order and numbers, and nobody else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.database import open_database
from tenure.core.settings import ScoreSettings, ValueSettings
from tenure.score.batch import Batch, score_batch
from tenure.score.explain import Explainer, Reason
from tenure.score.predictor import Predictor
from tenure.score.reason_rows import load_reasons, reasons_from_json, reasons_to_json, score_reasons
from tenure.score.reasons import REASONS, read_reasons, reasons_text
from tenure.score.rows import open_snapshot
from tenure.score.run import ScoreSummary, read_summary
from tenure.score.table import publish_scores, read_scores, score_runs
from tests.score.test_explain import customers, parts
from tests.score.world import AS_OF, FLAT, NOON, content

ROWS = 600
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | NUMBERS | st.text()


def snapshot(folder: Path) -> tuple[Path, pa.Table]:
    table = customers(ROWS)[0].add_column(0, "customer_id", pa.array([f"c{row:03d}" for row in range(ROWS)]))
    path = folder / "snapshot.parquet"
    pq.write_table(table, path, row_group_size=100)
    return path, table


def scored(folder: Path, extra: ScoreSettings, value: ValueSettings = FLAT) -> ScoreSummary:
    path, _ = snapshot(folder)
    explainer = Explainer(parts())
    ready = Predictor("v1", "0f", explainer.columns, explainer.parts.predict, explainer)
    batch = Batch(open_snapshot([path], "s1"), ready, value, AS_OF, extra, part_rows=250, batch_rows=60)
    return score_batch(batch, folder, clock=NOON)


def lines(summary: ScoreSummary) -> list[dict[str, str]]:
    with summary.contact_list.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_best_contacts_have_reasons_and_the_others_an_empty_cell(tmp_path: Path) -> None:
    summary = scored(tmp_path, ScoreSettings(explain=40, reasons=2))
    listed = lines(summary)
    assert len(listed) == summary.contacts.contacts > 40
    assert [bool(line["reasons"]) for line in listed] == [rank < 40 for rank in range(len(listed))]
    assert summary.contacts.explained == 40
    assert read_summary(summary.folder) == summary
    assert max(line["reasons"].count(" points") for line in listed) == 2


def test_reasons_on_the_list_are_those_of_the_customer(tmp_path: Path) -> None:
    listed = lines(scored(tmp_path, ScoreSettings(explain=30)))[:30]
    _, table = snapshot(tmp_path)
    places = {customer_id: place for place, customer_id in enumerate(table.column("customer_id").to_pylist())}
    rows = table.take([places[line["customer_id"]] for line in listed])
    found = Explainer(parts()).raising(rows, 3)
    assert [line["reasons"] for line in listed] == [reasons_text(reasons) for reasons in found]


def test_reasons_are_kept_as_data_too(tmp_path: Path) -> None:
    summary = scored(tmp_path, ScoreSettings(explain=25))
    kept = [json.loads(line) for line in (summary.folder / REASONS).read_text(encoding="utf-8").splitlines()]
    best = lines(summary)[:25]
    assert [one["customer_id"] for one in kept] == sorted(line["customer_id"] for line in best)
    assert set(kept[0]["reason"][0]) == {"feature", "value", "usual", "contribution", "effect", "text"}
    assert kept[0]["reasons"].startswith(kept[0]["reason"][0]["text"])
    read = [(customer_id, reasons_text(reasons)) for customer_id, reasons in read_reasons(summary.folder / REASONS)]
    assert read == [(one["customer_id"], one["reasons"]) for one in kept]


def test_a_capacity_bounds_what_is_explained(tmp_path: Path) -> None:
    summary = scored(tmp_path, ScoreSettings(explain=100), ValueSettings(clv=600, save_rate=0.3, capacity=7))
    assert summary.contacts.contacts == summary.contacts.explained == 7
    assert len(list(read_reasons(summary.folder / REASONS))) == 7


def test_without_reasons_the_list_is_as_it_was(tmp_path: Path) -> None:
    summary = scored(tmp_path, ScoreSettings(explain=0))
    assert "reasons" not in lines(summary)[0]
    assert not (summary.folder / REASONS).exists()


def test_the_same_scores_have_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(content(scored(tmp_path / name, ScoreSettings(explain=50)).folder))
    assert found[0] == found[1]


def test_nobody_to_contact_is_nobody_to_explain(tmp_path: Path) -> None:
    summary = scored(tmp_path, ScoreSettings(), ValueSettings(clv=600, contact_cost=1e6, save_rate=0.3))
    assert summary.contacts.contacts == summary.contacts.explained == 0
    assert list(read_reasons(summary.folder / REASONS)) == []


def test_the_database_knows_the_reasons_too(tmp_path: Path) -> None:
    engine = open_database("sqlite://")
    summary = scored(tmp_path, ScoreSettings(explain=30))
    publish_scores(engine, summary.folder)
    listed = lines(summary)
    found = read_scores(engine, [line["customer_id"] for line in listed])
    said = {key: "" if score.reasons is None else reasons_text(score.reasons) for key, score in found.items()}
    assert said == {line["customer_id"]: line["reasons"] for line in listed}


def test_the_database_gives_back_the_reasons_themselves(tmp_path: Path) -> None:
    engine = open_database("sqlite://")
    summary = scored(tmp_path, ScoreSettings(explain=30))
    publish_scores(engine, summary.folder)
    kept = dict(read_reasons(summary.folder / REASONS))
    found = read_scores(engine, list(kept))
    assert {key: score.reasons for key, score in found.items()} == kept
    _, table = snapshot(tmp_path)
    rows = table.filter(pc.is_in(table.column("customer_id"), pa.array(list(kept))))
    assert list(kept.values()) == Explainer(parts()).raising(rows, 3)


@given(st.lists(st.builds(Reason, st.text(), VALUES, st.none() | NUMBERS, NUMBERS, NUMBERS, st.text()), max_size=4))
def test_reasons_survive_the_database(reasons: list[Reason]) -> None:
    assert reasons_from_json(reasons_to_json(reasons)) == tuple(reasons)


def test_reasons_of_a_replaced_run_are_gone(tmp_path: Path) -> None:
    engine = open_database("sqlite://")
    publish_scores(engine, scored(tmp_path, ScoreSettings(explain=30)).folder)
    publish_scores(engine, scored(tmp_path, ScoreSettings(explain=20)).folder)
    with engine.begin() as connection:
        rows = connection.execute(sa.select(score_reasons.c.run, sa.func.count()).group_by(score_reasons.c.run)).all()
    assert [count for _, count in rows] == [20]
    publish_scores(engine, scored(tmp_path, ScoreSettings(explain=0)).folder)
    with engine.begin() as connection:
        assert connection.execute(sa.select(score_reasons)).all() == []


def test_a_load_of_reasons_that_was_killed_begins_again(tmp_path: Path) -> None:
    engine = open_database("sqlite://")
    summary = scored(tmp_path, ScoreSettings(explain=30))
    publish_scores(engine, summary.folder)
    with engine.begin() as connection:
        run = connection.scalars(sa.select(score_runs.c.run)).one()
        connection.execute(sa.delete(score_reasons).where(score_reasons.c.customer_id > "c3"))
    load_reasons(engine, run, summary.folder / REASONS)
    with engine.begin() as connection:
        assert len(connection.execute(sa.select(score_reasons)).all()) == 30
