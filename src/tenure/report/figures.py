"""The charts about what a version can do: ranking, probabilities, who is found.

Enters: judgements of the test block. Leaves: one `Chart` each. Invariant: a chart draws the numbers of the judgement
and computes none of its own, except the place of the threshold on the ROC curve, which follows from three of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

from tenure.model.evaluate import CalibrationBin, Decile, Estimate, Judgement
from tenure.report.chart import Chart, axis, draw, hatch, plain_text
from tenure.report.inputs import Histogram, ReportInput
from tenure.report.palette import AXIS, BLUE, BLUE_BAND, GREEN, INK, MIST, ORANGE, PAPER, STONE
from tenure.report.words import percent, times, with_interval

__all__ = ["calibration_chart", "gain_chart", "lift_chart", "precision_recall_chart", "rank_chart", "roc_chart"]

SHARE = {"tickformat": ".0%", "range": [-0.01, 1.01]}
LINES = ((BLUE, "solid", 3), (ORANGE, "dash", 2), (GREEN, "dot", 2.5))
LABEL_WIDTH = 20
LEGEND_WIDTH = 40


def compared(report: ReportInput) -> tuple[Judgement, ...]:
    """The version, the next trained family, and the strongest baseline: more lines than that cannot be told apart."""
    others = [judgement for judgement in report.scorecard[1:] if judgement.kind == "model"][:1]
    best = report.best_baseline
    return (report.own, *others, *((best,) if best else ()))


def roc_chart(report: ReportInput) -> Chart:
    """True against false positive rate, with the diagonal of chance.

    Raises
    ------
    KeyError
        A judgement has no ROC AUC.
    """
    area = with_interval(report.own.metrics["roc_auc"])
    alt = f"ROC curve of {report.own.name}: area {area}. The diagonal is chance."
    traces = [
        _line(judgement, judgement.roc, style, "stayers contacted", "leavers found")
        for judgement, style in zip(compared(report), LINES, strict=False)
    ]
    metrics = report.own.metrics
    if "recall" in metrics and "contacted_share" in metrics:
        traces.append(_threshold_mark(_stayers_contacted(report.own), metrics["recall"].value))
    chance = _reference([0, 1], [0, 1])
    return draw(
        "roc", "ROC curve", alt, [chance, *traces], height=380,
        xaxis=axis("stayers contacted", **SHARE), yaxis=axis("leavers found", **SHARE),
    )  # fmt: skip


def precision_recall_chart(report: ReportInput) -> Chart:
    """Precision against recall, with the churn rate as the level of chance."""
    own = report.own
    rate = own.positives / own.rows
    alt = (
        f"Precision and recall of {own.name}: average precision {with_interval(own.metrics['average_precision'])}. "
        f"Chance is the churn rate, {percent(rate)}."
    )
    traces = [
        _line(judgement, judgement.precision_recall, style, "leavers found", "of those contacted leave")
        for judgement, style in zip(compared(report), LINES, strict=False)
    ]
    if "recall" in own.metrics and "precision" in own.metrics:
        traces.append(_threshold_mark(own.metrics["recall"].value, own.metrics["precision"].value))
    chance = _reference([0, 1], [rate, rate])
    return draw(
        "precision-recall", "Precision and recall", alt, [chance, *traces], height=380,
        xaxis=axis("leavers found (recall)", **SHARE), yaxis=axis("contacted who leave (precision)", **SHARE),
    )  # fmt: skip


def _stayers_contacted(judgement: Judgement) -> float:
    contacted = judgement.metrics["contacted_share"].value * judgement.rows
    found = judgement.metrics["recall"].value * judgement.positives
    return (contacted - found) / (judgement.rows - judgement.positives)


def _line(
    judgement: Judgement, points: Sequence[tuple[float, float]], style: tuple[str, str, float], x: str, y: str
) -> Any:
    colour, dash, width = style
    return go.Scatter(
        x=[point[0] for point in points],
        y=[point[1] for point in points],
        mode="lines",
        name=plain_text(_short(judgement.name)),
        line={"color": colour, "dash": dash, "width": width},
        hovertemplate=f"%{{x:.1%}} {x}<br>%{{y:.1%}} {y}",
    )


def _reference(x: list[float], y: list[float]) -> Any:
    """The dashed line that captions explain."""
    line = {"color": AXIS, "width": 1, "dash": "longdash"}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _threshold_mark(x: float, y: float) -> Any:
    marker = {"symbol": "diamond", "size": 12, "color": BLUE, "line": {"color": PAPER, "width": 2}}
    words = "at the threshold:<br>%{x:.1%}, %{y:.1%}<extra></extra>"
    return go.Scatter(x=[x], y=[y], mode="markers", name="at the threshold", marker=marker, hovertemplate=words)


def gain_chart(report: ReportInput) -> Chart:
    """Share of the leavers found against the share of customers contacted, by decile."""
    first = report.own.deciles[0].gain
    alt = f"Cumulative gain: the top tenth of {report.own.name} holds {with_interval(first, percent)} of the leavers."
    traces = [_band(report.own.deciles), _reference([0, 1], [0, 1])]
    for judgement, style in zip(compared(report), LINES, strict=False):
        points = [(0.0, 0.0), *((part.decile / 10, part.gain.value) for part in judgement.deciles)]
        traces.append(_line(judgement, points, style, "of customers contacted", "of leavers found"))
    return draw(
        "gain", "Leavers found by customers contacted", alt, traces, height=380,
        xaxis=axis("customers contacted, highest scores first", **SHARE), yaxis=axis("leavers found", **SHARE),
    )  # fmt: skip


def _band(deciles: Sequence[Decile]) -> Any:
    """The interval of this version's line as one closed outline."""
    known = [part for part in deciles if math.isfinite(part.gain.low)]
    x = [0.0, *(part.decile / 10 for part in known)]
    low, high = [0.0, *(part.gain.low for part in known)], [0.0, *(part.gain.high for part in known)]
    return go.Scatter(
        x=[*x, *reversed(x)],
        y=[*low, *reversed(high)],
        fill="toself",
        fillcolor=BLUE_BAND,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def lift_chart(report: ReportInput) -> Chart:
    """Churn rate of each tenth over the churn rate of all."""
    deciles = report.own.deciles
    alt = "Lift by decile: " + ", ".join(f"{part.decile}: {times(part.lift.value)}" for part in deciles) + "."
    bars = go.Bar(
        x=[part.decile for part in deciles],
        y=[part.lift.value for part in deciles],
        error_y=_whiskers([part.lift for part in deciles], INK),
        marker={"color": [BLUE if part.decile == 1 else MIST for part in deciles], "line": {"color": BLUE, "width": 1}},
        customdata=[[part.positives, part.rows] for part in deciles],
        hovertemplate="%{y:.2f} times the average<br>%{customdata[0]:,} of %{customdata[1]:,} leave<extra></extra>",
        showlegend=False,
    )
    average = _reference([0.4, 10.6], [1, 1])
    return draw(
        "lift", "Lift by tenth", alt, [bars, average], height=380, bargap=0.25,
        xaxis=axis("tenth of customers, highest scores first", dtick=1, range=[0.4, 10.6], showgrid=False),
        yaxis=axis("times the average churn rate", rangemode="tozero"),
    )  # fmt: skip


def _whiskers(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [_distance(estimate.value, estimate.high) for estimate in estimates],
        "arrayminus": [_distance(estimate.low, estimate.value) for estimate in estimates],
        "color": colour,
        "thickness": 1.5,
        "width": 4,
    }


def _distance(low: float, high: float) -> float:
    """Length of one whisker; none where the interval is not defined."""
    return max(high - low, 0.0) if math.isfinite(high - low) else 0.0


def calibration_chart(report: ReportInput) -> Chart:
    """Churn rate that came true against the mean prediction, above the histogram of predictions."""
    bins = report.own.calibration
    alt = "Calibration, predicted to observed: " + ", ".join(
        f"{percent(part.predicted)} to {percent(part.observed.value)}" for part in bins
    )
    before = report.stages[0].calibration if report.stages else ()
    x_end, y_end = _ends((*bins, *before), report.predictions)
    traces = [_reference([0, 1], [0, 1]), *([_uncorrected(before)] if before else []), _observed(bins)]
    split_at = 0.0
    if report.predictions:
        split_at = 0.34
        traces += _histogram(report.predictions)
    return draw(
        "calibration", "Predicted and observed churn", f"{alt}.", traces, height=460 if split_at else 380,
        barmode="stack", bargap=0.08,
        xaxis=axis("predicted probability", anchor="y2" if split_at else "y", **_from_zero(x_end)),
        yaxis=axis("observed churn rate", domain=[split_at, 1], **_from_zero(y_end)),
        **({"yaxis2": axis("customers", domain=[0, 0.24], nticks=4)} if split_at else {}),
    )  # fmt: skip


def _ends(bins: Sequence[CalibrationBin], predictions: Histogram | None) -> tuple[float, float]:
    """How far the axes reach: to the highest prediction, and to the highest end of an interval."""
    x = max(part.predicted for part in bins)
    if predictions:
        rows = [sum(both) for both in zip(predictions.stayers, predictions.churners, strict=True)]
        x = max(x, *((place + 1) / len(rows) for place, count in enumerate(rows) if count))
    y = max(part.observed.high if math.isfinite(part.observed.high) else part.observed.value for part in bins)
    return min(1.0, x), min(1.0, max(y, *(part.observed.value for part in bins)))


def _from_zero(end: float) -> dict[str, Any]:
    return {"tickformat": ".0%", "range": [-0.02 * end, 1.05 * end]}


def _observed(bins: Sequence[CalibrationBin]) -> Any:
    return go.Scatter(
        x=[part.predicted for part in bins],
        y=[part.observed.value for part in bins],
        error_y=_whiskers([part.observed for part in bins], BLUE),
        mode="markers",
        marker={"color": BLUE, "size": 9},
        name="observed, with its interval",
        customdata=[part.rows for part in bins],
        hovertemplate="predicted %{x:.1%}<br>observed %{y:.1%}<br>%{customdata:,} customers<extra></extra>",
    )


def _uncorrected(bins: Sequence[CalibrationBin]) -> Any:
    """The same customers by what the model said by itself."""
    return go.Scatter(
        x=[part.predicted for part in bins],
        y=[part.observed.value for part in bins],
        mode="markers",
        marker={"color": STONE, "size": 9, "symbol": "square-open", "line": {"width": 1.5}},
        name="before correction",
        hovertemplate="the model said %{x:.1%}<br>observed %{y:.1%}<extra></extra>",
    )


def _histogram(predictions: Histogram) -> list[Any]:
    width = 1 / len(predictions.stayers)
    middles = [(place + 0.5) * width for place in range(len(predictions.stayers))]
    looks: tuple[tuple[str, tuple[int, ...], str, str], ...] = (
        ("stayed", predictions.stayers, STONE, ""),
        ("left", predictions.churners, ORANGE, "/"),
    )
    return [
        go.Bar(
            x=middles, y=rows, name=name, yaxis="y2", width=width,
            marker={"color": colour, "pattern": hatch(colour, pattern)},
            hovertemplate=f"around %{{x:.0%}}: %{{y:,}} {name}<extra></extra>",
        )
        for name, rows, colour, pattern in looks
    ]  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= LEGEND_WIDTH else f"{name[: LEGEND_WIDTH - 1]}…"


def _label(name: str) -> str:
    """A name on lines short enough for a phone."""
    return "<br>".join(plain_text(line) for line in wrap(name, LABEL_WIDTH, max_lines=3, placeholder=" …"))


def rank_chart(report: ReportInput) -> Chart | None:
    """ROC AUC of every entry of the scorecard, with its interval; none where there is nothing to compare with."""
    if len(report.scorecard) == 1:
        return None
    entries = report.scorecard[::-1]
    alt = "ROC AUC: " + ", ".join(f"{e.name} {with_interval(e.metrics['roc_auc'])}" for e in report.scorecard) + "."
    colours = [BLUE if e is report.own else ORANGE if e.kind == "model" else STONE for e in entries]
    names = [_label(entry.name) for entry in entries]
    traces = [
        go.Scatter(
            x=[e.metrics["roc_auc"].value], y=[name], error_x=_whiskers([e.metrics["roc_auc"]], colour), mode="markers",
            marker={"color": colour, "size": 12 if e is report.own else 9,
                    "symbol": "diamond" if e is report.own else "circle" if e.kind == "model" else "square-open"},
            hovertemplate="ROC AUC %{x:.3f}<extra></extra>", showlegend=False,
        )
        for e, name, colour in zip(entries, names, colours, strict=True)
    ]  # fmt: skip
    return draw(
        "rank", "ROC AUC with 95 % intervals", alt, traces, height=70 + 32 * len(entries),
        xaxis=axis("ROC AUC"),
        yaxis=axis(type="category", showgrid=True, tickfont={"size": 13, "color": INK}),
    )  # fmt: skip
