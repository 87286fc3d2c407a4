"""Routes whose endpoint takes the request as it is and answers it, without FastAPI's work in between.

Enters: a matched request. Leaves: the endpoint's response, or the problem that an error of tenure's means. Invariant:
only errors that tenure raises on purpose are told; anything else goes on to the gate, which tells nobody.

FastAPI solves dependencies and keeps two stacks of exits for every request; an endpoint that needs neither answers in
75 microseconds where FastAPI's smallest takes 118. The route is FastAPI's in everything else: matching, the description.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from tenure.core.errors import TenureError
from tenure.serve.problem import PROBLEM_TYPE, Failure, of_error
from tenure.serve.typed import MalformedError
from tenure.serve.wire import Problem

__all__ = ["Direct", "Endpoint", "add_route", "json_response", "refusal"]

Endpoint = Callable[[Request], Awaitable[Response]]


class Direct(APIRoute):
    """A route that hands the request to its endpoint."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods))})
        request = Request(scope, receive, send)
        try:
            response = await self.endpoint(request)
        except TenureError as error:
            response = refusal(failure_of(error), request)
        await response(scope, receive, send)


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


def refusal(failure: Failure, request: Request) -> Response:
    """The response that tells a failure."""
    request_id = request.scope.get("state", {}).get("request_id")
    return Response(failure.body(request_id), failure.status, failure.headers)


def json_response(body: bytes) -> Response:
    """A response of JSON that is made already.

    Examples
    --------
    >>> json_response(b"{}").headers["content-type"]
    'application/json'
    """
    return Response(body, media_type="application/json")


def add_route(
    api: FastAPI,
    method: str,
    path: str,
    endpoint: Endpoint,
    *,
    answer: Any,
    says: Mapping[str, Any] | None = None,
    refusals: tuple[int, ...] = (),
    tag: str,
) -> None:
    """Add a route to an API.

    Parameters
    ----------
    api : FastAPI
        The API.
    method, path : str
        For example `POST` and `/v1/score`.
    endpoint : callable
        Takes the request and answers it; its docstring describes the route.
    answer : type
        Model of what is answered with status 200, for the description.
    says : mapping, optional
        What the description says of parameters and body, as `typed.documented` makes it.
    refusals : tuple of int
        Statuses with which a problem may be answered, beside those that the gate answers with.
    tag : str
        Heading under which the route is described.

    Examples
    --------
    >>> api = FastAPI()
    >>> async def hello(request: Request) -> Response:
    ...     "Say hello."
    ...     return json_response(b"{}")
    >>> add_route(api, "GET", "/hello", hello, answer=Problem, tag="Greetings")
    >>> api.openapi()["paths"]["/hello"]["get"]["summary"]
    'Hello'
    """
    problems = {status: _refused(status) for status in sorted({*_GATE, *refusals})}
    api.router.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_model=answer,
        responses=problems,
        openapi_extra=dict(says or {}),
        tags=[tag],
        response_description="Answered",
        route_class_override=Direct,
    )


def _refused(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": _REFUSALS[status], "content": {PROBLEM_TYPE: {"schema": schema}}}


_GATE = (401, 403, 429)
_REFUSALS = {
    400: "The body is no JSON, or nested too deeply",
    401: "No key, or one that is not known",
    403: "The key's roles do not allow this",
    404: "Nobody has heard of this customer",
    409: "Another request with the same idempotency key is being answered",
    413: "The body is over 1 MB",
    415: "The body is not `application/json`",
    422: "A value is wrong; `field` says which",
    429: "Over the key's rate; `Retry-After` says when to try again",
    503: "Not now; `Retry-After` says when to try again",
}
