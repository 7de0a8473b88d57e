"""`/v1/fence-groups`: groups of fences, filled by hand (product F6; Basic and Premium)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Lang, Out, Page, answered, file_answer, page_of, rfc3339
from api.auth import needs, principal
from api.fields import Name
from api.problems import language
from api.routes.actors import author
from api.wiring import house
from nearcast.services import group_fences
from nearcast.services.export_fences import MIMETYPES, Format, export_fences
from nearcast.services.ids import parse, public
from nearcast.store import groups
from nearcast.store.engine import reading

MAX_AT_ONCE = 1_000
#: up to so many fences are written at once, more by a process aside
EXPORTED_HERE = 2_000

bp = APIBlueprint("groups", __name__, url_prefix="/v1", tag="Fence groups")

FenceIds = Annotated[list[str], Field(max_length=MAX_AT_ONCE, examples=[["fnc_12"]])]


class GroupIn(In):
    """A new group."""

    name: Name
    fence_ids: FenceIds = Field(default_factory=list)


class Members(In):
    """Fences to put into a group."""

    fence_ids: FenceIds


class GroupOut(Out):
    """A group and how many fences are in it."""

    id: str
    name: str
    fences: int
    created_at: str


class GroupsOut(Out):
    """A page of groups."""

    items: list[GroupOut]
    total: int
    next_cursor: str | None


@bp.get("/fence-groups")
@needs("manage")
@bp.input(Page, location="query", arg_name="query")
@bp.output(GroupsOut)
def list_groups(query: Page) -> GroupsOut:
    """The groups of fences"""
    workspace_id = principal().workspace_id
    rows = reading(house().engine, lambda conn: groups.listed(conn, workspace_id))
    page, total, cursor = page_of(rows, query)
    return GroupsOut(items=[_out(row) for row in page], total=total, next_cursor=cursor)


@bp.post("/fence-groups")
@needs("manage")
@bp.input(GroupIn, arg_name="body")
@bp.output(GroupOut, 201)
def create_group(body: GroupIn) -> Response:
    """Make a group, with fences in it if you name them"""
    serials = [parse("fnc", fence_id) for fence_id in body.fence_ids]

    def verb(conn: sa.Connection) -> GroupOut:
        serial = group_fences.add_group(conn, body.name, fence_ids=serials, author=author())
        return _shown(conn, serial)

    return answered(verb, status=201)


@bp.get("/fence-groups/<group_id>")
@needs("manage")
@bp.output(GroupOut)
def get_group(group_id: str) -> GroupOut:
    """One group"""
    serial = parse("grp", group_id)
    return reading(house().engine, lambda conn: _shown(conn, serial))


@bp.delete("/fence-groups/<group_id>")
@needs("manage")
@bp.doc(responses={204: "The group is gone; its fences stay"})
def delete_group(group_id: str) -> Response:
    """Delete a group; its fences stay. One that a living campaign names is kept (409)"""
    serial = parse("grp", group_id)
    return answered(lambda conn: group_fences.delete_group(conn, serial, author=author()), status=204)


@bp.get("/fence-groups/<group_id>/export.<any(xlsx,csv,geojson):ending>")
@needs("manage")
@bp.input(Lang, location="query", arg_name="query")
@bp.doc(responses={200: "A workbook"})
def export_group(group_id: str, ending: str, query: Lang) -> Response:
    """The fences of a group as a file; a sheet uploads again with nothing changed"""
    serial, kind, home = parse("grp", group_id), Format(ending), house()
    who, lang = author(), query.lang or language()
    group = reading(home.engine, lambda conn: group_fences.load(conn, serial, author=who))
    if group["fences"] <= EXPORTED_HERE:
        data, _ = reading(
            home.engine,
            lambda conn: export_fences(
                conn, kind, workspace_id=who.workspace_id, group=group["name"], lang=lang
            ),
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"fences.{ending}"
            home.aside.write(path, "export", str(serial), str(who.workspace_id), kind.value, lang)
            data = path.read_bytes()
    return file_answer(data, MIMETYPES[kind], f"{group['name']}.{ending}")


@bp.post("/fence-groups/<group_id>/members")
@needs("manage")
@bp.input(Members, arg_name="body")
@bp.output(GroupOut)
def add_members(group_id: str, body: Members) -> Response:
    """Put many fences into a group"""
    return _changed(group_id, body.fence_ids)


@bp.put("/fence-groups/<group_id>/members/<fence_id>")
@needs("manage")
@bp.output(GroupOut)
def put_member(group_id: str, fence_id: str) -> Response:
    """Put a fence into a group; nothing changes if it is in it"""
    return _changed(group_id, [fence_id])


@bp.delete("/fence-groups/<group_id>/members/<fence_id>")
@needs("manage")
@bp.output(GroupOut)
def delete_member(group_id: str, fence_id: str) -> Response:
    """Take a fence out of a group; the fence stays"""
    serial, fence = parse("grp", group_id), parse("fnc", fence_id)

    def verb(conn: sa.Connection) -> GroupOut:
        group_fences.remove_members(conn, serial, [fence], author=author())
        return _shown(conn, serial)

    return answered(verb)


def _changed(group_id: str, fence_ids: list[str]) -> Response:
    serial = parse("grp", group_id)
    members = [parse("fnc", fence_id) for fence_id in fence_ids]

    def verb(conn: sa.Connection) -> GroupOut:
        group_fences.add_members(conn, serial, members, author=author())
        return _shown(conn, serial)

    return answered(verb)


def _shown(conn: sa.Connection, serial: int) -> GroupOut:
    return _out(group_fences.load(conn, serial, author=author()))


def _out(row: sa.RowMapping) -> GroupOut:
    return GroupOut(
        id=public("grp", row["id"]),
        name=row["name"],
        fences=row["fences"],
        created_at=rfc3339(row["created_ms"]),
    )
