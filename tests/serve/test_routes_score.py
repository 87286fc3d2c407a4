"""Scores over HTTP: by id, for features, and many at once; and what is wrong with a request, by its place."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import quote

import pytest

from tenure.score.served import Ask
from tests.serve.caller import Caller
from tests.serve.project import SCORED, SILENT, STRANGER

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def features(caller: Caller) -> dict[str, Any]:
    """A customer's features, as a caller would send them."""
    known = caller.get(f"/v1/customers/{SCORED}").json()["features"]
    names = caller.service.about().features
    return {name: known[name] for name in names}


def post(caller: Caller, body: str | bytes, path: str = "/v1/score") -> tuple[int, dict[str, Any]]:
    answer = caller.post(path, content=body, headers=JSON)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(("query", "source"), [("", "batch"), ("?mode=batch", "batch"), ("?mode=realtime", "realtime")])
def test_a_customer_is_scored_by_id_in_every_mode(caller: Caller, query: str, source: str) -> None:
    answer = caller.get(f"/v1/score/{SCORED}{query}")
    score = answer.json()
    assert (answer.status_code, score["customer_id"], score["source"], score["degraded"]) == (
        200,
        SCORED,
        source,
        False,
    )
    assert score["model_version"] == "v1"
    assert score["alias"] == "champion"
    assert score["reasons"] is None
    assert 0 < score["probability"] < 1


def test_what_is_posted_is_what_is_asked_by_id(caller: Caller) -> None:
    for mode in ("auto", "batch", "realtime"):
        by_id = caller.get(f"/v1/score/{SCORED}", params={"mode": mode}).json()
        posted = caller.post("/v1/score", json={"customer_id": SCORED, "mode": mode}).json()
        different = {"inference_id", "computed_at", "features_as_of"}
        assert {name: value for name, value in posted.items() if name not in different} == {
            name: value for name, value in by_id.items() if name not in different
        }
        assert posted["inference_id"] > by_id["inference_id"]


def test_an_id_with_a_slash_is_asked_for_in_a_body(caller: Caller) -> None:
    by_path = caller.get("/v1/score/shop%2F17")
    assert (by_path.status_code, by_path.json()["field"]) == (404, "path")
    status, posted = post(caller, '{"customer_id": "shop/17"}')
    assert (status, posted["field"]) == (404, "customer_id")  # it was looked for, and nobody has heard of it


def test_whoever_has_no_precomputed_score_is_scored_live_and_then_from_the_cache(caller: Caller) -> None:
    assert caller.get(f"/v1/score/{SILENT}?mode=batch").status_code == 404
    first, second = (caller.get(f"/v1/score/{SILENT}").json() for _ in range(2))
    assert first["source"] in {"realtime", "cache"}  # another test may have asked before
    assert second["source"] == "cache"
    assert first["probability"] == second["probability"]


def test_reasons_come_where_they_are_asked_for(caller: Caller) -> None:
    score = caller.get(f"/v1/score/{SCORED}?mode=realtime&explain=true").json()
    assert score["reasons"]
    assert {*score["reasons"][0]} == {"feature", "value", "usual", "contribution", "effect", "text"}
    effects = [abs(reason["effect"]) for reason in score["reasons"]]
    assert effects == sorted(effects, reverse=True)
    assert caller.get(f"/v1/score/{SCORED}?explain=true").json()["reasons"]


def test_features_of_the_caller_are_scored_as_the_customers_own(caller: Caller, features: dict[str, Any]) -> None:
    own = caller.get(f"/v1/score/{SCORED}?mode=realtime").json()
    for given in ({"features": features}, {"features": features, "customer_id": SCORED, "mode": "batch"}):
        score = caller.post("/v1/score", json=given).json()
        assert score["probability"] == pytest.approx(own["probability"], abs=1e-3)  # the clock has gone on
        assert score["source"] == "realtime"
        assert score["features_as_of"] is None
        assert score["customer_id"] == given.get("customer_id")


def test_features_may_be_missing_but_not_left_out_or_misspelt(caller: Caller, features: dict[str, Any]) -> None:
    name = next(iter(features))
    assert caller.post("/v1/score", json={"features": features | {name: None}}).status_code == 200
    without = {key: value for key, value in features.items() if key != name}
    for given in (without, without | {f"{name}x": 1.0}, features | {name: "text"}):
        answer = caller.post("/v1/score", json={"features": given})
        assert answer.status_code == 422
        assert answer.json()["field"] in {f"features.{name}", f"features.{name}x"}


