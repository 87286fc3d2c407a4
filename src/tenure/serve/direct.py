"""Routes whose endpoint takes the request as it is and answers it, without FastAPI's work in between.

Enters: a request that the gate has matched. Leaves: the endpoint's response, or the problem that an error of tenure's
means. Invariant: only errors that tenure raises on purpose, and that a caller can do something about, are told;
anything else goes on to the gate, which tells the log alone; and what the gate let in to a route is answered by that
route.

FastAPI walks through its middleware and its routes, solves dependencies and keeps two stacks of exits for every
request. The gate has found the route already and answers for failures, so that `straight_to` takes the request to it.
A route is FastAPI's in how it is declared and described.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tenure.core.errors import ArtifactError, TenureError
from tenure.serve.describe import documented, example_of, schema_of, summary_of
from tenure.serve.gate import App, Receive, Scope, Send, admitted
from tenure.serve.problem import PROBLEM_TYPE, Failure, of_error
from tenure.serve.typed import MalformedError
from tenure.serve.wire import Problem

__all__ = [
    "Described",
    "Direct",
    "Endpoint",
    "add_route",
    "failure_of",
    "json_response",
    "log_hidden",
    "refusal",
    "straight_to",
]

Endpoint = Callable[[Request], Awaitable[Response]]
_JSON = (b"content-type", b"application/json")
_DEFECT = 500
_log = logging.getLogger("tenure.serve")


class Direct(APIRoute):
    """A route that hands the request to its endpoint."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        try:
            response = await self.endpoint(request)
        except TenureError as error:
            failure = failure_of(error)
            if failure.status == _DEFECT:
                raise  # the gate answers for it, and writes into the log what it was
            log_hidden(error, request)
            response = refusal(failure, request)
        await response(scope, receive, send)


def straight_to(api: FastAPI) -> App:
    """The application behind the gate: the routes of an API, found by what the gate has matched.

    Parameters
    ----------
    api : FastAPI
        Its lifespan is the application's; of its routes, those that are `Direct` are answered.

    Examples
    --------
    >>> callable(straight_to(FastAPI()))
    True
    """
    routes = {
        (method, route.path): route
        for route in api.routes
        if isinstance(route, Direct)
        for method in route.methods or ()
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        route = routes.get((scope["method"], admitted(scope).template)) if scope["type"] == "http" else None
        if route is None:
            await api(scope, receive, send)
            return
        # A parameter is the whole last part of a path; the policy allows no other.
        scope["path_params"] = dict.fromkeys(route.param_convertors, scope["path"].rpartition("/")[2])
        await route.handle(scope, receive, send)

    return app


def failure_of(error: TenureError) -> Failure:
    """What an error means to a caller; a body that is no JSON has a status of its own.

    Examples
    --------
    >>> failure_of(MalformedError("The body is no JSON.")).status
    400
    """
    if isinstance(error, MalformedError):
        return Failure(400, "The body is no JSON", error.message, error.hint, "body")
    return of_error(error)


def log_hidden(error: TenureError, request: Request) -> None:
    """Write down the kind and the place of an error of which a caller is told that the log says more.

    Parameters
    ----------
    error : TenureError
        What happened; one that its caller is told in full, or that comes and goes with a dependency, is left out.
    request : Request
        The request that it spoiled.
    """
    if isinstance(error, ArtifactError) or failure_of(error).status == _DEFECT:
        known = admitted(request.scope)
        fields = {"request_id": known.request_id, "method": request.method, "route": known.template}
        _log.error("A request failed.", exc_info=error, extra=fields)


def refusal(failure: Failure, request: Request) -> Response:
    """The response that tells a failure."""
    return Response(failure.body(admitted(request.scope).request_id), failure.status, failure.headers)


def json_response(body: bytes) -> Response:
    """A response of JSON that is made already.

    Examples
    --------
    >>> json_response(b"{}").headers["content-type"]
    'application/json'
    """
    return _Json(body)


class _Json(Response):
    """What `Response` would be of JSON, without looking at everything that others may want of it."""

    def __init__(self, body: bytes) -> None:
        self.status_code, self.background, self.body = 200, None, body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON]


