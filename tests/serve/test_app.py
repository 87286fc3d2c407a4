"""The application as a whole: what operators ask, what is described, and that answers are what the description says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route

from tenure.serve.roles import POLICY
from tenure.serve.service import Readiness
from tenure.serve.worker import Door
from tests.serve.asgi import ask
from tests.serve.caller import Caller, calling
from tests.serve.project import SCORED, SILENT, STRANGER

JSON = "application/json"
PROBLEM = "application/problem+json"
READY = {"$ref": "#/components/schemas/ReadyAnswer"}


@pytest.fixture(scope="module")
def document(caller: Caller) -> dict[str, Any]:
    answer = caller.get("/openapi.json")
    assert answer.headers["content-type"] == JSON
    return dict(answer.json())


def schema_at(document: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """A schema with the components that it may refer to."""
    return {**reference, "components": document["components"]}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def expect_conforming(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """An answer has a status, a type and a shape that the description knows."""
    described = document["paths"][path][method.lower()]["responses"][str(answer.status_code)]
    media = answer.headers["content-type"].partition(";")[0]
    schema = described["content"][media]["schema"]
    if media != "text/plain":
        jsonschema_rs.validator_for(schema_at(document, schema)).validate(answer.json())


def test_the_process_lives_and_is_ready(caller: Caller) -> None:
    assert caller.get("/livez").json() == {"status": "ok"}
    ready = caller.get("/readyz")
    assert (ready.status_code, ready.json()["ready"], ready.json()["version"]) == (200, True, "v1")
    assert set(ready.json()["dependencies"].values()) == {"closed"}


def test_who_is_not_ready_says_so_and_why(caller: Caller) -> None:
    not_ready = Readiness(False, None, None, {"database": "open"}, "No version is loaded.")
    with calling(replace(caller.service, ready=lambda: not_ready)) as other:
        answer = other.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reason"] == "No version is loaded."
        assert other.get("/livez").status_code == 200


def test_who_is_being_stopped_says_so_as_every_answer_is_given(caller: Caller, document: dict[str, Any]) -> None:
    told: list[int] = []
    with calling(caller.service, finished=[lambda done: told.append(done.status)]) as other:
        door = Door(other.app)
        ready = ask(door, "GET", "/readyz")
        door.is_closing = True
        closing = ask(door, "GET", "/readyz")
        assert (ready.status, closing.status) == (200, 503)
        assert closing.document["reason"] == "This process is being stopped."
        jsonschema_rs.validator_for(schema_at(document, READY)).validate(closing.document)
        assert closing.head.keys() == ready.head.keys() >= {"x-request-id", "x-content-type-options"}
        assert ask(door, "GET", "/livez").status == 200
    assert told == [200, 503, 200]


def test_what_runs_is_told(caller: Caller) -> None:
    about = caller.get("/version").json()
    assert (about["version"], about["alias"], about["family"]) == ("v1", "champion", "xgboost")
    assert "order_count_14d" in about["features"]


def test_metrics_are_text(caller: Caller) -> None:
    answer = caller.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# TYPE tenure_requests_total counter" in answer.text


def test_the_policy_and_the_routes_are_the_same(caller: Caller) -> None:
    routes = [(route.path, route.methods or ()) for route in caller.app.api.routes if isinstance(route, Route)]
    assert len(routes) == len(caller.app.api.routes)
    assert {(method, path) for path, methods in routes for method in methods if method != "HEAD"} == set(POLICY)


def test_every_route_but_the_description_is_described(document: dict[str, Any]) -> None:
    described = {(method, path) for method, path, _ in operations(document)}
    assert described == set(POLICY) - {("GET", "/docs"), ("GET", "/openapi.json")}


def test_the_description_is_valid_and_refers_to_what_is_there(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    text = json.dumps(document)
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        schema = document["components"]["schemas"][name]
        jsonschema_rs.meta.validate(schema)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, path, operation in operations(document):
        placed = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
        assert placed == {part.strip("{}") for part in path.split("/") if part.startswith("{")}
        assert operation["summary"]
        assert operation["description"]


def test_every_example_is_of_its_schema(document: dict[str, Any]) -> None:
    seen = 0
    for _, _, operation in operations(document):
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (content for part in parts for content in part.get("content", {}).values()):
            if "example" in content:
                jsonschema_rs.validator_for(schema_at(document, content["schema"])).validate(content["example"])
                seen += 1
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                jsonschema_rs.validator_for(parameter["schema"]).validate(parameter["example"])
                seen += 1
    assert seen > 10
    shown = [
        (name, example)
        for name, schema in document["components"]["schemas"].items()
        for example in schema.get("examples", ())
    ]
    for name, example in shown:
        jsonschema_rs.validator_for(schema_at(document, {"$ref": f"#/components/schemas/{name}"})).validate(example)
    assert {name for name, _ in shown} == {"ScoreRequest", "ScoresRequest", "EventsRequest"}


@pytest.mark.parametrize(
    ("method", "path", "asked", "options"),
    [
        ("GET", "/v1/score/{customer_id}", f"/v1/score/{SCORED}", {}),
        ("GET", "/v1/score/{customer_id}", f"/v1/score/{SCORED}?explain=true&mode=realtime", {}),
        ("GET", "/v1/score/{customer_id}", f"/v1/score/{STRANGER}", {}),
        ("GET", "/v1/score/{customer_id}", f"/v1/score/{SCORED}?mode=slow", {}),
        ("POST", "/v1/score", "/v1/score", {"json": {"customer_id": SILENT}}),
        ("POST", "/v1/score", "/v1/score", {"json": {"features": {"age": 1}}}),
        ("POST", "/v1/score", "/v1/score", {"content": b"{", "headers": {"content-type": JSON}}),
        ("POST", "/v1/score", "/v1/score", {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        ("POST", "/v1/score", "/v1/score", {"json": {"features": {"age": "x" * 1_100_000}}}),
        ("POST", "/v1/scores", "/v1/scores", {"json": {"requests": [{"customer_id": SCORED}, {"customer_id": ".."}]}}),
        ("POST", "/v1/scores", "/v1/scores", {"json": {"requests": 3}}),
        ("GET", "/v1/customers/{customer_id}", f"/v1/customers/{SCORED}", {}),
        ("GET", "/v1/customers/{customer_id}", f"/v1/customers/{STRANGER}", {}),
        ("POST", "/v1/events", "/v1/events", {"json": {"events": [{"type": "order"}]}}),
        ("POST", "/v1/events", "/v1/events", {"json": {"events": []}}),
        ("GET", "/livez", "/livez", {}),
        ("GET", "/readyz", "/readyz", {}),
        ("GET", "/version", "/version", {}),
        ("GET", "/metrics", "/metrics", {}),
    ],
)
def test_answers_are_what_the_description_says(
    caller: Caller, document: dict[str, Any], method: str, path: str, asked: str, options: dict[str, Any]
) -> None:
    answer = caller.ask(method, asked, **options)
    expect_conforming(document, method, path, answer)
    assert (answer.headers["content-type"] == PROBLEM) == (answer.status_code >= 400)


def test_a_service_may_leave_the_description_out(caller: Caller) -> None:
    settings = caller.service.settings.model_copy(update={"docs": False})
    with calling(replace(caller.service, settings=settings)) as other:
        for path in ("/docs", "/openapi.json"):
            answer = other.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert "/docs" not in answer.text
            assert other.post(path, json={}).status_code == 404
        assert other.get(f"/v1/score/{SCORED}").status_code == 200


def test_who_is_lost_is_shown_the_description(caller: Caller) -> None:
    assert caller.get("/nothing").json()["hint"] == "/docs shows what there is."


def test_others_may_be_told_of_every_answer(caller: Caller) -> None:
    told: list[tuple[str, int]] = []
    with calling(caller.service, finished=[lambda done: told.append((done.template, done.status))]) as other:
        other.get(f"/v1/score/{STRANGER}")
        other.get("/nothing")
    assert told == [("/v1/score/{customer_id}", 404), ("", 404)]
