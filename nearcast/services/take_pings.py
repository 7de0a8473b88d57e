"""Take pings: from columns to outcomes, visits, transitions, decisions and messages.

One straight line (architecture.md, "A ping's way"), one transaction. A verb is pure up to commit: when
another process wins a race, `in_transaction` runs it again from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from campaigns.deciding.gates import SENDS, Decision, candidates, decide, slot_of
from campaigns.deciding.snapshot import Snapshot
from campaigns.people.identity import Identity, may_keep_location, person_of
from geo.matching.certainty import Judgement, Verdict, judge
from geo.matching.hits import Hits
from geo.matching.pings import Admission, Bools, Ints, Outcome, PingReason, Pings, admit
from geo.matching.presence import Cause, Event, Fix, Kind, Transition
from geo.matching.recent import RecentFixes, SeenFix
from geo.matching.stays import Changes, Key, Stay, advance, backfilled
from nearcast import failpoints, stages
from nearcast.services.raw_pings import RawPings
from nearcast.store import decisions as decision_store
from nearcast.store import devices as device_store
from nearcast.store import ping_log
from nearcast.store import stays as stay_store
from nearcast.store.devices import Device


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a batch.

    Attributes:
        admission: outcome and reason of each ping.
        transitions: live transitions, in time order per device and fence.
        decisions: what was decided about them.
        messages: inbox deliveries for the answer: those just decided, and those that the first
            sending of a repeated ping got, while they have not expired.
    """

    admission: Admission
    transitions: Sequence[Transition]
    decisions: Sequence[Decision]
    messages: Sequence[Mapping[str, Any]]


def take_pings(
    conn: sa.Connection,
    raw: RawPings,
    *,
    app_id: int,
    snapshot: Snapshot,
    recent: RecentFixes,
    key_holds_consent: bool,
    backfill: bool = False,
) -> Receipt:
    """Take one batch of one app.

    Args:
        recent: what this process remembers of committed pings (`RecentLog.catch_up`).
        key_holds_consent: the API key's declaration that its backend holds location consents.
        backfill: history: visits only; nothing is told, nothing is sent (product P11).
    """
    failpoints.hit("ingest.begun")
    lap = stages.started()
    found, refused = _identify(conn, raw, app_id, key_holds=key_holds_consent)
    lap("identify")
    pings = _columns(raw, found)
    policy = snapshot.presence
    admission = admit(
        pings,
        refused=refused,
        repeated=recent.repeated(pings),
        is_test=_is_test(raw, snapshot, app_id),
        staleness_ms=policy.staleness_s * 1000,
        amend_horizon_ms=_horizon_ms(snapshot, backfill=backfill),
    )
    lap("admit")
    people = _settle(conn, raw, pings, admission, app_id, found)
    pings = _columns(raw, people)
    lap("settle")
    near = _candidates(snapshot, pings, admission.counts, backfill=backfill)
    lap("match")
    stays = _stays(conn, snapshot, pings, near, admission)
    lap("stays read")
    rows, judged = _judge(snapshot, pings, admission, near, stays, backfill=backfill)
    lap("verdicts")
    changes = advance(
        stays,
        _groups(snapshot, pings, admission, rows, judged, stays, backfill=backfill),
        policy=policy,
        load=lambda keys: stay_store.histories(conn, keys),
    )
    _label_known(admission, changes)
    lap("advance")
    transitions = _transitions(snapshot, pings, changes, recent)
    lap("transitions")
    made = _decide(conn, snapshot, pings, transitions, people, app_id)
    lap("decide")
    if backfill:
        kept = {key: backfilled(stay, stays.get(key)) for key, stay in changes.stays.items()}
        changes = replace(changes, stays=kept)
    ping_log.append(conn, app_id=app_id, pings=pings, admission=admission)
    failpoints.hit("ingest.logged")
    lap("log")
    stay_store.save(conn, changes, before=stays)
    failpoints.hit("ingest.evidence")
    lap("stays written")
    _save_decisions(conn, snapshot, made, app_id)
    failpoints.hit("ingest.decided")
    lap("decisions written")
    receipt = Receipt(
        admission=admission,
        transitions=transitions,
        decisions=made,
        messages=_messages(conn, pings, admission, made),
    )
    failpoints.hit("ingest.before_commit")
    lap("messages read")
    return receipt


