"""Positions as people give them → clean rings; and the texts positions come in (product F4).

Structure is checked in plain Python before shapely sees anything: shapely takes strings, `True` and
unclosed rings without a word, and dies on deep nesting (quality.md §2). Nothing here recurses, and
nothing prints a value whose size is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.antimeridian import unwrap_ring
from geo.fences.limits import MAX_VERTICES
from geo.fences.refusals import Note, ShapeRefused, malformed

MAX_TEXT_CHARACTERS = 8 << 20  # quality Q5
_LONGEST_NUMBER = 400  # characters: the longest float64 written out in full has 1 + 308 or so
_POLYGON_DEPTH = 3  # brackets of a MULTIPOLYGON
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NO_NUMBER = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_WKT_HEAD = re.compile(
    r"(?:SRID\s*=\s*(\d+)\s*;\s*)?([A-Z]+)\s*(?:\b(?:ZM|Z|M)\b)?\s*", re.IGNORECASE | re.ASCII
)
_WKT_TOKEN = re.compile(r"[(),]|[^\s(),]+")
#: which kinds of token may stand before which, "" is the beginning
_WKT_ORDER = {"(": ("", "(", ","), ")": ("9", ")"), ",": ("9", ")"), "9": ("9", "(", ",")}  # 9: a number

Ring = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One polygon as read: closed rings in continuous longitudes, the shell first.

    Attributes:
        pointers: JSON pointer of each ring.
    """

    pointer: str
    rings: tuple[Ring, ...]
    pointers: tuple[str, ...]


class Reading:
    """Reads rings and remembers what had to be done to them.

    Args:
        swapped: take the first number of a position for the latitude (to try a proposal).
    """

    def __init__(self, *, swapped: bool = False) -> None:
        self.notes: set[Note] = set()
        self._swapped = swapped
        self._vertices = 0

    def part(self, listed: object, pointer: str) -> Part:
        """One polygon: a list of rings, none of them empty. Raises `ShapeRefused`."""
        rings = as_list(listed, pointer)
        if not rings:
            raise ShapeRefused("empty", pointer=pointer)
        pointers = tuple(f"{pointer}/{n}" for n in range(len(rings)))
        read = tuple(self._ring(ring, at) for ring, at in zip(rings, pointers, strict=True))
        return Part(pointer=pointer, rings=read, pointers=pointers)

    def _ring(self, listed: object, pointer: str) -> Ring:
        """Numbers checked, closed, repeats dropped, unwrapped across 180°."""
        positions = as_list(listed, pointer)
        self._count(positions, pointer)
        points = [self._point(p, n, f"{pointer}/{n}") for n, p in enumerate(positions)]
        if not points:
            raise ShapeRefused("empty", pointer=pointer)
        if points[0] != points[-1]:
            self.notes.add(Note.RING_CLOSED)
            points.append(points[0])
        ring = unwrap_ring(np.array(points))
        repeated = (np.diff(ring, axis=0) == 0).all(axis=1)
        if repeated.any():
            self.notes.add(Note.REPEATED_POINTS_DROPPED)
            ring = ring[np.append(True, ~repeated)]
        _check_ring(ring, pointer, place=points[0])
        return ring

    def _count(self, positions: Sequence[object], pointer: str) -> None:
        closed = len(positions) > 1 and same_position(positions[0], positions[-1])
        self._vertices += len(positions) - closed
        if self._vertices > MAX_VERTICES:
            more = f"{self._vertices:,}"
            bound = f"{MAX_VERTICES:,}"
            raise ShapeRefused("too_many_vertices", pointer=pointer, given=more, bound=bound)

    def _point(self, listed: object, index: int, pointer: str) -> tuple[float, float]:
        where, where_ko = f"Point {index + 1}", f"{index + 1}번째 점"
        values = as_list(listed, pointer)
        if len(values) < 2:
            raise malformed(
                f"{where} has too few numbers; give longitude and latitude.",
                f"{where_ko}의 숫자가 모자라요. 경도와 위도를 모두 적어 주세요.",
                pointer,
            )
        if len(values) > 2:
            self.notes.add(Note.Z_DROPPED)
        lon, lat, *_ = (
            as_number(v, f"{pointer}/{n}", where, where_ko) for n, v in enumerate(values[:4])
        )
        if self._swapped:
            lon, lat = lat, lon
        check_place(lon, lat, pointer=pointer, where=where, where_ko=where_ko)
        return lon, lat


def same_position(first: object, last: object) -> bool:
    """Whether two positions, not checked yet, give the same longitude and latitude."""
    if not isinstance(first, (list, tuple)) or not isinstance(last, (list, tuple)):
        return False
    numbers = [value for value in (*first[:2], *last[:2]) if isinstance(value, (int, float))]
    return len(numbers) == 4 and numbers[:2] == numbers[2:]


def as_list(value: object, pointer: str) -> Sequence[object]:
    """The value if it is a list; else `malformed`."""
    if isinstance(value, (list, tuple)):
        return value
    what = _kind(value)
    raise malformed(
        f"A list is expected at '{pointer}', not {what}.",
        f"'{pointer}' 자리에는 목록이 있어야 해요. 지금은 {what}이에요.",
        pointer,
    )


