"""What `tenure.toml` may say: one frozen, typed model per section.

These are the only pydantic models outside HTTP. Durations are `timedelta`, instants are UTC; a field's description is
what the configuration page and the written `tenure.toml` show.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from tenure.core.time import format_duration, parse_duration, parse_instant, parse_timezone

__all__ = [
    "OPS",
    "VALUE_OPS",
    "WINDOW_OPS",
    "ActiveSettings",
    "AuditSettings",
    "ChurnSettings",
    "ContractSettings",
    "CustomersSettings",
    "EventSettings",
    "ExpirySettings",
    "FeatureSettings",
    "ModelSettings",
    "ProjectSettings",
    "RuntimeSettings",
    "ScoreSettings",
    "Section",
    "ServeSettings",
    "StoreSettings",
    "StreamSettings",
    "TableSettings",
    "ValueSettings",
]

Op = Literal[
    "count", "sum", "mean", "min", "max", "std", "active_days", "first", "last",
    "days_since_first", "days_since_last", "mean_gap", "relative_recency",
]  # fmt: skip
OPS: tuple[str, ...] = Op.__args__  # type: ignore[attr-defined]
VALUE_OPS = frozenset({"sum", "mean", "min", "max", "std", "first", "last"})
WINDOW_OPS = VALUE_OPS | {"count", "active_days"}


def _instant(value: Any) -> datetime:
    if not isinstance(value, str | date):  # a number would pass for seconds since 1970
        raise ValueError(f'{value!r} is no date or time: write "2026-01-31" or "2026-01-31T12:00:00Z"')
    return parse_instant(value)


def _window(value: Any) -> timedelta:
    span = parse_duration(value)
    if span <= timedelta(0):
        raise ValueError(f"{format_duration(span)!r} is not longer than nothing")
    return span


_AS_SPAN = PlainSerializer(format_duration, return_type=str)
Span = Annotated[timedelta, BeforeValidator(parse_duration), _AS_SPAN]
Window = Annotated[timedelta, BeforeValidator(_window), _AS_SPAN]
ALL_HISTORY = "all"
WindowOrAll = Annotated[
    timedelta | None,
    BeforeValidator(lambda v: None if v is None or v == ALL_HISTORY else _window(v)),
    PlainSerializer(lambda v: ALL_HISTORY if v is None else format_duration(v), return_type=str),
]
# Written with its offset, so that it reads back as the same instant in any project's zone.
Instant = Annotated[datetime, BeforeValidator(_instant), PlainSerializer(datetime.isoformat, return_type=str)]
EventName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Section(BaseModel):
    """A frozen section that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ProjectSettings(Section):
    """Who the project is and where its state lives."""

    name: str = Field("project", description="name shown in reports and in the registry")
    timezone: str = Field("UTC", description="IANA zone in which times without an offset are read")
    database: str = Field(
        "sqlite:///.tenure/tenure.db",
        description="registry, scores and audit: sqlite:/// path or postgresql+psycopg:// URL",
    )

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        parse_timezone(self.timezone)
        return self


class SourceSettings(Section):
    """Where rows come from."""

    path: str = Field(description="a file, a glob, or a database URL together with table")
    table: str | None = Field(None, description="table to read when path is a database URL")
    where: str | None = Field(None, description="SQL condition on the source's own columns; other rows are not read")


class CustomersSettings(SourceSettings):
    """The optional customers table."""

    id: str = Field(description="column with the customer's id")
    since: str | None = Field(None, description="column with the time the customer joined; gives tenure_days")
    attributes: tuple[str, ...] = Field((), description="columns that become features as of the cutoff")
    known_at: str | None = Field(None, description="column with the time from which a row was known")


