"""A plain map picture: fences true to scale, visits as heat, districts behind; one SVG, no script.

The SVG stands alone (its colours are attributes) and still follows a page that has a stylesheet:
every part bears a class `map-…`, and CSS wins over attributes; that is how `console.css` makes it
dark. It carries no `style`, script, link or font, so that any content policy lets it through.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import shapely

from api.console.map_frames import Floats, Frame, Ring, clusters, fit, graticule, scale_bar

Lang = Literal["ko", "en"]

ACCENT, ACCENT_DEEP = "#0f8b8d", "#0b5f66"
PAPER, LAND, BORDER, WATER, INK, FAINT, LINE = (
    *("#f3f5f6", "#fcfdfd", "#d5dbdf", "#dfe9ef", "#3d474f", "#8a959d", "#e6eaec"),
)
#: a rim in the colour of the ground, so that words can be read on lines
HALO = f' stroke="{LAND}" stroke-width="2.5" stroke-linejoin="round" paint-order="stroke"'
FONT = "system-ui, -apple-system, 'Noto Sans KR', 'Noto Sans CJK KR', sans-serif"
#: a fence is never drawn smaller than this; 100 m in a view of a whole city would vanish
LEAST_RADIUS_PX = 1.7
HEAT_PX = (3.5, 17.0)
HEAT_OPACITY = (0.16, 0.42)
#: per frame; of more, those with the highest values
MOST_FENCES = 2_000
MOST_INSETS = 3
NAME_PX, CROWD_PX, CAPTION_PX = 11, 7.0, 30.0
GAP_PX, STRIP_PX, INSET_PX = 12.0, 40.0, 0.26
_WORDS = {
    "ko": {
        "title": "매장 지도",
        "fence": "지오펜스 (실제 크기)",
        "visits": "방문",
        "fences": "{count:,}곳",
        "more": "그 밖의 {count:,}곳은 표에 있어요",
        "none": "아직 그릴 지오펜스가 없어요",
    },
    "en": {
        "title": "Map of the stores",
        "fence": "Geofence (true to scale)",
        "visits": "Visits",
        "fences": "{count:,} fences",
        "more": "{count:,} more are in the table",
        "none": "No geofences to draw yet",
    },
}
#: what XML 1.0 cannot hold, escaped or not
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class MapFence:
    """A fence to draw: a circle (`radius_m`) or a polygon (`rings`, holes by even-odd).

    Attributes:
        lon, lat: degrees; the centre, of a polygon a point that stands for it.
        radius_m: of a circle, None for a polygon.
        rings: each of shape (n, 2), lon and lat; see `rings_of`.
        value: what the heat shows, such as visits; 0: no heat.
    """

    name: str
    lon: float
    lat: float
    radius_m: float | None = None
    rings: tuple[Ring, ...] = ()
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MapRegion:
    """An area behind the fences. `city` titles the small maps; water is blue and bears no name."""

    name: str
    rings: tuple[Ring, ...]
    kind: Literal["land", "water"] = "land"
    city: str = ""


def rings_of(shape: shapely.Geometry) -> tuple[Ring, ...]:
    """All shells and holes of a Polygon or MultiPolygon, in lon/lat, as `MapFence` takes them."""
    return tuple(
        np.asarray(ring.coords, dtype=float)[:, :2]
        for part in shapely.get_parts(shape)
        for ring in (part.exterior, *part.interiors)
    )


def map_svg(
    *,
    fences: Sequence[MapFence],
    visits_by_fence: Mapping[str, float] | None = None,
    regions: Sequence[MapRegion] | None = None,
    width: int = 960,
    height: int = 640,
    lang: Lang = "ko",
) -> str:
    """The picture as one `<svg>` element, `width` × `height` px, scaling with its container.

    The largest group of fences (a city) fills the main frame; up to three others stand beside it,
    each at a scale of its own. What is left out is counted in the strip below.

    Args:
        visits_by_fence: values by fence name; they replace each `MapFence.value`, a missing name 0.
        regions: drawn in their order, the later above the earlier.
    Returns: markup that is safe to put into a page: every name is escaped.
    """
    if visits_by_fence is not None:
        fences = [replace(fence, value=visits_by_fence.get(fence.name, 0.0)) for fence in fences]
    words = _WORDS[lang]
    body = list(_picture(fences, regions or (), float(width), float(height), words))
    return (
        f'<svg class="map" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img" font-family="{FONT}">'
        f"<title>{words['title']}</title>{''.join(body)}</svg>"
    )


def _picture(
    fences: Sequence[MapFence],
    regions: Sequence[MapRegion],
    width: float,
    height: float,
    words: Mapping[str, str],
) -> Iterator[str]:
    if not fences:
        yield _rect("map-paper", 0, 0, width, height, PAPER)
        yield _text("map-faint", width / 2, height / 2, words["none"], 14, FAINT, "middle")
        return
    points = np.array([(fence.lon, fence.lat) for fence in fences])
    reach_m = np.array([_reach_m(fence) for fence in fences])
    groups = clusters(points)[: 1 + MOST_INSETS]
    most = max(fence.value for fence in fences)
    frames = _frames([(points[rows], reach_m[rows]) for rows in groups], width, height)
    drawn = 0
    for number, (frame, rows) in enumerate(zip(frames, groups, strict=True)):
        inside = sorted((fences[row] for row in rows), key=lambda fence: -fence.value)
        drawn += len(inside[:MOST_FENCES])
        title = _city(frame, regions) if number else ""
        caption = f"{title} {words['fences'].format(count=len(inside))}".strip() if number else ""
        yield _window(frame, inside[:MOST_FENCES], regions, most, caption)
    yield from _strip(width, height, frames[0], most, len(fences) - drawn, words)


def _frames(groups: Sequence[tuple[Ring, Floats]], width: float, height: float) -> list[Frame]:
    """The main frame, and the small ones in a column to its right."""
    tall = height - STRIP_PX
    insets = len(groups) - 1
    side = round(width * INSET_PX) if insets else 0.0
    main = fit(*groups[0], x=0, y=0, width=width - (side + GAP_PX if insets else 0), height=tall)
    each = (tall - GAP_PX * (insets - 1)) / max(insets, 1)
    return [
        main,
        *(
            fit(*group, x=width - side, y=row * (each + GAP_PX), width=side, height=each)
            for row, group in enumerate(groups[1:])
        ),
    ]


def _reach_m(fence: MapFence) -> float:
    """How far a fence stretches from its point."""
    if fence.radius_m is not None or not fence.rings:
        return fence.radius_m or 0.0
    corners = np.concatenate(fence.rings)
    plane = Frame(lon=fence.lon, lat=fence.lat, px_per_m=1, x=0, y=0, width=0, height=0)
    return float(np.hypot(*plane.project(corners).T).max())


def _city(frame: Frame, regions: Sequence[MapRegion]) -> str:
    """The city of the named region whose middle lies nearest to the frame's."""
    named = [region for region in regions if region.city]
    if not named:
        return ""
    middles = np.array([np.concatenate(region.rings).mean(axis=0) for region in named])
    away = np.hypot(*(frame.project(middles) - (frame.width / 2, frame.height / 2)).T)
    return named[int(away.argmin())].city


