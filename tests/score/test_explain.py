"""Reasons: effects that add up, in the order of their size, each with the words that belong to it."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from math import factorial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.features.declare import Attribute, Feature, FeatureSet
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.families import find_family
from tenure.model.parts import Parts
from tenure.model.protocol import Choice, Contributions, Examples, Vector, sigmoid
from tenure.model.usual import Usual
from tenure.score.explain import LEAST_EFFECT, Explainer, effects, points

STEPS = Calibration("isotonic", given=(0.1, 0.3, 0.3001, 0.9), found=(0.05, 0.05, 0.5, 0.7))
CHOICES: dict[str, Choice] = {"logistic": {"C": 1.0}, "xgboost": {"rounds": 20, "max_depth": 3}}
FEATURES = FeatureSet(
    events=(Feature("login", "count"), Feature("login", "days_since_last")),
    attributes=(Attribute("plan", "text"), Attribute("town", "text")),
)


def customers(rows: int = 600) -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Logins with gaps, a plan of three values, and a town of thirty."""
    random = np.random.default_rng(0)
    logins, days = random.poisson(6, rows), random.exponential(10, rows)
    plan, town = random.choice(["basic", "plus", "free"], rows), random.integers(0, 30, rows)
    label = random.random(rows) < sigmoid(0.2 * days - 0.4 * logins + 1.5 * (plan == "free") + (town < 8))
    table = pa.table(
        {
            "login_count": logins,
            "login_days_since_last": pa.array(days, mask=random.random(rows) < 0.1),
            "plan": pa.array(plan.tolist(), mask=random.random(rows) < 0.1),
            "town": [f"town {number}" for number in town.tolist()],
        }
    )
    return table, label


@cache
def parts(family: str = "xgboost", calibration: Calibration = STEPS) -> Parts:
    table, label = customers()
    encoder = Encoder.fit(table)
    examples = Examples(encoder.transform(table), label, np.arange(len(label)), encoder.layout)
    model = find_family(family).fit(examples, CHOICES[family], seed=0, threads=1)
    return Parts(family, FEATURES, encoder, model, calibration, Usual.of(encoder, table))


def curved(margin: Vector) -> Vector:
    return STEPS.apply(sigmoid(margin))


def contributions_of(seed: int, columns: int = 6) -> Contributions:
    random = np.random.default_rng(seed)
    return Contributions(random.normal(0, 2, (4, columns)), random.normal(-1, 1, 4))


@given(st.integers(0, 10_000))
def test_effects_add_up_have_the_sign_of_their_contribution_and_are_probabilities(seed: int) -> None:
    found = contributions_of(seed)
    moved = effects(found, curved)
    np.testing.assert_allclose(moved.sum(axis=1), curved(found.margin) - curved(found.base), atol=1e-12)
    assert (moved * found.values >= 0).all()
    assert (np.abs(moved) <= 1).all()


@given(st.integers(0, 10_000))
def test_two_effects_are_the_shapley_values_of_the_probability(seed: int) -> None:
    found = contributions_of(seed, columns=2)
    exact = np.zeros(found.values.shape)
    for order in permutations(range(2)):
        margin = found.base.copy()
        for column in order:
            before, margin = curved(margin), margin + found.values[:, column]
            exact[:, column] += (curved(margin) - before) / factorial(2)
    np.testing.assert_allclose(effects(found, curved), exact, atol=1e-12)


@pytest.mark.parametrize("family", ["xgboost", "logistic"])
@pytest.mark.parametrize("calibration", [Calibration(), Calibration("sigmoid", slope=0.8, intercept=-0.4), STEPS])
def test_reasons_add_up_to_the_score(family: str, calibration: Calibration) -> None:
    version, (table, _) = parts(family, calibration), customers()
    ids = [f"c{row}" for row in range(table.num_rows)]
    found = Explainer(version).explain(table, ids)
    probability, margin = version.predict(table), version.model.predict_margin(version.encoder.transform(table))
    np.testing.assert_allclose([one.probability for one in found], probability, atol=1e-6)
    for row, one in enumerate(found):
        assert one.customer_id == ids[row]
        assert abs(one.base + sum(reason.contribution for reason in one.reasons) - margin[row]) < 1e-5
        total = one.usual_probability + sum(reason.effect for reason in one.reasons)
        assert abs(total - one.probability) < 1e-9
        sizes = [abs(reason.effect) for reason in one.reasons]
        assert sizes == sorted(sizes, reverse=True)


def test_columns_of_rates_and_codes_are_explained_under_their_own_names_and_values() -> None:
    table, _ = customers()
    found = Explainer(parts()).explain(table.slice(0, 20), [str(row) for row in range(20)])
    for row, one in enumerate(found):
        told = {reason.feature: reason for reason in one.reasons}
        assert set(told) == set(table.column_names)
        assert told["town"].value == table.column("town")[row].as_py()
        assert told["town"].text.startswith(f"town is {told['town'].value!r}, as for ")
        assert told["plan"].value == table.column("plan")[row].as_py()
        assert (told["plan"].text == "plan is not known, as for 9 % of customers") == (told["plan"].value is None)
    assert any(abs(reason.contribution) > 0.1 for one in found for reason in one.reasons if reason.feature == "town")


def test_lists_name_what_raises_the_risk_once_per_topic() -> None:
    table, _ = customers()
    explainer = Explainer(parts())
    whole = explainer.explain(table, ["x"] * table.num_rows)
    for one, few in zip(whole, explainer.raising(table, 2), strict=True):
        raising = sorted((r for r in one.reasons if r.effect >= LEAST_EFFECT), key=lambda r: -r.effect)
        topics: dict[str, str] = {}
        for reason in raising:
            topics.setdefault(explainer.phrases.topic(reason.feature), reason.feature)
        assert [reason.feature for reason in few] == list(topics.values())[:2]
        assert {reason.feature: reason.text for reason in few}.items() <= {
            r.feature: r.text for r in one.reasons
        }.items()
    assert max(len(few) for few in explainer.raising(table, 9)) == 3  # both columns of logins are one topic


def test_points_have_a_sign_and_two_digits() -> None:
    assert [points(effect) for effect in (0.996, 0.0996, 0.0994, -0.2)] == [
        "+100 points", "+10 points", "+9.9 points", "-20 points",
    ]  # fmt: skip


def test_one_customer_is_explained_as_among_many() -> None:
    table, _ = customers(60)
    explainer = Explainer(parts())
    ids = [str(row) for row in range(60)]
    for row, one in enumerate(explainer.explain(table, ids)):
        alone = explainer.explain(table.slice(row, 1), ids[row : row + 1])[0]
        assert {reason.feature: reason.text for reason in alone.reasons} == {r.feature: r.text for r in one.reasons}
        assert alone.probability == pytest.approx(one.probability, abs=1e-6)
        assert alone.reasons[0].effect == pytest.approx(one.reasons[0].effect, abs=1e-6)
