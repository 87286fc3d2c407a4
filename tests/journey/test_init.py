"""What `tenure init` writes runs as it is, whatever the files look like."""

from __future__ import annotations

import csv
import io
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.world import customers, done, read_contacts, write_project

START = datetime(2024, 1, 1)  # noqa: DTZ001 - written as text without an offset
DAYS = 240
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The written file stays untouched; the environment makes the training small."""
    monkeypatch.setenv("TENURE_MODEL__FAMILY", "logistic")
    monkeypatch.setenv("TENURE_RUNTIME__THREADS", "1")


def runs(config: Path) -> dict[str, Any]:
    """Take a written project to a contact list; what it says, read back."""
    before = config.read_bytes()
    done("train", "-c", config)
    summary = done("score", "-c", config, "--json").document
    contacts = read_contacts(Path(summary["contact_list"]))
    assert len(contacts) == summary["contacts"]["contacts"] > 0
    assert config.read_bytes() == before
    return tomllib.loads(before.decode())


def baskets() -> str:
    """Two hundred households who come at a pace of their own, with pauses, and of whom some stop for good.

    A basket has one to three lines.
    """
    random = np.random.default_rng(5)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["basket_id", "household_id", "purchased_at", "amount", "department"])
    for household in range(200):
        pace = random.gamma(1.5, 0.05, DAYS) * random.gamma(3, 0.3)
        pace[int(random.integers(60, 2 * DAYS)) :] = 0
        pause = int(random.integers(DAYS))
        pace[pause : pause + int(random.integers(45))] = 0
        for number, day in enumerate(np.flatnonzero(random.random(DAYS) < pace)):
            time = START + timedelta(days=int(day), hours=int(random.integers(8, 20)))
            amounts = random.gamma(2, 5, int(random.integers(1, 4))).round(2)
            department = ["bakery", "dairy", "fruit"][int(random.integers(3))]
            lines.writerows([f"{household}-{number}", household, time, amount, department] for amount in amounts)
    return text.getvalue()


@pytest.mark.slow
def test_the_files_of_a_simulation(tmp_path: Path) -> None:
    service = tmp_path / "service"
    done("simulate", service, "--customers", 200, "--months", 7, "--seed", 1)
    config = tmp_path / "tenure.toml"
    done("init", "--events", service / "events/*.parquet", "--customers", service / "customers.parquet", "-c", config)
    settings = runs(config)
    assert settings["churn"]["event"] == "cancel"
    assert settings["customers"]["since"] == "signup_at"
    assert len(settings["events"]) == 7


def test_a_csv_log_with_lines(tmp_path: Path) -> None:
    (tmp_path / "baskets.csv").write_text(baskets(), encoding="utf-8")
    config = tmp_path / "tenure.toml"
    findings = done("init", "--events", tmp_path / "baskets.csv", "-c", config, "--json").document["findings"]
    assert any("lines of one event" in finding for finding in findings)
    settings = runs(config)
    event = settings["events"]["baskets"]
    assert (event["id"], event["lines"], event["customer"]) == ("basket_id", True, "household_id")
    assert event["values"] == ["amount"]
    assert settings["churn"]["inactivity"] == ["baskets"]


def test_a_plain_table(tmp_path: Path) -> None:
    write_project(tmp_path, "", table_parquet=customers(region=["EU"] * 400))
    config = tmp_path / "tenure.toml"
    done("init", "--table", tmp_path / "table.parquet", "-c", config, "--force")
    table = runs(config)["table"]
    assert table == {"path": str(tmp_path / "table.parquet"), "id": "id", "label": "churn", "positive": "Yes"} | {
        "ignore": ["region"]
    }


def test_a_path_below_the_settings_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "baskets.csv").write_text(baskets(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done("init", "--events", "baskets.csv", "-c", "shop/tenure.toml")
    assert tomllib.loads(Path("shop/tenure.toml").read_text(encoding="utf-8"))["events"]["baskets"]["path"] == (
        "../baskets.csv"
    )
    assert done("check", "-c", "shop/tenure.toml", "--json").document["churn"].startswith("no baskets in")
