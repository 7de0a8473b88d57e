"""Save, change and delete fences: every edit is a new version with its time (product F5, F6, F9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import sqlalchemy as sa
import tzfpy

from campaigns.campaign.plans import LEAST_PLAN, Feature, Plan, opens
from geo.antimeridian import unwrap
from geo.areas import AreaLayer
from geo.fences.fence import CircleShape, Fence, Shape
from geo.fences.shapes import representative_point
from geo.measure import circle_boxes
from nearcast.services.check_policies import rule_faults
from nearcast.services.errors import AlreadyExists, FieldError, Invalid, NotAllowedNow, PlanRequired
from nearcast.services.ids import public
from nearcast.store import areas as area_store
from nearcast.store import campaigns as campaign_store
from nearcast.store import fences, workspaces
from nearcast.store import groups as group_store
from nearcast.store.fences import StoredFence

MAX_METADATA_KEYS = 16  # product F5
MAX_NAME = 200
MAX_EXTERNAL_ID = 128
_SHOWN_NAME = 40
_SLICE = 5_000  # fences whose rows are held in memory at once


class Change(StrEnum):
    """What saving did."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A fence to be saved.

    Attributes:
        area_km2: as measured by the reader of its shape.
        before: the fence it replaces, None for a new one.
        renewed: a new version even if nothing differs: the fence was deleted and comes back.
    """

    fence: Fence
    area_km2: float
    before: StoredFence | None = None
    renewed: bool = False


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What became of one."""

    fence_id: int
    version: int
    change: Change


def save_fences(
    conn: sa.Connection,
    wanted: Sequence[Wanted],
    *,
    workspace_id: int,
    plan: Plan,
    now_ms: int,
    actor: str,
    campaign_id: int | None = None,
) -> list[Saved]:
    """Save many fences at once, in the order given; what says nothing new makes no version.

    Raises:
        Invalid: a fence breaks a rule that its shape cannot show.
        PlanRequired: groups in a plan without them.
        AlreadyExists: a new fence's external id belongs to another one.
    """
    _check(conn, wanted, workspace_id, plan)
    changed = [w for w in wanted if w.before is None or w.renewed or not _same(w.before.fence, w.fence)]
    new = [w for w in changed if w.before is None]
    serials = iter(fences.take_serials(conn, len(new)))
    ids = {id(w): next(serials) if w.before is None else w.before.id for w in changed}
    made = {"workspace_id": workspace_id, "campaign_id": campaign_id, "created_ms": now_ms}
    for start in range(0, len(changed), _SLICE):
        some = {ids[id(w)]: w for w in changed[start : start + _SLICE]}
        _write(conn, some, made, now_ms=now_ms, actor=actor)
        _link(conn, some, workspace_id, now_ms)
    if changed:
        _tell(conn, workspace_id, now_ms, actor, new=len(new), changed=len(changed) - len(new), ids=ids)
    return [_saved(w, ids) for w in wanted]


def _write(
    conn: sa.Connection,
    changed: Mapping[int, Wanted],
    made: Mapping[str, object],
    *,
    now_ms: int,
    actor: str,
) -> None:
    """The rows and versions of fences by serial; `made` are the columns that only new ones get."""
    boxes = _boxes([w.fence.shape for w in changed.values()])
    rows = [
        _row(w, box) | {"id": fence_id, "updated_ms": now_ms}
        for (fence_id, w), box in zip(changed.items(), boxes, strict=True)
    ]
    pairs = list(zip(rows, changed.values(), strict=True))
    fences.insert(conn, [{**row, **made} for row, w in pairs if w.before is None])
    fences.update(conn, [row for row, w in pairs if w.before is not None])
    fences.add_versions(
        conn,
        [
            fences.version_row(
                fence_id=row["id"],
                version=row["version"],
                value=w.fence,
                time_zone=time_zone_of(w.fence.shape),
                now_ms=now_ms,
                actor=actor,
            )
            for row, w in pairs
        ],
        ended=[w.before.id for w in changed.values() if w.before is not None],
        now_ms=now_ms,
    )


