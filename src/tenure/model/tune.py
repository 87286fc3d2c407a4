"""Search for settings of a family that do better on later customers than its defaults do.

Enters: the training block, a tunable family and how many trials to make. Leaves: a `Tuning`: the parameters to train
with, and how much better they were. Invariant: the test and the calibration block play no part; a search that was
killed goes on where it stopped and finds exactly what it would have found; the defaults stay unless what was found
beat them where it had not been chosen by, by more than its standard error, customers being the observations.

A trial sets every parameter of the family's space, trains on each forward fold (`tenure.model.forward`) as a real
training would, and is judged by the mean log loss of the rows after it. After each fold it is given up if it stands
below the median of the trials before it. Proposals come from a tree-structured Parzen estimator (Bergstra et al. 2011)
through Optuna.

Who judges what was found
-------------------------
The best of many trials owes part of its lead to luck, and the more trials, the more of it. So the newest fold is kept
out of the search, and the best trial and the defaults meet on it alone. Where history is too short for that, they meet
on the folds that chose the trial, and the lead has to exceed what the luckiest of `n` trials that are no better than
the defaults would reach: about `sqrt(2 log n)` standard errors.

How a search goes on
--------------------
Every trial is appended to a journal before the next one starts. The name of the search is a hash of all that its
outcome depends on, so other data, cutoffs or seeds start another one. The sampler is seeded anew for every trial with
the number of trials that have ended; what was killed in between counts as never begun.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tenure.core.errors import ConfigError, InputError
from tenure.core.extras import require
from tenure.core.progress import Progress, silent
from tenure.core.settings import ModelSettings
from tenure.model.calibrate import correct_prior
from tenure.model.document import canonical
from tenure.model.encode import Encoder
from tenure.model.families import AUTO, settled_family
from tenure.model.fold import customer_folds
from tenure.model.forward import FOLDS, ForwardFold, How, forward_folds, set_newest_apart
from tenure.model.frame import Frame
from tenure.model.imbalance import find_rebalance
from tenure.model.measure import row_log_loss
from tenure.model.protocol import Examples, Flags, Matrix, Vector
from tenure.model.space import Tunable
from tenure.model.split import Split

__all__ = ["Tuning", "require_tunable", "tune"]

INNER_FOLDS = 3
STARTUP = 10


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Parameters
    ----------
    family : str
        Whose parameters.
    trials, pruned : int
        Trials that ended, and how many of them were given up early.
    resumed : int
        How many of them an earlier, interrupted search had made.
    folds : int
        Folds that the search was judged by.
    how : str
        What kept them honest.
    is_apart : bool
        Whether the best trial was judged by the newest fold, which no trial had seen; else by those of the search.
    default_loss, best_loss : float
        Mean log loss of the defaults and of the best trial there, nats per row.
    gain, gain_error : float
        By how much the best trial's is lower, and the standard error of that.
    needed : float
        What the gain must exceed for the defaults to be left.
    parameters : mapping of str to float
        To train with; empty where the defaults stay.
    """

    family: str
    trials: int
    pruned: int
    resumed: int
    folds: int
    how: How
    is_apart: bool
    default_loss: float
    best_loss: float
    gain: float
    gain_error: float
    needed: float
    parameters: Mapping[str, float]

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        judged = (
            "On the newest rows, kept out of the search, the best has"
            if self.is_apart
            else "There is no later history to keep out of the search; on the rows of the search itself the best has"
        )
        count = f"{self.trials} trial{'' if self.trials == 1 else 's'} ({self.pruned} given up early)"
        found = (
            f"Tuned {self.family} over {count}, judged on {self.folds} times {self.how}. {judged} a log loss of "
            f"{self.best_loss:.4f} against {self.default_loss:.4f} with the defaults ({self.gain:+.4f}, standard error "
            f"{self.gain_error:.4f}; {self._required} is asked for)."
        )
        if not self.parameters:
            return f"{found} That is no evidence for leaving the defaults, so they stay."
        shown = ", ".join(f"{name} = {value:.4g}" for name, value in sorted(self.parameters.items()))
        return f"{found} To keep them, write in [model]: parameters = {{ {shown} }}."

    @property
    def _required(self) -> str:
        luck = "" if self.is_apart or self.trials == 1 else f", what the luckiest of {self.trials} may reach,"
        return f"more than {self.needed:.4f}{luck}"


