"""The places of things in the charts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenure.model.evaluate import judge
from tenure.report.figures import roc_chart
from tenure.report.history import split_chart
from tenure.report.inputs import Histogram, ReportInput
from tests.report.world import shop, split

_SHOP = shop()


def traces(chart: Any) -> dict[str, Any]:
    return {trace["name"]: trace for trace in json.loads(chart.json)["data"] if "name" in trace}


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=4, max_size=30), st.floats(0, 1))
def test_the_threshold_lies_where_it_lies_on_the_roc_curve(rows: list[tuple[bool, float]], threshold: float) -> None:
    label = np.array([True, False, *(left for left, _ in rows)])
    score = np.array([0.5, 0.5, *(score for _, score in rows)])
    own = judge("toy", "model", "test", label, score, np.arange(len(label)), threshold=threshold, repeats=2)
    mark = traces(roc_chart(replace(shop_alone(), scorecard=(own,))))["at the threshold"]
    contacted = score >= threshold
    np.testing.assert_allclose([*mark["x"], *mark["y"]], [contacted[~label].mean(), contacted[label].mean()], atol=1e-9)


def shop_alone() -> ReportInput:
    return replace(_SHOP, differences={})


def spans(trace: dict[str, Any]) -> list[tuple[datetime, timedelta]]:
    return [
        (datetime.fromisoformat(start), timedelta(milliseconds=length))
        for start, length in zip(trace["base"], trace["x"], strict=True)
    ]


def test_the_split_diagram_shows_history_gap_judged_span_and_grace() -> None:
    gap, horizon, grace, lookback = (timedelta(days=days) for days in (3, 28, 5, 84))
    plan = replace(split(), gap=gap, horizon=horizon, embargo=gap + horizon + grace)
    chart = split_chart(replace(_SHOP, split=plan, lookback=lookback))
    assert chart is not None
    found = traces(chart)
    (test,) = (cutoff.replace(tzinfo=None) for cutoff in plan.test)
    assert spans(found["judged: test"]) == [(test + gap, horizon)]
    assert spans(found["grace"])[-1] == (test + gap + horizon, grace)
    assert spans(found["feature history"])[-1] == (test - lookback, lookback)
    edges = [shape["x0"] for shape in json.loads(chart.json)["layout"]["shapes"]]
    assert edges == [(test - plan.embargo).isoformat(), test.isoformat()]


def test_history_never_begins_before_the_log() -> None:
    chart = split_chart(replace(_SHOP, lookback=timedelta(days=365)))
    assert chart is not None
    first, *_, last = (start for start, _ in spans(traces(chart)["feature history"]))
    assert (first.isoformat(), last.isoformat()) == ("2025-01-01T00:00:00", "2025-01-31T00:00:00")


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=50), st.integers(1, 60))
def test_a_histogram_counts_every_row_once(rows: list[tuple[float, bool]], bins: int) -> None:
    probability = np.array([p for p, _ in rows], dtype=np.float64)
    label = np.array([left for _, left in rows], dtype=np.bool_)
    found = Histogram.of(probability, label, bins)
    assert (sum(found.stayers), sum(found.churners)) == (int((~label).sum()), int(label.sum()))
    assert len(found.stayers) == len(found.churners) == bins