def test_an_unknown_customer_is_not_found(caller: Caller) -> None:
    answer = caller.get(f"/v1/score/{STRANGER}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == "customer_id"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_many_are_answered_in_their_order_each_with_a_score_or_an_error(
    caller: Caller, features: dict[str, Any]
) -> None:
    requests = [
        {"customer_id": SCORED},
        {"customer_id": STRANGER},
        {"customer_id": 7},
        {"features": features, "explain": True},
        {"customer_id": SCORED, "mood": "batch"},
        {"features": {**features, next(iter(features)): 1e308}},
        ["not", "an", "object"],
        {},
        {"customer_id": SILENT, "mode": "realtime"},
        {"features": {"nothing": 1}},
    ]
    answer = caller.post("/v1/scores", json={"requests": requests})
    results = answer.json()["results"]
    assert (answer.status_code, answer.json()["scored"], answer.json()["failed"]) == (200, 3, 7)
    assert [result.get("source") or result["status"] for result in results] == [
        "batch", 404, 422, "realtime", 422, 422, 422, 422, "realtime", 422,
    ]  # fmt: skip
    places = {result["index"]: result["field"] for result in results if "status" in result}
    assert places == {
        1: "requests[1].customer_id",
        2: "requests[2].customer_id",
        4: "requests[4].mood",
        5: f"requests[5].features.{next(iter(features))}",
        6: "requests[6]",
        7: "requests[7]",
        9: "requests[9].features.nothing",
    }


def test_a_thousand_are_answered_and_one_more_is_refused(caller: Caller) -> None:
    requests = [{"customer_id": SCORED, "mode": "realtime"}] * 1_000
    answer = caller.post("/v1/scores", json={"requests": requests})
    assert answer.json()["scored"] == 1_000
    assert len({result["inference_id"] for result in answer.json()["results"]}) == 1_000
    refused = caller.post("/v1/scores", json={"requests": [*requests, {"customer_id": SCORED}]})
    assert (refused.status_code, refused.json()["field"]) == (422, "requests")
    assert caller.post("/v1/scores", json={"requests": []}).json()["field"] == "requests"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"customer_id": 7}', "customer_id"),
        ('{"customer_id": ["c1"]}', "customer_id"),
        ('{"customer_id": "c1", "mode": "fast"}', "mode"),
        ('{"customer_id": "c1", "mode": null}', "mode"),
        ('{"customer_id": "c1", "explain": "true"}', "explain"),
        ('{"customer_id": "c1", "explain": 1}', "explain"),
        ('{"customer_id": null}', "body"),
        ('{"explain": true}', "body"),
        ("{}", "body"),
        ("[]", "body"),
        ("null", "body"),
        ('"c1"', "body"),
        ('{"features": []}', "features"),
        ('{"features": {"age": [1]}}', "features.age"),
        ('{"features": {"age": {"years": 1}}}', "features.age"),
        ('{"features": {"age": NaN}}', "features.age"),
        ('{"features": {"age": Infinity}}', "features.age"),
        ('{"features": {"age": -Infinity}}', "features.age"),
        ('{"features": {"age": 1e308}}', "features.age"),
        ('{"features": {"age": -1e308}}', "features.age"),
        ('{"features": {"age": 1e400}}', "features.age"),
        ('{"features": {"age": 1' + "0" * 60 + "}}", "features.age"),
        ('{"features": {"age": 1' + "0" * 400 + "}}", "features.age"),
        ('{"features": {"b": 1.5, "age": NaN, "c": 2' + "0" * 400 + "}}", "features.age"),
        ('{"features": {"total spend": NaN}}', 'features["total spend"]'),
        ('{"customer_id": "c1", "customer_id": "c2"}', "customer_id"),
        ('{"features": {"age": 1, "b": ":", "age": 1}}', "features.age"),
        ('{"customer_id": ""}', "customer_id"),
        ('{"customer_id": "' + "c" * 201 + '"}', "customer_id"),
        ('{"customer_id": "../secret"}', "customer_id"),
        ('{"customer_id": "a/../../b"}', "customer_id"),
        (r'{"customer_id": "a\\..\\b"}', "customer_id"),
        ('{"customer_id": ".."}', "customer_id"),
        (r'{"customer_id": "a\u0000b"}', "customer_id"),
        (r'{"customer_id": "a\nb"}', "customer_id"),
        (r'{"customer_id": "a\u0085b"}', "customer_id"),
        (r'{"customer_id": "a\u2028b"}', "customer_id"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(caller: Caller, body: str, field: str) -> None:
    status, problem = post(caller, body)
    assert (status, problem["field"]) == (422, field)
    assert field in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"customer_id": "c1"', b"{'customer_id': 'c1'}", b'{"customer_id": "c1"} x', b"\xff\xfe{}",
        b'{"customer_id": "\xff"}', b'{"customer_id": "\xed\xa0\x80"}', br'{"customer_id": "\ud800"}',
        b'{"features": {"age": 01}}', b'{"features": {"age": 1' + b"0" * 5_000 + b"}}", b"{,}", b'{"a" 1}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_told_so(caller: Caller, body: bytes) -> None:
    status, problem = post(caller, body)
    assert status in {400, 422}
    assert problem["field"] in {"body", "features.age"}


def test_an_unknown_key_is_refused_with_the_nearest_known_one(caller: Caller) -> None:
    _, problem = post(caller, '{"customer_id": "c1", "explian": true}')
    assert (problem["field"], problem["hint"]) == ("explian", "Did you mean 'explain'?")
    _, problem = post(caller, '{"request": [{"customer_id": "c1"}]}', "/v1/scores")
    assert problem["field"] in {"request", "requests"}
    answer = caller.get(f"/v1/score/{SCORED}?mod=batch")
    assert (answer.status_code, answer.json()["field"], answer.json()["hint"]) == (422, "mod", "Did you mean 'mode'?")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("mode=fast", "mode"), ("mode=", "mode"), ("explain=perhaps", "explain"), ("mode=auto&mode=batch", "mode"),
        ("explain", "explain"), ("mode=%ff", "query"), ("x" * 3_000 + "=1", None), ("&".join(["a=1"] * 200), "query"),
    ],
)  # fmt: skip
def test_a_wrong_query_is_named(caller: Caller, query: str, field: str | None) -> None:
    answer = caller.get(f"/v1/score/{SCORED}?{query}")
    assert answer.status_code == 422
    assert field is None or answer.json()["field"] == field


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/score", {"customer_id": SCORED}),
        ("/v1/scores", {"requests": [{"customer_id": SCORED}]}),
        ("/v1/events", {"events": [{}]}),
        (f"/v1/customers/{SCORED}", None),
    ],
)
def test_a_wish_in_a_query_that_nobody_reads_is_refused(
    caller: Caller, route: str, body: dict[str, Any] | None
) -> None:
    answer = caller.get(f"{route}?explain=true") if body is None else caller.post(f"{route}?explain=true", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["field"], problem["hint"]) == (422, "explain", "Leave it out.")


