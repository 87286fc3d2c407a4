from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tenure.core.config import load_settings, parse_override, settings_from
from tenure.core.errors import ConfigError, NotFoundError

TABLE = {"table": {"path": "t.csv", "label": "churn", "positive": "Yes"}}
EVENTS: dict[str, Any] = {
    "events": {"order": {"path": "o.csv", "values": ["amount"], "categories": ["shop"]}},
    "churn": {"inactivity": ["order"], "horizon": "28d"},
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tenure.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    text = (
        '[table]\npath = "t.csv"\nlabel = "c"\npositive = 1\n[value]\nclv = 1\ncontact_cost = 1\nincentive_cost = 0.5\n'
    )
    environment = {"TENURE_VALUE__CLV": "2", "TENURE_VALUE__CONTACT_COST": "2", "OTHER": "3", "TENURE_CONFIG": "x"}
    value = load_settings(written(tmp_path, text), {("value", "clv"): 3}, environment).value
    assert (value.clv, value.contact_cost, value.incentive_cost, value.save_rate) == (3, 2, 0.5, 0.3)


def test_an_environment_variable_finds_a_section_in_other_case(tmp_path: Path) -> None:
    text = '[events.Order]\npath = "o.csv"\n[churn]\ninactivity = ["Order"]\nhorizon = "28d"\n'
    settings = load_settings(written(tmp_path, text), {}, {"TENURE_EVENTS__ORDER__PATH": "other.csv"})
    assert settings.events["Order"].path == "other.csv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valeu": {}}, "unknown key 'valeu'. Did you mean 'value'?"),
        ({"value": {"clvv": 1}}, "unknown key 'value.clvv'. Did you mean 'clv'?"),
        ({"churn": {**EVENTS["churn"], "horizn": "28d"}}, "Did you mean 'horizon'?"),
        ({"churn": {**EVENTS["churn"], "active": {"withn": "2d"}}}, "Did you mean 'within'?"),
        ({"events": {"order": {"path": "o.csv", "custommer": "c"}}}, "Did you mean 'customer'?"),
        ({"churn": {"inactivity": ["ordr"], "horizon": "28d"}}, "names 'ordr'"),
        ({"model": {"seed": 2**32}}, "model.seed: Input should be less than 4294967296"),
        ({"churn": {"inactivity": ["order"], "event": "order", "horizon": "28d"}}, "exactly one of"),
        ({"churn": {"inactivity": ["order"], "horizon": "0d"}}, "not longer than nothing"),
        ({"churn": {"inactivity": ["order"], "horizon": "month"}}, "is not a duration"),
        ({"churn": {"inactivity": ["order"], "horizon": 28}}, "churn.horizon: 28 is not a duration"),
        ({"churn": {"inactivity": ["order"], "horizon": "28d", "gap": 7}}, "churn.gap: 7 is not a duration"),
        ({"churn": {"inactivity": ["order"], "horizon": "28d", "train": [20260131]}}, "is no date or time"),
        ({"features": [{"event": "order", "ops": ["count"], "windows": [["7d"]]}]}, "is not a duration"),
        ({"value": {"contact_cost": float("inf")}}, "finite number"),
        ({"project": {"timezone": "Europe"}}, "is not a time zone"),
        ({"events": {**EVENTS["events"], "Order": {"path": "o.csv"}}}, "upper and lower case alone"),
        ({"churn": {"event": "order", "horizon": "28d"}}, "no event type says who is active"),
        ({"features": [{"event": "order", "ops": ["sum"]}]}, "need value"),
        ({"features": [{"event": "order", "ops": ["sum"], "value": "amout"}]}, "Did you mean 'amount'?"),
        ({"features": [{"event": "order", "ops": ["cuont"]}]}, "features.0.ops.0"),
        ({"value": {"save_rate": 0}}, "save_rate must satisfy"),
        ({"value": {"save_rate": [0.5, 0.1]}}, "save_rate must satisfy"),
        ({"value": {"clv": 5, "incentive_cost": 10}}, "must exceed incentive_cost"),
        ({"project": {"timezone": "Mars/Base"}}, "is not a time zone"),
        ({"table": TABLE["table"]}, "keep one kind of source"),
    ],
)
def test_what_is_not_understood_is_named(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({**EVENTS, **change})
    assert message in str(caught.value)


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({**TABLE, "valeu": {}, "modle": {}})
    assert str(caught.value).count("unknown key") == 2


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        ("model", {"weights": "lerned"}, "default: 0.7 for the first, 0.3 shared (given: 'lerned')"),
        ("model", {"weights": [1, "a"]}, "0.3 shared (given: [1, 'a'])"),
        ("value", {"save_rate": "x"}, "churners who stay: number or [low, high] (given: 'x')"),
    ],
)
def test_a_value_of_none_of_the_kinds_is_one_problem(section: str, given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({**TABLE, section: given})
    assert caught.value.message.startswith(f"the settings: {section}.")
    assert caught.value.message.endswith(message)
    assert "\n" not in caught.value.message


def test_a_problem_names_where_the_value_was_set(tmp_path: Path) -> None:
    path = written(tmp_path, '[table]\npath = "t.csv"\nlabel = "c"\npositive = 1\n[score]\nreasons = 0\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {("model", "weights"): "lerned"}, {"TENURE_VALUE__CLV": "[1]"})
    problems = caught.value.message.splitlines()
    assert [problem.partition(": ")[0] for problem in problems] == [
        "the command line", "the environment variable TENURE_VALUE__CLV", str(path)
    ]  # fmt: skip
    assert caught.value.hint == f"Correct the command line and the environment variable TENURE_VALUE__CLV and {path}."


def test_numbers_that_do_not_fit_together_name_all_who_set_them(tmp_path: Path) -> None:
    path = written(tmp_path, '[table]\npath = "t.csv"\nlabel = "c"\npositive = 1\n[value]\nclv = 5\n')
    with pytest.raises(ConfigError, match=r"tenure\.toml with the command line: value: clv"):
        load_settings(path, {("value", "incentive_cost"): 10}, {})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no file"):
        load_settings(tmp_path / "tenure.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(written(tmp_path, "[project\n"))


def test_explicit_cutoffs_are_read_in_the_projects_zone() -> None:
    churn = {**EVENTS["churn"], "train": [date(2026, 7, 1), "2026-07-02T00:00:00Z"], "test": ["2026-09-01"]}
    read = settings_from({**EVENTS, "project": {"timezone": "Europe/Berlin"}, "churn": churn}).churn
    assert read is not None
    found = [instant.isoformat() for instant in (*read.train, *read.test)]
    assert found == ["2026-06-30T22:00:00+00:00", "2026-07-02T00:00:00+00:00", "2026-08-31T22:00:00+00:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_settings_survive_being_written_and_read(zone: str) -> None:
    churn = {**EVENTS["churn"], "test": ["2026-07-02T00:00:00Z"]}
    settings = settings_from({**EVENTS, "churn": churn, "project": {"timezone": zone}})
    assert settings_from(settings.model_dump(mode="json", exclude_none=True)) == settings


@pytest.mark.parametrize("text", ["value.clv", "=3", ".clv=3", "value.=3"])
def test_what_is_no_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an override"):
        parse_override(text)


def test_an_override_is_a_toml_value_or_text() -> None:
    assert parse_override('churn.test=["2026-01-01"]')[1] == tomllib.loads('x = ["2026-01-01"]')["x"]
    assert parse_override("project.name=my shop")[1] == "my shop"
