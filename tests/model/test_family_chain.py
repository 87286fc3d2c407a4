"""A chain's members speak one scale, and the first that answers in time answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tenure.core.errors import ArtifactError
from tenure.model.families import find_member
from tenure.model.family_chain import ChainFamily, ChainModel, Link
from tenure.model.fold import customer_folds
from tenure.model.imbalance import ClassWeights
from tenure.model.protocol import sigmoid
from tenure.model.relay import Relay
from tenure.testing.family import family_examples

MEMBERS = ("forest", "logistic")
ROWS = family_examples(800)
LATER = family_examples(4000, seed=8)
FOLD = customer_folds(ROWS.group, ROWS.label, folds=3, seed=0)
FAMILY = ChainFamily(find_member, MEMBERS, budget_seconds=60.0)


@pytest.fixture(scope="module")
def chain() -> ChainModel:
    return FAMILY.fit(ROWS, FAMILY.cross_fit(ROWS, FOLD, seed=0, threads=1).choice, seed=0, threads=1)


def test_every_member_expects_as_many_churners_as_there_are(chain: ChainModel) -> None:
    for member in chain.members:
        expected = sigmoid(member.predict(LATER.matrix)).sum()
        assert LATER.label.sum() / expected == pytest.approx(1, abs=0.1), member.name


def test_the_scale_holds_where_rows_were_weighted() -> None:
    weighted = replace(ROWS, rebalance=ClassWeights(5.0))
    model = FAMILY.fit(weighted, FAMILY.cross_fit(weighted, FOLD, seed=0, threads=1).choice, seed=0, threads=1)
    for member in model.members:
        corrected = sigmoid(member.predict(LATER.matrix) + weighted.prior_shift)
        assert LATER.label.sum() / corrected.sum() == pytest.approx(1, abs=0.15), member.name


def test_the_first_member_answers_where_nobody_waits(chain: ChainModel) -> None:
    first = chain.members[0]
    assert first.name == "forest"
    assert (chain.predict_margin(ROWS.matrix) == first.predict(ROWS.matrix)).all()


def test_the_second_member_answers_where_the_first_one_fails(chain: ChainModel) -> None:
    broken = replace(chain, links=(Link("forest", np.inf, 0.0), chain.links[1]))
    answer = Relay(broken.members, broken.budget_seconds).ask(ROWS.matrix)
    assert answer.by == "logistic"
    assert (answer.value == chain.members[1].predict(ROWS.matrix)).all()


def test_contributions_are_on_the_common_scale(chain: ChainModel) -> None:
    found = chain.contributions(ROWS.matrix[:20])
    np.testing.assert_allclose(found.margin, chain.predict_margin(ROWS.matrix[:20]), atol=1e-4)


@pytest.mark.parametrize(
    "changed",
    [{"links": []}, {"budget_seconds": 0.0}, {"links": [{"name": "logistic", "slope": -1.0, "intercept": 0.0}]}],
)
def test_a_chain_that_cannot_be_is_refused(chain: ChainModel, tmp_path: Path, changed: dict[str, object]) -> None:
    chain.save(tmp_path)
    path = tmp_path / "chain.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ArtifactError, match=r"chain\.json"):
        FAMILY.load(tmp_path)