def _window(
    frame: Frame,
    fences: Sequence[MapFence],
    regions: Sequence[MapRegion],
    most: float,
    caption: str,
) -> str:
    """One frame; a nested `<svg>` clips what reaches beyond it. Fences come highest value first."""
    seen = [(region, shape) for region in regions if (shape := _outline(frame, region.rings))]
    parts = [
        f'<svg x="{frame.x:g}" y="{frame.y:g}" width="{frame.width:g}" height="{frame.height:g}">',
        _rect("map-paper", 0, 0, frame.width, frame.height, PAPER),
        *(_region(region, shape) for region, shape in seen),
        *_net(frame, named=not caption),
        *(_heat(frame, fence, most) for fence in fences if fence.value > 0),
        *(_fence(frame, fence) for fence in reversed(fences)),
        *_names(frame, [region for region, _ in seen], fences),
    ]
    if caption:
        parts.append(_text("map-caption", 12, 22, caption, 13, INK, weight=600))
        length, said = scale_bar(frame.px_per_m, 60.0)
        right, low = frame.width - 12, frame.height - 12
        parts.append(_bar(right - length, low, length))
        parts.append(_text("map-ink", right, low - 8, said, 10, INK, "end"))
    frame_line = f'fill="none" stroke="{BORDER}" rx="6"'
    parts.append(
        f'<rect class="map-frame" x="0.5" y="0.5" width="{frame.width - 1:g}"'
        f' height="{frame.height - 1:g}" {frame_line}/></svg>'
    )
    return "".join(parts)


