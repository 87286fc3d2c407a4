"""How the networks learn: PyTorch, on a GPU where there is one.

Enters: inputs, codes, labels and weights of the rows to learn from. Leaves: a `Network` after each epoch. Invariant:
the global state of PyTorch (seeds, number of threads) is as it was, and on one processor the same rows, settings and
seed give the same weights however many threads there are.

Several networks learn side by side, each with starting weights, an order of rows and dropout of its own; together they
are steadier than one. Their steps are AdamW's (Loshchilov and Hutter 2019). What leaves is not the last step's weights
but their running mean over about an epoch, which wanders less (Polyak and Juditsky 1992): epochs can then be compared,
and the best one is no accident of its last rows.

Embeddings begin at zero. So a category that no training row has, or hardly one, stays close to saying nothing.

The networks are so small that sharing a product of matrices among threads gains little, and would make sums depend on
how many there are; a CPU therefore uses one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenure.core.extras import require
from tenure.model.neural_intake import Codes
from tenure.model.neural_network import Network
from tenure.model.protocol import Flags, Vector

__all__ = ["Lesson", "NeuralSettings", "Training"]

_MOST_SIZE = 16


@dataclass(frozen=True)
class NeuralSettings:
    """How networks look and learn; the defaults held up on every data set that was tried.

    Parameters
    ----------
    hidden : tuple of int
        Units of the two hidden layers.
    bins : int
        Inputs that a number becomes at most.
    networks : int
        Networks of the final model.
    networks_to_choose : int
        Networks per fold while epochs are chosen.
    dropout : float
        Share of hidden units that a step leaves out.
    learning_rate, weight_decay : float
        Of AdamW.
    patience : int
        Epochs without a lower loss before training stops.
    most_epochs : int
        Epochs at most.
    most_rows : int
        Rows to learn from; of more, whole customers are drawn.
    """

    hidden: tuple[int, int] = (128, 64)
    bins: int = 12
    networks: int = 4
    networks_to_choose: int = 2
    dropout: float = 0.25
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    patience: int = 6
    most_epochs: int = 100
    most_rows: int = 200_000


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows to learn from.

    Parameters
    ----------
    inputs : float64 array (rows, width)
        From `Intake.inputs`.
    codes : int64 array (rows, category columns)
        From `Intake.codes`.
    counts : tuple of int
        How many codes each category column has, missing included.
    label : bool array (rows,)
        Whether the customer was lost.
    weight : float64 array (rows,), optional
        How much each row counts.
    """

    inputs: Vector
    codes: Codes
    counts: tuple[int, ...]
    label: Flags
    weight: Vector | None


class Training:
    """Networks that learn.

    Parameters
    ----------
    lesson : Lesson
        What they learn from.
    settings : NeuralSettings
        How.
    networks : int
        How many side by side.
    seed : int
        Of starting weights, orders of rows and dropout.
    """

    def __init__(self, lesson: Lesson, settings: NeuralSettings, networks: int, seed: int) -> None:
        self._torch = torch = require("torch")
        self._settings, self._networks = settings, networks
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._chance = np.random.default_rng(seed)
        self._dropout = torch.Generator(device=self._device).manual_seed(seed)
        self._inputs = self._put(lesson.inputs.astype(np.float32))
        self._codes = self._put(lesson.codes)
        self._label = self._put(lesson.label.astype(np.float32))
        weight = np.ones(len(lesson.label)) if lesson.weight is None else lesson.weight / lesson.weight.mean()
        self._weight = self._put(weight.astype(np.float32))
        self._counts, self._rows = lesson.counts, len(lesson.label)
        self._batch = int(2 ** np.clip(np.round(np.log2(self._rows / 64)), 5, 10))
        self._sizes = [int(min(_MOST_SIZE, np.ceil(1.6 * count**0.5))) for count in lesson.counts]
        self._weights = self._begin()
        self._means = [weight.detach().clone() for weight in self._weights]
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )

    def epoch(self) -> None:
        """Let every network see every row once."""
        steps = -(-self._rows // self._batch)
        orders = np.stack([self._order(steps * self._batch) for _ in range(self._networks)])
        with _one_thread(self._torch):
            for rows in np.split(orders, steps, axis=1):
                self._step(self._put(rows))
                for mean, weight in zip(self._means, self._weights, strict=True):
                    mean.lerp_(weight.detach(), max(1 / steps, 0.02))

    def network(self) -> Network:
        """The networks as they are now, the running mean of their weights."""
        tables = len(self._counts)
        found = [mean.cpu().numpy().copy() for mean in self._means]
        return Network(tuple(found[:tables]), *found[tables:])

    def _begin(self) -> list[Any]:
        """Embeddings at zero; layers drawn so that signals keep their size (He et al. 2015)."""
        one, two = self._settings.hidden
        width, networks = self._inputs.shape[1] + sum(self._sizes), self._networks
        shapes = [(networks, count, size) for count, size in zip(self._counts, self._sizes, strict=True)]
        weights = [np.zeros(shape) for shape in shapes]
        for above, below in ((width, one), (one, two), (two, 1)):
            drawn = self._chance.normal(size=(networks, above, below)) * np.sqrt(2 / above)
            weights += [drawn if below > 1 else drawn * 0.1, np.zeros((networks, below))]
        rate = float((self._label * self._weight).sum() / self._weight.sum())
        weights[-1] += np.log((rate + 1e-3) / (1 - rate + 1e-3))  # the rate of all rows, before anything is known
        return [self._put(weight.astype(np.float32)).requires_grad_() for weight in weights]

    def _order(self, wanted: int) -> Codes:
        """Rows in a random order, the first ones again where a batch is not full."""
        order = self._chance.permutation(self._rows)
        return np.asarray(order[np.arange(wanted) % self._rows], dtype=np.int64)

    def _step(self, rows: Any) -> None:
        torch = self._torch
        margin = self._margin(rows)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            margin, self._label[rows], weight=self._weight[rows], reduction="none"
        )
        self._optimizer.zero_grad()
        loss.mean(dim=1).sum().backward()  # each network has its own loss; their gradients do not meet
        self._optimizer.step()

    def _margin(self, rows: Any) -> Any:
        """Log odds of each network's own rows, (networks, rows)."""
        torch, tables = self._torch, len(self._counts)
        parts = [self._inputs[rows]]
        for place, (table, count) in enumerate(zip(self._weights[:tables], self._counts, strict=True)):
            start = torch.arange(self._networks, device=self._device)[:, None] * count
            parts.append(torch.nn.functional.embedding(self._codes[rows][..., place] + start, table.flatten(0, 1)))
        first, first_bias, second, second_bias, last, last_bias = self._weights[tables:]
        hidden = self._thinned(torch.relu(torch.baddbmm(first_bias[:, None], torch.cat(parts, -1), first)))
        hidden = self._thinned(torch.relu(torch.baddbmm(second_bias[:, None], hidden, second)))
        return torch.baddbmm(last_bias[:, None], hidden, last)[..., 0]

    def _thinned(self, hidden: Any) -> Any:
        kept = 1 - self._settings.dropout
        drawn = self._torch.rand(hidden.shape, generator=self._dropout, device=self._device)
        return hidden * (drawn < kept) / kept

    def _put(self, values: Any) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


@contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
