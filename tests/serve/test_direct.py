"""What a caller is not told is in the log: the kind of an error and where it came from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tenure.core.errors import ArtifactError, ConfigError, NotFoundError, StateError, TenureError
from tenure.score.served import Ask
from tests.serve.caller import Caller, calling
from tests.serve.project import SCORED

MANY = {"requests": [{"customer_id": "c1"}, {"customer_id": "c2"}]}
Asked = tuple[str, str, dict[str, Any]]
ONE: Asked = ("GET", f"/v1/score/{SCORED}", {})
SEVERAL: Asked = ("POST", "/v1/scores", {"json": MANY})


def asked(caller: Caller, error: TenureError, request: Asked) -> Any:
    """The answer of a service whose scorer fails every ask."""

    def score(asks: Sequence[Ask]) -> list[TenureError]:
        return [error] * len(asks)

    scorer = SimpleNamespace(peek=lambda _: None, score=score)
    with calling(replace(caller.service, scorer=cast("Any", scorer))) as broken:
        return broken.ask(request[0], request[1], **request[2])


@pytest.mark.parametrize("request_of", [ONE, SEVERAL])
@pytest.mark.parametrize(
    ("error", "status"), [(ConfigError("/srv/x"), 500), (TenureError("/srv/x"), 500), (ArtifactError("/srv/x"), 503)]
)
def test_what_is_hidden_from_a_caller_is_logged_once(
    caller: Caller,
    error: TenureError,
    status: int,
    request_of: Asked,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "tenure.serve"):
        answer = asked(caller, error, request_of)
    told = [item["status"] for item in answer.json()["results"]] if request_of is SEVERAL else [answer.status_code]
    assert set(told) == {status}
    assert "/srv/x" not in answer.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert record.__dict__["request_id"] == answer.headers["x-request-id"]
    assert record.__dict__["route"] == request_of[1].replace(SCORED, "{customer_id}")


@pytest.mark.parametrize("error", [NotFoundError("No 'c1'."), StateError("The database is locked.")])
def test_what_a_caller_is_told_is_not_logged(
    caller: Caller, error: TenureError, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "tenure.serve"):
        assert asked(caller, error, ONE).status_code in {404, 503}
    assert not caplog.records