def match_only(raw: RawPings, snapshot: Snapshot) -> tuple[Hits, Judgement]:
    """Which fences hold each ping, and how certainly, without keeping anything."""
    unknown = _columns(raw, {})
    hits = _candidates(snapshot, unknown, np.ones(len(unknown), bool), backfill=False)
    return hits, _verdicts(snapshot, unknown, hits)


# --- 3 identify -------------------------------------------------------------------------------------


def _identify(
    conn: sa.Connection, raw: RawPings, app_id: int, *, key_holds: bool
) -> tuple[dict[str, Device], dict[int, PingReason]]:
    """Who is known already, and the rows refused for want of identity or consent."""
    refused = dict(raw.refused)
    known = device_store.known(conn, app_id=app_id, keys=[key for key in raw.keys if key is not None])
    for row, key in enumerate(raw.keys):
        if key is None:
            refused.setdefault(row, PingReason.NO_IDENTITY)
            continue
        said = raw.said[row].location if row in raw.said else None
        stored = known[key].location if key in known else None
        if not may_keep_location(said=said, stored=stored, key_holds=key_holds):
            refused.setdefault(row, PingReason.LOCATION_CONSENT_MISSING)
    return known, refused


def _settle(
    conn: sa.Connection,
    raw: RawPings,
    pings: Pings,
    admission: Admission,
    app_id: int,
    known: dict[str, Device],
) -> dict[str, Device]:
    """Meet the new devices and write what the others newly say of themselves."""
    said: dict[str, Identity] = {}
    seen_ms: dict[str, int] = {}
    for row, code in enumerate(admission.outcome.tolist()):
        who = raw.said.get(row) or Identity(key=raw.keys[row])
        refuses = (
            admission.reason.get(row) is PingReason.LOCATION_CONSENT_MISSING and who.location is False
        )
        if who.key is None or (code == Outcome.REJECTED and not refuses):
            continue
        if refuses:
            who = Identity(key=who.key, location=False)  # this much is kept of it, and nothing else
        key = str(who.key)
        said[key] = _latest(said.get(key), who)
        seen_ms.setdefault(key, int(pings.at_ms[row]))
    return device_store.settle(conn, app_id=app_id, said=said, before=known, seen_ms=seen_ms)


def _latest(before: Identity | None, now: Identity) -> Identity:
    if before is None or before == now:
        return now
    said = {
        name: value
        for name in ("ad_id", "user_id", "location", "marketing", "night")
        if (value := getattr(now, name)) is not None
    }
    return replace(before, **said)


def _columns(raw: RawPings, devices: Mapping[str, Device]) -> Pings:
    serial = {key: device.id for key, device in devices.items()}
    return Pings(
        device=np.array([serial.get(key or "", -1) for key in raw.keys], np.int64),
        lon=raw.lon,
        lat=raw.lat,
        accuracy_m=raw.accuracy_m,
        at_ms=raw.at_ms,
        now_ms=raw.now_ms,
        platform=raw.platform,
        mocked=raw.mocked,
    )


def _is_test(raw: RawPings, snapshot: Snapshot, app_id: int) -> Bools:
    """Rows of registered test ids, as long as their registration holds."""
    known = snapshot.test_ids.get(app_id, {})
    if not known:
        return np.zeros(len(raw), bool)
    expires_ms = np.zeros(len(raw), np.int64)
    for row, who in raw.said.items():
        expires_ms[row] = known.get(who.ad_id or "", 0)
    return raw.now_ms < expires_ms


def _horizon_ms(snapshot: Snapshot, *, backfill: bool) -> int:
    # history may be as old as it likes
    return 1 << 60 if backfill else snapshot.presence.amend_horizon_s * 1000


# --- 5 match ----------------------------------------------------------------------------------------


