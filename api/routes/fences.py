"""`/v1/fences`: make, change, find and delete geofences (product F1–F5, F9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response, request

from api.answers import after, answered, cursor_to, encode, rfc3339
from api.auth import needs, principal
from api.problems import language, refusal
from api.routes.actors import author
from api.routes.fence_bodies import (
    Attributes,
    Checked,
    FeatureCollection,
    FenceIn,
    FenceOut,
    FencePatch,
    FenceQuery,
    FencesOut,
    VersionOut,
    VersionsOut,
)
from api.shapes import GivenShape, NoteOut, ShapeIn, circle_out, is_given, read_shape
from api.wiring import house
from geo.fences.fence import Fence, PresenceRules
from geo.fences.hours import WeeklyHours
from geo.fences.refusals import ShapeRefused
from geo.fences.shapes import to_geojson
from nearcast.services import edit_fences
from nearcast.services.edit_fences import Change, Saved, Wanted
from nearcast.services.errors import AlreadyExists, FieldError, Invalid, NotFound
from nearcast.services.find_fences import Near, find_fences
from nearcast.services.ids import parse, public
from nearcast.store import areas, fences
from nearcast.store.engine import Conflict, reading
from nearcast.store.fences import Filter, StoredFence

GEOJSON = "application/geo+json"
_FIELDS = (
    "brand",
    "category",
    "store",
    "address",
    "enabled",
    "valid_from",
    "valid_until",
    "dwell_after_s",
)

bp = APIBlueprint("fences", __name__, url_prefix="/v1", tag="Fences")


@bp.post("/fences")
@needs("manage")
@bp.input(FenceIn, arg_name="body")
@bp.output(FenceOut, 201)
def create_fence(body: FenceIn) -> Response:
    """Make a fence

    Give its shape as `lat`, `lng`, `radius_m`, or as `geometry`, `wkt` or `text`. What is mended
    without changing its area is listed in `notes`; what cannot be taken is refused with the place of
    the fault and, where there is one, a proposal that `accept_proposal` saves.
    """
    given = _shape(body)
    wanted = Wanted(fence=_fence(body, given), area_km2=given.area_km2)
    return answered(lambda conn: _saved(conn, wanted, given.notes), status=201)


@bp.put("/fences/<path:fence>")
@needs("manage")
@bp.input(FenceIn, arg_name="body")
@bp.output(FenceOut)
@bp.doc(responses={201: "The fence was made"})
def put_fence(fence: str, body: FenceIn) -> Response:
    """Make or replace the fence with your own key

    A fence that is as it was gets no new version.
    """
    external_id = fence
    if body.external_id not in (None, external_id):
        message = f"The address says '{external_id}'; leave external_id out or make them the same."
        fault = FieldError(pointer="/external_id", code="differs", message=message)
        raise Invalid(errors=[fault])
    if not 1 <= len(external_id) <= 128 or external_id != external_id.strip():
        message = "An external_id has 1 to 128 characters and no blanks at its ends."
        raise Invalid(errors=[FieldError(pointer="/external_id", code="length", message=message)])
    given = _shape(body)
    value = replace(_fence(body, given), external_id=external_id)
    workspace_id = principal().workspace_id

    def verb(conn: sa.Connection) -> tuple[FenceOut, int]:
        found = fences.by_external(conn, workspace_id=workspace_id, external_ids=[external_id])
        before = found.get(external_id)
        wanted = Wanted(fence=value, area_km2=given.area_km2, before=before)
        try:
            return _saved(conn, wanted, given.notes), 200 if before else 201
        except AlreadyExists as error:
            raise Conflict from error  # somebody has just made it: begin again and change it

    return answered(verb)


@bp.patch("/fences/<fence>")
@needs("manage")
@bp.input(FencePatch, arg_name="body")
@bp.output(FenceOut)
def patch_fence(fence: str, body: FencePatch) -> Response:
    """Change a part of a fence"""
    given = _shape(body) if is_given(body) else None

    def verb(conn: sa.Connection) -> FenceOut:
        before = _load(conn, fence)
        value, area_km2 = _patched(before.fence, body), before.area_km2
        if given is not None:
            value, area_km2 = replace(value, shape=given.shape), given.area_km2
        wanted = Wanted(fence=value, area_km2=area_km2, before=before)
        return _saved(conn, wanted, given.notes if given else ())

    return answered(verb)


@bp.delete("/fences/<fence>")
@needs("manage")
@bp.doc(responses={204: "The fence is gone; its versions and visits stay"})
def delete_fence(fence: str) -> Response:
    """Delete a fence; one that a living campaign names is kept (409)"""
    who = author()

    def verb(conn: sa.Connection) -> None:
        edit_fences.delete_fences(
            conn,
            [_load(conn, fence)],
            workspace_id=who.workspace_id,
            now_ms=who.now_ms,
            actor=who.actor,
        )

    return answered(verb, status=204)


@bp.get("/fences")
@needs("manage", "ingest", "test")
@bp.input(FenceQuery, location="query", arg_name="query")
@bp.output(FencesOut)
def list_fences(query: FenceQuery) -> Response:
    """Find fences: in a box, near a place, by group, tag, brand or name

    With `Accept: application/geo+json` the page is a FeatureCollection. `near` keeps the fences whose
    rim is no further away than `radius_m`.
    """
    only = Filter(
        box=_bbox(query.bbox),
        group=query.group,
        tag=query.tag,
        brand=query.brand,
        name_part=query.q,
    )
    near, after_id = _near(query), after(query.cursor)

    def verb(conn: sa.Connection) -> FencesOut:
        found, total = find_fences(
            conn,
            workspace_id=principal().workspace_id,
            only=only,
            near=near,
            after_id=after_id,
            limit=query.limit + 1,
        )
        more, page = len(found) > query.limit, found[: query.limit]
        items = _outs(conn, page)
        return FencesOut(items=items, total=total, next_cursor=cursor_to(page[-1].id if more else None))

    page = reading(house().engine, verb)
    if request.accept_mimetypes.best_match(["application/json", GEOJSON]) == GEOJSON:
        return Response(_feature_collection(page), mimetype=GEOJSON)
    return Response(encode(page), mimetype="application/json")


@bp.get("/fences/<fence>")
@needs("manage", "ingest", "test")
@bp.output(FenceOut)
def get_fence(fence: str) -> FenceOut:
    """One fence"""
    return reading(house().engine, lambda conn: _outs(conn, [_load(conn, fence)])[0])


@bp.get("/fences/<fence>/versions")
@needs("manage")
@bp.output(VersionsOut)
def list_versions(fence: str) -> Response:
    """All versions of a fence, the newest first"""

    def verb(conn: sa.Connection) -> VersionsOut:
        items = [_version(row) for row in fences.versions_of(conn, _load(conn, fence).id)]
        return VersionsOut(items=items, total=len(items))

    found = reading(house().engine, verb)
    return Response(encode(found), mimetype="application/json")


@bp.post("/fences:validate")
@needs("manage")
@bp.input(FenceIn, arg_name="body")
@bp.output(Checked)
def validate_fence(body: FenceIn) -> Checked:
    """Measure a shape and list its problems, without saving anything"""
    try:
        given = _shape(body)
    except ShapeRefused as error:
        found = refusal(error, language())
        return Checked(valid=False, area_km2=None, geometry=None, circle=None, notes=[], errors=[found])
    return Checked(
        valid=True,
        area_km2=given.area_km2,
        geometry=to_geojson(given.shape),
        circle=circle_out(given.shape),
        notes=list(given.notes),
        errors=[],
    )


# --- in ---------------------------------------------------------------------------------------------


def _shape(body: ShapeIn) -> GivenShape:
    return read_shape(body, max_radius_m=house().settings.max_radius_m)


def _fence(body: FenceIn, given: GivenShape) -> Fence:
    return Fence(
        name=body.name,
        shape=given.shape,
        external_id=body.external_id,
        groups=_unique(body.groups),
        tags=_unique(body.tags),
        metadata=body.metadata,
        opening_hours=_week(body),
        presence=_rules(body),
        **{name: getattr(body, name) for name in _FIELDS},
    )


def _patched(before: Fence, body: FencePatch) -> Fence:
    said = body.model_fields_set
    changes: dict[str, Any] = {name: getattr(body, name) for name in _FIELDS if name in said}
    changes |= {n: getattr(body, n) for n in ("name", "external_id", "metadata") if n in said}
    changes |= {n: _unique(getattr(body, n)) for n in ("groups", "tags") if n in said}
    if "opening_hours" in said:
        changes["opening_hours"] = _week(body)
    if "presence" in said:
        changes["presence"] = _rules(body)
    return replace(before, **changes)


def _week(body: Attributes) -> WeeklyHours | None:
    return None if body.opening_hours is None else WeeklyHours.parse(body.opening_hours)


def _rules(body: Attributes) -> PresenceRules | None:
    """A fence's own rules; None where the workspace's hold for all of it."""
    rules = PresenceRules(**body.presence.model_dump()) if body.presence else None
    return None if rules == PresenceRules() else rules


def _unique(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _load(conn: sa.Connection, fence_id: str) -> StoredFence:
    serial = parse("fnc", fence_id)
    found = fences.get(conn, workspace_id=principal().workspace_id, fence_ids=[serial])
    if serial not in found:
        raise NotFound(f"There is no fence '{fence_id[:40]}'.")
    return found[serial]


def _saved(conn: sa.Connection, wanted: Wanted, notes: tuple[NoteOut, ...]) -> FenceOut:
    who = author()
    saved: Saved = edit_fences.save_fences(
        conn,
        [wanted],
        workspace_id=who.workspace_id,
        plan=who.plan,
        now_ms=who.now_ms,
        actor=who.actor,
    )[0]
    if saved.change is Change.SAME and wanted.before is not None:
        return _outs(conn, [wanted.before], notes)[0]
    found = fences.get(conn, workspace_id=who.workspace_id, fence_ids=[saved.fence_id])
    return _outs(conn, [found[saved.fence_id]], notes)[0]


def _bbox(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers(text, 4)
    if numbers is None or numbers[1] > numbers[3]:
        message = "bbox is west,south,east,north in degrees, such as 126.9,37.4,127.1,37.6."
        raise Invalid(errors=[FieldError(pointer="/bbox", code="bad_bbox", message=message)])
    west, south, east, north = numbers
    return west, south, east + 360.0 if east < west else east, north


def _near(query: FenceQuery) -> Near | None:
    if query.near is None:
        return None
    numbers = _numbers(query.near, 2)
    if numbers is None or abs(numbers[0]) > 90 or abs(numbers[1]) > 180:
        message = "near is lat,lng in degrees, such as 37.4979,127.0276."
        raise Invalid(errors=[FieldError(pointer="/near", code="bad_place", message=message)])
    if query.radius_m is None:
        message = "near needs radius_m, the metres around it."
        raise Invalid(errors=[FieldError(pointer="/radius_m", code="required", message=message)])
    return Near(lat=numbers[0], lon=numbers[1], radius_m=query.radius_m)


def _numbers(text: str, count: int) -> list[float] | None:
    """So many finite numbers up to 360, by commas; None for anything else."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(abs(n) <= 360 for n in numbers) else None


