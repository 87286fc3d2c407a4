"""What a report says in sentences: the summary, what to be careful about, what each metric means.

Enters: a `ReportInput`. Leaves: sentences. Invariant: every claim carries its interval, and where an interval reaches
over the point of no difference the sentence says that nothing was shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenure.core.time import format_instant
from tenure.model.evaluate import Estimate
from tenure.report.inputs import ReportInput
from tenure.report.words import THIN, amount, count, percent, plural, rate, signed, span, times, with_interval

__all__ = ["METRIC_WORDS", "cautions", "summary"]

WIDE = 1.25  # an interval of observed over expected that reaches further settles nothing
FEW_CHURNERS = 100  # below it, intervals of a top-decile share are some ten points wide on either side

METRIC_WORDS = {
    "roc_auc": (
        "ROC AUC",
        "higher is better",
        "Chance that a leaver gets a higher score than a stayer. 0.5 is a coin.",
    ),
    "average_precision": (
        "Average precision",
        "higher is better",
        "Mean share of leavers among those contacted, over all ways to draw the line. Chance gives the churn rate.",
    ),
    "lift_top_decile": (
        "Lift, top tenth",
        "higher is better",
        "Churn rate among the tenth with the highest scores, over the churn rate of all.",
    ),
    "recall": ("Recall", "at the threshold", "Share of the leavers who are contacted."),
    "precision": ("Precision", "at the threshold", "Share of those contacted who leave."),
    "contacted_share": ("Contacted", "at the threshold", "Share of all customers who are contacted."),
    "brier": ("Brier score", "lower is better", "Mean squared distance between probability and outcome."),
    "log_loss": ("Log loss", "lower is better", "Surprise per customer; punishes being sure and wrong most of all."),
    "observed_expected": (
        "Observed / expected",
        "1 is best",
        "Leavers over the sum of the probabilities. Above 1, the model expects too few; below 1, too many.",
    ),
}


def summary(report: ReportInput) -> tuple[str, str]:
    """What the report comes down to: one paragraph for everybody, and one that says how far to trust it.

    Raises
    ------
    KeyError
        The version's judgement lacks a metric that every trained model has.
    """
    own = report.own
    top = with_interval(own.deciles[0].gain, percent)
    lift = with_interval(own.metrics["lift_top_decile"], times)
    found = (
        f"{_judged(report)} {count(own.positives)} of them, {percent(own.positives / own.rows)}, left{_when(report)}.",
        f"The tenth of customers with the highest scores held {top} of these leavers, {lift} times its fair share.",
        _beside_baseline(report),
        _earning(report),
    )
    auc = with_interval(own.metrics["roc_auc"], percent)
    trust = (
        f"Of one leaver and one stayer, the model gives the leaver the higher score {auc} of the time.",
        _face_value(own.metrics.get("observed_expected")),
        f"Leaving means {report.churn}. Brackets hold 95{THIN}% intervals.",
    )
    return " ".join(filter(None, found)), " ".join(filter(None, trust))


def _judged(report: ReportInput) -> str:
    cutoffs, rows = report.split.test, count(report.own.rows)
    if not cutoffs:
        return f"The model was judged on {rows} customers that it had never seen."
    if len(cutoffs) == 1:
        return f"On {format_instant(cutoffs[0])}, {rows} customers were at risk."
    dates = f"{format_instant(cutoffs[0])} to {format_instant(cutoffs[-1])}"
    return f"On {plural(len(cutoffs), 'test date')} from {dates}, {rows} times a customer was at risk."


def _when(report: ReportInput) -> str:
    gap, horizon = report.split.gap, report.split.horizon
    if not horizon:
        return ""
    if gap:
        return f" in the {span(horizon)} that began {span(gap)} later"
    return f" within the next {span(horizon)}"


def _face_value(ratio: Estimate | None) -> str:
    if ratio is None:
        return ""
    hundred = Estimate(100 * ratio.value, 100 * ratio.low, 100 * ratio.high)
    came = f"for every 100 leavers it expected, {with_interval(hundred, count)} left"
    if not ratio.low <= 1 <= ratio.high:
        return f"Its probabilities are too {'low' if ratio.value > 1 else 'high'}: {came}."
    if ratio.low < 1 / WIDE or ratio.high > WIDE:
        return f"Whether its probabilities can be taken at face value is not settled: {came}."
    return f"Its probabilities can be taken at face value: {came}."


def _beside_baseline(report: ReportInput) -> str:
    best = report.best_baseline
    if best is None:
        return ""
    found = with_interval(best.deciles[0].gain, percent)
    return f"The best simple rule, “{best.name}”, would have found {found} with as many contacts."


def _earning(report: ReportInput) -> str:
    money = report.money
    if money is None or not money.campaigns:
        return ""
    best = money.campaigns[0]
    profit, (low, high) = best.profit, money.value.save_rates
    verbs = ("have reached", "earned") if money.basis == "outcomes" else ("reach", "earn")
    ends = f"between {amount(profit.low)} and {amount(profit.high)}"
    range_of = f"{ends}, as the save rate may be {rate(low)} to {rate(high)}"
    name, reached = best.name[:1].upper() + best.name[1:], plural(best.contacted, "customer")
    earned = amount(profit.value) if low == high else range_of
    return f"“{name}” would {verbs[0]} {reached} and {verbs[1]} {earned}."


def cautions(report: ReportInput) -> Iterator[str]:
    """What a reader must know before believing the rest, the gravest first."""
    if report.split.how != "cutoffs":
        yield report.split.explanation
    yield from (note for note in report.notes if note != report.split.explanation)
    if report.own.positives < FEW_CHURNERS:
        churners = plural(report.own.positives, "customer")
        yield f"Only {churners} of the test block left, so every number here is rough; look at the intervals."
    best = report.best_baseline
    ahead = report.differences.get(best.name) if best else None
    if best and ahead and not ahead.low > 0:
        yield (
            f"The model is not shown to rank better than the simple rule “{best.name}”: the difference in ROC AUC is "
            f"{with_interval(ahead, signed)}."
        )
    allowed = [f for f in report.audit.findings if f.severity == "leak" and f.feature in report.audit.allowed]
    if allowed:
        names = ", ".join(dict.fromkeys(finding.feature for finding in allowed))
        yield f"The audit suspects {names} of knowing the answer; the project's settings let it pass."
