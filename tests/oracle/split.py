"""What a split by time must satisfy, as predicates that name the offenders.

What enters: blocks of cutoffs in the order train, calibrate, test, and the span on which a cutoff is judged. What
leaves: the violations, empty where the split is sound. Invariant: nothing here chooses a split; it only judges one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import combinations

Cutoffs = Sequence[datetime]


def embargo_violations(
    blocks: Sequence[Cutoffs], gap: timedelta, horizon: timedelta
) -> list[tuple[datetime, datetime]]:
    """Return pairs of an earlier block's cutoff and a later block's first cutoff that its label reaches past.

    The judged span is ``[t + gap, t + gap + horizon)``: ending exactly at the later cutoff is allowed.
    """
    return [
        (cutoff, min(later))
        for earlier, later in combinations([block for block in blocks if block], 2)
        for cutoff in earlier
        if cutoff + gap + horizon > min(later)
    ]


def shared_cutoffs(blocks: Sequence[Cutoffs]) -> set[datetime]:
    """Return the cutoffs that more than one block owns."""
    return {cutoff for one, other in combinations(blocks, 2) for cutoff in set(one) & set(other)}


def out_of_order(blocks: Sequence[Cutoffs]) -> list[tuple[datetime, datetime]]:
    """Return pairs (last of an earlier block, first of a later block) that do not increase."""
    return [
        (max(earlier), min(later))
        for earlier, later in combinations([block for block in blocks if block], 2)
        if max(earlier) >= min(later)
    ]


def unknown_cutoffs(blocks: Sequence[Cutoffs], candidates: Collection[datetime]) -> set[datetime]:
    """Return chosen cutoffs that were not among the matured candidates."""
    return {cutoff for block in blocks for cutoff in block} - set(candidates)


def is_sound(
    blocks: Sequence[Cutoffs],
    candidates: Collection[datetime],
    gap: timedelta,
    horizon: timedelta,
) -> bool:
    """Say whether a split uses matured cutoffs only, in order, once each, and keeps every embargo."""
    return not (
        embargo_violations(blocks, gap, horizon)
        or shared_cutoffs(blocks)
        or out_of_order(blocks)
        or unknown_cutoffs(blocks, candidates)
    )


def customers_in_two_folds(folds: Iterable[tuple[str, int]]) -> set[str]:
    """Return the customers whose rows a customer-grouped cross-fit put into more than one fold."""
    home: dict[str, int] = {}
    return {customer for customer, fold in folds if home.setdefault(customer, fold) != fold}
