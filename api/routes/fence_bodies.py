"""What requests to `/v1/fences` hold, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from api.answers import In, Out, Page
from api.fields import Flag, Hours, Instant, Key, Name, Number, Text, Whole
from api.shapes import CircleOut, NoteOut, ShapeIn
from nearcast.services.check_policies import CERTAINTY_BOUNDS, PRESENCE_BOUNDS
from nearcast.services.edit_fences import MAX_METADATA_KEYS
from nearcast.services.find_fences import MAX_NEAR_M

MAX_DWELL_S = 7 * 86_400


def _range(name: str) -> Any:
    """The bounds of a rule, as the document of the interface tells them."""
    least, most = (PRESENCE_BOUNDS | CERTAINTY_BOUNDS)[name]
    return Field(description=f"{least:g} to {most:g}")


class FenceRulesIn(In):
    """What this fence decides otherwise than its workspace; what is left out is as there.

    `enter_p`: inside from this probability on; `exit_p`: outside up to this one, and so many sigma
    beyond the rim (`out_z`; `poor_out_z` for fixes too coarse to enter). An exit needs `exit_fixes`
    over `exit_span_s`, or two in a row beyond the greater of `far_sigma` sigma and `far_m`.
    """

    enter_p: Annotated[Number | None, _range("enter_p")] = None
    exit_p: Annotated[Number | None, _range("exit_p")] = None
    out_z: Annotated[Number | None, _range("out_z")] = None
    poor_out_z: Annotated[Number | None, _range("poor_out_z")] = None
    exit_fixes: Annotated[Whole | None, _range("exit_fixes")] = None
    exit_span_s: Annotated[Whole | None, _range("exit_span_s")] = None
    far_sigma: Annotated[Number | None, _range("far_sigma")] = None
    far_m: Annotated[Number | None, _range("far_m")] = None


class Attributes(ShapeIn):
    """What an owner may say of a fence."""

    external_id: Annotated[Key | None, Field(description="Your own key, unique among fences")] = None
    groups: Annotated[list[Name], Field(max_length=50)] = Field(default_factory=list)
    tags: Annotated[list[Key], Field(max_length=50)] = Field(default_factory=list)
    brand: Text | None = None
    category: Text | None = None
    store: Text | None = None
    address: Text | None = None
    metadata: Annotated[dict[Key, Text], Field(max_length=MAX_METADATA_KEYS)] = Field(
        default_factory=dict
    )
    enabled: Flag = True
    opening_hours: Hours | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    dwell_after_s: Annotated[Whole | None, Field(ge=1, le=MAX_DWELL_S)] = None
    presence: FenceRulesIn | None = None


class FenceIn(Attributes):
    """A fence: a name and exactly one shape."""

    name: Annotated[Name, Field(examples=["강남점"])]


class FencePatch(Attributes):
    """What changes of a fence; what is left out stays, null takes a value away."""

    name: Name | None = None

    @model_validator(mode="after")
    def _keeps_its_name(self) -> FencePatch:
        if "name" in self.model_fields_set and self.name is None:
            raise ValueError("a fence keeps a name")
        return self


class FenceOut(Out):
    """A fence as it is."""

    id: str
    external_id: str | None
    name: str
    version: int
    geometry: dict[str, Any]
    circle: CircleOut | None
    area_km2: float
    notes: list[NoteOut]
    groups: list[str]
    tags: list[str]
    brand: str | None
    category: str | None
    store: str | None
    address: str | None
    metadata: dict[str, str]
    enabled: bool
    opening_hours: dict[str, list[str]] | None
    valid_from: Instant | None
    valid_until: Instant | None
    dwell_after_s: int | None
    presence: dict[str, int | float] | None
    regions: list[str]
    trade_areas: list[str]
    time_zone: str
    created_at: str
    updated_at: str


class FencesOut(Out):
    """A page of fences."""

    items: list[FenceOut]
    total: int
    next_cursor: str | None


class VersionOut(Out):
    """A fence as it was for a time; `until` of the newest is null."""

    version: int
    from_: Annotated[str, Field(alias="from")]
    until: str | None
    by: str
    time_zone: str
    geometry: dict[str, Any]
    circle: CircleOut | None
    attributes: dict[str, Any]


class VersionsOut(Out):
    """The versions of a fence, the newest first."""

    items: list[VersionOut]
    total: int


class Checked(Out):
    """What saving this fence would say."""

    valid: bool
    area_km2: float | None
    geometry: dict[str, Any] | None
    circle: CircleOut | None
    notes: list[NoteOut]
    errors: list[dict[str, Any]]


class FenceQuery(Page):
    """Which fences a list shows; all that are named must hold."""

    bbox: Annotated[
        str | None,
        Field(description="west,south,east,north; a west greater than the east crosses 180°"),
    ] = None
    near: Annotated[str | None, Field(description="lat,lng; needs radius_m")] = None
    radius_m: Annotated[float | None, Field(gt=0, le=MAX_NEAR_M)] = None
    group: str | None = None
    tag: str | None = None
    brand: str | None = None
    q: Annotated[str | None, Field(description="a part of the name")] = None


class FeatureCollection(Out):
    """A page of fences as GeoJSON."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True, populate_by_name=True)

    type: str = "FeatureCollection"
    features: list[dict[str, Any]]
    number_matched: Annotated[int, Field(alias="numberMatched")]
    number_returned: Annotated[int, Field(alias="numberReturned")]
    next_cursor: str | None
