"""The dashboard and the alert rules speak of series that exist, in expressions that Prometheus reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenure.core.time import EPOCH
from tenure.score.served import ServedScore
from tenure.serve.gate import Finished
from tenure.serve.metrics import Metrics
from tests.architecture.tree import ROOT

yaml = pytest.importorskip("yaml")
DEPLOY = ROOT / "deploy"
GIVEN_BY_PROMETHEUS = {"job", "instance", "le"}
ELSEWHERE = {"up": GIVEN_BY_PROMETHEUS}


def series() -> dict[str, set[str]]:
    """Every series of the service with its labels, once everything has happened."""
    metrics = Metrics()
    score = ServedScore(
        "c1", 0.2, "contact", 1.0, None, None, None, None, "v1", None, "fallback", None, EPOCH, ("model", "base_rate")
    )
    metrics.scored(score)
    metrics.finished(Finished("GET", "/livez", 429, 0.1, "k1", "r1"))
    metrics.took_events(1, 1)
    metrics.looked_up("cache", 1, 1)
    metrics.fresh([1.0])
    metrics.turned("store", "open")
    metrics.serves("v1", "champion")
    metrics.refused()
    metrics.refreshed(failed=True)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.samples, family.name
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[tuple[str, str]]:
    """Where an expression stands, and the expression with Grafana's variables filled in."""
    rules = [rule for group in alerts()["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    told = [(rule["alert"], rule["expr"]) for rule in rules]
    told += [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", ())]
    filled = {"$__rate_interval": "5m", "$job": "tenure", "$instance": ".*"}
    return [(where, re.sub(r"\$\w+", lambda found: filled[found[0]], text)) for where, text in told]


def alerts() -> Any:
    return yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))


def unknown(text: str, known: dict[str, set[str]]) -> Iterator[str]:
    """Series and labels of an expression that do not exist; raises where it is none."""
    parts: list[promql.Expr] = []
    promql.walk(promql.parse(text), parts.append)
    labels: set[str] = set(GIVEN_BY_PROMETHEUS)
    wanted: set[str] = set()
    for part in parts:
        selector = part.vector_selector if isinstance(part, promql.MatrixSelector) else part
        if isinstance(selector, promql.VectorSelector):
            labels |= known.get(str(selector.name), set())
            wanted |= {matcher.name for matcher in selector.matchers.matchers}
            if selector.name not in known:
                yield f"{selector.name} is no series"
        if isinstance(part, promql.AggregateExpr) and part.modifier:
            wanted |= set(part.modifier.labels)
    yield from (f"{label} is no label" for label in sorted(wanted - labels))


def test_every_expression_reads_and_names_what_exists() -> None:
    known = series() | ELSEWHERE
    assert len(expressions()) > 30
    assert [(where, what) for where, text in expressions() for what in unknown(text, known)] == []


def test_every_series_is_shown_or_watched() -> None:
    shown = " ".join(text for _, text in expressions())
    unseen = {name for name in series() if not re.search(rf"\b{name}\b", shown)}
    assert unseen - {name for name in unseen if name.endswith(("_count", "_sum"))} == set()


def test_what_does_not_exist_is_found() -> None:
    known = {"a_total": {"route"}}
    assert list(unknown("sum by (rout) (rate(a_total{job='x'}[5m])) / b_total", known)) == [
        "b_total is no series",
        "rout is no label",
    ]
    with pytest.raises(ValueError, match="unclosed"):
        list(unknown("sum by (route (a_total)", known))


def test_every_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").lower()
    for rule in alerts()["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert f"### {rule['alert'].lower()}\n" in page


def test_prometheus_is_told_where_the_rules_are() -> None:
    told = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    assert [(DEPLOY / name).exists() for name in told["rule_files"]] == [True]
    assert told["scrape_configs"][0]["job_name"] == "tenure"


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
