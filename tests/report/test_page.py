"""What stands in the page: every section, the input's numbers, and nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from tenure.core.errors import InputError
from tenure.model.evaluate import Estimate, Judgement
from tenure.report.inputs import LabelHealth, ReportInput
from tenure.report.page import render
from tenure.report.prose import cautions
from tenure.report.words import DASH
from tests.report.document import Document
from tests.report.world import plain_table, shop

SECTIONS = [
    "summary", "found", "money", "probabilities", "scorecard", "ranking",
    "features", "segments", "data", "labels", "split", "audit",
]  # fmt: skip
CHARTS = [
    "gain",
    "lift",
    "profit",
    "calibration",
    "rank",
    "roc",
    "precision-recall",
    "effects",
    "swarm",
    "labels",
    "split",
]
NASTY = '<script>alert("x")</script><b>ümläut</b> {{ 7 * 7 }} & </script><!-- \u2028'


@cache
def shop_page() -> str:
    return render(shop())


@cache
def document() -> Document:
    return Document(shop_page())


def of(report: ReportInput, **changes: Any) -> Document:
    return Document(render(replace(report, **changes)))


def scored(name: str) -> list[str]:
    """The scorecard's cells for one entry; other tables are narrower."""
    return document().row(name, least=10)


def test_every_section_and_chart_is_there_once() -> None:
    ids = document().ids
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    assert [f"chart-{name}" for name in CHARTS] == [
        i for i in ids if i.startswith("chart-") and not i.endswith("-data")
    ]
    assert len(ids) == len(set(ids))


def test_the_contents_name_every_section() -> None:
    links = [attributes["href"] for tag, attributes in document().tags if tag == "a"]
    assert links[1:] == [f"#{name}" for name in SECTIONS]


def test_every_chart_says_in_words_what_it_shows() -> None:
    charts = [attributes for _, attributes in document().tags if attributes.get("class") == "chart"]
    assert len(charts) == len(CHARTS)
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 30 for chart in charts)


def test_the_scorecard_shows_every_metric_with_its_interval() -> None:
    for judgement in shop().scorecard:
        cells = scored(judgement.name)
        auc, precision = (judgement.metrics[key] for key in ("roc_auc", "average_precision"))
        expected = [f"{e.value:.3f} {e.low:.3f}{DASH}{e.high:.3f}" for e in (auc, precision)]
        if judgement.name == "contact everybody":
            expected[0] = "0.500"
        assert cells[:2] == expected
        assert (cells[2:5] == [DASH] * 3) == (judgement.kind == "baseline")


def test_the_paired_differences_stand_in_the_scorecard() -> None:
    ahead = shop().differences["recency"]
    assert scored("recency")[-1] == f"+{ahead.value:.3f} {ahead.low:.3f}{DASH}{ahead.high:.3f}"
    assert scored("xgboost")[-1] == DASH


def test_the_summary_says_what_the_numbers_say() -> None:
    own = shop().own
    gain, said = own.deciles[0].gain, document().said
    assert f"2,000 customers were at risk. {own.positives} of them" in said
    assert f"held {gain.value:.0%}".replace("%", " %") + f" [{gain.low * 100:.0f}{DASH}{gain.high * 100:.0f} %]" in said
    assert "On 2026-01-31" in said
    assert "within the next 28 days" in said


def test_rows_of_sources_labels_and_deciles_are_the_inputs() -> None:
    report = shop()
    assert document().row("events.purchase") == ["1,469,307", "12,300", "417", "1,456,590", "155,848"]
    assert document().row("missing customer")[2] == "350"
    assert "for example “2062-01-04 10:00:00”" in document().said
    last = report.labels[-1]
    assert document().row("test")[1:3] == [f"{last.rows:,}", str(last.churners)]
    first = report.own.deciles[0]
    assert document().row("1")[:2] == [str(first.rows), str(first.positives)]


def test_the_charts_draw_the_judgements() -> None:
    own = shop().own
    lines = {trace.get("name"): trace for trace in document().figure("roc")["data"]}
    assert list(zip(lines["xgboost"]["x"], lines["xgboost"]["y"], strict=True)) == list(own.roc)
    lift = document().figure("lift")["data"][0]
    assert lift["y"] == [part.lift.value for part in own.deciles]
    assert lift["error_y"]["array"] == [part.lift.high - part.lift.value for part in own.deciles]


