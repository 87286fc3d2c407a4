"""From a log to a contact list, as a person goes at the command line."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tenure.app.project import Project
from tenure.core.database import open_database
from tenure.score.table import published_runs, read_scores
from tests.cli.world import done, read_contacts, refused, tenure
from tests.journey.scored import Scored

pytestmark = pytest.mark.timeout(600)  # the first test of a session trains two versions


def contents(folder: Path) -> dict[str, str]:
    """The hash of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_check_tells_what_training_will_use(service: Path) -> None:
    found = done("check", "-c", service, "--json").document
    sources = {source["source"]: source for source in found["contract"]["sources"]}
    assert sources["events.login"]["accepted"] == sources["events.login"]["rows"] > 0
    assert [health["block"] for health in found["labels"]] == ["train", "train", "train", "test"]
    assert all(0 < health["churners"] < health["rows"] for health in found["labels"])
    assert "login_count_30d" in found["features"]
    assert not [finding for finding in found["audit"]["findings"] if finding["severity"] == "leak"]


def test_training_writes_a_whole_version_and_the_same_one_again(service: Path) -> None:
    result = done("train", "-c", service, "--family", "logistic", "--json").document
    assert (result["version"], result["alias"], result["family"]) == ("v3", "challenger", "logistic")
    names = [judgement["name"] for judgement in result["scorecard"]]
    assert names == ["logistic", "recency", "frequency", "relative recency", "random", "contact everybody"]
    own = result["scorecard"][0]["metrics"]
    assert own["roc_auc"]["low"] < own["roc_auc"]["value"] < own["roc_auc"]["high"]
    assert own["roc_auc"]["value"] > result["scorecard"][4]["metrics"]["roc_auc"]["high"] > 0.5
    files = {path.name for path in Path(result["folder"]).iterdir()}
    assert {"manifest.json", "encoder.json", "calibration.json", "golden.parquet", "report.html"} <= files
    assert "<html" in Path(result["report"]).read_text(encoding="utf-8")
    before = service.parent / ".tenure/versions/v2"  # the same family and seed on the same data
    same = ("model.json", "encoder.json", "calibration.json", "golden.parquet", "evaluation.json")
    changed = [name for name in same if (before / name).read_bytes() != Path(result["folder"], name).read_bytes()]
    assert not changed


def test_versions_are_listed_shown_promoted_and_rolled_back(service: Path) -> None:
    def aliases() -> dict[str, list[str]]:
        listed = done("models", "list", "-c", service, "--json").document["versions"]
        return {version["version"]: version["aliases"] for version in listed}

    assert list(aliases().items()) == [("v2", ["challenger"]), ("v1", ["champion"])]
    done("models", "promote", "v2", "--reason", "it ranks [better]", "-c", service)
    assert aliases() == {"v2": ["challenger", "champion"], "v1": []}
    shown = done("models", "show", "champion", "-c", service).out
    assert "v2 logistic" in shown
    assert "files intact" in shown
    assert "it ranks [better]" in shown
    assert done("score", "-c", service, "--json").document["version"] == "v2"
    back = done("models", "rollback", "champion", "-c", service, "--json").document
    assert (back["version"], back["previous"], back["is_rollback"]) == ("v1", "v2", True)
    assert aliases() == {"v2": ["challenger"], "v1": ["champion"]}
    refused("models", "rollback", "champion", "-c", service, says=["no earlier version", "v1"])


def test_scores_are_whole_ordered_and_readable(scored: Scored) -> None:
    service, summary = scored.config, scored.summary
    contacts = read_contacts(Path(summary["contact_list"]))
    profits = [float(row["expected_profit"]) for row in contacts]
    assert profits == sorted(profits, reverse=True)
    assert [int(row["rank"]) for row in contacts] == [*range(1, len(contacts) + 1)]
    assert len(contacts) == summary["contacts"]["contacts"] > 0
    assert min(profits) >= 0
    assert sum(profits) == pytest.approx(summary["contacts"]["profit_expected"], abs=1e-3 * len(profits))

    parts = sorted(Path(summary["folder"]).glob("**/*.parquet"))
    rows = {row["customer_id"]: row for part in parts for row in pq.read_table(part).to_pylist()}
    assert len(rows) == summary["tally"]["customers"]
    assert {row["customer_id"] for row in contacts} == {i for i, row in rows.items() if row["decision"] == "contact"}
    database = open_database("sqlite:///.tenure/tenure.db", root=service.parent)
    stored = read_scores(database, list(rows))
    assert {name: score.probability for name, score in stored.items()} == {
        name: row["probability"] for name, row in rows.items()
    }
    (published,) = published_runs(database)
    assert (published.customers, published.contacts) == (len(rows), len(contacts))


