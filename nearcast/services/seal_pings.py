"""Seal the ping log: rows that no transaction touches any more become Parquet files by UTC day.

A portion is 1. read, 2. written aside, durably, 3. registered in the transaction that deletes its rows
from the log, 4. renamed. A process that dies before 3 leaves a file aside, which the next one deletes;
after 3, a file that counts and is only not renamed yet: readers find it aside, the next one renames it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from geo.matching.nights import nights_touched
from geo.matching.pings import Outcome
from nearcast.store import ping_log, ping_seals
from nearcast.store.engine import in_transaction, reading
from nearcast.store.ping_files import PingFiles, SealedFixes, aside_of, name_of, table_of
from nearcast.store.ping_fixes import Flag
from nearcast.store.ping_seals import Waiting

DAY_MS = 86_400_000
#: so many pings are sealed at once (52 MB of log): more wait for nothing, fewer make many small files
PORTION = 1_000_000
#: what is younger stays in the log, where other processes read it as it comes
HOLD_MS = 2 * 60_000
#: a file aside that is not registered and older than this belongs to nobody
ABANDONED_S = 3_600.0
_EPOCH = date(1970, 1, 1)
#: days since then of the first date there is; a phone that says it is older lies there, too
_FIRST_DAY = (date.min - _EPOCH).days


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What one pass has done."""

    pings: int
    files: int


class _SealedByAnother(Exception):
    """Another process has sealed the same rows first."""


def seal_pings(engine: sa.Engine, files: PingFiles, *, now_ms: int, portion: int = PORTION) -> Sealed:
    """Seal what was seen on days that are over, and of today what fills whole portions.

    Args:
        now_ms: by the clock that the pings were seen by.
        portion: how many pings make a file of today.
    Raises:
        PingFilesUnreachable: the folder cannot be written; the log keeps everything.
    """
    mend(engine, files)
    today_ms = now_ms // DAY_MS * DAY_MS
    recent_ms = max(today_ms, now_ms - HOLD_MS)
    sealed, written = 0, 0
    for app in reading(engine, lambda conn: ping_seals.waiting(conn, seen_before_ms=recent_ms)):
        left = app.pings
        while app.oldest_ms < today_ms or left >= portion:
            before_ms = today_ms if app.oldest_ms < today_ms else recent_ms
            done = _seal_some(engine, files, app, before_ms, portion, now_ms)
            if done.pings == 0:
                if before_ms == recent_ms:
                    break
                app = replace(app, oldest_ms=today_ms)  # the days before are done
            left -= done.pings
            sealed, written = sealed + done.pings, written + done.files
    return Sealed(pings=sealed, files=written)


def mend(engine: sa.Engine, files: PingFiles) -> None:
    """Finish what a process that died had begun: rename what counts, delete what does not."""
    _name_all(engine, files)
    old = files.asides(older_than_s=ABANDONED_S, now_s=time.time())
    if old:
        counted = {file.aside for file in reading(engine, ping_seals.unnamed)}
        for aside in old:
            if aside not in counted:
                files.delete(aside)


def _seal_some(
    engine: sa.Engine, files: PingFiles, app: Waiting, before_ms: int, portion: int, now_ms: int
) -> Sealed:
    """Seal one portion of an app's rows that were seen before an instant."""
    rows = reading(
        engine,
        lambda conn: ping_seals.take(conn, app_id=app.app_id, seen_before_ms=before_ms, most=portion),
    )
    found = ping_log.unpacked(rows)
    if not len(found.fixes):
        return Sealed(pings=0, files=0)
    written = _write(engine, files, app, found, now_ms)
    files.make_durable()
    nights = _nights(found, app.zone)

    def verb(conn: sa.Connection) -> None:
        seqs = [seq for seq, _ in rows]
        if not ping_seals.register(conn, app_id=app.app_id, seqs=seqs, files=written, nights=nights):
            raise _SealedByAnother

    try:
        in_transaction(engine, verb)
    except _SealedByAnother:
        for file in written:
            files.delete(file["aside"])
        return Sealed(pings=0, files=0)
    _name_all(engine, files)
    return Sealed(pings=len(found.fixes), files=len(written))


def _write(
    engine: sa.Engine, files: PingFiles, app: Waiting, found: SealedFixes, now_ms: int
) -> list[dict[str, Any]]:
    """Write a file a day aside; the rows that will register them."""
    rows = []
    for day, part in _by_day(found):
        token = secrets.token_hex(4)
        table = table_of(
            part.fixes,
            part.seq,
            keys=lambda serials: reading(
                engine, lambda conn: ping_seals.keys_of(conn, serials.tolist())
            ),
            app_id=app.app_id,
            app=app.bundle_id,
        )
        seqs = {"first_seq": int(part.seq.min()), "last_seq": int(part.seq.max())}
        at_ms = part.fixes["at_ms"]
        rows.append(
            {
                "app_id": app.app_id,
                "day": day,
                "name": name_of(app_id=app.app_id, day=day.isoformat(), token=token, **seqs),
                "aside": aside_of(token),
                "going": False,
                **seqs,
                "pings": len(at_ms),
                "held": int(np.count_nonzero(part.fixes["outcome"] == Outcome.QUARANTINED)),
                "first_ms": int(at_ms.min()),
                "last_ms": int(at_ms.max()),
                "bytes": files.write_aside(table, token),
                "sealed_ms": now_ms,
            }
        )
    return rows


def _by_day(found: SealedFixes) -> Iterator[tuple[date, SealedFixes]]:
    """The pings of each UTC day, by device and instant; of one instant in the order of the log."""
    day = np.floor_divide(found.fixes["at_ms"], DAY_MS)
    order = np.lexsort((found.fixes["at_ms"], found.fixes["device"], day))
    days, first = np.unique(day[order], return_index=True)
    for number, rows in zip(days.tolist(), np.split(order, first[1:]), strict=True):
        yield (
            _EPOCH + timedelta(days=max(number, _FIRST_DAY)),
            SealedFixes(fixes=found.fixes[rows], seq=found.seq[rows]),
        )


def _nights(found: SealedFixes, zone: str) -> list[date]:
    """The nights that these pings change."""
    counts = (found.fixes["flags"] & Flag.HELD) == 0
    return nights_touched(found.fixes["at_ms"][counts], ZoneInfo(zone))


def _name_all(engine: sa.Engine, files: PingFiles) -> None:
    """Rename what counts and lies aside."""
    aside = reading(engine, ping_seals.unnamed)
    if aside:
        files.rename([(str(file.aside), file.name) for file in aside])
        in_transaction(engine, lambda conn: ping_seals.named(conn, [file.id for file in aside]))