@dataclass(frozen=True)
class Described:
    """What the API's description says of a route beside what its endpoint's docstring says.

    Parameters
    ----------
    answer : type or None
        Model of what is answered with status 200; None where it is no JSON.
    tag : str
        Heading under which the route is described.
    path, query, body : type, optional
        Models of what a request holds.
    refusals : tuple of int
        Statuses with which the route itself may answer a problem; the gate and the server have others.
    is_public : bool
        Whether no key is needed.
    also : mapping
        Other statuses that are answered with a model of their own.
    media_type : str
        Of what is answered with status 200.
    parameters : tuple of mapping
        OpenAPI objects of headers that a request may send.
    """

    answer: type[BaseModel] | None
    tag: str
    path: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()
    is_public: bool = False
    also: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    media_type: str = "application/json"
    parameters: tuple[Mapping[str, Any], ...] = ()

    def responses(self) -> dict[int | str, dict[str, Any]]:
        """Every status, with the schema of what is answered."""
        answered = {200: self.answer, **self.also}
        of_gate = {*_ALWAYS, *(() if self.is_public else _WITH_KEY), *(_WITH_BODY if self.body else ())}
        statuses = sorted({*self.refusals, *of_gate})
        return {status: self._answered(model) for status, model in answered.items()} | {
            status: _refused(status) for status in statuses
        }

    def _answered(self, model: type[BaseModel] | None) -> dict[str, Any]:
        if model is None:
            return {"description": "Answered", "content": {self.media_type: {"schema": {"type": "string"}}}}
        content = {"schema": schema_of(model), "example": example_of(model)}
        return {"description": summary_of(model), "content": {self.media_type: content}}

    def extra(self) -> dict[str, Any]:
        """What else an OpenAPI operation has."""
        said = documented(path=self.path, query=self.query, body=self.body)
        if self.parameters:
            said["parameters"] = [*said.get("parameters", ()), *self.parameters]
        return said | {"security": []} if self.is_public else said


def add_route(api: FastAPI, method: str, path: str, endpoint: Endpoint, described: Described) -> None:
    """Add a route to an API.

    Parameters
    ----------
    api : FastAPI
        The API.
    method, path : str
        For example `POST` and `/v1/score`.
    endpoint : callable
        Takes the request and answers it; the first line of its docstring is the route's summary, the rest describes it.
    described : Described
        What else the API's description says.

    Examples
    --------
    >>> api = FastAPI()
    >>> async def hello(request: Request) -> Response:
    ...     "Say hello."
    ...     return json_response(b"{}")
    >>> add_route(api, "GET", "/hello", hello, Described(Problem, "Greetings"))
    >>> api.openapi()["paths"]["/hello"]["get"]["summary"]
    'Say hello.'
    """
    summary, _, text = inspect.cleandoc(endpoint.__doc__ or "").partition("\n")
    api.router.add_api_route(
        path,
        endpoint,
        methods=[method],
        summary=summary,
        description=text.strip() or summary,
        response_model=None,
        response_class=Response,
        responses=described.responses(),
        openapi_extra=described.extra(),
        tags=[described.tag],
        response_description="Answered",
        route_class_override=Direct,
    )


def _refused(status: int) -> dict[str, Any]:
    return {"description": _REFUSALS[status], "content": {PROBLEM_TYPE: {"schema": schema_of(Problem)}}}


_ALWAYS = (400, 408, 414, 421, 431, 500)
_WITH_KEY = (401, 403, 429)
_WITH_BODY = (413, 415)
_REFUSALS = {
    400: "No HTTP, or a body that is no JSON or nests too deeply",
    401: "No key, or one that is not known",
    403: "The key's roles do not allow this",
    404: "The customer is not known; or the project is a plain table, which has no events and no states",
    408: "The request did not come within 30 seconds",
    409: "Another request with the same idempotency key is being answered",
    413: "The body is over 1 MB",
    414: "Path and query are over 8,192 bytes",
    415: "The body is not `application/json`",
    421: "No keys were made, and the host asked for is none of this machine's own names",
    422: "A value is wrong; `field` says which",
    429: "Over the key's rate; `Retry-After` says when to try again",
    431: "The head is over 64 KB or has over 100 lines",
    500: "A defect of the service; its log names the request",
    503: "Not now; `Retry-After` says when to try again",
}
