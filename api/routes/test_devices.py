"""`/v1/test-devices`: the ADIDs and IDFAs that campaigns in test reach (product T1)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, Page, answered, page_of, rfc3339
from api.auth import needs, principal
from api.fields import Key, Name
from api.wiring import house
from nearcast.services import manage_workspace
from nearcast.services.ids import parse, public
from nearcast.services.manage_workspace import TEST_DEVICE_DAYS
from nearcast.store import workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("test_devices", __name__, url_prefix="/v1", tag="Test devices")


class QaDeviceIn(In):
    """An ad id of a phone that tests."""

    ad_id: Annotated[
        str,
        Field(min_length=1, max_length=64, examples=["38400000-8cf0-11bd-b23e-10b96e40000d"]),
    ]
    name: Name
    app: Key | None = None


class QaDeviceOut(Out):
    """A registered test id."""

    id: str
    app: str
    ad_id: str
    name: str
    created_at: str
    expires_at: str
    expired: bool


class QaDevicesOut(Out):
    """A page of test ids."""

    items: list[QaDeviceOut]
    total: int
    next_cursor: str | None


@bp.get("/test-devices")
@needs("manage", "test")
@bp.input(Page, location="query", arg_name="query")
@bp.output(QaDevicesOut)
def list_test_devices(query: Page) -> QaDevicesOut:
    """The registered test ids, expired ones too"""
    who = principal()
    rows = reading(
        house().engine,
        lambda conn: workspaces.test_devices_of(conn, manage_workspace.apps_for(conn, who)),
    )
    page, total, cursor = page_of(rows, query)
    return QaDevicesOut(items=[_out(row) for row in page], total=total, next_cursor=cursor)


@bp.post("/test-devices")
@needs("manage", "test")
@bp.input(QaDeviceIn, arg_name="body")
@bp.output(QaDeviceOut, 201)
@bp.doc(description=f"It expires after {TEST_DEVICE_DAYS} days; registering it again renews it.")
def register_test_device(body: QaDeviceIn) -> Response:
    """Register a test id, or renew it"""
    who, now_ms = principal(), house().clock.now_ms()

    def verb(conn: sa.Connection) -> QaDeviceOut:
        app_id = manage_workspace.app_of(conn, who, body.app)
        serial = manage_workspace.register_test_device(
            conn,
            app_id=app_id,
            workspace_id=who.workspace_id,
            ad_id=body.ad_id,
            name=body.name,
            now_ms=now_ms,
            actor=who.actor,
        )
        rows = workspaces.test_devices_of(conn, [app_id])
        return _out(next(row for row in rows if row["id"] == serial))

    return answered(verb, status=201)


@bp.delete("/test-devices/<test_device_id>")
@needs("manage", "test")
@bp.doc(responses={204: "The id is registered no more"})
def delete_test_device(test_device_id: str) -> Response:
    """Take a registration back"""
    who, now_ms = principal(), house().clock.now_ms()
    serial = parse("tst", test_device_id)

    def verb(conn: sa.Connection) -> None:
        manage_workspace.remove_test_device(
            conn,
            serial,
            app_ids=manage_workspace.apps_for(conn, who),
            workspace_id=who.workspace_id,
            now_ms=now_ms,
            actor=who.actor,
        )

    return answered(verb, status=204)


def _out(row: sa.RowMapping) -> QaDeviceOut:
    return QaDeviceOut(
        id=public("tst", row["id"]),
        app=public("app", row["app_id"]),
        ad_id=row["ad_id"],
        name=row["name"],
        created_at=rfc3339(row["created_ms"]),
        expires_at=rfc3339(row["expires_ms"]),
        expired=row["expires_ms"] <= house().clock.now_ms(),
    )