class EventSettings(SourceSettings):
    """One event type."""

    customer: str = Field("customer_id", description="column with the customer's id")
    time: str = Field("time", description="column with the time the event happened")
    recorded: str | None = Field(None, description="column with the time the event became known")
    id: str | None = Field(None, description="column with the event's id; the same id twice is a duplicate")
    lines: bool = Field(False, description="rows that share an id are lines of one event; values are summed")
    type: str | None = Field(None, description="column with the event's type when one source holds several")
    type_is: str | None = Field(
        None, description="content of the type column for this event; default: the section's name"
    )
    values: tuple[str, ...] = Field((), description="numeric columns")
    categories: tuple[str, ...] = Field((), description="text columns that features may be split by")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.lines and self.id is None:
            raise ValueError("lines = true needs id: the column that the lines of one event share")
        if self.type_is is not None and self.type is None:
            raise ValueError("type_is needs type: the column that holds it")
        return self


class TableSettings(SourceSettings):
    """A plain customer table with a label, in place of events."""

    id: str | None = Field(None, description="column with the customer's id; default: the row number")
    label: str = Field(description="column with the label")
    positive: str | int | float | bool = Field(description="the label's value that means churned")
    time: str | None = Field(None, description="column with the time a row speaks for; splits are then by time")
    ignore: tuple[str, ...] = Field((), description="columns that are no features")


class ActiveSettings(Section):
    """Who is at risk at a cutoff."""

    events: tuple[EventName, ...] = Field(
        (), description="event types that count as activity; default: all but the churn event"
    )
    within: Window = Field(timedelta(days=56), description="the last active day lies at most this far back")
    at_least: int = Field(1, ge=1, description="active days so far")


class ExpirySettings(SourceSettings):
    """Subscription periods whose end without renewal is churn."""

    customer: str = Field("customer_id", description="column with the customer's id")
    start: str = Field(description="column with the period's start")
    end: str = Field(description="column with the period's end")
    grace: Span = Field(timedelta(days=30), description="a period that starts within this after the end is a renewal")


