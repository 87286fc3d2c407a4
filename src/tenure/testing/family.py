"""What every model family promises (`tenure.model.protocol`), as checks.

Enters: a function that makes a family. Leaves: nothing, or `AssertionError` with the promise that was broken.
Invariant: the checks know only the protocol, so a family of your own is held to exactly what tenure's are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tenure.model.fold import customer_folds
from tenure.model.imbalance import ClassWeights
from tenure.model.measure import row_log_loss
from tenure.model.protocol import Column, Examples, Family, Flags, Model, RowModel, sigmoid
from tenure.model.ranking import rank

__all__ = ["CHECKS", "check_family", "family_examples"]

SAFE_SUFFIXES = {".json", ".ubj", ".onnx", ".safetensors", ".txt"}
SHOPS = 30


def family_examples(rows: int = 600, *, seed: int = 0) -> Examples:
    """Rows with what families must cope with: gaps, a long tail, few and many categories.

    About four rows in ten are churners; spend, plan and shop carry signal, noise carries none. Two rows per customer.

    Examples
    --------
    >>> rows = family_examples(100)
    >>> [column.name for column in rows.columns], rows.matrix.shape
    (['spend', 'noise', 'plan', 'shop'], (100, 4))
    """
    random = np.random.default_rng(seed)
    spend, noise = random.lognormal(3, 1.5, rows), random.normal(size=rows)
    plan, shop = random.integers(0, 3, rows).astype(float), random.integers(0, SHOPS, rows).astype(float)
    margin = -1.2 - 1.2 * (np.log(spend) - 3) / 1.5 + 1.0 * (plan == 2) + 1.0 * (shop < SHOPS / 3)
    label = random.random(rows) < sigmoid(margin)
    for values in (spend, noise, plan, shop):
        values[random.random(rows) < 0.1] = np.nan
    matrix = np.asfortranarray(np.column_stack([spend, noise, plan, shop]).astype(np.float32))
    columns = (Column("spend"), Column("noise"), Column("plan", categories=4), Column("shop", categories=SHOPS + 1))
    return Examples(matrix, label, np.arange(rows, dtype=np.int64) // 2, columns)


def check_family(make: Callable[[], Family]) -> None:
    """Run every check of `CHECKS`.

    Examples
    --------
    >>> from tenure.model.family_logistic import LogisticFamily
    >>> check_family(LogisticFamily)
    """
    for check in CHECKS:
        check(make)


def check_learns(make: Callable[[], Family]) -> None:
    """A model ranks and predicts rows it has not seen better than the rate of all rows does."""
    model, later = _trained(make), family_examples(2000, seed=1)
    probability = model.predict_proba(later.matrix)
    area = rank(probability, later.label).steps().roc_auc()
    _require(area > 0.7, f"ranks new rows with a ROC AUC of {area:.3f}; 0.7 is easy here")
    rate = np.full(len(probability), later.label.mean())
    loss, idle = row_log_loss(later.label, probability).mean(), row_log_loss(later.label, rate).mean()
    _require(loss < idle, f"has a log loss of {loss:.4f}, the rate of all rows {idle:.4f}")


def check_probabilities(make: Callable[[], Family]) -> None:
    """Probabilities are float64 in [0, 1] and say the same as margins, on no rows too."""
    model, examples = _trained(make), family_examples()
    for matrix in (examples.matrix, examples.matrix[:1], examples.matrix[:0]):
        probability, margin = model.predict_proba(matrix), model.predict_margin(matrix)
        _require(probability.dtype == margin.dtype == np.float64, "gives something else than float64")
        _require(probability.shape == margin.shape == (len(matrix),), "does not give one number per row")
        _require(bool(((probability >= 0) & (probability <= 1)).all()), "gives probabilities outside [0, 1]")
        _require(bool(np.allclose(probability, sigmoid(margin))), "gives probabilities unlike its margins")


def check_rows_stand_alone(make: Callable[[], Family]) -> None:
    """A row's prediction depends on that row, not on its neighbours or on the layout of the matrix."""
    model, matrix = _trained(make), family_examples().matrix
    together = model.predict_margin(matrix)
    alone = np.concatenate([model.predict_margin(matrix[row : row + 1]) for row in range(20)])
    _require(bool((together[:20] == alone).all()), "predicts a row differently alone and among others")
    _require(
        bool((model.predict_margin(np.ascontiguousarray(matrix)) == together).all()),
        "predicts differently from a row-major matrix",
    )
    if isinstance(model, RowModel):
        quickly = [model.row_margin(row) for row in matrix[:20]]
        _require(quickly == together[:20].tolist(), "predicts a row differently by its faster way for one row")


