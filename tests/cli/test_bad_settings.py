"""Slips in settings, options and environment: the message names the slip and what would have been understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.world import TABLE, VISITS, customers, refused, tenure, visits, write_project


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_project(tmp_path, TABLE, table_parquet=customers(60))


def test_a_key_with_a_typo(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS.replace("horizon", "horizn"), log_csv=visits(5))
    says = ["'churn.horizn'", "Did you mean 'horizon'?", "'churn.horizon' is missing"]
    assert refused("check", "-c", config, says=says)["code"] == "config"


def test_every_slip_is_told_at_once(tmp_path: Path) -> None:
    settings = VISITS.replace("horizon", "horizn").replace("[runtime]", "[runtim]")
    config = write_project(tmp_path, settings, log_csv=visits(5))
    refused("check", "-c", config, says=["Did you mean 'horizon'?", "Did you mean 'runtime'?"])


def test_settings_that_are_no_toml(tmp_path: Path) -> None:
    config = write_project(tmp_path, "[table\n")
    refused("check", "-c", config, says=["tenure.toml", "not valid TOML", "line 1"])


def test_settings_that_do_not_exist(tmp_path: Path) -> None:
    error = refused("train", "-c", tmp_path / "nowhere.toml", says=["nowhere.toml", "tenure init"])
    assert error["code"] == "not_found"


def test_an_override_with_a_typo(config: Path) -> None:
    refused("check", "-c", config, "--set", "value.cvl=700", says=["'value.cvl'", "Did you mean 'clv'?"])


def test_an_override_without_a_value(config: Path) -> None:
    refused("check", "-c", config, "--set", "value.clv", says=["'value.clv'", "section.key=value"])


def test_an_override_of_the_wrong_kind(config: Path) -> None:
    refused("check", "-c", config, "--set", "value.contact_cost=-3", says=["value.contact_cost", "-3"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("model.imbalance=smoth", ["model.imbalance", "'none', 'weights', 'undersample' or 'smote'", "smoth"]),
        ("model.churner_weight=3", ["churner_weight means nothing", '"none"', '"weights"']),
        ("model.minority_ratio=1.5", ["model.minority_ratio", "less than or equal to 1", "1.5"]),
        ("value.save_rate=1.5", ["save_rate must satisfy", "1.5"]),
        ("value.incentive_cost=-1", ["value.incentive_cost", "greater than or equal to 0"]),
        ("value.clv=-5", ["clv (-5.0) must exceed incentive_cost (0.0)"]),
        ("value.capacity=-1", ["value.capacity", "greater than or equal to 0"]),
    ],
)
def test_money_and_imbalance_that_make_no_sense(config: Path, given: str, says: list[str]) -> None:
    refused("train", "-c", config, "--set", given, says=says)


def test_a_customer_value_that_is_negative_or_nowhere(tmp_path: Path) -> None:
    for worth, says in (("-20", ["'worth'", "1 of 60 values are below 0", "-20"]), ("", ["'worth'", "Did you mean"])):
        table = customers(60)
        values = [100.0] * 59 + [float(worth) if worth else 50.0]
        config = write_project(tmp_path / f"p{worth}", TABLE, table_parquet=table.append_column("worth", [values]))
        column = "worth" if worth else "wroth"
        refused("train", "-c", config, "--set", f"value.clv={column}", says=says)


def test_an_option_that_an_override_repeats(config: Path) -> None:
    says = ["model.seed", "given twice"]
    refused("train", "-c", config, "--seed", "1", "--set", "model.seed=2", says=says)


def test_an_environment_variable_with_a_typo(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_VALUE__CVL", "700")
    refused("check", "-c", config, says=["'value.cvl'", "Did you mean 'clv'?"])


def test_an_unknown_family(config: Path) -> None:
    says = ["'xgbost'", "Did you mean 'xgboost'?"]
    refused("train", "-c", config, "--family", "xgbost", says=says)
    refused("check", "-c", config, "--set", "model.family=xgbost", says=says)


def test_a_value_column_is_checked_before_training(config: Path) -> None:
    refused("check", "-c", config, "--set", "value.clv=wurth", says=["[value] clv", "'wurth'"])


def test_a_folder_in_place_of_the_settings(config: Path) -> None:
    refused("check", "-c", config.parent, says=[f"{config.parent} is a folder", str(config)])


def test_a_number_that_is_none(config: Path) -> None:
    refused("train", "-c", config, "--tune", "many", says=["--tune", "'many'", "integer"])


def test_features_are_written_to_a_parquet_file(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, log_csv=visits())
    refused("features", "-c", config, "--out", tmp_path, says=[f"{tmp_path} is a folder", "features.parquet"])
    refused("features", "-c", config, "--out", "/", says=["/ is a folder"])
    out = tmp_path / "rows.csv"
    refused("features", "-c", config, "--out", out, says=["Parquet", "rows.csv", str(tmp_path / "rows.parquet")])
    assert not out.exists()


def test_an_unknown_time_zone(config: Path) -> None:
    refused("check", "-c", config, "--set", "project.timezone=Berlin", says=["'Berlin'", "Europe/Berlin"])


def test_an_unknown_database(config: Path) -> None:
    says = ["'mysql'", "sqlite, postgresql"]
    refused("models", "list", "-c", config, "--set", "project.database=mysql://host/db", says=says)


def test_an_unknown_verb() -> None:
    refused("trian", says=["'trian'", "Did you mean 'train'?", "tenure --help"])


def test_an_unknown_verb_of_models() -> None:
    refused("models", "shw", says=["'shw'", "Did you mean 'show'?", "tenure models --help"])


def test_an_unknown_option(config: Path) -> None:
    refused("score", "--confg", config, says=["--confg", "--config", "tenure score --help"])


def test_a_missing_option(config: Path) -> None:
    refused("features", "-c", config, says=["--out", "tenure features --help"])


def test_a_value_that_an_option_does_not_take(tmp_path: Path) -> None:
    says = ["'drift'", "'covariate'", "'concept'"]
    refused("simulate", tmp_path / "new", "--shift", "drift", says=says)
    refused("simulate", tmp_path / "new", "--customers", "5", says=["customers = 5", "100"])
    assert not (tmp_path / "new").exists()


def test_init_wants_events_or_a_table(tmp_path: Path) -> None:
    config = tmp_path / "tenure.toml"
    refused("init", "-c", config, says=["event files or a plain table", "--events"])
    refused("init", "-c", config, "--table", "t.csv", "--customers", "c.csv", says=["--customers"])


def test_init_does_not_replace_settings(config: Path) -> None:
    before = config.read_bytes()
    refused("init", "-c", config, "--table", config.parent / "table.parquet", says=["tenure.toml exists", "--force"])
    assert config.read_bytes() == before


def test_simulate_does_not_replace_a_folder(config: Path) -> None:
    refused("simulate", config.parent, says=["exists and is not empty"])
    refused("simulate", config.parent, "--force", says=["not an earlier simulation"])
    assert config.exists()


def test_no_verb_shows_the_help() -> None:
    ran = tenure()
    assert ran.code == 2
    assert "Usage: tenure" in ran.out
    assert not ran.err
