"""What every reader of a training must know, as sentences.

Enters: prepared rows, what training made of them, the money. Leaves: sentences for the terminal and the report.
Invariant: whatever was left out, folded together, evened out, not counted or not used is said.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenure.app.frames import Prepared
from tenure.core.settings import ModelSettings
from tenure.model.families import AUTO
from tenure.model.imbalance import find_rebalance, imbalance_words
from tenure.model.train import Trained
from tenure.report.inputs import Money

__all__ = ["notes_of"]

_WEIGHTED = "ensemble"
_OF_MEMBERS = frozenset({_WEIGHTED, "chain", AUTO})


def notes_of(found: Prepared, trained: Trained, settings: ModelSettings, money: Money) -> tuple[str, ...]:
    """Everything to be said, the sources' own notes first.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from tenure.core.settings import ValueSettings
    >>> rows = SimpleNamespace(label=np.arange(10) < 2)
    >>> split = SimpleNamespace(blocks=lambda frame: SimpleNamespace(train=np.ones(10, bool)))
    >>> found = SimpleNamespace(notes=(), frame=rows, split=split)
    >>> trained = SimpleNamespace(notes=(), fallback=None, encoder=SimpleNamespace(dropped=(), columns=()))
    >>> notes_of(found, trained, ModelSettings(imbalance="weights"), Money(0.1, (), ValueSettings(capacity=0)))
    ('In learning, a churner counted as much as 4 stayers; probabilities are corrected for it (log odds -1.386).',
    'The capacity in [value] is 0, so nobody is contacted.')
    >>> settings = ModelSettings(members=("forest", "logistic"), weights=(0.5, 0.5))
    >>> notes_of(found, trained, settings, Money(0.1, (), ValueSettings()))
    ('[model] weights played no part: only an ensemble has them.',
    '[model] members played no part: only an ensemble, a chain and auto have them.')
    """
    models = (*trained.notes, *(trained.fallback.notes if trained.fallback else ()))
    columns, imbalance = _column_notes(trained), _imbalance_notes(found, settings)
    return (*found.notes, *models, *columns, *imbalance, *_unused_notes(settings), *_money_notes(money))


def _column_notes(trained: Trained) -> Iterator[str]:
    dropped = [f"{one.name} ({one.reason})" for one in trained.encoder.dropped]
    if dropped:
        yield f"Not used, because they carry nothing: {', '.join(dropped)}."
    for column in trained.encoder.columns:
        if column.folded_rows:
            yield f"{column.name} has {column.distinct:,} different values; {len(column.categories):,} are kept apart."


def _imbalance_notes(found: Prepared, settings: ModelSettings) -> Iterator[str]:
    train = found.split.blocks(found.frame).train
    words = imbalance_words(find_rebalance(settings), found.frame.label[train])
    if words:
        yield words


def _unused_notes(settings: ModelSettings) -> Iterator[str]:
    """Settings that wait for another family; a comparison may need them, so they are no error."""
    trained = {settings.family, settings.fallback}
    if settings.weights and _WEIGHTED not in trained:
        yield "[model] weights played no part: only an ensemble has them."
    if settings.members and not trained & _OF_MEMBERS:
        yield "[model] members played no part: only an ensemble, a chain and auto have them."


def _money_notes(money: Money) -> Iterator[str]:
    if money.unknown:
        yield (
            f"{money.unknown:,} rows of the test block have no value in {money.value.clv!r}: they are never contacted, "
            "and no profit counts them."
        )
    if money.value.capacity == 0:
        yield "The capacity in [value] is 0, so nobody is contacted."
