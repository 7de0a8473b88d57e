"""`/v1/area-layers`: regions and trade areas that fences know themselves in (product F10)."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from apiflask import APIBlueprint
from apiflask.fields import UploadFile
from flask import Response, g, request
from pydantic import ConfigDict, Field
from werkzeug.datastructures import FileStorage

from api.answers import In, Out, Page, answered, page_of, rfc3339
from api.auth import needs, principal
from api.fields import Name
from api.problems import BodyTooLarge
from api.routes.actors import author
from api.wiring import house
from geo.areas import Repair
from nearcast.services import edit_areas
from nearcast.services.ids import parse, public
from nearcast.store import areas
from nearcast.store.engine import reading

#: layers are reference data that an operator loads; a country's outlines take some 100 MB as GeoJSON
MAX_LAYER_BYTES = 512 << 20
MAX_REPAIRS_SHOWN = 200

bp = APIBlueprint("areas", __name__, url_prefix="/v1", tag="Area layers")


class LayerIn(In):
    """A layer's file, and which of its columns name the areas."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    file: UploadFile
    name: Name
    kind: Literal["region", "trade_area"]
    name_column: str
    code_column: str | None = None
    crs: Annotated[
        str | None, Field(description="such as EPSG:5181, where the file itself does not say")
    ] = None


class RepairOut(Out):
    """An area that came invalid and was mended."""

    name: str
    fault: str
    area_before_km2: float
    area_after_km2: float


class LayerOut(Out):
    """A layer and how many areas it has."""

    id: str
    name: str
    kind: str
    areas: int
    created_at: str


class LoadedOut(LayerOut):
    """A layer that was just loaded, and what had to be mended: at most 200 are listed."""

    repaired: int
    repairs: list[RepairOut]


class LayersOut(Out):
    """A page of layers."""

    items: list[LayerOut]
    total: int
    next_cursor: str | None


@bp.get("/area-layers")
@needs("manage")
@bp.input(Page, location="query", arg_name="query")
@bp.output(LayersOut)
def list_layers(query: Page) -> LayersOut:
    """The area layers"""
    workspace_id = principal().workspace_id
    rows = reading(house().engine, lambda conn: areas.layers(conn, workspace_id))
    page, total, cursor = page_of(rows, query)
    return LayersOut(items=[_out(row) for row in page], total=total, next_cursor=cursor)


@bp.post("/area-layers")
@needs("manage")
@bp.doc(responses={413: "The file is larger than 512 MiB", 415: "The body is no multipart form"})
@bp.input(LayerIn, location="files", arg_name="form")
@bp.output(LoadedOut, 201)
def add_layer(form: LayerIn) -> Response:
    """Load a layer from GeoJSON, GeoPackage, KML or a zipped Shapefile

    Areas that come invalid are mended and listed with their change of area. Every fence learns its
    areas by its representative point.
    """
    file: FileStorage = form.file
    # the form is read; what an Idempotency-Key stands for is the file and the fields
    data = file.read()
    g.body = data + repr(sorted(request.form.items())).encode("utf-8", "surrogatepass")
    layer, repairs = edit_areas.read_layer(
        data, name_column=form.name_column, code_column=form.code_column, crs=form.crs
    )

    def verb(conn: sa.Connection) -> LoadedOut:
        who = author()
        loaded = edit_areas.add_layer(
            conn,
            layer,
            repairs,
            workspace_id=who.workspace_id,
            name=form.name,
            kind=form.kind,
            now_ms=who.now_ms,
            actor=who.actor,
        )
        row = next(r for r in areas.layers(conn, who.workspace_id) if r["id"] == loaded.layer_id)
        return LoadedOut(
            **_out(row).model_dump(),
            repaired=len(repairs),
            repairs=[_repair(repair) for repair in repairs[:MAX_REPAIRS_SHOWN]],
        )

    return answered(verb, status=201)


@bp.delete("/area-layers/<layer_id>")
@needs("manage")
@bp.doc(responses={204: "The layer is gone; the fences stay"})
def delete_layer(layer_id: str) -> Response:
    """Delete a layer; the fences stay and forget its areas"""
    serial, who = parse("lay", layer_id), author()
    return answered(
        lambda conn: edit_areas.delete_layer(
            conn, serial, workspace_id=who.workspace_id, now_ms=who.now_ms, actor=who.actor
        ),
        status=204,
    )


@bp.before_request
def allow_large_files() -> None:
    """Layers may be larger than other bodies, but not without end."""
    if request.method == "POST":
        if (request.content_length or 0) > MAX_LAYER_BYTES:
            raise BodyTooLarge("The file is larger than 512 MiB. Split the layer.")
        request.max_content_length = MAX_LAYER_BYTES


@bp.teardown_request
def close_files(_: BaseException | None) -> None:
    """A large upload lies in a file of its own, also where its form was refused."""
    request.close()


def _out(row: sa.RowMapping) -> LayerOut:
    return LayerOut(
        id=public("lay", row["id"]),
        name=row["name"],
        kind=row["kind"],
        areas=row["areas"],
        created_at=rfc3339(row["created_ms"]),
    )


def _repair(repair: Repair) -> RepairOut:
    return RepairOut(
        name=repair.name,
        fault=repair.fault,
        area_before_km2=repair.area_before_m2 / 1e6,
        area_after_km2=repair.area_after_m2 / 1e6,
    )
