"""Charts of effects: every customer is one point, and the page stands without any."""

from __future__ import annotations

import json

import numpy as np

from tenure.model.protocol import Column
from tenure.report.explained import effects_chart, swarm_chart
from tenure.report.swarm import swarms
from tests.report.world import shop


def test_every_customer_is_a_point_on_every_line() -> None:
    report = shop()
    drawn = json.loads(swarm_chart(report.swarms).json)["data"]
    points = [(x, y) for trace in drawn for x, y in zip(trace["x"], trace["y"], strict=True)]
    assert len(points) == sum(len(swarm.effects) for swarm in report.swarms)
    for line, swarm in enumerate(report.swarms):
        own = sorted(x for x, y in points if abs(y - line) < 0.5)
        np.testing.assert_allclose(own, np.sort(100 * np.array(swarm.effects)), atol=0.001)


def test_bars_are_mean_sizes_in_percentage_points() -> None:
    report = shop()
    bars = json.loads(effects_chart(report.swarms).json)["data"][0]
    assert bars["x"] == [100 * swarm.size for swarm in report.swarms]
    assert bars["y"][1].replace("<br>", "") == report.swarms[1].feature


def test_the_strongest_features_come_first_and_only_so_many() -> None:
    effects = np.array([[0.1, -0.3, 0.0], [0.1, 0.3, 0.2]])
    matrix = np.array([[1, 5, np.nan], [2, 6, 7]], np.float32)
    found = swarms(effects, matrix, (Column("a"), Column("b"), Column("c", categories=9)), most=2)
    assert [swarm.feature for swarm in found] == ["b", "a"]
    assert found[0].high == (False, True)


def test_what_is_missing_or_text_is_neither_high_nor_low() -> None:
    effects = np.zeros((3, 2))
    matrix = np.array([[1, 0], [np.nan, 1], [3, np.nan]], np.float32)
    found = swarms(effects, matrix, (Column("a"), Column("plan", categories=3)))
    assert {swarm.feature: swarm.high for swarm in found} == {"a": (False, None, True), "plan": (None, None, None)}
    assert "text, or missing" in swarm_chart(found).json