def delete_fences(
    conn: sa.Connection,
    found: Sequence[StoredFence],
    *,
    workspace_id: int,
    now_ms: int,
    actor: str,
) -> None:
    """Delete fences; one that a living campaign names is kept, and the campaign is named."""
    users = campaign_store.using_fences(conn, {stored.id for stored in found})
    if users:
        names = ", ".join(f"{public('cmp', row['id'])} ({row['name']})" for row, _ in users)
        raise NotAllowedNow(
            f"Used by {names}. End the campaign, or take the fence out of it.",
            korean=f"{names}에서 쓰고 있어요. 캠페인을 끝내거나 캠페인에서 지오펜스를 빼 주세요.",
        )
    if not found:
        return
    fences.mark_deleted(conn, [stored.id for stored in found], now_ms=now_ms)
    workspaces.bump(conn, workspace_id)
    workspaces.note(
        conn,
        workspace_id=workspace_id,
        at_ms=now_ms,
        actor=actor,
        action="fence.deleted",
        what=",".join(public("fnc", stored.id) for stored in found[:20]),
        detail={"fences": len(found)},
    )


def require_plan(plan: Plan, feature: Feature) -> None:
    """Refuse unless a plan opens a feature, naming the plan that does."""
    if not opens(plan, feature):
        name = feature.value.replace("_", " ")
        needed = LEAST_PLAN[feature].value.title()
        raise PlanRequired(
            f"{name.capitalize()} need the plan {needed}; this is {plan.value.title()}.",
            korean=f"{needed} 요금제부터 쓸 수 있는 기능이에요. 지금 요금제: {plan.value.title()}.",
        )


def time_zone_of(shape: Shape) -> str:
    """The IANA zone at a shape's representative point; UTC where the map has none."""
    lon, lat = representative_point(shape)
    name = str(tzfpy.get_tz(lon, lat))
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name


def link_areas(conn: sa.Connection, shapes: Mapping[int, Shape], workspace_id: int) -> None:
    """Note which areas of the workspace's layers hold each fence's representative point (F10)."""
    area_store.clear_fences(conn, list(shapes))
    _add_areas(conn, shapes, workspace_id)


def _add_areas(conn: sa.Connection, shapes: Mapping[int, Shape], workspace_id: int) -> None:
    layer, serials = _layers(conn, workspace_id)
    if not serials or not shapes:
        return
    places = np.array([representative_point(shape) for shape in shapes.values()])
    point, area = layer.holding(lon=places[:, 0], lat=places[:, 1])
    held: dict[int, list[int]] = {}
    fence_ids = list(shapes)
    for p, a in zip(point.tolist(), area.tolist(), strict=True):
        held.setdefault(fence_ids[p], []).append(serials[a])
    area_store.add_fences(conn, held)


#: layers are read often and change seldom: those used last stay decoded
_MAX_LAYERS_KEPT = 8
_kept_layers: dict[tuple[object, ...], tuple[AreaLayer, list[int]]] = {}


def _layers(conn: sa.Connection, workspace_id: int) -> tuple[AreaLayer, list[int]]:
    key = (str(conn.engine.url), workspace_id, area_store.version(conn, workspace_id))
    found = _kept_layers.get(key)
    if found is None:
        found = area_store.load(conn, workspace_id)
        if len(_kept_layers) >= _MAX_LAYERS_KEPT:
            _kept_layers.clear()
        _kept_layers[key] = found
    return found


def _check(conn: sa.Connection, wanted: Sequence[Wanted], workspace_id: int, plan: Plan) -> None:
    errors = [error for w in wanted for error in _faults(w.fence)]
    if errors:
        raise Invalid(errors=errors)
    if any(w.fence.groups for w in wanted):
        require_plan(plan, Feature.FENCE_GROUPS)
    keys = [w.fence.external_id for w in wanted if w.fence.external_id]
    if len(set(keys)) < len(keys):
        raise AlreadyExists("The same external_id is given twice.")
    taken = fences.by_external(conn, workspace_id=workspace_id, external_ids=keys) if keys else {}
    for w in wanted:
        other = taken.get(w.fence.external_id or "")
        if other is not None and (w.before is None or w.before.id != other.id):
            raise AlreadyExists(
                f"external_id '{w.fence.external_id}' belongs to {public('fnc', other.id)} "
                f"({other.fence.name}). PUT /v1/fences/{w.fence.external_id} changes it."
            )


