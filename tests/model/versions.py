"""Small trained versions for tests: mixed columns, missing values, every family, sealed in a folder."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tenure.core.errors import ArtifactError
from tenure.core.time import fixed_clock, parse_instant
from tenure.features.declare import Attribute, Feature, FeatureSet
from tenure.model.artifact import Draft, load_version, write_version
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.evaluate import judge
from tenure.model.families import find_family
from tenure.model.manifest import MANIFEST, Cutoffs, Manifest
from tenure.model.parts import Parts
from tenure.model.protocol import Choice, Examples
from tenure.model.seal import measure

CLOCK = fixed_clock("2026-02-03T04:05:06.789")
CHOICES: dict[str, Choice] = {"xgboost": {"rounds": 12, "max_depth": 3}, "logistic": {"C": 0.1}}
FEATURES = FeatureSet(
    events=(Feature("login", "count"), Feature("pay", "sum", "amount")),
    attributes=(Attribute("plan", "text"), Attribute("shop", "text"), Attribute("same", "number")),
    tenure=True,
)
ROWS = 600


@cache
def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Raw feature rows: counts, sums with missing values, two texts with missing values, a column that never varies."""
    random = np.random.default_rng(seed)
    plans = random.choice(["basic", "plus", "naïve", ""], rows)
    shops = random.integers(0, 14, rows)
    return pa.table({
        "login_count": random.poisson(4, rows),
        "pay_amount_sum": pa.array(random.gamma(2, 30, rows), mask=random.random(rows) < 0.2),
        "tenure_days": pa.array(random.uniform(0, 900, rows), mask=random.random(rows) < 0.05),
        "plan": pa.array(plans.tolist(), mask=random.random(rows) < 0.1),
        "shop": pa.array([f"S{shop}" for shop in shops], mask=random.random(rows) < 0.1),
        "same": np.ones(rows),
    })  # fmt: skip


@cache
def label(rows: int = ROWS, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each row of `table` was lost: mostly those who rarely logged in."""
    logins = table(rows, seed).column("login_count").to_numpy()
    return np.asarray(np.random.default_rng(seed + 1).random(rows) < 1 / (1 + np.exp(logins - 3)))


@cache
def parts(family: str = "xgboost", calibration: Calibration | None = None) -> Parts:
    """A trained model with its encoder."""
    encoder = Encoder.fit(table())
    examples = Examples(encoder.transform(table()), label(), np.arange(ROWS), encoder.layout)
    model = find_family(family).fit(examples, CHOICES[family], seed=0, threads=1)
    return Parts(family, FEATURES, encoder, model, calibration or Calibration("sigmoid", slope=0.9, intercept=-0.1))


@cache
def draft(family: str = "xgboost") -> Draft:
    """Everything that a version of `family` is made of."""
    made = parts(family)
    customers = pa.array([f"c{row}" for row in range(ROWS)])
    judgement = judge(family, "model", "test", label(), made.predict(table()), customers, threshold=0.5, repeats=20)
    cutoffs = Cutoffs((parse_instant("2025-10-01"), parse_instant("2025-11-01")), (), (parse_instant("2026-01-01"),))
    settings = {"project": {"database": "postgresql+psycopg://ana:hush@db/churn"}}
    return Draft(made, (judgement,), table(), "fingerprint", cutoffs, 0.25, settings, "<!doctype html><title>v</title>")


def write(folder: Path, family: str = "xgboost") -> str:
    """A sealed version; gives the hash of its manifest."""
    return write_version(folder, draft(family), CLOCK)


def forge(folder: Path, family: str | None = None) -> str:
    """Write a manifest that agrees with whatever the folder holds now, as somebody would who knows how."""
    before = Manifest.from_json((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).unlink()
    after = Manifest(**(vars(before) | {"files": measure(folder), "family": family or before.family}))
    (folder / MANIFEST).write_bytes(after.to_json())
    return hashlib.sha256(after.to_json()).hexdigest()


def registered(folder: Path) -> str:
    """What the registry would say the manifest hashes to."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def refusal(folder: Path, manifest_sha256: str | None = None) -> str:
    """Require that the version is refused; give the reason."""
    with pytest.raises(ArtifactError) as caught:
        load_version(folder, manifest_sha256)
    assert caught.value.hint
    return caught.value.message
