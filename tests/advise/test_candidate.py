"""What is compared with what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.advise.candidate import NOTHING, Candidate, candidate_settings, plan_candidates
from tenure.core.errors import ConfigError
from tenure.core.settings import ModelSettings

names = st.sampled_from(["logistic", "xgboost", "forest"])
methods = st.sampled_from(["none", "weights", "smote"])


@given(st.lists(names, max_size=4), st.lists(methods, max_size=4), names, methods)
def test_everybody_is_there_once_with_somebody_to_be_measured_against(
    families: list[str], imbalances: list[str], family: str, method: str
) -> None:
    champion = Candidate(family, method)
    found = plan_candidates(families, imbalances, champion)
    assert found[0] == champion
    assert len(set(found)) == len(found)
    assert {Candidate(f, m) for f in families for m in imbalances} <= set(found)
    assert all(candidate.plain in found for candidate in found if candidate.imbalance != NOTHING)


def test_a_candidate_differs_in_family_and_method_alone() -> None:
    model = ModelSettings(seed=7, calibrate="sigmoid", fallback="logistic", imbalance="weights", churner_weight=3)
    other = candidate_settings(Candidate("logistic", "smote"), model)
    assert (other.family, other.imbalance, other.fallback) == ("logistic", "smote", None)
    assert (other.seed, other.calibrate, other.churner_weight) == (7, "sigmoid", None)
    assert candidate_settings(Candidate("logistic", "weights"), model).churner_weight == 3


def test_parameters_stay_with_the_family_they_were_found_for() -> None:
    model = ModelSettings(family="xgboost", parameters={"max_depth": 4})
    assert candidate_settings(Candidate("xgboost", "smote"), model).parameters == {"max_depth": 4}
    assert candidate_settings(Candidate("logistic"), model).parameters == {}


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="imbalance"):
        candidate_settings(Candidate("logistic", "rose"), ModelSettings())
