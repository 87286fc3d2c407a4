"""Nothing that is not let in on purpose reaches an application behind the gate."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from fastapi import FastAPI

from tenure.core.database import open_database
from tenure.serve.gate import Admitted, Gate
from tenure.serve.keys import KeyRing, StoredKey, create_key, revoke_key
from tenure.serve.limits import Limiter
from tenure.serve.roles import POLICY, PUBLIC, Routes, UnsuitablePathError
from tests.serve.asgi import Message, ask
from tests.serve.gated import JSON, Behind, World, is_problem, open_gate


@pytest.fixture
def world() -> World:
    return World()


# Who is let in.


@pytest.mark.parametrize(
    ("name", "words"), [("Authorization", "Bearer {}"), ("authorization", "bearer  {} "), ("X-API-Key", "{}")]
)
def test_a_right_key_is_let_in(world: World, name: str, words: str) -> None:
    app = Behind()
    answer = ask(world.gate(app), "GET", "/v1/score/c1", {name: words.format(world.keys["score"][1])})
    assert (answer.status, answer.body, answer.head["x-own"]) == (200, b"own", "1")
    assert app.reached == [
        Admitted(answer.head["x-request-id"], world.keys["score"][0], "/v1/score/{customer_id}", b"")
    ]


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer tenure_0123456789ab_x"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": ""},
        {"x-api-key": ""},
        {"x-api-key": "ü"},
        {"cookie": "key"},
    ],
)
def test_whoever_shows_no_right_key_learns_nothing(world: World, shown: dict[str, str]) -> None:
    app = Behind()
    gate = world.gate(app)
    wrong = [
        ask(gate, "GET", "/v1/score/c1", shown),
        ask(gate, "POST", "/v1/score", shown, b"[" * 10_000),
        ask(gate, "PATCH", "/v1/score", shown),
        ask(gate, "GET", "/nowhere", shown),
        ask(gate, "GET", "/metrics", shown),
    ]
    assert all(is_problem(answer, 401) and answer.head["www-authenticate"].startswith("Bearer") for answer in wrong)
    assert len({answer.document["detail"] for answer in wrong}) == 1
    assert app.reached == []
    assert {told.key_id for told in world.told} == {None}


def test_a_key_in_the_query_is_no_key(world: World) -> None:
    token = world.keys["score"][1].encode()
    assert ask(world.gate(Behind()), "GET", "/v1/score/c1", query_string=b"key=" + token).status == 401


def test_authorization_is_not_overruled_by_another_header(world: World) -> None:
    shown = {"authorization": "Bearer wrong", "x-api-key": world.keys["score"][1]}
    assert ask(world.gate(Behind()), "GET", "/v1/score/c1", shown).status == 401


def test_a_revoked_key_is_refused_after_the_next_look(world: World) -> None:
    gate = world.gate(Behind())
    revoke_key(world.engine, world.keys["score"][0].id)
    statuses = [ask(gate, "GET", "/v1/score/c1", world.bearer()).status]
    world.ring.refresh()
    statuses.append(ask(gate, "GET", "/v1/score/c1", world.bearer()).status)
    assert statuses == [200, 401]


@pytest.mark.parametrize("scheme", ["Basic dXNlcjpwYXNz", "Digest username=x", ""])
def test_a_key_beside_another_scheme_is_found(world: World, scheme: str) -> None:
    """A proxy that wants a password of its own leaves that in the request."""
    shown = {"authorization": scheme, "x-api-key": world.keys["score"][1]}
    assert ask(world.gate(Behind()), "GET", "/v1/score/c1", shown).status == 200
    assert ask(world.gate(Behind()), "GET", "/v1/score/c1", shown | {"x-api-key": "wrong"}).status == 401


def test_a_role_is_needed(world: World) -> None:
    app = Behind()
    answer = ask(world.gate(app), "GET", "/v1/score/c1", world.bearer("events"))
    assert is_problem(answer, 403)
    assert "score" in answer.document["hint"]
    assert app.reached == []
    assert ask(world.gate(app), "GET", "/v1/score/c1", world.bearer("admin")).status == 200


def test_health_needs_no_key(world: World) -> None:
    app = Behind()
    assert ask(world.gate(app), "GET", "/livez", {"authorization": "Bearer wrong"}).status == 200
    assert app.reached[0].key is None
    assert ask(world.gate(app), "POST", "/livez").status == 401


# What is reached.


def with_everything() -> FastAPI:
    """An API to which somebody has added more than the policy knows."""
    api = FastAPI()

    @api.get("/v1/score/{customer_id}")
    @api.get("/v1/secret")
    @api.post("/v1/score/{customer_id}/forget")
    @api.get("/v1/score/")
    @api.get("/livez/deep")
    async def unlisted() -> str:
        return "reached"

    @api.websocket("/v1/live")
    async def live(socket: Any) -> None:
        await socket.accept()

    inner = FastAPI()
    inner.add_api_route("/{rest:path}", unlisted)
    api.mount("/admin", inner)
    api.mount("/livez", inner)
    return api


UNLISTED = [
    ("GET", "/v1/secret"), ("POST", "/v1/score/c1/forget"), ("GET", "/v1/score/"), ("GET", "/livez/deep"),
    ("GET", "/admin"), ("GET", "/admin/"), ("GET", "/admin/x"), ("GET", "/livez/"), ("GET", "/livez/x"),
    ("GET", "/openapi.json/"), ("GET", "//v1/score/c1"), ("GET", "/v1/score/c1/"), ("GET", "/V1/score/c1"),
    ("GET", "/docs/oauth2-redirect"), ("GET", "/redoc"), ("GET", ""), ("GET", "*"), ("GET", "/v1/score/a/b"),
    ("GET", "/v1/score/../../admin/x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), UNLISTED)
def test_what_the_policy_does_not_name_is_not_reached(world: World, method: str, path: str) -> None:
    gate = world.gate(with_everything())
    assert ask(gate, "GET", "/v1/score/c1", world.bearer()).body == b'"reached"'
    assert is_problem(ask(gate, method, path, JSON, b"{}"), 401)
    assert is_problem(ask(gate, method, path, world.bearer("admin") | JSON, b"{}"), 404)
    assert is_problem(ask(open_gate(with_everything()), method, path, JSON, b"{}"), 404)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "get", "PROPFIND"])
def test_another_method_is_not_reached(world: World, method: str) -> None:
    app = Behind()
    answer = ask(world.gate(app), method, "/v1/score/c1", world.bearer())
    assert is_problem(answer, 405)
    assert answer.head["allow"] == "GET"
    assert ask(world.gate(app), method, "/v1/score/c1").status == 401
    assert app.reached == []


def test_a_websocket_is_refused(world: World) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(world.gate(with_everything())({"type": "websocket", "path": "/v1/live"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_path_that_is_judged_is_the_one_that_is_routed(world: World) -> None:
    """Under a prefix the application's router takes the prefix off; the gate must not see another path than it does."""
    gate = world.gate(with_everything())
    answer = ask(gate, "GET", "/api/v1/score/c1", world.bearer(), root_path="/api")
    assert answer.body == b'"reached"'
    assert ask(gate, "GET", "/api/admin/x", world.bearer(), root_path="/api").status == 404


