"""Why a shape is refused, in the two languages of the house (product F4, quality Q11)."""

from __future__ import annotations

from dataclasses import dataclass

from geo.errors import NearcastError
from geo.fences.fence import Shape

#: code → English, Korean; named fields are filled from the refusal's facts
MESSAGES: dict[str, tuple[str, str]] = {
    "malformed": (
        "{what} Give a GeoJSON Polygon or MultiPolygon, WKT, or lat,lng;lat,lng….",
        "{what} GeoJSON Polygon·MultiPolygon, WKT 또는 위도,경도;위도,경도… 형식으로 적어 주세요.",
    ),
    "wrong_type": (
        "'{given}' is no area. Give a Polygon or MultiPolygon.",
        "'{given}'은(는) 면이 아니에요. Polygon이나 MultiPolygon으로 보내 주세요.",
    ),
    "too_deep": (
        "The text is nested deeper than {bound} levels.",
        "괄호가 {bound}단계보다 깊게 겹쳐 있어요.",
    ),
    "too_large": (
        "The text is longer than {bound} bytes. Simplify the shape.",
        "글자가 {bound}바이트를 넘어요. 도형을 단순하게 줄여 주세요.",
    ),
    "empty": ("The shape has no points.", "도형에 점이 하나도 없어요."),
    "too_few_points": (
        "A ring needs at least 3 distinct points; this one has {given}.",
        "고리에는 서로 다른 점이 3개 이상 있어야 해요. 지금은 {given}개예요.",
    ),
    "not_finite": (
        "Point {index} is no number: {given}. Give finite degrees.",
        "{index}번째 점이 숫자가 아니에요: {given}. 올바른 도 단위 숫자로 적어 주세요.",
    ),
    "out_of_range": (
        "Point {index} lies outside the world: longitude {lon}, latitude {lat}.{hint}",
        "{index}번째 점이 지구 밖이에요: 경도 {lon}, 위도 {lat}.{hint_ko}",
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
    "invalid_structure": (
        "The shape is not valid: {given}.",
        "도형이 올바르지 않아요: {given}.",
    ),
    "encloses_pole": (
        "The outline runs around a pole. Use a circle there, or end the outline short of the pole.",
        "윤곽이 극점을 둘러싸요. 원을 쓰거나 극점에 닿지 않게 그려 주세요.",
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


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A way to mend a shape, which the user may accept.

    Attributes:
        area_change_km2: what accepting it adds to (or takes from) the area as it was drawn.
    """

    shape: Shape
    area_km2: float
    area_change_km2: float


class ShapeRefused(NearcastError):
    """The shape cannot become a fence.

    Attributes:
        code: a key of `MESSAGES`.
        pointer: JSON pointer to the place in the input, "" where it has none.
        place: (lon, lat) of the fault on the map, where it has one.
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
