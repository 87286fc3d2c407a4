"""The charts about what a version was made from: labels over time, and the split.

Enters: label health per cutoff, the split, the span of the log. Leaves: a `Chart` each, or none where rows have no
cutoffs. Invariant: every bar of the split diagram is a span of the design: history before the cutoff, the gap, the
judged span, the grace after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from tenure.core.time import format_instant
from tenure.report.chart import Chart, axis, draw, hatch
from tenure.report.inputs import Block, ReportInput
from tenure.report.palette import AXIS, BLUE, GREEN, INK, MIST, ORANGE, STONE
from tenure.report.words import percent, span

__all__ = ["labels_chart", "split_chart"]

LOOK: dict[Block, tuple[str, str, str]] = {  # colour, symbol of a point, pattern of a bar
    "train": (BLUE, "circle", ""),
    "calibrate": (GREEN, "square", "x"),
    "test": (ORANGE, "diamond", "/"),
}
DATES: dict[str, Any] = {"type": "date", "tickformat": "%-d %b\n%Y", "nticks": 5, "tickangle": 0}


def labels_chart(report: ReportInput) -> Chart | None:
    """Churn rate per cutoff above the number of customers at risk."""
    dated = [label for label in report.labels if label.cutoff is not None]
    if not dated:
        return None
    traces: list[Any] = []
    for block, (colour, symbol, pattern) in LOOK.items():
        own = [label for label in dated if label.block == block]
        if own:
            x = [_date(label.cutoff) for label in own if label.cutoff]
            marker = {"color": colour, "symbol": symbol, "size": 9}
            line = {"color": colour, "width": 2}
            traces.append(
                go.Scatter(
                    x=x, y=[label.churners / label.rows if label.rows else None for label in own], name=block,
                    mode="lines+markers", marker=marker, line=line,
                    hovertemplate=f"{block} %{{x|%Y-%m-%d}}<br>%{{y:.1%}} left<extra></extra>",
                )
            )  # fmt: skip
            traces.append(_at_risk(x, [label.rows for label in own], block, colour, pattern))
    rates = ", ".join(
        f"{format_instant(label.cutoff)} {percent(label.churners / label.rows)}"
        for label in dated
        if label.cutoff and label.rows
    )
    return draw(
        "labels", "Churn rate and customers at risk at each cutoff", f"Churn rate by cutoff: {rates}.", traces,
        height=360, bargap=0.5,
        xaxis=axis(anchor="y2", showgrid=False, **DATES),
        yaxis=axis("left", domain=[0.46, 1], tickformat=".0%", rangemode="tozero"),
        yaxis2=axis("at risk", domain=[0, 0.34], rangemode="tozero", nticks=4),
    )  # fmt: skip


def _at_risk(x: list[str], rows: list[int], block: str, colour: str, pattern: str) -> Any:
    return go.Bar(
        x=x, y=rows, yaxis="y2", showlegend=False,
        marker={"color": colour, "pattern": hatch(colour, pattern)},
        hovertemplate=f"{block} %{{x|%Y-%m-%d}}<br>%{{y:,}} customers at risk<extra></extra>",
    )  # fmt: skip


def split_chart(report: ReportInput) -> Chart | None:
    """A line per cutoff: the history it may use, the cutoff, the span its label is judged on."""
    split = report.split
    if split.how != "cutoffs" or not split.cutoffs:
        return None
    names = [_row_name(block, cutoff) for block, cutoff in _by_time(report)]
    traces = [*_history_bars(report), *_label_bars(report), *_cutoff_marks(report)]
    alt = (
        f"Split by time: {len(split.train)} training, {len(split.calibrate)} calibration and {len(split.test)} test "
        f"cutoffs, the last one {format_instant(split.cutoffs[-1])}, with an embargo of {span(split.embargo)}."
    )
    return draw(
        "split", "Cutoffs, history and judged spans", alt, traces, height=130 + 24 * len(names), barmode="overlay",
        bargap=0.4, shapes=_embargo(report), xaxis=axis(**DATES),
        yaxis=axis(type="category", categoryorder="array", categoryarray=names[::-1], showgrid=False, dtick=1,
                   tickfont={"size": 11, "color": INK}),
    )  # fmt: skip


def _by_time(report: ReportInput) -> Iterator[tuple[Block, datetime]]:
    yield from (("train", cutoff) for cutoff in report.split.train)
    yield from (("calibrate", cutoff) for cutoff in report.split.calibrate)
    yield from (("test", cutoff) for cutoff in report.split.test)


def _row_name(block: str, cutoff: datetime) -> str:
    return f"{block} {format_instant(cutoff)}"


def _date(instant: datetime) -> str:
    """An instant as plotly reads it: without an offset, which it would drop anyway."""
    return instant.replace(tzinfo=None).isoformat()


def _bars(name: str, spans: Sequence[tuple[str, datetime, timedelta]], words: str, **marker: Any) -> Any:
    return go.Bar(
        y=[row for row, _, _ in spans],
        base=[_date(start) for _, start, _ in spans],
        x=[length / timedelta(milliseconds=1) for _, _, length in spans],
        customdata=[[format_instant(start), format_instant(start + length)] for _, start, length in spans],
        orientation="h",
        name=name,
        marker=marker,
        hovertemplate=f"{words}<br>%{{customdata[0]}} to %{{customdata[1]}}<extra></extra>",
    )


def _history_bars(report: ReportInput) -> Iterator[Any]:
    spans = []
    for block, cutoff in _by_time(report):
        back = cutoff - report.lookback if report.lookback else report.first
        start = max(filter(None, (back, report.first)), default=None)
        if start and start < cutoff:
            spans.append((_row_name(block, cutoff), start, cutoff - start))
    if spans:
        yield _bars("feature history", spans, "features read", color=MIST)


def _label_bars(report: ReportInput) -> Iterator[Any]:
    split = report.split
    grace = split.embargo - split.gap - split.horizon
    for block, (colour, _, pattern) in LOOK.items():
        cutoffs = [cutoff for mine, cutoff in _by_time(report) if mine == block]
        spans = [(_row_name(block, cutoff), cutoff + split.gap, split.horizon) for cutoff in cutoffs]
        if spans:
            yield _bars(
                f"judged: {block}", spans, "label judged on", color=colour,
                pattern=hatch(colour, pattern),
            )  # fmt: skip
    if grace > timedelta(0):
        ends = [
            (_row_name(block, cutoff), cutoff + split.gap + split.horizon, grace) for block, cutoff in _by_time(report)
        ]
        yield _bars("grace", ends, "grace until the label is settled", color=STONE, opacity=0.5)


def _cutoff_marks(report: ReportInput) -> Iterator[Any]:
    cutoffs = list(_by_time(report))
    yield go.Scatter(
        x=[_date(cutoff) for _, cutoff in cutoffs],
        y=[_row_name(block, cutoff) for block, cutoff in cutoffs],
        mode="markers",
        marker={"symbol": "line-ns", "size": 15, "line": {"color": INK, "width": 2.5}},
        name="cutoff",
        hovertemplate="cutoff %{x|%Y-%m-%d %H:%M}<extra></extra>",
    )


def _embargo(report: ReportInput) -> list[dict[str, Any]]:
    split = report.split
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": AXIS, "width": 1, "dash": "dash"}}
    edges = (split.test[0] - split.embargo, split.test[0]) if split.test else ()
    return [line | {"x0": _date(edge), "x1": _date(edge)} for edge in edges]
