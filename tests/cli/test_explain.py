"""`tenure explain` and what Python gives: the scored probability taken apart, in words, as JSON and for shap."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shap

import tenure as front
from tenure.cli.explain import _bar
from tenure.core.errors import InputError, NotFoundError
from tenure.score.run import ScoreSummary
from tenure.testing.shop import write_shop
from tests.cli.world import refused, tenure

CUSTOMER = "c100"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> front.Project:
    """A shop with a version."""
    made = front.Project.load(write_shop(tmp_path_factory.mktemp("shop")))
    made.train()
    return made


@pytest.fixture(scope="module")
def scores(project: front.Project) -> ScoreSummary:
    return project.score()


def table_project(folder: Path, ids: pa.Array | None, times: pa.Array | None = None) -> front.Project:
    """A plain table of 400 rows, with ids and times where they are given."""
    table = pa.table({"visits": [n % 20 for n in range(400)], "left": [n % 20 < 6 for n in range(400)]})
    names = {name: name for name, column in (("id", ids), ("time", times)) if column is not None}
    for name, column in (("id", ids), ("time", times)):
        table = table if column is None else table.append_column(name, column)
    settings = {
        "table": {"path": "t", "label": "left", "positive": True, **names},
        "model": {"family": "logistic", "fallback": None},
        "audit": {"allow": ["visits"]},
    }
    return front.Project.of(settings, folder, tables={"t": table})


def config(project: front.Project) -> Path:
    return project.place.root / "tenure.toml"


def probabilities(scores: ScoreSummary) -> Iterator[tuple[str, float]]:
    table = pq.read_table(list(scores.parts))
    return zip(table.column("customer_id").to_pylist(), table.column("probability").to_pylist(), strict=True)


def test_what_is_explained_is_what_is_scored(project: front.Project, scores: ScoreSummary) -> None:
    found = project.reasons(CUSTOMER)
    assert (found.version, found.as_of, found.customer.customer_id) == (scores.version, scores.as_of, CUSTOMER)
    assert found.customer.probability == pytest.approx(dict(probabilities(scores))[CUSTOMER], abs=1e-6)
    effects = sum(reason.effect for reason in found.customer.reasons)
    assert found.customer.usual_probability + effects == pytest.approx(found.customer.probability)


def test_the_list_has_the_reasons_that_explain_gives(project: front.Project, scores: ScoreSummary) -> None:
    with scores.contact_list.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    strongest = max(project.reasons(first["customer_id"]).customer.reasons, key=lambda reason: reason.effect)
    assert first["reasons"].startswith(strongest.words)


def test_the_command_says_it_in_words_and_names_no_cause(project: front.Project) -> None:
    ran = tenure("explain", CUSTOMER, "--config", config(project), "--top", 2)
    assert ran.code == 0
    lines = ran.out.splitlines()
    reasons = project.reasons(CUSTOMER).customer.reasons
    assert lines[0].startswith(f"{CUSTOMER} leaves with a probability of ")
    assert reasons[0].text in lines[2]
    assert reasons[1].text in lines[3]
    assert f"{len(reasons) - 2} other features" in lines[4]
    assert "this customer" in lines[5]
    assert "not causes" in ran.out


def test_the_document_holds_every_feature(project: front.Project) -> None:
    document = tenure("explain", CUSTOMER, "--config", config(project), "--json").document
    assert document["kind"] == "exact Shapley values (coefficients)"
    reasons = document["customer"]["reasons"]
    assert {reason["feature"] for reason in reasons} == {
        column.name for column in project.version().parts.encoder.columns
    }
    assert set(reasons[0]) == {"feature", "value", "usual", "contribution", "effect", "text"}


def test_who_is_not_at_risk_has_no_explanation(project: front.Project) -> None:
    ran = tenure("explain", "c1000", "--config", config(project), "--json")
    assert ran.code == 2
    assert ran.document["error"]["code"] == "not_found"
    assert "'c1000' is not among the 103 at risk at 2025-10-27T09:00:01Z. Did you mean 'c100'?" in ran.err


def test_where_no_id_is_near_three_show_what_they_look_like(project: front.Project) -> None:
    ran = tenure("explain", "7", "--config", config(project), "--json")
    assert ran.code == 2
    said = ran.document["error"]["message"]
    assert said.startswith("Customer '7' is not among the 103 at risk at 2025-10-27T09:00:01Z. Ids look like this: 'c0")
    assert said.count("'c") == 3


def test_an_id_that_begins_like_an_option_is_told_where_to_stand() -> None:
    refused("explain", "-5", says=["-5", "`tenure explain -- -5`"])


def test_shap_gets_the_raw_margin_taken_apart(project: front.Project) -> None:
    found = project.explain([CUSTOMER, "c005"])
    assert isinstance(found, shap.Explanation)
    parts = project.version().parts
    whole = project.features().to_pandas().set_index("customer_id").loc[[CUSTOMER, "c005"]]
    assert found.feature_names == [column.name for column in parts.encoder.columns]
    assert (found.display_data[:, 0] == whole[found.feature_names[0]].to_numpy()).all()
    margin = parts.model.predict_margin(found.data)
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), margin, atol=1e-5)
    assert project.explain(CUSTOMER).values.shape == (1, len(found.feature_names))


def test_without_names_everybody_is_explained_up_to_a_thousand(project: front.Project) -> None:
    assert project.explain().values.shape[0] == 103


def test_nobody_is_explained_under_an_unknown_name(project: front.Project) -> None:
    with pytest.raises(NotFoundError, match="'nobody' is not among the 103 at risk"):
        project.explain([CUSTOMER, "nobody"])


def test_ids_that_are_numbers_are_found_and_others_refused(tmp_path: Path) -> None:
    mine = table_project(tmp_path, pa.array(range(400)))
    mine.train()
    assert mine.reasons(17).customer == mine.reasons("17").customer == mine.reasons(np.int64(17)).customer  # type: ignore[arg-type]
    assert (mine.explain(17).values == mine.explain(["17"]).values).all()
    with pytest.raises(InputError, match=r"17\.0 is no customer's id: it is of the type float"):
        mine.reasons(17.0)  # type: ignore[arg-type]


def test_who_is_not_in_a_plain_table_is_told_so(tmp_path: Path) -> None:
    mine = table_project(tmp_path, pa.array([f"c{n}" for n in range(400)]))
    mine.train()
    with pytest.raises(NotFoundError, match="'c4000' is not among the 400 customers of the table") as own:
        mine.reasons("c4000")
    assert own.value.hint == "Check the id: it is what the column 'id' holds."
    numbered = table_project(tmp_path, None)
    with pytest.raises(NotFoundError) as caught:
        numbered.reasons("c1")
    assert "called by the number of their row, from 1" in caught.value.hint
    assert numbered.reasons("1").customer.probability == mine.reasons("c0").customer.probability


def test_who_came_after_the_cutoff_is_told_so(tmp_path: Path) -> None:
    times = np.datetime64("2025-01-01", "us") + np.arange(400) * np.timedelta64(1, "D")
    mine = table_project(tmp_path, pa.array([f"c{n}" for n in range(400)]), pa.array(times))
    mine.train()
    with pytest.raises(NotFoundError, match="'c399' is not among the 32 customers with a row up to 2025-02-01") as own:
        mine.reasons("c399", as_of="2025-02-01")
    assert own.value.hint.endswith("Or give a later --as-of.")


def test_a_table_without_a_column_of_the_model_is_refused(tmp_path: Path) -> None:
    table = pa.table({"id": [f"c{n}" for n in range(400)], "visits": [n % 20 for n in range(400)]})
    settings = {
        "table": {"path": "t", "id": "id", "label": "left", "positive": True},
        "model": {"family": "logistic", "fallback": None},
        "audit": {"allow": ["visits"]},
    }
    labelled = table.append_column("left", pa.array([n % 20 < 6 for n in range(400)]))
    front.Project.of(settings, tmp_path, tables={"t": labelled}).train()
    lacking = front.Project.of(settings, tmp_path, tables={"t": table.rename_columns(["id", "calls"])})
    with pytest.raises(NotFoundError, match="no column 'visits', which v1 was trained on"):
        lacking.reasons("c1")
    with pytest.raises(InputError, match="No customer is named"):
        front.Project.of(settings, tmp_path, tables={"t": table}).explain([])


def test_bars_of_a_waterfall_meet() -> None:
    assert _bar(0.0, 0.5, 0.0, 8.0) == "████"
    assert _bar(0.5, 0.75, 0.0, 8.0) == "    ██"
    assert _bar(0.5, 0.5, 0.0, 8.0) == "    ▏"
