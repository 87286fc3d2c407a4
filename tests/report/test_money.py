"""Money, corrections and kinds of customers in the page: every number has its interval, every mark its reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tenure.model.segment import FEW
from tenure.report.inputs import Money
from tenure.report.page import render
from tenure.report.words import DASH, amount, count, percent, times
from tests.report.document import Document
from tests.report.world import ROWS, shop


@cache
def document() -> Document:
    return Document(render(shop()))


def money() -> Money:
    found = shop().money
    assert found is not None
    return found


def of(**changes: Any) -> Document:
    return Document(render(replace(shop(), money=replace(money(), **changes))))


def test_every_campaign_has_its_profit_interval_ends_and_popular_score() -> None:
    for campaign in money().campaigns:
        sampled, profit = campaign.sampled, campaign.profit
        assert sampled is not None
        assert campaign.seed_value is not None
        cells = document().row(campaign.name, least=5)
        between = " to " if sampled.low < 0 else DASH
        ends = "" if sampled.low == sampled.high else f" {amount(sampled.low)}{between}{amount(sampled.high)}"
        assert cells[0] == f"{amount(profit.value)}{ends}"
        assert cells[1] == f"{amount(profit.low)} to {amount(profit.high)}"
        assert cells[2:4] == [count(campaign.contacted), percent(campaign.contacted / ROWS).replace("\u202f", " ")]
        assert cells[4] == amount(campaign.seed_value)


def test_a_save_rate_that_is_one_number_has_no_range() -> None:
    one = of(value=money().value.model_copy(update={"save_rate": 0.25}))
    assert "Over the save rates" in document().said
    assert "Over the save rates" not in one.said


def test_without_popular_scores_there_is_no_column_for_them() -> None:
    without = of(campaigns=tuple(replace(one, seed_value=None) for one in money().campaigns), searched_on="")
    assert "Popular score" in document().said
    assert "opular score" not in without.said


def test_what_was_possible_is_said_only_where_it_is_known() -> None:
    most = money().most
    assert most is not None
    share = money().campaigns[0].profit.value / (most.per_customer * ROWS)
    said = document().said
    assert f"the threshold fixed beforehand earned {percent(share)} of that".replace("\u202f", " ") in said
    assert "(MPC)" in said
    assert "(EMPC)" in said
    assert "(MPC)" not in of(most=None).said
    limited = money().value.model_copy(update={"capacity": 10})
    assert "(MPC)" not in of(value=limited).said  # no threshold of its own is bound by a capacity


def test_the_searched_threshold_says_where_it_was_searched() -> None:
    assert "highest popular score on the cross-fitted training rows" in document().said
    assert "grid search looked" not in of(searched_on="").said


def test_the_steps_of_the_probabilities_stand_beside_each_other() -> None:
    for stage in shop().stages:
        ratio = stage.metrics["observed_expected"]
        assert document().row(stage.name)[0] == f"{ratio.value:.3f} {ratio.low:.3f}{DASH}{ratio.high:.3f}"
    traces = {trace.get("name") for trace in document().figure("calibration")["data"]}
    assert "before correction" in traces
    assert "prior correction undoes that by a known amount" in document().said


def test_probabilities_without_correction_say_that_there_was_none() -> None:
    untouched = Document(render(replace(shop(), stages=())))
    assert "no correction lowered the log loss" in untouched.said
    assert "Before and after correction" not in untouched.said
    calibrated = Document(render(replace(shop(), stages=(shop().stages[0], shop().stages[2]))))
    assert "prior correction undoes" not in calibrated.said


def test_every_kind_of_customer_has_its_line_and_few_are_marked() -> None:
    marked = {segment.value for segment in shop().segments if segment.is_small}
    assert marked == {"Corner kiosk"}
    for segment in shop().segments:
        name = f"{segment.value} few" if segment.is_small else segment.value
        cells = document().row(name, least=5)
        assert cells[0] == count(segment.rows)
        assert cells[1].startswith(count(segment.churners))
        assert segment.observed_expected is not None
        assert cells[4].startswith(times(segment.observed_expected.value))
    assert f"fewer than {FEW} leavers or stayers" in document().said
