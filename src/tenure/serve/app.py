"""The application: FastAPI's routes inside the gate.

Enters: a `Service`. Leaves: an ASGI application. Invariant: nothing reaches a route but through the gate, and the
description at `/openapi.json` names exactly the routes that there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from tenure.serve.batcher import Batcher
from tenure.serve.describe import components
from tenure.serve.direct import straight_to
from tenure.serve.docs import add_docs_routes
from tenure.serve.gate import Finished, Gate, Receive, Scope, Send
from tenure.serve.roles import POLICY, Policy
from tenure.serve.routes_customers import add_customer_routes
from tenure.serve.routes_events import add_event_routes
from tenure.serve.routes_operations import add_operation_routes
from tenure.serve.routes_score import add_score_routes
from tenure.serve.service import Service
from tenure.serve.wire import (
    AboutAnswer,
    ErrorItem,
    LiveAnswer,
    Problem,
    ReadyAnswer,
    ScoreAnswer,
    ScoreRequest,
    ScoresAnswer,
    ScoresRequest,
)
from tenure.serve.wire_customers import CustomerAnswer
from tenure.serve.wire_events import EventsAnswer, EventsRequest

__all__ = ["Application", "create_app"]

REQUESTS: Sequence[type[BaseModel]] = (ScoreRequest, ScoresRequest, EventsRequest)
ANSWERS: Sequence[type[BaseModel]] = (
    ScoreAnswer, ScoresAnswer, ErrorItem, EventsAnswer, CustomerAnswer, LiveAnswer, ReadyAnswer, AboutAnswer, Problem,
)  # fmt: skip
DESCRIPTION = ("/docs", "/openapi.json")
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of `tenure keys create`."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
_ABOUT = (
    "Churn scores with the decision that pays, from the cheapest source that is fresh enough: the precomputed score, "
    "the cache, or live features. Every score says how old it is and where it comes from. Errors are "
    "`application/problem+json` (RFC 9457) and name the field that is wrong."
)


class Api(FastAPI):
    """FastAPI with the schemas of `serve/wire.py` and the ways to show a key."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if not self.openapi_schema:
            document = super().openapi()
            document["components"] = {
                "schemas": components(requests=REQUESTS, answers=ANSWERS),
                "securitySchemes": _KEYS,
            }
            document["security"] = [{"bearer": []}, {"header": []}]
            self.openapi_schema = document
        return self.openapi_schema


class Application:
    """What a server runs.

    Parameters
    ----------
    gate : Gate
        Passed by every request.
    api : FastAPI
        What answers behind the gate; its routes are the ones that there are.

    Examples
    --------
    >>> from tenure.serve.keys import KeyRing
    >>> from tenure.serve.limits import Limiter
    >>> api = FastAPI(title="shop")
    >>> Application(Gate(api, keys=KeyRing(lambda: ()), limiter=Limiter(10)), api).api.title
    'shop'
    """

    def __init__(self, gate: Gate, api: FastAPI) -> None:
        self.gate, self.api = gate, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        await self.gate(scope, receive, send)


def create_app(service: Service, *, finished: Sequence[Callable[[Finished], None]] = ()) -> Application:
    """Make the application of a service.

    Parameters
    ----------
    service : Service
        What the routes need.
    finished : sequence of callables
        Told of every answered request, beside the service's metrics: a log, for example.

    Returns
    -------
    Application
        An ASGI application; its lifespan ends what waits when it is shut down.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from tenure.core.settings import ServeSettings
    >>> from tenure.serve.keys import KeyRing
    >>> from tenure.serve.limits import Limiter
    >>> from tenure.serve.metrics import Metrics
    >>> from tenure.serve.service import About, Readiness
    >>> scorer, keys = SimpleNamespace(score=lambda asks: []), KeyRing(lambda: ())
    >>> ready, about = (lambda: Readiness(True)), (lambda: About("0.1.0"))
    >>> parts = scorer, None, None, keys, Limiter(10), Metrics(), ready, about, ServeSettings()
    >>> sorted(create_app(Service(*parts)).api.openapi()["paths"])[-1]
    '/version'
    """
    batcher = Batcher(service.scorer.score)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await batcher.close()

    api = Api(
        title="tenure",
        version=version("tenure"),
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},  # see serve/tracing.py
    )
    add_score_routes(api, service, batcher)
    add_event_routes(api, service)
    add_customer_routes(api, service)
    add_operation_routes(api, service)
    if service.settings.docs:
        add_docs_routes(api)
    metrics = service.metrics
    gate = Gate(
        straight_to(api),
        keys=service.keys,
        limiter=service.limiter,
        policy=_policy(docs=service.settings.docs),
        tls=service.tls,
        began=[metrics.began],
        ended=[metrics.ended],
        finished=[metrics.finished, *finished],
    )
    return Application(gate, api)


def _policy(*, docs: bool) -> Policy:
    """Without the lines of the description where it is left out: to the gate, its paths then are as any other."""
    return POLICY if docs else {line: need for line, need in POLICY.items() if line[1] not in DESCRIPTION}
