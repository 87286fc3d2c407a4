"""Features as declarations: what is computed, under which name, independent of how.

Enters: the `[[features]]` and `[customers]` sections, and the frequent values of the categories that `by` splits.
Leaves: a `FeatureSet`, frozen, ordered, with unique names, that turns into JSON and back without loss.
Invariant: a name determines its feature. Two blocks may declare the same feature (it is kept once), never two different
features under one name. Names that differ only in upper and lower case count as one, because the query engine takes
them for one; so do an attribute and a column that a snapshot needs for itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from tenure.core.errors import ConfigError
from tenure.core.settings import VALUE_OPS, WINDOW_OPS, FeatureSettings
from tenure.core.time import format_duration, parse_duration

__all__ = ["TENURE_DAYS", "Attribute", "Feature", "FeatureSet", "Kind", "TopValues", "declare", "splits"]

Kind = Literal["count", "number", "text"]
TENURE_DAYS = "tenure_days"
TopValues = Mapping[tuple[str, str, int], tuple[str, ...]]
_COUNTS = frozenset({"count", "active_days"})
_NO_TREND = frozenset({"first", "last"})
# Columns of a snapshot that are no features; what it computes on the way begins with an underscore.
_RESERVED = frozenset({"customer_id", "cutoff", "label", "customer_id_right", TENURE_DAYS})


@dataclass(frozen=True)
class Feature:
    """One number per customer and cutoff, computed from the events of one type.

    Parameters
    ----------
    event : str
        Event type.
    op : str
        One of `tenure.core.settings.OPS`.
    value : str, optional
        Value column, for operations on values.
    window : timedelta, optional
        Length of the window; None reaches back over all history.
    over : timedelta, optional
        A trend: the feature is its value over `window` divided by its value over this longer window.
    category, category_value : str, optional
        Only events whose category has this value count.

    Examples
    --------
    >>> Feature("payment", "sum", "amount", timedelta(days=30)).name
    'payment_amount_sum_30d'
    >>> Feature("session", "mean", "minutes", timedelta(days=7), timedelta(days=30)).name
    'session_minutes_mean_7d_over_30d'
    >>> Feature("purchase", "count", category="shop", category_value="S1").name
    'purchase_count_by_shop=S1'
    """

    event: str
    op: str
    value: str | None = None
    window: timedelta | None = None
    over: timedelta | None = None
    category: str | None = None
    category_value: str | None = None

    @property
    def name(self) -> str:
        """`{event}[_{value}]_{op}[_{window}[_over_{window}]][_by_{category}={value}]`."""
        parts = [self.event, self.value, self.op, self.window and format_duration(self.window)]
        if self.over:
            parts += ["over", format_duration(self.over)]
        if self.category:
            parts += ["by", f"{self.category}={self.category_value}"]
        return "_".join(part for part in parts if part)

    @property
    def kind(self) -> Kind:
        """Whether the column holds whole counts or other numbers."""
        return "count" if self.op in _COUNTS and self.over is None else "number"


@dataclass(frozen=True)
class Attribute:
    """A customer attribute as it was known at the cutoff."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class FeatureSet:
    """Everything that a snapshot's columns are made of, in their order.

    Examples
    --------
    >>> chosen = FeatureSet(
    ...     (Feature("login", "count", window=timedelta(days=7)),), (Attribute("plan", "text"),), tenure=True
    ... )
    >>> chosen.names
    ('login_count_7d', 'tenure_days', 'plan')
    >>> FeatureSet.from_json(chosen.to_json()) == chosen
    True
    """

    events: tuple[Feature, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    tenure: bool = False

    @property
    def kinds(self) -> dict[str, Kind]:
        """Kind of every column by its name, in order."""
        kinds: dict[str, Kind] = {feature.name: feature.kind for feature in self.events}
        if self.tenure:
            kinds[TENURE_DAYS] = "number"
        return kinds | {attribute.name: attribute.kind for attribute in self.attributes}

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(self.kinds)

    @property
    def hash(self) -> str:
        """SHA-256 of the declarations: two sets with the same hash compute the same columns."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; durations are text."""
        return {
            "events": [_feature_to_json(feature) for feature in self.events],
            "attributes": [asdict(attribute) for attribute in self.attributes],
            "tenure": self.tenure,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FeatureSet:
        """The reverse of `to_json`."""
        return cls(
            events=tuple(_feature_from_json(entry) for entry in document["events"]),
            attributes=tuple(Attribute(**entry) for entry in document["attributes"]),
            tenure=bool(document["tenure"]),
        )


def _feature_to_json(feature: Feature) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(feature).items() if value is not None}
    return {name: format_duration(v) if isinstance(v, timedelta) else v for name, v in fields.items()}


def _feature_from_json(entry: Mapping[str, Any]) -> Feature:
    spans = {name: parse_duration(entry[name]) for name in ("window", "over") if name in entry}
    return Feature(**{**entry, **spans})


def splits(blocks: tuple[FeatureSettings, ...]) -> tuple[tuple[str, str, int], ...]:
    """Which categories' frequent values must be frozen before `declare`: (event, category, how many).

    Examples
    --------
    >>> splits((FeatureSettings(event="login", ops=("count",), by="device", top=3),))
    (('login', 'device', 3),)
    """
    return tuple(dict.fromkeys((block.event, block.by, block.top) for block in blocks if block.by))


def declare(
    blocks: tuple[FeatureSettings, ...],
    top_values: TopValues | None = None,
    attributes: tuple[Attribute, ...] = (),
    *,
    tenure: bool = False,
) -> FeatureSet:
    """Turn the configured blocks into features.

    Parameters
    ----------
    blocks : tuple of FeatureSettings
        The `[[features]]` sections.
    top_values : mapping, optional
        For every entry of `splits(blocks)` the category's most frequent values.
    attributes : tuple of Attribute
        Customer attributes.
    tenure : bool
        Whether the customers' table says since when somebody is a customer.

    Raises
    ------
    ConfigError
        Two different features would carry one name, or there is no feature at all.

    Examples
    --------
    >>> block = FeatureSettings(
    ...     event="login", ops=("count", "days_since_last"), windows=("7d", "28d"), trends=(("7d", "28d"),)
    ... )
    >>> declare((block,)).names
    ('login_count_7d', 'login_count_28d', 'login_count_7d_over_28d', 'login_days_since_last')
    """
    features: dict[str, Feature] = {}
    for block in blocks:
        for feature in _expand(block, top_values or {}):
            kept = features.setdefault(feature.name.casefold(), feature)
            if kept != feature:
                raise _clash(kept.name, feature.name)
    taken = {folded: feature.name for folded, feature in features.items()}
    for attribute in attributes:
        folded = attribute.name.casefold()
        if folded in _RESERVED or folded.startswith("_"):
            raise _reserved(attribute.name)
        if folded in taken:
            raise _clash(taken[folded], attribute.name)
        taken[folded] = attribute.name
    if not (taken or tenure):
        raise ConfigError("No features are declared.", hint="Add [[features]] blocks, or attributes to [customers].")
    return FeatureSet(tuple(features.values()), attributes, tenure)


def _clash(one: str, other: str) -> ConfigError:
    names = repr(one) if one == other else f"{one!r} and {other!r}, which differ in upper and lower case alone"
    return ConfigError(
        f"Two different features would be called {names}.",
        hint="Rename one column or event, or write the values of the category in one way.",
        features=(one, other),
    )


def _reserved(name: str) -> ConfigError:
    return ConfigError(
        f"[customers] attributes names {name!r}, a name that snapshots need for themselves: "
        f"{', '.join(sorted(_RESERVED))}, and everything that begins with an underscore.",
        hint="Rename the column in the source, for example in a database view.",
        column=name,
    )


def _expand(block: FeatureSettings, top_values: TopValues) -> Iterator[Feature]:
    groups: tuple[tuple[str | None, str | None], ...] = ((None, None),)
    if block.by:
        groups = tuple((block.by, value) for value in top_values[block.event, block.by, block.top])
    for op in block.ops:
        if op not in WINDOW_OPS:
            yield Feature(block.event, op)
            continue
        value = block.value if op in VALUE_OPS else None
        for category, category_value in groups:
            for window, over in _spans(block, op):
                yield Feature(block.event, op, value, window, over, category, category_value)


def _spans(block: FeatureSettings, op: str) -> Iterator[tuple[timedelta | None, timedelta | None]]:
    yield from ((window, None) for window in block.windows or (None,))
    if op not in _NO_TREND:
        yield from block.trends
