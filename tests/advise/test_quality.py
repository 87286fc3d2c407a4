"""Numbers of a comparison: the same as those of an evaluation, paired, and honest together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tenure.advise.quality import METRICS, Draws, Judged, Stakes, draw
from tenure.core.errors import HistoryError
from tenure.core.settings import ValueSettings
from tenure.model.evaluate import difference, judge
from tenure.model.protocol import sigmoid
from tests.advise.worlds import NEVER, VALUE, World

REPEATS = 60


def two(world: World) -> tuple[Judged, Judged]:
    return world.candidate("a", world.seen(0.5)), world.candidate("b", world.seen(1.5))


def test_the_numbers_are_those_of_an_evaluation() -> None:
    world = World(800)
    stakes, (first, second) = world.stakes, two(world)
    draws = draw(stakes, [first, second], repeats=REPEATS)
    threshold = 10 / (0.3 * 600)
    own = judge("a", "model", "test", stakes.label, first.probability, stakes.customer_id, threshold=threshold,
                repeats=REPEATS)  # fmt: skip
    for metric in ("roc_auc", "average_precision", "recall", "precision", "brier", "observed_expected"):
        assert draws.estimate("a", metric) == own.metrics[metric]
    gap = difference(
        stakes.label, first.probability, second.probability, stakes.customer_id, repeats=REPEATS
    )  # fmt: skip
    assert draws.ahead("a", "b", "roc_auc") == gap
    assert draws.ahead("b", "a", "roc_auc").value == pytest.approx(-gap.value)


def test_profit_is_what_the_contacts_earned_per_customer() -> None:
    world = World(800)
    first = two(world)[0]
    found = draw(world.stakes, [first], repeats=REPEATS).estimate("a", "profit")
    contacted = first.probability >= 10 / (0.3 * 600)
    saved = (contacted & world.stakes.label).sum() * 0.3 * 600
    assert found.value == pytest.approx((saved - contacted.sum() * 10) / 800)
    assert found.low < found.value < found.high


def test_every_batch_has_the_whole_capacity_and_the_unknown_are_not_contacted() -> None:
    value = ValueSettings(clv=600, contact_cost=10, save_rate=0.3, capacity=3)
    world = World(40, value=value)
    cutoff = np.repeat(np.array(["2026-01-01", "2026-02-01"], "datetime64[us]"), 20)
    worth = np.where(np.arange(40) % 2 == 0, 600.0, np.nan)
    stakes = replace(world.stakes, cutoff=cutoff, worth=worth)
    chosen = stakes.contacted(np.full(40, 0.5))
    assert [int(chosen[cutoff == time].sum()) for time in np.unique(cutoff)] == [3, 3]
    assert not chosen[np.isnan(worth)].any()
    assert not replace(stakes, value=ValueSettings(capacity=0)).contacted(np.full(40, 0.5)).any()


def test_contacting_nobody_has_no_precision_and_earns_nothing() -> None:
    world = World(100)
    nobody = Judged("never", np.full(100, 0.01), np.full(100, 0.01))
    draws = draw(world.stakes, [nobody], repeats=20)
    assert np.isnan(draws.estimate("never", "precision").value)
    assert draws.estimate("never", "profit") == draws.ahead("never", "never", "profit")
    assert draws.estimate("never", "roc_auc").value == 0.5


def test_a_moved_threshold_reaches_nobody_whom_the_plain_model_would_not() -> None:
    world = World()
    margin = world.seen(0.5)
    moved = world.candidate("moved", margin, shift=2.0, plain=margin)
    draws = draw(world.stakes, [world.candidate("plain", margin), moved], repeats=REPEATS)
    assert draws.ahead("moved", "plain", "recall_at_half").low > 0.2
    assert draws.estimate("moved", "recall_gained") == draws.ahead("moved", "moved", "roc_auc")
    assert moved.plain_cut == pytest.approx(float(sigmoid(np.array([-2.0]))[0]), abs=0.01)


def test_rows_of_a_customer_move_together() -> None:
    world = World(600)
    repeated = replace(world.stakes, customer_id=pa.array([f"c{number // 3}" for number in range(600)]))
    one = two(world)[0]
    alone, grouped = (draw(stakes, [one], repeats=REPEATS).drawn for stakes in (world.stakes, repeated))
    assert (alone != grouped).any()


def test_intervals_that_hold_together_are_wider() -> None:
    world = World()
    names = [f"m{number}" for number in range(6)]
    judged = [world.candidate(name, world.seen(1.0)) for name in names]
    draws = draw(world.stakes, judged, repeats=200)
    pairs = [(name, "m0") for name in names[1:]]
    for (name, other), wide in zip(pairs, draws.together(pairs, "roc_auc"), strict=True):
        narrow = draws.ahead(name, other, "roc_auc")
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.1 * (narrow.high - narrow.low)


def test_equal_candidates_differ_by_nothing_at_all() -> None:
    world = World(300)
    one = world.candidate("a", world.seen(0.5))
    draws = draw(world.stakes, [one, replace(one, name="b")], repeats=20)
    (both,) = draws.together([("b", "a")], "roc_auc")
    assert (both.value, both.low, both.high) == (0.0, 0.0, 0.0)


def test_draws_of_one_kind_of_customer_leave_intervals_defined() -> None:
    drawn = np.random.default_rng(0).normal(0, 0.01, (200, 2, 1))
    whole, gaps = (
        Draws(("a", "b"), ("roc_auc",), np.zeros((2, 1)), some, np.zeros((2, 1), np.bool_))
        for some in (drawn, np.concatenate([drawn, np.full((5, 2, 1), np.nan)]))
    )
    assert whole.together([("a", "b")], "roc_auc") == gaps.together([("a", "b")], "roc_auc")


def test_simultaneous_intervals_hold_as_often_as_they_say() -> None:
    """Of many tables of six equal candidates, about one in twenty shows a difference that is none."""
    random = np.random.default_rng(1)
    names, wrong = tuple(f"m{number}" for number in range(6)), 0
    for _ in range(300):
        truth = random.normal(0, 1, 6)
        drawn = truth + random.normal(0, 1, (400, 6))
        draws = Draws(names, ("roc_auc",), truth[:, None], drawn[:, :, None], np.zeros((6, 1), np.bool_))
        found = draws.together([(name, "m0") for name in names[1:]], "roc_auc")
        wrong += any(one.low > 0 or one.high < 0 for one in found)
    assert 0.01 < wrong / 300 < 0.10


def test_a_block_of_one_kind_is_refused() -> None:
    world = World(50)
    stakes = replace(world.stakes, label=np.zeros(50, dtype=np.bool_))
    with pytest.raises(HistoryError, match="all 50 rows are stayers"):
        draw(stakes, [world.candidate("a", world.seen(0.5))])


def test_every_metric_has_a_number() -> None:
    world = World(300)
    draws = draw(world.stakes, two(world), repeats=5)
    assert draws.point.shape == (2, len(METRICS))
    assert draws.drawn.shape == (5, 2, len(METRICS))


def test_leavers_on_whom_two_candidates_disagree_are_counted_by_customer() -> None:
    label = np.array([True, True, True, False, False])
    ids = pa.array(["a", "a", "b", "c", "d"])
    stakes = Stakes(ids, np.full(5, NEVER, "datetime64[us]"), label, np.full(5, 600.0), VALUE)
    everybody, nobody, one = (np.array(values) for values in ([0.9] * 5, [0.01] * 5, [0.9, 0.01, 0.01, 0.9, 0.9]))
    judged = [Judged(name, p, p) for name, p in (("all", everybody), ("none", nobody), ("one", one))]
    draws = draw(stakes, judged, repeats=5)
    apart = [draws.leavers_apart(*pair) for pair in (("all", "none"), ("all", "one"), ("none", "one"), ("one", "one"))]
    assert apart == [2, 1, 1, 0]
