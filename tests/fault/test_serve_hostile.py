"""Thousands of requests that nobody should send: each is refused by name, and none fails, hangs or is remembered.

A running service is asked by schemathesis, which makes requests from its description; by hand, with every field wrong
in every way; and by callers who do not keep to HTTP. `make soak` asks a service in a process of its own ten thousand
times, and looks at what that process has kept.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, CheckFunction, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tenure.app.scorer import ahead_of
from tenure.app.serve import open_service
from tenure.core.time import format_instant
from tenure.serve.app import create_app
from tenure.serve.keys import create_key
from tenure.serve.roles import POLICY
from tests.fault.hostile import Api, Hostile, hostile, wrong_with
from tests.fault.raw import PATIENCE_SECONDS, SLOW_SECONDS, Asked, Caller
from tests.serve.listening import listening
from tests.serve.project import AS_OF, SCORED, SILENT, STRANGER, Shop
from tests.serve.running import started

SOAK = os.environ.get("TENURE_SOAK") == "1"
WARM_UP, SOAKED, GROWTH = 20, 10_000, 0.05
DESCRIBED = [f"{method} {path}" for method, path in POLICY if path not in {"/docs", "/openapi.json"}]
# Of these the description cannot say which features there are, or when an event may have happened; and what is wrong
# with one of many is answered in its place.
SOME_ARE_REFUSED = frozenset({"POST /v1/score", "POST /v1/scores", "POST /v1/events"})
ANSWERED_IN_PLACE = frozenset({"POST /v1/scores", "POST /v1/events"})


Operation = schemathesis.APIOperation[Any, Any, Any, Any]


def _described(found: Any) -> Operation:
    """An operation as schemathesis has read it; fails where the description is none."""
    operation: Operation = found.ok()
    return operation


class Served:
    """A service that runs, its description, and callers with a key for everything."""

    def __init__(self, url: str, token: str) -> None:
        self.caller = Caller(url, token)
        document = self.caller.ask(Asked("GET", b"/openapi.json")).document
        features = self.caller.ask(Asked("GET", b"/version")).document["features"]
        self.api = Api(document, features, "2025-10-27T12:00:00Z")
        self.schema = schemathesis.openapi.from_dict(document)
        self.operations = {found.label: found for found in map(_described, self.schema.get_all_operations())}
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def check(self, case: Case[Any]) -> None:
        """Send what schemathesis has made, and have it judge the answer."""
        answer = case.call(base_url=self.caller.url, session=self.session, timeout=PATIENCE_SECONDS)
        label = case.operation.label
        seconds = answer.elapsed
        if seconds > SLOW_SECONDS:  # perhaps the machine was busy
            seconds = case.call(base_url=self.caller.url, session=self.session, timeout=PATIENCE_SECONDS).elapsed
        assert seconds < SLOW_SECONDS, f"{label} took {seconds:.1f} s, and once more as long"
        self.caller.note(seconds, answer.status_code, label.encode())
        left_out: list[CheckFunction] = [
            *([positive_data_acceptance] if label in SOME_ARE_REFUSED else []),
            *([negative_data_rejection] if label in ANSWERED_IN_PLACE else []),
        ]
        case.validate_response(answer, headers=dict(self.session.headers), excluded_checks=left_out)

    def expect(self, made: Hostile) -> str | None:
        """Send what was made by hand; what is wrong with the answer."""
        said = self.caller.ask(made.asked)
        wrong = wrong_with(made, said)
        return None if wrong is None else f"{made.name}: {wrong}; {said.status} {said.body[:300]!r}"


@contextmanager
def running(shop: Shop) -> Iterator[str]:
    """The service, where nobody is passed over for being late, for the machine that tests run on may be busy."""
    if SOAK:
        command = ["-m", "tenure", "serve", "--json", "--port", "0", "--config", str(shop.config)]
        late = ["--as-of", format_instant(AS_OF), "--set", "serve.budget_seconds=60"]
        with started(shop.folder, [*command, *late], TENURE_SERVE__DRAIN_SECONDS="0.1") as service:
            MEMORY.append(lambda: memory_of(service.process.pid))
            yield service.url
            assert service.stop() == 0
    else:
        place = shop.place({("serve", "budget_seconds"): 60})
        with open_service(place, ahead=ahead_of(place, AS_OF)) as opened, listening(create_app(opened)) as url:
            yield url


MEMORY: list[Callable[[], int]] = []


@pytest.fixture(scope="module")
def served(built_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = Path(shutil.copytree(built_shop.folder, tmp_path_factory.mktemp("hostile") / "shop"))
    shop = Shop(folder / built_shop.config.name)
    engine = shop.place().database()
    _, token = create_key(engine, "hostile", ["admin"], 1e6)
    engine.dispose()
    with running(shop) as url:
        found = Served(url, token)
        yield found
        found.caller.close()
        found.session.close()


def tries(served: Served, label: str, mode: GenerationMode, examples: int) -> None:
    """Requests of one route that chance makes."""
    operation = served.operations[label]
    if not (operation.body or operation.path_parameters or operation.query):
        return  # nothing to get wrong but the method and the key, which `borders` do

    @settings(settings(), max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        served.check(case)

    check()


def borders(served: Served, label: str) -> None:
    """Requests of one route at the borders of what its description lets pass, other methods among them."""
    operation = served.operations[label]
    config = served.schema.config.generation_for(operation=operation, phase="coverage")
    cases = served.schema.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=config
    )
    for case in cases:
        served.check(case)


@pytest.mark.parametrize("label", DESCRIBED)
def test_the_borders_of_what_is_described(served: Served, label: str) -> None:
    borders(served, label)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("label", DESCRIBED)
def test_requests_that_fit_the_description_and_that_do_not(served: Served, label: str, mode: GenerationMode) -> None:
    tries(served, label, mode, 25)


def test_the_description_is_of_what_is_asked_here(served: Served) -> None:
    assert set(served.operations) == set(DESCRIBED)
    for method, path, operation in served.api.operations():
        for body in served.api.bodies(operation) if "requestBody" in operation else ():
            asked = Asked(method, path.encode(), (), json.dumps(body).encode())
            assert served.caller.ask(asked).refusal == (200, None), "what is made wrong is right before"


def test_every_field_of_every_route_wrong_in_every_way(served: Served) -> None:
    made = list(hostile(served.api))
    assert sum(one.fields is not None for one in made) > 2_000
    assert [wrong for one in made if (wrong := served.expect(one))] == []
    assert [one for one in served.caller.slow if served.caller.is_slow_again(one)] == []


HEAD = b"Host: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
POST = b"POST /v1/score HTTP/1.1\r\n" + HEAD
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
NO_HTTP = {(), (400,)}  # the line may be cut before the answer was read

RAW: dict[str, tuple[bytes, set[tuple[int, ...]]]] = {
    "nothing": (b"", {()}),
    "half a line": (b"GET /liv", {()}),
    "half a head": (LIVE, {()}),
    "half a body": (POST + b"Content-Length: 100\r\n\r\n{}", {()}),
    "half a chunk": (CHUNKED + b"10\r\n{}", {()}),
    "chunks without end": (CHUNKED + b"2\r\n{}\r\n", {()}),
    "more than was said": (POST + b"Content-Length: 2\r\n\r\n{}{}{}{}", {(422, 400), (422,), (400,)}),
    "negative length": (POST + b"Content-Length: -2\r\n\r\n{}", NO_HTTP),
    "two lengths in one": (POST + b"Content-Length: 2 2\r\n\r\n{}", NO_HTTP),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", NO_HTTP),
    "length in hexadecimal": (POST + b"Content-Length: 0x2\r\n\r\n{}", NO_HTTP),
    "length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", NO_HTTP),
    "length beyond numbers": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}", NO_HTTP),
    "length of an exabyte": (POST + b"Content-Length: 999999999999999999\r\n\r\n{}", {(413,)}),
    "length of ten megabytes": (POST + b"Content-Length: 10000000\r\n\r\n{}", {()}),
    "length and chunks": (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NO_HTTP),
    "chunks and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", NO_HTTP),
    "chunks in another coding": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", NO_HTTP),
    "chunks of no name": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", NO_HTTP),
    "chunks with extensions": (CHUNKED + b'1;a=b;c="d"\r\n{\r\n1;e\r\n}\r\n0;f=g\r\n\r\n', {(422,)}),
    "chunks with trailers": (CHUNKED + b"2\r\n{}\r\n0\r\nHost: evil\r\nContent-Length: 9\r\n\r\n", {(422,), (400,)}),
    "a chunk of no size": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", NO_HTTP),
    "a chunk of negative size": (CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", NO_HTTP),
    "a chunk beyond numbers": (CHUNKED + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n", NO_HTTP),
    "a chunk longer than said": (CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n", NO_HTTP),
    "an extension of 400 KB": (CHUNKED + b"2;" + b"a" * 400_000 + b"\r\n{}\r\n0\r\n\r\n", {(431,), (400,), ()}),
    "ten megabytes in chunks": (CHUNKED + b"10000\r\n%s\r\n" % (b" " * 65_536) * 160 + b"0\r\n\r\n", {(413,)}),
    "a head of 400 KB": (LIVE + b"X: " + b"a" * 400_000 + b"\r\n\r\n", {(431,), ()}),
    "10,000 headers": (LIVE + b"X: a\r\n" * 10_000 + b"\r\n", {(431,), ()}),
    "101 headers": (LIVE + b"X: a\r\n" * 100 + b"\r\n", {(431,)}),
    "a target of 400 KB": (b"GET /" + b"a" * 400_000 + b" HTTP/1.1\r\n\r\n", {(431,), ()}),
    "a header without a colon": (LIVE + b"nonsense\r\n\r\n", NO_HTTP),
    "a space before the colon": (LIVE + b"X : a\r\n\r\n", NO_HTTP),
    "a header over two lines": (LIVE + b"X: a\r\n b\r\n\r\n", NO_HTTP),
    "a zero in a header": (LIVE + b"X: a\x00b\r\n\r\n", NO_HTTP),
    "lines that end otherwise": (LIVE.replace(b"\r\n", b"\n") + b"\n", {(200,), *NO_HTTP}),
    "returns alone": (LIVE.replace(b"\r\n", b"\r") + b"\r", NO_HTTP),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", {(200,), *NO_HTTP}),
    "two hosts": (LIVE + b"Host: evil\r\n\r\n", {(200,), *NO_HTTP}),
    "HTTP 0.9": (b"GET /livez\r\n\r\n", {(200,), *NO_HTTP}),
    "HTTP 1.0": (b"GET /livez HTTP/1.0\r\n\r\n", {(200,)}),
    "HTTP 9.9": (b"GET /livez HTTP/9.9\r\n\r\n", NO_HTTP),
    "HTTP 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", NO_HTTP),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), NO_HTTP),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", NO_HTTP),
    "zeros": (bytes(100_000), NO_HTTP),
    "blank lines first": (b"\r\n\r\n" + LIVE + b"\r\n", {(200,), *NO_HTTP}),
    "a method of no name": (b"STEAL /livez HTTP/1.1\r\n\r\n", NO_HTTP),
    "a small method": (b"get /livez HTTP/1.1\r\n\r\n", NO_HTTP),
    "a tunnel": (b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n", {(401,), (404,), *NO_HTTP}),
    "a place elsewhere": (b"GET http://evil/livez HTTP/1.1\r\nHost: evil\r\n\r\n", {(200,), *NO_HTTP}),
    "no place": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", {(401,), *NO_HTTP}),
    "a place with a blank": (b"GET /livez x HTTP/1.1\r\n\r\n", NO_HTTP),
    "a place that is no ASCII": (b"GET /\xff HTTP/1.1\r\n\r\n", {(401,), *NO_HTTP}),
    "a websocket": (LIVE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", {(200,)}),
    "an upgrade": (LIVE + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", {(200,)}),
    "expects nonsense": (POST + b"Expect: a miracle\r\nContent-Length: 2\r\n\r\n{}", {(422,), (400,), (417,)}),
    "fifty at once": ((LIVE + b"\r\n") * 50, {(200,) * 50}),
    "one and then nonsense": (LIVE + b"\r\n" + b"\xff\xfe nonsense\r\n\r\n", {(200, 400), (400,), (200,)}),
    "one hidden in another": (POST + b"Content-Length: 2\r\n\r\n{}" + LIVE + b"\r\n", {(422, 200)}),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_bytes_that_are_no_request_or_more_than_one(served: Served, name: str) -> None:
    piece, answers = RAW[name]
    piece = piece.replace(b"%s", served.caller.token.encode())
    several = min(map(len, answers))
    for size in (len(piece) or 1, 7 if len(piece) < 1_000 else 65_521):
        pieces = [piece[at : at + size] for at in range(0, len(piece), size)]
        said = served.caller.talk(*pieces, most=several) if several > 1 else served.caller.talk(*pieces, hang_up=True)
        assert tuple(answer.status for answer in said) in answers
        assert all(answer.is_problem for answer in said if answer.status >= 400)
    assert served.caller.talk(LIVE + b"Connection: close\r\n\r\n")[0].status == 200


def test_answers_come_in_the_order_of_the_requests(served: Served) -> None:
    """Some are answered from memory, some have to be worked out, and some are refused."""
    asked = [SCORED, f"{SILENT}?mode=realtime", STRANGER, f"{SCORED}?explain=true&mode=realtime", "..", SILENT] * 8
    head = b"\r\nHost: localhost\r\nAuthorization: Bearer " + served.caller.token.encode() + b"\r\n\r\n"
    lines = b"".join(b"GET /v1/score/" + path.encode() + b" HTTP/1.1" + head for path in asked)
    said = served.caller.talk(lines, most=len(asked))
    found = [answer.document.get("customer_id", answer.status) for answer in said]
    assert found == [SCORED, SILENT, 404, SCORED, 422, SILENT] * 8


def test_a_request_that_comes_byte_by_byte_is_answered(served: Served) -> None:
    body = b'{"customer_id": "%s"}' % SCORED.encode()
    whole = POST.replace(b"%s", served.caller.token.encode()) + b"Content-Length: %d\r\n\r\n" % len(body) + body
    (said,) = served.caller.talk(*(whole[at : at + 1] for at in range(len(whole))), hang_up=True)
    assert (said.status, said.document["customer_id"]) == (200, SCORED)


def test_many_who_send_half_a_request_keep_nobody_waiting(served: Served) -> None:
    lines = [served.caller.connect() for _ in range(200)]
    try:
        for number, line in enumerate(lines):
            line.sendall((LIVE, b"", POST + b"Content-Length: 50\r\n\r\n{", CHUNKED)[number % 4])
        for _ in range(20):
            assert served.caller.ask(Asked("GET", f"/v1/score/{SCORED}".encode())).status == 200
    finally:
        for line in lines:
            line.close()


def test_many_who_hang_up_before_they_are_answered(served: Served) -> None:
    body = json.dumps({"requests": [{"customer_id": SILENT, "mode": "realtime"}] * 50}).encode()
    asked = Asked("POST", b"/v1/scores", (), body).raw(served.caller.token)
    for number in range(60):
        with served.caller.connect() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # hangs up without a word
            line.sendall(asked if number % 3 else asked[: len(asked) // 2])
    assert served.caller.ask(Asked("GET", f"/v1/score/{SCORED}".encode())).status == 200


def test_who_does_not_read_keeps_nobody_waiting(served: Served) -> None:
    body = json.dumps({"requests": [{"customer_id": SCORED}] * 1_000}).encode()
    asked = Asked("POST", b"/v1/scores", (), body).raw(served.caller.token)
    lines = [served.caller.connect() for _ in range(8)]
    try:
        for line in lines:
            line.settimeout(0.2)
            with suppress(TimeoutError):
                line.sendall(asked * 10)
        for _ in range(20):
            assert served.caller.ask(Asked("GET", f"/v1/score/{SCORED}".encode())).status == 200
    finally:
        for line in lines:
            line.close()


def memory_of(process: int) -> int:
    """Bytes that the largest process among the children of one holds: its own, swapped out or not, and no library's."""
    lists = [path.read_text(encoding="ascii") for path in Path(f"/proc/{process}/task").glob("*/children")]
    states = [Path(f"/proc/{child}/status").read_text(encoding="utf-8") for found in lists for child in found.split()]
    return (
        max(sum(map(int, re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+) kB", state, re.MULTILINE))) for state in states)
        * 1024
    )


@pytest.mark.skipif(not SOAK, reason="takes minutes; `make soak` runs it")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at memory by /proc")
@pytest.mark.timeout(1_800)
def test_ten_thousand_are_answered_and_forgotten(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    made, luck = list(hostile(served.api)), random.Random(5)
    failures: list[str] = []

    def round_of(examples: int) -> None:
        for label in DESCRIBED:
            borders(served, label)
            for mode in GenerationMode:
                tries(served, label, mode, examples)
        luck.shuffle(made)
        failures.extend(wrong for one in made if (wrong := served.expect(one)))

    round_of(WARM_UP)
    since, asked, before = time.monotonic(), served.caller.counts.total(), MEMORY[-1]()
    while served.caller.counts.total() - asked < SOAKED:
        round_of(200)
    after, seconds = MEMORY[-1](), time.monotonic() - since
    grown = after / before - 1
    with capsys.disabled():
        sys.stdout.write(
            f"\n{served.caller.counts.total() - asked:,} requests in {seconds:.0f} s, "
            f"statuses since the start {dict(sorted(served.caller.counts.items()))}; "
            f"slowest {served.caller.slowest}; "
            f"memory {before / 2**20:.1f} MiB, then {after / 2**20:.1f}: {grown:+.2%}\n"
        )
    assert failures == []
    assert [one for one in served.caller.slow if served.caller.is_slow_again(one)] == []
    assert grown < GROWTH
