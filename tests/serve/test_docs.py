"""The API described for people: complete, without a script, and as wide as the window."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tenure.serve.docs import common_statuses, operations, render_docs
from tests.report.browser import CHROMIUM, Tab, chromium
from tests.serve.caller import Caller

CUT_OFF = """
[...document.querySelectorAll('main *')]
  .filter(node => !node.closest('pre') && node.getBoundingClientRect().right > innerWidth + 1)
  .map(node => node.outerHTML.slice(0, 80))
"""
PLACE = "http://127.0.0.1:8000"


def test_every_operation_is_shown_with_a_command(caller: Caller) -> None:
    document = caller.app.api.openapi()
    page = caller.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "http://localhost/v1/score/c100" in page.text
    shown = list(operations(document, PLACE))
    assert len(shown) == 9
    for operation in shown:
        assert f'id="{operation.anchor}"' in page.text
        words = shlex.split(operation.curl.replace("\\\n", ""))
        assert words[0] == "curl"
        assert words[1].startswith(f"{PLACE}/")
        assert "{" not in words[1]


def test_links_inside_the_page_lead_somewhere(caller: Caller) -> None:
    text = caller.get("/docs").text
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors
    assert set(re.findall(r'href="([^#"]+)"', text)) == {"openapi.json"}


def test_every_status_is_shown_at_its_route_or_led_to(caller: Caller) -> None:
    page = caller.get("/docs").text
    articles = dict(re.findall(r'<article id="([^"]+)">(.*?)</article>', page, re.DOTALL))
    shared = dict(common_statuses(operations(caller.app.api.openapi(), PLACE)))
    assert {401, 422, 503} <= set(shared)
    for operation in operations(caller.app.api.openapi(), PLACE):
        for status, text in operation.statuses:
            own, led = f'<th scope="row">{status}</th>', f'href="#status-{status}"'
            assert (led if shared.get(status) == text else own) in articles[operation.anchor]
    assert '<th scope="row">503</th>' in articles["get-readyz"]


def test_a_body_with_features_is_shown(caller: Caller) -> None:
    page = caller.get("/docs").text
    [request] = re.findall(r'<article id="ScoreRequest">(.*?)</article>', page, re.DOTALL)
    assert "&#34;features&#34;: {" in request


def test_the_commands_are_answered(caller: Caller) -> None:
    for operation in operations(caller.app.api.openapi(), PLACE):
        words = shlex.split(operation.curl.replace("\\\n", ""))
        body = words[words.index("-d") + 1] if "-d" in words else None
        headers = dict(word.split(": ", 1) for before, word in pairwise(words) if before == "-H")
        headers.pop("Authorization", None)
        answer = caller.ask(operation.method, words[1], content=body, headers=headers)
        if operation.path == "/v1/events":  # whose example happens after the shop's log ends
            assert answer.json()["field"] == "events[0].time"
        else:
            assert answer.status_code == 200, operation.curl


def test_a_name_of_the_caller_is_no_markup(caller: Caller) -> None:
    for host in ("localhost", "127.0.0.1:80"):
        assert f"http://{host}/v1/scores" in caller.get("/docs", headers={"host": host}).text
    page = render_docs(caller.app.api.openapi(), "http://<b>&'")
    assert "<b>" not in page


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    profile = tmp_path_factory.mktemp("chromium") / "profile"
    profile.mkdir()
    with chromium(profile) as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_the_page_is_quiet_and_within_the_width(
    tab: Tab, caller: Caller, tmp_path: Path, width: int, dark: bool
) -> None:
    page = tmp_path / "docs.html"
    page.write_text(caller.get("/docs").text, encoding="utf-8")
    tab.open(page, width=width, dark=dark, phone=width < 600)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CUT_OFF) == []
    assert tab.evaluate("document.querySelectorAll('article').length") > 15
    assert tab.complaints() == []
    assert tab.requests() == [page.as_uri()]
    tab.screenshot(tmp_path.parent / f"docs-{width}-{dark}.png", whole=False)
