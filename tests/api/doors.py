"""What the tests of the HTTP interface share: keys, a second workspace, ready-made bodies."""

from __future__ import annotations

from typing import Any

from api.wiring import House
from campaigns.campaign.plans import Plan
from nearcast.services.manage_workspace import Scope, create_key
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction

GANGNAM = {"lat": 37.4979, "lng": 127.0276, "radius_m": 150}
SQUARE = {
    "type": "Polygon",
    "coordinates": [[[127.0, 37.5], [127.01, 37.5], [127.01, 37.51], [127.0, 37.51], [127.0, 37.5]]],
}
BOWTIE = {
    "type": "Polygon",
    "coordinates": [[[127.0, 37.5], [127.02, 37.52], [127.02, 37.5], [127.0, 37.51], [127.0, 37.5]]],
}
AD_ID = "38400000-8cf0-11bd-b23e-10b96e40000d"
CAMPAIGN: dict[str, Any] = {
    "name": "Opening week",
    "targeting": {"shape": GANGNAM},
    "period": {"start": "2036-11-23T09:00:00+09:00", "end": "2036-11-30T00:00:00+09:00"},
    "message": {"channel": "inbox", "title": "Welcome", "body": "A coffee is on us."},
}


def key(
    house: House,
    *scopes: Scope,
    workspace_id: int | None = None,
    app_id: int | None = None,
) -> dict[str, str]:
    """The header of a new key; all scopes unless some are named."""
    _, text = in_transaction(
        house.engine,
        lambda conn: create_key(
            conn,
            workspace_id=workspace_id or house.workspace_id,
            app_id=app_id,
            name="a test's",
            scopes=scopes or list(Scope),
            holds_location_consent=True,
            now_ms=0,
            actor="tests",
        ),
    )
    return {"Authorization": f"Bearer {text}"}


def second_workspace(house: House, *, plan: Plan = Plan.PREMIUM) -> tuple[int, int]:
    """Another workspace with one app: their serials."""

    def verb(conn: Any) -> tuple[int, int]:
        workspace_id = workspaces.add(
            conn, name="Other", plan=plan.value, time_zone="Asia/Seoul", now_ms=0
        )
        app_id = workspaces.add_app(
            conn,
            workspace_id=workspace_id,
            name="Other app",
            bundle_id="other",
            time_zone="Asia/Tokyo",
            now_ms=0,
        )
        return workspace_id, app_id

    return in_transaction(house.engine, verb)


def second_app(house: House) -> int:
    """Another app of the default workspace."""
    return in_transaction(
        house.engine,
        lambda conn: workspaces.add_app(
            conn,
            workspace_id=house.workspace_id,
            name="Second",
            bundle_id="kr.example.second",
            time_zone="Asia/Seoul",
            now_ms=0,
        ),
    )


def pointers(answer: Any) -> dict[str, str]:
    """Pointer → code of the faults that a problem names."""
    return {fault["pointer"]: fault["code"] for fault in answer.json["errors"]}