@pytest.mark.parametrize("name", ["..", "a\x00b", "a\nb", "a\x7fb", "c" * 201, "a\u2028b", "\\..\\"])
def test_a_wrong_id_in_the_path_is_named(caller: Caller, name: str) -> None:
    for route in ("score", "customers"):
        answer = caller.get(f"/v1/{route}/{quote(name, safe='').replace('.', '%2e')}")
        assert (answer.status_code, answer.json()["field"]) == (422, "customer_id")


@pytest.mark.parametrize("path", ["/v1/score/a%2f..%2fb", "/v1/score/%ff", "/v1/score/", "/v1/score/a/b"])
def test_a_path_that_leads_elsewhere_is_not_followed(caller: Caller, path: str) -> None:
    assert caller.get(path).status_code in {404, 422}


def test_ids_may_hold_what_people_write(caller: Caller) -> None:
    for name in ("Müller-Lüdenscheidt", "a b", "日本", "c..1", "o'brien", "x@y.example", "1%2"):
        answer = caller.get(f"/v1/score/{quote(name, safe='')}")
        assert (answer.status_code, answer.json()["field"]) == (404, "customer_id")
        assert name in answer.json()["detail"]


def test_answers_hold_no_number_that_json_does_not_have(caller: Caller, features: dict[str, Any]) -> None:
    missing = dict.fromkeys(features)
    answer = caller.post("/v1/score", json={"features": missing, "explain": True})
    assert answer.status_code == 200

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    assert math.isfinite(json.loads(answer.content, parse_constant=refuse)["probability"])


def test_requests_at_the_same_time_get_their_own_answers(caller: Caller) -> None:
    names = [f"c{n:03}" for n in range(80)]
    answers = caller.together([("GET", f"/v1/score/{name}", {"params": {"mode": "realtime"}}) for name in names])
    alone = {name: caller.service.scorer.score([Ask(name, "realtime")])[0] for name in names}
    for name, answer in zip(names, answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["customer_id"] == name
            assert answer.json()["probability"] == pytest.approx(getattr(alone[name], "probability", -1), abs=1e-3)
    assert sum(answer.status_code == 200 for answer in answers) > 40


def test_scores_are_counted_by_version_and_source(caller: Caller) -> None:
    def counted(series: str) -> float:
        lines = caller.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))

    scores = 'tenure_predictions_total{source="batch",version="v1"}'
    requests = 'tenure_requests_total{method="GET",route="/v1/score/{customer_id}",status="200"}'
    before = counted(scores), counted(requests)
    caller.get(f"/v1/score/{SCORED}")
    caller.post("/v1/scores", json={"requests": [{"customer_id": SCORED}] * 3})
    assert (counted(scores), counted(requests)) == (before[0] + 4, before[1] + 1)
