"""Why a shape is refused and what was changed on it, in the house's two languages (F4, Q11)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from geo.errors import NearcastError
from geo.fences.fence import Shape

#: code → English, Korean; named fields are filled from the refusal's facts
MESSAGES: dict[str, tuple[str, str]] = {
    "malformed": (
        "{what} Give a GeoJSON Polygon or MultiPolygon, WKT, or lat,lng;lat,lng….",
        "{what_ko} GeoJSON Polygon·MultiPolygon, WKT 또는 위도,경도;위도,경도… 형식으로 적어 주세요.",
    ),
    "wrong_type": (
        "'{given}' is no area. Give a Polygon or MultiPolygon.",
        "'{given}'은(는) 면이 아니에요. Polygon이나 MultiPolygon으로 보내 주세요.",
    ),
    "too_deep": (
        "The brackets are nested deeper than a polygon's. Take the inner ones away.",
        "괄호가 다각형보다 깊게 겹쳐 있어요. 안쪽 괄호를 지워 주세요.",
    ),
    "too_large": (
        "The text is longer than {bound} characters. Simplify the shape.",
        "글자가 {bound}자를 넘어요. 도형을 단순하게 줄여 주세요.",
    ),
    "empty": ("The shape has no points.", "도형에 점이 하나도 없어요."),
    "no_area": (
        "The outline encloses no area: all its points lie on one line.",
        "모든 점이 한 줄 위에 있어서 넓이가 없어요.",
    ),
    "too_few_points": (
        "A ring needs at least 3 distinct points; this one has {given}.",
        "고리에는 서로 다른 점이 3개 이상 있어야 해요. 지금은 {given}개예요.",
    ),
    "not_finite": (
        "{where} is no finite number: {given}.",
        "{where_ko} 값이 유한한 숫자가 아니에요: {given}.",
    ),
    "out_of_range": (
        "{where} lies off the map (±180, ±90): longitude {lon}, latitude {lat}.{hint}",
        "{where_ko}이(가) 지도(±180, ±90) 밖이에요: 경도 {lon}, 위도 {lat}.{hint_ko}",
    ),
    "too_many_vertices": (
        "{given} vertices; at most {bound} are taken. Simplify the outline.",
        "꼭짓점이 {given}개예요. {bound}개까지 쓸 수 있으니 윤곽을 단순하게 줄여 주세요.",
    ),
    "self_intersection": (
        "The outline crosses or touches itself at longitude {lon}, latitude {lat}.",
        "윤곽이 경도 {lon}, 위도 {lat}에서 자기 자신과 만나요.",
    ),
    "hole_outside_shell": (
        "A hole lies outside its outline at longitude {lon}, latitude {lat}.",
        "구멍이 윤곽 밖에 있어요: 경도 {lon}, 위도 {lat}.",
    ),
    "encloses_pole": (
        "The outline runs around a pole. Use a circle there, or end the outline short of the pole.",
        "윤곽이 극점을 둘러싸요. 원을 쓰거나 극점에 닿지 않게 그려 주세요.",
    ),
    "too_wide": (
        "The outline is {given} degrees of longitude wide; at most 360. Give it in several parts.",
        "윤곽의 폭이 경도 {given}도예요. 360도까지 쓸 수 있으니 여러 부분으로 나누어 주세요.",
    ),
    "radius_missing": (
        "A circle needs lat, lng and radius_m.",
        "원에는 위도, 경도, 반경이 모두 있어야 해요.",
    ),
    "radius_too_small": (
        "The radius is {given} m; the least is {bound} m.",
        "반경이 {given} m예요. {bound} m 이상이어야 해요.",
    ),
    "radius_too_large": (
        "The radius is {given} m; the most is {bound} m.",
        "반경이 {given} m예요. {bound} m 이하여야 해요.",
    ),
    "area_too_large": (
        "The area is {given} km², {over} km² over the limit of {bound} km².",
        "넓이가 {given} km²예요. 한도 {bound} km²를 {over} km² 넘어요.",
    ),
}


class Note(StrEnum):
    """A change that was made while reading and changes no area; its value is its code."""

    RING_CLOSED = "ring_closed"
    WINDING_FIXED = "winding_fixed"
    REPEATED_POINTS_DROPPED = "repeated_points_dropped"
    Z_DROPPED = "z_dropped"
    ANTIMERIDIAN_SPLIT = "antimeridian_split"

    @property
    def code(self) -> str:
        """The stable code, e.g. `ring_closed`."""
        return self.value

    def text(self, lang: str = "en") -> str:
        """What was done, in English (`en`) or Korean (`ko`)."""
        return NOTES[self][lang == "ko"]


#: note → English, Korean
NOTES: dict[Note, tuple[str, str]] = {
    Note.RING_CLOSED: ("A ring was closed.", "열린 고리를 닫았어요."),
    Note.WINDING_FIXED: ("The direction of a ring was turned.", "고리의 방향을 바로잡았어요."),
    Note.REPEATED_POINTS_DROPPED: ("Repeated points were dropped.", "겹친 점을 지웠어요."),
    Note.Z_DROPPED: ("Heights were dropped.", "높이 값을 뺐어요."),
    Note.ANTIMERIDIAN_SPLIT: (
        "The shape crosses longitude 180° and was split there.",
        "도형이 경도 180°를 지나 그 선에서 나누었어요.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A way to mend a shape, which the user may accept; within the limits.

    Attributes:
        code: `mended` by shapely's make_valid, or `swapped` latitude and longitude.
        area_km2: what accepting it gives.
        area_change_km2: what accepting it adds to the area as drawn (lobes that a crossing turns
            round count negative there); None where the shape as drawn has no area to compare.
    """

    code: str
    shape: Shape
    area_km2: float
    area_change_km2: float | None

    @property
    def area_change_percent(self) -> float | None:
        """The change in per cent of the area as drawn; None where next to nothing was drawn."""
        drawn_km2 = self.area_km2 - (self.area_change_km2 or 0.0)
        if self.area_change_km2 is None or drawn_km2 < 1e-6 * self.area_km2:
            return None
        return 100.0 * self.area_change_km2 / drawn_km2

    def text(self, lang: str = "en") -> str:
        """What is proposed, in English (`en`) or Korean (`ko`)."""
        if self.area_change_km2 is None:
            english = f"Swap latitude and longitude: {self.area_km2:,.6g} km²."
            korean = f"위도와 경도를 바꾸면 {self.area_km2:,.6g} km²예요."
        else:
            change = f"{self.area_change_km2:+,.3g} km²"
            english = f"Mend the outline: {self.area_km2:,.6g} km² ({change})."
            korean = f"윤곽을 고치면 {self.area_km2:,.6g} km²예요 ({change})."
        return korean if lang == "ko" else english


