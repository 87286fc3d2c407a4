"""Events over HTTP: appended to the project's log, each request once.

Enters: a request that the gate has let in. Leaves: a result for every event, or a problem. Invariant: the event loop
reads and hands over; judging, appending and waiting happen in the intake's own threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic_core import from_json, to_json

from tenure.core.errors import InputError, NotFoundError
from tenure.serve.direct import Described, add_route, json_response, refusal
from tenure.serve.gate import admitted
from tenure.serve.idempotency import UnderWayError
from tenure.serve.intake import Intake, NotTakenError
from tenure.serve.problem import Failure, of_error
from tenure.serve.service import Service
from tenure.serve.taken import Item, Taken
from tenure.serve.typed import field_path, read_body
from tenure.serve.wire_events import KEY_PARAMETER, KEY_PATTERN, LONGEST_KEY, EventsAnswer, EventsRequest

__all__ = ["add_event_routes"]

TAG = "Events"
KEY = "Idempotency-Key"
_KEY = re.compile(KEY_PATTERN)


def add_event_routes(api: FastAPI, service: Service) -> None:
    """Add the route that takes events.

    Parameters
    ----------
    api : FastAPI
        The API.
    service : Service
        Whose intake appends them, and whose metrics are told.
    """
    described = Described(
        EventsAnswer,
        TAG,
        body=EventsRequest,
        refusals=(404, 409, 422, 503),
        parameters=(KEY_PARAMETER,),
    )
    add_route(api, "POST", "/v1/events", EventRoutes(service).events_to_append, described)


@dataclass(frozen=True, eq=False)
class EventRoutes:
    """Endpoints that take events.

    Parameters
    ----------
    service : Service
        Whose intake and metrics.
    """

    service: Service

    async def events_to_append(self, request: Request) -> Response:
        """Append up to 1,000 events to the project's log.

        What is accepted is durable when this answers, and counts as soon as `tenure stream` has folded it. What is
        refused is told with its reason, and does not keep the others out; the status is 422 where every event was
        refused. With an `Idempotency-Key`, the same request made again is answered as it was the first time and appends
        nothing (`Idempotent-Replay: true`).
        """
        intake = self.service.intake
        if intake is None:
            raise NotFoundError("This project is a plain table, which takes no events.")
        events = read_body(EventsRequest, request).events
        try:
            taken = await self._take(intake, events, request)
        except UnderWayError as error:
            return refusal(Failure(409, "Under way", error.message, error.hint, KEY, retry_after_seconds=1), request)
        except NotTakenError as error:
            return refusal(replace(of_error(error), detail=error.message, hint=error.hint), request)
        self.service.metrics.took_events(taken.accepted, taken.refused, replayed=taken.replayed)
        return _answer(taken, request)

    async def _take(self, intake: Intake, events: list[Any], request: Request) -> Taken:
        known, key = admitted(request.scope), _key(request)
        digest = b"" if key is None else hashlib.sha256(known.body).digest()
        caller = "" if known.key is None else known.key.id
        return await asyncio.wrap_future(intake.submit(events, caller=caller, key=key, digest=digest))


def _key(request: Request) -> str | None:
    """The idempotency key, where there is one.

    Raises
    ------
    InputError
        It is empty, too long, given twice, or more than printable ASCII.
    """
    found = request.headers.getlist(KEY)
    if not found:
        return None
    if len(found) > 1 or len(found[0]) > LONGEST_KEY or not _KEY.fullmatch(found[0]):
        raise InputError(
            f"`{KEY}` is not one text of 1 to {LONGEST_KEY} printable ASCII characters.",
            hint="Choose a name that is new for every request, for example a UUID.",
            field=KEY,
        )
    return found[0]


def _answer(taken: Taken, request: Request) -> Response:
    results = [_result(index, item) for index, item in enumerate(taken.results)]
    answer = {"accepted": taken.accepted, "refused": taken.refused, "results": results}
    response = json_response(to_json(answer)) if taken.accepted else _all_refused(answer, request)
    if taken.replayed:
        response.headers["idempotent-replay"] = "true"
    return response


def _result(index: int, item: Item) -> dict[str, Any]:
    if item.accepted:
        return {"index": index, "status": "accepted", "partition": item.partition, "offset": item.offset}
    field = field_path(["events", index, *([] if item.field is None else [item.field])])
    return {"index": index, "status": "refused", "reason": item.reason, "detail": item.detail, "field": field}


def _all_refused(answer: dict[str, Any], request: Request) -> Response:
    """A problem that names the first event, with the results of all."""
    first = answer["results"][0]
    failure = Failure(
        422, "No event was accepted", f"`{first['field']}`: {first['reason']}. {first['detail']}", field=first["field"]
    )
    body = failure.body(admitted(request.scope).request_id)
    return Response(to_json(from_json(body) | answer), failure.status, failure.headers)
