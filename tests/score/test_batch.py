"""A batch from snapshot to visible result: what is in it, and what makes it come out the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tenure.core.errors import InputError, NotFoundError, StateError
from tenure.core.settings import ValueSettings
from tenure.core.time import fixed_clock, parse_instant
from tenure.score import place
from tenure.score.batch import score_batch
from tenure.score.place import exclusive, scores_folder
from tenure.score.predictor import Predictor
from tenure.score.run import read_summary
from tenure.score.scored import Scorer
from tests.score.world import (
    AS_OF,
    FLAT,
    NOON,
    PREDICTOR,
    RANGED,
    batch_of,
    content,
    customers,
    hidden,
    visible,
    write,
)

ROWS = 1_100
LATER = fixed_clock("2026-02-01T13:00:00")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write(customers(ROWS), tmp_path)


def test_the_parts_hold_what_one_table_would(paths: list[Path], tmp_path: Path) -> None:
    summary = score_batch(batch_of(paths), tmp_path, clock=NOON)
    assert summary.folder == tmp_path / "scores" / "2026-01-31"
    assert [pq.read_metadata(path).num_rows for path in summary.parts] == [250, 250, 250, 250, 100]
    at_once = Scorer(PREDICTOR, RANGED, AS_OF, NOON())(customers(ROWS)).to_pylist()
    assert [row for path in summary.parts for row in pq.read_table(path).to_pylist()] == at_once


def test_the_summary_says_what_the_files_say(paths: list[Path], tmp_path: Path) -> None:
    summary = score_batch(batch_of(paths, RANGED.model_copy(update={"capacity": 100})), tmp_path, clock=NOON)
    rows = ds.dataset([str(path) for path in summary.parts]).to_table().to_pylist()
    assert summary.tally.customers == len(rows) == ROWS
    assert summary.tally.worth_contacting == sum(row["decision"] == "contact" for row in rows) > 100
    best = sorted((-row["expected_profit"], row["customer_id"]) for row in rows if row["decision"] == "contact")[:100]
    assert summary.contacts.contacts == 100
    assert summary.contacts.profit_expected == pytest.approx(-sum(profit for profit, _ in best))
    listed = summary.contact_list.read_text().splitlines()
    assert [line.split(",")[1].strip('"') for line in listed[1:]] == [customer for _, customer in best]
    assert read_summary(summary.folder) == summary
    assert (summary.version, summary.as_of, summary.computed_at) == ("v1", AS_OF, NOON())


def test_the_manifest_knows_every_file(paths: list[Path], tmp_path: Path) -> None:
    summary = score_batch(batch_of(paths), tmp_path, clock=NOON)
    files = json.loads((summary.folder / "manifest.json").read_text())["files"]
    found = {name: digest for name, digest in content(summary.folder).items() if name != "manifest.json"}
    assert {name: file["sha256"] for name, file in files.items()} == found
    assert sorted(found) == ["contacts.csv", *(f"part-0000{number}.parquet" for number in range(5)), "run.json"]
    assert (visible(tmp_path), hidden(tmp_path)) == (["2026-01-31"], [])


def test_the_layout_of_the_snapshot_does_not_reach_the_bytes(tmp_path: Path) -> None:
    found = []
    for number, (group_rows, files) in enumerate([(100, 1), (7, 3), (10_000, 2)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = write(customers(ROWS), folder, group_rows, files)
        found.append(content(score_batch(batch_of(paths), folder, clock=NOON).folder))
    assert found[0] == found[1] == found[2]


def test_once_more_does_nothing(paths: list[Path], tmp_path: Path) -> None:
    first = score_batch(batch_of(paths), tmp_path, clock=NOON)
    before = content(first.folder)
    times = [path.stat().st_mtime_ns for path in first.parts]

    def refuse(_table: Any) -> Any:
        pytest.fail("scored again")

    again = score_batch(batch_of(paths, predictor=replace(PREDICTOR, predict=refuse)), tmp_path, clock=LATER)
    assert again == replace(first, already_done=True)
    assert content(first.folder) == before
    assert [path.stat().st_mtime_ns for path in first.parts] == times


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize(
    "change", [{"value": FLAT}, {"predictor": replace(PREDICTOR, fingerprint="1f")}, {"part_rows": 500}]
)
def test_another_identity_takes_the_place(
    change: dict[str, Any], can_exchange: bool, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(place, "_exchange", lambda *_folders: False)
    score_batch(batch_of(paths), tmp_path, clock=NOON)
    changed = score_batch(batch_of(paths, **change), tmp_path, clock=LATER)
    assert not changed.already_done
    assert (visible(tmp_path), hidden(tmp_path)) == (["2026-01-31"], [])
    (tmp_path / "alone").mkdir()
    alone = score_batch(batch_of(paths, **change), tmp_path / "alone", clock=LATER)
    assert content(changed.folder) == content(alone.folder)


def test_another_instant_stands_beside(paths: list[Path], tmp_path: Path) -> None:
    score_batch(batch_of(paths), tmp_path, clock=NOON)
    score_batch(batch_of(paths, as_of=parse_instant("2026-02-28T06:00:00")), tmp_path, clock=LATER)
    assert visible(tmp_path) == ["2026-01-31", "2026-02-28T060000Z"]


@pytest.mark.parametrize("damage", ["part-00001.parquet", "contacts.csv", "run.json", "manifest.json"])
@pytest.mark.parametrize("how", ["removed", "changed"])
def test_a_damaged_result_is_made_again(damage: str, how: str, paths: list[Path], tmp_path: Path) -> None:
    summary = score_batch(batch_of(paths), tmp_path, clock=NOON)
    before = content(summary.folder)
    if how == "removed":
        (summary.folder / damage).unlink()
    else:
        (summary.folder / damage).write_bytes(b"?")
    assert not score_batch(batch_of(paths), tmp_path, clock=NOON).already_done
    assert content(summary.folder) == before


@pytest.mark.parametrize("rows", [0, 1, 250, 251])
def test_any_number_of_customers(rows: int, tmp_path: Path) -> None:
    summary = score_batch(batch_of(write(customers(rows), tmp_path)), tmp_path, clock=NOON)
    assert summary.tally.customers == rows
    assert [pq.read_metadata(path).num_rows for path in summary.parts] == ([250, 1] if rows == 251 else [rows])
    assert len(summary.contact_list.read_text().splitlines()) == 1 + summary.contacts.contacts
    assert score_batch(batch_of(write(customers(rows), tmp_path)), tmp_path, clock=NOON).already_done


def test_two_runs_at_once_are_refused(paths: list[Path], tmp_path: Path) -> None:
    with (
        exclusive(scores_folder(tmp_path, AS_OF)),
        pytest.raises(StateError, match="Another run is writing the scores of 2026-01-31") as caught,
    ):
        score_batch(batch_of(paths), tmp_path, clock=NOON)
    assert caught.value.retryable


def test_the_lock_is_held_while_it_runs(paths: list[Path], tmp_path: Path) -> None:
    refused = []

    def meanwhile(stage: str, done: float) -> None:
        with pytest.raises(StateError, match="Another run"):
            score_batch(batch_of(paths), tmp_path, clock=NOON)
        refused.append((stage, done))

    score_batch(batch_of(paths), tmp_path, clock=NOON, progress=meanwhile)
    assert {stage for stage, _ in refused} == {"score", "contacts", "publish"}


def test_progress_never_goes_back(paths: list[Path], tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    score_batch(
        batch_of(paths), tmp_path, clock=NOON, progress=lambda stage, done: told.setdefault(stage, []).append(done)
    )
    assert list(told) == ["score", "contacts", "publish"]
    assert all(shares == sorted(shares) and shares[-1] == 1 for shares in told.values())
    assert len(told["score"]) > 20


def test_a_missing_column_is_said_before_anything_is_written(tmp_path: Path) -> None:
    paths = write(customers(10).drop_columns("x"), tmp_path)
    with pytest.raises(NotFoundError, match="'x', which v1 was trained on"):
        score_batch(batch_of(paths), tmp_path, clock=NOON)
    assert (visible(tmp_path), hidden(tmp_path)) == ([], [])


@pytest.mark.parametrize(("column", "bad", "message"), [("worth", -3.0, "'customer-000777' has a worth of -3.0")])
def test_a_bad_customer_leaves_nothing_visible(column: str, bad: float, message: str, tmp_path: Path) -> None:
    rows = customers(ROWS).to_pylist()
    rows[777][column] = bad
    table = customers(ROWS).from_pylist(rows, schema=customers(1).schema)
    with pytest.raises(InputError, match=message):
        score_batch(batch_of(write(table, tmp_path)), tmp_path, clock=NOON)
    assert visible(tmp_path) == []


def test_customers_out_of_order_are_refused_across_parts(tmp_path: Path) -> None:
    table = customers(500)
    swapped = pa.concat_tables([table.slice(250), table.slice(0, 250)])
    with pytest.raises(InputError, match="'customer-000000' comes after 'customer-000499'"):
        score_batch(batch_of(write(swapped, tmp_path)), tmp_path, clock=NOON)
    assert visible(tmp_path) == []


def test_a_place_that_cannot_be_written_is_an_error(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a file, not a folder")
    with pytest.raises(StateError, match=r"could not be finished: .*File exists"):
        score_batch(batch_of(paths), tmp_path, clock=NOON)


def test_a_full_disk_loses_nothing(paths: list[Path], tmp_path: Path) -> None:
    """The disk is full while the third part is written; afterwards the run goes on with the third part."""
    scored: list[int] = []

    def counted(full_from: int) -> Predictor:
        def predict(table: Any) -> Any:
            if len(scored) >= full_from:
                raise OSError(28, "No space left on device")
            scored.append(table.num_rows)
            return PREDICTOR.predict(table)

        return replace(PREDICTOR, predict=predict)

    with pytest.raises(StateError, match=r"No space left on device[^→]*→ Nothing half-written is visible"):
        score_batch(batch_of(paths, predictor=counted(12)), tmp_path, clock=NOON)
    assert visible(tmp_path) == []
    before = sum(scored)
    scored.clear()
    summary = score_batch(batch_of(paths, predictor=counted(99)), tmp_path, clock=LATER)
    assert before + sum(scored) == ROWS + 2 * 60  # only what was scored of the unfinished part is scored twice
    (tmp_path / "alone").mkdir()
    alone = score_batch(batch_of(paths), tmp_path / "alone", clock=NOON)
    assert content(summary.folder) == content(alone.folder)


def test_what_another_identity_left_unfinished_is_removed(paths: list[Path], tmp_path: Path) -> None:
    def stop(stage: str, done: float) -> None:
        if (stage, done) == ("contacts", 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_batch(batch_of(paths), tmp_path, clock=NOON, progress=stop)
    assert len(hidden(tmp_path)) == 1
    score_batch(batch_of(paths, ValueSettings(clv=7_000)), tmp_path, clock=NOON)
    assert (visible(tmp_path), hidden(tmp_path)) == (["2026-01-31"], [])