class ChurnSettings(Section):
    """What leaving means. Exactly one of event, inactivity, expiry."""

    event: EventName | None = Field(None, description="churn is an event of this type inside the judged span")
    inactivity: tuple[EventName, ...] = Field((), description="churn is no event of these types inside the judged span")
    expiry: ExpirySettings | None = Field(None, description="churn is a subscription end without renewal")
    horizon: Window = Field(description="length of the judged span")
    gap: Span = Field(timedelta(0), description="time between the cutoff and the judged span")
    active: ActiveSettings = Field(ActiveSettings(), description="who is at risk at a cutoff")
    every: Window | None = Field(None, description="distance between cutoffs; default: the horizon")
    train: tuple[Instant, ...] = Field((), description="explicit training cutoffs; default: chosen")
    test: tuple[Instant, ...] = Field((), description="explicit test cutoffs; default: the last matured one")

    @model_validator(mode="after")
    def _one_definition(self) -> Self:
        given = [name for name in ("event", "inactivity", "expiry") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of event, inactivity, expiry (given: {', '.join(given) or 'none'})")
        if self.gap < timedelta(0):
            raise ValueError("gap must not be negative")
        return self


class FeatureSettings(Section):
    """One block of features over one event type."""

    event: EventName = Field(description="event type")
    value: str | None = Field(None, description="value column; omitted: the events themselves")
    ops: tuple[Op, ...] = Field(min_length=1, description="operations: " + " ".join(OPS))
    windows: tuple[WindowOrAll, ...] = Field((), description='windows before the cutoff; "all" or omitted: all history')
    trends: tuple[tuple[Window, Window], ...] = Field((), description="pairs of windows whose values are divided")
    by: str | None = Field(None, description="category column: one feature per frequent value")
    top: int = Field(5, ge=1, le=100, description="how many of the category's most frequent values")

    @model_validator(mode="after")
    def _value_given(self) -> Self:
        needing = sorted(VALUE_OPS.intersection(self.ops))
        if needing and self.value is None:
            raise ValueError(f"ops {', '.join(needing)} need value: a numeric column of the event")
        return self


class ModelSettings(Section):
    """Which model is trained, and how."""

    family: str = Field(
        "xgboost",
        description="model family: xgboost, logistic, forest, neural, catboost, lightgbm, ensemble, chain, "
        "or auto for the one with the lowest log loss",
    )
    fallback: str | None = Field(
        "logistic", description="second family, trained, judged and kept beside the first; none: omit"
    )
    members: tuple[str, ...] = Field(
        (), description="families of an ensemble or a chain, in their order, or those that auto compares"
    )
    weights: Literal["learned"] | tuple[float, ...] = Field(
        (), description='weights of an ensemble, one per member, or "learned"; default: 0.7 for the first, 0.3 shared'
    )
    budget_seconds: float = Field(
        0.05, gt=0, description="how long a model may take to answer somebody who waits before the next one is asked"
    )
    imbalance: Literal["none", "weights", "undersample", "smote"] = Field(
        "none", description="how churners and stayers are evened out in learning; probabilities are corrected for it"
    )
    churner_weight: float | None = Field(
        None, gt=0, description="with weights: how much a churner counts where a stayer counts 1; omit to balance"
    )
    minority_ratio: float | None = Field(
        None, gt=0, le=1, description="with undersample or smote: rows of the smaller class per row of the larger; 1"
    )
    calibrate: Literal["auto", "none", "sigmoid", "isotonic"] = Field(
        "auto", description="calibration: auto keeps it only where it lowers out-of-fold log loss"
    )
    parameters: dict[str, float] = Field(
        {}, description="parameters of the family that differ from its defaults, as tuning finds them"
    )
    tune: int = Field(0, ge=0, description="trials of a search for better parameters before training; 0: none")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of everything random in training")

    @model_validator(mode="after")
    def _numbers_of_the_method(self) -> Self:
        if self.churner_weight is not None and self.imbalance != "weights":
            raise ValueError(
                f'churner_weight means nothing with imbalance = "{self.imbalance}": remove it, or set "weights"'
            )
        if self.minority_ratio is not None and self.imbalance not in {"undersample", "smote"}:
            raise ValueError(
                f'minority_ratio means nothing with imbalance = "{self.imbalance}": remove it, or set "undersample" or '
                '"smote"'
            )
        return self

    @model_validator(mode="after")
    def _possible_weights(self) -> Self:
        given = self.weights
        if given == "learned" or not given:
            return self
        members = len(self.members) or 2
        if len(given) != members:
            raise ValueError(f"weights gives {len(given)} numbers for {members} members: give one for each")
        if min(given) <= 0:
            raise ValueError(f"weights must be above 0, not {min(given):g}: leave a member out instead")
        if sum(given) == float("inf"):
            raise ValueError("weights add up to more than a number can hold: only their ratio counts")
        return self


class ValueSettings(Section):
    """What a customer is worth and what contacting costs, in one currency."""

    clv: float | str = Field(600.0, description="value of a kept customer: an amount or a customer attribute's name")
    contact_cost: float = Field(10.0, ge=0, description="cost of one contact")
    incentive_cost: float = Field(
        0.0, ge=0, description="cost of the incentive, paid to everyone who would have stayed too"
    )
    save_rate: float | tuple[float, float] = Field(
        0.3, description="share of contacted churners who stay: number or [low, high]"
    )
    capacity: int | None = Field(None, ge=0, description="contacts per batch; omit for no limit")

    @property
    def save_rates(self) -> tuple[float, float]:
        """The save rate as a range (low, high)."""
        rate = self.save_rate
        return rate if isinstance(rate, tuple) else (rate, rate)

    @property
    def middle_save_rate(self) -> float:
        """The one save rate that decisions use: the middle of the range."""
        return sum(self.save_rates) / 2

    @model_validator(mode="after")
    def _sane(self) -> Self:
        low, high = self.save_rates
        if not 0 < low <= high <= 1:
            raise ValueError(f"save_rate must satisfy 0 < low <= high <= 1, not {self.save_rate}")
        if isinstance(self.clv, float) and not self.clv > self.incentive_cost:
            raise ValueError(
                f"clv ({self.clv}) must exceed incentive_cost ({self.incentive_cost}), or no contact can pay"
            )
        return self


class ScoreSettings(Section):
    """What a batch of scores carries beside them."""

    explain: int = Field(10_000, ge=0, description="contacts who get reasons, the best ones first; 0 for none")
    reasons: int = Field(3, ge=1, description="reasons for each of them at most")


class StreamSettings(Section):
    """Where events come in as they happen, and how they are folded."""

    log: str = Field(
        "sqlite:///.tenure/stream/log.db",
        description="event log: sqlite:/// path, or kafka://host:9092/topic",
    )
    partitions: int = Field(4, ge=1, le=1024, description="partitions of a log that tenure makes")
    partitioner: Literal["crc32", "murmur2"] = Field(
        "crc32",
        description="which partition a customer's events are in: librdkafka's way, or that of Kafka's Java client",
    )
    group: str = Field("tenure", description="consumers of one group share the partitions")
    batch: int = Field(20_000, ge=1, le=1_000_000, description="events of one partition in one commit at most")
    keep: Span = Field(
        timedelta(days=14), description="how long a log that is a file keeps what is archived; Kafka has its own rules"
    )
    archive: str = Field(".tenure/stream/archive", description="folder in which the raw events are kept as Parquet")
    archive_every: Span = Field(timedelta(seconds=60), description="how often the archive gets its events")


class StoreSettings(Section):
    """Where features are remembered."""

    online: str = Field(
        "sqlite:///.tenure/online.db",
        description="states of every customer: sqlite:/// path, redis://, redis+cluster://, postgresql+psycopg:// URL",
    )


class ServeSettings(Section):
    """How scores are answered over HTTP, and how old an answer may be."""

    host: str = Field("127.0.0.1", description="address to listen on; any but loopback needs keys")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on; 0 for one that is free")
    workers: int = Field(1, ge=1, le=256, description="processes that answer")
    alias: str = Field(
        "champion", min_length=1, description="the alias whose version answers; until it exists, the latest version"
    )
    batch_ttl: Window = Field(
        timedelta(hours=24), description="how long after it was computed a precomputed score holds"
    )
    cache_ttl: Window = Field(timedelta(hours=1), description="how long a live score is kept for the next who asks")
    cache: str = Field(
        "memory", description='where live scores are kept: "memory" of each process, "none", or a redis:// URL'
    )
    entries: int = Field(100_000, ge=1, description="customers whose scores a process keeps in memory at most")
    invalidate_on_event: bool = Field(
        False, description="whether a kept score is passed over once a newer event of the customer was folded"
    )
    budget_seconds: float = Field(
        0.1,
        gt=0,
        le=60,
        description="how long a store, a cache, the database, a version's models or its reasons may take before they "
        "are passed over",
    )
    refresh_seconds: float = Field(
        1.0, gt=0, le=3600, description="how often a process looks for a new version, new batch scores and changed keys"
    )
    rate: float = Field(1000.0, gt=0, description="requests a second that a key may send, unless it has its own rate")
    drain_seconds: float = Field(
        2.0, ge=0, le=600, description="how long a process that was told to stop still answers, as not ready"
    )
    docs: bool = Field(True, description="whether the API is described at /docs")
    log_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of the requests that went well and quickly whose line is logged; all others always are",
    )


class ContractSettings(Section):
    """How many bad rows are tolerated."""

    max_rejects: float = Field(0.01, ge=0, le=1, description="share of bad rows of a source that stops the run")


class AuditSettings(Section):
    """What the leakage audit lets pass."""

    allow: tuple[str, ...] = Field((), description="features that you have checked and that the audit shall let pass")


class RuntimeSettings(Section):
    """What this machine may spend."""

    memory: str = Field(
        "4GB",
        pattern=r"^\d+(\.\d+)?\s*[KMGT]i?B$",
        description="memory limit of the query engine; beyond it spills to disk",
    )
    threads: int | None = Field(None, ge=1, description="threads; default: all cores")
