"""What a caller is told when a request fails: RFC 9457 problems, one shape for every refusal.

Enters: one of tenure's errors, or what a gate found wrong. Leaves: a status and the bytes of a document of the type
`application/problem+json`. Invariant: only what a caller did wrong is told in words; what is wrong inside says no more
than that, so that no path, address, query or stack ever leaves the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from pydantic_core import to_json

from tenure.core.errors import (
    ArtifactError,
    ConfigError,
    InputError,
    MissingExtraError,
    NotFoundError,
    StateError,
    TenureError,
)

__all__ = ["PROBLEM_TYPE", "Failure", "of_error", "problem"]

PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS = 1  # a breaker tries again after a second
# What an error calls the thing that was wrong with the request, the nearest to the caller first.
_FIELDS = ("field", "feature", "column", "customer_id")
_WRONG = "The request cannot be answered as it is"
_UNKNOWN = "Not found"
_LATER = "Not now"
_FAILED = "The service failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal, before it is known which request it answers.

    Parameters
    ----------
    status : int
        HTTP status.
    title : str
        The kind of failure, the same for every request of that kind.
    detail : str
        What happened, with which values; empty where nothing may be told.
    hint : str
        What to do next.
    field : str or None
        The part of the request that is wrong.
    retry_after_seconds : int or None
        When trying again may help.

    Examples
    --------
    >>> Failure(422, "Wrong", field="mode").body("r1")
    b'{"type":"about:blank","title":"Wrong","status":422,"field":"mode","request_id":"r1"}'
    """

    status: int
    title: str
    detail: str = ""
    hint: str = ""
    field: str | None = None
    retry_after_seconds: int | None = None

    def body(self, request_id: str | None = None) -> bytes:
        """The document that answers one request."""
        return problem(self.status, self.title, self.detail, self.hint, self.field, request_id)

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's head says beside the gate's own lines."""
        head = {"content-type": PROBLEM_TYPE}
        if self.retry_after_seconds is not None:
            head["retry-after"] = str(self.retry_after_seconds)
        return head


def problem(
    status: int, title: str, detail: str, hint: str = "", field: str | None = None, request_id: str | None = None
) -> bytes:
    """A problem document; what is empty is left out.

    Parameters
    ----------
    status : int
        HTTP status.
    title, detail, hint : str
        The kind of failure, what happened this time, and what to do next.
    field : str, optional
        The part of the request that is wrong.
    request_id : str, optional
        What the service's logs call this request.

    Returns
    -------
    bytes
        JSON. A lone surrogate, which UTF-8 cannot hold, is shown as `?`.

    Examples
    --------
    >>> problem(404, "Not found", "", request_id="r1")
    b'{"type":"about:blank","title":"Not found","status":404,"request_id":"r1"}'
    """
    document: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    for name, text in (("detail", detail), ("hint", hint), ("field", field), ("request_id", request_id)):
        if text:
            document[name] = text.encode("utf-8", "replace").decode("utf-8")
    return to_json(document)


def of_error(error: TenureError) -> Failure:
    """The refusal that an error means to a caller.

    Parameters
    ----------
    error : TenureError
        What was raised while the request was answered.

    Returns
    -------
    Failure
        404 for what does not exist, 422 for wrong input, 503 for what may work later or after an operator's help, and
        500 without a word for anything else.

    Examples
    --------
    >>> of_error(InputError("age is no number.", column="age")).field
    'age'
    >>> of_error(StateError("The database is locked.")).headers["retry-after"]
    '1'
    """
    if isinstance(error, InputError) and not isinstance(error, ConfigError | MissingExtraError):
        status = HTTPStatus.NOT_FOUND if isinstance(error, NotFoundError) else HTTPStatus.UNPROCESSABLE_ENTITY
        title = _UNKNOWN if status is HTTPStatus.NOT_FOUND else _WRONG
        return Failure(status.value, title, error.message, error.hint, _field_of(error))
    if isinstance(error, StateError):
        what = error.ids.get("dependency")
        detail = f"The {what} does not answer now." if what else "The service cannot do this now."
        return Failure(503, _LATER, detail, "Try again in a moment.", retry_after_seconds=RETRY_SECONDS)
    if isinstance(error, ArtifactError):
        return Failure(503, "No model can answer", "The trained version was refused; the service's log says why.")
    return Failure(500, _FAILED)


def _field_of(error: TenureError) -> str | None:
    for name in _FIELDS:
        value = error.ids.get(name)
        if value is not None:
            return name if name == "customer_id" else str(value)
    return None