def check_strange_rows(make: Callable[[], Family]) -> None:
    """Missing, enormous and unseen values get a finite margin, and the given matrix stays as it was."""
    examples = family_examples()
    known = examples.matrix[:, 3] != SHOPS - 1  # so that this code is unseen, as the one for "other" is
    model = _fit(make(), examples.take(known))
    strange = np.asfortranarray(
        [[np.nan] * 4, [1e38, -1e38, 3, SHOPS], [0, 0, 0, SHOPS - 1], [-5, 1e-30, 1, 0]], dtype=np.float32
    )
    before = strange.copy()
    _require(bool(np.isfinite(model.predict_margin(strange)).all()), "gives a margin that is not finite")
    _require(np.array_equal(strange, before, equal_nan=True), "changes the matrix it is given")


def check_reproducible(make: Callable[[], Family]) -> None:
    """The same examples, choice and seed give the same bytes, on one thread or two."""
    examples = family_examples()
    fold = _folds(examples)
    one, two = (make().cross_fit(examples, fold, seed=5, threads=threads) for threads in (1, 2))
    _require(dict(one.choice) == dict(two.choice), "chooses differently on two threads")
    _require(bool((one.probability == two.probability).all()), "cross-fits differently on two threads")
    first, second = (_written(make().fit(examples, one.choice, seed=5, threads=threads)) for threads in (1, 2))
    _require(first == second, "writes other bytes on two threads")


def check_round_trip(make: Callable[[], Family]) -> None:
    """A model that was written and read predicts bit for bit what it predicted; its files are of safe formats."""
    model, matrix = _trained(make), family_examples().matrix
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = model.save(folder)
        written = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        _require(sorted(names) == sorted(written), "does not name the files it writes")
        suffixes = {Path(file).suffix for file in names}
        _require(
            suffixes <= SAFE_SUFFIXES, f"writes {sorted(suffixes - SAFE_SUFFIXES)}; safe are {sorted(SAFE_SUFFIXES)}"
        )
        read = make().load(folder)
    _require(
        bool((read.predict_margin(matrix) == model.predict_margin(matrix)).all()), "predicts differently once read"
    )
    _require(_written(read) == _written(model), "writes other bytes once read")


def check_many_categories(make: Callable[[], Family]) -> None:
    """A column of hundreds of rare values is learned from without being learned by heart."""
    random = np.random.default_rng(3)
    rows, codes = 2000, 700
    code, noise = random.integers(0, codes, rows), random.normal(size=rows)
    label = random.random(rows) < np.where(code % 2, 0.5, 0.1)
    matrix = np.asfortranarray(np.column_stack([noise, code]).astype(np.float32))
    columns = (Column("noise"), Column("shop", categories=codes + 1))
    examples = Examples(matrix, label, np.arange(rows, dtype=np.int64), columns)
    crossed = make().cross_fit(examples, _folds(examples), seed=0, threads=1)
    idle = row_log_loss(label, np.full(rows, label.mean())).mean()
    _require(
        crossed.log_loss < 1.02 * idle,
        f"has a log loss of {crossed.log_loss:.4f} where hundreds of shops tell little, their rate {idle:.4f}",
    )
    model = make().fit(examples, crossed.choice, seed=0, threads=1)
    _require(bool(np.isfinite(model.predict_margin(matrix)).all()), "gives a margin that is not finite")


def check_nothing_to_learn(make: Callable[[], Family]) -> None:
    """Where no column varies, everybody gets the rate of all rows."""
    examples = family_examples(400)
    still = np.asfortranarray(np.tile(np.array([3, np.nan, 1, 7], np.float32), (400, 1)))
    model = _fit(make(), replace(examples, matrix=still))
    probability = model.predict_proba(still)
    rate = examples.label.mean()
    _require(float(np.ptp(probability)) < 1e-9, "tells rows apart that are equal")
    _require(
        abs(probability[0] - rate) < 0.05, f"gives {probability[0]:.3f} where nothing is known but a rate of {rate:.3f}"
    )


def check_contributions(make: Callable[[], Family]) -> None:
    """What the columns add, and the base, add up to the margin; a row's values are its own."""
    model, matrix = _trained(make), family_examples().matrix[:40]
    for rows in (matrix, matrix[:0]):
        found = model.contributions(rows)
        _require(found.values.shape == rows.shape and found.base.shape == (len(rows),), "adds up other columns or rows")
        _require(bool(np.allclose(found.margin, model.predict_margin(rows), atol=1e-4)), "adds up to another margin")
    alone = model.contributions(matrix[:1])
    _require(
        bool(np.allclose(alone.values, model.contributions(matrix).values[:1], atol=1e-6)), "explains by neighbours"
    )
    _require(float(np.abs(alone.values).max()) > 0, "explains nothing")


