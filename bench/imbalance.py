"""What evening out churners and stayers does to a model, on the same folds as doing nothing.

Telco and Iranian churn without its copies, in repeated stratified folds. For each method: ROC AUC and Brier score with
their paired difference to doing nothing, observed over expected before any correction, after prior correction and after
calibration, the profit of contacting from the threshold that money fixes beforehand as a share of the most that any
threshold could have earned, and the seconds of training.

    python bench/imbalance.py                       # about ten minutes on two cores
    python bench/imbalance.py --scale 0.1 --family logistic
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold

from tenure.core.settings import ModelSettings, ValueSettings
from tenure.model.calibrate import correct_prior
from tenure.model.frame import Frame
from tenure.model.imbalance import IMBALANCE
from tenure.model.train import learn
from tenure.value.max_profit import max_profit
from tenure.value.outcome import earned
from tenure.value.threshold import t_star

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
VALUE = ValueSettings()
Flags = npt.NDArray[np.bool_]
Figures = npt.NDArray[np.float64]
COLUMNS = ("AUC", "Brier", "O/E raw", "O/E prior", "O/E final", "% of MPC", "seconds")


def tables() -> Iterator[tuple[str, pa.Table, Flags]]:
    telco = pc.read_csv(DATA / "telco.csv").drop(["rownames"])
    yield "telco", telco.drop(["churn"]), np.array([value == "Yes" for value in telco["churn"].to_pylist()])
    iranian = pc.read_csv(DATA / "iranian.csv")
    rows = list(dict.fromkeys(zip(*(column.to_pylist() for column in iranian.columns), strict=True)))
    distinct = pa.table({n: [row[i] for row in rows] for i, n in enumerate(iranian.column_names)})
    yield "iranian", distinct.drop(["Churn"]), np.array(distinct["Churn"].to_pylist()) == 1


def judge(settings: ModelSettings, features: pa.Table, label: Flags, train: npt.NDArray[np.int64],
          test: npt.NDArray[np.int64]) -> list[float]:  # fmt: skip
    began = time.perf_counter()
    trained = learn(Frame.of(np.arange(len(train)), label[train], features.take(train)), settings, threads=1)
    seconds, truth = time.perf_counter() - began, label[test]
    raw = trained.model.predict_proba(trained.encoder.transform(features.take(test)))
    final = trained.predict(features.take(test))
    costs = {"incentive_cost": VALUE.incentive_cost, "contact_cost": VALUE.contact_cost, "save_rate": 0.3}
    money = earned(truth, np.full(len(truth), 600.0), VALUE).expected
    won = money[final >= t_star(600.0, **costs)].sum() / len(truth)
    most = max_profit(truth, final, clv=600.0, **costs).per_customer
    ratios = [truth.sum() / p.sum() for p in (raw, correct_prior(raw, trained.calibration.prior), final)]
    return [roc_auc_score(truth, final), brier_score_loss(truth, final), *ratios, 100 * won / most, seconds]


def run(family: str, features: pa.Table, label: Flags, repeats: int) -> dict[str, Figures]:
    folds = list(RepeatedStratifiedKFold(n_splits=3, n_repeats=repeats, random_state=0).split(label, label))
    found = {}
    for method in IMBALANCE:
        settings = ModelSettings(family=family, fallback=None, imbalance=method)
        found[method] = np.array([judge(settings, features, label, *fold) for fold in folds])
    return found


def show(name: str, family: str, found: dict[str, Figures]) -> None:
    print(f"\n{name}, {family}: means over {len(found['none'])} folds; in brackets the paired difference to none")
    print(f"{'':12}" + "".join(f"{column:>18}" for column in COLUMNS))
    for method, figures in found.items():
        cells = [f"{value:.4g}" for value in figures.mean(axis=0)]
        for place in (0, 1):
            gap = figures[:, place] - found["none"][:, place]
            cells[place] = f"{figures[:, place].mean():.4f} [{gap.mean():+.4f}]"
        print(f"{method:12}" + "".join(f"{cell:>18}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="1: three repetitions of the folds; at least one")
    parser.add_argument("--family", action="append", help="default: logistic and xgboost")
    given = parser.parse_args()
    repeats = max(1, round(3 * given.scale))
    for name, features, label in tables():
        for family in given.family or ["logistic", "xgboost"]:
            show(name, family, run(family, features, label, repeats))


if __name__ == "__main__":
    main()