def _faults(fence: Fence) -> list[FieldError]:
    found = []
    of = f"'{fence.name[:_SHOWN_NAME]}'"  # of many fences saved at once, this one
    if fence.external_id is not None and len(fence.external_id) > MAX_EXTERNAL_ID:
        message = f"The external_id of {of} has more than {MAX_EXTERNAL_ID} characters."
        found.append(FieldError(pointer="/external_id", code="too_long", message=message))
    if any(len(group) > MAX_NAME for group in fence.groups):
        message = f"A group of {of} has a name of more than {MAX_NAME} characters."
        found.append(FieldError(pointer="/groups", code="too_long", message=message))
    if not fence.name.strip() or len(fence.name) > MAX_NAME:
        message = f"A fence needs a name of 1 to {MAX_NAME} characters; one has {of}."
        found.append(FieldError(pointer="/name", code="name_length", message=message))
    if len(fence.metadata) > MAX_METADATA_KEYS:
        message = f"metadata has {len(fence.metadata)} keys; at most {MAX_METADATA_KEYS} are kept."
        found.append(FieldError(pointer="/metadata", code="too_many_keys", message=message))
    if fence.valid_from and fence.valid_until and fence.valid_from >= fence.valid_until:
        message = "valid_until must be later than valid_from."
        found.append(FieldError(pointer="/valid_until", code="empty_period", message=message))
    if fence.dwell_after_s is not None and fence.dwell_after_s <= 0:
        message = "dwell_after_s must be positive."
        found.append(FieldError(pointer="/dwell_after_s", code="not_positive", message=message))
    if fence.presence is not None:
        found += rule_faults(fence.presence, of=of)
    return found


def _same(a: Fence, b: Fence) -> bool:
    if fences.attributes_of(a) != fences.attributes_of(b):
        return False
    if isinstance(a.shape, CircleShape) or isinstance(b.shape, CircleShape):
        return a.shape == b.shape
    return a.shape.geometry.normalize() == b.shape.geometry.normalize()


def _row(w: Wanted, box: Sequence[float]) -> dict[str, Any]:
    """The columns of a fence that an edit sets."""
    west, south, east, north = box
    return {
        "external_id": w.fence.external_id,
        "name": w.fence.name,
        "version": w.before.version + 1 if w.before else 1,
        "area_km2": w.area_km2,
        "west": west,
        "south": south,
        "east": east,
        "north": north,
    }


def _boxes(shapes: Sequence[Shape]) -> list[list[float]]:
    """(west, south, east, north) of each shape, east may pass 180; all circles at once."""
    boxes = np.empty((len(shapes), 4))
    circles = [(n, s) for n, s in enumerate(shapes) if isinstance(s, CircleShape)]
    if circles:
        at = [n for n, _ in circles]
        lon, lat, radius_m = np.array([(s.lon, s.lat, s.radius_m) for _, s in circles]).T
        boxes[at] = np.column_stack(circle_boxes(lon=lon, lat=lat, radius_m=radius_m))
    for n, shape in enumerate(shapes):
        if not isinstance(shape, CircleShape):
            boxes[n] = unwrap(shape.geometry).bounds
    return boxes.tolist()


def _link(conn: sa.Connection, saved: Mapping[int, Wanted], workspace_id: int, now_ms: int) -> None:
    """Groups and areas of the fences that were saved; those of new ones need no clearing."""
    groups = group_store.ensure(
        conn,
        workspace_id=workspace_id,
        names={name for w in saved.values() for name in w.fence.groups},
        now_ms=now_ms,
    )
    known = [fence_id for fence_id, w in saved.items() if w.before is not None]
    group_store.clear_fences(conn, known)
    group_store.add_fences(
        conn, {fence_id: [groups[g] for g in set(w.fence.groups)] for fence_id, w in saved.items()}
    )
    area_store.clear_fences(conn, known)
    _add_areas(conn, {fence_id: w.fence.shape for fence_id, w in saved.items()}, workspace_id)


def _tell(
    conn: sa.Connection,
    workspace_id: int,
    now_ms: int,
    actor: str,
    *,
    new: int,
    changed: int,
    ids: Mapping[int, int],
) -> None:
    workspaces.bump(conn, workspace_id)
    workspaces.note(
        conn,
        workspace_id=workspace_id,
        at_ms=now_ms,
        actor=actor,
        action="fence.saved",
        what=",".join(public("fnc", fence_id) for fence_id in sorted(ids.values())[:20]),
        detail={"new": new, "changed": changed},
    )


def _saved(w: Wanted, ids: Mapping[int, int]) -> Saved:
    if id(w) not in ids:
        if w.before is None:
            raise ValueError("a new fence is always written")
        return Saved(fence_id=w.before.id, version=w.before.version, change=Change.SAME)
    if w.before is None:
        return Saved(fence_id=ids[id(w)], version=1, change=Change.NEW)
    return Saved(fence_id=w.before.id, version=w.before.version + 1, change=Change.CHANGED)


def with_groups(found: StoredFence, groups: Sequence[str]) -> Wanted:
    """A fence as it is, but in these groups."""
    fence = replace(found.fence, groups=tuple(dict.fromkeys(groups)))
    return Wanted(fence=fence, area_km2=found.area_km2, before=found)
