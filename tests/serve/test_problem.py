"""What callers are told, and what they are not."""

from __future__ import annotations

import json

import pytest

from tenure.core.errors import (
    ArtifactError,
    AuditError,
    ConfigError,
    InputError,
    MissingExtraError,
    NotFoundError,
    StateError,
    TenureError,
    UnreachableError,
)
from tenure.serve.problem import of_error, problem


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (NotFoundError("No customer 'c1'.", customer_id="c1"), 404, "customer_id"),
        (InputError("visits is no number.", feature="visits"), 422, "visits"),
        (InputError("visits is no number.", field="features.visits", feature="visits"), 422, "features.visits"),
        (InputError("Something is wrong."), 422, None),
    ],
)
def test_what_a_caller_did_wrong_is_told(error: TenureError, status: int, field: str | None) -> None:
    failure = of_error(error)
    assert (failure.status, failure.field, failure.detail) == (status, field, error.message)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StateError("The database db.internal:5432 is locked."), 503),
        (UnreachableError("redis://10.0.0.7 refuses.", dependency="store"), 503),
        (ArtifactError("db.internal/v3: hash differs."), 503),
        (ConfigError("/etc/tenure.toml is wrong (db.internal)."), 500),
        (MissingExtraError("No module at db.internal."), 500),
        (AuditError("db.internal knows the future."), 500),
        (TenureError("db.internal broke."), 500),
    ],
)
def test_what_is_wrong_inside_stays_inside(error: TenureError, status: int) -> None:
    failure = of_error(error)
    assert failure.status == status
    told = failure.body("r1").decode()
    assert not any(word in told for word in ("internal", "10.0.0.7", "/etc", "5432"))
    assert ("retry-after" in failure.headers) == isinstance(error, StateError)


def test_the_dependency_that_failed_is_named() -> None:
    assert "store" in of_error(UnreachableError("", dependency="store")).detail


def test_a_problem_is_json_whatever_the_text_holds() -> None:
    text = "\ud800 \x00 </script> \u2028 ü"
    document = json.loads(problem(422, "Wrong", text, text, text, "r1"))
    assert document["detail"] == document["field"] == text.replace("\ud800", "?")
    assert set(document) == {"type", "title", "status", "detail", "hint", "field", "request_id"}
