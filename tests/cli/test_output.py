"""How verbs speak."""

from __future__ import annotations

import importlib.metadata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenure.cli.main import app
from tenure.cli.options import next_command
from tenure.cli.output import document_of
from tests.cli.world import CHURN, DAYS, FEATURES, LIGHT, done, tenure, visits, write_project


def test_the_version_is_that_of_the_package() -> None:
    assert done("--version").out.strip() == f"tenure {importlib.metadata.version('tenure')}"


STREAM = ["run", "append", "status", "show", "verify", "bootstrap", "rebuild", "publish", "dead list", "dead retry"]
VERBS = ["demo", "init", "check", "features", "train", "compare", "score", "simulate", "models list", "stream"]


@pytest.mark.parametrize("verb", [*VERBS, *(f"stream {verb}" for verb in STREAM)])
def test_every_verb_explains_itself_and_takes_json(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    text = done(*verb.split(), "--help").out
    assert "--json" in text
    assert verb in {"demo", "simulate"} or "--config" in text


def test_a_failure_of_tenure_itself_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr("tenure.cli.models.Place.load", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ran = tenure("models", "list", "--json")
    assert ran.code == 1
    error = ran.document["error"]
    assert "ZeroDivisionError: by hand" in error["message"]
    (trace,) = tmp_path.glob("tenure-failure-*.txt")
    assert str(trace) in error["hint"]
    assert "Traceback" in trace.read_text(encoding="utf-8")
    assert "Traceback" not in ran.err


def test_an_interruption_leaves_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tenure.cli.models.Place.load", interrupted)
    ran = tenure("models", "list", "--json")
    assert ran.code == 1
    assert ran.document["error"]["message"] == "Interrupted."


def test_documents_hold_plain_values_only() -> None:
    found = document_of(
        {"at": datetime(2026, 1, 31, 6, tzinfo=UTC), "for": timedelta(hours=36), "no": float("inf"), "to": {Path("a")}}
    )
    assert found == {"at": "2026-01-31T06:00:00Z", "for": "36h", "no": None, "to": ["a"]}


def test_the_next_command_can_be_pasted() -> None:
    assert next_command("score", Path("my shop/tenure.toml")) == "[bold]tenure score --config 'my shop/tenure.toml'[/]"


def test_a_pipe_hears_nothing_of_progress_and_no_table_is_squeezed(tmp_path: Path) -> None:
    name = "a_visit_whose_name_is_so_long_that_a_window_of_eighty_columns_could_not_show_the_whole_of_it"
    settings = f'[events.visit]\npath = "log.csv"\n{CHURN}{FEATURES}{LIGHT}'.replace("visit", name)
    config = write_project(tmp_path, settings, log_csv=visits(60))
    ran = done("check", "-c", config)
    assert ran.err == ""
    assert f"events.{name}" in ran.out
    assert f"Next: tenure train --config {config}" in ran.out


def test_brackets_of_the_user_are_no_markup(tmp_path: Path) -> None:
    folder = tmp_path / "[bold]shop[/]" / "[/red]"
    rows = "".join(f"u{n % 30},[/x],2025-01-01,{n % 7}\n" for n in range(DAYS))
    write_project(folder, "", log_csv=f"user_id,[/red] why,at,[bold]spent\n{rows}")
    ran = done("init", "--events", folder / "log.csv", "-c", folder / "new.toml")
    assert f"{folder / 'new.toml'} written" in ran.out
    assert 'values = ["[bold]spent"]' in (folder / "new.toml").read_text(encoding="utf-8")


def test_verbs_are_those_that_the_documents_name() -> None:
    named = {command.callback.__name__ for command in app.registered_commands if command.callback}
    page = Path(__file__).parents[2] / "docs/commands.md"
    told = {
        line.split("`")[1].removeprefix("tenure ") for line in page.read_text().splitlines() if line[:9] == "| `tenure"
    }
    assert named | {group.name for group in app.registered_groups} == told
