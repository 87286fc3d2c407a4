"""What a comparison comes down to, in sentences that claim no more than the intervals allow.

Enters: the draws of `tenure.advise.quality` and the candidates, the champion first. Leaves: a headline and findings.
Invariant: "better" is said only where an interval that allows for all comparisons lies on one side of zero; "no better"
only where it ends below `MARGIN`; everything else is "not settled". Absence of evidence is never called equality.

More money is said only where two candidates disagree on at least `FEWEST_APART` of those who left: with fewer, the
interval of the difference in profit does not know what it would cost to miss one more (`tenure.advise.quality`).

`MARGIN` is the difference in ROC AUC that is treated as nothing: .01 means that of a leaver and a stayer, one pair in a
hundred more is put in the right order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tenure.advise.candidate import NOTHING, Candidate
from tenure.advise.quality import Draws
from tenure.model.evaluate import Estimate

__all__ = ["FEWEST", "MARGIN", "Finding", "conclude"]

MARGIN = 0.01
FEWEST = 30
FEWEST_APART = 10
LOGISTIC = "logistic"

Kind = Literal["better", "champion", "enough", "insufficient", "rebalancing"]


@dataclass(frozen=True)
class Finding:
    """A sentence and what it is about.

    Parameters
    ----------
    kind : {"better", "champion", "enough", "insufficient", "rebalancing"}
        Something is better than the champion; the champion is best; logistic regression is enough (or not, or that is
        not settled); nothing can be said; what an imbalance method did.
    about : tuple of str
        Names of the candidates.
    text : str
        One or two sentences.
    """

    kind: Kind
    about: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class _Rival:
    """A candidate beside the champion, with differences that allow for all comparisons."""

    name: str
    auc: Estimate
    profit: Estimate
    leavers_apart: int

    @property
    def earns_more(self) -> bool:
        """Whether that is shown."""
        return self.profit.low > 0 and self.leavers_apart >= FEWEST_APART


def conclude(draws: Draws, candidates: Sequence[Candidate], lost: int, stayed: int) -> tuple[Finding, ...]:
    """The headline, then the other findings.

    Parameters
    ----------
    draws : Draws
        Of the candidates' names.
    candidates : sequence of Candidate
        Those that were judged, the champion first.
    lost, stayed : int
        Customers of the test block who left, and who stayed; below `FEWEST` of either nothing is concluded, for a model
        is told from another by pairs of one and the other.

    Examples
    --------
    >>> import numpy as np
    >>> from tenure.advise.quality import METRICS
    >>> point = np.tile(np.array([[0.8], [0.7]]), (1, len(METRICS)))
    >>> drawn = point + np.random.default_rng(0).normal(0, 0.01, (200, 2, 1))
    >>> found = conclude(
    ...     Draws(("xgboost", "logistic"), METRICS, point, drawn, np.array([[True], [False]])),
    ...     [Candidate("xgboost"), Candidate("logistic")],
    ...     lost=200,
    ...     stayed=800,
    ... )
    >>> found[0].kind, found[0].text.partition(":")[0]
    ('champion', 'The champion xgboost ranks better than every other candidate')
    """
    if min(lost, stayed) < FEWEST:
        few = (
            f"{lost} customers of the test block left"
            if lost <= stayed
            else f"{stayed} customers of the test block stayed"
        )
        text = f"Insufficient evidence: only {few}; at least {FEWEST} are needed to tell models apart."
        return (Finding("insufficient", draws.names, text),)
    if len(candidates) == 1:
        text = f"Insufficient evidence: {candidates[0].name} stands alone; there is nothing to compare it with."
        return (Finding("insufficient", draws.names, text),)
    champion = candidates[0].name
    rivals = _rivals(draws, champion, [candidate.name for candidate in candidates[1:]])
    logistic = _logistic(draws, candidates)
    headline = logistic if logistic and logistic.kind == "enough" else _beside_champion(champion, rivals)
    said = logistic is None or logistic is headline or headline.kind == "champion" or champion == LOGISTIC
    return (headline, *(() if said or logistic is None else (logistic,)), *_rebalancing(draws, candidates))


def _rivals(draws: Draws, champion: str, names: Sequence[str]) -> list[_Rival]:
    pairs = [(name, champion) for name in names]
    return _compared(draws, pairs)


def _compared(draws: Draws, pairs: Sequence[tuple[str, str]]) -> list[_Rival]:
    """The first of each pair beside the second, with intervals that hold for all pairs at once."""
    found = zip(pairs, draws.together(pairs, "roc_auc"), draws.together(pairs, "profit"), strict=True)
    return [_Rival(pair[0], auc, profit, draws.leavers_apart(*pair)) for pair, auc, profit in found]


def _beside_champion(champion: str, rivals: Sequence[_Rival]) -> Finding:
    closest = max(rivals, key=lambda rival: rival.auc.value)
    ranking = max((rival for rival in rivals if rival.auc.low > 0), key=lambda rival: rival.auc.value, default=None)
    earning = max((r for r in rivals if r.earns_more), key=lambda rival: rival.profit.value, default=None)
    if ranking:
        text = f"{ranking.name} ranks better than the champion {champion}: ROC AUC {_signed(ranking.auc)}; "
        return Finding("better", (ranking.name, champion), text + _earns(ranking))
    if earning:
        text = (
            f"{earning.name} earns more than the champion {champion}: {_money(earning.profit)} per customer; that it "
        )
        return Finding("better", (earning.name, champion), f"{text}ranks better is not shown ({_signed(earning.auc)}).")
    if all(rival.auc.high < 0 for rival in rivals):
        text = f"The champion {champion} ranks better than every other candidate: the closest, {closest.name}, is "
        return Finding("champion", (champion,), f"{text}{_signed(closest.auc)} in ROC AUC.")
    text = f"Insufficient evidence to replace the champion {champion}: nothing is shown to rank better or to earn more"
    bound = max(rival.auc.high for rival in rivals)
    worth = f", and nothing can rank better by more than {_bare(bound)}" if 0 < bound < MARGIN else ""
    return Finding(
        "insufficient", (champion, closest.name),
        f"{text}{worth}. The closest, {closest.name}, differs by {_signed(closest.auc)} in ROC AUC.",
    )  # fmt: skip


def _earns(rival: _Rival) -> str:
    if rival.earns_more:
        return f"it earns {_money(rival.profit)} more per customer."
    if rival.profit.high < 0 and rival.leavers_apart >= FEWEST_APART:
        return f"but it earns less per customer ({_money(rival.profit)})."
    return f"whether it earns more is not settled ({_money(rival.profit)} per customer{_apart(rival)})."


def _apart(rival: _Rival) -> str:
    """Why an interval of money says little, where it does."""
    if rival.leavers_apart >= FEWEST_APART:
        return ""
    return f"; they disagree on {rival.leavers_apart} of those who left"


def _logistic(draws: Draws, candidates: Sequence[Candidate]) -> Finding | None:
    """Whether logistic regression is enough: nothing may rank better by `MARGIN` or be shown to earn more."""
    others = [c.name for c in candidates if c.family != LOGISTIC]
    if Candidate(LOGISTIC) not in candidates or not others:
        return None
    rivals = _rivals(draws, LOGISTIC, others)
    best = max(rivals, key=lambda rival: rival.auc.value)
    bound = max(rival.auc.high for rival in rivals)
    earning = [rival for rival in rivals if rival.earns_more]
    if bound < MARGIN and not earning:
        by = f"by more than {_bare(bound)} of ROC AUC" if bound > 0 else "at all"
        text = f"Logistic regression is enough: nothing else can rank better {by}, or is shown to earn more."
        return Finding("enough", (LOGISTIC,), text)
    if best.auc.low > 0:
        text = f"Logistic regression is not the best here: {best.name} ranks better by {_signed(best.auc)} of ROC AUC; "
        return Finding("better", (best.name, LOGISTIC), text + _earns(best))
    text = f"Whether logistic regression is enough is not settled: {best.name} differs from it by {_signed(best.auc)}"
    return Finding("insufficient", (best.name, LOGISTIC), f"{text} of ROC AUC.")


def _rebalancing(draws: Draws, candidates: Sequence[Candidate]) -> Iterator[Finding]:
    """What each method did to its family: to where the line falls, and to the order of the customers."""
    pairs = [(c.name, c.plain.name) for c in candidates if c.imbalance != NOTHING and c.plain in candidates]
    if not pairs:
        return
    for (name, plain), found in zip(pairs, _compared(draws, pairs), strict=True):
        moved = draws.ahead(name, plain, "contacted_at_half")
        recalls = [draws.estimate(*what).value for what in ((name, "recall_at_half"), (plain, "recall_at_half"))]
        equal = draws.estimate(name, "plain_recall").value
        did = (
            f"moved the threshold (cut at one half, its uncorrected scores reach {recalls[0]:.0%} of the leavers "
            f"and the plain ones {recalls[1]:.0%}; with as many contacts the plain ones reach {equal:.0%})"
            if moved.low > 0 or moved.high < 0
            else "is not shown to have moved the threshold"
        )
        yield Finding("rebalancing", (name, plain), f"{name} {did}{_effect(found)}")


def _effect(found: _Rival) -> str:
    auc = found.auc
    said = f"ROC AUC {_signed(auc)}, profit per customer {_money(found.profit)}{_apart(found)}"
    if auc.low > 0:
        return f" and improved the model: {said}."
    if auc.high < 0:
        return f" and made the model worse: {said}."
    if auc.high < MARGIN and not found.earns_more:
        by = f" by as much as {_bare(MARGIN)} of ROC AUC" if auc.high > 0 else ""
        return f" and did not improve the model{by}: {said}."
    return f"; whether it improved the model is not settled: {said}."


def _signed(estimate: Estimate) -> str:
    return _with_interval(estimate, 3)


def _money(estimate: Estimate) -> str:
    return _with_interval(estimate, 2)


def _with_interval(estimate: Estimate, decimals: int) -> str:
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (f"{round(number, decimals) + 0.0:+.{decimals}f}" for number in ends)  # no minus nought
    return f"{value} [{low}, {high}]"


def _bare(number: float) -> str:
    return f"{number:.3f}".removeprefix("0")
