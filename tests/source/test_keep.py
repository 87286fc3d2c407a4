from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tenure.core.errors import ContractError
from tenure.source.history import History
from tenure.source.keep import content_fingerprint
from tenure.source.sources import open_source
from tests.source.project import document, logins, only_report, take_in, take_in_events, write_csv

ROWS = [("a", "2026-01-05", "login"), ("b", "2026-01-06", "login"), ("", "2026-01-06", "login")]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the sources that were opened so far."""
    paths: list[str] = []

    def counting(engine: Any, settings: Any, root: Any, tables: Any) -> Any:
        paths.append(settings.path)
        return open_source(engine, settings, root, tables)

    monkeypatch.setattr("tenure.source.group.open_source", counting)
    return paths


def put(tmp_path: Path, rows: Any = ROWS) -> Path:
    return write_csv(tmp_path / "log.csv", ("customer_id", "time", "kind"), rows)


def test_nothing_is_read_again_while_nothing_has_changed(tmp_path: Path, opened: list[str]) -> None:
    put(tmp_path)
    first = take_in_events(tmp_path, path="log.csv")
    again = take_in_events(tmp_path, path="log.csv")
    assert opened == ["log.csv"]
    assert again == first


def test_a_changed_file_is_read_again_and_the_old_table_removed(tmp_path: Path, opened: list[str]) -> None:
    put(tmp_path)
    first = take_in_events(tmp_path, path="log.csv")
    put(tmp_path, [*ROWS, ("c", "2026-01-07", "login")])
    second = take_in_events(tmp_path, path="log.csv")
    assert len(opened) == 2
    assert second.history.fingerprint != first.history.fingerprint
    assert second.history.events["login"].rows == 3
    assert [path.name for path in (tmp_path / ".tenure/events/login").iterdir()] == [
        second.history.events["login"].paths[0].parent.name
    ]


def test_columns_that_change_their_names_are_other_content() -> None:
    with duckdb.connect() as engine:
        asked = ("SELECT 1 AS calls, 2 AS visits", "SELECT 1 AS visits, 2 AS calls", "SELECT 1 AS calls, 2 AS visits")
        one, other, again = (content_fingerprint(engine, query) for query in asked)
    assert one == again != other


def test_a_file_of_the_same_length_written_later_is_read_again(tmp_path: Path, opened: list[str]) -> None:
    path = put(tmp_path)
    take_in_events(tmp_path, path="log.csv")
    later = path.stat().st_mtime_ns + 1_000_000
    path.write_text(path.read_text().replace("a,", "x,"))
    os.utime(path, ns=(later, later))
    assert ("x",) in logins(take_in_events(tmp_path, path="log.csv"), "customer_id")
    assert len(opened) == 2


@pytest.mark.parametrize(
    "change", [{"where": "customer_id <> 'a'"}, {"categories": ["kind"]}, {"type": "kind", "type_is": "login"}]
)
def test_a_changed_section_is_read_again(tmp_path: Path, opened: list[str], change: dict[str, Any]) -> None:
    put(tmp_path)
    take_in_events(tmp_path, path="log.csv")
    take_in_events(tmp_path, path="log.csv", **change)
    assert len(opened) == 2


def test_a_changed_zone_is_read_again(tmp_path: Path) -> None:
    put(tmp_path, [("a", "2026-01-05", "login")])
    settings = document({"login": {"path": "log.csv"}})
    times = [
        logins(take_in(tmp_path, {**settings, "project": {"timezone": zone}}), "time") for zone in ("UTC", "Asia/Tokyo")
    ]
    assert times[0] != times[1]


def test_a_changed_limit_judges_the_kept_report_anew(tmp_path: Path, opened: list[str]) -> None:
    put(tmp_path)
    take_in_events(tmp_path, path="log.csv")
    with pytest.raises(ContractError, match=r"1 of 3 rows \(33.33 %\)"):
        take_in(tmp_path, document({"login": {"path": "log.csv"}}))
    assert len(opened) == 1


def test_a_row_from_the_future_is_looked_at_again_once_it_has_happened(tmp_path: Path, opened: list[str]) -> None:
    put(tmp_path, [("a", "2026-01-05", ""), ("b", "2026-02-10", ""), ("c", "2026-02-20", "")])
    rejected = [
        only_report(take_in_events(tmp_path, path="log.csv", now=now)).rejected_rows
        for now in ("2026-02-01", "2026-02-09", "2026-02-10", "2026-02-15", "2026-02-20", "2026-03-01")
    ]
    assert rejected == [2, 2, 1, 1, 0, 0]
    assert len(opened) == 3


def test_an_accepted_row_is_looked_at_again_when_the_clock_goes_back(tmp_path: Path) -> None:
    put(tmp_path, [("a", "2026-01-05", ""), ("b", "2026-01-20", "")])
    rejected = [
        only_report(take_in_events(tmp_path, path="log.csv", now=now)).rejected_rows
        for now in ("2026-02-01", "2026-01-10")
    ]
    assert rejected == [0, 1]


@pytest.mark.parametrize("damage", ["document", "table", "rejects", "format"])
def test_a_damaged_table_is_made_again(tmp_path: Path, opened: list[str], damage: str) -> None:
    put(tmp_path)
    first = take_in_events(tmp_path, path="log.csv")
    folder = first.history.events["login"].paths[0].parent
    if damage == "document":
        (folder / "about.json").write_text("{", encoding="utf-8")
    elif damage == "format":
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        del about["report"]["rows"]
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    elif damage == "table":
        (folder / "part-0.parquet").unlink()
    else:
        Path(only_report(first).rejects or "").unlink()
    assert take_in_events(tmp_path, path="log.csv") == first
    assert len(opened) == 2


def test_a_further_section_leaves_the_others_alone(tmp_path: Path) -> None:
    put(tmp_path)
    write_csv(tmp_path / "more.csv", ("customer_id", "time"), [("a", "2026-01-05")])
    limit = {"max_rejects": 1.0}
    first = take_in(tmp_path, document({"login": {"path": "log.csv"}}, contract=limit))
    both = take_in(tmp_path, document({"login": {"path": "log.csv"}, "order": {"path": "more.csv"}}, contract=limit))
    assert both.history.events["login"] == first.history.events["login"]
    assert both.history.fingerprint != first.history.fingerprint


def test_other_types_are_still_reported_when_nothing_is_read(tmp_path: Path) -> None:
    put(tmp_path, [*ROWS, ("a", "2026-01-05", "x")])
    settings = document({"login": {"path": "log.csv", "type": "kind"}}, contract={"max_rejects": 1.0})
    first, again = take_in(tmp_path, settings), take_in(tmp_path, settings)
    assert first.report == again.report
    assert again.report.other_types == {"log.csv, column kind": {"x": 1}}


def test_rejects_that_are_gone_take_their_file_with_them(tmp_path: Path) -> None:
    put(tmp_path)
    bad = only_report(take_in_events(tmp_path, path="log.csv"))
    assert Path(bad.rejects or "").is_file()
    put(tmp_path, ROWS[:2])
    assert only_report(take_in_events(tmp_path, path="log.csv")).rejects is None
    assert not Path(bad.rejects or "").exists()


def test_a_project_that_moved_is_read_again_only_where_it_has_to_be(tmp_path: Path) -> None:
    put(tmp_path / "old")
    first = take_in_events(tmp_path / "old", path="log.csv").history
    (tmp_path / "old").rename(tmp_path / "new")
    moved = take_in_events(tmp_path / "new", path="log.csv").history
    assert moved.fingerprint == first.fingerprint
    assert moved.events["login"].paths[0].is_file()


def test_an_empty_history_has_no_first_and_no_watermark() -> None:
    history = History({}, None, None, "")
    assert (history.first, history.watermark) == (None, None)


def test_a_run_that_breaks_off_leaves_no_half_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)

    def break_off(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tenure.source.task.describe_events", break_off)
        with pytest.raises(KeyboardInterrupt):
            take_in_events(tmp_path, path="log.csv")
    assert list((tmp_path / ".tenure/events/login").iterdir()) == []
    assert take_in_events(tmp_path, path="log.csv").history.events["login"].rows == 2