def _stays(
    conn: sa.Connection, snapshot: Snapshot, pings: Pings, near: Hits, admission: Admission
) -> dict[Key, Stay]:
    """What is kept of the batch's devices where they are inside, and at the fences they are near."""
    devices = np.unique(pings.device[admission.counts])
    fence_ids = np.unique(snapshot.index.fence_id[near.fence])
    return stay_store.of_devices(conn, devices[devices >= 0].tolist(), fence_ids.tolist())


def _judge(
    snapshot: Snapshot,
    pings: Pings,
    admission: Admission,
    near: Hits,
    stays: Mapping[Key, Stay],
    *,
    backfill: bool,
) -> tuple[Hits, Judgement]:
    """Verdicts for every fix × the fences near it, and × the fences its device is or comes in."""
    followed = _followed(snapshot, pings, admission, near, stays, backfill=backfill)
    hits = Hits.sorted_from(
        np.concatenate([near.ping, followed.ping]),
        np.concatenate([near.fence, followed.fence]),
        fences=len(snapshot.index.versions),
        unique=True,
    )
    return hits, _verdicts(snapshot, pings, hits)


def _candidates(snapshot: Snapshot, pings: Pings, rows: Bools, *, backfill: bool) -> Hits:
    wanted = np.flatnonzero(rows)
    some = pings.take(wanted)
    hits = snapshot.index.candidates(lon=some.lon, lat=some.lat, at_ms=None, accuracy_m=some.accuracy_m)
    return _live(snapshot, pings, Hits(ping=wanted[hits.ping], fence=hits.fence), backfill=backfill)


def _live(snapshot: Snapshot, pings: Pings, hits: Hits, *, backfill: bool) -> Hits:
    """The pairs whose fence version is live at the fix's instant.

    History may be older than the fences it is loaded for: there the oldest version known of a fence
    also covers the time before it, unless the fence says itself from when it is valid.
    """
    index = snapshot.index
    at_ms = pings.at_ms[hits.ping]
    began = index.live_from_ms[hits.fence] <= at_ms
    if backfill:
        rows, oldest = np.unique(hits.fence), np.zeros(len(index.versions), bool)
        for row in rows.tolist():
            version = index.versions[row]
            first = index.rows_of(version.fence_id)[0]
            oldest[row] = row == first and version.fence.valid_from is None
        began |= oldest[hits.fence]
    live = began & (at_ms < index.live_until_ms[hits.fence])
    return Hits(ping=hits.ping[live], fence=hits.fence[live])


def _followed(
    snapshot: Snapshot,
    pings: Pings,
    admission: Admission,
    near: Hits,
    stays: Mapping[Key, Stay],
    *,
    backfill: bool,
) -> Hits:
    """Each fix × the fence versions, live at its instant, of the fences its device is or comes in.

    A device that comes in by this batch may leave by it: all its fixes of the batch are judged.
    """
    index = snapshot.index
    keys = {key for key, stay in stays.items() if stay.live.inside}
    keys.update(zip(pings.device[near.ping].tolist(), index.fence_id[near.fence].tolist(), strict=True))
    versions: dict[int, list[int]] = {}
    for device, fence_id in keys:
        versions.setdefault(device, []).extend(index.rows_of(fence_id))
    followed = admission.counts & np.isin(pings.device, np.array(list(versions), np.int64))
    rows = np.flatnonzero(followed)
    fences = [versions[device] for device in pings.device[rows].tolist()]
    ping = np.repeat(rows, [len(listed) for listed in fences])
    fence = np.array([row for listed in fences for row in listed], np.int64)
    return _live(snapshot, pings, Hits(ping=ping, fence=fence), backfill=backfill)


def _verdicts(snapshot: Snapshot, pings: Pings, hits: Hits) -> Judgement:
    return judge(
        snapshot.index,
        lon=pings.lon,
        lat=pings.lat,
        accuracy_m=pings.accuracy_m,
        platform=pings.platform,
        ping=hits.ping,
        fence=hits.fence,
        policy=snapshot.certainty,
    )


# --- 6, 7 step and fold -----------------------------------------------------------------------------


