"""How all features of a layout are finished in few steps, worked out once.

Enters: a layout. Leaves: its `Recipe`: which columns of which series are added up or compared over the rings of their
windows, which of the results are taken as *cells*, which cells are divided by which to give *terms*, and which term, or
quotient of two terms, is which feature. Whoever follows it takes as many steps for one feature as for a hundred.

Invariant: a recipe depends on the layout alone, and names every windowed feature once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.features.series import Layout, Reading

__all__ = ["DAYS", "Block", "Recipe", "recipe_of"]

DAYS = "days"  # no part is called so
_EXTREMES = frozenset({"min", "max"})
_APART = frozenset({"std", "first", "last"})


@dataclass(frozen=True)
class Block:
    """Columns of series with the same windows that are reduced over rings together, and the cells to take.

    Parameters
    ----------
    group : tuple of int
        The series.
    columns : tuple of tuple of str
        Of every series, the columns.
    at : tuple of arrays
        Of every cell its column's number, the number of its series, and its ring.
    are_extremes : bool
        Whether they are minima and maxima rather than what adds up.
    """

    group: tuple[int, ...]
    columns: tuple[tuple[str, ...], ...]
    at: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    are_extremes: bool

    @functools.cached_property
    def signs(self) -> NDArray[np.float64]:
        """-1 for cells of maxima, which are minima of what is opposite."""
        taken = (self.columns[number][row] for row, number in zip(*self.at[:2], strict=True))
        return np.array([[-1.0 if name.endswith(".max") else 1.0] for name in taken])


@dataclass(frozen=True)
class Recipe:
    """The steps; cell 0 is the constant 1.

    Parameters
    ----------
    blocks : tuple of Block
        What gives the cells, in their order.
    above, below : int64 arrays
        The cells of each term.
    apart : tuple of (Reading, int, int)
        Terms that follow, worked out one by one, with the cells of their sum and count.
    plain : mapping of str to int
        Features that are a term.
    trends : mapping of str to (int, int)
        Features that are a quotient of two.
    lifetimes : tuple of (str, Reading)
        Features that are about all history and have no windows.
    """

    blocks: tuple[Block, ...]
    above: NDArray[np.int64]
    below: NDArray[np.int64]
    apart: tuple[tuple[Reading, int, int], ...]
    plain: Mapping[str, int]
    trends: Mapping[str, tuple[int, int]]
    lifetimes: tuple[tuple[str, Reading], ...]

    @functools.cached_property
    def lives(self) -> frozenset[int]:
        """The series that those without windows are about."""
        return frozenset(reading.place for _, reading in self.lifetimes)

    @functools.cached_property
    def trend_terms(self) -> NDArray[np.int64]:
        """Of the trends in their order: the terms above, and those below."""
        return np.array(list(self.trends.values()), dtype=np.int64).reshape(-1, 2).T


@functools.lru_cache(maxsize=64)
def recipe_of(layout: Layout) -> Recipe:
    """The recipe of a layout.

    Examples
    --------
    >>> from datetime import timedelta
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> week = timedelta(days=7)
    >>> recipe = recipe_of(Layout.of(FeatureSet((Feature("pay", "mean", "amount", week),))))
    >>> recipe.blocks[0].columns, recipe.above.tolist(), recipe.below.tolist(), recipe.plain
    ((('amount.present', 'amount.sum'),), [2], [1], {'pay_amount_mean_7d': 0})
    """
    cells = _Cells(layout)
    usual = list(dict.fromkeys(one for one in map(_alone, layout.windowed) if one.op not in _APART))
    apart = list(dict.fromkeys(one for one in map(_alone, layout.windowed) if one.op in _APART))
    terms = {one: number for number, one in enumerate(usual + apart)}
    pairs = np.array([_pair(cells, one) for one in usual], dtype=np.int64).reshape(-1, 2)
    windowed = {name: one for name, one in layout.readings.items() if _alone(one) in terms}
    return Recipe(
        cells.blocks,
        pairs[:, 0],
        pairs[:, 1],
        tuple((one, *(_mean(cells, one) if one.op == "std" else (0, 0))) for one in apart),
        {name: terms[_alone(one)] for name, one in windowed.items() if one.over is None},
        {name: (terms[_alone(one)], terms[one.over]) for name, one in windowed.items() if one.over is not None},
        tuple((name, one) for name, one in layout.readings.items() if name not in windowed),
    )


def _alone(reading: Reading) -> Reading:
    return Reading(reading.op, reading.place, reading.value, reading.ring)


def _pair(cells: _Cells, reading: Reading) -> tuple[int, int]:
    """The cells that a term is the quotient of."""
    if reading.op == "mean":
        return _mean(cells, reading)
    return cells.number(reading, {"count": "rows", "active_days": DAYS}.get(reading.op, reading.op)), 0


def _mean(cells: _Cells, reading: Reading) -> tuple[int, int]:
    return cells.number(reading, "sum"), cells.number(reading, "present")


class _Cells:
    """Numbers the cells that a layout needs."""

    def __init__(self, layout: Layout) -> None:
        self._groups = layout.groups
        needed = dict.fromkeys(cell for one in layout.windowed for cell in _needed(one))
        by_block: dict[tuple[tuple[int, ...], bool], list[tuple[int, str, int]]] = {}
        for place, name, ring in sorted(needed):
            are_extremes = name.rpartition(".")[2] in _EXTREMES
            by_block.setdefault((layout.groups[place], are_extremes), []).append((place, name, ring))
        self.blocks = tuple(_block(group, are_extremes, taken) for (group, are_extremes), taken in by_block.items())
        ordered = [cell for taken in by_block.values() for cell in taken]
        self._numbers = {cell: number for number, cell in enumerate(ordered, start=1)}

    def number(self, reading: Reading, what: str) -> int:
        return self._numbers[_cell(reading, what)]


def _cell(reading: Reading, what: str) -> tuple[int, str, int]:
    return reading.place, f"{reading.value}.{what}" if reading.value else what, reading.ring


def _needed(reading: Reading) -> Iterable[tuple[int, str, int]]:
    whats = {"count": ("rows",), "active_days": (DAYS,), "first": (), "last": ()}
    whats |= dict.fromkeys(("mean", "std"), ("sum", "present"))
    return [_cell(reading, what) for what in whats.get(reading.op, (reading.op,))]


def _block(group: tuple[int, ...], are_extremes: bool, taken: list[tuple[int, str, int]]) -> Block:
    columns = tuple(tuple(dict.fromkeys(name for place, name, _ in taken if place == one)) for one in group)
    at: Any = [(columns[group.index(place)].index(name), group.index(place), ring) for place, name, ring in taken]
    rows, numbers, rings = np.array(at, dtype=np.int64).T
    return Block(group, columns, (rows, numbers, rings), are_extremes)