def as_number(value: object, pointer: str, where: str, where_ko: str) -> float:
    """A finite float; else `too_deep` for a list, `not_finite`, or `malformed` for anything else."""
    if isinstance(value, (list, tuple)):
        raise ShapeRefused("too_deep", pointer=pointer)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        what = f"'{value[:40]}'" if isinstance(value, str) else _kind(value)
        raise malformed(
            f"{where} holds {what} where a number is expected.",
            f"{where_ko}에 숫자가 아니라 {what}이(가) 있어요.",
            pointer,
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if not math.isfinite(number):
        raise ShapeRefused("not_finite", pointer=pointer, where=where, where_ko=where_ko, given=number)
    return number


def _kind(value: object) -> str:
    """What JSON calls it; never the value itself, which may be endless."""
    known = {type(None): "null", bool: "true/false", dict: "object", str: "text"}
    return known.get(type(value), type(value).__name__)


def check_place(lon: float, lat: float, *, pointer: str, where: str, where_ko: str) -> None:
    """Refuse what is no place on Earth, with a hint where latitude and longitude look swapped."""
    if abs(lon) <= 180 and abs(lat) <= 90:
        return
    swapped = abs(lat) <= 180 and abs(lon) <= 90
    raise ShapeRefused(
        "out_of_range",
        pointer=pointer,
        where=where,
        where_ko=where_ko,
        lon=f"{lon:.10g}",
        lat=f"{lat:.10g}",
        hint=" Latitude and longitude look swapped." if swapped else "",
        hint_ko=" 위도와 경도가 바뀐 것 같아요." if swapped else "",
    )


def wkt_lists(text: str) -> list[object]:
    """The coordinates of a WKT POLYGON or MULTIPOLYGON as a GeoJSON MultiPolygon nests them.

    Z and M are kept as further numbers; `SRID=4326;` may stand before. Raises `ShapeRefused`.
    """
    check_size(text)
    text = text.strip()
    head = _WKT_HEAD.match(text)
    if head is None:
        raise malformed("This is no WKT.", "WKT가 아니에요.")
    srid, kind = head[1], head[2].upper()
    kind = re.sub("(?<=POLYGON)(ZM|Z|M)$", "", kind)
    if kind not in ("POLYGON", "MULTIPOLYGON"):
        raise ShapeRefused("wrong_type", given=kind[:40])
    if srid not in (None, "4326"):
        raise malformed(
            f"SRID {srid[:9]} is not taken; give WGS84 degrees.", "WGS84 경위도로 적어 주세요."
        )
    body = text[head.end() :]
    if body.upper() == "EMPTY" or kind.endswith("EMPTY"):
        raise ShapeRefused("empty")
    lists = _nested(body)
    return [lists] if kind == "POLYGON" else lists


def _nested(body: str) -> list[object]:
    """Brackets → lists, numbers between commas → positions; each token may only follow some others."""
    stack: list[list[object]] = [[]]
    position: list[object] = []
    before = ""
    for found in _WKT_TOKEN.finditer(body):
        word = found[0]
        kind = word if word in _WKT_ORDER else "9"
        if before not in _WKT_ORDER[kind] or (len(stack) == 1 and (before or kind != "(")):
            raise _unexpected(word, found.start())
        if kind == "9":
            position.append(parse_number(word))
        elif position:
            stack[-1].append(position)
            position = []
        if kind == "(":
            if len(stack) > _POLYGON_DEPTH:
                raise ShapeRefused("too_deep")
            stack.append([])
        elif kind == ")":
            done = stack.pop()
            stack[-1].append(done)
        before = kind
    if len(stack) != 1 or not stack[0]:
        raise malformed("The WKT's brackets do not match.", "WKT의 괄호가 맞지 않아요.")
    outer = stack[0][0]
    assert isinstance(outer, list)
    return outer


def _unexpected(word: str, at: int) -> ShapeRefused:
    return malformed(
        f"The WKT has '{word[:20]}' in a wrong place, {at} characters after its name.",
        f"WKT에서 이름 뒤 {at}자 자리에 '{word[:20]}'이(가) 잘못 놓여 있어요.",
    )


def text_lists(text: str) -> list[object]:
    """`lat,lng;lat,lng;…` (latitude first; also one pair a line) as a GeoJSON MultiPolygon nests it."""
    check_size(text)
    ring: list[object] = []
    for pair in filter(None, (piece.strip() for piece in re.split(r"[;\n]", text))):
        numbers = re.split(r"\s*,\s*|\s+", pair)
        if len(numbers) != 2:
            n, shown = len(ring) + 1, pair[:40]
            raise malformed(
                f"Point {n} is not 'lat,lng': '{shown}'.",
                f"{n}번째 점이 '위도,경도' 형식이 아니에요: '{shown}'.",
                f"/coordinates/0/{len(ring)}",
            )
        ring.append([parse_number(numbers[1]), parse_number(numbers[0])])
    return [[ring]]


def parse_number(word: str) -> object:
    """The number a word says (also nan and inf, refused later with their place), else the word."""
    if len(word) > _LONGEST_NUMBER:
        return word
    return float(word) if _NUMBER.fullmatch(word) or _NO_NUMBER.fullmatch(word) else word


def check_size(text: str) -> None:
    """Refuse a text too long to be read (`too_large`)."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ShapeRefused("too_large", bound=f"{MAX_TEXT_CHARACTERS:,}")


def _check_ring(ring: Ring, pointer: str, *, place: tuple[float, float]) -> None:
    """Refuse a ring of too few points, around a pole or wider than the world."""
    around = ring[0, 0] != ring[-1, 0]
    distinct = len({tuple(point) for point in ring.tolist()}) - around
    if distinct < 3:
        raise ShapeRefused("too_few_points", pointer=pointer, place=place, given=distinct)
    if around:
        raise ShapeRefused("encloses_pole", pointer=pointer, place=place)
    width = float(np.ptp(ring[:, 0]))
    if width > 360:
        raise ShapeRefused("too_wide", pointer=pointer, place=place, given=f"{width:.6g}")
