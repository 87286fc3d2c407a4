"""Plain tables that cannot be used as they are, and strange ones that can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.cli.world import TABLE, customers, done, has_left, refused, tenure, write_project

MANY = 12_000


def planted(rows: int = 400) -> pa.Table:
    """A table whose column `score` knows who will leave."""
    table = customers(rows)
    return table.append_column("score", pa.array(has_left(table) + np.random.default_rng(1).normal(0, 0.01, rows)))


def test_a_label_with_three_values_is_refused_by_init(tmp_path: Path) -> None:
    labels = ["Yes", "No", "maybe"] * 40
    write_project(tmp_path, "", table_parquet=customers(120, churn=labels))
    says = ["'churn'", "'maybe'", "'No'", "'Yes'", "needs two", "[table] positive"]
    refused("init", "--table", tmp_path / "table.parquet", "-c", tmp_path / "new.toml", says=says)
    assert not (tmp_path / "new.toml").exists()


def test_a_label_with_three_values_is_said_where_one_of_them_was_chosen(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(120, churn=["Yes", "No", "maybe"] * 40))
    notes = done("check", "-c", config, "--json").document["notes"]
    assert any("3 values" in note and "'maybe'" in note and "stayed" in note for note in notes)


def test_a_label_that_never_is_positive(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE.replace('"Yes"', '"yes!"'), table_parquet=customers())
    refused("train", "-c", config, says=["'yes!'", "no row has that label", "'No', 'Yes'"])


def test_everybody_left(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(100, churn=["Yes"] * 100))
    refused("train", "-c", config, says=["Every row", "'Yes'", "nothing to tell apart"])


def test_too_few_rows(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(20))
    assert refused("train", "-c", config, says=["training block", "at least 10"])["code"] == "history"


def test_an_unknown_label_column(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE.replace('label = "churn"', 'label = "chrun"'), table_parquet=customers())
    refused("check", "-c", config, says=["'chrun'", "Did you mean 'churn'?", "visits"])


def test_rows_without_a_label_are_scored_and_not_learned_from(tmp_path: Path) -> None:
    labels = [None if number % 3 == 0 else "Yes" if number % 4 == 0 else "No" for number in range(400)]
    config = write_project(tmp_path, TABLE, table_parquet=customers(churn=labels))
    trained = done("train", "-c", config, "--json").document
    assert any("134 of 400 rows have no label" in note for note in trained["notes"])
    assert done("score", "-c", config, "--json").document["tally"]["customers"] == 400


def test_a_table_that_is_only_scored_needs_no_label(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers())
    done("train", "-c", config)
    write_project(tmp_path, TABLE, table_parquet=customers(50).drop_columns(["churn"]))
    assert done("score", "-c", config, "--json").document["tally"]["customers"] == 50
    refused("train", "-c", config, says=["churn"])


def test_a_table_is_not_scored_in_the_future(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers())
    done("train", "-c", config)
    refused("score", "-c", config, "--as-of", "2999-01-01", says=["2999-01-01 lies in the future", "--as-of"])
    refused("explain", "k1", "-c", config, "--as-of", "2999-01-01", says=["2999-01-01 lies in the future"])


def test_an_id_that_stands_in_every_row(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(id=["same"] * 400))
    refused("train", "-c", config, says=["400 of 400 rows", "duplicate id", '"same"'])


def test_infinite_values(tmp_path: Path) -> None:
    ratio = np.where(np.arange(400) % 10 == 0, np.inf, 1.0)
    config = write_project(tmp_path, TABLE, table_parquet=customers(ratio=ratio))
    refused("train", "-c", config, says=["40 of 400 rows (10 %)", "ratio is not finite", '"inf"'])


def test_a_value_column_that_does_not_exist(tmp_path: Path) -> None:
    config = write_project(tmp_path, f'{TABLE}[value]\nclv = "spnd"\n', table_parquet=customers())
    refused("train", "-c", config, says=["'spnd'", "Did you mean 'spend'?"])


@pytest.mark.parametrize("verb", ["check", "train"])
def test_a_planted_leak(tmp_path: Path, verb: str) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=planted())
    says = ["score (separates)", "AUC of 1.000", '[audit] allow = ["score"]']
    assert refused(verb, "-c", config, says=says, code=3)["code"] == "audit"
    for_people = tenure(verb, "-c", config)
    assert for_people.code == 3
    assert "score (separates)" in for_people.err
    assert not (tmp_path / ".tenure/versions").exists()


def test_a_leak_that_is_allowed_by_name(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=planted())
    found = done("check", "-c", config, "--set", 'audit.allow=["score"]', "--json").document
    assert [finding["feature"] for finding in found["audit"]["findings"]] == ["score"]


def test_constant_columns_are_dropped_and_said(tmp_path: Path) -> None:
    table = customers(site=["x"] * 400, zero=np.zeros(400), nothing=pa.nulls(400, pa.float64()))
    config = write_project(tmp_path, TABLE, table_parquet=table)
    notes = " ".join(done("train", "-c", config, "--json").document["notes"])
    for said in ("site (is always 'x')", "zero (is always 0)", "nothing (is always missing)"):
        assert said in notes


def test_ten_thousand_categories_train_and_are_said(tmp_path: Path) -> None:
    every_second = np.where(np.arange(MANY) % 2 == 0, "main", [f"q{number}" for number in range(MANY)])
    shops = [f"s{number % 10_000}" for number in range(MANY)]
    table = customers(MANY, shop=shops, channel=every_second)
    config = write_project(tmp_path, TABLE, table_parquet=table)
    ran = done("train", "-c", config)
    assert "different values, none of them in 10 rows or more" in ran.out
    assert "different values; 1 are kept apart" in ran.out


def test_numbers_with_a_unit_become_categories_and_are_said(tmp_path: Path) -> None:
    ages = ["12 years" if number % 7 == 0 else str(number % 50) for number in range(400)]
    config = write_project(tmp_path, TABLE, table_parquet=customers(age=ages))
    notes = done("check", "-c", config, "--json").document["notes"]
    assert any("'age' is read as text" in note and "'12 years' is not" in note for note in notes)


def test_a_table_has_no_cutoffs(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers())
    refused("features", "-c", config, "--out", tmp_path / "f.parquet", says=["plain table", "[events]"])
