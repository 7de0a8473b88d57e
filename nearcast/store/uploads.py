"""Uploads: the file, where its review stands, its lines, and how headings were mapped before.

A process that works on an upload holds a lease; one that died leaves a lease that runs out, and another
process begins that step anew: every step ends in one transaction, so nothing is ever half done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from geo.errors import NearcastError
from nearcast.store.bulk import insert_many
from nearcast.store.engine import among, locked, upsert
from nearcast.store.tables import heading_mapping, upload, upload_file, upload_part

#: lines a part: a page of a list opens one or two of them
PART_LINES = 500
#: longer ones are kept by their digest
_LONGEST_SIGNATURE = 500


class UploadState(StrEnum):
    """Where an upload stands (api.md)."""

    CHECKING = "checking"
    CHECKED = "checked"
    APPLYING = "applying"
    APPLIED = "applied"
    UNDOING = "undoing"
    UNDONE = "undone"
    FAILED = "failed"


#: the states in which a process works on it, or should
AT_WORK = (UploadState.CHECKING, UploadState.APPLYING, UploadState.UNDOING)
#: the kind of the parts that say what was applied; the other kinds are the states of lines
DONE = "done"


class LeaseLost(NearcastError):
    """Another process took this upload over; this one's work is not kept."""

    code = "lease_lost"


def add(
    conn: sa.Connection,
    *,
    workspace_id: int,
    kind: str,
    file_name: str,
    body: bytes,
    options: Mapping[str, Any],
    actor: str,
    now_ms: int,
) -> int:
    """Keep a file that waits for its check; returns the upload's serial."""
    values = {
        "workspace_id": workspace_id,
        "kind": kind,
        "file_name": file_name,
        "file_bytes": len(body),
        "options": dict(options),
        "state": UploadState.CHECKING,
        "progress": 0.0,
        "counts": {},
        "report": {},
        "actor": actor,
        "created_ms": now_ms,
        "updated_ms": now_ms,
        "lease_until_ms": 0,
    }
    upload_id = int(conn.execute(sa.insert(upload).values(**values).returning(upload.c.id)).scalar_one())
    conn.execute(sa.insert(upload_file).values(upload_id=upload_id, body=body))
    return upload_id


def get(
    conn: sa.Connection, *, workspace_id: int, upload_id: int, lock: bool = False
) -> sa.RowMapping | None:
    """One upload of a workspace; with `lock` nobody else changes it until the transaction ends."""
    query = sa.select(upload).where(upload.c.workspace_id == workspace_id, upload.c.id == upload_id)
    return conn.execute(locked(conn, query) if lock else query).mappings().first()


def listed(
    conn: sa.Connection, *, workspace_id: int, after_id: int, limit: int
) -> tuple[list[sa.RowMapping], int]:
    """A page of uploads, the oldest first, and how many there are in all.

    Without `options` and `report`, which may be megabytes each.
    """
    own = upload.c.workspace_id == workspace_id
    brief = [column for column in upload.c if column.name not in ("options", "report")]
    page = sa.select(*brief).where(own, upload.c.id > after_id).order_by(upload.c.id).limit(limit)
    total = conn.execute(sa.select(sa.func.count()).select_from(upload).where(own)).scalar_one()
    return list(conn.execute(page).mappings()), total


def file_of(conn: sa.Connection, upload_id: int) -> bytes | None:
    """The file as it came; None once it was forgotten."""
    query = sa.select(upload_file.c.body).where(upload_file.c.upload_id == upload_id)
    return conn.execute(query).scalar()


def change(conn: sa.Connection, upload_id: int, **values: Any) -> None:
    """Set columns of an upload."""
    conn.execute(sa.update(upload).where(upload.c.id == upload_id).values(**values))


def delete(conn: sa.Connection, upload_id: int) -> None:
    """Forget an upload, its file and its lines; the fences it made stay."""
    for table in (upload_part, upload_file):
        conn.execute(sa.delete(table).where(table.c.upload_id == upload_id))
    conn.execute(sa.delete(upload).where(upload.c.id == upload_id))


def forget_before(conn: sa.Connection, before_ms: int) -> int:
    """Forget the uploads that nobody touched since an instant; returns how many they were."""
    old = (upload.c.updated_ms < before_ms) & upload.c.state.not_in(AT_WORK)
    ids = list(conn.execute(sa.select(upload.c.id).where(old)).scalars())
    for upload_id in ids:
        delete(conn, upload_id)
    return len(ids)


# --- leases -------------------------------------------------------------------------------------


def any_due(conn: sa.Connection, wall_ms: int) -> bool:
    """Whether an upload waits for a process to work on it."""
    return conn.execute(sa.select(sa.exists(_due(wall_ms)))).scalar_one()


def lease(conn: sa.Connection, *, holder: str, wall_ms: int, until_ms: int) -> sa.RowMapping | None:
    """Take the oldest upload that waits; None if none does."""
    query = _due(wall_ms).order_by(upload.c.id).limit(1)
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    found = conn.execute(query).mappings().first()
    if found is not None:
        _hold(conn, found, holder, until_ms)
    return found


