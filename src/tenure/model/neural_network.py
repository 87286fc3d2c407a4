"""Small networks side by side, as numbers: what they answer needs numpy alone.

Enters: inputs and codes from `tenure.model.neural_intake`. Leaves: log odds, the mean over the networks. Invariant: a
row's log odds are the same to the last bit alone and among millions.

That needs care: a product of matrices adds in another order when it has another shape. So rows are always multiplied in
blocks of `BLOCK`, the last one filled up, and a block of one shape is always computed in one way. Everything is
float64, so that another processor's order of addition is felt in the fifteenth digit and not in the seventh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tenure.model.document import refused
from tenure.model.neural_intake import Codes
from tenure.model.protocol import Vector

__all__ = ["BLOCK", "Network"]

BLOCK = 32
Tensor = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Network:
    """Weights of several networks with two hidden layers each; float32, the first axis counts networks.

    Parameters
    ----------
    embeddings : tuple of array (networks, codes, size)
        One per category column.
    first, second, last : array (networks, from, to)
        Weights of the layers.
    first_bias, second_bias, last_bias : array (networks, to)
        What is added to them.

    Examples
    --------
    >>> one = np.ones
    >>> network = Network(
    ...     (), *(one((2, 3, 4)), one((2, 4))), *(one((2, 4, 2)), one((2, 2))), *(one((2, 2, 1)), one((2, 1)))
    ... )
    >>> network.margin(np.zeros((1, 3)), np.zeros((1, 0), np.int64)).tolist()
    [11.0]
    """

    embeddings: tuple[Tensor, ...]
    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    last: Tensor
    last_bias: Tensor

    def margin(self, inputs: Vector, codes: Codes) -> Vector:
        """Mean log odds of each row, float64 (rows,)."""
        rows, networks = len(inputs), len(self.first)
        margin = np.empty(rows)
        for start in range(0, rows, BLOCK):
            part = slice(start, min(start + BLOCK, rows))
            fed = np.zeros((networks, BLOCK, self.first.shape[1]))
            fed[:, : part.stop - start] = self._fed(inputs[part], codes[part])
            margin[part] = _forward(self._exact, fed)[: part.stop - start]
        return margin

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights by name, as they are stored."""
        found = {f"embedding.{place}": table for place, table in enumerate(self.embeddings)}
        return found | {name: getattr(self, name) for name in _LAYERS}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], width: int, counts: tuple[int, ...]) -> Self:
        """Read what `tensors` gave.

        Parameters
        ----------
        tensors : mapping of str to array
            By name.
        width : int
            How many inputs numbers become.
        counts : tuple of int
            Codes of each category column, missing included.

        Raises
        ------
        ArtifactError
            A tensor is missing, is of another type, or does not fit the others.
        """
        names = [f"embedding.{place}" for place in range(len(counts))]
        for name in (*names, *_LAYERS):
            if name not in tensors or tensors[name].dtype != np.float32 or not np.isfinite(tensors[name]).all():
                raise refused(f"model.safetensors has no tensor {name!r} of finite float32 numbers.", tensor=name)
        embeddings = tuple(tensors[name] for name in names)
        network = cls(embeddings, **{name: tensors[name] for name in _LAYERS})
        if not network._fits(width, counts):
            shapes = {name: tensor.shape for name, tensor in tensors.items()}
            raise refused(f"model.safetensors: the shapes {shapes} do not fit each other.")
        return network

    @cached_property
    def _exact(self) -> tuple[Vector, ...]:
        return tuple(layer.astype(np.float64) for layer in self._layers)

    @property
    def _layers(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, name) for name in _LAYERS)

    def _fed(self, inputs: Vector, codes: Codes) -> Vector:
        """Inputs and embeddings of rows, float64 (networks, rows, width)."""
        shared = np.broadcast_to(inputs, (len(self.first), *inputs.shape))
        return np.concatenate([shared, *(table[:, codes[:, place]] for place, table in enumerate(self.embeddings))], -1)

    def _fits(self, width: int, counts: tuple[int, ...]) -> bool:
        networks = len(self.first)
        if any(table.ndim != 3 for table in (*self.embeddings, self.first, self.second, self.last)):
            return False
        width += sum(table.shape[2] for table in self.embeddings)
        one, two = self.first.shape[2], self.second.shape[2]
        wanted: tuple[Any, ...] = ((networks, width, one), (networks, one), (networks, one, two), (networks, two),
                                   (networks, two, 1), (networks, 1))  # fmt: skip
        tables = all(table.shape[:2] == (networks, count) for table, count in zip(self.embeddings, counts, strict=True))
        return tables and networks > 0 and tuple(layer.shape for layer in self._layers) == wanted


_LAYERS = tuple(field.name for field in fields(Network) if field.name != "embeddings")


def _forward(layers: tuple[Vector, ...], fed: Vector) -> Vector:
    first, first_bias, second, second_bias, last, last_bias = layers
    hidden = np.maximum(fed @ first + first_bias[:, None], 0.0)
    hidden = np.maximum(hidden @ second + second_bias[:, None], 0.0)
    found = (hidden * last[:, None, :, 0]).sum(axis=-1) + last_bias
    return np.asarray(found.mean(axis=0), dtype=np.float64)