def _groups(
    snapshot: Snapshot,
    pings: Pings,
    admission: Admission,
    hits: Hits,
    judged: Judgement,
    stays: Mapping[Key, Stay],
    *,
    backfill: bool,
) -> list[tuple[Key, list[Fix], list[int]]]:
    """The judged fixes by (device, fence), in time order, one an instant: the surest one.

    A pair whose device is not inside matters only by its in fixes.
    """
    device, fence_id = pings.device[hits.ping], snapshot.index.fence_id[hits.fence]
    at_ms = pings.at_ms[hits.ping]
    matters = _matters(device, fence_id, judged, stays)
    order = np.flatnonzero(matters)
    # the surest fix of one instant comes last
    by_time = (judged.p[order], judged.verdict[order], at_ms[order], fence_id[order], device[order])
    order = order[np.lexsort(by_time)]
    ping = hits.ping[order]
    staleness_ms = snapshot.presence.staleness_s * 1000
    fresh = (pings.now_ms - pings.at_ms <= staleness_ms) & (not backfill)
    columns = (
        ping,
        at_ms[order],
        judged.verdict[order],
        judged.p[order],
        judged.rim_m[order],
        judged.sigma_m[order],
        pings.lon[ping],
        pings.lat[ping],
        fresh[ping],
    )
    keys = zip(device[order].tolist(), fence_id[order].tolist(), strict=True)
    groups: dict[Key, dict[int, Fix]] = {}
    rows: dict[Key, set[int]] = {}
    for key, row, values in zip(
        keys, hits.fence[order].tolist(), zip(*(c.tolist() for c in columns), strict=True), strict=True
    ):
        fix = Fix(*values)
        groups.setdefault(key, {})[fix.at_ms] = fix
        rows.setdefault(key, set()).add(row)
    return [
        (
            key,
            list(by_instant.values()),
            sorted({dwell_s for row in rows[key] for dwell_s in snapshot.dwells_s(row)}),
        )
        for key, by_instant in groups.items()
    ]


def _matters(device: Ints, fence_id: Ints, judged: Judgement, stays: Mapping[Key, Stay]) -> Bools:
    """Pairs with an in fix in this batch, and those whose device is inside already."""
    width = int(fence_id.max(initial=0)) + 1
    code = device * width + fence_id
    inside = [d * width + f for (d, f), stay in stays.items() if stay.live.inside and f < width]
    wanted = np.concatenate([code[judged.verdict == Verdict.IN], np.array(inside, np.int64)])
    return np.isin(code, wanted)


def _label_known(admission: Admission, changes: Changes) -> None:
    """A ping whose evidence was there before is a duplicate, whatever memory says."""
    for row in changes.known:
        if admission.outcome[row] >= Outcome.LATE:
            admission.outcome[row] = Outcome.DUPLICATE


def _transitions(
    snapshot: Snapshot, pings: Pings, changes: Changes, recent: RecentFixes
) -> list[Transition]:
    gap_ms = snapshot.presence.gap_s * 1000
    before = _previous(pings, recent, {key[0] for key, _ in changes.events})
    found = []
    for (device, fence_id), event in changes.events:
        fence = _version_at(snapshot, fence_id, event.fix.at_ms)
        seen = before(device, event.fix.at_ms) if event.kind is Kind.ENTER else None
        transition = Transition(
            device=device,
            fence=fence,
            fence_id=fence_id,
            ping=event.fix.ping,
            kind=event.kind,
            at_ms=event.at_ms,
            seen_ms=event.fix.at_ms,
            arrived_ms=event.arrived_ms,
            p=event.fix.p,
            rim_m=event.fix.rim_m,
            dwell_s=event.dwell_s,
            initial=event.kind is Kind.ENTER and (seen is None or event.fix.at_ms - seen.at_ms > gap_ms),
            cause=_cause(snapshot, event, fence, seen),
        )
        found.append(transition)
    return sorted(found, key=lambda t: (t.seen_ms, t.ping))


