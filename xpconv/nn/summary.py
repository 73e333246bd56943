"""What a network is made of, layer by layer, as a record that prints and shows itself in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xpconv import _html

HEADINGS = ("layer", "kind", "output", "parameters", "multiplications", "output bytes")


@dataclass(frozen=True)
class LayerSummary:
    """One layer, for one input.

    Attributes
    ----------
    name, kind : str
        Its name in the network and its class.
    shape : tuple of int
        Its output's, without the batch axis.
    parameters : int
        How many numbers it learns.
    multiplications : int
        Products of a weight and a number, those on padding included; 0 of a layer of somebody else's that does not say.
    size : int
        Bytes of its output.

    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiplications: int
    size: int

    def cells(self) -> tuple[str, ...]:
        """Write the texts of the row, as HEADINGS has them."""
        shape = " × ".join(map(str, self.shape))
        return self.name, self.kind, shape, *(f"{n:,}" for n in (self.parameters, self.multiplications, self.size))


@dataclass(frozen=True)
class Summary:
    """A network, for one input of `input_shape`: prints as a table, and shows as one in a notebook.

    Attributes
    ----------
    input_shape : tuple of int
        Without the batch axis.
    layers : tuple of LayerSummary
        In order.

    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Count the numbers that are learned."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiplications(self) -> int:
        """Count the products for one input."""
        return sum(layer.multiplications for layer in self.layers)

    @property
    def size(self) -> int:
        """Count the bytes of all outputs of one input, which training keeps."""
        return sum(layer.size for layer in self.layers)

    def _rows(self) -> Sequence[tuple[str, ...]]:
        total = ("all", "", "", *(f"{n:,}" for n in (self.parameters, self.multiplications, self.size)))
        return [*(layer.cells() for layer in self.layers), total]

    def __str__(self) -> str:
        rows = [HEADINGS, *self._rows()]
        widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
        lines = [f"input {' × '.join(map(str, self.input_shape))}"]
        for row in rows:
            words = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join([*words, *numbers]))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = self._rows()
        caption = f"input {' × '.join(map(str, self.input_shape))}"
        return _html.table(HEADINGS, rows, caption=caption, strong=[len(rows) - 1])


def products(weight_size: int, features: int, output_shape: tuple[int, ...]) -> int:
    """Count the products of a layer that uses its whole weight once for each pixel of its output."""
    return weight_size * math.prod(output_shape) // features
