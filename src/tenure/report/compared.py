"""The table and the charts of a comparison, for its own page and for a version's report.

Enters: a `Comparison`. Leaves: charts and rows of finished text. Invariant: every quality number comes with its
interval; costs have none, and differences have the champion at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tenure.advise.compare import Comparison, Entry
from tenure.model.evaluate import Estimate
from tenure.report.chart import Chart, axis, draw, plain_text
from tenure.report.palette import AXIS, BLUE, INK, ORANGE, STONE
from tenure.report.tables import Cell
from tenure.report.words import amount, count, decimal, interval, percent, signed, with_interval

__all__ = ["ComparisonView", "Line"]

_QUALITY = {
    "roc_auc": ("ROC AUC", "higher is better"),
    "average_precision": ("Average precision", "higher is better"),
    "recall": ("Recall", "at the threshold"),
    "precision": ("Precision", "at the threshold"),
    "brier": ("Brier score", "lower is better"),
    "observed_expected": ("Observed / expected", "1 is best"),
    "profit": ("Profit per customer", "at the threshold"),
}
_AHEAD = {"roc_auc": "ROC AUC ahead", "profit": "Profit ahead"}
_COSTS = (
    ("Training", "seconds"), ("One row, p50", "milliseconds"), ("One row, p99", "milliseconds"),
    ("Batch", "rows a second"), ("Artifact", "megabytes"), ("Peak memory", "megabytes"),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A candidate's line: its quality, its distance to the champion, its costs, its kind of explanation."""

    name: str
    is_champion: bool
    quality: tuple[Cell, ...]
    ahead: tuple[Cell, ...]
    costs: tuple[str, ...]
    explanation: str


