"""The sliders say what Python says, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenure.core.settings import ValueSettings
from tenure.model.protocol import sigmoid
from tenure.report.inputs import Money
from tenure.report.page import render
from tenure.report.whatif import WhatIf, what_if
from tenure.value.curve import profit_curve
from tenure.value.outcome import outcome
from tests.report.browser import CHROMIUM, Tab, chromium
from tests.report.world import shop

SAID = "document.getElementById('whatif-said').textContent"
MARKED = "JSON.stringify(document.getElementById('chart-profit').data.slice(-2).map(trace => [trace.x[0], trace.y[0]]))"
ROWS = 600


def rows(seed: int = 1) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    chance = sigmoid(random.normal(-1.5, 1.2, ROWS))
    return chance, random.random(ROWS) < chance, random.integers(100, 900, ROWS).astype(float)


def money(places: int = 100, **changes: Any) -> Money:
    chance, label, worth = rows()
    value = ValueSettings(**{"clv": 600.0, "contact_cost": 15, "incentive_cost": 20, "save_rate": 0.3, **changes})
    own = isinstance(value.clv, str)
    curve = profit_curve(chance, label, worth if own else 600.0, np.arange(ROWS) // 2).thinned(places)
    return Money(None if own else 0.2, (), value, curve=curve)


def made(**changes: Any) -> WhatIf:
    found = what_if(money(**changes))
    assert found is not None
    return found


def test_the_sentence_counts_what_contacting_where_it_pays_earned() -> None:
    chance, label, _ = rows()
    value = money(places=10_000).value
    at = 35 / (0.3 * 580 + 20)
    found = outcome(label, np.full(ROWS, 600.0), chance >= at, np.arange(ROWS) // 2, value)
    said = made(places=10_000).said
    ends = f"earns {found.profit.value:,.0f} [{found.profit.low:,.0f}\u2013{found.profit.high:,.0f}]"
    assert said.startswith(f"Contacting {found.contacted} of 600 customers")
    assert ends in said
    assert "That is where it pays" in said


def test_a_capacity_holds_it_back_and_says_what_is_given_up() -> None:
    found = made(places=10_000, capacity=40)
    assert found.said.startswith("Contacting 40 of 600 customers (6.7\u202f%), ")
    assert "Where it pays under these assumptions, from a churn probability of 18.1\u202f% on, " in found.said
    assert made(capacity=0).said.startswith("Contacting nobody earns nothing. Where it pays")


def test_where_nothing_pays_nobody_is_contacted() -> None:
    found = made(contact_cost=900)
    assert found.said.startswith("Contacting nobody earns nothing. No contact pays under these assumptions.")
    assert found.place == 0


def test_batches_have_their_capacity_each() -> None:
    found = what_if(replace(money(capacity=50), batches=3))
    assert found is not None
    assert found.capacity == 150


def test_there_is_nothing_to_draw_without_a_curve_or_without_rows() -> None:
    assert what_if(replace(money(), curve=None)) is None
    nobody = profit_curve([0.1], np.array([False]), [np.nan], np.arange(1))
    assert what_if(replace(money(clv="worth"), curve=nobody)) is None


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    profile = tmp_path_factory.mktemp("chromium") / "profile"
    profile.mkdir()
    with chromium(profile) as opened:
        yield opened


def shown(tab: Tab, folder: Path, given: Money) -> None:
    path = folder / "report.html"
    path.write_text(render(replace(shop(), money=given)), encoding="utf-8")
    tab.open(path, width=900)


def move(tab: Tab, name: str, value: float) -> None:
    tab.evaluate(
        f"(() => {{ const slider = document.getElementById('whatif-{name}'); slider.value = {value};"
        "slider.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def press(tab: Tab, name: str) -> None:
    tab.evaluate(f"document.getElementById('whatif-{name}').click()")


@pytest.mark.browser
@pytest.mark.parametrize(
    "changes",
    [{}, {"capacity": 40}, {"contact_cost": 900}, {"clv": "worth"}, {"incentive_cost": 0, "save_rate": (0.1, 0.25)}],
    ids=str,
)
def test_the_script_begins_with_the_sentence_of_the_page(tab: Tab, tmp_path: Path, changes: dict[str, Any]) -> None:
    shown(tab, tmp_path, money(**changes))
    assert tab.evaluate(SAID) == made(**changes).said
    assert tab.complaints() == []


@pytest.mark.browser
def test_other_assumptions_come_to_what_python_works_out_for_them(tab: Tab, tmp_path: Path) -> None:
    shown(tab, tmp_path, money())
    move(tab, "rate", 12.5)
    move(tab, "incentive", 7.25)
    press(tab, "pays")
    assert tab.evaluate(SAID) == made(save_rate=0.125, incentive_cost=7.25).said
    move(tab, "capacity", 33)
    assert tab.evaluate(SAID) == made(save_rate=0.125, incentive_cost=7.25, capacity=33).said
    assert tab.evaluate("document.getElementById('whatif-rate').getAttribute('aria-valuetext')") == "12.5\u202f%"
    press(tab, "start")
    assert tab.evaluate(SAID) == made().said


@pytest.mark.browser
def test_the_threshold_moves_the_mark_along_the_line(tab: Tab, tmp_path: Path) -> None:
    given = money()
    curve = given.curve
    assert curve is not None
    shown(tab, tmp_path, given)
    move(tab, "place", 5)
    profit = curve.profit(save_rate=0.3, incentive_cost=20, contact_cost=15)
    here = tab.evaluate(f"JSON.parse({MARKED})[1]")
    assert here == pytest.approx([curve.contacted[5] / ROWS, profit[5]])
    assert tab.evaluate(SAID).startswith(f"Contacting {curve.contacted[5]} of 600 customers")
    move(tab, "place", 0)
    assert tab.evaluate(SAID).startswith("Contacting nobody earns nothing. Where it pays")
