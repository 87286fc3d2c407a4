"""A version of every family proves itself in the throw-away process, and so does the model that stands by."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tenure.model.artifact import Draft, load_version, write_version
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.families import FAMILIES, NEEDS, find_family
from tenure.model.fold import customer_folds
from tenure.model.manifest import Cutoffs
from tenure.model.parts import Parts
from tenure.model.protocol import Examples
from tenure.model.standby import Standby
from tests.model.versions import CLOCK, FEATURES, ROWS, forge, label, refusal, table


@cache
def parts(family: str, fallback: str | None = "logistic") -> Parts:
    encoder = Encoder.fit(table())
    examples = Examples(encoder.transform(table()), label(), np.arange(ROWS), encoder.layout)
    fold = customer_folds(examples.group, examples.label, folds=2, seed=0)
    models = []
    for name in filter(None, (family, fallback)):
        choice = find_family(name).cross_fit(examples, fold, seed=0, threads=1).choice
        models.append(find_family(name).fit(examples, choice, seed=0, threads=1))
    standby = Standby(fallback, models[1], Calibration("sigmoid", slope=0.8), 60.0) if fallback else None
    calibration = Calibration("sigmoid", slope=0.9, intercept=-0.1)
    return Parts(family, FEATURES, encoder, models[0], calibration, standby=standby)


def write(folder: Path, family: str, fallback: str | None = "logistic") -> str:
    draft = Draft(parts(family, fallback), (), table(), "fingerprint", Cutoffs(), 0.25, {})
    return write_version(folder, draft, CLOCK)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_version_of_every_family_proves_itself(family: str, tmp_path: Path) -> None:
    checksum = write(tmp_path / "v1", family)
    version = load_version(tmp_path / "v1", checksum)
    assert (version.predict(table()) == parts(family).predict(table())).all()
    made_with = {"catboost", "lightgbm", "torch"} & set(version.manifest.dependencies)
    assert made_with == set(NEEDS.get(family, ()))
    answer = version.answer(table())
    assert answer.by in {family, "xgboost"}  # a chain's first member answers for it
    np.testing.assert_allclose(answer.value, version.predict(table()), rtol=1e-12)


def test_the_files_of_the_model_that_stands_by_are_sealed(tmp_path: Path) -> None:
    write(tmp_path / "v1", "xgboost")
    files = {path.relative_to(tmp_path / "v1").as_posix() for path in (tmp_path / "v1").rglob("*") if path.is_file()}
    assert {"fallback/fallback.json", "fallback/calibration.json", "fallback/model.json", "relay.parquet"} <= files
    (tmp_path / "v1" / "fallback" / "model.json").write_bytes(b"{}")
    assert "v1/fallback/model.json is truncated" in refusal(tmp_path / "v1")


@pytest.mark.parametrize("file", ["fallback/fallback.json", "fallback/calibration.json", "relay.parquet"])
def test_a_missing_file_of_the_model_that_stands_by_is_named(file: str, tmp_path: Path) -> None:
    write(tmp_path / "v1", "logistic", "xgboost")
    (tmp_path / "v1" / file).unlink()
    assert refusal(tmp_path / "v1") == f"v1 lacks {file}."


def test_a_model_that_stands_by_is_held_to_its_golden_answers(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    write(folder, "logistic", "xgboost")
    path = folder / "fallback" / "calibration.json"
    path.write_text(path.read_text().replace('"slope": 0.8', '"slope": 0.7'))
    forge(folder)
    assert "its golden rows differ by up to" in refusal(folder)


def test_answers_of_other_members_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    write(folder, "logistic", "xgboost")
    answers = pq.read_table(folder / "relay.parquet")
    pq.write_table(answers.rename_columns(["logistic", "forest"]), folder / "relay.parquet")
    forge(folder)
    assert "relay.parquet holds answers of logistic, forest, not of logistic, xgboost." in refusal(folder)


def test_a_foreign_family_that_stands_by_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    write(folder, "logistic", "xgboost")
    path = folder / "fallback" / "fallback.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"family": "xgbost"}))
    forge(folder)
    assert "The model family 'xgbost' is foreign. Did you mean 'xgboost'?" in refusal(folder)


def test_without_a_fallback_there_is_none(tmp_path: Path) -> None:
    version = load_version(tmp_path / "v1", write(tmp_path / "v1", "logistic", None))
    assert version.parts.standby is None
    assert not (tmp_path / "v1" / "fallback").exists()
    assert version.answer(table()).by == "logistic"


def test_a_chain_that_holds_the_fallback_asks_it_once(tmp_path: Path) -> None:
    write(tmp_path / "v1", "chain")
    assert pq.read_table(tmp_path / "v1" / "relay.parquet").column_names == ["xgboost", "logistic"]
