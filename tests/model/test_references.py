"""On public tables the defaults reach what is known to be reachable there, and no more than honesty allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from tenure.model.bootstrap import customer_codes
from tenure.model.calibrate import choose_calibration
from tenure.model.encode import Encoder
from tenure.model.families import find_family
from tenure.model.fold import customer_folds
from tenure.model.frame import equal_rows
from tenure.model.protocol import Examples, Family, Flags, Vector
from tenure.model.ranking import rank

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDS = 5


def table(name: str) -> pa.Table:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {DATA}")
    return pa_csv.read_csv(path)


def held_out(family: Family, features: pa.Table, label: Flags) -> tuple[list[float], Vector]:
    """ROC AUC of each of five folds, and the calibrated probability of every row by models that never saw it."""
    group, _ = customer_codes(equal_rows(features))
    fold, probability, areas = customer_folds(group, label, folds=FOLDS, seed=7), np.empty(len(label)), []
    for number in range(FOLDS):
        apart = fold == number
        training = features.filter(pa.array(~apart))
        encoder = Encoder.fit(training)
        codes = np.unique(group[~apart], return_inverse=True)[1].astype(np.int64)
        rows = Examples(encoder.transform(training), label[~apart], codes, encoder.layout)
        crossed = family.cross_fit(rows, customer_folds(codes, rows.label, folds=FOLDS, seed=0), seed=0, threads=1)
        model = family.fit(rows, crossed.choice, seed=0, threads=1)
        chosen = choose_calibration("auto", crossed.probability, rows.label, codes, seed=0).calibration
        judged = encoder.transform(features.filter(pa.array(apart)))
        probability[apart] = chosen.apply(model.predict_proba(judged))
        areas.append(rank(probability[apart], label[apart]).steps().roc_auc())
    return areas, probability


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xgboost", "logistic"])
def test_telco(name: str) -> None:
    rows = table("telco.csv")
    label = np.array(rows["churn"].to_pylist()) == "Yes"
    areas, probability = held_out(find_family(name), rows.drop_columns(["churn"]), label)
    assert 0.843 <= np.mean(areas) <= 0.853
    assert label.sum() / probability.sum() == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_iranian_without_its_copies() -> None:
    rows = table("iranian.csv")
    _, first = np.unique(np.array(equal_rows(rows).to_pylist()), return_index=True)
    assert rows.num_rows - len(first) == 300
    rows = rows.take(pa.array(np.sort(first)))
    label = rows["Churn"].to_numpy() == 1
    areas, probability = held_out(find_family("xgboost"), rows.drop_columns(["Churn"]), label)
    assert np.mean(areas) >= 0.98
    assert label.sum() / probability.sum() == pytest.approx(1, abs=0.03)
