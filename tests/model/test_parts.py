"""One customer alone gets the probability that a table of many gives them, whatever the family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError, InputError, NotFoundError, UnavailableError
from tenure.features.declare import FeatureSet
from tenure.model.artifact import load_version
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.parts import Parts
from tests.model.versions import CHOICES, FEATURES, parts, table, write

CALIBRATIONS = [
    Calibration(),
    Calibration("sigmoid", slope=0.9, intercept=-0.1),
    Calibration("isotonic", given=(0.1, 0.4, 0.8), found=(0.05, 0.3, 0.9)),
]
SCHEMA = table().schema
number = st.none() | st.floats(-1e30, 1e30)
customer = st.fixed_dictionaries({
    "login_count": st.none() | st.integers(-(2**62), 2**62),
    "pay_amount_sum": number,
    "tenure_days": number,
    "plan": st.sampled_from([None, "basic", "plus", "naïve", "", "new"]),
    "shop": st.none() | st.integers(0, 16).map(lambda shop: f"S{shop}"),
    "same": st.just(1.0),
})  # fmt: skip


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=lambda calibration: calibration.method)
@pytest.mark.parametrize("family", CHOICES)
@given(rows=st.lists(customer, min_size=1, max_size=6))
def test_a_row_alone_has_the_probability_of_the_table(
    family: str, calibration: Calibration, rows: list[dict[str, Any]]
) -> None:
    made = parts(family, calibration)
    together = made.predict(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert [made.predict_row(row) for row in rows] == together.tolist()


@pytest.mark.parametrize("family", CHOICES)
def test_every_row_of_a_table_has_its_own_probability(family: str) -> None:
    made, rows = parts(family), table(100, seed=9)
    expected = made.predict(rows)
    assert [made.predict_row(row) for row in rows.to_pylist()] == expected.tolist()
    assert len(set(expected.tolist())) > 50


def test_a_version_that_was_loaded_answers_for_one_customer(tmp_path: Path) -> None:
    sha256 = write(tmp_path / "v1")
    version = load_version(tmp_path / "v1", sha256)
    rows = table(20, seed=4)
    assert [version.predict_row(row) for row in rows.to_pylist()] == version.predict(rows).tolist()


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"no value for 'plan'.*Did you mean 'plans'"):
        parts().predict_row({"login_count": 1, "pay_amount_sum": 1, "tenure_days": 1, "plans": "basic", "shop": "S1"})


def test_what_is_no_number_is_refused() -> None:
    row = table().slice(0, 1).to_pylist()[0]
    with pytest.raises(InputError, match="'login_count' is 'four'"):
        parts().predict_row(row | {"login_count": "four"})


def test_a_model_that_gives_no_probability_is_refused() -> None:
    broken: Any = SimpleNamespace(predict_proba=lambda matrix: np.full(len(matrix), np.nan))
    made = Parts("logistic", FEATURES, Encoder.fit(table()), broken, Calibration())
    with pytest.raises(ArtifactError, match="no probability"):
        made.predict_row(table().slice(0, 1).to_pylist()[0])


@pytest.mark.parametrize("family", CHOICES)
def test_encoded_rows_are_answered_like_a_table(family: str) -> None:
    made, rows = replace(parts(family)), table(50, seed=5)
    made.prepare()
    answer = made.answer_matrix(made.encoder.transform(rows))
    assert answer.by == family
    assert answer.value.tolist() == made.answer(rows).value.tolist()
    np.testing.assert_allclose(answer.value, made.predict(rows), rtol=1e-12)
    assert [guard.state for guard in made.relay.guards] == ["closed"]


def test_where_no_model_answers_that_is_said() -> None:
    late = SimpleNamespace(predict_margin=lambda matrix: np.full(len(matrix), np.nan))
    rows = pa.table({"age": [20, 30, None]})
    with pytest.raises(UnavailableError, match=r"logistic gave a number that is not finite\."):
        Parts("logistic", FeatureSet(), Encoder.fit(rows), late, Calibration()).answer(rows)
