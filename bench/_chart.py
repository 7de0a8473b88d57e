"""A chart of how pings a second fall as fences grow: SVG, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

from bench._bars import short

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 64, 640, 36, 432
LABEL_STEP = 17
FONT = 'font-family="system-ui, sans-serif" font-size="13"'
#: the first is Nearcast's
COLOURS = (
    *("#c2410c", "#1d4ed8", "#0f766e", "#7c3aed", "#a16207"),
    *("#475569", "#be185d", "#4d7c0f", "#0e7490"),
)

#: label → fences → pings a second
Series = Mapping[str, Mapping[int, float]]


def drawn(series: Series) -> str:
    """The chart as an SVG document; ways without a figure are left out."""
    series = {label: points for label, points in series.items() if points}
    fences = sorted({count for points in series.values() for count in points})
    speeds = [value for points in series.values() for value in points.values()]
    low, high = math.floor(math.log10(min(speeds))), math.ceil(math.log10(max(speeds)))
    scale = _Scale(math.log10(fences[0]), math.log10(fences[-1]), low, max(high, low + 1))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
            f"<title>{escape('Pings a second on one core, by fences')}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            *_axes(scale, fences, low, max(high, low + 1)),
            *_lines(scale, series),
            "</svg>",
            "",
        ]
    )


class _Scale:
    """Powers of ten to pixels."""

    def __init__(self, west: float, east: float, low: float, high: float) -> None:
        self._west, self._wide = west, max(east - west, 1e-9)
        self._low, self._tall = low, high - low

    def x(self, fences: float) -> float:
        return LEFT + (math.log10(fences) - self._west) / self._wide * (RIGHT - LEFT)

    def y(self, per_s: float) -> float:
        return BOTTOM - (math.log10(per_s) - self._low) / self._tall * (BOTTOM - TOP)


def _axes(scale: _Scale, fences: list[int], low: int, high: int) -> Iterator[str]:
    for power in range(low, high + 1):
        y = scale.y(10.0**power)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#e2e8f0"/>'
        yield _text(LEFT - 8, y + 4, short(10**power), "end")
    for count in fences:
        x = scale.x(count)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{BOTTOM}" stroke="#e2e8f0"/>'
        yield _text(x, BOTTOM + 18, short(count), "middle")
    yield _text((LEFT + RIGHT) / 2, HEIGHT - 12, "fences", "middle")
    yield _text(LEFT - 48, TOP - 18, "pings/s, one core", "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#475569">{text}</text>'


def _lines(scale: _Scale, series: Series) -> Iterator[str]:
    ends = []
    for number, (label, points) in enumerate(series.items()):
        colour, wide = COLOURS[number % len(COLOURS)], 3.5 if number == 0 else 1.8
        places = [(scale.x(count), scale.y(value)) for count, value in sorted(points.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{wide:.1f}" fill="{colour}"/>'
        ends.append((places[-1], label, colour))
    at = -math.inf
    for (x, y), label, colour in sorted(ends, key=lambda end: end[0][1]):
        at = max(y, at + LABEL_STEP)  # labels do not lie on each other
        yield (
            f'<polyline points="{x + 5:.1f},{y:.1f} {RIGHT + 16},{at:.1f}" fill="none" '
            f'stroke="{colour}" stroke-dasharray="2 3"/>'
        )
        yield f'<text x="{RIGHT + 20}" y="{at + 4:.1f}" fill="{colour}">{escape(label)}</text>'
