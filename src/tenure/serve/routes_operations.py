"""What operators and their tools ask: does it live, should requests come here, what is counted, what is running.

Enters: a request that the gate has let in. Leaves: small answers, worked out from memory. Invariant: `/livez` asks
nothing but whether the process answers, so that no outage of another machine has this one restarted.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from tenure.serve.direct import Described, add_route, json_response
from tenure.serve.metrics import CONTENT_TYPE
from tenure.serve.service import CLOSING, Service
from tenure.serve.wire import AboutAnswer, LiveAnswer, ReadyAnswer

__all__ = ["add_operation_routes"]

TAG = "Operations"


def add_operation_routes(api: FastAPI, service: Service) -> None:
    """Add the routes that say how the service is.

    Parameters
    ----------
    api : FastAPI
        The API.
    service : Service
        Whose state is told.
    """
    routes = OperationRoutes(service)
    live = Described(LiveAnswer, TAG, is_public=True)
    ready = Described(ReadyAnswer, TAG, is_public=True, also={503: ReadyAnswer})
    add_route(api, "GET", "/livez", routes.live, live)
    add_route(api, "GET", "/readyz", routes.ready, ready)
    add_route(api, "GET", "/version", routes.version, Described(AboutAnswer, TAG))
    add_route(api, "GET", "/metrics", routes.metrics, Described(None, TAG, media_type="text/plain"))


@dataclass(frozen=True, eq=False)
class OperationRoutes:
    """Endpoints for operators.

    Parameters
    ----------
    service : Service
        Whose state is told.
    """

    service: Service

    async def live(self, _: Request) -> Response:
        """Whether the process answers.

        Restart it where this fails, and for no other reason.
        """
        return json_response(b'{"status":"ok"}')

    async def ready(self, request: Request) -> Response:
        """Whether requests should come here.

        Yes where a verified version is loaded and everything it needs answers, or is known not to and passed over: such
        a service still answers, with scores that say what they lack. No while it starts and once it was told to stop.
        """
        readiness = self.service.ready()
        if CLOSING in request.scope:
            readiness = replace(readiness, ready=False, reason="This process is being stopped.")
        response = json_response(to_json(asdict(readiness)))
        response.status_code = 200 if readiness.ready else 503
        return response

    async def version(self, _: Request) -> Response:
        """What is running: the package, the trained version, the features that a request may send."""
        return json_response(to_json(asdict(self.service.about())))

    async def metrics(self, _: Request) -> Response:
        """What is counted, over all worker processes, as Prometheus reads it."""
        text = await asyncio.to_thread(self.service.metrics.text)  # reads files of all workers
        return Response(text, media_type=CONTENT_TYPE)
