"""Events over HTTP: a result each, refusals that name the field, and one effect for one idempotency key."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.app.scorer import ahead_of, moved
from tenure.app.stream import event_schemas
from tenure.app.stream_append import project_log
from tenure.core.database import open_database
from tenure.core.time import parse_timezone
from tenure.serve.app import create_app
from tenure.serve.idempotency import IdempotencyKeys
from tenure.serve.intake import Intake
from tenure.serve.keys import KeyRing, create_key, load_keys
from tenure.serve.limits import Limiter
from tenure.serve.service import Service
from tests.serve.caller import Caller, calling, serving
from tests.serve.intakes import held
from tests.serve.listening import listening
from tests.serve.project import AS_OF, Shop

JSON = {"content-type": "application/json"}
AT_ONCE, POSTS = 40, 1_000


def order(customer: object = "c100", time: object = "2025-10-27T12:00:00Z", **more: Any) -> dict[str, Any]:
    return {"type": "order", "customer_id": customer, "time": time, "amount": 20.0} | more


@pytest.fixture(scope="module")
def module_shop(built_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = Path(shutil.copytree(built_shop.folder, tmp_path_factory.mktemp("events") / "shop"))
    return Shop(folder / built_shop.config.name)


@pytest.fixture(scope="module")
def caller(module_shop: Shop) -> Iterator[Caller]:
    with serving(module_shop) as opened:
        yield opened


def post(caller: Caller, *events: Any, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return caller.post("/v1/events", json={"events": list(events)}, headers=headers)


def appended(shop: Shop) -> int:
    with project_log(shop.place()) as log:
        return sum(end for _, end in log.bounds().values())


def test_every_event_has_its_result(caller: Caller, module_shop: Shop) -> None:
    before = appended(module_shop)
    answer = post(caller, order(), order(time="soon"), order("a/../b"), ["order"], order("7", amount=None))
    assert answer.status_code == 200
    found = answer.json()
    assert (found["accepted"], found["refused"]) == (2, 3)
    assert [one["index"] for one in found["results"]] == [0, 1, 2, 3, 4]
    assert [one.get("reason") for one in found["results"]] == [
        None,
        "unreadable time",
        "unreadable customer",
        "malformed event",
        None,
    ]
    assert [one.get("field") for one in found["results"]] == [
        None,
        "events[1].time",
        "events[2].customer_id",
        "events[3]",
        None,
    ]
    assert appended(module_shop) == before + 2
    with project_log(module_shop.place()) as log:
        place = found["results"][4]
        (batch,) = log.read(place["partition"], place["offset"], place["offset"] + 1)
        assert json.loads(batch.payloads[0]) == order("7", amount=None)


def test_where_every_event_was_refused_it_is_a_problem(caller: Caller, module_shop: Shop) -> None:
    before = appended(module_shop)
    answer = post(caller, order(time=None), order(amount="much"))
    found = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (found["status"], found["field"], found["request_id"]) == (
        422,
        "events[0].time",
        answer.headers["x-request-id"],
    )
    assert [one["reason"] for one in found["results"]] == ["missing time", "amount is not a number"]
    assert (found["accepted"], found["refused"]) == (0, 2)
    assert appended(module_shop) == before


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ('{"type": "order", "customer_id": "c1", "time": "2025-10-01", "amount": NaN}', "amount"),
        ('{"type": "order", "customer_id": "c1", "time": "2025-10-01", "amount": -Infinity}', "amount"),
        ('{"type": "order", "customer_id": "c1", "time": "2025-10-01", "amount": 1e999}', "amount"),
        ('{"type": "order", "customer_id": "c1", "time": "2025-10-01", "amount": 1e308}', "amount"),
        ('{"type": "order", "customer_id": "c1", "time": "2025-10-01", "amount": ' + "9" * 4_000 + "}", "amount"),
        ('{"type": "order", "customer_id": "c1", "time": "2025-10-01", "amount": [[1]]}', "amount"),
        ('{"type": "order", "customer_id": "../../etc/passwd", "time": "2025-10-01"}', "customer_id"),
        ('{"type": "order", "customer_id": "c\\u0000", "time": "2025-10-01"}', "customer_id"),
        ('{"type": "order", "customer_id": {"$ne": 1}, "time": "2025-10-01"}', "customer_id"),
        ('{"type": "order", "customer_id": "c1", "time": 20251001}', "time"),
        ('{"type": "order", "customer_id": "c1", "time": "2999-01-01"}', "time"),
        ('{"type": "' + "x" * 9_000 + '", "customer_id": "c1", "time": "2025-10-01"}', "type"),
    ],
)
def test_a_hostile_event_is_refused_by_name(caller: Caller, event: str, field: str) -> None:
    answer = caller.post("/v1/events", content=f'{{"events": [{event}]}}', headers=JSON)
    assert (answer.status_code, answer.json()["field"]) == (422, f"events[0].{field}")
    assert len(answer.content) < 2_000


@pytest.mark.parametrize("value", ["[]", "1e999", "1e308"])
def test_a_field_with_a_long_name_is_refused_in_few_words(caller: Caller, value: str) -> None:
    answer = caller.post("/v1/events", content=f'{{"events": [{{"{"x" * 100_000}": {value}}}]}}', headers=JSON)
    assert (answer.status_code, answer.json()["field"]) == (422, f'events[0]["{"x" * 200}"]')
    assert len(answer.content) < 3_000


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 400, "body"),
        ("[]", 422, "body"),
        ("{}", 422, "events"),
        ('{"events": []}', 422, "events"),
        ('{"events": {}}', 422, "events"),
        (json.dumps({"events": [order()] * 1_001}), 422, "events"),
        ('{"events": [{}], "event": 1}', 422, "event"),
        ('{"events": [{"type": "order", "type": "order"}]}', 422, "events[0].type"),
    ],
)
def test_a_wrong_envelope_is_refused_as_a_whole(caller: Caller, body: str, status: int, field: str) -> None:
    answer = caller.post("/v1/events", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


@pytest.mark.parametrize("key", [b"", b" ", b"k" * 201, "ü".encode(), b"a\tb"])
def test_a_key_that_cannot_be_one_is_refused(caller: Caller, key: bytes) -> None:
    for headers in ([(b"idempotency-key", key)], [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]):
        answer = caller.post("/v1/events", json={"events": [order()]}, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


def test_the_same_request_again_gets_the_first_answer(caller: Caller, module_shop: Shop) -> None:
    first = post(caller, order(), order(time="soon"), key="same body")
    before = appended(module_shop)
    again = post(caller, order(), order(time="soon"), key="same body")
    assert again.json() == first.json()
    assert ("idempotent-replay" in first.headers, again.headers["idempotent-replay"]) == (False, "true")
    other = post(caller, order(amount=21.0), key="same body")
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    assert appended(module_shop) == before


def test_what_was_taken_is_counted(caller: Caller) -> None:
    before = counted(caller)
    for _ in range(2):
        post(caller, order(), order(), order(time="soon"), key="counted")
    assert counted(caller) - before == {"accepted": 2, "refused": 1, "replayed": 3}


def counted(caller: Caller) -> Counter[str]:
    text = caller.get("/metrics").text
    return Counter({name: int(float(n)) for name, n in re.findall(r'tenure_events_total{result="(\w+)"} (\S+)', text)})


def test_keys_of_the_api_have_idempotency_keys_of_their_own(caller: Caller, module_shop: Shop) -> None:
    engine, before = open_database("sqlite://"), appended(module_shop)
    tokens = [create_key(engine, name, ["events"], None)[1] for name in ("till", "web")]
    guarded = replace(caller.service, keys=KeyRing(lambda: load_keys(engine)))
    with calling(guarded) as strict:
        for number, token in enumerate(tokens):
            headers = {"authorization": f"Bearer {token}", "idempotency-key": "k"}
            answer = strict.post("/v1/events", json={"events": [order(amount=float(number))]}, headers=headers)
            assert answer.status_code == 200
    assert appended(module_shop) == before + len(tokens)
    engine.dispose()


def test_a_plain_table_takes_no_events(caller: Caller) -> None:
    with calling(replace(caller.service, intake=None)) as without:
        assert post(without, order()).status_code == 404


@contextmanager
def another_intake(caller: Caller, shop: Shop, patience_seconds: float = 60.0) -> Iterator[tuple[Service, Engine]]:
    """The service of another process, as far as events go: it shares the files of the project and nothing else."""
    place, ahead = shop.place(), ahead_of(shop.place(), AS_OF)
    database, zone = place.database(), parse_timezone(place.settings.project.timezone)
    with project_log(place) as log:
        keys, clock = IdempotencyKeys(database), moved(place.clock, ahead)
        intake = Intake(log, event_schemas(place), zone, keys, clock, patience_seconds=patience_seconds)
        yield replace(caller.service, intake=intake), database
        intake.close()
    database.dispose()


def test_a_locked_database_or_log_is_503_and_nothing_is_appended_twice(caller: Caller, module_shop: Shop) -> None:
    before = appended(module_shop)
    file = sa.create_engine(f"sqlite:///{module_shop.folder / '.tenure/stream/log.db'}")
    sa.event.listen(file, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with another_intake(caller, module_shop, 1.0) as (service, database), calling(service) as hasty:
        told = {"database": "nothing was appended", "log": "each may be in it or not"}
        for locked, key in ((database, "database"), (file, "log")):
            with held(locked):
                answer = post(hasty, order(), key=key)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert told[key] in answer.json()["detail"]
                assert "idempotency key" in answer.json()["hint"]
            while (answer := post(hasty, order(), key=key)).status_code in {409, 503}:
                assert answer.headers["retry-after"] == "1"
            assert answer.json()["accepted"] == 1
    file.dispose()
    assert appended(module_shop) == before + 2


def test_a_thousand_posts_of_one_key_have_one_effect(caller: Caller, module_shop: Shop) -> None:
    """Over real connections, to two services that share nothing but the project."""
    body = json.dumps({"events": [order(), order("c101"), order(time="soon")]}).encode()

    async def send(client: httpx.AsyncClient, room: asyncio.Semaphore, url: str) -> tuple[int, str, str | None]:
        async with room:
            answer = await client.post(f"{url}/v1/events", content=body, headers={"idempotency-key": "1000", **JSON})
        return answer.status_code, answer.text, answer.headers.get("idempotent-replay")

    async def send_all(urls: list[str]) -> list[tuple[int, str, str | None]]:
        room = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(timeout=60.0) as client:
            return await asyncio.gather(*(send(client, room, urls[number % 2]) for number in range(POSTS)))

    before = appended(module_shop)
    with ExitStack() as stack:
        others = [stack.enter_context(another_intake(caller, module_shop))[0] for _ in range(2)]
        free = Limiter(1e6)
        urls = [stack.enter_context(listening(create_app(replace(one, limiter=free)))) for one in others]
        answers = asyncio.run(send_all(urls))
    assert appended(module_shop) == before + 2
    assert Counter(status for status, _, _ in answers) == {200: POSTS}
    assert Counter(replay for _, _, replay in answers) == {None: 1, "true": POSTS - 1}
    assert len({text for _, text, _ in answers}) == 1
