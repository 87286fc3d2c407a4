"""A running service says nothing about whom it was asked, nor with which key: everything it wrote is searched."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tenure.serve.keys import create_key
from tests.serve.project import SCORED, SILENT, Shop
from tests.serve.running import started

SECRET = "Zorro4711"  # noqa: S105
CUSTOMERS = (SCORED, SILENT, SECRET)


def hostile(client: httpx.Client, token: str) -> list[int]:
    """Secrets in every place that a request has; the statuses of the answers."""
    event = {"type": "order", "customer_id": SECRET, "time": "2025-10-27T12:00:00Z", "amount": 3.0}
    key = {"authorization": f"Bearer {token}"}
    asked = [
        *(client.get(f"/v1/score/{customer}", params={"explain": "true"}, headers=key) for customer in CUSTOMERS),
        client.get(f"/v1/customers/{SECRET}", headers=key),
        client.get(f"/{SECRET}/{SECRET}", params={SECRET: SECRET}, headers=key),
        client.get(f"/v1/score/{SCORED}", params={"mode": SECRET}, headers=key),
        client.get(f"/v1/score/{SCORED}", headers={"authorization": f"Bearer {SECRET}"}),
        client.get(f"/v1/score/{SCORED}", headers={"x-api-key": token[:-3] + SECRET[:3]}),
        client.get(f"/v1/score/{SCORED}", headers=key | {"x-request-id": token}),
        client.get(f"/v1/score/{SCORED}", headers=key | {"user-agent": SECRET, "cookie": SECRET, "referer": SECRET}),
        client.request("PROPFIND", f"/{SECRET}", headers=key),
        client.post("/v1/score", json={"customer_id": SECRET, SECRET: 1}, headers=key),
        client.post("/v1/score", json={"customer_id": SECRET, "features": {SECRET: SECRET}}, headers=key),
        client.post("/v1/scores", json={"requests": [{"customer_id": one} for one in CUSTOMERS]}, headers=key),
        client.post("/v1/score", content=f'{{"customer_id": "{SECRET}'.encode(), headers=key),
        client.post("/v1/score", content=b"\xff" + SECRET.encode(), headers=key | {"content-type": "application/json"}),
        client.post("/v1/events", json={"events": [event]}, headers=key | {"idempotency-key": SECRET}),
        client.post("/v1/events", json={"events": [event | {"type": SECRET}, {SECRET: SECRET}]}, headers=key),
    ]
    return [answer.status_code for answer in asked]


def test_nothing_that_a_service_writes_names_a_customer_or_shows_a_key(shop: Shop, tmp_path: Path) -> None:
    _, token = create_key(shop.place().database(), "crm", ["admin"])
    command = ["-m", "tenure", "serve", "--port", "0", "--config", str(shop.config), "--json"]
    command += ["--set", "serve.drain_seconds=0", "--set", "serve.log_share=1"]
    with started(tmp_path, command) as service:
        with httpx.Client(base_url=service.url) as client:
            statuses = hostile(client, token)
        assert service.stop() == 0
        lines = service.lines
    assert {200, 401, 404, 422} <= set(statuses)
    assert [line["status"] for line in lines if line["message"] == "request"] == statuses
    written = service.log.read_text(encoding="utf-8")
    for secret in (SECRET, SECRET.lower(), SCORED, SILENT, token, token.rpartition("_")[2], "PROPFIND"):
        assert secret not in written
    for line in lines:
        assert json.dumps(line).count("tenure_") == 0
