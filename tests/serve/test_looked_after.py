"""What looks find is told as it is: a refused version, an outage, one that has passed, another batch.

A service looks after itself, and so does a plain scorer.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure import Project
from tenure.app.scorer import ahead_of
from tenure.app.scoring import score
from tenure.app.serve import open_service
from tenure.app.stream import bootstrap, open_stream
from tenure.core.errors import ConfigError, StateError, UnavailableError
from tenure.score.hybrid import HybridScorer
from tenure.score.live import LiveModel
from tenure.score.served import Ask, ServedScore
from tenure.serve.service import Service
from tests.redis_server import RedisServer
from tests.redis_server import running as answering
from tests.serve.project import AS_OF, SCORED, Shop
from tests.serve.running import until
from tests.serve.sealed import promote


def count(service: Service, series: str) -> float:
    """A sample of the metrics, 0 where there is none."""
    lines = service.metrics.text().decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), 0.0)


def test_a_version_that_is_refused_is_no_look_that_failed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    done, failed = (f'tenure_refreshes_total{{result="{one}"}}' for one in ("done", "failed"))
    place = shop.place({("serve", "refresh_seconds"): 0.02})
    with open_service(place) as service:
        with (place.workspace / "versions" / "v2" / "calibration.json").open("ab") as calibration:
            calibration.write(b" ")
        promote(place, "v2")
        until(lambda: count(service, "tenure_versions_refused_total") == 1)
        looks = count(service, done)
        until(lambda: count(service, done) > looks + 3)
        assert "the new version could not be looked at" in service.ready().reason
        assert count(service, failed) == 0

        def busy(*_: Any) -> Any:
            raise StateError("The database is busy.")

        monkeypatch.setattr("tenure.app.champion.wanted", busy)
        until(lambda: count(service, failed) > 0)


def open_a_breaker(service: Service) -> None:
    """Let the first model of the version that serves fail until it is left alone."""
    assert isinstance(service.scorer, HybridScorer)
    model = service.scorer.model
    assert isinstance(model, LiveModel)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            model.relay.guards[0].call(lambda: 1 // 0)


def test_a_breaker_ends_with_the_model_behind_it(shop: Shop) -> None:
    state, turns = 'tenure_breaker_state{name="xgboost"}', 'tenure_breaker_turns_total{name="xgboost",state="open"}'
    place = shop.place({("serve", "refresh_seconds"): 0.02})
    with open_service(place) as service:
        open_a_breaker(service)
        assert count(service, turns) == 1
        assert count(service, state) == 2
        until(lambda: count(service, state) == 1)
        ready = service.ready()
        assert (ready.dependencies["xgboost"], ready.dependencies["logistic"]) == ("half_open", "closed")
        assert ready.reason == "xgboost did not answer and is about to be tried again"
        promote(place, "v2")
        until(lambda: "xgboost" not in service.ready().dependencies)
        until(lambda: count(service, state) == 0)


def test_a_store_that_is_away_at_the_start_is_used_once_it_answers(shop: Shop, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    own: dict[tuple[str, ...], Any] = {
        ("serve", "refresh_seconds"): 0.02,
        ("serve", "budget_seconds"): 5.0,
        ("store", "online"): redis.url,
    }
    place = shop.place(own)

    def live() -> ServedScore:
        [found] = service.scorer.score([Ask(SCORED, "realtime")])
        assert isinstance(found, ServedScore)
        return found

    with open_service(place, ahead=ahead_of(place, AS_OF)) as service, ExitStack() as stack:
        assert service.ready().ready
        assert "store" in live().degraded_because
        assert live().source == "stale"
        until(lambda: "store does not answer" in service.ready().reason)
        stack.enter_context(answering(redis))
        with open_stream(place) as (stream, features):
            bootstrap(place, stream, features, AS_OF)
        until(lambda: not live().degraded_because)
        assert live().source == "realtime"
        until(lambda: service.ready().reason == "")


def test_a_store_that_is_none_is_refused_at_the_start(shop: Shop) -> None:
    with (
        pytest.raises(ConfigError, match="scheme 'carrier'"),
        open_service(shop.place({("store", "online"): "carrier://pigeon"})),
    ):
        pass


def test_a_log_that_failed_is_not_called_silent_for_ever(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError("no space left on device")

    event = {"type": "order", "customer_id": SCORED, "time": AS_OF.isoformat(), "amount": 1.0}
    with open_service(shop.place({("serve", "refresh_seconds"): 0.02})) as service:
        intake = service.intake
        assert intake is not None
        with monkeypatch.context() as patch:
            patch.setattr("tenure.source.log_sqlite.SqliteLog.append", full)
            for _ in range(3):
                with pytest.raises(StateError):
                    intake.submit([event]).result()
            assert "log" in service.ready().reason
        until(lambda: service.ready().dependencies["log"] == "half_open")
        until(lambda: count(service, 'tenure_breaker_state{name="log"}') == 1)
        assert "log does not answer" not in service.ready().reason
        assert intake.submit([event]).result().accepted == 1
        assert service.ready().dependencies["log"] == "closed"


def test_a_plain_scorer_notices_another_batch_and_another_version(shop: Shop) -> None:
    place = shop.place({("serve", "refresh_seconds"): 0.02, ("serve", "budget_seconds"): 60})

    def answered() -> ServedScore:
        [found] = scorer.score([Ask(SCORED, "batch")])
        assert isinstance(found, ServedScore)
        return found

    with Project(place).scorer() as scorer:
        assert answered().features_as_of == AS_OF
        later = AS_OF + timedelta(hours=1)
        score(place, later)
        until(lambda: answered().features_as_of == later)
        assert answered().model_version == "v1"
        promote(place, "v2")
        until(lambda: scorer.model.name == "v2")