def _cause(snapshot: Snapshot, event: Event, fence: int, seen: SeenFix | None) -> Cause:
    """A fence drawn or moved over a device that stands there is an edit (product P4).

    It stands there: its fix before the edit, within the gap, lies in the shape that came after it.
    """
    if event.kind is not Kind.ENTER or seen is None:
        return event.cause
    drawn_ms = int(snapshot.index.live_from_ms[fence])
    gap_ms = snapshot.presence.gap_s * 1000
    if not (seen.at_ms <= drawn_ms <= event.fix.at_ms and event.fix.at_ms - seen.at_ms <= gap_ms):
        return event.cause
    place = {"lon": np.array([seen.lon]), "lat": np.array([seen.lat])}
    stood = snapshot.index.hold(**place, ping=np.array([0]), fence=np.array([fence]))
    return Cause.FENCE_EDIT if bool(stood[0]) else event.cause


def _previous(
    pings: Pings, recent: RecentFixes, devices: set[int]
) -> Callable[[int, int], SeenFix | None]:
    """A look-up: the newest fix of a device before an instant, in this batch or remembered."""
    rows = np.flatnonzero(np.isin(pings.device, np.array(sorted(devices), np.int64)))
    fixes: dict[int, list[SeenFix]] = {}
    columns = (pings.device[rows], pings.at_ms[rows], pings.lon[rows], pings.lat[rows])
    for device, *seen in zip(*(c.tolist() for c in columns), strict=True):
        fixes.setdefault(device, []).append(SeenFix(*seen))

    def before(device: int, at_ms: int) -> SeenFix | None:
        remembered = recent.before(device, at_ms)
        earlier = [fix for fix in fixes.get(device, ()) if fix.at_ms < at_ms]
        return max([*earlier, remembered] if remembered else earlier, default=None)

    return before


def _version_at(snapshot: Snapshot, fence_id: int, at_ms: int) -> int:
    index = snapshot.index
    for row in index.rows_of(fence_id):
        if index.live_from_ms[row] <= at_ms < index.live_until_ms[row]:
            return row
    return index.rows_of(fence_id)[-1]


# --- 8 decide ---------------------------------------------------------------------------------------


def _decide(
    conn: sa.Connection,
    snapshot: Snapshot,
    pings: Pings,
    transitions: Sequence[Transition],
    devices: Mapping[str, Device],
    app_id: int,
) -> list[Decision]:
    by_id = {device.id: device for device in devices.values()}
    people = {
        t.device: (
            person_of(device_id=t.device, user_id=by_id[t.device].user_id),
            by_id[t.device].ad_id,
        )
        for t in transitions
    }
    now_ms = {t.ping: int(pings.now_ms[t.ping]) for t in transitions}
    asked = list(candidates(snapshot, transitions, people, now_ms, app_id=app_id))
    if not asked:
        return []
    oldest_ms = min(candidate.transition.at_ms for candidate in asked)
    made = decision_store.made_before(conn, [c.transition.device for c in asked], oldest_ms)
    fresh = [c for c in asked if decision_store.key_of(c) not in made]
    taken = decision_store.slots_taken(conn, filter(None, map(slot_of, fresh)))
    return decide(snapshot, fresh, taken)


def _save_decisions(
    conn: sa.Connection, snapshot: Snapshot, made: Sequence[Decision], app_id: int
) -> None:
    if not made:
        return
    versions = snapshot.index.versions
    rows = {decision.candidate.transition.fence for decision in made}
    decision_store.save(
        conn,
        made,
        app_id=app_id,
        fence_versions={row: versions[row].version for row in rows},
        snapshot_version=snapshot.version,
    )


def _messages(
    conn: sa.Connection, pings: Pings, admission: Admission, made: Sequence[Decision]
) -> list[dict[str, Any]]:
    again = admission.outcome == Outcome.DUPLICATE
    columns = (pings.device[again], pings.at_ms[again], pings.now_ms[again])
    triggers = {
        (device, at_ms): now_ms
        for device, at_ms, now_ms in zip(*(c.tolist() for c in columns), strict=True)
    }
    triggers |= {
        (d.candidate.transition.device, d.candidate.transition.at_ms): d.candidate.now_ms
        for d in made
        if d.reason in SENDS
    }
    return decision_store.inbox_of(conn, triggers) if triggers else []
