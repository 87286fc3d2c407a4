"""A gate with keys of every role, and an application that notes what reaches it."""

from __future__ import annotations

from typing import Any

from tenure.core.database import open_database
from tenure.serve.gate import Admitted, Finished, Gate, admitted
from tenure.serve.keys import Key, KeyRing, create_key, load_keys
from tenure.serve.limits import Limiter
from tests.serve.asgi import Answered, App

LENGTH = (b"content-length", b"3")
JSON = {"content-type": "application/json"}


class Behind:
    """An application that notes what reaches it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.reached: list[Admitted] = []

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        self.reached.append(admitted(scope))
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-own", b"1"), LENGTH]})
        await send({"type": "http.response.body", "body": b"own"})


class World:
    """Keys of every role, and gates that know them."""

    def __init__(self) -> None:
        self.engine = open_database("sqlite://")
        self.keys: dict[str, tuple[Key, str]] = {
            role: create_key(self.engine, role, [role], 1_000) for role in ("score", "events", "admin")
        }
        self.ring = KeyRing(lambda: load_keys(self.engine))
        self.told: list[Finished] = []

    def gate(self, app: App, *, limiter: Limiter | None = None, **options: Any) -> Gate:
        counted = {"finished": [self.told.append], **options}
        return Gate(app, keys=self.ring, limiter=limiter or Limiter(1_000), **counted)

    def bearer(self, role: str = "score") -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[role][1]}"}


def open_gate(app: App, **options: Any) -> Gate:
    return Gate(app, keys=KeyRing(lambda: ()), limiter=Limiter(1), **options)


def is_problem(answer: Answered, status: int) -> bool:
    document = answer.document
    assert answer.head["content-type"] == "application/problem+json"
    assert document["request_id"] == answer.head["x-request-id"]
    return bool(answer.status == document["status"] == status)
