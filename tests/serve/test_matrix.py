"""Route by method by role: every cell is asked for, and whatever nobody decided about is denied.

Routes come from the application, roles from the policy. A route that one of the two lacks fails a test, so that whoever
adds one has to decide who may use it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tenure.serve.body import BODY_LIMIT, DEPTH_LIMIT
from tenure.serve.head import HEAD_LIMIT
from tenure.serve.keys import create_key, revoke_key
from tenure.serve.roles import POLICY, PUBLIC, ROLES, Policy, Role
from tests.architecture.tree import ROOT
from tests.serve.asgi import Answered, asking
from tests.serve.caller import Caller, serving
from tests.serve.project import SCORED, Shop

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get")
JSON = {"content-type": "application/json"}
EVENT = b'{"events": [{"type": "order", "customer_id": "c100", "time": "2025-10-27T12:00:00Z", "amount": 5.0}]}'
BODIES = {
    "/v1/score": b'{"customer_id": "c100"}',
    "/v1/scores": b'{"requests": [{"customer_id": "c100"}]}',
    "/v1/events": EVENT,
}
NO_KEY = ("no key", "garbage", "revoked")


@dataclass(frozen=True)
class World:
    """A service with keys of every kind, and a note of what its application is reached by."""

    caller: Caller
    shown: Mapping[str, Mapping[str, str]]
    reached: list[tuple[str, str]]

    @property
    def api(self) -> FastAPI:
        return self.caller.app.api

    def ask(self, requests: list[tuple[str, str, str]]) -> list[tuple[Answered, bool]]:
        """Ask (who, method, path) one after another; the answers, and whether the application was reached."""

        async def each() -> list[tuple[Answered, bool]]:
            found = []
            for who, method, path in requests:
                self.reached.clear()
                body = BODIES.get(path, b"{}") if method in {"POST", "PUT", "PATCH"} else b""
                answer = await asking(self.caller.app, method, path, {**JSON, **self.shown[who]}, body)
                found.append((answer, bool(self.reached)))
            return found

        return asyncio.run(each())


@pytest.fixture(scope="module")
def world(built_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = Path(shutil.copytree(built_shop.folder, tmp_path_factory.mktemp("matrix") / "shop"))
    shop = Shop(folder / built_shop.config.name)
    database = shop.place().database()
    tokens = {role: create_key(database, role, [role], 1e6) for role in ROLES}
    revoked, lost = create_key(database, "revoked", ROLES)
    revoke_key(database, revoked.id)
    database.dispose()
    shown: dict[str, Mapping[str, str]] = {
        "no key": {},
        "garbage": {"x-api-key": f"tenure_{tokens['admin'][0].id}_{'A' * 43}"},
        "revoked": {"x-api-key": lost},
        **{role: {"authorization": f"Bearer {token}"} for role, (_, token) in tokens.items()},
    }
    reached: list[tuple[str, str]] = []
    with serving(shop) as caller:
        behind = caller.app.gate.app

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            reached.append((scope["method"], scope["path"]))
            await behind(scope, receive, send)

        caller.app.gate.app = noted
        yield World(caller, shown, reached)


def routes_of(api: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path that an application routes; what is no plain route is named by what it is.

    Starlette's own routes answer HEAD wherever they answer GET. Nobody decides about that: the gate denies it, as
    `test_every_cell` sees.
    """
    for route in api.routes:
        if isinstance(route, Route) and route.methods:
            beside = {"HEAD"} if "GET" in route.methods else set()
            yield from ((method, route.path) for method in sorted(route.methods - beside))
        else:
            yield type(route).__name__, getattr(route, "path", "")


def undecided(api: FastAPI, policy: Policy) -> list[str]:
    """Routes about which the policy says nothing, and lines of the policy that speak of no route."""
    routed = set(routes_of(api))
    return sorted(
        [f"{method} {path} has no line in the policy" for method, path in routed - set(policy)]
        + [f"{method} {path} of the policy is no route" for method, path in set(policy) - routed]
    )


def filled(template: str) -> str:
    return template.replace("{customer_id}", SCORED)


def expected(who: str, method: str, template: str) -> int:
    """What the gate says to somebody; 0 where it lets them in."""
    need = POLICY.get((method, template), frozenset())
    if need is PUBLIC:
        return 0
    if who in NO_KEY:
        return 401
    if (method, template) not in POLICY:
        return 405
    return 0 if who == "admin" or who in need else 403


def test_every_route_has_a_line_in_the_policy_and_every_line_a_route(world: World) -> None:
    assert undecided(world.api, POLICY) == []
    assert len(set(routes_of(world.api))) == len(POLICY) > 10


async def planted(*_: Any) -> PlainTextResponse:
    return PlainTextResponse("reached")


def plant_socket(api: FastAPI) -> None:
    @api.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()


