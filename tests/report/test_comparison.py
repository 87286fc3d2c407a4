"""The page of a comparison: conclusion first, every number with its interval, nothing from a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tenure.advise.process import Failure
from tenure.report.compared import ComparisonView
from tenure.report.comparison import render_comparison
from tenure.report.page import render
from tests.report.browser import CHROMIUM, Tab, chromium
from tests.report.compared import compared_shop, comparison
from tests.report.document import Document
from tests.report.test_browser import CUT_OFF, PLOTS
from tests.report.world import shop

NASTY = "<script>alert(1)</script>"


def test_the_conclusion_stands_above_its_numbers() -> None:
    given = compared_shop()
    page = render_comparison(given)
    conclusion = given.comparison.conclusion.partition(":")[0]
    assert conclusion in page
    assert page.index(conclusion) < page.index("<table")
    for finding in given.comparison.findings[1:]:
        assert finding.text.partition("(")[0].strip() in page


def test_every_candidate_has_a_line_and_every_quality_an_interval() -> None:
    found = comparison()
    view = ComparisonView(found)
    assert [line.name for line in view.lines] == [entry.name for entry in found.entries]
    assert [line.is_champion for line in view.lines] == [True, False, False, False, False]
    for line in view.lines:
        assert all(cell.value and cell.interval for cell in line.quality)
        assert all(bool(cell.value) != line.is_champion for cell in line.ahead)
        assert len(line.quality) + len(line.ahead) == len(view.columns)
        assert len(line.costs) + 1 == len(view.cost_columns)


def test_charts_show_the_rivals_around_the_champion() -> None:
    charts = ComparisonView(comparison()).charts
    assert "xgboost + smote" in charts["compared_auc"].alt
    assert charts["compared_auc"].alt.count("[") == 4
    assert "neural" in charts["compared_speed"].alt


def test_what_failed_is_shown_as_text() -> None:
    page = render_comparison(compared_shop((Failure("forest", f"it said {NASTY}"),)))
    assert "Not compared" in page
    assert NASTY not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_loads_nothing_and_is_the_same_every_time() -> None:
    page = render_comparison(compared_shop())
    assert page == render_comparison(compared_shop())
    document = Document(page)
    loading = [attributes for tag, attributes in document.tags if {"src", "srcset"} & set(attributes) or tag == "link"]
    assert loading == []
    assert len([script for attributes, script in document.scripts if "type" not in attributes]) == 2


def test_a_versions_report_shows_it_as_a_section() -> None:
    found = comparison()
    page = render(replace(shop(), comparison=found))
    assert found.conclusion.partition(":")[0] in page
    assert 'href="#compared"' in page
    assert 'id="chart-compared-auc-data"' in page
    assert "compared-auc" not in render(shop())


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    profile = tmp_path_factory.mktemp("chromium") / "profile"
    profile.mkdir()
    with chromium(profile) as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_the_page_is_drawn_within_the_width(tab: Tab, tmp_path: Path, width: int, dark: bool) -> None:
    page = tmp_path / "comparison.html"
    page.write_text(render_comparison(compared_shop()), encoding="utf-8")
    tab.open(page, width=width, dark=dark, phone=width < 600)
    plots = tab.evaluate(PLOTS)
    assert len(plots) == 3
    assert min(plots) >= 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CUT_OFF) == []
    assert tab.complaints() == []
    assert tab.requests() == [page.as_uri()]
