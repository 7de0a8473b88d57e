"""Stays, evidence chunks and visits: what is kept of each device at each fence (notes/spine.md §3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from geo.matching.presence import Live, Run
from geo.matching.stays import Changes, History, Key, Stay, unpack
from geo.matching.visits import Visit, instants, join
from nearcast.store.engine import Conflict, among, delete_keys, insert_new, locked, upsert
from nearcast.store.tables import evidence_chunk, presence, visit


def of_devices(
    conn: sa.Connection, device_ids: Sequence[int], fence_ids: Sequence[int]
) -> dict[Key, Stay]:
    """The stays of these devices that are inside, and those at these fences.

    They are locked in id order until the transaction ends.
    """
    if not device_ids:
        return {}
    query = (
        sa.select(presence)
        .where(
            among(conn, presence.c.device_id, device_ids),
            presence.c.inside | among(conn, presence.c.fence_id, fence_ids),
        )
        .order_by(presence.c.device_id, presence.c.fence_id)
    )
    rows = conn.execute(locked(conn, query)).mappings()
    return {(row["device_id"], row["fence_id"]): _stay(row) for row in rows}


def histories(conn: sa.Connection, keys: Sequence[Key]) -> dict[Key, History]:
    """What an amendment must see of each pair: its chunks and the visits written so far."""
    devices = sorted({device for device, _ in keys})
    chunks: dict[Key, list[bytes]] = {key: [] for key in keys}
    for row in conn.execute(_chunks().where(among(conn, evidence_chunk.c.device_id, devices))):
        chunks.get((row.device_id, row.fence_id), []).append(row.evidence)
    visits: dict[Key, list[Visit]] = {key: [] for key in keys}
    for row in conn.execute(sa.select(visit).where(among(conn, visit.c.device_id, devices))):
        found = Visit(arrived_ms=row.arrived_ms, left_ms=row.left_ms, fixes=row.fixes, p_sum=row.p_sum)
        visits.get((row.device_id, row.fence_id), []).append(found)
    return {key: _history(chunks[key], visits[key]) for key in keys}


def save(conn: sa.Connection, changes: Changes, *, before: Mapping[Key, Stay]) -> None:
    """Write what a batch changed, as a few statements over many rows.

    Raises:
        Conflict: another process has opened one of the new stays in the meantime.
    """
    rows = {key: _stay_row(key, stay) for key, stay in sorted(changes.stays.items())}
    opened = [row for key, row in rows.items() if key not in before]
    if insert_new(conn, presence, opened) != len(opened):
        raise Conflict
    upsert(conn, presence, [row for key, row in rows.items() if key in before])
    delete_keys(conn, evidence_chunk, [_chunk_key(*gone) for gone in changes.chunks_gone])
    upsert(conn, evidence_chunk, [_chunk_row(*chunk) for chunk in changes.chunks])
    delete_keys(conn, visit, [_visit_key(*gone) for gone in changes.visits_gone])
    upsert(conn, visit, [_visit_row(k, v) for k, found in changes.visits.items() for v in found])


def _chunks() -> sa.Select[Any]:
    return sa.select(evidence_chunk).order_by(evidence_chunk.c.first_ms)


def _history(chunks: list[bytes], visits: list[Visit]) -> History:
    parts = [unpack(chunk) for chunk in chunks]
    return History(
        chunk_firsts_ms=[int(instants(part)[0]) for part in parts],
        evidence=join(np.empty(0, np.int64), *parts),
        visits=visits,
    )


def _stay(row: sa.RowMapping) -> Stay:
    run = Run(
        first_ms=row["out_first_ms"],
        last_ms=row["out_last_ms"],
        fixes=row["out_fixes"],
        far=row["out_far"],
        lon=row["out_lon"],
        lat=row["out_lat"],
    )
    live = Live(
        inside=row["inside"],
        arrived_ms=row["arrived_ms"],
        left_ms=row["left_ms"],
        told_ms=row["told_ms"],
        run=run,
    )
    return Stay(
        live=live,
        fixes=row["fixes"],
        p_sum=row["p_sum"],
        evidence=bytes(row["evidence"]),
    )


def _stay_row(key: Key, stay: Stay) -> dict[str, object]:
    live, run = stay.live, stay.live.run
    return {
        "device_id": key[0],
        "fence_id": key[1],
        "inside": live.inside,
        "told_ms": live.told_ms,
        "arrived_ms": live.arrived_ms,
        "left_ms": live.left_ms,
        "fixes": stay.fixes,
        "p_sum": stay.p_sum,
        "out_first_ms": run.first_ms,
        "out_last_ms": run.last_ms,
        "out_fixes": run.fixes,
        "out_far": run.far,
        "out_lon": run.lon,
        "out_lat": run.lat,
        "evidence": stay.evidence,
    }


def _chunk_key(key: Key, first_ms: int) -> dict[str, object]:
    return {"device_id": key[0], "fence_id": key[1], "first_ms": first_ms}


def _chunk_row(key: Key, packed: bytes) -> dict[str, object]:
    first_ms = int(instants(unpack(packed[:8]))[0])
    return _chunk_key(key, first_ms) | {"evidence": packed}


def _visit_key(key: Key, arrived_ms: int) -> dict[str, object]:
    return {"device_id": key[0], "fence_id": key[1], "arrived_ms": arrived_ms}


def _visit_row(key: Key, found: Visit) -> dict[str, object]:
    return _visit_key(key, found.arrived_ms) | {
        "left_ms": found.left_ms,
        "fixes": found.fixes,
        "p_sum": found.p_sum,
    }
