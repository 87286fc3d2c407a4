"""Scores over HTTP: one, one for features in the body, and many.

Enters: a request that the gate has let in. Leaves: a score with its decision, or a problem that names what is wrong.
Invariant: the event loop looks into memory and nowhere else; whatever may wait goes through the batcher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from tenure.core.errors import InputError, TenureError
from tenure.score.served import Ask, ServedScore
from tenure.serve.answer import score_document, score_json
from tenure.serve.batcher import Batcher
from tenure.serve.direct import Described, add_route, failure_of, json_response, log_hidden
from tenure.serve.problem import Failure
from tenure.serve.service import Service
from tenure.serve.typed import check, field_path, read_body, read_id, read_query
from tenure.serve.wire import CustomerPath, ScoreAnswer, ScoreQuery, ScoreRequest, ScoresAnswer, ScoresRequest

__all__ = ["add_score_routes"]

TAG = "Scores"


def add_score_routes(api: FastAPI, service: Service, batcher: Batcher) -> None:
    """Add the routes that answer scores.

    Parameters
    ----------
    api : FastAPI
        The API.
    service : Service
        Whose scorer is asked from memory, and whose metrics are told.
    batcher : Batcher
        Asks the same scorer where memory has no answer.
    """
    routes = ScoreRoutes(service, batcher)
    by_id = Described(ScoreAnswer, TAG, path=CustomerPath, query=ScoreQuery, refusals=(404, 422, 503))
    given = Described(ScoreAnswer, TAG, body=ScoreRequest, refusals=(404, 422, 503))
    many = Described(ScoresAnswer, TAG, body=ScoresRequest, refusals=(422, 503))
    add_route(api, "GET", "/v1/score/{customer_id}", routes.score_of_a_customer, by_id)
    add_route(api, "POST", "/v1/score", routes.score_of_a_request, given)
    add_route(api, "POST", "/v1/scores", routes.scores_of_many, many)


@dataclass(frozen=True, eq=False)
class ScoreRoutes:
    """Endpoints that answer scores.

    Parameters
    ----------
    service : Service
        Whose scorer and metrics.
    batcher : Batcher
        Asks the scorer off the event loop.
    """

    service: Service
    batcher: Batcher

    async def score_of_a_customer(self, request: Request) -> Response:
        """Score a customer by id, from the cheapest source that is fresh enough.

        The score comes with its decision (whether contacting pays), the profit that contacting is expected to earn, its
        age and where it comes from. `degraded` says that it is not what was asked for, and `degraded_because` why.
        """
        query = read_query(ScoreQuery, request)
        return await self._answer(Ask(read_id(request), query.mode, query.explain))

    async def score_of_a_request(self, request: Request) -> Response:
        """Score a customer by id, or features that you send.

        Features are scored as they are, whatever the mode, and are not kept. Every feature of the model has to be
        there, by the names that `GET /version` lists: null where it is missing, which is not the same as zero.
        """
        wanted = read_body(ScoreRequest, request)
        try:
            return await self._answer(_ask(wanted))
        except InputError as error:
            raise _placed(error, wanted, "") from None

    async def scores_of_many(self, request: Request) -> Response:
        """Score up to 1,000 customers at once.

        Every request is answered in its place: with a score, or with what it would have been refused with alone. The
        status is 200 wherever the list itself could be read.
        """
        results: list[ServedScore | Failure | None] = []
        asks: list[Ask] = []
        places: list[tuple[int, ScoreRequest]] = []
        for index, item in enumerate(read_body(ScoresRequest, request).requests):
            try:
                wanted = check(ScoreRequest, item, within=f"requests[{index}]")
            except InputError as error:
                results.append(failure_of(error))
                continue
            asks.append(_ask(wanted))
            places.append((index, wanted))
            results.append(None)
        answers = await self.batcher.ask_many(asks)
        # One of a kind: what is wrong with a version is wrong with every answer.
        for failed in {type(answer): answer for answer in answers if isinstance(answer, TenureError)}.values():
            log_hidden(failed, request)
        for (index, wanted), answer in zip(places, answers, strict=True):
            results[index] = answer if isinstance(answer, ServedScore) else _failure(answer, wanted, index)
        return json_response(to_json(self._many(results), inf_nan_mode="null"))

    async def _answer(self, ask: Ask) -> Response:
        score = self.service.scorer.peek(ask)
        if score is None:
            score = await self.batcher.ask(ask)
        self.service.metrics.scored(score)
        return json_response(score_json(score))

    def _many(self, results: list[ServedScore | Failure | None]) -> dict[str, Any]:
        scores = [result for result in results if isinstance(result, ServedScore)]
        self.service.metrics.scored_many(scores)
        documents = [
            score_document(result) if isinstance(result, ServedScore) else _item(index, result)
            for index, result in enumerate(results)
        ]
        return {"results": documents, "scored": len(scores), "failed": len(results) - len(scores)}


def _ask(wanted: ScoreRequest) -> Ask:
    return Ask(wanted.customer_id, wanted.mode, wanted.explain, wanted.features)


def _placed(error: InputError, wanted: ScoreRequest, within: str) -> InputError:
    """The same error with the place in the request of what is wrong, where it is a feature of the body."""
    feature = error.ids.get("feature", error.ids.get("column"))
    places = ["customer_id"] if wanted.features is None else ["features", *([str(feature)] if feature else [])]
    error.ids["field"] = field_path(places, within=within)
    return error


def _failure(error: TenureError, wanted: ScoreRequest, index: int) -> Failure:
    if isinstance(error, InputError):
        error = _placed(error, wanted, f"requests[{index}]")
    return failure_of(error)


def _item(index: int, failure: Failure | None) -> dict[str, Any]:
    """Why one of many has no score."""
    refused = failure or Failure(500, "The service failed")
    return {
        "index": index,
        "status": refused.status,
        "title": refused.title,
        "detail": refused.detail,
        "field": refused.field,
    }
