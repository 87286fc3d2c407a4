"""`tenure compare` at the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.world import TABLE, customers, done, refused, write_project


def test_it_says_who_did_how_well_at_which_cost(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(900))
    ran = done("compare", "-c", config, "--family", "logistic", "--imbalance", "weights")
    assert "logistic + weights moved the threshold" in ran.out
    for word in ("ROC AUC", "profit per", "training", "p99 ms", "peak", "exact Shapley values (coefficients)"):
        assert word in ran.out
    assert "Traceback" not in ran.err


def test_the_same_as_one_document(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(900))
    document = done("compare", "-c", config, "--family", "logistic", "--json").document
    (entry,) = document["comparison"]["entries"]
    assert document["comparison"]["champion"] == entry["name"] == "logistic"
    assert document["conclusion"] == document["comparison"]["findings"][0]["text"]
    assert set(entry["costs"]) == {
        "training_seconds", "p50_seconds", "p99_seconds", "rows_per_second", "artifact_bytes", "peak_bytes",
    }  # fmt: skip
    low, value, high = (entry["metrics"]["profit"][key] for key in ("low", "value", "high"))
    assert low <= value <= high
    assert Path(document["report"]).is_file()
    assert Path(document["document"]).is_file()


def test_names_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers())
    refused("compare", "-c", config, "--family", "logistik", says=["'logistik'", "Did you mean 'logistic'"])
    refused("compare", "-c", config, "--imbalance", "rose", says=["'rose'", "smote", "undersample", "weights"])
    refused("compare", "-c", config, "--set", "value.save_rate=1.5", says=["save_rate", "1.5"])
