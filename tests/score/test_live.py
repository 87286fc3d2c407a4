"""Live scores are batch scores: the same probability, decision and reasons, and it is said where they are not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError, NotFoundError, UnavailableError
from tenure.core.settings import ValueSettings
from tenure.core.time import fixed_clock, parse_instant, to_micros
from tenure.model.artifact import LoadedVersion, load_version
from tenure.model.calibrate import Calibration
from tenure.model.golden import split_golden
from tenure.model.manifest import GOLDEN, Cutoffs, Manifest
from tenure.model.parts import Parts
from tenure.model.protocol import Contributions, Matrix, Model, Vector
from tenure.model.relay import LAST_SECONDS
from tenure.model.standby import Standby
from tenure.model.usual import Usual
from tenure.score.explain import Explainer
from tenure.score.live import LiveModel
from tenure.score.predictor import Predictor
from tenure.score.scored import Scorer
from tenure.score.served import Ask, Cause, ServedScore
from tenure.store.hybrid import NOTHING, Events, HybridRows
from tests.model.versions import FEATURES, draft, parts, table, write

AS_OF = parse_instant("2026-01-31")
NOW = fixed_clock("2026-02-01T12:00:00")
FLAT = ValueSettings(clv=600, contact_cost=60, save_rate=0.3)
RANGED = ValueSettings(clv="pay_amount_sum", contact_cost=10, incentive_cost=5, save_rate=(0.1, 0.5))
PLANS = st.none() | st.sampled_from(["basic", "plus", "naïve", "", "never seen"])


@dataclass(frozen=True)
class Moody:
    """A model that can be told to fail, to hang until it is let go, or to make no sense."""

    model: Model
    moods: dict[str, Literal["well", "fails", "hangs", "raves", "odd"]] = field(default_factory=dict)
    gate: Event = field(default_factory=Event)

    def predict_margin(self, matrix: Matrix) -> Vector:
        self._suffer("predict")
        margin = self.model.predict_margin(matrix)
        if self.moods.get("predict") == "odd":  # about customers who log in a million times
            margin = np.where(matrix[:, 0] > 1e6, np.nan, margin)
        return margin * (math.nan if self.moods.get("predict") == "raves" else 1.0)

    def predict_proba(self, matrix: Matrix) -> Vector:
        return self.model.predict_proba(matrix)

    def contributions(self, matrix: Matrix) -> Contributions:
        self._suffer("explain")
        return self.model.contributions(matrix)

    def save(self, folder: Path) -> tuple[str, ...]:
        return self.model.save(folder)

    def _suffer(self, deed: str) -> None:
        if self.moods.get(deed) == "fails":
            raise MemoryError("no room")
        if self.moods.get(deed) == "hangs":
            self.gate.wait(60)


def version_of(made: Parts) -> LoadedVersion:
    sealed = draft()
    manifest = Manifest(made.family, AS_OF, (), made.features, "of the data", Cutoffs(), 0.25, {}, {}, {})
    return LoadedVersion("v1", manifest, made, sealed.scorecard)


@cache
def explained_parts() -> Parts:
    return replace(parts(), usual=Usual.of(parts().encoder, table()))


@cache
def live(value: ValueSettings = FLAT) -> LiveModel:
    return LiveModel.of(version_of(explained_parts()), value, alias="champion", clock=NOW)


@contextmanager
def moody(value: ValueSettings = FLAT, seconds: float = LAST_SECONDS) -> Iterator[tuple[LiveModel, Moody, Moody]]:
    """A version with a fallback, both of them moody."""
    own, other = Moody(parts("xgboost").model), Moody(parts("logistic").model)
    standby = Standby("logistic", other, Calibration("sigmoid", slope=0.8), 0.05)
    made = replace(explained_parts(), model=own, standby=standby)
    try:
        yield LiveModel.of(version_of(made), value, alias="champion", clock=NOW, seconds=seconds), own, other
    finally:
        own.gate.set()
        other.gate.set()


def hybrid(rows: pa.Table, events: Sequence[Events] | None = None) -> HybridRows:
    """A table of features as the store gives them."""
    count = rows.num_rows
    nothing = np.full(count, NOTHING)
    columns = {
        name: column.to_pylist() if pa.types.is_string(column.type) else column.cast(pa.float64()).to_numpy()
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    return HybridRows(
        tuple(f"c{place}" for place in range(count)),
        to_micros(AS_OF) + np.arange(count),
        tuple(events or ["online"] * count),
        np.ones(count, dtype=np.bool_),
        np.zeros(count, dtype=np.bool_),
        nothing,
        nothing,
        nothing,
        columns,
        to_micros(AS_OF),
    )


def scores(model: LiveModel, rows: pa.Table, *, explain: bool = False) -> list[ServedScore]:
    return model.score_rows(hybrid(rows), range(rows.num_rows), [explain] * rows.num_rows)


@pytest.mark.parametrize("value", [FLAT, RANGED, ValueSettings(clv="same", contact_cost=0.1, save_rate=0.3)])
def test_live_scores_are_those_of_a_batch(value: ValueSettings) -> None:
    """Number by number, bit by bit: probability, decision, profit and its ends, band."""
    version = live(value).version
    batch = Scorer(Predictor.of(version), value, AS_OF, NOW())
    rows = table()
    with_ids = rows.append_column("customer_id", pa.array([f"c{place}" for place in range(rows.num_rows)]))
    wanted = batch(with_ids).to_pylist()
    found = scores(live(value), rows)
    assert {score.decision for score in found} == {"contact", "no_contact"}
    for score, expected in zip(found, wanted, strict=True):
        for name, number in expected.items():
            if name not in {"clv", "features_as_of"}:
                assert getattr(score, name) == number, name
        assert (score.alias, score.source, score.degraded_because, score.reasons) == ("champion", "realtime", (), None)
    assert [to_micros(score.features_as_of or AS_OF) - to_micros(AS_OF) for score in found] == list(
        range(rows.num_rows)
    )
    assert (found[0].expected_profit_low is None) == (value is not RANGED)


def test_golden_rows_get_their_golden_probabilities(tmp_path: Path) -> None:
    version = load_version(tmp_path / "v1", write(tmp_path / "v1"))
    features, expected = split_golden(pq.read_table(tmp_path / "v1" / GOLDEN))
    model = LiveModel.of(version, FLAT, alias=None, clock=NOW)
    found = [score.probability for score in scores(model, features)]
    assert found == version.predict(features).tolist()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (model.name, model.features, model.alias) == ("v1", version.features, None)
    assert model.fingerprint == Predictor.of(version).fingerprint


@given(st.data())
def test_a_row_gets_the_same_score_in_any_company(data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, 599), min_size=1, max_size=9))
    flags = [False] * len(places)
    whole = scores(live(), table())
    assert live().score_rows(hybrid(table()), places, flags) == [whole[place] for place in places]


@pytest.mark.parametrize(("mood", "cause"), [("fails", "model"), ("hangs", "model"), ("raves", "model")])
def test_the_fallback_answers_where_the_model_does_not(mood: Any, cause: Cause) -> None:
    with moody() as (model, own, other):
        own.moods["predict"] = mood
        found = scores(model, table().slice(0, 5), explain=True)
        encoded = model.version.parts.encoder.transform(table().slice(0, 5))
        margin = other.model.predict_margin(encoded)
        wanted = Calibration("sigmoid", slope=0.8).apply(1 / (1 + np.exp(-margin)))
    np.testing.assert_allclose([score.probability for score in found], wanted, rtol=1e-12)
    assert {(score.source, score.degraded_because) for score in found} == {("fallback", (cause, "reasons"))}
    assert {score.reasons for score in found} == {None}


def test_where_no_model_answers_rows_are_an_error_and_given_features_get_the_base_rate() -> None:
    with moody() as (model, own, other):
        own.moods["predict"] = other.moods["predict"] = "fails"
        with pytest.raises(UnavailableError, match="logistic"):
            scores(model, table().slice(0, 2))
        asks = [Ask("c1", features=values) for values in table().slice(0, 2).to_pylist()]
        found = model.score_given([*asks, Ask("c2", features={})])
        assert model.states()["xgboost"] == "closed"
    assert found[:2] == [model.base("c1", ("model",))] * 2
    assert isinstance(found[2], InputError)


@pytest.mark.parametrize("both", [False, True])
def test_an_odd_row_spoils_nobody_elses_score(both: bool) -> None:
    """Not even where no member has an answer for it."""
    rows = hybrid(table().slice(0, 4))
    whole = live().score_rows(rows, range(4), [True] * 4)
    odd = replace(rows, columns={**rows.columns, "login_count": np.array([1.0, 1e9, 1.0, 1.0])})
    plain = replace(rows, columns={**rows.columns, "login_count": np.ones(4)})
    given = [Ask(None, features={**values, "login_count": 1e9}) for values in table().slice(0, 2).to_pylist()]
    with moody() as (model, own, other):
        wanted = model.score_rows(plain, range(4), [True] * 4)
        own.moods["predict"] = "odd"
        other.moods["predict"] = "odd" if both else "well"
        found = model.score_rows(odd, range(4), [True] * 4)
        alone = model.score_given([*given, Ask(None, features=table().slice(2, 1).to_pylist()[0])])
        assert model.states()["xgboost"] == "closed"
    assert [found[0], *found[2:]] == [wanted[0], *wanted[2:]]
    assert found[1].degraded_because == (("model", "base_rate") if both else ("model", "reasons"))
    assert found[1].source == "fallback"
    assert alone[2] == replace(whole[2], customer_id=None, features_as_of=None, reasons=None, newest=None)


def test_a_member_that_keeps_failing_is_left_alone_and_that_can_be_seen() -> None:
    with moody() as (model, own, _):
        assert set(model.states()) == {"xgboost", "logistic", "reasons"}
        own.moods["predict"] = "fails"
        for _ in range(3):
            scores(model, table().slice(0, 1))
        assert model.states()["xgboost"] == "open"
        assert model.states()["logistic"] == "closed"


def test_reasons_are_those_of_the_explainer() -> None:
    rows = table().slice(0, 40)
    wanted = Explainer(explained_parts()).explain(rows, [f"c{place}" for place in range(40)])
    flags = [place % 3 != 1 for place in range(40)]
    found = live().score_rows(hybrid(rows), range(40), flags)
    for place, (score, one) in enumerate(zip(found, wanted, strict=True)):
        assert score.reasons == (one.reasons if flags[place] else None)
        assert score.probability == pytest.approx(one.probability, abs=1e-6)  # contributions are summed in float32
        assert not score.degraded
    [alone] = live().score_rows(hybrid(rows), [6], [True])
    assert alone == found[6]


def test_reasons_of_given_features_are_those_of_the_explainer() -> None:
    rows = table().slice(0, 4)
    wanted = Explainer(explained_parts()).explain(rows, ["", "", "", ""])
    found = live().score_given([Ask(None, explain=True, features=values) for values in rows.to_pylist()])
    assert [score.reasons for score in found if isinstance(score, ServedScore)] == [one.reasons for one in wanted]


@pytest.mark.parametrize("mood", ["fails", "hangs"])
def test_reasons_that_fail_or_are_late_cost_the_reasons_alone(mood: Any) -> None:
    with moody(seconds=0.05) as (model, own, _):
        own.moods["explain"] = mood
        found = model.score_rows(hybrid(table()), [1, 2], [True, False])
    whole = scores(live(), table())
    assert found == [replace(whole[1], degraded_because=("reasons",)), whole[2]]


def test_reasons_of_many_that_are_late_are_waited_for_once() -> None:
    with moody(seconds=0.05) as (model, own, _):
        own.moods["explain"] = "hangs"
        found = model.score_rows(hybrid(table()), range(60), [True] * 60)
        assert model.states()["reasons"] == "closed"  # three failures would have opened it
    assert {score.degraded_because for score in found} == {("reasons",)}


def test_models_that_all_hang_are_given_up_within_the_seconds() -> None:
    with moody(seconds=0.1) as (model, own, other):
        assert [guard.seconds for guard in model.relay.guards] == [0.05, 0.05]
        own.moods["predict"] = other.moods["predict"] = "hangs"
        with pytest.raises(UnavailableError, match=r"logistic gave no answer within 0\.05 seconds"):
            scores(model, table().slice(0, 2))
    alone = LiveModel.of(version_of(explained_parts()), FLAT, alias=None, seconds=0.07)
    assert [guard.seconds for guard in alone.relay.guards] == [0.07]


def test_features_of_the_last_batch_are_told() -> None:
    rows = hybrid(table().slice(0, 2), ["batch", "online"])
    rows = replace(rows, newest=np.array([NOTHING, 7]))
    found = live().score_rows(rows, [0, 1], [False, False])
    assert [score.newest for score in found] == [None, 7]
    assert [score.degraded_because for score in found] == [("features",), ()]
    assert [score.source for score in found] == ["realtime", "realtime"]


def test_a_row_that_is_infinite_gets_the_base_rate_and_the_others_their_score() -> None:
    rows = hybrid(table().slice(0, 3))
    broken = np.array([1.0, 1e39, math.inf])  # too large for float32, and too large for anything
    rows = replace(rows, columns={**rows.columns, "pay_amount_sum": broken})
    found = live().score_rows(rows, [0, 1, 2], [True, True, True])
    assert found[1:] == [live().base("c1", ("features",)), live().base("c2", ("features",))]
    assert found[0] == live().score_rows(rows, [0], [True])[0]
    assert live().score_rows(rows, [], []) == []


def test_a_worth_that_makes_no_sense_counts_as_not_known() -> None:
    rows = hybrid(table().slice(0, 4))
    worth = np.array([100.0, -1.0, math.nan, 0.0])
    found = live(RANGED).score_rows(
        replace(rows, columns={**rows.columns, "pay_amount_sum": worth}), range(4), [False] * 4
    )
    known = [score.expected_profit is not None for score in found]
    assert known == [True, False, False, True]
    for score in found[1:3]:
        ends = (score.expected_profit_low, score.expected_profit_high, score.band)
        assert (ends, score.decision) == ((None, None, None), "no_contact")


def test_the_base_rate_is_the_share_that_left() -> None:
    [own] = draft().scorecard
    score = live().base("c1", ("store",))
    assert score.probability == live().base_rate == own.positives / own.rows
    assert (score.source, score.degraded_because, score.degraded) == ("fallback", ("store", "base_rate"), True)
    assert (score.features_as_of, score.computed_at, score.model_version) == (None, NOW(), "v1")
    assert (score.decision, score.band) == ("contact", "high")
    assert live(RANGED).base(None, ()).expected_profit is None


@given(st.floats(0, 1e6) | st.none(), st.integers(0, 50), PLANS, PLANS)
def test_given_features_are_scored_as_they_are(
    amount: float | None, logins: int, plan: str | None, shop: str | None
) -> None:
    values = {"login_count": logins, "pay_amount_sum": amount, "tenure_days": None, "plan": plan, "shop": shop}
    [score] = live().score_given([Ask("c1", features=values)])
    assert isinstance(score, ServedScore)
    assert score.probability == live().version.predict_row(values)
    assert (score.features_as_of, score.source, score.customer_id) == (None, "realtime", "c1")


GIVEN: dict[str, Any] = table().slice(3, 1).to_pylist()[0]


@pytest.mark.parametrize(
    ("change", "message", "name"),
    [
        ({"plan": 3}, "The value of 'plan' is 3, and the model knows a category there.", "plan"),
        ({"login_count": "x" * 5000}, "The value of 'login_count' is 'xxxx", "login_count"),
        ({"login_count": 10**400}, "is infinite", "login_count"),
        ({"plan": 10**5000}, "The value of 'plan' is a number of more than 308 digits", "plan"),
        ({"login_count": 1e308}, "The value of 'login_count' is infinite (or beyond 3.4e38).", "login_count"),
        ({"logn_count": 1}, "There is no feature 'logn_count'. Did you mean 'login_count'?", "logn_count"),
        ({"z" * 100_000: 1}, "There is no feature 'zzz", "z" * 100_000),
        ({"pay_amount_sum": -1}, "The value of 'pay_amount_sum' is -1; a customer's worth must be", "pay_amount_sum"),
        ({"pay_amount_sum": 10**400}, "The value of 'pay_amount_sum' is", "pay_amount_sum"),
        ({"pay_amount_sum": "much"}, "The value of 'pay_amount_sum' is 'much'", "pay_amount_sum"),
    ],
)
def test_a_feature_that_cannot_be_used_is_named(change: dict[str, Any], message: str, name: str) -> None:
    good = Ask("c1", features=GIVEN)
    found = live(RANGED).score_given([good, Ask("c2", features={**GIVEN, **change}), good])
    assert isinstance(found[1], InputError)
    assert message in found[1].message
    assert len(found[1].message) < 300
    assert found[1].ids["column"] == name
    assert isinstance(found[0], ServedScore)
    assert found[0] == found[2]


def test_a_feature_that_is_missing_is_named_and_one_that_the_model_leaves_out_is_not_needed() -> None:
    without = {name: value for name, value in GIVEN.items() if name != "same"}
    [whole, fewer] = live().score_given([Ask("c1", features=GIVEN), Ask("c1", features=without)])
    assert whole == fewer
    [error] = live().score_given([Ask("c1", features={"plan": "basic"})])
    assert isinstance(error, InputError)
    assert not isinstance(error, NotFoundError)
    assert error.message == "There is no value for the feature 'login_count', nor for 3 others."
    assert error.ids["feature"] == "login_count"


def test_given_worth_may_be_left_out_where_the_model_does_not_need_it() -> None:
    model = live(ValueSettings(clv="same", contact_cost=0.1, save_rate=0.3))
    without = {name: value for name, value in GIVEN.items() if name != "same"}
    found = model.score_given([Ask("c1", features=GIVEN), Ask("c1", features=without)])
    assert [one.expected_profit is None for one in found if isinstance(one, ServedScore)] == [False, True]


def test_a_worth_that_rows_will_not_have_is_refused_at_once() -> None:
    for column in ("plan", "wealth"):
        with pytest.raises(NotFoundError, match=f"clv names '{column}', which is no numeric feature"):
            LiveModel.of(version_of(parts()), ValueSettings(clv=column), alias=None)
    assert "pay_amount_sum" in FEATURES.names
