"""tenure's default against the defaults of XGBoost, LightGBM and CatBoost and against logistic regression.

Two public tables, Telco and Iranian churn without its copies, and a generated one of a telecom's size and noise. Every
learner is trained on the same rows of repeated stratified folds (three times three for the public tables) with the
settings it comes with, categories and gaps given in the way its documentation recommends, and judged on the same held
out rows: ROC AUC, observed over expected churners, and the incremental profit of contacting from the threshold that the
settings' money fixes beforehand, as a share of the most that any threshold could have earned on those very rows.

Differences are paired by fold; their intervals know that folds share training rows (Nadeau and Bengio 2003).

    python bench/quality.py                      # all of it: about 20 minutes on two cores
    python bench/quality.py --scale 0.1          # one fold, and a tenth of the generated rows
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import xgboost as xgb
from scipy import stats
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tenure.core.settings import ModelSettings, ValueSettings
from tenure.model.frame import Frame, equal_rows
from tenure.model.train import learn
from tenure.testing.telecom import ROWS, telecom
from tenure.value.max_profit import max_profit
from tenure.value.threshold import t_star

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDS = REPEATS = 3
VALUE = ValueSettings()
Flags = npt.NDArray[np.bool_]
Learner = Callable[[pa.Table, Flags, pa.Table, int], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Outcome:
    """One learner on one fold."""

    auc: float
    log_loss: float
    observed_expected: float
    profit_share: float
    seconds: float


def tenure_default(train: pa.Table, label: Flags, test: pa.Table, threads: int) -> npt.NDArray[np.float64]:
    frame = Frame.of(equal_rows(train), label, train)
    return learn(frame, ModelSettings(), threads=threads).predict(test)


def xgboost_default(train: pa.Table, label: Flags, test: pa.Table, threads: int) -> npt.NDArray[np.float64]:
    first, second = _categorical(train, test)
    model = xgb.XGBClassifier(n_jobs=threads, enable_categorical=True).fit(first, label)
    return np.asarray(model.predict_proba(second)[:, 1], dtype=np.float64)


def lightgbm_default(train: pa.Table, label: Flags, test: pa.Table, threads: int) -> npt.NDArray[np.float64]:
    from lightgbm import LGBMClassifier

    first, second = _categorical(train, test)
    model = LGBMClassifier(n_jobs=threads, verbose=-1).fit(first, label)
    return np.asarray(model.predict_proba(second))[:, 1]


def catboost_default(train: pa.Table, label: Flags, test: pa.Table, threads: int) -> npt.NDArray[np.float64]:
    from catboost import CatBoostClassifier

    first, second = (_texts(table) for table in (train, test))
    texts = [name for name in first if not pd.api.types.is_numeric_dtype(first[name])]
    model = CatBoostClassifier(thread_count=threads, verbose=0, cat_features=texts, allow_writing_files=False)
    return np.asarray(model.fit(first, label).predict_proba(second))[:, 1]


def logistic(train: pa.Table, label: Flags, test: pa.Table, _threads: int) -> npt.NDArray[np.float64]:
    first, second = (_texts(table) for table in (train, test))
    texts = [name for name in first if not pd.api.types.is_numeric_dtype(first[name])]
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    both = make_column_transformer(
        (numbers, [name for name in first if name not in texts]), (OneHotEncoder(handle_unknown="ignore"), texts)
    )
    model = make_pipeline(both, LogisticRegression(max_iter=1000)).fit(first, label)
    return np.asarray(model.predict_proba(second)[:, 1], dtype=np.float64)


LEARNERS: Mapping[str, Learner] = {
    "tenure": tenure_default,
    "catboost": catboost_default,
    "lightgbm": lightgbm_default,
    "xgboost": xgboost_default,
    "logistic": logistic,
}


def _texts(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "missing").astype(str)
    return frame


def _categorical(train: pa.Table, test: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    first, second = train.to_pandas(), test.to_pandas()
    for name in first:
        if not pd.api.types.is_numeric_dtype(first[name]):
            kind = pd.CategoricalDtype(sorted(set(first[name].dropna())))
            second[name] = second[name].where(second[name].isin(kind.categories))  # unseen ones become gaps
            first[name], second[name] = first[name].astype(kind), second[name].astype(kind)
    return first, second


def tables(scale: float) -> Iterator[tuple[str, pa.Table, Flags]]:
    if DATA.is_dir():
        found = pd.read_csv(DATA / "telco.csv").drop(columns="rownames")
        yield "telco", pa.Table.from_pandas(found.drop(columns="churn")), (found["churn"] == "Yes").to_numpy()
        found = pd.read_csv(DATA / "iranian.csv").drop_duplicates()
        columns = pa.Table.from_pandas(found.drop(columns="Churn"), preserve_index=False)
        yield "iranian", columns, (found["Churn"] == 1).to_numpy()
    else:
        print(f"Skipped telco and iranian: there is no folder {DATA}.")
    rows = max(3_000, round(ROWS * min(scale, 1.0)))
    yield f"telecom, generated, {rows:,} rows", *telecom(rows)


def judge(label: Flags, probability: npt.NDArray[np.float64], seconds: float) -> Outcome:
    value, rate = float(VALUE.clv), VALUE.save_rates[0]
    costs = {"save_rate": rate, "incentive_cost": VALUE.incentive_cost, "contact_cost": VALUE.contact_cost}
    earned = np.where(label, rate * (value - VALUE.incentive_cost), -VALUE.incentive_cost) - VALUE.contact_cost
    threshold = t_star(value, **costs)
    best = len(label) * max_profit(label, probability, clv=value, **costs).per_customer
    return Outcome(
        auc=float(roc_auc_score(label, probability)),
        log_loss=float(log_loss(label, probability)),
        observed_expected=float(label.sum() / probability.sum()),
        profit_share=float(earned[probability >= threshold].sum() / best),
        seconds=seconds,
    )


def run(table: pa.Table, label: Flags, folds: int, learners: Mapping[str, Learner], threads: int) -> dict[str, Any]:
    splitter = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in learners}
    for train, test in list(splitter.split(np.zeros(len(label)), label))[:folds]:
        for name, learner in learners.items():
            began = time.perf_counter()
            probability = learner(table.take(train), label[train], table.take(test), threads)
            outcomes[name].append(judge(label[test], probability, time.perf_counter() - began))
    return outcomes


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a mean over folds that share training rows; unknown from one fold."""
    if len(values) < 2:
        return np.nan, np.nan
    error = values.std(ddof=1) * np.sqrt(1 / len(values) + 1 / (FOLDS - 1))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return values.mean() - reach, values.mean() + reach


