"""Traces of requests and of the batches in which their scores are worked out, by OpenTelemetry.

Enters: the variables that OpenTelemetry defines for every program (`OTEL_EXPORTER_OTLP_ENDPOINT` and others), and the
`traceparent` of a request. Leaves: spans, sent in the background. Invariant: where no variable asks for traces
nothing is imported and nothing is wrapped; and a span holds what a log line may hold, so never a customer's id.

A request is a span of its own. Scores are worked out for several requests at once, in another thread, so a batch is a
span beside them, linked to every request that it answers; what its dependencies were asked are events of that span.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from tenure.core.errors import ConfigError
from tenure.core.extras import require
from tenure.core.guard import State
from tenure.serve.gate import App, Message, Receive, Scope, Send, admitted
from tenure.serve.metrics import METHODS, NOT_KNOWN

if TYPE_CHECKING:  # a worker that is asked for no traces need not load more than it serves
    from tenure.core.errors import TenureError
    from tenure.score.observe import Observer, Where
    from tenure.score.served import Ask, ServedScore

__all__ = ["Scorer", "TracedObserver", "TracedScorer", "Tracing", "is_wanted", "opened_tracing", "tracing"]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTERS = "OTEL_TRACES_EXPORTER"
FAILURE = 500


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for traces.

    Raises
    ------
    ConfigError
        It asks for another exporter than OTLP.

    Examples
    --------
    >>> is_wanted({}), is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"})
    (False, True)
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get(EXPORTERS, "")
    if exporter not in {"", "none", "otlp"}:
        raise ConfigError(
            f"{EXPORTERS} is {exporter!r}, and traces are sent by OTLP alone.", hint='Set it to "otlp" or "none".'
        )
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in ENDPOINTS))


class Tracing:
    """Makes spans.

    Parameters
    ----------
    provider : opentelemetry.sdk.trace.TracerProvider
        Where they go.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._trace: Any = require("opentelemetry.trace")
        context: Any = require("opentelemetry.trace.propagation.tracecontext")
        self._extract = context.TraceContextTextMapPropagator().extract
        self._nothing: Any = require("opentelemetry.context").Context()
        self._tracer = provider.get_tracer("tenure")
        self._asked: dict[int, Any] = {}  # spans of requests that are not over, by the addresses of their asks

    def app(self, app: App) -> App:
        """The same application, with a span for every request."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._answer(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return traced

    async def _answer(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            method,
            context=self._extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes={"http.request.method": method},
        )

        def told(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= FAILURE:
                    span.set_status(self._trace.StatusCode.ERROR)
            return send(message)

        with self._trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            with self._remembering():
                await app(scope, receive, told)
            route = _route(scope)
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Hold what a request asks until it is over, so that no other ask has one of its addresses; then forget it."""
        asks: list[Ask] = []
        before = _request.set(asks)
        try:
            yield
        finally:
            _request.reset(before)
            for ask in asks:
                self._asked.pop(id(ask), None)

    def remember(self, ask: Ask) -> None:
        """The request that is being answered wants this; what no request wants is not remembered."""
        asks = _request.get()
        if asks is not None:
            asks.append(ask)
            self._asked[id(ask)] = self._trace.get_current_span().get_span_context()

    @contextmanager
    def batch(self, asks: Sequence[Ask]) -> Iterator[Any]:
        """A span in which these are worked out, linked to the requests that want them."""
        known = [context for ask in asks if (context := self._asked.pop(id(ask), None)) and context.is_valid]
        links = [self._trace.Link(context) for context in {context.span_id: context for context in known}.values()]
        with self._tracer.start_as_current_span(
            "score batch",
            context=self._nothing,
            links=links,
            attributes={"tenure.asks": len(asks)},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def happened(self, name: str, attributes: Mapping[str, str | int | float]) -> None:
        """Something happened in the span of this thread."""
        self._trace.get_current_span().add_event(name, attributes)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _route(scope: Scope) -> str:
    try:
        return admitted(scope).template
    except KeyError:  # the gate let nobody in
        return NOT_KNOWN


class Scorer(Protocol):
    """What is asked for scores."""

    def peek(self, ask: Ask) -> ServedScore | None:
        """The answer, where memory has it."""

    def score(self, asks: Sequence[Ask]) -> Sequence[ServedScore | TenureError]:
        """The answers."""


class TracedScorer:
    """A scorer whose batches are spans.

    Parameters
    ----------
    scorer : Scorer
        What scores.
    tracing : Tracing
        What makes the spans.

    Examples
    --------
    >>> from contextlib import nullcontext
    >>> from types import SimpleNamespace
    >>> span = SimpleNamespace(set_attribute=lambda name, value: print(name, value))
    >>> spans = SimpleNamespace(batch=lambda asks: nullcontext(span))
    >>> nobody = SimpleNamespace(score=lambda asks: [None for _ in asks])
    >>> TracedScorer(nobody, spans).score([None, None])
    tenure.degraded 0
    [None, None]
    """

    def __init__(self, scorer: Scorer, tracing: Tracing) -> None:
        self._scorer, self._tracing = scorer, tracing

    def peek(self, ask: Ask) -> ServedScore | None:
        """The answer, where memory has it; else the request is remembered until the batch that answers it."""
        found = self._scorer.peek(ask)
        if found is None:
            self._tracing.remember(ask)
        return found

    def score(self, asks: Sequence[Ask]) -> Sequence[ServedScore | TenureError]:
        """The answers."""
        with self._tracing.batch(asks) as span:
            answers = self._scorer.score(asks)
            degraded = sum(bool(getattr(answer, "degraded_because", ())) for answer in answers)
            span.set_attribute("tenure.degraded", degraded)
            return answers


class TracedObserver:
    """An observer whose news are events of the span in which they happen, too.

    Parameters
    ----------
    observer : Observer
        Who counts.
    tracing : Tracing
        What knows the span.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from tenure.score.observe import silent_observer
    >>> spans = SimpleNamespace(happened=print)
    >>> TracedObserver(silent_observer, spans).looked_up("cache", 2, 1)
    cache answered {'tenure.found': 2, 'tenure.missed': 1}
    """

    def __init__(self, observer: Observer, tracing: Tracing) -> None:
        self._observer, self._tracing = observer, tracing

    def looked_up(self, where: Where, found: int, missed: int) -> None:
        """Kept scores were looked for."""
        self._observer.looked_up(where, found, missed)
        self._tracing.happened(f"{where} answered", {"tenure.found": found, "tenure.missed": missed})

    def fresh(self, seconds: Sequence[float]) -> None:
        """Features were read."""
        self._observer.fresh(seconds)
        if seconds:
            self._tracing.happened(
                "store answered", {"tenure.rows": len(seconds), "tenure.oldest_seconds": max(seconds)}
            )

    def turned(self, name: str, state: State) -> None:
        """A breaker changed."""
        self._observer.turned(name, state)
        self._tracing.happened("breaker", {"tenure.dependency": name, "tenure.state": state})


_request: ContextVar[list[Ask] | None] = ContextVar("tenure_asks", default=None)  # what the request at hand has asked
_current: list[Tracing] = []


def tracing() -> Tracing | None:
    """What makes spans in this worker; None where none are wanted.

    Examples
    --------
    >>> tracing() is None
    True
    """
    return _current[0] if _current else None


@contextmanager
def opened_tracing() -> Iterator[Tracing | None]:
    """Send traces until the end of the block, if the environment asks for them.

    Raises
    ------
    MissingExtraError
        It does, and the extra `otel` is not installed.
    ConfigError
        It asks for another exporter than OTLP.
    """
    if not is_wanted():
        yield None
        return
    sdk: Any = require("opentelemetry.sdk.trace")
    export: Any = require("opentelemetry.sdk.trace.export")
    otlp: Any = require("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    resources: Any = require("opentelemetry.sdk.resources")
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = sdk.TracerProvider(
        resource=resources.Resource.create({} if named else {"service.name": "tenure"}), shutdown_on_exit=False
    )
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    _current.append(Tracing(provider))
    try:
        yield _current[0]
    finally:
        _current.pop().close()
