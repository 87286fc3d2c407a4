"""Spans of requests and batches: linked, continued from the caller's, and as silent about customers as the log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tenure.app.scorer import open_scorer
from tenure.core.errors import ConfigError
from tenure.core.time import EPOCH
from tenure.score.served import Ask, ServedScore
from tenure.serve.body import GoneError
from tenure.serve.gate import App, Gate, Receive, Scope, Send
from tenure.serve.keys import KeyRing
from tenure.serve.limits import Limiter
from tenure.serve.metrics import Metrics
from tenure.serve.roles import PUBLIC
from tenure.serve.tracing import TracedObserver, TracedScorer, Tracing, is_wanted, opened_tracing, tracing
from tests.serve.project import AS_OF, SILENT, Shop

sdk: Any = pytest.importorskip("opentelemetry.sdk.trace")
export: Any = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory: Any = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
protocol: Any = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

SECRET = "c-4711-secret"  # noqa: S105
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
POLICY = {("GET", "/v1/score/{customer_id}"): PUBLIC, ("GET", "/fail"): PUBLIC}


class Scorer:
    """Answers every batch; memory knows nothing."""

    def __init__(self, observer: TracedObserver) -> None:
        self._observer = observer

    def peek(self, _ask: Ask) -> ServedScore | None:
        return None

    def score(self, asks: Sequence[Ask]) -> list[ServedScore]:
        self._observer.looked_up("database", 0, len(asks))
        self._observer.fresh([3.0] * len(asks))
        self._observer.turned("cache", "open")
        score = ServedScore(
            SECRET, 0.2, "contact", 1.0, None, None, None, None, "v1", None, "realtime", None, EPOCH, ("cache",)
        )
        return [score for _ in asks]


def traced() -> tuple[Tracing, Any]:
    exporter, provider = in_memory.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return Tracing(provider), exporter


def ask(app: App, path: str, *headers: tuple[bytes, bytes]) -> None:
    async def send(message: Any) -> None:
        assert message

    async def receive() -> Any:
        return {"type": "http.request", "body": SECRET.encode()}

    head = {"type": "http", "method": "GET", "path": path, "query_string": SECRET.encode()}

    async def answer() -> None:
        await app(head | {"headers": [(b"host", b"localhost"), *headers]}, receive, send)

    asyncio.run(answer())


def gated(app: App) -> App:
    return Gate(app, keys=KeyRing(lambda: ()), limiter=Limiter(1000), policy=POLICY)


def test_a_request_is_a_span_that_its_batch_is_linked_to() -> None:
    trace, exporter = traced()
    scorer = TracedScorer(Scorer(TracedObserver(Metrics(), trace)), trace)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        wanted = Ask(SECRET)
        assert scorer.peek(wanted) is None
        await asyncio.to_thread(scorer.score, [wanted])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    ask(trace.app(gated(app)), f"/v1/score/{SECRET}", (b"traceparent", PARENT.encode()))
    batch, request = exporter.get_finished_spans()
    assert request.name == "GET /v1/score/{customer_id}"
    assert request.attributes["http.response.status_code"] == 200
    assert f"{request.context.trace_id:x}" == PARENT.split("-")[1].lstrip("0")
    assert f"{request.parent.span_id:x}" == PARENT.split("-")[2]
    assert (batch.name, batch.parent) == ("score batch", None)
    assert [link.context.span_id for link in batch.links] == [request.context.span_id]
    assert [event.name for event in batch.events] == ["database answered", "store answered", "breaker"]
    assert (batch.attributes["tenure.asks"], batch.attributes["tenure.degraded"]) == (1, 1)
    assert SECRET not in batch.to_json() + request.to_json()


def test_what_every_dependency_answered_is_told_in_the_span_of_its_batch(shop: Shop) -> None:
    trace, exporter = traced()
    observer = TracedObserver(Metrics(), trace)
    place = shop.place({("serve", "budget_seconds"): 5.0})
    with open_scorer(place, as_of=lambda: AS_OF, observer=observer) as opened:
        TracedScorer(opened.scorer, trace).score([Ask(SILENT)])
    (batch,) = exporter.get_finished_spans()
    assert [event.name for event in batch.events] == ["database answered", "cache answered", "store answered"]
    assert batch.events[-1].attributes["tenure.rows"] == 1


def test_a_failure_marks_the_span_without_its_message() -> None:
    trace, exporter = traced()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise LookupError(SECRET)

    ask(trace.app(gated(app)), "/fail")
    ask(trace.app(gated(app)), f"/{SECRET}")
    failed, unknown = exporter.get_finished_spans()
    assert (failed.name, failed.status.status_code.name) == ("GET /fail", "ERROR")
    assert unknown.name == "GET (none)"
    assert SECRET not in failed.to_json() + unknown.to_json()


def test_what_a_caller_asked_who_hung_up_is_forgotten() -> None:
    trace, exporter = traced()
    scorer = TracedScorer(Scorer(TracedObserver(Metrics(), trace)), trace)
    wanted = [Ask(f"c{n}") for n in range(3)]

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        assert [scorer.peek(one) for one in wanted] == [None] * 3
        raise GoneError

    ask(trace.app(gated(app)), f"/v1/score/{SECRET}")
    assert not trace._asked
    scorer.score(wanted)  # or another ask that has come to the address of one of these
    request, batch = exporter.get_finished_spans()
    assert (request.name, batch.name) == ("GET /v1/score/{customer_id}", "score batch")
    assert not batch.links


def test_what_no_request_asks_is_not_remembered() -> None:
    trace, _ = traced()
    trace.remember(Ask("c1"))
    assert not trace._asked


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes traces."""
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            assert taken

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", taken
        server.shutdown()
        thread.join()


def test_spans_are_sent_where_the_environment_says(
    collector: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, taken = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    with opened_tracing() as opened:
        assert opened is not None
        assert tracing() is opened
        with opened.batch([Ask("c1")]):
            opened.happened("something", {"n": 1})
    assert tracing() is None
    sent = protocol.ExportTraceServiceRequest()
    sent.ParseFromString(taken[0])
    (resource,) = sent.resource_spans
    assert {item.key: item.value.string_value for item in resource.resource.attributes}["service.name"] == "tenure"
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["score batch"]


def test_without_a_word_in_the_environment_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    with opened_tracing() as opened:
        assert opened is None
        assert tracing() is None
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
    assert is_wanted(endpoint)
    assert is_wanted({"OTEL_TRACES_EXPORTER": "otlp"})
    assert not is_wanted(endpoint | {"OTEL_SDK_DISABLED": "true"})
    assert not is_wanted(endpoint | {"OTEL_TRACES_EXPORTER": "none"})
    with pytest.raises(ConfigError, match="zipkin"):
        is_wanted({"OTEL_TRACES_EXPORTER": "zipkin"})
