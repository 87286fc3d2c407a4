"""Calls an application in this process: the gate, the routes and the scorer are real, only the socket is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx

from tenure.app.scorer import ahead_of
from tenure.app.serve import open_service
from tenure.serve.app import Application, create_app
from tenure.serve.gate import Finished
from tenure.serve.service import Service
from tests.serve.project import AS_OF, Shop

__all__ = ["Caller", "calling", "serving"]

PLACE = "http://localhost"


class Caller:
    """Asks an application; one event loop for all its requests."""

    def __init__(self, app: Application, service: Service, runner: asyncio.Runner) -> None:
        self.app, self.service, self._runner = app, service, runner

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.together([(method, path, options)])[0]

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send requests at the same time."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=PLACE) as client:
                return await asyncio.gather(
                    *(client.request(method, path, **options) for method, path, options in requests)
                )

        return self._runner.run(send())


@contextmanager
def calling(service: Service, finished: Sequence[Callable[[Finished], None]] = ()) -> Iterator[Caller]:
    """An application of a service, begun and ended as a server does."""
    app = create_app(service, finished=finished)
    with asyncio.Runner() as runner:
        life = AsyncExitStack()
        runner.run(life.enter_async_context(app.api.router.lifespan_context(app.api)))
        try:
            yield Caller(app, service, runner)
        finally:
            runner.run(life.aclose())


@contextmanager
def serving(shop: Shop, **settings: Any) -> Iterator[Caller]:
    """The service of a shop at the end of its log, with `[serve]` settings in place of some of its own."""
    place = shop.place({("serve", name): value for name, value in settings.items()})
    with open_service(place, ahead=ahead_of(place, AS_OF)) as service, calling(service) as caller:
        yield caller
