"""A smooth function of one number that takes long to compute, as polynomials that take short: for the rows of a table, which ask for it at any place.

Chebyshev interpolation on pieces (Trefethen, "Approximation Theory and Approximation Practice", 2013, chapters 4 to 8): between its nodes the polynomial is as close as
it is anywhere, and on a piece without kinks the error falls geometrically with the number of nodes.

Belongs here: making and evaluating such curves. Does not belong here: which functions (`calibration`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sales_pipeline.models.matrix import Floats

NODES = 12
MOST_PIECES = 10_000
NARROWEST = 1e-6
"""Half the width below which a piece is not halved again: what is left is the rounding of places."""
_AT = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
_BETWEEN = np.cos(np.pi * np.arange(NODES + 1) / NODES)


@dataclass(frozen=True)
class Curve:
    """Piece i reaches from `ends[i]` to `ends[i + 1]`; `coefficients` (powers, pieces), highest first, are of the place in the piece, from -1 to 1."""

    ends: Floats
    coefficients: Floats

    @classmethod
    def through(cls, function: Callable[[Floats], Floats], ends: Floats, *, tolerance: float) -> Curve:
        """The curve of a function between the first and the last of `ends`, between any two of which it must be smooth.

        Pieces are halved until the curve is within `tolerance` of the function halfway between its nodes, or `NARROWEST`. ValueError where that
        takes more than `MOST_PIECES`.
        """
        waiting = np.array([ends[:-1], ends[1:]])
        found: list[tuple[float, Floats]] = []
        from_values = np.linalg.inv(np.vander(_AT))
        while waiting.size:
            middle, half = waiting.mean(axis=0), np.diff(waiting, axis=0)[0] / 2.0
            coefficients = from_values @ function(middle + half * _AT[:, None])
            off = np.abs(np.vander(_BETWEEN, NODES) @ coefficients - function(middle + half * _BETWEEN[:, None]))
            is_done = (off.max(axis=0) <= tolerance) | (half < NARROWEST)
            found += zip(waiting[0, is_done].tolist(), coefficients.T[is_done], strict=True)
            (low, high), middle = waiting[:, ~is_done], middle[~is_done]
            waiting = np.hstack([[low, middle], [middle, high]])
            if len(found) + len(middle) > MOST_PIECES:
                raise ValueError(
                    f"a curve needs a function that is smooth between {ends[0]:g} and {ends[-1]:g}, apart from its ends of pieces"
                )
        found.sort(key=lambda piece: piece[0])
        return cls(
            np.array([*(start for start, _ in found), ends[-1]]), np.array([values for _, values in found]).T.copy()
        )

    def __call__(self, x: Floats) -> Floats:
        """The function at places between the ends."""
        piece = np.clip(np.searchsorted(self.ends, x, side="right") - 1, 0, len(self.ends) - 2)
        middle, half = (self.ends[:-1] + self.ends[1:]) / 2.0, np.diff(self.ends) / 2.0
        place = (x - middle[piece]) / half[piece]
        value = self.coefficients[0][piece]
        for coefficients in self.coefficients[1:]:
            value *= place
            value += coefficients[piece]
        return np.asarray(value)