def require_tunable(settings: ModelSettings) -> Tunable:
    """Give the family that a search would be about; ask before the long work.

    Raises
    ------
    ConfigError
        The family has nothing to tune, or is to be chosen itself.
    MissingExtraError
        Optuna or the family's own package is not installed.

    Examples
    --------
    >>> require_tunable(ModelSettings(family="auto"))
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: The family 'auto' has nothing to tune: it is to be chosen itself.
    → Tune "xgboost", or train without --tune.
    """
    require("optuna")
    chosen = settings.family != AUTO
    family: object = settled_family(settings.family, settings) if chosen else None
    if not isinstance(family, Tunable):
        why = "it chooses what it needs by itself" if chosen else "it is to be chosen itself"
        raise ConfigError(f"The family {settings.family!r} has nothing to tune: {why}.",
                          hint='Tune "xgboost", or train without --tune.', family=settings.family)  # fmt: skip
    return family


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold, encoded."""

    examples: Examples
    inner: npt.NDArray[np.int64]
    matrix: Matrix
    label: Flags
    customer: npt.NDArray[np.int64]


def tune(
    frame: Frame,
    split: Split,
    settings: ModelSettings,
    *,
    journal: Path,
    fingerprint: str,
    threads: int | None = None,
    progress: Progress = silent,
) -> Tuning:
    """Search for better parameters of `[model] family`.

    Parameters
    ----------
    frame : Frame
        Labelled rows of all blocks; only the training block is looked at.
    split : Split
        Names it.
    settings : ModelSettings
        Family, seed, imbalance, and `tune`: how many trials the search shall have made in the end.
    journal : Path
        Folder of the searches' journals.
    fingerprint : str
        Of the data.
    threads : int, optional
        Of each training.
    progress : Progress
        Told after every fold of every trial.

    Raises
    ------
    ConfigError
        The family has nothing to tune, or is to be chosen itself.
    MissingExtraError
        Optuna is not installed.
    InputError
        The journal of an earlier search is damaged.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from tenure.model.split import split_table
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), visits < 6, pa.table({"visits": visits}))
    >>> tune(frame, split_table(frame), ModelSettings(family="logistic", tune=5), journal=Path("x"), fingerprint="0f")
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: The family 'logistic' has nothing to tune: it chooses what it needs by itself.
    → Tune "xgboost", or train without --tune.
    """
    optuna, family = require("optuna"), require_tunable(settings)
    training = frame.take(split.blocks(frame).train)
    found = forward_folds(training, split, folds=FOLDS + 1, seed=settings.seed)
    inside, newest = set_newest_apart(found, training, split)
    folds = [_encoded(training, fold.learn, fold.judge, settings) for fold in inside]
    name = _name(training, split, settings, fingerprint, inside)
    study = _open(optuna, journal, name)
    search = _Search(optuna, study, family, folds, settings, threads=threads, progress=progress)
    resumed = len(search.ended())
    search.go_on(settings.tune)
    judges = folds if newest is None else [_encoded(training, newest.learn, newest.judge, settings)]
    return _concluded(search, judges, resumed, found.how, is_apart=newest is not None)


class _Search:
    """The trials of one study."""

    def __init__(
        self,
        optuna: Any,
        study: Any,
        family: Tunable,
        folds: list[_Fold],
        settings: ModelSettings,
        *,
        threads: int | None,
        progress: Progress,
    ) -> None:
        self.optuna, self.study, self.family, self.folds = optuna, study, family, folds
        self.settings, self.threads, self.progress = settings, threads, progress

    def ended(self) -> list[Any]:
        """Trials that were judged, whole or in part."""
        state = self.optuna.trial.TrialState
        trials: list[Any] = self.study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))
        return trials

    def go_on(self, wanted: int) -> None:
        """Make trials until there are as many as wanted."""
        state = self.optuna.trial.TrialState
        for left_over in self.study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            self.study.tell(left_over.number, state=state.FAIL, skip_if_finished=True)
        for number in range(len(self.ended()), wanted):
            self.study.sampler = self.optuna.samplers.TPESampler(
                seed=self.settings.seed + number, n_startup_trials=STARTUP, multivariate=True
            )
            self._try(number, wanted)
        self.progress("tune", 1.0)

    def _try(self, number: int, wanted: int) -> None:
        trial = self.study.ask()
        tried, losses = self.family.tuned(_drawn(trial, self.family)), []
        for place, fold in enumerate(self.folds):
            losses.append(float(self._loss(tried, fold).mean()))
            self.progress("tune", (number + (place + 1) / len(self.folds)) / wanted)
            trial.report(float(np.mean(losses)), place)
            if place + 1 < len(self.folds) and trial.should_prune():
                self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
                return
        self.study.tell(trial, float(np.mean(losses)))

    def losses(self, family: Any, folds: Iterable[_Fold]) -> list[Vector]:
        """Of every judging row of every fold."""
        return [self._loss(family, fold) for fold in folds]

    def _loss(self, family: Any, fold: _Fold) -> Vector:
        seed = self.settings.seed
        crossed = family.cross_fit(fold.examples, fold.inner, seed=seed, threads=self.threads)
        model = family.fit(fold.examples, crossed.choice, seed=seed, threads=self.threads)
        probability = correct_prior(model.predict_proba(fold.matrix), fold.examples.prior_shift)
        return row_log_loss(fold.label, probability)


def _concluded(search: _Search, judges: list[_Fold], resumed: int, how: How, *, is_apart: bool) -> Tuning:
    trials, state = search.ended(), search.optuna.trial.TrialState
    pruned = sum(trial.state == state.PRUNED for trial in trials)
    best = dict(search.study.best_trial.params) if pruned < len(trials) else {}
    default = search.losses(search.family, judges)
    found = search.losses(search.family.tuned(best), judges) if best else default
    gain, error = _gain(default, found, judges)
    needed = error * (1.0 if is_apart else max(1.0, math.sqrt(2 * math.log(len(trials)))))
    return Tuning(
        family=search.settings.family,
        trials=len(trials),
        pruned=pruned,
        resumed=min(resumed, len(trials)),
        folds=len(search.folds),
        how=how,
        is_apart=is_apart,
        default_loss=_mean(default),
        best_loss=_mean(found),
        gain=gain,
        gain_error=error,
        needed=needed,
        parameters=best if gain > needed else {},
    )


def _mean(losses: list[Vector]) -> float:
    """Every fold counts the same, as in the search."""
    return float(np.mean([loss.mean() for loss in losses]))


def _gain(default: list[Vector], found: list[Vector], folds: list[_Fold]) -> tuple[float, float]:
    """Mean fall of the loss and its standard error; all rows of a customer, in all folds, are one observation."""
    fall = np.concatenate([(a - b) / len(a) / len(folds) for a, b in zip(default, found, strict=True)])
    centred = np.concatenate(
        [(a - b - (a - b).mean()) / len(a) / len(folds) for a, b in zip(default, found, strict=True)]
    )
    by_customer = np.bincount(np.concatenate([fold.customer for fold in folds]), centred)
    return float(fall.sum()), float(np.sqrt((by_customer**2).sum()))


def _encoded(training: Frame, learn: Flags, judge: Flags, settings: ModelSettings) -> _Fold:
    earlier, later = training.take(learn), training.take(judge)
    encoder, group = Encoder.fit(earlier.features), earlier.group()
    matrix, rebalance = encoder.transform(earlier.features), find_rebalance(settings)
    return _Fold(
        examples=Examples(matrix, earlier.label, group, encoder.layout, rebalance=rebalance),
        inner=customer_folds(group, earlier.label, folds=INNER_FOLDS, seed=settings.seed),
        matrix=encoder.transform(later.features),
        label=later.label,
        customer=training.group()[judge],
    )


def _drawn(trial: Any, family: Tunable) -> dict[str, float]:
    """A value for every parameter, proposed by the study."""
    suggest: Callable[..., float]
    drawn = {}
    for name, span in family.space.items():
        low, high = (int(span.low), int(span.high)) if span.is_whole else (span.low, span.high)
        suggest = trial.suggest_int if span.is_whole else trial.suggest_float
        drawn[name] = suggest(name, low, high, log=span.is_log)
    return drawn


def _name(
    training: Frame, split: Split, settings: ModelSettings, fingerprint: str, folds: Sequence[ForwardFold]
) -> str:
    family = settled_family(settings.family, settings)
    space = {name: asdict(span) for name, span in family.space.items()} if isinstance(family, Tunable) else {}
    depends = {
        "fingerprint": fingerprint,
        "features": training.features.column_names,
        "rows": training.rows,
        "train": [cutoff.isoformat() for cutoff in split.train],
        "settings": settings.model_dump(mode="json", exclude={"tune", "fallback", "calibrate"}),
        "space": space,
        "folds": [[int(fold.learn.sum()), int(fold.judge.sum())] for fold in folds],
    }
    return f"{settings.family}-{hashlib.sha256(canonical(depends)).hexdigest()[:16]}"


def _open(optuna: Any, folder: Path, name: str) -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"{name}.log"
    _mend(journal)
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    try:
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=name,
            direction="minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The journal {folder.name}/{name}.log of an earlier search cannot be read ({error!r}).",
            hint="Remove that file; the search then starts anew.",
        ) from error


def _mend(journal: Path) -> None:
    """Cut off a line that a kill left half written: what is appended next would become part of it."""
    if journal.exists() and not (written := journal.read_bytes()).endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(written.rfind(b"\n") + 1)
