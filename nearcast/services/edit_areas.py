"""Load and drop area layers (product F10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from geo.areas import AreaLayer, Repair
from nearcast.services.edit_fences import link_areas
from nearcast.services.errors import AlreadyExists, FieldError, Invalid, NotFound
from nearcast.services.ids import public
from nearcast.store import areas, fences, workspaces

KINDS = ("region", "trade_area")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What loading a layer did."""

    layer_id: int
    areas: int
    repairs: Sequence[Repair]


def read_layer(
    data: bytes, *, name_column: str, code_column: str | None = None, crs: str | None = None
) -> tuple[AreaLayer, list[Repair]]:
    """Areas from a file's bytes; see `geo.frames`. Raises `LayerUnreadable`."""
    from geo.frames import layer_of, read_frame  # geopandas takes a second to import

    return layer_of(read_frame(data), name_column=name_column, code_column=code_column, crs=crs)


def add_layer(
    conn: sa.Connection,
    layer: AreaLayer,
    repairs: Sequence[Repair],
    *,
    workspace_id: int,
    name: str,
    kind: str,
    now_ms: int,
    actor: str,
) -> Loaded:
    """Keep a layer and note which fences lie in its areas."""
    if kind not in KINDS:
        message = f"kind is '{kind}'; it must be one of {', '.join(KINDS)}."
        raise Invalid(errors=[FieldError(pointer="/kind", code="unknown_kind", message=message)])
    if any(row["name"] == name for row in areas.layers(conn, workspace_id)):
        raise AlreadyExists(f"There is a layer '{name}' already. Delete it first to load it anew.")
    layer_id = areas.add(
        conn,
        workspace_id=workspace_id,
        name=name,
        kind=kind,
        areas=layer.areas,
        now_ms=now_ms,
    )
    _relink(conn, workspace_id)
    _tell(conn, workspace_id, now_ms, actor, "area_layer.added", layer_id, len(layer.areas))
    return Loaded(layer_id=layer_id, areas=len(layer.areas), repairs=repairs)


def delete_layer(
    conn: sa.Connection, layer_id: int, *, workspace_id: int, now_ms: int, actor: str
) -> None:
    """Forget a layer."""
    if all(row["id"] != layer_id for row in areas.layers(conn, workspace_id)):
        raise NotFound(f"There is no area layer '{public('lay', layer_id)}'.")
    areas.delete(conn, layer_id)
    _tell(conn, workspace_id, now_ms, actor, "area_layer.deleted", layer_id, 0)


def _relink(conn: sa.Connection, workspace_id: int) -> None:
    after, page = 0, True
    while page:
        found, _ = fences.listed(conn, workspace_id=workspace_id, after_id=after, limit=5_000)
        link_areas(conn, {stored.id: stored.fence.shape for stored in found}, workspace_id)
        page = bool(found)
        after = found[-1].id if found else after


def _tell(
    conn: sa.Connection,
    workspace_id: int,
    now_ms: int,
    actor: str,
    action: str,
    layer_id: int,
    count: int,
) -> None:
    workspaces.bump(conn, workspace_id)
    workspaces.note(
        conn,
        workspace_id=workspace_id,
        at_ms=now_ms,
        actor=actor,
        action=action,
        what=public("lay", layer_id),
        detail={"areas": count},
    )
