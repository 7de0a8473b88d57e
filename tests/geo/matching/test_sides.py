"""Sides of lines, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from geo.matching.sides import PARTS, side


def test_no_point_is_ever_put_on_the_wrong_side():
    """Points on a line, or one rounding step beside it, where plain floats are often wrong."""
    rng = np.random.default_rng(1)
    parts = np.empty(PARTS)
    plainly_wrong = 0
    for _ in range(5_000):
        a = rng.uniform(-180, 180, 2)
        b = a + rng.uniform(-1, 1, 2) * 10.0 ** rng.integers(-12, 1)
        p = a + (b - a) * rng.choice([0.0, 0.5, 1 / 3, 1.0, rng.random()])
        if rng.random() < 0.5:  # through the origin, where points stand much closer than floats round
            far = rng.uniform(-90, 90, 2)
            a, b = -far, far * rng.choice([1.0, 0.5, 1 / 3])
            p = far * 10.0 ** rng.uniform(-20, -10)
        elif rng.random() < 0.5:
            p = np.nextafter(p, p + rng.choice([-1.0, 1.0], 2))
        ax, ay, bx, by, x, y = (Fraction(float(v)) for v in (*a, *b, *p))
        turn = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        wanted = (turn > 0) - (turn < 0)
        assert side(*a, *b, *p, parts) == wanted
        rounded = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
        plainly_wrong += np.sign(rounded) != wanted
    assert plainly_wrong > 50
