"""The tables of a report as rows of finished text.

Enters: a `ReportInput`. Leaves: rows for the template, which only places them. Invariant: every number shown comes with
its interval where it has one; an absent metric is shown as absent and never as zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tenure.core.time import format_instant
from tenure.features.audit import Finding
from tenure.model.evaluate import METRICS, Estimate
from tenure.report.inputs import Money, ReportInput
from tenure.report.prose import METRIC_WORDS
from tenure.report.words import amount, count, decimal, interval, moment, percent, plural, signed, times

__all__ = [
    "Bar",
    "Cell",
    "Entry",
    "audit_rows",
    "decile_rows",
    "facts",
    "importance_bars",
    "label_rows",
    "metric_words",
    "money_rows",
    "scorecard_rows",
    "shown_metrics",
    "threshold_words",
]

MOST_FEATURES = 25
_SHARES = {"recall", "precision", "contacted_share"}


@dataclass(frozen=True)
class Cell:
    """A value and the interval under it; both empty where the metric is not defined."""

    value: str = ""
    interval: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of the scorecard; `own` marks this version."""

    name: str
    kind: str
    own: bool
    cells: tuple[Cell, ...]
    ahead: Cell


@dataclass(frozen=True)
class Bar:
    """A feature with its share in words, and the bar's length as a per cent of the longest."""

    name: str
    share: str
    length: str


def shown_metrics(report: ReportInput) -> tuple[str, ...]:
    """Metrics that at least one entry of the scorecard has, in their usual order."""
    known = {key for judgement in report.scorecard for key in judgement.metrics}
    return tuple(key for key in METRICS if key in known)


def scorecard_rows(report: ReportInput) -> tuple[Entry, ...]:
    """Every entry of the scorecard, in the order given."""
    keys = shown_metrics(report)
    return tuple(
        Entry(
            judgement.name,
            judgement.kind,
            judgement is report.own,
            tuple(_cell(key, judgement.metrics.get(key)) for key in keys),
            _ahead(report.differences.get(judgement.name)),
        )
        for judgement in report.scorecard
    )


def _cell(key: str, estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell()
    form = percent if key in _SHARES else times if key == "lift_top_decile" else decimal
    return Cell(form(estimate.value), interval(estimate, form))


def _ahead(estimate: Estimate | None) -> Cell:
    return Cell() if estimate is None else Cell(signed(estimate.value), interval(estimate))


def decile_rows(report: ReportInput) -> Iterator[tuple[str, str, str, Cell, Cell]]:
    """Tenth, rows, churners, lift and cumulative gain."""
    for part in report.own.deciles:
        lift = Cell(times(part.lift.value), interval(part.lift, times))
        gain = Cell(percent(part.gain.value), interval(part.gain, percent))
        yield str(part.decile), count(part.rows), count(part.positives), lift, gain


def label_rows(report: ReportInput) -> Iterator[tuple[str, str, str, str, str]]:
    """Block, cutoff, customers at risk, churners and churn rate."""
    for label in report.labels:
        cutoff = format_instant(label.cutoff) if label.cutoff else "no time"
        rate = percent(label.churners / label.rows) if label.rows else ""
        yield label.block, cutoff, count(label.rows), count(label.churners), rate


def audit_rows(report: ReportInput) -> Iterator[tuple[Finding, str]]:
    """Each finding with the word for what became of it: leaks first."""
    for finding in sorted(report.audit.findings, key=lambda finding: finding.severity):
        allowed = finding.severity == "leak" and finding.feature in report.audit.allowed
        yield finding, "allowed leak" if allowed else finding.severity


def importance_bars(report: ReportInput) -> tuple[Bar, ...]:
    """The features with the largest shares."""
    order = sorted(report.importance.items(), key=lambda item: (-item[1], item[0]))[:MOST_FEATURES]
    longest = max((share for _, share in order), default=0.0) or 1.0
    return tuple(Bar(name, percent(share), f"{100 * share / longest:.1f}") for name, share in order)


def threshold_words(money: Money) -> str:
    """The threshold as a sentence."""
    if money.threshold is None:
        return "Each customer has a threshold of their own, because customers are worth different amounts."
    if not math.isfinite(money.threshold) or money.threshold > 1:
        return "No probability is high enough for a contact to pay under these assumptions."
    return f"A contact pays from a churn probability of {percent(money.threshold)} on."


def money_rows(report: ReportInput) -> Iterator[tuple[str, str, str, Cell]]:
    """Campaign, customers contacted, their share, and profit."""
    for campaign in report.money.campaigns if report.money else ():
        share = percent(campaign.contacted / report.own.rows)
        yield (
            campaign.name,
            count(campaign.contacted),
            share,
            Cell(amount(campaign.profit.value), _range(campaign.profit)),
        )


def _range(profit: Estimate) -> str:
    return f"{amount(profit.low)} to {amount(profit.high)}" if profit.low != profit.high else ""


def facts(report: ReportInput) -> Iterator[tuple[str, str]]:
    """What stands under the title: word and value."""
    yield "Version", report.version
    yield "Model", report.family
    yield "Made", moment(report.created_at)
    yield "Data", plural(report.contract.rows, "row") + " read"


def metric_words(report: ReportInput) -> Iterator[tuple[str, str, str]]:
    """Name, direction and meaning of each metric that the scorecard shows."""
    for key in shown_metrics(report):
        yield METRIC_WORDS[key]
