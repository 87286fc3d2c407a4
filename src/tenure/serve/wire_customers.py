"""What is said over HTTP about one customer.

Enters: nothing. Leaves: the shape of the answer, for the API's description. Invariant: every age is in seconds, and
what is not known is null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from tenure.score.served import Cause
from tenure.serve.wire import ScoreAnswer

__all__ = ["CustomerAnswer"]


class CustomerAnswer(BaseModel):
    """A customer's features now, how old they are, and their score of the last batch."""

    customer_id: str = Field(description="who", examples=["c100"])
    as_of: datetime | None = Field(
        description="what the features of events speak for", examples=["2026-03-01T12:00:00Z"]
    )
    features: dict[str, float | int | str | bool | None] | None = Field(
        description="every feature of the version that serves; null where they cannot be had",
        examples=[{"order_count_28d": 3, "order_days_since_last": 1.5, "plan": "basic"}],
    )
    events: Literal["online", "batch", "none"] = Field(
        description="where the features of events come from: stream, last batch or nowhere",
        examples=["online"],
    )
    events_age_seconds: float | None = Field(
        description="since the newest record that they could know, or since the batch", examples=[0.8]
    )
    attributes_age_seconds: float | None = Field(
        description="since the batch that the attributes come from; null: there are none", examples=[43_200.0]
    )
    newest_event_at: datetime | None = Field(
        description="since when the customer's newest folded event counts",
        examples=["2026-02-28T10:00:00.000001Z"],
    )
    score: ScoreAnswer | None = Field(description="of the last batch, whatever its age; null where there is none")
    degraded: bool = Field(description="whether something could not be read", examples=[False])
    degraded_because: list[Cause] = Field(description="what; empty where nothing is wrong", examples=[[]])
