"""On which side of a line a point lies: never wrong, whatever the rounding.

The plain product of differences settles all but one case in a million. What its rounding error could
turn is computed again without any: each difference and product of doubles is the sum of two doubles
(Dekker, Knuth), and the sum of the sixteen parts is added without loss (Shewchuk 1997, grow-expansion).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.compiled import bare_kernel

Floats = NDArray[np.float64]

#: so many doubles hold any sum that is met here
PARTS = 17
#: rounding of the plain product is at most 3.4e-16 of its parts (Shewchuk's ccwerrboundA)
SIDE_ERROR = 1e-15
_SPLITTER = 134_217_729.0  # 2^27 + 1


@bare_kernel
def side(ax: float, ay: float, bx: float, by: float, x: float, y: float, parts: Floats) -> int:
    """1 where (x, y) lies left of the line from a to b, -1 where right, 0 where on it; exact.

    `parts` is scratch, `PARTS` doubles of this thread's own.
    """
    left = (bx - ax) * (y - ay)
    right = (by - ay) * (x - ax)
    turn = left - right
    if abs(turn) > SIDE_ERROR * (abs(left) + abs(right)):
        return 1 if turn > 0 else -1
    return _exact_side(ax, ay, bx, by, x, y, parts)


@bare_kernel
def _exact_side(ax: float, ay: float, bx: float, by: float, x: float, y: float, parts: Floats) -> int:
    count = _add_product(parts, 0, bx, ax, y, ay, 1.0)
    count = _add_product(parts, count, by, ay, x, ax, -1.0)
    for place in range(count - 1, -1, -1):  # the largest part that is not nought tells the sign
        if parts[place] != 0.0:
            return 1 if parts[place] > 0 else -1
    return 0


@bare_kernel
def _add_product(parts: Floats, count: int, p: float, q: float, r: float, s: float, sign: float) -> int:
    """Add sign × (p - q) × (r - s) to an expansion; returns its length."""
    high1, low1 = _difference(p, q)
    high2, low2 = _difference(r, s)
    for u in (low1, high1):
        for v in (low2, high2):
            product, error = _product(u * sign, v)
            count = _grow(parts, count, error)
            count = _grow(parts, count, product)
    return count


@bare_kernel
def _grow(parts: Floats, count: int, more: float) -> int:
    """Add one double to an expansion without loss."""
    total = more
    for place in range(count):
        before = parts[place]
        new = total + before
        virtual = new - total
        parts[place] = (total - (new - virtual)) + (before - virtual)
        total = new
    parts[count] = total
    return count + 1


@bare_kernel
def _difference(p: float, q: float) -> tuple[float, float]:
    """p - q as the rounded difference and its error."""
    high = p - q
    virtual = p - high
    back = high + virtual
    return high, (p - back) + (virtual - q)


@bare_kernel
def _product(p: float, q: float) -> tuple[float, float]:
    """p × q as the rounded product and its error."""
    product = p * q
    c = _SPLITTER * p
    p_high = c - (c - p)
    p_low = p - p_high
    c = _SPLITTER * q
    q_high = c - (c - q)
    q_low = q - q_high
    error = p_low * q_low - (((product - p_high * q_high) - p_low * q_high) - p_high * q_low)
    return product, error
