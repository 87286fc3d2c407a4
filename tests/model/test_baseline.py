"""Baselines rank the absent first and use no more than activity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.model.baseline import BASELINES, matching_threshold, rankings
from tenure.model.frame import Frame

ACTIVITY = pa.table(
    {"_days_since_last": [1.0, 50.0, None, 20.0], "_count": [30, 4, 0, 1], "_relative_recency": [0.2, 6.0, None, None]}
)
FRAME = Frame.of(["a", "b", "c", "d"], [False, True, True, True], pa.table({"x": [1, 2, 3, 4]}), activity=ACTIVITY)


def order(name: str) -> list[str]:
    score = rankings(FRAME)[name]
    return ["abcd"[place] for place in np.argsort(-score, kind="stable")]


def test_who_comes_first() -> None:
    assert list(rankings(FRAME)) == list(BASELINES)
    assert order("recency") == ["c", "b", "d", "a"]
    assert order("frequency") == ["c", "d", "b", "a"]
    assert order("relative recency") == ["c", "d", "b", "a"]


def test_everybody_is_alike_and_random_follows_the_seed() -> None:
    assert set(rankings(FRAME)["contact everybody"]) == {0.0}
    one, same, other = (rankings(FRAME, seed=seed)["random"].tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_a_plain_table_keeps_what_needs_no_activity() -> None:
    assert list(rankings(Frame.of(["a"], [True], pa.table({"x": [1]})))) == ["random", "contact everybody"]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.data())
def test_a_matching_threshold_contacts_as_many_or_the_ties_too(scores: list[int], data: st.DataObject) -> None:
    score = np.array(scores, float)
    contacts = data.draw(st.integers(0, len(scores)))
    threshold = matching_threshold(score, contacts)
    assert (score > threshold).sum() <= contacts <= (score >= threshold).sum()
    if not contacts:
        assert not (score >= threshold).any()


def test_the_greatest_score_is_beyond_no_threshold() -> None:
    score = rankings(FRAME)["recency"]
    assert (score >= matching_threshold(score, 0)).sum() == 0
    assert (score >= matching_threshold(score, 1)).sum() == 1
    assert matching_threshold(score, 4) == pytest.approx(1.0)
