"""What may be said over HTTP about events.

Enters: parsed JSON. Leaves: a list of what is meant to be events, which are judged one by one later. Invariant: the
envelope is strict; what is inside is nobody's business here, so that one bad event does not spoil the others.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from tenure.serve.wire import ID_PATTERN, Wire

__all__ = ["KEY_PARAMETER", "KEY_PATTERN", "LONGEST_KEY", "EventResult", "EventsAnswer", "EventsRequest"]

MOST_EVENTS = 1_000
LONGEST_KEY = 200
KEY_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
_EVENT = {
    "type": "object",
    "required": ["type", "customer_id", "time"],
    "properties": {
        "type": {"type": "string", "description": "a section [events.…] of the project's settings"},
        "customer_id": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": ID_PATTERN},
        "time": {
            "type": "string",
            "description": "when it happened, ISO 8601; in the project's zone where it names none",
        },
        "recorded": {"type": ["string", "null"], "description": "when it became known, likewise"},
        "id": {"type": ["string", "null"], "maxLength": 200, "description": "tells it from every other of its type"},
    },
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "a name that you choose for this request; made again with the same body, it appends nothing",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": KEY_PATTERN},
    "example": "till-7-2026-03-01-0042",
}


class EventsRequest(Wire):
    """Events to append; one that is wrong does not spoil the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"events": [{"type": "order", "customer_id": "c100", "time": "2026-03-01T12:00:00Z", "amount": 19.9}]}
            ]
        }
    )

    events: Annotated[
        list[Any],
        Field(min_length=1, max_length=MOST_EVENTS, description="one flat object per event"),
        WithJsonSchema({"type": "array", "minItems": 1, "maxItems": MOST_EVENTS, "items": _EVENT}),
    ]


class EventResult(BaseModel):
    """What became of one event: its place in the log, or why it has none."""

    index: int = Field(ge=0, description="its place in `events`", examples=[0])
    status: Literal["accepted", "refused"] = Field(description="whether it is in the log", examples=["accepted"])
    partition: int | None = Field(None, description="where in the log; absent where it was refused", examples=[3])
    offset: int | None = Field(None, description="where in that partition; likewise", examples=[17])
    reason: str | None = Field(None, description="why it was refused", examples=[None])
    detail: str | None = Field(None, description="what was found", examples=[None])
    field: str | None = Field(
        None,
        description="the part of the request that is wrong; null: the event as a whole",
        examples=[None],
    )


class EventsAnswer(BaseModel):
    """As many results as there were events, in their order. What is accepted is durable."""

    accepted: int = Field(ge=0, description="how many are in the log", examples=[1])
    refused: int = Field(ge=0, description="how many are not", examples=[0])
    results: list[EventResult] = Field(description="what became of each")
