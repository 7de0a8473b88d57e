"""`/v1/keys` and `/v1/apps`: who may call, and for which app (product W2, W3)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, Page, answered, page_of, rfc3339
from api.auth import needs, principal
from api.fields import Flag, Key, Name, public_id
from api.routes.actors import author
from api.wiring import house
from nearcast.services import manage_workspace
from nearcast.services.ids import parse, public
from nearcast.store import workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("keys", __name__, url_prefix="/v1", tag="Keys and apps")


class KeyIn(In):
    """A new key. Without `app` it is for all apps, or for the app of the key that makes it."""

    name: Name
    scopes: Annotated[list[str], Field(examples=[["ingest"]], max_length=10)]
    app: Key | None = None
    holds_location_consent: Annotated[
        Flag, Field(description="You declare that you hold each user's consent to location")
    ] = False


class KeyOut(Out):
    """A key, without its text."""

    id: str
    name: str
    hint: str
    scopes: list[str]
    app: str | None
    holds_location_consent: bool
    created_at: str
    revoked_at: str | None


class NewKeyOut(KeyOut):
    """A new key with its text, which is never shown again."""

    key: str


class KeysOut(Out):
    """A page of keys."""

    items: list[KeyOut]
    total: int
    next_cursor: str | None


class AppIn(In):
    """A new app; the zone's default is the workspace's."""

    name: Name
    bundle_id: Annotated[Key, Field(examples=["kr.example.app"])]
    time_zone: Annotated[str | None, Field(max_length=64)] = None


class AppOut(Out):
    """An app."""

    id: str
    name: str
    bundle_id: str
    time_zone: str
    created_at: str


class AppsOut(Out):
    """A page of apps."""

    items: list[AppOut]
    total: int
    next_cursor: str | None


@bp.get("/keys")
@needs("admin")
@bp.input(Page, location="query", arg_name="query")
@bp.output(KeysOut)
def list_keys(query: Page) -> KeysOut:
    """The keys, revoked ones too"""
    who = principal()
    rows = reading(house().engine, lambda conn: manage_workspace.keys_for(conn, who))
    page, total, cursor = page_of(rows, query)
    return KeysOut(items=[_out(row) for row in page], total=total, next_cursor=cursor)


@bp.post("/keys")
@needs("admin")
@bp.input(KeyIn, arg_name="body")
@bp.output(NewKeyOut, 201)
def create_key(body: KeyIn) -> Response:
    """Make a key; the answer alone shows its text"""
    who, now_ms = principal(), house().clock.now_ms()

    def verb(conn: sa.Connection) -> NewKeyOut:
        app_id = who.app_id
        if body.app is not None:
            app_id = manage_workspace.app_of(conn, who, body.app)
        serial, text = manage_workspace.create_key(
            conn,
            workspace_id=who.workspace_id,
            app_id=app_id,
            name=body.name,
            scopes=body.scopes,
            holds_location_consent=body.holds_location_consent,
            now_ms=now_ms,
            actor=who.actor,
        )
        row = next(r for r in manage_workspace.keys_for(conn, who) if r["id"] == serial)
        return NewKeyOut(**_out(row).model_dump(), key=text)

    return answered(verb, status=201)


@bp.delete("/keys/<key_id>")
@needs("admin")
@bp.doc(responses={204: "The key opens nothing any more, everywhere within 2 s"})
def revoke_key(key_id: str) -> Response:
    """Revoke a key"""
    home, who, serial = house(), principal(), parse("key", key_id)

    def verb(conn: sa.Connection) -> None:
        manage_workspace.revoke_key_of(conn, serial, who=who, now_ms=home.clock.now_ms())

    answer = answered(verb, status=204)
    home.keys.forget()
    return answer


@bp.get("/apps")
@needs("manage", "ingest", "test")
@bp.input(Page, location="query", arg_name="query")
@bp.output(AppsOut)
def list_apps(query: Page) -> AppsOut:
    """The apps that this key may speak for"""
    who = principal()
    rows = reading(
        house().engine,
        lambda conn: [
            workspaces.app_row(conn, app_id) for app_id in manage_workspace.apps_for(conn, who)
        ],
    )
    page, total, cursor = page_of(rows, query)
    return AppsOut(items=[_app(row) for row in page], total=total, next_cursor=cursor)


@bp.post("/apps")
@needs("admin")
@bp.input(AppIn, arg_name="body")
@bp.output(AppOut, 201)
def add_app(body: AppIn) -> Response:
    """Add an app to the workspace; a key of one app may not"""
    who = principal()

    def verb(conn: sa.Connection) -> AppOut:
        serial = manage_workspace.add_app(
            conn,
            who=who,
            name=body.name,
            bundle_id=body.bundle_id,
            time_zone=body.time_zone or who.time_zone,
            now_ms=author().now_ms,
        )
        return _app(workspaces.app_row(conn, serial))

    return answered(verb, status=201)


def _out(row: sa.RowMapping) -> KeyOut:
    revoked_ms = row["revoked_ms"]
    return KeyOut(
        id=public("key", row["id"]),
        name=row["name"],
        hint=row["hint"],
        scopes=row["scopes"],
        app=public_id("app", row["app_id"]),
        holds_location_consent=row["holds_location_consent"],
        created_at=rfc3339(row["created_ms"]),
        revoked_at=None if revoked_ms is None else rfc3339(revoked_ms),
    )


def _app(row: sa.RowMapping) -> AppOut:
    return AppOut(
        id=public("app", row["id"]),
        name=row["name"],
        bundle_id=row["bundle_id"],
        time_zone=row["time_zone"],
        created_at=rfc3339(row["created_ms"]),
    )
