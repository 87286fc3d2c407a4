"""`tenure compare` on a project: the rows of `tenure train`, a fair champion, results that are kept."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tenure.app.compare import _champion, compare_models
from tenure.app.place import Place
from tenure.app.project import Project
from tenure.app.training import train_version
from tenure.core.errors import ArtifactError, AuditError, ConfigError, MissingExtraError
from tenure.core.settings import ModelSettings
from tenure.model import families, imbalance
from tenure.model.evaluate import Estimate
from tenure.model.manifest import MANIFEST, Manifest
from tenure.testing.shop import write_shop
from tests.cli.world import customers


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.load(write_shop(tmp_path / "shop"))


def test_a_candidate_is_judged_as_a_version_would_be(place: Place) -> None:
    compared = compare_models(place, ["logistic"])
    trained = train_version(place)
    (entry,) = compared.comparison.entries
    own = trained.scorecard[0].metrics
    for metric in ("roc_auc", "average_precision", "brier", "observed_expected", "recall", "precision"):
        assert entry.metrics[metric] == own[metric]
    assert (compared.comparison.rows, compared.comparison.churners) == (108, 12)
    assert compared.conclusion.startswith("Insufficient evidence: only 12 customers")


def test_the_page_and_the_document_say_the_same(place: Place) -> None:
    compared = compare_models(place, "logistic", "weights")
    document = json.loads(compared.document.read_text())
    entries = document["comparison"]["entries"]
    assert [entry["name"] for entry in entries] == ["logistic", "logistic + weights"]
    found = compared.comparison.entries[1]
    assert Estimate(**entries[1]["ahead"]["roc_auc"]) == found.ahead["roc_auc"]
    assert compared.conclusion in compared.report.read_text()
    assert sorted(path.name for path in place.workspace.glob("compare-*")) == []


def test_the_next_version_shows_the_comparison_of_its_data(place: Place) -> None:
    compared = compare_models(place, ["logistic"])
    assert compared.conclusion in train_version(place).report.read_text()


def test_a_comparison_with_other_money_is_not_shown_and_a_damaged_one_is_said(place: Place) -> None:
    compared = compare_models(place, ["logistic"])
    other = place.settings.model_copy(update={"value": place.settings.value.model_copy(update={"clv": 900.0})})
    compared.document.with_name("9999.json").write_text('{"basis": ')
    trained = train_version(Place(other, place.root))
    assert compared.conclusion not in trained.report.read_text()
    assert any(note.startswith("The comparison in 9999.json cannot be read") for note in trained.notes)


def test_the_champions_recipe_is_what_the_others_have_to_beat(place: Place) -> None:
    model = ModelSettings(family="logistic", imbalance="undersample", minority_ratio=0.5)
    settings = place.settings.model_copy(update={"model": model})
    train_version(Place(settings, place.root))
    before = place.registry().aliases()
    compared = compare_models(place, ["logistic"])
    assert compared.comparison.champion == "logistic + undersample"
    assert compared.champion_is == "the family and method of v1, learned from the same rows"
    assert [entry.name for entry in compared.comparison.entries] == ["logistic + undersample", "logistic"]
    assert _champion(place)[0].minority_ratio == 0.5
    assert place.registry().aliases() == before
    assert len(place.registry().versions()) == 1


def test_a_champion_that_was_changed_is_refused(place: Place) -> None:
    train_version(place)
    folder = place.registry().resolve("champion").folder
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    settings = {**manifest.settings, "model": {**manifest.settings["model"], "family": "forest"}}
    (folder / MANIFEST).write_bytes(replace(manifest, settings=settings).to_json())  # sealed anew, as a forger would
    with pytest.raises(ArtifactError, match="was registered"):
        compare_models(place, ["logistic"])


@pytest.mark.parametrize(
    ("families", "imbalances", "says"),
    [(["logistik"], [], "Did you mean 'logistic'"), ([], ["smotee"], "Did you mean 'smote'")],
)
def test_names_that_do_not_exist_are_refused_before_any_work(
    place: Place, families: list[str], imbalances: list[str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        compare_models(place, families, imbalances)
    assert not place.workspace.exists()


def test_a_family_whose_package_is_missing_is_refused_by_name_and_left_out_otherwise(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = dict.fromkeys(set(families.installed_families()) - {"logistic"}, ("no_such_package",))
    monkeypatch.setattr(families, "NEEDS", missing)
    with pytest.raises(MissingExtraError, match="no_such_package"):
        compare_models(place, ["logistic", "forest"])
    assert [entry.name for entry in compare_models(place).comparison.entries] == ["logistic"]


def test_a_method_whose_package_is_missing_is_refused_before_any_work(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imbalance, "is_installed", lambda _: False)
    monkeypatch.setitem(sys.modules, "imblearn", None)
    with pytest.raises(MissingExtraError, match="imblearn"):
        compare_models(place, ["logistic"], ["smote"])
    assert not place.workspace.exists()


def table_project(folder: Path, table: pa.Table) -> Project:
    settings = {
        "table": {"path": "t", "id": "id", "label": "churn", "positive": "Yes"},
        "model": {"family": "logistic"},
        "runtime": {"threads": 1},
    }
    return Project.of(settings, folder, tables={"t": table})


def test_a_plain_table_is_compared_and_said_to_be_one(tmp_path: Path) -> None:
    compared = table_project(tmp_path, customers(900)).compare(["logistic"], ["weights"])
    assert any("Split at random by customer" in note for note in compared.notes)
    assert compared.comparison.lost_customers > 30
    assert compared.comparison.findings[-1].kind == "rebalancing"
    assert "did not improve" in compared.comparison.findings[-1].text


def test_a_leak_stops_the_comparison(tmp_path: Path) -> None:
    table = customers(400)
    left = np.asarray(table["churn"].to_pylist()) == "Yes"
    project = table_project(tmp_path, table.append_column("closed", pa.array(left.astype(float) + 1)))
    with pytest.raises(AuditError):
        project.compare(["logistic"])
