"""Every parameter that a family offers for tuning can be set anywhere within its bounds, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tenure.core.errors import ConfigError
from tenure.model.families import FAMILIES, find_family, installed_families
from tenure.model.fold import customer_folds
from tenure.model.space import Span, Tunable, with_parameters
from tenure.testing.family import family_examples

TUNABLE = [name for name in installed_families(FAMILIES) if isinstance(find_family(name), Tunable)]
EXAMPLES = family_examples(300)
FOLD = customer_folds(EXAMPLES.group, EXAMPLES.label, folds=2, seed=0)


def space(name: str) -> Mapping[str, Span]:
    family = find_family(name)
    assert isinstance(family, Tunable)
    return family.space


ENDS = [(name, key, end) for name in TUNABLE for key in space(name) for end in ("low", "high")]


@pytest.mark.parametrize(("name", "key", "end"), ENDS)
def test_a_family_learns_at_both_ends_of_every_parameter(name: str, key: str, end: str) -> None:
    family = with_parameters(find_family(name), {key: getattr(space(name)[key], end)})
    crossed = family.cross_fit(EXAMPLES, FOLD, seed=0, threads=1)
    probability = family.fit(EXAMPLES, crossed.choice, seed=0, threads=1).predict_proba(EXAMPLES.matrix)
    assert np.isfinite(probability).all()


@pytest.mark.parametrize(("name", "key", "end"), ENDS)
def test_beyond_the_ends_is_refused(name: str, key: str, end: str) -> None:
    span = space(name)[key]
    beyond = span.low - 1 if end == "low" else span.high + 1
    with pytest.raises(ConfigError, match=f"{key} is .* it must be a"):
        with_parameters(find_family(name), {key: beyond})


def test_no_parameters_leave_a_family_as_it_is() -> None:
    family = find_family("xgboost")
    assert with_parameters(family, {}) is family


def test_half_a_level_of_depth_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_depth is 3.5; it must be a whole number from 1 to 10"):
        with_parameters(find_family("xgboost"), {"max_depth": 3.5})
