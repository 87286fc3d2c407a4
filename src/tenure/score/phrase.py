"""What a feature says of a customer, in words.

Enters: the declared features of a version, what is usual among the customers it learned from, a customer's value.
Leaves: a phrase with the value and what is usual. Invariant: a phrase tells what was seen and never why: "logins fell
by 70 % against the last 84 days", not "because"; and it names the feature's own window, to the day.

A trend compares a short window with a longer one that holds it. Of counts and sums a customer who goes on as before has
the quotient of the lengths, 28 of 84 days, so the change is told against that; means go on at the quotient 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Self

from tenure.core.time import format_duration
from tenure.features.declare import TENURE_DAYS, Feature, FeatureSet
from tenure.model.encode import Encoder
from tenure.model.usual import Usual, UsualColumn

__all__ = ["Phrases", "Value", "readable"]

Value = float | str | None
_DAY = timedelta(days=1)
_NAMED = 4096  # names and windows whose words are remembered; a version has a few hundred
_GROWS = frozenset({"count", "sum", "active_days"})  # twice the time, twice the value
_NAMES = {"mean": "mean", "min": "smallest", "max": "largest", "std": "spread of", "first": "first", "last": "latest"}


@dataclass(frozen=True)
class Phrases:
    """Words for the features of a version.

    Parameters
    ----------
    features : mapping of str to Feature
        The computed ones by name; whatever else there is, is an attribute.
    usual : mapping of str to UsualColumn
        By name of the feature.
    categories : mapping of str to tuple of str
        Values that the encoder tells apart, by name of the feature.

    Examples
    --------
    >>> trend = Feature("login", "count", window=timedelta(days=28), over=timedelta(days=84))
    >>> usual = {trend.name: UsualColumn(trend.name, 0.0, (0.3, 1 / 3, 0.4))}
    >>> phrases = Phrases({trend.name: trend}, usual, {})
    >>> phrases.say("login_count_28d_over_84d", 0.1)
    'logins of the last 28 days fell by 70 % against the last 84 days (usual: hardly changed)'
    >>> phrases.say("plan", "basic")
    "plan is 'basic'"
    """

    features: Mapping[str, Feature]
    usual: Mapping[str, UsualColumn]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, features: FeatureSet, encoder: Encoder, usual: Usual) -> Self:
        """The words of a version."""
        return cls(
            {feature.name: feature for feature in features.events},
            {column.name: column for column in usual.columns},
            {column.name: column.categories for column in encoder.columns if column.kind == "category"},
        )

    def say(self, name: str, value: Value) -> str:
        """What the feature says of a customer with this value; None is missing."""
        feature = self.features.get(name)
        if name in self.categories or isinstance(value, str):
            return self._attribute(name, value)
        if feature is not None:
            phrase = _event(feature, value)
        else:
            phrase = _tenure(value) if name == TENURE_DAYS else _attribute(name, value)
        return phrase + self._usual_words.get(name, "")

    @cached_property
    def _usual_words(self) -> dict[str, str]:
        """What is usual of each number, as it follows a phrase."""
        return {
            name: f" (usual: {_usual(self.features.get(name), column.median)})"
            for name, column in self.usual.items()
            if column.median is not None
        }

    def usual_of(self, name: str) -> float | None:
        """Median of a number among the customers that the version learned from; None where there is none."""
        column = self.usual.get(name)
        return None if column is None else column.median

    def topic(self, name: str) -> str:
        """What a feature is about; features of one topic mostly say the same."""
        feature = self.features.get(name)
        if feature is None:
            return name
        return "/".join(part or "" for part in (feature.event, feature.value, feature.category, feature.category_value))

    def _attribute(self, name: str, value: Value) -> str:
        share, known = self._share(name, value), "is not known" if value is None else f"is {value!r}"
        return f"{name} {known}" if share is None else f"{name} {known}, as for {_percent(share)} of customers"

    def _share(self, name: str, value: Value) -> float | None:
        column, categories = self.usual.get(name), self.categories.get(name, ())
        if column is None:
            return None
        if value is None:
            return column.missing
        place = categories.index(str(value)) if value in categories else len(column.shares)
        return column.shares[place] if place < len(column.shares) else None


def _event(feature: Feature, value: Value) -> str:
    if feature.over is not None:
        return _trend(feature, value)
    if feature.op in {"count", "active_days"}:
        return _count(feature, value)
    if feature.value is not None:
        if value is None:
            return f"no known {_plain(feature.value)} of {_what(feature)}{_when(feature)}"
        return f"{_measure(feature)} of {_what(feature)}{_when(feature)} is {readable(value)}"
    return _rhythm(feature, value)


def _measure(feature: Feature) -> str:
    value = _plain(feature.value or "")
    return f"total {value}" if feature.op == "sum" else f"{_NAMES[feature.op]} {value}"


def _count(feature: Feature, value: Value) -> str:
    if not value:
        return f"no {_what(feature)}{_when(feature)}"
    if feature.op == "count":
        return f"{readable(value)} {_what(feature, value)}{_when(feature)}"
    days = "day" if value == 1 else "days"
    return f"{_what(feature)} on {readable(value)} {days}{_when(feature)}"


def _rhythm(feature: Feature, value: Value) -> str:
    one, many = _plain(feature.event), _what(feature)
    if value is None:
        few = "no" if feature.op.startswith("days_since") else "fewer than two"
        return f"{few} {many} so far"
    told = {
        "days_since_first": f"the first {one} was {_days(value)} ago",
        "days_since_last": f"the last {one} was {_days(value)} ago",
        "mean_gap": f"{_days(value)} between {many} on average",
        "relative_recency": f"the last {one} is {readable(value)} of the customer's own average gaps ago",
    }
    return told[feature.op]


def _trend(feature: Feature, value: Value) -> str:
    subject = f"{_measure(feature)} of {_what(feature)}" if feature.value is not None else _what(feature)
    if feature.op == "active_days":
        subject = f"days with {subject}"
    against = f"the last {_span(feature.over)}"
    if value is None:
        return f"{subject} of the last {_span(feature.window)}: nothing in {against} to compare with"
    return f"{subject} of the last {_span(feature.window)} {_change(feature, float(value))} against {against}"


def _change(feature: Feature, quotient: float) -> str:
    """How a quotient compares with going on as before."""
    steady = feature.window / feature.over if feature.op in _GROWS and feature.window and feature.over else 1.0
    change = quotient / steady - 1
    if quotient < 0:
        return "changed its sign"
    if abs(change) < 0.005:
        return "hardly changed"
    if change >= 2:
        return f"rose to {readable(1 + change)} times"
    return f"{'rose' if change > 0 else 'fell'} by {_percent(abs(change))}"


def _usual(feature: Feature | None, median: float) -> str:
    if feature is not None and feature.over is not None:
        return _change(feature, median)
    return readable(median)


def _attribute(name: str, value: Value) -> str:
    return f"{_plain(name)} is {'not known' if value is None else readable(value)}"


def _tenure(value: Value) -> str:
    return "since when they are a customer is not known" if value is None else f"a customer for {_days(value)}"


def _what(feature: Feature, number: Value = None) -> str:
    one = _plain(feature.event)
    name = one if number == 1 else _many(one)
    return f"{name} with {_plain(feature.category)} {feature.category_value!r}" if feature.category else name


@lru_cache(_NAMED)
def _many(noun: str) -> str:
    if noun.endswith(("ch", "sh", "x", "z")):
        return f"{noun}es"
    if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy")):
        return f"{noun[:-1]}ies"
    return noun if noun.endswith("s") else f"{noun}s"


@lru_cache(_NAMED)
def _plain(name: str) -> str:
    return name.replace("_", " ")


def _when(feature: Feature) -> str:
    return f" in the last {_span(feature.window)}" if feature.window else " so far"


@lru_cache(_NAMED)
def _span(length: timedelta | None) -> str:
    if length is None:
        return ""
    if length % _DAY:
        return format_duration(length)
    return "day" if length == _DAY else f"{length // _DAY} days"


def _days(value: Value) -> str:
    return "1 day" if value == 1 else f"{readable(value)} days"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.0095 or share == 0 else "under 1 %"


def readable(value: Value) -> str:
    """A value with as many digits as people want.

    Examples
    --------
    >>> readable(1234.5), readable(12.345), readable(0.01234), readable(3.0), readable("basic"), readable(None)
    ('1,234', '12.3', '0.0123', '3', 'basic', 'missing')
    """
    if value is None:
        return "missing"
    if isinstance(value, str):
        return value
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
