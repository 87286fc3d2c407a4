"""What a running service looks at again and again: one thing that takes long keeps nobody from the others."""

from __future__ import annotations

import json
from threading import Event
from typing import Any

import pytest

from tenure.app.serve import open_service
from tenure.app.watcher import Watcher
from tenure.core.errors import StateError
from tenure.model.artifact import load_version
from tenure.serve.keys import create_key, revoke_key
from tenure.serve.logs import JsonLines
from tests.serve.project import Shop
from tests.serve.running import PATIENCE_SECONDS, until
from tests.serve.sealed import promote


def test_why_a_look_failed_is_logged_once_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    troubles = iter("AAB")

    def fail() -> None:
        raise StateError(f"{next(troubles)} of c4711 is locked.") from LookupError("c4711")

    told: list[bool] = []
    watcher = Watcher({"keys": fail}, lambda *, failed: told.append(failed), every_seconds=60.0)
    for _ in range(3):
        watcher.look()
    lines = [json.loads(JsonLines(None).format(record)) for record in caplog.records]
    assert [line["dependency"] for line in lines] == ["keys", "keys"]
    assert (lines[0]["error"], lines[0]["causes"]) == ("state", ["LookupError"])
    assert lines[0]["where"][-1].endswith(" fail")
    assert "c4711" not in str(lines)
    assert told == [True, True, True]


def test_a_key_is_revoked_while_a_version_is_verified(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = Event(), Event()

    def slow(*told: Any) -> Any:
        began.set()
        go_on.wait(PATIENCE_SECONDS)
        return load_version(*told)

    place = shop.place({("serve", "refresh_seconds"): 0.02})
    _, token = create_key(place.database(), "crm", ["score"])
    with open_service(place) as service:
        key = service.keys.find(token)
        assert key is not None
        monkeypatch.setattr("tenure.app.champion.load_version", slow)
        promote(place, "v2")
        assert began.wait(PATIENCE_SECONDS)
        revoke_key(place.database(), key.id)
        until(lambda: service.keys.find(token) is None)
        assert service.ready().version == "v1"
        go_on.set()
        until(lambda: service.ready().version == "v2")
