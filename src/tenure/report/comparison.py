"""A comparison as one HTML page.

Enters: a `ComparisonInput`. Leaves: the page's text. Invariant: as `tenure.report.page`: it loads nothing, and the same
input gives the same bytes. The conclusion stands above the numbers that it follows from.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tenure.advise.compare import Comparison
from tenure.core.settings import ValueSettings
from tenure.model.split import Split
from tenure.report.compared import ComparisonView
from tenure.report.page import fill

__all__ = ["ComparisonInput", "render_comparison"]

TEMPLATE = "comparison.html.j2"


@dataclass(frozen=True)
class ComparisonInput:
    """Everything that the page of a comparison shows.

    Parameters
    ----------
    project : str
        Its name.
    created_at : datetime
        UTC.
    churn : str
        What leaving means, as a phrase.
    split : Split
        Which rows trained and which tested.
    value : ValueSettings
        What was assumed about money.
    comparison : Comparison
        Who did how well at which cost.
    champion_is : str
        What the champion is, as a phrase.
    notes : tuple of str
        What every reader must know.
    """

    project: str
    created_at: datetime
    churn: str
    split: Split
    value: ValueSettings
    comparison: Comparison
    champion_is: str
    notes: tuple[str, ...] = ()


def render_comparison(given: ComparisonInput) -> str:
    """Write the page of a comparison.

    Parameters
    ----------
    given : ComparisonInput
        What it shows.

    Returns
    -------
    str
        One HTML document that loads nothing.

    Examples
    --------
    >>> from tenure.core.time import parse_instant
    >>> from tenure.advise.compare import Entry
    >>> from tenure.advise.quality import METRICS
    >>> from tenure.advise.trial import Costs
    >>> from tenure.advise.verdict import Finding
    >>> from tenure.model.evaluate import Estimate
    >>> metrics = {name: Estimate(0.8, 0.7, 0.9) for name in METRICS}
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
    >>> alone = Finding("insufficient", ("xgboost",), "Insufficient evidence: xgboost stands alone.")
    >>> found = Comparison("xgboost", 10, 2, 10, 2, (entry,), (), (alone,))
    >>> page = render_comparison(
    ...     ComparisonInput(
    ...         "shop", parse_instant("2026-01-01"), "no order", Split(), ValueSettings(), found, "the settings' family"
    ...     )
    ... )
    >>> "Insufficient evidence: xgboost stands alone." in page
    True
    """
    view = ComparisonView(given.comparison)
    return fill(TEMPLATE, given=given, compared=view, charts=view.charts)