def check_held_out(make: Callable[[], Family]) -> None:
    """Cross-fitting tells nothing about labels that nothing predicts, though a customer's rows share theirs."""
    examples = family_examples(1200)
    coin = np.random.default_rng(2).random(600) < 0.3
    blind = Examples(examples.matrix, coin[examples.group], examples.group, examples.columns)
    blind.matrix[:, 0] = examples.group  # as good as a customer's name
    blind.matrix[:, 3] = examples.group % SHOPS
    crossed = make().cross_fit(blind, _folds(blind), seed=0, threads=1)
    area = rank(crossed.probability, blind.label).steps().roc_auc()
    _require(0.4 < area < 0.6, f"ranks held-out coin tosses with a ROC AUC of {area:.3f}: it has seen them")
    loss = float(row_log_loss(blind.label, crossed.probability).mean())
    _require(abs(loss - crossed.log_loss) < 1e-12, "reports another log loss than that of its predictions")


def check_rebalances_inside_folds(make: Callable[[], Family]) -> None:
    """Rows are weighted or resampled only in what a fold learns from, and held-out predictions are moved back."""
    examples = family_examples()
    fold, witness = _folds(examples), _Witness()
    make().cross_fit(replace(examples, rebalance=witness), fold, seed=0, threads=1)
    learned = [set(fold[np.isin(examples.group, seen)].tolist()) for seen in witness.seen]
    _require(bool(learned) and all(len(folds) == 2 for folds in learned), "rebalances rows that it then predicts")
    crossed = make().cross_fit(replace(examples, rebalance=ClassWeights(6.0)), fold, seed=0, threads=1)
    ratio = examples.label.sum() / crossed.probability.sum()
    _require(0.8 < ratio < 1.25, f"learned from weighted rows and found {ratio:.2f} times the churners it expected")


def check_weights(make: Callable[[], Family]) -> None:
    """A model that learned from heavier churners takes churn for more common, by about as much."""
    examples = family_examples()
    plain = make().cross_fit(examples, _folds(examples), seed=0, threads=1)
    found = [
        np.median(make().fit(given, plain.choice, seed=0, threads=1).predict_margin(examples.matrix))
        for given in (examples, replace(examples, rebalance=ClassWeights(6.0)))
    ]
    moved = float(found[1] - found[0])
    _require(
        1.0 < moved < 3.0, f"moves its margins by {moved:.2f} where churners weigh six times as much: log 6 is 1.79"
    )


@dataclass(frozen=True)
class _Witness:
    """A rebalancing that changes nothing and remembers whose rows it was given."""

    seen: list[list[int]] = field(default_factory=list)

    def prior_shift(self, label: Flags) -> float:  # noqa: ARG002 - nothing is moved
        return 0.0

    def apply(self, examples: Examples, seed: int) -> Examples:  # noqa: ARG002 - nothing is drawn
        self.seen.append(np.unique(examples.group).tolist())
        return examples


def check_threads(make: Callable[[], Family]) -> None:
    """One model serves several threads at once."""
    model, matrix = _trained(make), family_examples().matrix
    expected = model.predict_margin(matrix)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(model.predict_margin, [matrix] * 16))
    _require(all(bool((margin == expected).all()) for margin in found), "predicts differently in several threads")


def check_progress(make: Callable[[], Family]) -> None:
    """Progress rises to 1 in cross-fitting and in fitting."""
    told: dict[str, list[float]] = {"cross-fit": [], "fit": []}

    def progress(stage: str, done: float) -> None:
        told[stage].append(done)

    examples = family_examples(200)
    family = make()
    crossed = family.cross_fit(examples, _folds(examples), seed=0, threads=1, progress=progress)
    family.fit(examples, crossed.choice, seed=0, threads=1, progress=progress)
    for stage, shares in told.items():
        _require(shares == sorted(shares) and shares[-1:] == [1.0], f"tells of {stage}: {shares[-3:]}")


CHECKS: Sequence[Callable[[Callable[[], Family]], None]] = (
    check_learns,
    check_probabilities,
    check_rows_stand_alone,
    check_strange_rows,
    check_reproducible,
    check_round_trip,
    check_many_categories,
    check_nothing_to_learn,
    check_contributions,
    check_held_out,
    check_rebalances_inside_folds,
    check_weights,
    check_threads,
    check_progress,
)


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(f"The family {broken}.")


def _folds(examples: Examples) -> npt.NDArray[np.int64]:
    return customer_folds(examples.group, examples.label, folds=3, seed=0)


@lru_cache(maxsize=8)
def _trained(make: Callable[[], Family]) -> Model:
    """One model for the checks that only look at it; it is immutable."""
    return _fit(make(), family_examples())


def _fit(family: Family, examples: Examples) -> Model:
    crossed = family.cross_fit(examples, _folds(examples), seed=0, threads=1)
    return family.fit(examples, crossed.choice, seed=0, threads=1)


def _written(model: Model) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        return {file: (Path(name) / file).read_bytes() for file in model.save(Path(name))}