def test_names_never_become_markup() -> None:
    report = shop()
    best = report.best_baseline
    assert best is not None
    renamed = tuple(replace(entry, name=NASTY) if entry is best else entry for entry in report.scorecard)
    nasty = of(
        report, project=NASTY, version=NASTY, churn=NASTY, scorecard=renamed, importance={NASTY: 1.0}, notes=(NASTY,)
    )
    assert len(nasty.scripts) == len(document().scripts)
    assert [tag for tag, _ in nasty.tags].count("b") == 0
    assert nasty.text.count(NASTY) >= 6
    assert [trace for trace in nasty.figure("roc")["data"] if trace.get("name", "").startswith("&lt;script&gt;alert")]


def test_the_page_loads_nothing() -> None:
    loading = {"src", "srcset", "data", "action", "poster", "background", "xlink:href"}
    found = document()
    assert not [(tag, attributes) for tag, attributes in found.tags if loading & set(attributes)]
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in found.tags)
    assert "link" not in {tag for tag, _ in found.tags}
    assert not re.search(r"@import|url\(", "".join(found.styles))


def test_only_the_two_scripts_of_the_package_may_run() -> None:
    found = document()
    policy = next(a["content"] or "" for tag, a in found.tags if tag == "meta" and a.get("http-equiv"))
    code = [text for attributes, text in found.scripts if "type" not in attributes]
    named = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in code]
    assert policy.split("; ")[:2] == ["default-src 'none'", f"script-src {' '.join(named)} "]


def test_the_same_input_gives_the_same_bytes() -> None:
    code = (
        "import hashlib; from tests.report.world import shop; from tenure.report.page import render;"
        "print(hashlib.sha256(render(shop()).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(shop_page().encode()).hexdigest()


def test_a_plain_table_is_said_to_be_one() -> None:
    found = Document(render(plain_table()))
    caution = found.said.index("Before you rely on this")
    assert "Split at random by customer" in found.said[caution : caution + 200]
    assert not {"money", "features", "chart-split", "chart-labels", "chart-rank"} & set(found.ids)
    assert found.row("train") == ["no time", "8,000", "1,200", "15.0 %"]


def test_the_same_is_not_said_twice() -> None:
    report = plain_table()
    given = replace(report, notes=(report.split.explanation, "Something else."))
    assert [*cautions(given)].count(report.split.explanation) == 1
    assert "Something else." in [*cautions(given)]


def test_what_is_not_shown_to_be_better_is_said_loudly() -> None:
    report = shop()
    unsure = {**report.differences, "recency": Estimate(0.004, -0.01, 0.02)}
    assert "not shown to rank better than the simple rule “recency”" not in document().said
    assert "not shown to rank better than the simple rule “recency”" in of(report, differences=unsure).said


def test_few_churners_are_said_loudly() -> None:
    report = shop()
    few = (replace(report.own, positives=40), *report.scorecard[1:])
    assert "Only 40 customers of the test block left" in of(report, scorecard=few).said


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (None, "a threshold of their own"),
        (float("inf"), "No probability is high enough"),
        (0.25, "probability of 25 %"),
    ],
)
def test_every_kind_of_threshold_has_its_words(threshold: float | None, words: str) -> None:
    money = shop().money
    assert money is not None
    assert words in of(shop(), money=replace(money, threshold=threshold)).said


def unsure(judgement: Judgement) -> Judgement:
    """The judgement as if no interval could be drawn."""
    nan = float("nan")
    deciles = tuple(
        replace(p, lift=Estimate(p.lift.value, nan, nan), gain=Estimate(p.gain.value, nan, nan))
        for p in judgement.deciles
    )
    kept = {key: Estimate(e.value, nan, nan) for key, e in judgement.metrics.items() if key != "recall"}
    return replace(judgement, deciles=deciles, metrics=kept)


def test_what_is_not_known_leaves_a_gap_and_no_nan() -> None:
    empty = (*shop().labels, LabelHealth("test", 0, 0, shop().split.test[0]))
    found = of(shop(), scorecard=(unsure(shop().own),), labels=empty, differences={})
    assert "nan" not in found.said.lower().split()
    assert not [text for attributes, text in found.scripts if "type" in attributes and "NaN" in text]
    assert found.row("xgboost")[0] == f"{shop().own.metrics['roc_auc'].value:.3f}"


def test_a_scorecard_begins_with_the_version() -> None:
    report = shop()
    with pytest.raises(InputError, match="begins with the baseline 'contact everybody'"):
        replace(report, scorecard=report.scorecard[::-1])
