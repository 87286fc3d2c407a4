"""What may not be parsed never arrives behind the gate, and no answer says more than it should."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.requests import Request

from tenure.serve.gate import Finished, admitted
from tenure.serve.keys import create_key
from tenure.serve.limits import Limiter
from tests.serve.asgi import Answered, App, Message, ask, asking, scope_of
from tests.serve.gated import JSON, Behind, World, is_problem

SECRET = "customer c100 owes 5"  # noqa: S105 - what an exception might say


@pytest.fixture
def world() -> World:
    return World()


# How much.


def test_a_key_beyond_its_rate_is_told_when_to_come_again(world: World) -> None:
    now = 0
    gate = world.gate(Behind(), limiter=Limiter(1, now=lambda: now))
    slow, token = create_key(world.engine, "slow", ["score"], 0.25)
    world.ring.refresh()
    shown = {"x-api-key": token}
    answers = [ask(gate, "GET", "/v1/score/c1", shown), ask(gate, "GET", "/nowhere", shown)]
    assert [answer.status for answer in answers] == [200, 429]
    assert is_problem(answers[1], 429)
    assert answers[1].head["retry-after"] == "4"
    assert ask(gate, "GET", "/v1/score/c1", world.bearer()).status == 200  # another key
    now = 4_000_000_000
    assert ask(gate, "GET", "/v1/score/c1", shown).status == 200
    assert [(told.status, told.key_id) for told in world.told] == [
        (200, slow.id), (429, slow.id), (200, world.keys["score"][0].id), (200, slow.id),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "body", "status", "field"),
    [
        (JSON, b"x" * (1 << 20) + b"x", 413, "body"),
        (JSON, b"[" * 10_000, 400, "body"),
        (JSON | {"content-length": "x"}, b"{}", 400, "content-length"),
        (JSON | {"content-length": str(10 << 20)}, b"x" * (10 << 20), 413, "body"),
        ({}, b"{}", 415, "content-type"),
        ({"content-type": "text/plain"}, b"{}", 415, "content-type"),
        ({"content-type": "application/jsonp"}, b"{}", 415, "content-type"),
        (JSON | {"content-encoding": "gzip"}, b"{}", 415, "content-encoding"),
    ],
)
def test_a_body_that_may_not_be_parsed_never_arrives(
    world: World, headers: dict[str, str], body: bytes, status: int, field: str
) -> None:
    app = Behind()
    answer = ask(world.gate(app), "POST", "/v1/score", world.bearer() | headers, body)
    assert is_problem(answer, status)
    assert answer.document["field"] == field
    assert app.reached == []


@pytest.mark.parametrize("type_of", ["application/json", "Application/JSON; charset=utf-8"])
def test_a_body_arrives_whole_and_once(world: World, type_of: str) -> None:
    api = FastAPI()

    @api.post("/v1/score")
    async def echo(request: Request) -> PlainTextResponse:
        assert await request.body() == admitted(request.scope).body
        return PlainTextResponse(admitted(request.scope).body)

    body = [b'{"a"', b": ", b"\xff}"]
    answer = ask(world.gate(api), "POST", "/v1/score", world.bearer() | {"content-type": type_of}, body)
    assert (answer.status, answer.body) == (200, b'{"a": \xff}')


def test_whoever_hangs_up_is_not_answered_and_is_counted(world: World) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    asyncio.run(world.gate(Behind())(scope_of("POST", "/v1/score", world.bearer() | JSON), receive, send))
    assert [told.status for told in world.told] == [499]


def test_a_head_without_measure_is_refused(world: World) -> None:
    gate = world.gate(Behind())
    assert is_problem(ask(gate, "GET", "/v1/score/" + "x" * 9_000), 414)
    assert is_problem(ask(gate, "GET", "/livez", query_string=b"x" * 9_000), 414)
    assert is_problem(ask(gate, "GET", "/livez", {f"x-{number}": "" for number in range(100)}), 431)


# What is said.


def test_every_answer_is_named_and_guarded(world: World) -> None:
    for answer in (
        ask(world.gate(Behind()), "GET", "/v1/score/c1", world.bearer()),
        ask(world.gate(Behind()), "GET", "/v1/score/c1"),
        ask(world.gate(Behind(500)), "GET", "/livez"),
    ):
        head = answer.head
        assert head["x-content-type-options"] == "nosniff"
        assert head["x-frame-options"] == "DENY"
        assert head["cache-control"] == "no-store"
        assert head["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "strict-transport-security" not in head
        assert "access-control-allow-origin" not in head
        assert len(head["x-request-id"]) == 32
    tls = ask(world.gate(Behind(), tls=True), "GET", "/livez")
    assert tls.head["strict-transport-security"] == "max-age=31536000"
    page = ask(world.gate(Behind()), "GET", "/docs", world.bearer())
    assert "style-src" in page.head["content-security-policy"]
    assert "script" not in page.head["content-security-policy"]


NAMES = {
    "a-Z_09": True,
    "x" * 64: True,
    "x" * 65: False,
    "": False,
    "a b": False,
    "a\r\nset-cookie: x": False,
    "ü": False,
}


@pytest.mark.parametrize(("given", "taken"), NAMES.items())
def test_a_caller_may_name_a_request(world: World, given: str, taken: bool) -> None:
    answer = ask(world.gate(Behind()), "GET", "/livez", {"x-request-id": given})
    assert (answer.head["x-request-id"] == given) == taken
    assert world.told[-1].request_id == answer.head["x-request-id"]


def failing() -> FastAPI:
    api = FastAPI()

    @api.get("/v1/score/{customer_id}")
    async def broken(customer_id: str) -> str:
        raise RuntimeError(SECRET + customer_id)

    @api.get("/v1/customers/{customer_id}")
    async def late() -> StreamingResponse:
        async def pieces() -> Any:
            yield b"first"
            raise RuntimeError(SECRET)

        return StreamingResponse(pieces())

    @api.get("/version")
    async def own() -> PlainTextResponse:
        return PlainTextResponse(f"Traceback: {SECRET}", 500)

    return api


def bare_failing() -> App:
    async def app(*_: Any) -> None:
        raise RuntimeError(SECRET)

    return app


@pytest.mark.parametrize(
    ("make", "path"), [(failing, "/v1/score/c100"), (failing, "/version"), (bare_failing, "/v1/score/c1")]
)
def test_a_failure_is_told_by_its_request_id_alone(
    world: World, make: Callable[[], App], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(world.gate(make()), "GET", path, world.bearer())
    assert is_problem(answer, 500)
    assert set(answer.document) == {"type", "title", "status", "detail", "request_id"}
    assert SECRET.encode() not in answer.body
    (record,) = [record for record in caplog.records if record.name == "tenure.serve"]
    assert record.getMessage() == "A request failed."
    assert record.__dict__["request_id"] == answer.head["x-request-id"]
    assert record.__dict__["route"] == world.told[-1].template
    assert (record.exc_info is None) == (path == "/version")


def test_an_answer_that_breaks_off_is_left_broken(world: World, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(world.gate(failing()), "GET", "/v1/customers/c1", world.bearer())
    assert (answer.status, answer.body) == (200, b"first")
    assert "A request failed." in caplog.text


def test_whoever_counts_cannot_break_an_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []

    def breaks(_: Finished) -> None:
        raise RuntimeError

    gate = world.gate(Behind(), finished=[breaks], ended=[lambda: ended.append(1)], began=[lambda: ended.append(0)])
    assert ask(gate, "GET", "/livez").status == 200
    assert ended == [0, 1]
    assert "A request failed." in caplog.text


def test_what_is_counted_names_nobody(world: World) -> None:
    ask(
        world.gate(Behind()),
        "GET",
        "/v1/score/c100",
        world.bearer() | {"x-request-id": "r1"},
        query_string=b"mode=batch",
    )
    ask(world.gate(Behind()), "GET", "/v1/secret/c100", world.bearer())
    (listed, unlisted) = world.told
    assert listed[:3] + listed[4:] == ("GET", "/v1/score/{customer_id}", 200, world.keys["score"][0].id, "r1")
    assert listed.seconds > 0
    assert unlisted[:3] == ("GET", "", 404)


def test_no_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    token = world.keys["score"][1]
    with caplog.at_level(logging.DEBUG):
        for shown in (token, token[:-1] + "x", "tenure_" + token):
            ask(world.gate(failing()), "GET", "/version", {"x-api-key": shown})
    assert caplog.records
    assert token[20:50] not in caplog.text
    assert token[20:50] not in json.dumps([record.__dict__ for record in caplog.records], default=str)


def test_many_at_once_are_not_mixed_up(world: World) -> None:
    """Every one gets its own id, key and body, however their messages interleave."""
    app = Behind()
    gate = world.gate(app)

    async def all_at_once() -> list[Answered]:
        return await asyncio.gather(
            *(
                asking(
                    gate, "POST", "/v1/score", world.bearer(role) | JSON | {"x-request-id": f"r{n}"},
                    [b'{"n":', f"{n}".encode(), b"}"],
                )
                for n in range(200)
                for role in [("score", "events", "admin")[n % 3]]
            )
        )  # fmt: skip

    answers = asyncio.run(all_at_once())
    assert [answer.status for answer in answers] == [200, 403, 200] * 66 + [200, 403]
    assert all(answer.head["x-request-id"] == f"r{n}" for n, answer in enumerate(answers))
    reached = {found.request_id: found for found in app.reached}
    for number in range(0, 200, 3):
        assert reached[f"r{number}"].body == f'{{"n":{number}}}'.encode()
        assert reached[f"r{number}"].key == world.keys["score"][0]
