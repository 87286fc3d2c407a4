"""A plain table is served, too: what was precomputed by id, and whatever is sent."""

from __future__ import annotations

from pathlib import Path

from tenure.app.place import Place
from tenure.app.scoring import score
from tenure.app.serve import open_service
from tenure.app.training import train_version
from tests.cli.world import TABLE, customers, write_project
from tests.serve.caller import calling


def test_a_plain_table_is_served(tmp_path: Path) -> None:
    place = Place.load(write_project(tmp_path, TABLE, table_parquet=customers()), {("serve", "budget_seconds"): 60})
    train_version(place)
    score(place)
    with open_service(place) as service, calling(service) as caller:
        kept = caller.get("/v1/score/k7").json()
        assert (kept["source"], kept["model_version"], kept["degraded"]) == ("batch", "v1", False)
        assert caller.get("/v1/score/k7?mode=batch").json()["probability"] == kept["probability"]
        live = caller.get("/v1/score/k7?mode=realtime")
        assert live.status_code == 422
        assert "features" in live.text
        assert caller.get("/v1/score/nobody").status_code == 404

        sent = {"features": {"visits": 1, "spend": 3.5, "plan": "pro"}, "explain": True}
        given = caller.post("/v1/score", json=sent).json()
        assert (given["source"], given["customer_id"], given["degraded"]) == ("realtime", None, False)
        assert {reason["feature"] for reason in given["reasons"]} == {"visits", "spend", "plan"}

        ready = caller.get("/readyz").json()
        assert ready["ready"]
        assert not {"store", "log"} & set(ready["dependencies"])
        assert caller.get("/version").json()["features"] == ["visits", "spend", "plan"]
        assert caller.get("/v1/customers/k7").status_code in {404, 422}
        assert caller.post("/v1/events", json={"events": [{"type": "x"}]}).status_code in {404, 422}