def _outline(frame: Frame, rings: Sequence[Ring]) -> str:
    """The path of all rings, or nothing when their box misses the frame."""
    paths = [frame.project(ring) for ring in rings]
    corners = np.concatenate(paths)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (high < 0).any() or low[0] > frame.width or low[1] > frame.height:
        return ""
    return "".join("M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in path) + "Z" for path in paths)


def _region(region: MapRegion, path: str) -> str:
    if region.kind == "water":
        return f'<path class="map-water" d="{path}" fill="{WATER}" fill-rule="evenodd"/>'
    return (
        f'<path class="map-land" d="{path}" fill="{LAND}" fill-rule="evenodd" stroke="{BORDER}"'
        f' stroke-linejoin="round"><title>{_safe(region.name)}</title></path>'
    )


def _net(frame: Frame, *, named: bool) -> Iterator[str]:
    """A faint net of whole degrees or parts of them; in the main frame its lines are named."""
    lons, lats = graticule(frame, 120.0)
    line = f'stroke="{LINE}" stroke-width="1"'
    for lon in lons:
        px = frame.project(np.array([[lon, frame.lat]]))[0, 0]
        yield f'<path class="map-net" d="M{px:.1f} 0V{frame.height:g}" {line}/>'
        if named and 40 < px < frame.width - 40:
            yield _text("map-faint", px + 3, frame.height - 6, f"{lon:g}°", 9, FAINT)
    for lat in lats:
        py = frame.project(np.array([[frame.lon, lat]]))[0, 1]
        yield f'<path class="map-net" d="M0 {py:.1f}H{frame.width:g}" {line}/>'
        if named and 40 < py < frame.height - 20:
            yield _text("map-faint", 5, py - 3, f"{lat:g}°", 9, FAINT)


def _heat(frame: Frame, fence: MapFence, most: float) -> str:
    """A disc whose area grows with the value, and a little its colour."""
    px, py = frame.project(np.array([[fence.lon, fence.lat]]))[0]
    radius, opacity = _heat_of(fence.value, most)
    return (
        f'<circle class="map-heat" cx="{px:.1f}" cy="{py:.1f}" r="{radius:.1f}" fill="{ACCENT}"'
        f' fill-opacity="{opacity:.2f}"/>'
    )


def _heat_of(value: float, most: float) -> tuple[float, float]:
    share = value / most if most > 0 else 0.0
    radius = math.sqrt(HEAT_PX[0] ** 2 + (HEAT_PX[1] ** 2 - HEAT_PX[0] ** 2) * share)
    return radius, HEAT_OPACITY[0] + (HEAT_OPACITY[1] - HEAT_OPACITY[0]) * share


def _fence(frame: Frame, fence: MapFence) -> str:
    """The fence itself, true to scale; where that would be too small to see, a dot."""
    said = f"<title>{_safe(fence.name)}{f' · {fence.value:,.0f}' if fence.value else ''}</title>"
    paint = f'class="map-fence" fill="{ACCENT}" fill-opacity="0.55" stroke="{ACCENT_DEEP}"'
    radius_px = _reach_m(fence) * frame.px_per_m
    if fence.rings and fence.radius_m is None and radius_px > 2 * LEAST_RADIUS_PX:
        path = _outline(frame, fence.rings)
        return f'<path {paint} fill-rule="evenodd" stroke-width="0.7" d="{path}">{said}</path>'
    px, py = frame.project(np.array([[fence.lon, fence.lat]]))[0]
    tall = max(radius_px, LEAST_RADIUS_PX)
    # the plane is true at the frame's middle; a circle elsewhere is an ellipse by the two cosines
    wide = tall * math.cos(math.radians(frame.lat)) / max(math.cos(math.radians(fence.lat)), 1e-3)
    return (
        f'<ellipse {paint} stroke-width="0.7" cx="{px:.1f}" cy="{py:.1f}" rx="{wide:.2f}"'
        f' ry="{tall:.2f}">{said}</ellipse>'
    )


def _names(frame: Frame, regions: Sequence[MapRegion], fences: Sequence[MapFence]) -> Iterator[str]:
    """Names of land, each in the roomiest part of what is seen of it, beside the fences if it can."""
    window = (0.0, 0.0, frame.width, frame.height)
    points = frame.project(np.array([(fence.lon, fence.lat) for fence in fences]))
    crowd = shapely.union_all(shapely.buffer(shapely.points(points), CROWD_PX, quad_segs=2))
    if frame.x > 0:
        window = (0.0, CAPTION_PX, frame.width, frame.height - CAPTION_PX)
    for region in regions:
        if region.kind == "water":
            continue
        shells = [shapely.Polygon(frame.project(ring)) for ring in region.rings if len(ring) > 3]
        seen = shapely.clip_by_rect(shapely.make_valid(shapely.union_all(shells)), *window)
        for room in (seen - crowd, seen):
            spot = _spot(room, 0.3 * NAME_PX * len(region.name))
            if spot:
                yield _text("map-name", spot[0], spot[1] + 4, region.name, NAME_PX, FAINT, "middle")
                break


def _spot(room: shapely.Geometry, least_px: float) -> tuple[float, float] | None:
    """The point of `room` farthest from its rim, if that is at least `least_px`."""
    if room.area == 0:
        return None
    middle, rim = shapely.maximum_inscribed_circle(room, tolerance=1.0).coords
    return (middle[0], middle[1]) if math.dist(middle, rim) >= least_px else None


def _strip(
    width: float, height: float, frame: Frame, most: float, left_out: int, words: Mapping[str, str]
) -> Iterator[str]:
    """Below the map: scale, legend, and how many fences are not drawn."""
    base = height - STRIP_PX / 2 + 4
    length, text = scale_bar(frame.px_per_m, 120.0)
    yield _bar(1, base - 3, length)
    yield _text("map-ink", length + 9, base, text, 12, INK)
    at = length + 80
    yield (
        f'<circle class="map-fence" cx="{at:.1f}" cy="{base - 4:g}" r="4" fill="{ACCENT}"'
        f' fill-opacity="0.55" stroke="{ACCENT_DEEP}" stroke-width="0.7"/>'
    )
    yield _text("map-ink", at + 11, base, words["fence"], 12, INK)
    at += 200
    if most > 0:
        yield _text("map-ink", at, base, words["visits"], 12, INK)
        at += 50
        for value in sorted({_round(most / 9), _round(most / 3), most}):
            radius, opacity = _heat_of(value, most)
            yield (
                f'<circle class="map-heat" cx="{at:.1f}" cy="{base - 4:g}" r="{radius:.1f}"'
                f' fill="{ACCENT}" fill-opacity="{opacity:.2f}"/>'
            )
            yield _text("map-ink", at + radius + 5, base, f"{value:,.0f}", 12, INK)
            at += 2 * radius + 48
    if left_out:
        said = words["more"].format(count=left_out)
        yield _text("map-faint", width, base, said, 12, FAINT, "end")


def _bar(x: float, y: float, length: float) -> str:
    return (
        f'<path class="map-rule" d="M{x:.1f} {y - 5:.1f}v5h{length:.1f}v-5" fill="none"'
        f' stroke="{INK}" stroke-width="1.2"/>'
    )


def _round(value: float) -> float:
    """A value to one significant figure, at least 1."""
    power = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return max(round(value / power) * power, 1.0)


def _rect(name: str, x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect class="{name}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
        f' fill="{fill}"/>'
    )


def _text(
    name: str,
    x: float,
    y: float,
    words: str,
    size: int,
    fill: str,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}"'
        f' fill="{fill}" text-anchor="{anchor}"{HALO}>{_safe(words)}</text>'
    )


def _safe(text: str) -> str:
    return html.escape(_FORBIDDEN.sub("", text))