def plant_router(api: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/export", planted)
    api.include_router(router, prefix="/v1")


def plant_mount(api: FastAPI) -> None:
    inner = FastAPI()
    inner.add_route("/{rest:path}", planted)
    api.mount("/v1/customers", inner)


PLANTS: dict[str, Callable[[FastAPI], object]] = {
    "a route": lambda api: api.add_route("/v1/export", planted),
    "a method": lambda api: api.add_route("/v1/scores", planted, methods=["DELETE"]),
    "a websocket": plant_socket,
    "a router": plant_router,
    "a mounted application": plant_mount,
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_what_nobody_decided_about_is_found(plant: Callable[[FastAPI], object]) -> None:
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    plant(api)
    assert undecided(api, {})
    assert undecided(FastAPI(openapi_url=None), {("GET", "/v1/gone"): PUBLIC}) == [
        "GET /v1/gone of the policy is no route"
    ]


def test_every_cell(world: World) -> None:
    templates = sorted({path for _, path in [*routes_of(world.api), *POLICY]})
    cells = [(who, method, path) for path in templates for method in METHODS for who in world.shown]
    answers = world.ask([(who, method, filled(path)) for who, method, path in cells])
    wrong = []
    for cell, (answer, is_reached) in zip(cells, answers, strict=True):
        status = expected(*cell)
        is_right = answer.status in {200, 202, 503} if status == 0 else answer.status == status
        if not is_right or is_reached != (status == 0):
            wrong.append((*cell, answer.status, is_reached))
    assert wrong == []
    assert len(cells) == len(templates) * len(METHODS) * 6
    denied = sum(expected(*cell) != 0 for cell in cells)
    # Each line of the policy lets in who has the role and admin; public ones all six.
    let_in = sum(6 if need is PUBLIC else len(need | {"admin"}) for need in POLICY.values())
    assert denied == len(cells) - let_in


def test_what_is_near_a_route_is_denied(world: World) -> None:
    """Paths that a careless comparison would take for one that is listed."""
    near = set()
    for _, template in POLICY:
        path = filled(template)
        near |= {
            f"{path}/", f"{path}/x", f"/{path}", f"/x{path}", f"{path}/..", f"{path}/%2e%2e", f"{path};x", f"{path}%20",
            path.upper(), path[1:], template.rpartition("/")[0] or "/", f"{template.rpartition('/')[0]}/",
        }  # fmt: skip
    listed = {path for _, path in POLICY if "{" not in path}
    below = re.compile(r"/v1/(score|customers)/[^/]+")
    near = {path for path in near if path not in listed and not below.fullmatch(path)}
    asked = [(who, method, path) for path in sorted(near) for method in ("GET", "POST") for who in ("no key", "admin")]
    answers = world.ask(asked)
    assert len(near) > 60
    assert [request for request, (_, is_reached) in zip(asked, answers, strict=True) if is_reached] == []
    assert {(who, answer.status) for (who, *_), (answer, _) in zip(asked, answers, strict=True)} == {
        ("no key", 401), ("admin", 404),
    }  # fmt: skip


def test_what_is_added_to_the_running_application_is_not_reached(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.api.router, "routes", world.api.router.routes[:])  # for this test alone
    for plant in PLANTS.values():
        plant(world.api)
    assert undecided(world.api, POLICY)
    paths = ["/v1/export", "/v1/customers/x/y", "/v1/customers/", "/v1/live"]
    requests = [(who, method, path) for who in world.shown for path in paths for method in ("GET", "POST")]
    requests += [(who, "DELETE", "/v1/scores") for who in world.shown]
    for (who, *_), (answer, is_reached) in zip(requests, world.ask(requests), strict=True):
        assert answer.status == 401 if who in NO_KEY else answer.status in {404, 405}
        assert not is_reached


def documented_roles() -> Iterator[tuple[str, tuple[str, str]]]:
    """The table of roles in the page about security."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for line in re.findall(r"^\| (.+) \|$", text, re.MULTILINE):
        who, _, may = line.partition(" | ")
        for method, path in re.findall(r"`(GET|POST) (/[^`]*)`", may):
            yield who.strip("`"), (method, path)


def test_the_roles_are_documented_as_they_are() -> None:
    words: dict[str, frozenset[Role] | None] = {
        "score": frozenset({"score"}), "events": frozenset({"events"}), "admin": frozenset({"admin"}),
        "any of them": frozenset(ROLES), "no key": PUBLIC,
    }  # fmt: skip
    assert {place: words[who] for who, place in documented_roles()} == dict(POLICY)


def test_the_limits_are_documented_as_they_are() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert f"({BODY_LIMIT:,} bytes)" in text
    assert f"| {DEPTH_LIMIT} levels" in text
    assert f"({HEAD_LIMIT:,} bytes)" in text