def test_a_policy_whose_paths_cannot_be_told_apart_is_refused() -> None:
    for path in ("/v1/{a}/b", "/v1/a{b}", "/{a}/{b}"):
        with pytest.raises(UnsuitablePathError):
            Routes({("GET", path): PUBLIC})


def test_every_line_of_the_policy_is_found() -> None:
    routes = Routes(POLICY)
    for method, template in POLICY:
        site = routes.find(template.replace("{customer_id}", "c 1%"))
        assert site is not None
        assert (site.template, method in site.needs) == (template, True)


# Without keys.


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:80", "127.8.8.8", "[::1]:8000", "::1"]
)
def test_without_keys_this_machine_is_answered(host: str) -> None:
    app = Behind()
    assert ask(open_gate(app), "GET", "/metrics", {"host": host}).status == (200 if host != "::1" else 421)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "["],
)
def test_without_keys_another_name_is_not_answered(host: str) -> None:
    app = Behind()
    for path in ("/v1/score/c1", "/livez", "/nowhere"):
        assert is_problem(ask(open_gate(app), "GET", path, {"host": host}), 421)
    assert app.reached == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.168.0.7", "2001:db8::1"])
def test_without_keys_only_connections_to_this_machine_are_answered(address: str) -> None:
    """Even where it listens on every address, against the rules."""
    app = Behind()
    answer = ask(open_gate(app), "GET", "/v1/score/c1", server=(address, 8_000))
    is_own = address in {"127.0.0.1", "::1"}
    assert (answer.status, len(app.reached)) == ((200, 1) if is_own else (421, 0))
    assert ask(open_gate(app), "GET", "/livez", server=("/run/tenure.sock", None)).status == 200


def test_with_keys_a_service_has_any_name(world: World) -> None:
    assert ask(world.gate(Behind()), "GET", "/v1/score/c1", world.bearer() | {"host": "churn.example"}).status == 200


def test_without_keys_nobody_is_counted() -> None:
    gate = open_gate(Behind())
    assert {ask(gate, "GET", "/v1/score/c1").status for _ in range(50)} == {200}


def test_the_first_key_closes_the_service() -> None:
    stored: list[StoredKey] = []
    ring = KeyRing(lambda: list(stored))
    gate = Gate(Behind(), keys=ring, limiter=Limiter(1))
    key, token = create_key(open_database("sqlite://"), "crm", ["score"])
    statuses = [ask(gate, "GET", "/v1/score/c1").status]
    stored.append(StoredKey(key, hashlib.sha256(token.encode()).digest()))
    ring.refresh()
    statuses += [ask(gate, "GET", "/v1/score/c1", head).status for head in ({}, {"x-api-key": token})]
    assert statuses == [200, 401, 200]
