"""The tables of a report as rows of finished text.

Enters: a `ReportInput`. Leaves: rows for the template, which only places them. Invariant: every number shown comes with
its interval where it has one; an absent metric is shown as absent and never as zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from tenure.core.time import format_instant
from tenure.features.audit import Finding
from tenure.model.evaluate import METRICS, Estimate
from tenure.model.segment import FEW, Segment
from tenure.report.inputs import Money, ReportInput
from tenure.report.prose import METRIC_WORDS
from tenure.report.words import THIN, amount, count, decimal, interval, moment, percent, plural, signed, times

__all__ = [
    "FEW_IN_SEGMENT",
    "Bar",
    "Cell",
    "Entry",
    "MoneyRow",
    "SegmentRow",
    "audit_rows",
    "decile_rows",
    "facts",
    "has_seed_values",
    "importance_bars",
    "label_rows",
    "metric_words",
    "money_rows",
    "money_sentences",
    "scorecard_rows",
    "segment_groups",
    "shown_metrics",
    "stage_rows",
    "threshold_words",
]

MOST_FEATURES = 25
FEW_IN_SEGMENT = FEW
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


@dataclass(frozen=True)
class MoneyRow:
    """A line about a campaign; `ends` and `seed` are empty where their columns are."""

    name: str
    profit: Cell
    ends: str
    contacted: str
    share: str
    seed: str


def money_rows(report: ReportInput) -> Iterator[MoneyRow]:
    """Each campaign with its profit, the interval from drawing customers, and the ends over the save rates."""
    money = report.money
    for campaign in money.campaigns if money else ():
        ranged = money is not None and money.value.save_rates[0] != money.value.save_rates[1]
        sampled = campaign.sampled
        seed = campaign.seed_value if money and has_seed_values(money) else None
        yield MoneyRow(
            name=campaign.name,
            profit=Cell(amount(campaign.profit.value), interval(sampled, amount) if sampled else ""),
            ends=f"{amount(campaign.profit.low)} to {amount(campaign.profit.high)}" if ranged else "",
            contacted=count(campaign.contacted),
            share=percent(campaign.contacted / report.own.rows),
            seed="" if seed is None else amount(seed),
        )


def has_seed_values(money: Money) -> bool:
    """Whether every campaign has the popular score."""
    return all(campaign.seed_value is not None for campaign in money.campaigns)


def money_sentences(report: ReportInput) -> Iterator[str]:
    """How much of what was possible was earned, and where the searched threshold came from."""
    money = report.money
    if money is None:
        return
    if money.most and money.most.per_customer > 0 and money.value.capacity is None:
        most = money.most.per_customer * report.own.rows
        share = money.campaigns[0].profit.value / most
        yield (
            f"The best single threshold, known only afterwards, would have earned {amount(most)}, "
            f"{amount(money.most.per_customer)} per customer (MPC); the threshold fixed beforehand earned "
            f"{percent(share)} of that."
        )
    if money.expected_most and money.most:
        yield (
            f"Were the save rate uncertain (Beta 6, 14: 30{THIN}% on average), the best thresholds would earn "
            f"{amount(money.expected_most.per_customer)} per customer on average (EMPC)."
        )
    if money.searched_on:
        yield (
            f"The grid search looked for the highest popular score on the {money.searched_on} and is judged here on "
            "the test block, as the other campaigns are."
        )


@dataclass(frozen=True)
class SegmentRow:
    """A line about a kind of customers."""

    value: str
    small: bool
    rows: str
    leave: Cell
    contacted: str
    recall: Cell
    ratio: Cell


def segment_groups(report: ReportInput) -> Iterator[tuple[str, tuple[SegmentRow, ...]]]:
    """Each column with its kinds of customers: how many are contacted and found, and what comes true."""
    for column, segments in groupby(report.segments, key=lambda segment: segment.column):
        yield column, tuple(_segment_row(segment) for segment in segments)


def _segment_row(segment: Segment) -> SegmentRow:
    recall, ratio = segment.recall, segment.observed_expected
    return SegmentRow(
        value=segment.value,
        small=segment.is_small,
        rows=count(segment.rows),
        leave=Cell(count(segment.churners), percent(segment.churners / segment.rows)),
        contacted=percent(segment.contacted_share),
        recall=Cell(percent(recall.value), interval(recall, percent)) if recall else Cell(),
        ratio=Cell(times(ratio.value), interval(ratio, times)) if ratio else Cell(),
    )


def stage_rows(report: ReportInput) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Each step of the probabilities with observed over expected, Brier score and log loss."""
    for stage in report.stages:
        found = (stage.metrics[key] for key in ("observed_expected", "brier", "log_loss"))
        yield stage.name, tuple(Cell(decimal(one.value), interval(one)) for one in found)


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
