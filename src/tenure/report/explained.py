"""The charts about what features go with: how much on average, and for whom.

Enters: swarms of the test block. Leaves: a bar chart and a beeswarm. Invariant: every point is one customer; where a
point lies across its line says nothing but how many others have about the same effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from tenure.report.chart import Chart, axis, draw, plain_text
from tenure.report.palette import AXIS, BLUE, INK, ORANGE, PAPER, STONE
from tenure.report.swarm import Swarm

__all__ = ["effects_chart", "swarm_chart"]

_BINS = 80
_SPREAD = 0.38  # of the way to the next line
_LINE = 34
_LABEL_WIDTH = 22
_KINDS: tuple[tuple[str, Callable[[bool | None], bool], str, str], ...] = (
    ("value up to the median", lambda high: high is False, BLUE, "circle-open"),
    ("value above the median", lambda high: high is True, ORANGE, "triangle-up"),
    ("text, or missing", lambda high: high is None, STONE, "x-thin-open"),
)


def effects_chart(swarms: Sequence[Swarm]) -> Chart:
    """Mean size of each feature's effect, as bars."""
    names = [_broken(swarm.feature) for swarm in swarms]
    alt = "Mean effect in percentage points: " + ", ".join(f"{s.feature} {100 * s.size:.1f}" for s in swarms) + "."
    bars = go.Bar(
        x=[100 * swarm.size for swarm in swarms],
        y=names,
        orientation="h",
        marker={"color": BLUE},
        text=[f"{100 * swarm.size:.1f}" for swarm in swarms],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1f} points on average<extra></extra>",
        showlegend=False,
    )
    return draw(
        "effects", "Mean effect", alt, [bars], height=70 + _LINE * len(swarms), bargap=0.3,
        xaxis=axis("points, up or down", range=[0, 115 * swarms[0].size or 1.0]), yaxis=_lines(names),
    )  # fmt: skip


def swarm_chart(swarms: Sequence[Swarm]) -> Chart:
    """Effect of each feature on each customer, as points on one line per feature."""
    customers = len(swarms[0].effects) if swarms else 0
    alt = f"Effects on {customers} customers. " + " ".join(map(_direction, swarms))
    traces = [trace for trace in (_points(swarms, *kind) for kind in _KINDS) if trace.x]
    names = [_broken(swarm.feature) for swarm in swarms]
    lines = axis(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.4, -0.6], showgrid=True,
        tickfont={"size": 12, "color": INK},
    )  # fmt: skip
    return draw(
        "swarm", "Effect on each customer", alt, traces, height=110 + _LINE * len(names),
        xaxis=axis("percentage points", zeroline=True, zerolinecolor=AXIS), yaxis=lines,
    )  # fmt: skip


def _broken(feature: str) -> str:
    """A long name on several lines, broken after underscores, so that a phone has room for the bars."""
    lines = [""]
    for part in plain_text(feature).replace("_", "_\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > _LABEL_WIDTH:
            lines.append("")
        lines[-1] += part
    return "<br>".join(lines)


def _lines(names: Sequence[str]) -> dict[str, object]:
    return axis(type="category", categoryorder="array", categoryarray=list(reversed(names)), showgrid=False,
                tickfont={"size": 12, "color": INK})  # fmt: skip


def _direction(swarm: Swarm) -> str:
    """Which way high values point, as a sentence for those who do not see the chart."""
    sums = {
        side: [e for e, high in zip(swarm.effects, swarm.high, strict=True) if high is side] for side in (True, False)
    }
    if not sums[True] or not sums[False]:
        return f"{swarm.feature}: mean size {100 * swarm.size:.1f} points."
    above = 100 * float(np.mean(sums[True]))
    return f"{swarm.feature}: values above the median go with {above:+.1f} points on average."


def _points(
    swarms: Sequence[Swarm], name: str, belongs: Callable[[bool | None], bool], colour: str, symbol: str
) -> go.Scatter:
    reach = max((abs(effect) for swarm in swarms for effect in swarm.effects), default=0.0) or 1.0
    x: list[float] = []
    y: list[float] = []
    for line, swarm in enumerate(swarms):
        offsets = _offsets(swarm.effects, reach)
        for effect, offset, high in zip(swarm.effects, offsets, swarm.high, strict=True):
            if belongs(high):
                x.append(round(100 * effect, 3))
                y.append(round(line + offset, 3))
    return go.Scatter(
        x=x, y=y, mode="markers", name=name,
        marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.7, "line": {"width": 1, "color": PAPER}}
        if symbol == "triangle-up"
        else {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.7},
        hovertemplate="%{x:+.1f} points<extra>" + name + "</extra>",
    )  # fmt: skip


def _offsets(effects: Sequence[float], reach: float) -> list[float]:
    """Where points lie across their line: those of about the same effect beside each other, from the middle out."""
    places = [round(_BINS * effect / reach) for effect in effects]
    most = max((places.count(place) for place in set(places)), default=1)
    step, seen = _SPREAD / max(most / 2, 8), dict.fromkeys(places, 0)
    offsets = []
    for place in places:
        number = seen[place] = seen[place] + 1
        offsets.append((number // 2) * step * (1 if number % 2 else -1))
    return offsets
