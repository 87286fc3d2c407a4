"""The page in a real browser: drawn, quiet, within its width, by day, by night and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tenure.report.page import render
from tests.report.browser import CHROMIUM, Tab, chromium
from tests.report.test_page import CHARTS, NASTY
from tests.report.world import plain_table, shop

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"),
]

PLOTS = "[...document.querySelectorAll('.chart')].map(chart => chart.querySelectorAll('svg.main-svg').length)"
CUT_OFF = """
[...document.querySelectorAll('main *')]
  .filter(node => !node.closest('.scroll, svg, .hidden') && node.getBoundingClientRect().right > innerWidth + 1)
  .map(node => node.outerHTML.slice(0, 80))
"""
INK = "getComputedStyle(document.querySelector('#chart-roc .xtitle')).fill"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    profile = tmp_path_factory.mktemp("chromium") / "profile"
    profile.mkdir()
    with chromium(profile) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(shop()), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_every_chart_is_drawn_within_the_width(tab: Tab, page: Path, width: int, dark: bool) -> None:
    tab.open(page, width=width, dark=dark, phone=width < 600)
    plots = tab.evaluate(PLOTS)
    assert len(plots) == len(CHARTS)
    assert min(plots) >= 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CUT_OFF) == []
    assert tab.complaints() == []
    assert tab.requests() == [page.as_uri()]


def test_the_charts_follow_day_and_night(tab: Tab, page: Path) -> None:
    inks = []
    for dark in (False, True):
        tab.open(page, width=800, dark=dark)
        inks.append(tab.evaluate(INK))
    assert inks == ["rgb(105, 115, 125)", "rgb(152, 163, 173)"]


def test_paper_is_light_and_has_its_own_width(tab: Tab, page: Path) -> None:
    tab.open(page, width=1280, dark=True)
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(INK) == "rgb(105, 115, 125)"
    assert tab.evaluate("document.querySelector('#chart-split svg.main-svg').clientWidth") == 660
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(INK) == "rgb(152, 163, 173)"


def test_text_of_the_data_stays_text(tab: Tab, tmp_path: Path) -> None:
    report = plain_table()
    own = replace(report.own, name=NASTY)
    path = tmp_path / "nasty.html"
    path.write_text(render(replace(report, scorecard=(own,), importance={NASTY: 1.0})), encoding="utf-8")
    tab.open(path, width=390, phone=True)
    assert tab.evaluate("document.querySelector('.bars .name').textContent") == NASTY
    assert "<script>alert" in tab.evaluate("document.querySelector('#chart-roc .legendtext').textContent")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.complaints() == []
