"""`GET /v1/context` and `GET /v1/fences/nearest`: what is about one place; nothing is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, rfc3339
from api.auth import needs, principal
from api.pings.contexts import Places, match, matches_json
from api.pings.sent import platforms
from api.shapes import CircleOut, circle_out
from api.wiring import house
from geo.fences.shapes import to_geojson
from nearcast.services.ids import public
from nearcast.services.nearest_fences import MAX_NEAREST, NearFence, nearest_fences

bp = APIBlueprint("context", __name__, url_prefix="/v1")

_IOS_REGIONS = 20


class PlaceQuery(In):
    """A place on the earth, in degrees."""

    lat: Annotated[float, Field(ge=-90, le=90, examples=[37.4979])]
    lng: Annotated[float, Field(ge=-180, le=180, examples=[127.0276])]


class ContextQuery(PlaceQuery):
    """A fix: a place, and how well it is known."""

    accuracy_m: Annotated[float | None, Field(ge=0)] = None
    platform: Literal["android", "ios", "web"] | None = None


class NearestQuery(PlaceQuery):
    """A place, and how many fences a phone can watch."""

    limit: Annotated[int, Field(ge=1, le=MAX_NEAREST)] = _IOS_REGIONS


class MatchedFence(Out):
    """A fence, shortly."""

    id: str
    external_id: str | None
    name: str
    tags: list[str]
    version: int


class Matched(Out):
    """One fence near the fix; `distance_m` is negative inside."""

    ping_index: int
    fence: MatchedFence
    verdict: str
    probability: float
    distance_m: float


class Context(Out):
    """The fences about a fix."""

    matches: list[Matched]
    warnings: list[str]


class NearestFence(MatchedFence):
    """A fence to watch; `distance_m` is to its rim, 0 inside. A circle has no `geometry`."""

    distance_m: float
    inside: bool
    circle: CircleOut | None
    geometry: dict[str, Any] | None


class NearestOut(Out):
    """The nearest live fences.

    Whoever moves less than `ask_again_after_m` finds no other fence nearer than the last of these; null
    where these are all there are. An edit of fences changes both: ask now and then all the same.
    """

    items: list[NearestFence]
    ask_again_after_m: float | None
    as_of: str


@bp.get("/context")
@needs("ingest")
@bp.input(ContextQuery, location="query", arg_name="query")
@bp.output(Context)
@bp.doc(tags=["Pings"])
def get_context(query: ContextQuery) -> Response:
    """Match one fix without keeping anything"""
    home, now_ms = house(), house().clock.now_ms()
    accuracy_m = np.nan if query.accuracy_m is None else query.accuracy_m
    place = Places(
        lon=np.array([query.lng]),
        lat=np.array([query.lat]),
        accuracy_m=np.array([accuracy_m]),
        platform=platforms([query.platform], 1),
    )
    snapshot = home.snapshots.current(principal().workspace_id, now_ms=now_ms)
    matches, warnings = match(place, snapshot, now_ms=now_ms)
    return Response(matches_json(matches, snapshot, warnings), mimetype="application/json")


@bp.get("/fences/nearest")
@needs("ingest", "manage")
@bp.input(NearestQuery, location="query", arg_name="query")
@bp.output(NearestOut)
@bp.doc(tags=["Fences"])
def list_nearest(query: NearestQuery) -> NearestOut:
    """The nearest live fences, and how far one may go before asking again"""
    home, now_ms = house(), house().clock.now_ms()
    snapshot = home.snapshots.current(principal().workspace_id, now_ms=now_ms)
    found = nearest_fences(snapshot, lon=query.lng, lat=query.lat, limit=query.limit, now_ms=now_ms)
    return NearestOut(
        items=[_near(fence) for fence in found.fences],
        ask_again_after_m=found.ask_again_after_m,
        as_of=rfc3339(now_ms),
    )


def _near(near: NearFence) -> NearestFence:
    version = near.version
    fence = version.fence
    circle = circle_out(fence.shape)
    return NearestFence(
        id=public("fnc", version.fence_id),
        external_id=fence.external_id,
        name=fence.name,
        tags=list(fence.tags),
        version=version.version,
        distance_m=round(near.distance_m, 2),
        inside=near.inside,
        circle=circle,
        geometry=None if circle else to_geojson(fence.shape),
    )
