"""What is counted, and what never becomes a series."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tenure.core.time import EPOCH
from tenure.score.served import Cause, ServedScore, Source
from tenure.serve.gate import Finished
from tenure.serve.metrics import AGES, Metrics
from tenure.serve.series import Counts, Registry, forget_worker, shared_counts
from tests.architecture.tree import ROOT


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample that is not zero, by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.value
    }


def served(source: Source, *causes: Cause, version: str = "v1") -> ServedScore:
    return ServedScore(
        "c1", 0.2, "contact", 1.0, None, None, None, None, version, None, source, None, EPOCH, tuple(causes)
    )


def test_scores_count_one_by_one_as_they_do_together() -> None:
    scores = [served("batch"), served("stale", "store", "expired"), served("batch"), served("batch", version="v2")]
    one_by_one, together = Metrics(), Metrics()
    for score in scores:
        one_by_one.scored(score)
    together.scored_many(scores)
    counted = {name: value for name, value in values(together).items() if "worker" not in name}
    assert counted == {name: value for name, value in values(one_by_one).items() if "worker" not in name}
    assert counted == {
        "tenure_predictions_total['batch', 'v1']": 2,
        "tenure_predictions_total['batch', 'v2']": 1,
        "tenure_predictions_total['stale', 'v1']": 1,
        "tenure_degraded_total['store']": 1,
        "tenure_degraded_total['expired']": 1,
    }


def test_what_a_caller_wrote_never_becomes_a_series() -> None:
    metrics = Metrics()
    for n in range(50):
        metrics.finished(Finished(f"VERB{n}", "", 404, 0.001, None, f"r{n}"))
    text = metrics.text().decode()
    assert 'tenure_requests_total{method="OTHER",route="(none)",status="404"} 50.0' in text
    assert "VERB" not in text


def test_levels_follow_what_is_now() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.turned("store", "closed")
    metrics.turned("store", "open")
    metrics.turned("store", "open")
    metrics.turned("store", "half_open")
    metrics.serves("v1", "champion")
    metrics.serves("v2", "champion")
    metrics.began()
    found = values(metrics)
    assert found["tenure_breaker_state['store']"] == 1
    assert found["tenure_breaker_turns_total['open', 'store']"] == 1
    assert found["tenure_serving['champion', 'v2']"] == 1
    assert "tenure_serving['champion', 'v1']" not in found
    for _ in range(15):
        metrics.began()
    assert values(metrics)["tenure_requests_in_flight[]"] == 16
    for _ in range(16):
        metrics.ended()
    assert "tenure_requests_in_flight[]" not in values(metrics)


def test_a_breaker_that_is_no_more_does_not_stay_open() -> None:
    metrics = Metrics()
    metrics.turned("xgboost", "open")
    metrics.turned("log", "open")
    metrics.breakers({"logistic": "closed", "log": "half_open"})
    found = values(metrics)
    states = {name: found.get(f"tenure_breaker_state['{name}']", 0) for name in ("xgboost", "logistic", "log")}
    assert states == {"xgboost": 0, "logistic": 0, "log": 1}


def test_the_log_says_once_that_a_dependency_is_away_and_once_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    for state in ("closed", "open", "open", "half_open", "open", "half_open", "closed"):
        metrics.turned("cache", state)
    told = [(one.message, vars(one)["dependency"]) for one in caplog.records]
    assert told == [("A dependency does not answer.", "cache"), ("A dependency answers again.", "cache")]


@given(st.lists(st.floats(0, 1e7)))
def test_many_observations_fall_into_the_buckets_that_one_each_would(ages: list[float]) -> None:
    metrics = Metrics()
    metrics.fresh(ages)
    found = values(metrics)
    for bound in (*AGES, float("inf")):
        name = "+Inf" if bound == float("inf") else str(bound)
        assert found.get(f"tenure_feature_age_seconds_bucket['{name}']", 0) == sum(age <= bound for age in ages)
    assert found.get("tenure_feature_age_seconds_sum[]", 0) == pytest.approx(sum(ages))


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.looked_up("cache", 1, 2)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(count)
    found = values(metrics)
    assert found["tenure_lookups_total['cache', 'yes']"] == 16_000
    assert found["tenure_lookups_total['cache', 'no']"] == 32_000


COUNTING = """
import sys
from tenure.serve.metrics import Metrics
from tenure.serve.series import take_place
take_place(int(sys.argv[1]))
metrics = Metrics()
metrics.serves("v" + sys.argv[1], None)
metrics.looked_up("cache", int(sys.argv[2]), 0)
metrics.fresh([2.0] * int(sys.argv[2]))
sys.stdout.write(metrics.text().decode())
sys.stdout.flush()
import os
os._exit(9)  # as if it were killed: nothing is closed
"""


def count_elsewhere(place: int, found: int) -> str:
    """What a worker says after it has counted, and died."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", COUNTING, str(place), str(found)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def test_a_successor_goes_on_counting_where_a_dead_worker_stopped() -> None:
    with shared_counts() as folder:
        count_elsewhere(0, 3)
        said = count_elsewhere(1, 4)
        assert 'tenure_lookups_total{found="yes",where="cache"} 7.0' in said
        assert "tenure_feature_age_seconds_count 7.0" in said
        assert "tenure_workers 2.0" in said
        files = {path.name for path in folder.iterdir()}
        forget_worker(0, folder)
        said = count_elsewhere(0, 5)
        assert 'tenure_lookups_total{found="yes",where="cache"} 12.0' in said
        assert "tenure_workers 2.0" in said
        assert 'tenure_serving{alias="(none)",version="v0"} 1.0' in said
        forget_worker(0, folder)
        forget_worker(1, folder)
        assert {path.name for path in folder.iterdir()} < files
    assert not folder.exists()


def test_counts_are_shared_only_where_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    registry = Registry()
    Counts(registry, "tenure_demo", "Things.", ()).add((), 2)
    assert b"tenure_demo_total 2.0" in registry.text()
    assert list(tmp_path.iterdir()) == []