def test_probabilities_are_those_of_the_version_on_the_snapshot(scored: Scored) -> None:
    summary, project = scored.summary, Project.load(scored.config)
    features = project.features(summary["as_of"])
    expected = dict(zip(features["customer_id"].to_pylist(), project.version().predict(features), strict=True))
    stored = read_scores(project.place.database(), list(expected))
    assert stored.keys() == expected.keys()
    assert all(math.isclose(stored[name].probability, p, abs_tol=1e-12) for name, p in expected.items())


def test_scoring_again_changes_nothing(scored: Scored) -> None:
    folder = Path(scored.summary["folder"])
    before = contents(folder)
    assert "already done, nothing was changed" in done("score", "-c", scored.config).out
    assert contents(folder) == before


def test_scoring_after_the_scores_were_lost_gives_the_same_contacts(scored: Scored) -> None:
    contacts = Path(scored.summary["contact_list"]).read_bytes()
    shutil.rmtree(scored.config.parent / ".tenure/scores")
    again = done("score", "-c", scored.config, "--json").document
    assert not again["already_done"]
    assert Path(again["contact_list"]).read_bytes() == contacts


def test_an_earlier_cutoff_is_scored_beside_the_latest(scored: Scored) -> None:
    earlier = done("score", "-c", scored.config, "--as-of", "2024-06-29", "--json").document
    assert earlier["as_of"] == "2024-06-29" < scored.summary["as_of"]
    assert Path(earlier["contact_list"]).exists()
    assert Path(scored.summary["contact_list"]).exists()


def test_a_capacity_shortens_the_contact_list(scored: Scored) -> None:
    everybody = read_contacts(Path(scored.summary["contact_list"]))
    few = done("score", "-c", scored.config, "--set", "value.capacity=5", "--json").document
    assert read_contacts(Path(few["contact_list"])) == everybody[:5]


def test_features_are_written_with_and_without_labels(service: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.parquet"
    written = done("features", "-c", service, "--as-of", "2024-06-29", "--out", out, "--json").document
    plain = pq.read_table(out)
    assert plain.column_names == ["customer_id", "cutoff", *written["features"]]
    assert plain.num_rows == written["rows"] > 0
    done("features", "-c", service, "--as-of", "2024-06-29", "--labels", "--out", out)
    labelled = pq.read_table(out)
    assert labelled.select(plain.column_names).equals(plain)
    assert 0 < sum(labelled["label"].to_pylist()) < plain.num_rows


def test_a_project_may_be_moved(scored: Scored, tmp_path: Path) -> None:
    elsewhere = scored.config.parent.rename(tmp_path / "elsewhere")
    again = done("score", "-c", elsewhere / "tenure.toml", "--json").document
    assert (again["already_done"], again["run"]) == (True, scored.summary["run"])
    assert Path(again["contact_list"]).is_relative_to(elsewhere)


def test_the_program_speaks_through_its_own_process(service: Path) -> None:
    environment = {**os.environ, "TENURE_CONFIG": str(service), "TENURE_VALUE__CLV": "900"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "import sys; from tenure.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    scored = run("score", "--json")
    assert (scored.returncode, scored.stderr) == (0, "")
    assert json.loads(scored.stdout)["version"] == "v1"
    contacts = read_contacts(Path(json.loads(scored.stdout)["contact_list"]))
    assert {row["clv"] for row in contacts} == {"900"}
    unknown = run("score", "--version", "v9", "--json")
    assert unknown.returncode == 2
    assert json.loads(unknown.stdout)["error"]["code"] == "not_found"
    assert "v9" in unknown.stderr


def test_verbs_end_with_the_documented_codes(service: Path) -> None:
    assert tenure("models", "list", "-c", service).code == 0
    assert tenure("models", "show", "v9", "-c", service).code == 2
    manifest = service.parent / ".tenure/versions/v1/manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("xgboost", "logistic", 1), encoding="utf-8")
    assert tenure("models", "show", "v1", "-c", service).code == 3
