"""Events that are posted are in the log once, however many post them at once, and whatever is locked meanwhile."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest
import sqlalchemy as sa

from tenure.core.database import open_database
from tenure.core.errors import StateError
from tenure.serve.idempotency import Claim, IdempotencyKeys, KeyReusedError, UnderWayError, idempotency
from tenure.serve.logs import JsonLines
from tenure.serve.taken import Taken
from tests.serve.intakes import PATIENT, Wrapped, again, held, opened, paid, payloads, take

SOON = 0.3  # seconds after which these tests give up waiting for what cannot come


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENT
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_every_event_has_its_result(tmp_path: Path) -> None:
    items = [
        paid(1),
        "p2",
        paid(3, time="2026-01-31T12:05:01Z"),
        paid(4, amount=math.nan),
        paid(5, amount=math.inf),
        paid(6, amount=1e308),
        paid(7, amount=10**5_000),
        paid(8, customer_id="a/../b"),
        paid(9, id="\n"),
        paid(10, id="a\nb"),
        paid(11, customer_id="x" * 201),
        paid(12, customer_id="\ud800"),
        paid(13, type="x" * 1_000),
        paid(14, amount={"a": [10**5_000]}),
        paid(14, customer_id=10**5_000),
        paid(14, time=[[]]),
        paid(14, customer_id=15),
        paid(15, amount=-2),
    ]
    with opened(tmp_path) as (intake, log):
        taken = intake.submit(items).result()
        assert (taken.accepted, taken.refused, taken.replayed) == (2, 16, False)
        kept = [json.loads(payload)["id"] for payload in payloads(log)]
        assert sorted(kept) == ["p1", "p15"]
        for at in (0, -1):
            place = taken.results[at]
            assert place.partition is not None
            assert place.offset is not None
            (batch,) = log.read(place.partition, place.offset, place.offset + 1)
            assert json.loads(batch.payloads[0])["id"] == items[at]["id"]  # type: ignore[index]
    assert [(one.reason, one.field) for one in taken.results[1:-1]] == [
        ("malformed event", None),
        ("time in the future", "time"),
        ("amount is not finite", "amount"),
        ("amount is not finite", "amount"),
        ("amount out of range", "amount"),
        ("amount is not finite", "amount"),
        ("unreadable customer", "customer_id"),
        ("missing id", "id"),
        ("unreadable id", "id"),
        ("customer is too long", "customer_id"),
        ("unreadable customer", "customer_id"),
        ("unknown type", "type"),
        ("unreadable amount", "amount"),
        ("customer_id is not finite", "customer_id"),
        ("unreadable time", "time"),
        ("unreadable customer", "customer_id"),
    ]
    assert all(len(one.detail or "") <= 201 for one in taken.results)


def test_without_a_key_a_repeated_request_appends_again(tmp_path: Path) -> None:
    with opened(tmp_path) as (intake, log):
        assert [take(intake, paid(1)).replayed for _ in range(2)] == [False, False]
        assert len(payloads(log)) == 2


def test_with_a_key_it_gets_the_first_answer(tmp_path: Path) -> None:
    items = [paid(1), paid(2, time="soon")]
    with opened(tmp_path) as (intake, log):
        first = take(intake, *items, key="k")
        assert take(intake, *items, key="k") == first.again()
        with pytest.raises(KeyReusedError):
            take(intake, paid(2), key="k")
        assert take(intake, paid(3), key="k", caller="till").accepted == 1
    with opened(tmp_path) as (intake, log):  # another process, or the same after a restart
        assert take(intake, *items, key="k") == first.again()
        assert len(payloads(log)) == 2


def test_a_request_without_effect_does_not_use_its_key_up(tmp_path: Path) -> None:
    with opened(tmp_path) as (intake, _):
        assert take(intake, paid(1, time="soon"), key="k").accepted == 0
        corrected = take(intake, paid(1), key="k")
        assert (corrected.accepted, corrected.replayed) == (1, False)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_a_thousand_posts_of_one_key_have_one_effect(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A thousand threads, shared by three intakes that know of each other through the database alone."""
    url = "sqlite:///tenure.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    everybody, found, items = Barrier(1_000), [], [paid(1), paid(2), paid(3, time="soon")]
    with ExitStack() as stack:
        intakes = [stack.enter_context(opened(tmp_path, url=url)) for _ in range(3)]

        def post(number: int) -> None:
            everybody.wait()
            found.append(take(intakes[number % 3][0], *items, key="k"))

        threads = [Thread(target=post, args=(number,)) for number in range(1_000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(payloads(intakes[0][1])) == 2
    assert Counter(taken.replayed for taken in found) == {False: 1, True: 999}
    assert len({taken.results for taken in found}) == 1


def test_keys_that_differ_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with opened(tmp_path) as (intake, log), ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(lambda number: take(intake, paid(number), key=f"k{number}"), range(200)))
        assert all(one.accepted == 1 and not one.replayed for one in taken)
        assert len(payloads(log)) == 200


def test_another_body_is_refused_while_the_first_is_under_way(tmp_path: Path) -> None:
    reached, go_on = Event(), Event()

    def hold() -> None:
        reached.set()
        go_on.wait(PATIENT)

    with opened(tmp_path, wrap=lambda log: Wrapped(log, before=hold)) as (intake, log):
        first = intake.submit([paid(1)], caller="shop", key="k", digest=b"1")
        assert reached.wait(PATIENT)
        with pytest.raises(KeyReusedError):
            intake.submit([paid(2)], caller="shop", key="k", digest=b"2")
        with opened(tmp_path, patience_seconds=SOON) as (elsewhere, _):
            with pytest.raises(UnderWayError, match="is under way"):
                elsewhere.submit([paid(1)], caller="shop", key="k", digest=b"1").result()
            with pytest.raises(KeyReusedError):
                elsewhere.submit([paid(2)], caller="shop", key="k", digest=b"2").result()
        go_on.set()
        assert first.result(PATIENT).accepted == 1
        assert len(payloads(log)) == 1


def test_who_waits_for_another_process_keeps_nobody_from_posting(tmp_path: Path) -> None:
    """More requests than there are threads wait for keys that another process has claimed."""
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    elsewhere, keys = IdempotencyKeys(engine), [f"k{number}" for number in range(24)]
    with opened(tmp_path) as (intake, log):
        claims = [elsewhere.claim("shop", key, b"1") for key in keys]
        waiting = [intake.submit([paid(1)], caller="shop", key=key, digest=b"1") for key in keys]
        assert [take(intake, paid(number), key=f"free{number}").accepted for number in range(9)] == [1] * 9
        assert take(intake, paid(9)).accepted == 1
        assert not any(one.done() for one in waiting)
        answer = Taken.of(1, {0: (0, 7)}, ()).written()
        for claim in claims[:-1]:
            assert isinstance(claim, Claim)
            assert elsewhere.settle(claim, answer)
        assert isinstance(claims[-1], Claim)
        assert elsewhere.release(claims[-1])  # that process appended nothing
        found = [one.result(PATIENT) for one in waiting]
        assert [(one.accepted, one.replayed) for one in found] == [(1, True)] * 23 + [(1, False)]
        assert len(payloads(log)) == 11
    engine.dispose()


def test_who_waits_for_another_process_is_answered_when_the_service_stops(tmp_path: Path) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    with opened(tmp_path, patience_seconds=3_600.0) as (intake, _):
        assert IdempotencyKeys(engine).claim("shop", "k", b"1") is not None
        waiting = [intake.submit([paid(1)], caller="shop", key="k", digest=b"1") for _ in range(2)]
        intake.close()
        for one in waiting:
            with pytest.raises(UnderWayError):
                one.result(PATIENT)
    engine.dispose()


def test_who_cancels_leaves_everybody_else_alone(tmp_path: Path) -> None:
    reached, go_on = Event(), Event()

    def hold() -> None:
        reached.set()
        go_on.wait(PATIENT)

    def submit() -> Future[Taken]:
        return intake.submit([paid(1)], caller="shop", key="k", digest=b"1")

    with opened(tmp_path, wrap=lambda log: Wrapped(log, before=hold)) as (intake, log):
        first, second, third = submit(), submit(), submit()
        assert reached.wait(PATIENT)
        assert first.cancel()
        assert third.cancel()
        go_on.set()
        assert second.result(PATIENT).replayed
        assert len(payloads(log)) == 1


def test_a_locked_database_is_an_error_to_try_again_and_nothing_is_appended_twice(tmp_path: Path) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    with opened(tmp_path, patience_seconds=SOON) as (intake, log):
        with held(engine):
            with pytest.raises(StateError, match="cannot look idempotency keys up now; nothing was appended") as caught:
                take(intake, paid(1), key="k")
            assert caught.value.retryable
            assert take(intake, paid(2)).accepted == 1  # a request without a key needs no database
        # The claim that came too late is given back, whether before the next request or while that waits for it.
        retried = again(intake, paid(1), key="k")
        assert (retried.accepted, retried.replayed) == (1, False)
        assert len(payloads(log)) == 2
    engine.dispose()


def test_a_database_locked_after_appending_loses_no_answer(tmp_path: Path) -> None:
    engine, locked = open_database("sqlite:///tenure.db", root=tmp_path), ExitStack()

    def lock() -> None:
        locked.enter_context(held(engine))

    with opened(tmp_path, patience_seconds=SOON, wrap=lambda log: Wrapped(log, after=lock)) as (intake, log):
        with pytest.raises(StateError, match="each may be in it or not"):
            take(intake, paid(1), key="k")
        assert len(payloads(log)) == 1
        locked.close()
        retried = again(intake, paid(1), key="k")
        assert (retried.accepted, retried.replayed) == (1, True)
        assert len(payloads(log)) == 1
    engine.dispose()


def test_a_log_that_is_late_is_asked_once(tmp_path: Path) -> None:
    """Whoever asks again while the first append is still under way, or after it, gets the answer of the first."""
    go_on = Event()

    def hold() -> None:
        go_on.wait(PATIENT)

    with opened(tmp_path, patience_seconds=SOON, wrap=lambda log: Wrapped(log, before=hold)) as (intake, log):
        with pytest.raises(StateError, match="did not confirm the events"):
            take(intake, paid(1), key="k")
        with pytest.raises(UnderWayError):
            take(intake, paid(1), key="k")
        go_on.set()
        assert again(intake, paid(1), key="k").replayed
        assert len(payloads(log)) == 1


def test_a_log_that_fails_gives_the_key_back(tmp_path: Path) -> None:
    broken = Event()

    def fail() -> None:
        if broken.is_set():
            raise StateError("The disk /srv/secret is full.")

    with opened(tmp_path, wrap=lambda log: Wrapped(log, before=fail)) as (intake, log):
        broken.set()
        for _ in range(4):
            with pytest.raises(StateError) as caught:
                take(intake, paid(1), key="k")
            assert caught.value.retryable
            assert "secret" not in str(caught.value)
        assert "takes no events now" in caught.value.message  # a breaker is open: it was not even asked
        assert intake.states() == {"log": "open", "keys": "closed"}
        broken.clear()
        retried = again(intake, paid(1), key="k")
        assert (retried.accepted, retried.replayed) == (1, False)
        assert len(payloads(log)) == 1
        assert intake.states()["log"] == "closed"


def test_why_events_were_not_taken_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise StateError("c4711 is on a disk that is full.") from OSError("c4711")

    with opened(tmp_path, wrap=lambda log: Wrapped(log, before=fail)) as (intake, _), pytest.raises(StateError):
        take(intake, paid(1), key="k")
    (record,) = caplog.records
    line = json.loads(JsonLines(None).format(record))
    assert line["message"] == "Posted events were not taken."
    assert (line["dependency"], line["reason"]) == ("log", "failed")
    assert (line["error"], line["causes"]) == ("unavailable", ["state", "OSError"])
    assert "c4711" not in str(line)


def test_what_is_kept_of_a_refusal_is_short(tmp_path: Path) -> None:
    refused = paid(2, **{"x" * 100_000: []}), paid(3, **{"\ud800": []})
    with opened(tmp_path) as (intake, _):
        taken = take(intake, paid(1), *refused, key="k")
        assert taken.results[1].reason == f"unreadable {'x' * 189}…"
        assert taken.results[1].field == "x" * 200 + "…"
        assert (taken.results[2].reason, taken.results[2].field) == ("unreadable ?", "?")
        assert len(taken.written()) < 1_000


def test_a_claim_that_ran_out_is_not_acted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped between claiming and appending: somebody else may have appended since."""
    with opened(tmp_path) as (intake, log):
        monkeypatch.setattr(intake, "_lease_seconds", 0.0)
        with pytest.raises(StateError):
            take(intake, paid(1), key="k")
        assert payloads(log) == []


def test_all_old_keys_are_swept_by_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    old = {"digest": b"1", "token": "", "claimed_at": "2020", "leased_until": "2020", "answer": b"[]"}
    with engine.begin() as connection:
        connection.execute(sa.insert(idempotency), [{"caller": "shop", "key": f"{at}", **old} for at in range(5)])
    monkeypatch.setattr("tenure.serve.idempotency._BITE", 2)
    with opened(tmp_path) as (intake, _):
        monkeypatch.setattr("tenure.serve.intake._SWEEP_SECONDS", 0.0)
        take(intake, paid(1), key="k")
        until(lambda: kept_keys(engine) == ["k"])
    engine.dispose()


def test_too_many_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure.serve.intake._MOST_WAITING", 2)
    go_on = Event()

    def hold() -> None:
        go_on.wait(PATIENT)

    with opened(tmp_path, wrap=lambda log: Wrapped(log, before=hold)) as (intake, log):
        waiting = [intake.submit([paid(number)]) for number in range(2)]
        for key in (None, "k"):
            with pytest.raises(StateError, match="2 requests already wait"):
                take(intake, paid(9), key=key)
        go_on.set()
        assert [one.result(PATIENT).accepted for one in waiting] == [1, 1]
        until(lambda: again(intake, paid(9), key="k").accepted == 1)
        assert len(payloads(log)) == 3


def test_a_closed_intake_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as (intake, log):
        intake.close()
        for key in (None, "k"):
            with pytest.raises(StateError, match="is stopping"):
                take(intake, paid(1), key=key)
        assert payloads(log) == []


def kept_keys(engine: sa.Engine) -> list[str]:
    with engine.begin() as connection:
        return list(connection.execute(sa.select(idempotency.c.key)).scalars())
