"""Event logs that cannot be used as they are: every refusal says what happened, shows values and names a next step."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.cli.world import CHURN, FEATURES, LIGHT, VISITS, done, refused, visits, write_project

HEADER = "customer_id,time\n"
EMPTY = pa.table({"customer_id": pa.array([], pa.string()), "time": pa.array([], pa.timestamp("us"))})


def test_an_empty_file(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, log_csv="")
    assert refused("check", "-c", config, says=["log.csv", "is empty", "Write it again"])["code"] == "input"


@pytest.mark.parametrize("content", [HEADER, EMPTY], ids=["csv", "parquet"])
def test_a_file_without_rows(tmp_path: Path, content: str | pa.Table) -> None:
    name = "log.csv" if isinstance(content, str) else "log.parquet"
    files = {name.replace(".", "_"): content}
    config = write_project(tmp_path, VISITS.replace("log.csv", name), **files)
    refused("train", "-c", config, says=["events.visit", name, "has no rows"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, logs_csv=HEADER)
    assert refused("check", "-c", config, says=["'log.csv'", "logs.csv"])["code"] == "not_found"


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS.replace("log.csv", "log.parquet"), log_parquet=b"PAR1 and then nothing")
    refused("check", "-c", config, says=["log.parquet", "cannot be read as Parquet"])


def test_nobody_left(tmp_path: Path) -> None:
    log = visits(0, ids=[f"c{number}" for number in range(40)])
    config = write_project(tmp_path, VISITS.replace('horizon = "14d"', 'horizon = "28d"'), log_csv=log)
    error = refused("train", "-c", config, says=["all 120 rows are stayers", "nothing can be told apart", "[churn]"])
    assert error["code"] == "history"


def test_everybody_left(tmp_path: Path) -> None:
    early = "".join(f"c{number},2025-{1 + number % 3:02d}-{1 + number % 28:02d}\n" for number in range(100))
    config = write_project(tmp_path, VISITS, log_csv=f"{HEADER}{early}late,2025-06-01\n")
    error = refused("train", "-c", config, says=["rows are churners", "nothing can be told apart", "[churn]"])
    assert error["code"] == "history"


def test_one_customer(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, log_csv=visits(0, ids=["only"]))
    assert refused("train", "-c", config, says=["training block", "[churn]"])["code"] == "history"


def test_a_horizon_longer_than_the_log(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS.replace('horizon = "14d"', 'horizon = "300d"'), log_csv=visits(20))
    says = ["2025-01-01", "628 are needed", "300d", "shorten [churn] horizon"]
    assert refused("check", "-c", config, says=says)["code"] == "history"


def test_an_unknown_column(tmp_path: Path) -> None:
    settings = VISITS.replace('path = "log.csv"', 'path = "log.csv"\ncustomer = "custommer_id"')
    config = write_project(tmp_path, settings, log_csv=visits(5))
    refused("check", "-c", config, says=["'custommer_id'", "Did you mean 'customer_id'?", "customer_id, time"])


def test_text_in_a_numeric_column(tmp_path: Path) -> None:
    settings = VISITS.replace('path = "log.csv"', 'path = "log.csv"\nvalues = ["amount"]')
    config = write_project(tmp_path, settings, log_csv="customer_id,time,amount\na,2025-01-01,12 EUR\nb,2025-01-02,3\n")
    says = ["1 of 2 rows (50 %)", "amount is not a number", '"12 EUR"', "contract.max_rejects"]
    assert refused("check", "-c", config, says=says)["code"] == "contract"
    assert "12 EUR" in (tmp_path / ".tenure/rejects/events.visit.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("time", "reason"), [("1970-01-01", "time out of range"), ("2200-01-01", "time in the future")]
)
def test_an_impossible_time(tmp_path: Path, time: str, reason: str) -> None:
    config = write_project(tmp_path, VISITS, log_csv=f"{HEADER}a,{time}\nb,2025-01-02\n")
    refused("check", "-c", config, says=[reason, f'"{time}"', "1 of 2 rows"])


def test_infinite_values(tmp_path: Path) -> None:
    settings = VISITS.replace('path = "log.csv"', 'path = "log.csv"\nvalues = ["amount"]')
    config = write_project(tmp_path, settings, log_csv="customer_id,time,amount\na,2025-01-01,inf\nb,2025-01-02,-inf\n")
    refused("check", "-c", config, says=["2 of 2 rows (100 %)", "amount is not finite", "inf"])


def test_a_header_that_stands_twice(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, log_csv="customer_id,time,time\na,2025-01-01,2025-01-01\n")
    refused("check", "-c", config, says=["log.csv", "several columns of the same name", "'time'", "Rename"])


def test_lines_that_are_not_utf8(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, log_csv=HEADER.encode() + "é,2025-01-01\n".encode("latin-1"))
    refused("check", "-c", config, says=["malformed line", "UTF-8"])


def test_a_where_that_leaves_nothing(tmp_path: Path) -> None:
    settings = VISITS.replace('path = "log.csv"', 'path = "log.csv"\nwhere = "customer_id = \'nobody\'"')
    config = write_project(tmp_path, settings, log_csv=visits(5))
    refused("check", "-c", config, says=["customer_id = 'nobody'", "leaves none of"])


def test_a_feature_of_an_unknown_event(tmp_path: Path) -> None:
    settings = f'[events.visit]\npath = "log.csv"\n{CHURN}{FEATURES.replace("visit", "visti")}{LIGHT}'
    config = write_project(tmp_path, settings, log_csv=visits(5))
    refused("check", "-c", config, says=["'visti'", "Did you mean 'visit'?"])


def test_times_with_and_without_an_offset_are_read_and_said(tmp_path: Path) -> None:
    offsets = ("Z", "+02:00", "-0500", "")
    first, *rows = visits(80).splitlines()
    log = "\n".join([first, *(f"{row}{offsets[number % 4]}" for number, row in enumerate(rows))])
    config = write_project(tmp_path, VISITS, log_csv=log)
    notes = done("check", "-c", config, "--json").document["notes"]
    bare = sum(number % 4 == 3 for number in range(len(rows)))
    assert any(f"{len(rows) - bare:,} with an offset and {bare:,} without" in note and "UTC" in note for note in notes)