class ShapeRefused(NearcastError):
    """The shape cannot become a fence.

    Attributes:
        code: a key of `MESSAGES`.
        pointer: JSON pointer to the place in the input, "" where it has none. Points of WKT and
            text have the pointers of the GeoJSON that says the same.
        place: (lon, lat) of the fault on the map, where it has one.
        proposal: a way to mend it, where there is one.
    """

    code = "invalid_shape"

    def __init__(
        self,
        code: str,
        *,
        pointer: str = "",
        place: tuple[float, float] | None = None,
        proposal: Proposal | None = None,
        **facts: object,
    ) -> None:
        self.code = code
        self.pointer = pointer
        self.place = place
        self.proposal = proposal
        self._facts = facts
        super().__init__(self.text("en"))

    def text(self, lang: str = "en") -> str:
        """The message in English (`en`) or Korean (`ko`)."""
        return MESSAGES[self.code][lang == "ko"].format(**self._facts)


class RadiusOutOfBounds(ShapeRefused):
    """The radius is too small or too large (`radius_too_small`, `radius_too_large`)."""


class AreaTooLarge(ShapeRefused):
    """The polygon is larger than allowed (`area_too_large`).

    Attributes:
        area_km2: the measured area.
    """

    def __init__(self, *, area_km2: float, given: str, over: str, bound: str) -> None:
        self.area_km2 = area_km2
        super().__init__("area_too_large", given=given, over=over, bound=bound)


def malformed(english: str, korean: str, pointer: str = "") -> ShapeRefused:
    """A refusal of a structure that cannot be read, saying what is wrong with it."""
    return ShapeRefused("malformed", pointer=pointer, what=english, what_ko=korean)
