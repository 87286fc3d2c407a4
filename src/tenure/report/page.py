"""A version's report as one HTML page.

Enters: a `ReportInput`. Leaves: the page's text. Invariant: the page is whole in itself. It loads nothing, from a
network or from beside it, and its content security policy forbids it to: the only scripts that may run are the two
whose hashes it names, so that text from the data can never become a script. The same input gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from tenure.report import explained, figures, history, tables
from tenure.report.chart import Chart
from tenure.report.compared import ComparisonView
from tenure.report.inputs import ReportInput
from tenure.report.palette import DARK
from tenure.report.prose import cautions, summary
from tenure.report.whatif import what_if
from tenure.report.words import amount, count, moment, percent, plural, rate, span

__all__ = ["fill", "render"]

TEMPLATE = "page.html.j2"


def render(report: ReportInput) -> str:
    """Write the report of a version.

    Parameters
    ----------
    report : ReportInput
        What it shows.

    Returns
    -------
    str
        One HTML document of about 5 MB, most of which is plotly.

    Raises
    ------
    KeyError
        The version's judgement lacks a metric that every trained model has.

    Examples
    --------
    >>> import numpy as np
    >>> from tenure.core.time import parse_instant
    >>> from tenure.features.audit import AuditReport
    >>> from tenure.model.evaluate import judge
    >>> from tenure.model.split import Split
    >>> from tenure.source.history import ContractReport
    >>> label, score = np.arange(100) % 5 == 0, np.linspace(0.4, 0.1, 100)
    >>> own = judge("logistic", "model", "test", label, score, np.arange(100), repeats=20)
    >>> made, seen = parse_instant("2026-01-01"), AuditReport((), 100, 3, ())
    >>> report = ReportInput(
    ...     "shop", "v1", "logistic", made, "no order", ContractReport((), {}), (), seen, Split(), (own,)
    ... )
    >>> page = render(report)
    >>> page.startswith("<!doctype html>"), "20 of them" in page
    (True, True)
    """
    whatif = what_if(report.money) if report.money else None
    compared = ComparisonView(report.comparison) if report.comparison else None
    return fill(
        TEMPLATE,
        report=report,
        whatif=whatif,
        compared=compared,
        charts={
            **_charts(report),
            "profit": whatif and whatif.chart,
            **(compared.charts if compared else {}),
        },
        tables=tables,
        summary=summary(report),
        cautions=tuple(cautions(report)),
    )


def fill(template: str, **given: object) -> str:
    """Fill a page's template with what it shows and with what every page holds: style, scripts and their hashes.

    Parameters
    ----------
    template : str
        File in `report/`; it includes `head.html.j2` and `scripts.html.j2`.
    **given
        What the template names; `charts` among it.
    """
    scripts = {"plotly": _plotly(), "draw": _read("page.js") + _read("whatif.js")}
    hashes = [_hash(script) for script in scripts.values()]
    page = _environment().get_template(template)
    return page.render(given, style=_read("page.css"), scripts=scripts, hashes=hashes, dark=json.dumps(DARK))


def _charts(report: ReportInput) -> dict[str, Chart | None]:
    """Every chart by its name in the templates; None where the report has nothing to draw."""
    return {
        "gain": figures.gain_chart(report),
        "lift": figures.lift_chart(report),
        "calibration": figures.calibration_chart(report) if report.own.calibration else None,
        "rank": figures.rank_chart(report),
        "roc": figures.roc_chart(report),
        "precision_recall": figures.precision_recall_chart(report),
        "effects": explained.effects_chart(report.swarms) if report.swarms else None,
        "swarm": explained.swarm_chart(report.swarms) if report.swarms else None,
        "labels": history.labels_chart(report),
        "split": history.split_chart(report),
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tenure.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: tuple[Callable[..., str], ...] = (amount, count, moment, percent, plural, rate, span)
    environment.filters |= {words.__name__: words for words in filters}
    return environment


@cache
def _plotly() -> str:
    """Plotly's own bundle, as the installed package ships it."""
    return str(get_plotlyjs())


@cache
def _read(name: str) -> str:
    return files("tenure.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _hash(script: str) -> str:
    """How a content security policy names a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