# --- out --------------------------------------------------------------------------------------------


def _outs(
    conn: sa.Connection, found: list[StoredFence], notes: tuple[NoteOut, ...] = ()
) -> list[FenceOut]:
    held = areas.names_of_fences(conn, [stored.id for stored in found])
    return [_out(stored, held[stored.id], notes) for stored in found]


def _out(stored: StoredFence, held: list[tuple[str, str]], notes: tuple[NoteOut, ...]) -> FenceOut:
    fence = stored.fence
    return FenceOut(
        id=public("fnc", stored.id),
        external_id=fence.external_id,
        name=fence.name,
        version=stored.version,
        geometry=to_geojson(fence.shape),
        circle=circle_out(fence.shape),
        area_km2=stored.area_km2,
        notes=list(notes),
        groups=list(fence.groups),
        tags=list(fence.tags),
        metadata=dict(fence.metadata),
        opening_hours=fence.opening_hours.to_json() if fence.opening_hours else None,
        presence=fences.attributes_of(fence).get("presence"),
        regions=[name for kind, name in held if kind == "region"],
        trade_areas=[name for kind, name in held if kind == "trade_area"],
        time_zone=stored.time_zone,
        created_at=rfc3339(stored.created_ms),
        updated_at=rfc3339(stored.updated_ms),
        **{name: getattr(fence, name) for name in _FIELDS},
    )


def _version(row: sa.RowMapping) -> VersionOut:
    shape = fences.shape_of(row)
    return VersionOut.model_validate(
        {
            "version": row["version"],
            "from": rfc3339(row["from_ms"]),
            "until": None if row["until_ms"] == fences.MAX_MS else rfc3339(row["until_ms"]),
            "by": row["actor"],
            "time_zone": row["time_zone"],
            "geometry": to_geojson(shape),
            "circle": circle_out(shape),
            "attributes": row["attributes"],
        }
    )


def _feature_collection(page: FencesOut) -> bytes:
    features = []
    for item in page.items:
        properties = item.model_dump(mode="json", exclude={"geometry"})
        features.append(
            {
                "type": "Feature",
                "id": item.id,
                "geometry": item.geometry,
                "properties": properties,
            }
        )
    collection = FeatureCollection(
        features=features,
        number_matched=page.total,
        number_returned=len(features),
        next_cursor=page.next_cursor,
    )
    return encode(collection)
