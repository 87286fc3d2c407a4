"""Profit as a curve with sliders: what another threshold, capacity, save rate or incentive would earn.

Enters: the profit curve of the test block and what was assumed. Leaves: a `WhatIf`: the chart, the sliders' ranges, the
first sentence, and the sums from which the page works out the others. Invariant: the page's script (`whatif.js`) knows
the same few formulas and words as this module, so that with the sliders where they start it says the very same
sentence; a test in a browser holds the two against each other.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tenure.model.evaluate import Estimate
from tenure.report.chart import Chart, axis, draw
from tenure.report.inputs import Money
from tenure.report.palette import AXIS, BLUE, BLUE_BAND, GREEN, PAPER
from tenure.report.words import amount, count, percent, plural, with_interval
from tenure.value.curve import ProfitCurve
from tenure.value.threshold import t_star

__all__ = ["WhatIf", "what_if"]


@dataclass(frozen=True)
class WhatIf:
    """A curve that a reader can move.

    Parameters
    ----------
    chart : Chart
        Profit by share of customers contacted, as assumed.
    said : str
        What the start of the sliders comes to.
    json : str
        Sums, costs and the start of the sliders, for the script.
    place, last_place, capacity, rows : int
        Start and end of the sliders for the threshold and for the capacity.
    rate : float
        Start of the save rate's slider, in per cent.
    incentive, most_incentive : float
        Start and end of the incentive's slider.
    """

    chart: Chart
    said: str
    json: str
    place: int
    last_place: int
    capacity: int
    rows: int
    rate: float
    incentive: float
    most_incentive: float


def what_if(money: Money) -> WhatIf | None:
    """Make the curve of a report; None where there is nothing to draw.

    Examples
    --------
    >>> import numpy as np
    >>> from tenure.core.settings import ValueSettings
    >>> from tenure.value.curve import profit_curve
    >>> curve = profit_curve([0.9, 0.5, 0.01], np.array([True, True, False]), 600, np.arange(3))
    >>> found = what_if(Money(0.0556, (), ValueSettings(clv=600, contact_cost=10, save_rate=0.3), curve=curve))
    >>> found.said.startswith("Contacting 2 of 3 customers"), found.place, found.last_place, found.most_incentive
    (True, 2, 3, 300.0)
    """
    curve, value = money.curve, money.value
    if curve is None or curve.rows == 0 or len(curve.score) < 2:
        return None
    rate, incentive = value.middle_save_rate, value.incentive_cost
    costs = {"save_rate": rate, "incentive_cost": incentive, "contact_cost": value.contact_cost}
    clv = None if isinstance(value.clv, str) else float(value.clv)
    pays = curve.at_threshold(_pays_from(clv, **costs))
    capacity = curve.rows if value.capacity is None else min(value.capacity * money.batches, curve.rows)
    shown = min(pays, curve.at_capacity(capacity))
    said = _sentences(curve, shown, pays, costs)
    start = {"place": pays, "capacity": capacity, "rate": 100 * rate, "incentive": incentive}
    return WhatIf(
        chart=_chart(curve, shown, pays, costs, said),
        said=said,
        json=_data(curve, clv, value.contact_cost, start),
        place=pays,
        last_place=len(curve.score) - 1,
        capacity=capacity,
        rows=curve.rows,
        rate=100 * rate,
        incentive=incentive,
        most_incentive=_most_incentive(curve, clv, incentive),
    )


def _pays_from(clv: float | None, *, save_rate: float, incentive_cost: float, contact_cost: float) -> float:
    """The score from which contacting pays; for values of their own, of the value at stake, where incentives are small.

    A customer with the value at stake `p * clv` brings `g * p * clv - p * d * g - (1 - p) * d - f`, which for a small
    churn probability `p` is not negative from `(d + f) / g` on.
    """
    if clv is not None:
        return float(t_star(clv, save_rate=save_rate, incentive_cost=incentive_cost, contact_cost=contact_cost))
    return (incentive_cost + contact_cost) / save_rate if save_rate else math.inf


def _most_incentive(curve: ProfitCurve, clv: float | None, incentive: float) -> float:
    """Half of what a customer is worth, and at least twice of what is given now."""
    worth = clv if clv is not None else float(curve.worth[-1]) / max(int(curve.lost[-1]), 1)
    return max(worth / 2, 2 * incentive, 1.0)


def _sentences(curve: ProfitCurve, shown: int, pays: int, costs: dict[str, float]) -> str:
    profit, half = curve.profit(**costs), curve.half_width(**costs)
    everybody = f"Contacting everybody earns {amount(float(profit[-1]))}."
    best = "That is where it pays under these assumptions."
    if pays == 0:
        best = "No contact pays under these assumptions."
    elif shown != pays:
        best = (
            f"Where it pays under these assumptions, from {_border(curve, pays)} on, "
            f"{plural(int(curve.contacted[pays]), 'contact')} {'earns' if curve.contacted[pays] == 1 else 'earn'} "
            f"{amount(float(profit[pays]))}."
        )
    if shown == 0:
        return f"Contacting nobody earns nothing. {best} {everybody}"
    value = float(profit[shown])
    estimate = Estimate(value, value - float(half[shown]), value + float(half[shown]))
    reached = int(curve.contacted[shown])
    return (
        f"Contacting {count(reached)} of {plural(curve.rows, 'customer')} ({percent(reached / curve.rows)}), "
        f"from {_border(curve, shown)} on, earns {with_interval(estimate, amount)}. {best} {everybody}"
    )


def _border(curve: ProfitCurve, place: int) -> str:
    score = float(curve.score[place])
    if curve.ranked_by == "probability":
        return f"a churn probability of {percent(score)}"
    return f"a value at stake of {amount(score)}"


def _data(curve: ProfitCurve, clv: float | None, contact: float, start: dict[str, Any]) -> str:
    document = {
        "rows": curve.rows,
        "stake": curve.ranked_by != "probability",
        "score": [None, *(float(score) for score in curve.score[1:])],
        "contacted": curve.contacted.tolist(),
        "lost": curve.lost.tolist(),
        "worth": curve.worth.tolist(),
        "spread": curve.spread.tolist(),
        "clv": clv,
        "contact": contact,
        "start": start,
    }
    return json.dumps(document, allow_nan=False)


def _chart(curve: ProfitCurve, shown: int, pays: int, costs: dict[str, float], said: str) -> Chart:
    """The traces that the script moves: band, line, where it pays, where the sliders are, in this order."""
    share = (curve.contacted / curve.rows).tolist()
    profit, half = curve.profit(**costs), curve.half_width(**costs)
    band = go.Scatter(
        x=[*share, *reversed(share)], y=[*(profit - half).tolist(), *reversed((profit + half).tolist())],
        fill="toself", fillcolor=BLUE_BAND, line={"width": 0}, mode="lines", hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    line = go.Scatter(
        x=share, y=profit.tolist(), mode="lines", line={"color": BLUE, "width": 3}, showlegend=False,
        hovertemplate="%{x:.1%} contacted<br>%{y:,.0f}<extra></extra>",
    )  # fmt: skip
    return draw(
        "profit", "Profit by customers contacted", f"Incremental profit by share of customers contacted. {said}",
        [band, line, _mark("where it pays", "circle-open", GREEN, share[pays], float(profit[pays])),
         _mark("as the sliders say", "diamond", BLUE, share[shown], float(profit[shown]))],
        height=380,
        xaxis=axis("customers contacted, those who pay most first", tickformat=".0%", range=[-0.01, 1.01]),
        yaxis=axis("incremental profit", zeroline=True, zerolinecolor=AXIS, tickformat="~s"),
    )  # fmt: skip


def _mark(name: str, symbol: str, colour: str, x: float, y: float) -> Any:
    open_one = symbol.endswith("-open")
    marker = {"symbol": symbol, "size": 16 if open_one else 12, "color": colour,
              "line": {"color": colour if open_one else PAPER, "width": 2}}  # fmt: skip
    words = f"{name}:<br>%{{x:.1%}} contacted<br>%{{y:,.0f}}<extra></extra>"
    return go.Scatter(x=[x], y=[y], mode="markers", name=name, marker=marker, hovertemplate=words)