@dataclass(frozen=True)
class ComparisonView:
    """A comparison as templates place it.

    Parameters
    ----------
    comparison : Comparison
        What is shown.

    Examples
    --------
    >>> from tenure.advise.trial import Costs
    >>> metrics = {name: Estimate(0.8, 0.7, 0.9) for name in _QUALITY}
    >>> entry = Entry(
    ...     "xgboost",
    ...     "xgboost",
    ...     "none",
    ...     metrics,
    ...     {},
    ...     None,
    ...     Costs(1.0, 2e-3, 3e-3, 1e5, 1000, 2000000),
    ...     "exact",
    ...     "none",
    ...     {},
    ... )
    >>> view = ComparisonView(Comparison("xgboost", 10, 2, 10, 2, (entry,), (), ()))
    >>> view.lines[0].quality[0].value, view.lines[0].costs
    ('0.800', ('1.0', '2.00', '3.00', '100,000', '0.00', '2'))
    """

    comparison: Comparison

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Heading and hint of each column of quality after the name."""
        return (*_QUALITY.values(), *((heading, "of the champion") for heading in _AHEAD.values()))

    @property
    def cost_columns(self) -> tuple[tuple[str, str], ...]:
        """Heading and hint of each column of costs after the name."""
        return (*_COSTS, ("Explanation", "how reasons are found"))

    @property
    def lines(self) -> tuple[Line, ...]:
        """The champion first."""
        champion = self.comparison.champion
        return tuple(
            Line(
                entry.name,
                entry.name == champion,
                tuple(_cell(key, entry.metrics.get(key)) for key in _QUALITY),
                tuple(_ahead(key, entry.ahead.get(key)) for key in _AHEAD),
                _costs(entry),
                entry.explanation,
            )
            for entry in self.comparison.entries
        )

    @property
    def charts(self) -> Mapping[str, Chart]:
        """Every chart by its name in the templates."""
        entries = self.comparison.entries
        return {
            "compared_auc": _difference_chart(self.comparison, "roc_auc", "ROC AUC ahead of the champion", signed),
            "compared_profit": _difference_chart(
                self.comparison, "profit", "Profit per customer ahead of the champion", _money
            ),
            "compared_speed": _speed_chart(entries),
        }


def _cell(key: str, estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell()
    form = percent if key in {"recall", "precision"} else _money if key == "profit" else decimal
    return Cell(_money(estimate.value) if key == "profit" else form(estimate.value), interval(estimate, form))


def _ahead(key: str, estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell()
    form = _signed_money if key == "profit" else signed
    return Cell(form(estimate.value), interval(estimate, form))


def _money(number: float) -> str:
    return amount(round(number, 2) + 0.0)


def _signed_money(number: float) -> str:
    rounded = round(number, 2) + 0.0
    return f"+{amount(rounded)}" if rounded > 0 else amount(rounded)


def _costs(entry: Entry) -> tuple[str, ...]:
    costs = entry.costs
    return (
        f"{costs.training_seconds:,.1f}",
        f"{costs.p50_seconds * 1e3:.2f}",
        f"{costs.p99_seconds * 1e3:.2f}",
        count(costs.rows_per_second),
        f"{costs.artifact_bytes / 1e6:,.2f}",
        count(costs.peak_bytes / 1e6) if costs.peak_bytes else "",
    )


def _difference_chart(comparison: Comparison, key: str, title: str, form: Any) -> Chart:
    """A point and its paired interval for each rival, around the champion's line at zero."""
    rivals = [entry for entry in comparison.entries if key in entry.ahead][::-1]
    alt = f"{title}: " + ", ".join(f"{e.name} {with_interval(e.ahead[key], form)}" for e in rivals[::-1]) + "."
    traces = [_point(entry, key) for entry in rivals]
    name = "compared-" + ("auc" if key == "roc_auc" else key)
    zero = {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": _DASHED}
    return draw(
        name, title, alt, traces, height=90 + 34 * max(len(rivals), 1), shapes=[zero],
        xaxis=axis("← champion better · candidate better →", zeroline=False),
        yaxis=axis(type="category", showgrid=True, tickfont={"size": 13, "color": INK}),
    )  # fmt: skip


_DASHED = {"color": AXIS, "width": 1, "dash": "longdash"}


def _point(entry: Entry, key: str) -> Any:
    ahead = entry.ahead[key]
    proven = ahead.low > 0 or ahead.high < 0
    colour = BLUE if ahead.low > 0 else ORANGE if proven else STONE
    whiskers = {
        "type": "data", "symmetric": False, "array": [_length(ahead.high - ahead.value)],
        "arrayminus": [_length(ahead.value - ahead.low)], "color": colour, "thickness": 1.5, "width": 4,
    }  # fmt: skip
    marker = {"color": colour, "size": 11, "symbol": "diamond" if proven else "circle-open"}
    return go.Scatter(
        x=[ahead.value], y=[plain_text(entry.name)], error_x=whiskers, mode="markers", marker=marker,
        hovertemplate="%{x:+.3f}<extra></extra>", showlegend=False,
    )  # fmt: skip


def _length(distance: float) -> float:
    return max(distance, 0.0) if math.isfinite(distance) else 0.0


def _speed_chart(entries: Sequence[Entry]) -> Chart:
    """How long one prediction takes, as a span from the usual time to one that only one in a hundred exceeds."""
    spans = [(plain_text(e.name), e.costs.p50_seconds * 1e3, e.costs.p99_seconds * 1e3) for e in entries][::-1]
    alt = "Milliseconds for one row, p50 to p99: " + ", ".join(f"{n} {low:.2f} to {high:.2f}" for n, low, high in spans)
    traces = [
        go.Scatter(
            x=[low, high], y=[name, name], mode="lines+markers", line={"color": STONE, "width": 2}, showlegend=False,
            marker={"size": [11, 7], "color": BLUE if name == spans[-1][0] else STONE, "symbol": ["diamond", "line-ns"],
                    "line": {"width": 2, "color": STONE}},
            hovertemplate="%{x:.2f} ms<extra></extra>",
        )
        for name, low, high in spans
    ]  # fmt: skip
    return draw(
        "compared-speed", "Time of one prediction", f"{alt}.", traces, height=90 + 34 * len(spans),
        xaxis=axis("milliseconds from a raw row to a probability", type="log", dtick=1),
        yaxis=axis(type="category", showgrid=True, tickfont={"size": 13, "color": INK}),
    )  # fmt: skip
