"""What may be said over HTTP: requests and answers, with the words and examples that the API's own description shows.

Enters: parsed JSON, a query, a path. Leaves: a request of which every value has been looked at, or an error at the
place that is wrong. Invariant: nothing is guessed: types are strict, a number is finite and small enough for a model, a
key that is not known is refused, and an id is text that can stand in a log, a path and a key of a cache.
"""

from __future__ import annotations

import re
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from tenure.score.served import Cause, Mode, Source

__all__ = [
    "AboutAnswer",
    "CustomerId",
    "CustomerPath",
    "ErrorItem",
    "LiveAnswer",
    "Problem",
    "ReadyAnswer",
    "ReasonAnswer",
    "ScoreAnswer",
    "ScoreQuery",
    "ScoreRequest",
    "ScoresAnswer",
    "ScoresRequest",
    "Wire",
]

MOST_REQUESTS = 1_000
LARGEST = 3.4028234663852886e38  # the largest number of a float32, in which the models compute
_NUMBERS = frozenset({float, int})
_KINDS = frozenset({*_NUMBERS, str, bool, type(None)})
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")
_SEGMENTS = re.compile(r"[/\\]")
# What `_fit_id` lets through, for whoever reads the description; to match it costs more than to look for what is unfit.
ID_PATTERN = r"^(?!(.*[/\\])?\.\.([/\\]|$))[^\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd]*$"


def _fit_id(text: str) -> str:
    """Refuse what could not stand in a path, a log line or a key."""
    if not (text.isascii() and text.isprintable()) and _UNFIT.search(text):
        raise PydanticCustomError("id_characters", "holds control characters, or characters that are no text")
    if ".." in text and ".." in _SEGMENTS.split(text):
        raise PydanticCustomError("id_path", "holds '..' as a part of a path")
    return text


def _fit_features(features: dict[str, Any]) -> dict[str, Any]:
    """Refuse values that no feature can have; by hand, because a union of types costs ten times as much."""
    kinds = set(map(type, features.values()))
    if kinds <= _KINDS:
        numbers = [value for value in features.values() if type(value) in _NUMBERS]
        # The sum is asked last: only it finds every NaN, and only within these bounds it is no integer beyond floats.
        if not numbers or (min(numbers) >= -LARGEST and max(numbers) <= LARGEST and isfinite(sum(numbers))):
            return features
    for name, value in features.items():
        kind = type(value)
        if kind is float or kind is int:
            if not -LARGEST <= value <= LARGEST:
                raise PydanticCustomError(
                    "feature_number", "is a number that no model can use", {"at": name, "value": _shown(value)}
                )
        elif not (kind is str or kind is bool or value is None):
            raise PydanticCustomError(
                "feature_kind",
                "is neither a number nor text, true, false or null",
                {"at": name, "value": _shown(value)},
            )
    return features


def _shown(value: Any) -> str:
    """A value as a message may repeat it."""
    text = f"{float(value):g}" if type(value) is float else "a list" if type(value) is list else type(value).__name__
    return {"dict": "an object", "int": "an integer of too many digits"}.get(text, text)


CustomerId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="as the project's data names the customer: no control characters, no `..` as a part of a path",
        examples=["c100"],
        json_schema_extra={"pattern": ID_PATTERN},
    ),
    AfterValidator(_fit_id),
]
FEATURES_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
            {"type": "string"},
            {"type": "boolean"},
            {"type": "null"},
        ]
    },
}
Features = Annotated[dict[str, Any], AfterValidator(_fit_features), WithJsonSchema(FEATURES_SCHEMA)]


class Wire(BaseModel):
    """What a request may hold: strict types, and no key that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ScoreQuery(BaseModel):
    """How a score is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = Field(
        "auto",
        description="`auto`: the precomputed score while it holds, else a cached one, else live; "
        "`batch`: precomputed only; `realtime`: live only",
    )
    explain: bool = Field(False, description="whether to say which features go with the score")


class CustomerPath(BaseModel):
    """Whose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    customer_id: CustomerId


class ScoreRequest(Wire):
    """One score: by the customer's id, or for features that the caller knows."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["customer_id"], "properties": {"customer_id": {"type": "string"}}},
                {"required": ["features"], "properties": {"features": {"type": "object"}}},
            ],
            "examples": [
                {"customer_id": "c100", "explain": True},
                {"customer_id": "c100", "features": {"order_count_28d": 2, "plan": "basic"}, "mode": "realtime"},
            ],
        }
    )

    customer_id: CustomerId | None = None
    features: Features | None = Field(
        None, description="the customer's features by name, every one that the model uses; null is missing"
    )
    mode: Mode = Field("auto", description="where the score may come from; without meaning where features are given")
    explain: bool = Field(False, description="whether to say which features go with the score")

    @model_validator(mode="after")
    def _speaks_of_somebody(self) -> ScoreRequest:
        if self.customer_id is None and self.features is None:
            raise PydanticCustomError("nobody", "names neither a `customer_id` nor `features`")
        return self


