"""The page at `/`: in the demo its report with a map, elsewhere the way to the documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import shapely
import sqlalchemy as sa
from flask import Blueprint, Response, make_response, redirect, render_template, request

from api.console.picture import MapFence, MapRegion, map_svg, rings_of
from api.demo.files import fixture
from api.wiring import House, house
from campaigns.deciding.gates import POSITIVE
from campaigns.measuring.reports import Report
from geo.fences.fence import CircleShape
from geo.fences.shapes import representative_point
from nearcast.services.write_reports import report
from nearcast.store import campaigns, devices, fences, workspaces
from nearcast.store.engine import reading
from nearcast.store.fences import Filter, StoredFence

TOP_FENCES = 20
MAX_DRAWN = 5_000
MAP_SIZE = (1150, 640)

bp = Blueprint("home", __name__)


@bp.get("/")
def home() -> Response:
    """The demo's report; a real installation shows nobody's figures without a key."""
    here = house()
    if not here.settings.demo:
        return make_response(redirect("/docs"))
    lang: Literal["ko", "en"] = "en" if request.args.get("lang") == "en" else "ko"
    page = reading(here.engine, lambda conn: _page(conn, here, lang))
    if page is None:
        return make_response(redirect("/docs"))
    return make_response(render_template("report.html", **page))


def _page(conn: sa.Connection, here: House, lang: Literal["ko", "en"]) -> dict[str, Any] | None:
    """The variables of `report.html`, which lists them; None before there is a campaign."""
    apps = list(workspaces.apps_of(conn, here.workspace_id).values())
    rows, _ = campaigns.listed(conn, app_ids=apps, state=None, after_id=0, limit=200)
    if not rows:
        return None
    first = min(rows, key=lambda row: int(row["id"]))
    found = report(conn, first["id"], from_ms=None, until_ms=None, now_ms=here.clock.now_ms())
    other = "en" if lang == "ko" else "ko"
    return {
        "lang": lang,
        "static_url": "/static",
        "docs_url": "/docs",
        "other_lang_url": f"/?lang={other}",
        "demo": True,
        "campaign": {"name": found.name, "state": found.state},
        "period": f"{_day(found.from_ms, found)} – {_day(found.until_ms - 1, found)}",
        "as_of": f"{_local(found.as_of_ms, found):%Y-%m-%d %H:%M:%S %Z}",
        "totals": _totals(found, devices.people(conn, app_id=first["app_id"])),
        "per_day": found.per_day,
        "per_fence": found.per_fence[:TOP_FENCES],
        "fences_total": found.fences_total,
        "reasons": [
            {"code": reason.code, "count": reason.count}
            for reason in found.reasons
            if reason.code not in POSITIVE
        ],
        "decisions_total": found.decisions,
        "downloads": [],
        "map_svg": _map(conn, here, found, lang),
    }


def _totals(found: Report, people_seen: int) -> dict[str, Any]:
    low, high = found.totals.response_interval or (None, None)
    shown = {"people_seen": people_seen, "response_low": low, "response_high": high}
    return asdict(found.totals) | shown


def _map(conn: sa.Connection, here: House, found: Report, lang: Literal["ko", "en"]) -> str:
    stored, _ = fences.listed(
        conn, workspace_id=here.workspace_id, after_id=0, limit=MAX_DRAWN, only=Filter()
    )
    visits = {row.fence_id: row.visits for row in found.per_fence}
    return map_svg(
        fences=[_drawn(one, visits.get(one.id, 0)) for one in stored],
        regions=_background(),
        width=MAP_SIZE[0],
        height=MAP_SIZE[1],
        lang=lang,
    )


def _drawn(stored: StoredFence, visits: int) -> MapFence:
    shape = stored.fence.shape
    lon, lat = representative_point(shape)
    if isinstance(shape, CircleShape):
        return MapFence(name=stored.fence.name, lon=lon, lat=lat, radius_m=shape.radius_m, value=visits)
    rings = rings_of(shape.geometry)
    return MapFence(name=stored.fence.name, lon=lon, lat=lat, rings=rings, value=visits)


def _background() -> list[MapRegion]:
    """The demo's districts and its river; the river is no layer, it is only for the picture."""
    return [*_drawn_areas("regions.geojson", "land"), *_drawn_areas("water.geojson", "water")]


def _drawn_areas(file: str, kind: Literal["land", "water"]) -> Iterator[MapRegion]:
    for feature in json.loads(fixture(file))["features"]:
        about = feature["properties"]
        yield MapRegion(
            name=about["name"],
            rings=rings_of(shapely.geometry.shape(feature["geometry"])),
            kind=kind,
            city=about.get("city", ""),
        )


def _local(at_ms: int, found: Report) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(found.time_zone))


def _day(at_ms: int, found: Report) -> date:
    return _local(at_ms, found).date()