def lease_one(
    conn: sa.Connection, upload_id: int, *, holder: str, wall_ms: int, until_ms: int
) -> sa.RowMapping | None:
    """Take this upload, if it waits."""
    query = locked(conn, _due(wall_ms).where(upload.c.id == upload_id))
    found = conn.execute(query).mappings().first()
    if found is not None:
        _hold(conn, found, holder, until_ms)
    return found


def _hold(conn: sa.Connection, row: sa.RowMapping, holder: str, until_ms: int) -> None:
    values = {"lease_holder": holder, "lease_until_ms": until_ms, "attempts": row["attempts"] + 1}
    change(conn, row["id"], **values)


def _due(wall_ms: int) -> sa.Select[Any]:
    return sa.select(upload).where(upload.c.state.in_(AT_WORK), upload.c.lease_until_ms <= wall_ms)


def say(
    conn: sa.Connection, upload_id: int, *, holder: str, stage: str, progress: float, until_ms: int
) -> None:
    """Note how far the work is, and keep the lease. Raises `LeaseLost`."""
    held = (upload.c.id == upload_id) & (upload.c.lease_holder == holder)
    values = {"stage": stage, "progress": progress, "lease_until_ms": until_ms}
    if conn.execute(sa.update(upload).where(held).values(**values)).rowcount != 1:
        raise LeaseLost


def finish(conn: sa.Connection, upload_id: int, *, holder: str, now_ms: int, **values: Any) -> None:
    """End a step and give the lease back. Raises `LeaseLost`, which undoes the transaction."""
    held = (upload.c.id == upload_id) & (upload.c.lease_holder == holder)
    ended = {"stage": None, "lease_holder": None, "lease_until_ms": 0, "attempts": 0}
    ended["updated_ms"] = now_ms
    if conn.execute(sa.update(upload).where(held).values(**ended | values)).rowcount != 1:
        raise LeaseLost


# --- lines --------------------------------------------------------------------------------------


def put_parts(conn: sa.Connection, upload_id: int, parts: Sequence[tuple[str, int, int, bytes]]) -> None:
    """Replace the parts of the kinds that are given: (kind, index of the first line, lines, body)."""
    kinds = sorted({kind for kind, *_ in parts})
    own = upload_part.c.upload_id == upload_id
    conn.execute(sa.delete(upload_part).where(own, upload_part.c.kind.in_(kinds)))
    rows = [
        {"upload_id": upload_id, "kind": kind, "first": first, "lines": lines, "body": body}
        for kind, first, lines, body in parts
        if lines
    ]
    insert_many(conn, upload_part, rows)


def clear_parts(conn: sa.Connection, upload_id: int) -> None:
    """Forget all lines of an upload."""
    conn.execute(sa.delete(upload_part).where(upload_part.c.upload_id == upload_id))


def parts(
    conn: sa.Connection, upload_id: int, kind: str, *, from_line: int = 0
) -> Iterator[tuple[int, bytes]]:
    """(index of its first line, body) of the parts of a kind from the one that holds a line on."""
    query = (
        sa.select(upload_part.c.first, upload_part.c.body)
        .where(
            upload_part.c.upload_id == upload_id,
            upload_part.c.kind == kind,
            upload_part.c.first + upload_part.c.lines > from_line,
        )
        .order_by(upload_part.c.first)
    )
    for row in conn.execute(query):
        yield row.first, row.body


# --- mappings -------------------------------------------------------------------------------------


def remember_mapping(
    conn: sa.Connection,
    *,
    workspace_id: int,
    kind: str,
    signature: str,
    mapping: Mapping[str, str | None],
    now_ms: int,
) -> None:
    """Keep how these headings were mapped."""
    key = {"workspace_id": workspace_id, "kind": kind, "signature": kept_signature(signature)}
    upsert(conn, heading_mapping, [key | {"mapping": dict(mapping), "used_ms": now_ms}])


def mappings(
    conn: sa.Connection, *, workspace_id: int, kind: str, signatures: Sequence[str]
) -> dict[str, dict[str, str | None]]:
    """Signature → mapping, of those that were mapped before."""
    by_key = {kept_signature(signature): signature for signature in signatures}
    query = sa.select(heading_mapping.c.signature, heading_mapping.c.mapping).where(
        heading_mapping.c.workspace_id == workspace_id,
        heading_mapping.c.kind == kind,
        among(conn, heading_mapping.c.signature, list(by_key)),
    )
    return {by_key[row.signature]: row.mapping for row in conn.execute(query)}


def kept_signature(signature: str) -> str:
    """A signature as it is kept: many long headings are more than an index of PostgreSQL holds.

    What was kept so is kept as it is.
    """
    if len(signature) <= _LONGEST_SIGNATURE:
        return signature
    return "sha256:" + hashlib.sha256(signature.encode()).hexdigest()