class ScoresRequest(Wire):
    """Many scores at once; a request that is wrong does not spoil the others."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"customer_id": "c100"}, {"customer_id": "c101"}]}]}
    )

    requests: Annotated[
        list[Any],
        Field(min_length=1, max_length=MOST_REQUESTS, description="one object per score, as `POST /v1/score` takes it"),
        WithJsonSchema(
            {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_REQUESTS,
                "items": {"$ref": "#/components/schemas/ScoreRequest"},
            }
        ),
    ]


class ReasonAnswer(BaseModel):
    """What one feature of the customer goes with: an association, not a cause."""

    feature: str = Field(description="its name", examples=["order_days_since_last"])
    value: float | str | None = Field(description="the customer's value; null is missing", examples=[41.5])
    usual: float | None = Field(description="median of the customers learned from; null for text", examples=[9.0])
    contribution: float = Field(description="log odds that it adds, before calibration", examples=[0.61])
    effect: float = Field(
        description="probability that it goes with: 0.12 is twelve percentage points", examples=[0.12]
    )
    text: str = Field(description="the same in words", examples=["last order was 41.5 days ago (usual: 9)"])


class ScoreAnswer(BaseModel):
    """A churn score with its decision, its age and where it comes from."""

    customer_id: str | None = Field(description="whose; null where features came without one", examples=["c100"])
    probability: float = Field(ge=0, le=1, description="calibrated probability of churn", examples=[0.271])
    decision: Literal["contact", "no_contact"] = Field(description="whether contacting pays", examples=["contact"])
    expected_profit: float | None = Field(
        description="money that contacting is expected to earn; null where the customer's value is not known",
        examples=[38.78],
    )
    expected_profit_low: float | None = Field(
        description="its low end; null where the save rate is no range", examples=[19.39]
    )
    expected_profit_high: float | None = Field(description="its high end, likewise", examples=[58.17])
    band: Literal["low", "medium", "high"] | None = Field(
        description="how the probability stands to the customer's threshold", examples=["high"]
    )
    reasons: list[ReasonAnswer] | None = Field(
        description="the strongest effect first; null where none were asked for or none are known"
    )
    model_version: str = Field(description="the trained version that the probability comes from", examples=["v3"])
    alias: str | None = Field(description="the alias under which that version serves now", examples=["champion"])
    source: Source = Field(
        description="`batch`, `cache` or `realtime`; `fallback`: the fallback model's, or the base rate; "
        "`stale`: older than the settings allow",
        examples=["batch"],
    )
    features_as_of: datetime | None = Field(
        description="what the features speak for; null where nothing is known or the caller gave them",
        examples=["2026-03-01T00:00:00Z"],
    )
    computed_at: datetime = Field(description="when the probability was worked out", examples=["2026-03-01T02:11:09Z"])
    degraded: bool = Field(description="whether this is not the answer that was asked for", examples=[False])
    degraded_because: list[Cause] = Field(description="why; empty where nothing is wrong", examples=[[]])
    inference_id: str = Field(
        description="this answer's own name, a UUID in order of time",
        examples=["0199c3a2-7d1e-7c31-9a54-5f0b1d2c3e4f"],
        json_schema_extra={"format": "uuid"},
    )


class ErrorItem(BaseModel):
    """Why one of many has no score."""

    index: int = Field(ge=0, description="its place in `requests`", examples=[1])
    status: int = Field(description="what it would have been answered alone", examples=[404])
    title: str = Field(description="the kind of failure", examples=["Not Found"])
    detail: str = Field(description="what happened", examples=["No customer is called 'c9'."])
    field: str | None = Field(description="the part of the request that is wrong", examples=["requests[1].customer_id"])


class ScoresAnswer(BaseModel):
    """As many results as there were requests, in their order."""

    results: list[ScoreAnswer | ErrorItem] = Field(description="a score, or why there is none")
    scored: int = Field(ge=0, description="how many have a score", examples=[2])
    failed: int = Field(ge=0, description="how many have none", examples=[0])


class Problem(BaseModel):
    """Why a request has no answer (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(description="the kind of failure", examples=["Not Found"])
    status: int = Field(description="the HTTP status", examples=[404])
    detail: str | None = Field(None, description="what happened, with which values")
    hint: str | None = Field(None, description="what to do next")
    field: str | None = Field(None, description="the part of the request that is wrong", examples=["customer_id"])
    request_id: str | None = Field(None, description="what the service's logs call this request")


class LiveAnswer(BaseModel):
    """The process runs."""

    status: Literal["ok"] = Field(examples=["ok"])


class ReadyAnswer(BaseModel):
    """Whether requests should come here."""

    ready: bool = Field(
        description="a verified version is loaded, and what it needs answers or is passed over", examples=[True]
    )
    version: str | None = Field(description="the version that answers", examples=["v3"])
    alias: str | None = Field(description="the alias under which it serves", examples=["champion"])
    dependencies: dict[str, Literal["closed", "half_open", "open"]] = Field(
        description="the breaker of each dependency: `open` is passed over",
        examples=[{"database": "closed", "store": "open"}],
    )
    reason: str = Field(description="why it is not ready, or what is degraded", examples=["The store does not answer."])


class AboutAnswer(BaseModel):
    """What is running."""

    tenure: str = Field(description="version of the package", examples=["0.1.0"])
    version: str | None = Field(description="the trained version that answers", examples=["v3"])
    alias: str | None = Field(description="the alias under which it serves", examples=["champion"])
    family: str | None = Field(description="its model family", examples=["xgboost"])
    trained_at: datetime | None = Field(description="UTC", examples=["2026-02-27T04:05:06Z"])
    fingerprint: str | None = Field(description="SHA-256 of the version", examples=["9f2c…"])
    features: list[str] = Field(description="features that a request may send", examples=[["order_count_28d", "plan"]])
