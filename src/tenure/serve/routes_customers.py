"""Customers over HTTP: what is known of one, and how old it is.

Enters: a request that the gate has let in. Leaves: features, ages and a score, or a problem. Invariant: the event loop
reads nothing itself: stores are read in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic_core import to_json

from tenure.core.errors import NotFoundError
from tenure.serve.answer import score_document
from tenure.serve.direct import Described, add_route, json_response
from tenure.serve.facts import CustomerFacts
from tenure.serve.service import Service
from tenure.serve.typed import read_id, refuse_query
from tenure.serve.wire import CustomerPath
from tenure.serve.wire_customers import CustomerAnswer

__all__ = ["add_customer_routes"]

TAG = "Customers"


def add_customer_routes(api: FastAPI, service: Service) -> None:
    """Add the route that says what is known of a customer.

    Parameters
    ----------
    api : FastAPI
        The API.
    service : Service
        Who reads it.
    """
    described = Described(CustomerAnswer, TAG, path=CustomerPath, refusals=(404, 422, 503))
    add_route(api, "GET", "/v1/customers/{customer_id}", CustomerRoutes(service).customer_as_known, described)


@dataclass(frozen=True, eq=False)
class CustomerRoutes:
    """Endpoints about customers.

    Parameters
    ----------
    service : Service
        Who reads what is known.
    """

    service: Service

    async def customer_as_known(self, request: Request) -> Response:
        """What is known of a customer now.

        Their features as the model would get them, with the age of every part, and their score of the last batch.
        """
        read = self.service.customer
        if read is None:
            raise NotFoundError("This project keeps no states of customers.", hint="Ask for a score by id.")
        refuse_query(request)
        facts = await run_in_threadpool(read, read_id(request))
        return json_response(to_json(_document(facts), inf_nan_mode="null"))


def _document(facts: CustomerFacts) -> dict[str, Any]:
    return {
        "customer_id": facts.customer_id,
        "as_of": facts.as_of,
        "features": facts.features,
        "events": facts.events,
        "events_age_seconds": facts.events_age_seconds,
        "attributes_age_seconds": facts.attributes_age_seconds,
        "newest_event_at": facts.newest_event_at,
        "score": None if facts.score is None else score_document(facts.score),
        "degraded": bool(facts.degraded_because),
        "degraded_because": facts.degraded_because,
    }
