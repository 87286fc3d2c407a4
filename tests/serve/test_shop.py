"""The shop that the service is tested on is what `tests/serve/project.py` says of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from tenure.app.stream import open_stream
from tenure.score.table import published_runs, read_scores
from tenure.store.hybrid import read_hybrid
from tests.serve.project import AS_OF, SCORED, SILENT, STRANGER, Shop


def test_the_shop_has_a_champion_scores_and_states(shop: Shop) -> None:
    place = shop.place()
    assert place.registry().aliases() == {"champion": "v1", "challenger": "v2"}
    [run] = published_runs(place.database())
    assert (run.as_of, run.model_version) == (AS_OF, "v1")
    assert list(read_scores(place.database(), [SCORED, SILENT, STRANGER])) == [SCORED]
    later = AS_OF + timedelta(days=1)
    before = _silences(shop, later)
    assert [days is not None for days in before] == [True, True, False]
    shop.order(SCORED, "2025-10-28T10:00:00Z")
    after = _silences(shop, later)
    assert after == [14 / 24, *before[1:]]


def _silences(shop: Shop, as_of: datetime) -> list[object]:
    with open_stream(shop.place()) as (stream, features):
        rows = read_hybrid(
            stream.store, features, stream.rules.layout, [SCORED, SILENT, STRANGER], as_of, lambda: as_of
        )
        return [row.values["order_days_since_last"] for row in rows]
