"""A figure as the page holds it.

Enters: plotly traces and what is special about their layout. Leaves: a `Chart`: its id, its height in pixels, what it
shows in words for those who do not see it, and its JSON. Invariant: the JSON holds no random id and can stand inside a
`<script>` element, whatever names are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from tenure.report.palette import AXIS, CLEAR, GRID, INK, PAPER

__all__ = ["FONT", "Chart", "axis", "draw", "hatch", "plain_text"]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


@dataclass(frozen=True)
class Chart:
    """One figure: `id` in the page, `title`, `alt` in words, `height` in pixels, `json` for plotly."""

    id: str
    title: str
    alt: str
    height: int
    json: str


def axis(title: str = "", **special: Any) -> dict[str, Any]:
    """An axis with a quiet grid; `special` are plotly's own settings and win."""
    quiet = {
        "title": {"text": title, "font": {"size": 12, "color": AXIS}, "standoff": 8},
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": AXIS,
        "tickfont": {"size": 12, "color": AXIS},
        "fixedrange": True,
        "automargin": True,
    }
    return quiet | special


def draw(name: str, title: str, alt: str, traces: Sequence[Any], *, height: int = 340, **layout: Any) -> Chart:
    """Put traces into the page's frame.

    Parameters
    ----------
    name : str
        Unique in the page; the figure's id is `chart-{name}`.
    title : str
        Heading over the figure.
    alt : str
        What the figure shows, as a sentence.
    traces : sequence of plotly traces
        What is drawn.
    height : int
        In pixels.
    **layout
        Plotly's layout; wins over the frame.

    Examples
    --------
    >>> chart = draw("toy", "Toy", "Two points.", [go.Scatter(x=[0, 1], y=[0, 1], name="</script>")])
    >>> chart.id, "</script>" in chart.json
    ('chart-toy', False)
    """
    frame = {
        "template": "none",
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": FONT, "size": 13, "color": INK},
        "margin": {"l": 12, "r": 14, "t": 10, "b": 12},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hoverlabel": {"font": {"family": FONT, "size": 12, "color": INK}, "bgcolor": PAPER, "bordercolor": AXIS},
        "dragmode": False,
        "xaxis": axis(),
        "yaxis": axis(),
    }
    figure = go.Figure(list(traces), frame | layout)
    return Chart(f"chart-{name}", title, alt, height, figure.to_json(engine="json"))


def hatch(colour: str, shape: str) -> dict[str, Any]:
    """A bar's pattern on its colour; without a shape the plain colour."""
    return {"shape": shape, "bgcolor": colour, "fgcolor": PAPER, "size": 6, "solidity": 0.35}


def plain_text(text: str) -> str:
    """Text that plotly shall show as it is; it reads a few HTML tags otherwise.

    Examples
    --------
    >>> plain_text("<b>bold</b>")
    '&lt;b&gt;bold&lt;/b&gt;'
    """
    return escape(text, quote=False)