def show(name: str, outcomes: Mapping[str, list[Outcome]]) -> None:
    folds = len(outcomes["tenure"])
    print(f"\n{name}: {folds} of {FOLDS * REPEATS} folds")
    print(f"{'':10}{'AUC':>8} {'tenure less this, 95 %':>26}{'log loss':>10}{'O/E':>8}{'profit/MPC':>12}{'seconds':>9}")
    own = np.array([outcome.auc for outcome in outcomes["tenure"]])
    for learner, found in outcomes.items():
        auc = np.array([outcome.auc for outcome in found])
        low, high = interval(own - auc)
        lead = "" if learner == "tenure" else f"{np.mean(own - auc):+.4f} [{low:+.4f}, {high:+.4f}]"
        means = {key: np.mean([getattr(one, key) for one in found]) for key in Outcome.__dataclass_fields__}
        print(
            f"{learner:10}{means['auc']:8.4f} {lead:>26}{means['log_loss']:10.4f}{means['observed_expected']:8.3f}"
            f"{means['profit_share']:12.4f}{means['seconds']:9.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1: nine folds, and 51,000 generated rows in three")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tables", nargs="*", help="names of tables, by how they begin; default: all")
    parser.add_argument("--learners", nargs="*", choices=list(LEARNERS), help="beside tenure; default: all installed")
    options = parser.parse_args()
    wanted = options.learners or [name for name in LEARNERS if name == "logistic" or importlib.util.find_spec(name)]
    learners = {name: LEARNERS[name] for name in dict.fromkeys(["tenure", *wanted])}
    for name in set(LEARNERS) - set(learners):
        print(f"Left out: {name}.")
    folds = max(1, round(options.scale * FOLDS * REPEATS))
    for name, table, label in tables(options.scale):
        if not options.tables or name.startswith(tuple(options.tables)):
            most = FOLDS if name.startswith("telecom") else folds
            show(name, run(table, label, min(folds, most), learners, options.threads))


if __name__ == "__main__":
    main()
