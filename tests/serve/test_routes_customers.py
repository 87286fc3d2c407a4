"""A customer over HTTP: their features now, and an event that was posted a moment ago among them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tenure.app.stream import consume_all, open_stream
from tenure.core.errors import StateError
from tenure.store.hybrid import OnlineRows
from tests.serve.caller import Caller, calling, serving
from tests.serve.project import AS_OF, SCORED, STRANGER, Shop


@pytest.fixture(scope="module")
def module_shop(built_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = Path(shutil.copytree(built_shop.folder, tmp_path_factory.mktemp("customers") / "shop"))
    return Shop(folder / built_shop.config.name)


@pytest.fixture(scope="module")
def caller(module_shop: Shop) -> Iterator[Caller]:
    with serving(module_shop) as opened:
        yield opened


def test_a_posted_event_is_among_what_is_known(caller: Caller, module_shop: Shop) -> None:
    before = known(caller)
    event = {"type": "order", "customer_id": SCORED, "time": AS_OF.isoformat(), "amount": 500.0}
    assert caller.post("/v1/events", json={"events": [event]}).status_code == 200
    assert known(caller)["newest_event_at"] == before["newest_event_at"]
    with open_stream(module_shop.place()) as (stream, _):
        consume_all(stream)
    after = known(caller)
    assert after["newest_event_at"] == "2025-10-28T00:00:00.000001Z"
    assert after["features"]["order_count_28d"] == before["features"]["order_count_28d"] + 1
    assert after["score"]["probability"] == before["score"]["probability"]  # of the last batch, which knows nothing


def known(caller: Caller) -> dict[str, Any]:
    answer = caller.get(f"/v1/customers/{SCORED}")
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["customer_id"], found["events"]) == (200, SCORED, "online")
    assert (found["degraded"], found["degraded_because"]) == (False, [])
    assert found["score"]["source"] in {"batch", "stale"}
    assert list(found["features"]) == list(caller.service.about().features)
    return found


def test_who_is_not_known_is_not_found(caller: Caller) -> None:
    answer = caller.get(f"/v1/customers/{STRANGER}")
    assert (answer.status_code, answer.json()["field"]) == (404, "customer_id")
    for customer in ("..", "a/../b", "a\nb", "x" * 201, "\x00"):
        answer = caller.get(f"/v1/customers/{quote(customer, safe='')}")
        assert answer.status_code in {404, 422}


def test_a_project_without_states_says_so(caller: Caller) -> None:
    with calling(replace(caller.service, customer=None)) as plain:
        assert plain.get(f"/v1/customers/{SCORED}").status_code == 404


def test_a_store_that_does_not_answer_about_customers_is_shown_to_operators(
    module_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(module_shop, refresh_seconds=3_600.0) as caller:
        assert known(caller)

        def fails(*_: object) -> None:
            raise StateError("The store does not answer.")

        monkeypatch.setattr(OnlineRows, "read", fails)
        for _ in range(3):
            found = caller.get(f"/v1/customers/{SCORED}").json()
            assert (found["features"], found["degraded_because"]) == (None, ["store"])
        assert caller.get("/readyz").json()["dependencies"]["store"] == "open"
        assert 'tenure_breaker_state{name="store"} 2.0' in caller.get("/metrics").text


@pytest.mark.parametrize("path", ["/v1/events", "/v1/customers/{customer_id}"])
def test_the_description_holds_what_is_answered(caller: Caller, path: str) -> None:
    document = caller.get("/openapi.json").json()
    (operation,) = document["paths"][path].values()
    for status in (200, 404, 422, 503):
        (content,) = operation["responses"][str(status)]["content"].values()
        assert content["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    names = [parameter["name"] for parameter in operation["parameters"]]
    assert names == (["Idempotency-Key"] if path == "/v1/events" else ["customer_id"])
