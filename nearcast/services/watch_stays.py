"""What happens to stays while no fix comes: silence, presumed dwells, the sweep (product P4).

`Watch.look` is called again and again, by the worker, and by the server where no worker runs; several
processes may look at once. A look reads; only where something is due it takes a few stays at a time,
whose rows nobody else holds, and what it writes and tells of them is one transaction. A process that
dies leaves nothing half done: whoever looks next finds what is left.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import sqlalchemy as sa

from campaigns.deciding.gates import candidates
from campaigns.deciding.snapshot import Snapshot
from campaigns.messages.events import Subscription
from campaigns.people.identity import person_of
from geo.matching.presence import PresencePolicy, Transition
from geo.matching.stay_columns import EVIDENCE, Changes, Key, Stays, ToldEvent
from geo.matching.stay_timers import presumed, silent, sweep_cut_ms, swept
from geo.matching.visits import P_SCALE
from nearcast.services.clocks import Clock
from nearcast.services.decide_pings import decided_about
from nearcast.services.keep_snapshot import Snapshots
from nearcast.services.tell_webhooks import ToldVisit, tell, told_visits
from nearcast.store import campaigns, fences, sweeping, workspaces
from nearcast.store import devices as device_store
from nearcast.store.devices import Device
from nearcast.store.engine import Conflict, in_transaction, reading

LOOK_EVERY_S = 1.0
#: how long to leave the database alone when it does not answer
PAUSE_S = 2.0
TICK_EVERY_MS = 5_000
#: silence is dated back and sends nothing: no need to have intakes forget their stays more often
SILENCE_EVERY_MS = 30_000
SWEEP_EVERY_MS = 60_000
#: stays that one transaction takes: pings do not wait long for it
A_TIME = 250
_NO_PING = -1
_LONG_AGO_MS = -SWEEP_EVERY_MS
_EVIDENCE_BYTES = EVIDENCE.itemsize
#: `silence` or `sweep`: does what is due for at most so many stays; how many have changed
Timer = Callable[..., int]


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What the timers must know of a workspace."""

    policy: PresencePolicy
    webhooks: Sequence[Subscription]


class Watch:
    """The timers of one process, by the service's clock: under a replay they go as the pings go."""

    def __init__(self, engine: sa.Engine, snapshots: Snapshots, clock: Clock) -> None:
        self._engine = engine
        self._snapshots = snapshots
        self._clock = clock
        self._done_ms = dict.fromkeys(("presume", "silence", "sweep"), _LONG_AGO_MS)

    def look(self) -> int:
        """Do what is due by now; returns how many stays have changed. Cheap when called too often."""
        now_ms = self._clock.now_ms()
        changed = 0
        if self._is_due("presume", TICK_EVERY_MS, now_ms):
            changed += self._presume(now_ms)
        if self._is_due("silence", SILENCE_EVERY_MS, now_ms):
            changed += self._all(silence, now_ms)
        if self._is_due("sweep", SWEEP_EVERY_MS, now_ms):
            changed += self._all(sweep, now_ms)
        return changed

    def _is_due(self, what: str, every_ms: int, now_ms: int) -> bool:
        due = now_ms - self._done_ms[what] >= every_ms
        if due:
            self._done_ms[what] = now_ms
        return due

    def keep_looking(self, stop: threading.Event, told: Callable[[str], None]) -> None:
        """Look until told to stop: for a thread of a server, where no worker need run.

        Args:
            told: is given the name of each fault of the database; the next look tries again.
        """
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.look()
            except (sa.exc.SQLAlchemyError, Conflict) as error:
                told(type(error).__name__)
                self._done_ms = dict.fromkeys(self._done_ms, _LONG_AGO_MS)
                stop.wait(PAUSE_S)

    def _all(self, timer: Timer, now_ms: int) -> int:
        """A timer over all that is due, some stays a transaction."""
        find = sweeping.over if timer is sweep else sweeping.silent
        total = 0
        while reading(self._engine, lambda conn: find(conn, now_ms, _policies(conn), limit=1)):
            changed = in_transaction(self._engine, partial(timer, now_ms=now_ms))
            if not changed:
                return total  # somebody else is at them
            total += changed
        return total

    def _presume(self, now_ms: int) -> int:
        total = 0
        for workspace_id in reading(self._engine, campaigns.presuming):
            snapshot = self._snapshots.current(workspace_id, now_ms=now_ms)
            due = reading(self._engine, partial(presumable, snapshot=snapshot, now_ms=now_ms))
            for first in range(0, len(due), A_TIME):
                some = partial(
                    presume, snapshot=snapshot, now_ms=now_ms, keys=due[first : first + A_TIME]
                )
                total += in_transaction(self._engine, some)
        return total


def silence(conn: sa.Connection, now_ms: int, *, limit: int = A_TIME) -> int:
    """Tell that devices have left of whom nothing was heard for longer than the gap.

    Dated at the last fix inside; webhooks only, it never sends. Returns how many stays have changed.
    """
    grounds = _grounds(conn)
    keys = sweeping.silent(conn, now_ms, {n: g.policy for n, g in grounds.items()}, limit=limit)
    return _take(conn, keys, grounds, now_ms, silent)


def sweep(conn: sa.Connection, now_ms: int, *, limit: int = A_TIME) -> int:
    """End the visits that nothing in time order can continue any more; their stays go.

    Visits become final, evidence goes to a chunk, whoever was still inside has left by silence. Returns
    how many stays went.
    """
    grounds = _grounds(conn)
    keys = sweeping.over(conn, now_ms, {n: g.policy for n, g in grounds.items()}, limit=limit)
    return _take(conn, keys, grounds, now_ms, swept)


def presumable(conn: sa.Connection, snapshot: Snapshot, now_ms: int) -> list[Key]:
    """The stays for which a dwell can be presumed now, where a campaign opts in."""
    fence_ids = snapshot.presuming_fences
    if not fence_ids:
        return []
    found = sweeping.standing(conn, now_ms, workspace_id=snapshot.workspace_id, fence_ids=fence_ids)
    due = presumed(found, now_ms, snapshot.presumed_s).moved
    return list(zip(due.device.tolist(), due.fence_id.tolist(), strict=True))


def presume(conn: sa.Connection, snapshot: Snapshot, now_ms: int, keys: Sequence[Key]) -> int:
    """Presume the dwells that are due at these stays and decide about them.

    Only campaigns that opt in hear of it, and the decision says that it was presumed; endpoints are
    told what fixes have shown. Returns how many stays have changed.
    """
    stays = sweeping.held(conn, keys)
    changes = presumed(stays, now_ms, snapshot.presumed_s)
    if not len(changes.moved):
        return 0
    transitions = _presumed(snapshot, stays, changes)
    devices = device_store.by_id(conn, [t.device for t in transitions])
    owners = sweeping.owners(conn, list(devices))
    by_app: dict[int, list[Transition]] = defaultdict(list)
    for transition in transitions:
        by_app[owners[transition.device].app_id].append(transition)
    for app_id, of_app in sorted(by_app.items()):
        people = {(t.device, _NO_PING): _person(devices[t.device]) for t in of_app}
        asked = candidates(snapshot, of_app, people, {_NO_PING: now_ms}, app_id=app_id)
        decided_about(conn, snapshot, list(asked), app_id=app_id)
    sweeping.write(conn, changes)
    return len(changes.moved)


# --- inside -----------------------------------------------------------------------------------------


def _take(
    conn: sa.Connection,
    keys: Sequence[Key],
    grounds: Mapping[int, _Ground],
    now_ms: int,
    rule: Callable[[Stays, int, PresencePolicy], Changes],
) -> int:
    """Hold stays, apply a rule by each workspace's policy, write and tell what came of it."""
    stays = sweeping.held(conn, keys)
    if not len(stays):
        return 0
    owners = sweeping.owners(conn, stays.device.tolist())
    workspace_of = np.array([owners[d].workspace_id for d in stays.device.tolist()], np.int64)
    changed = 0
    for workspace_id in np.unique(workspace_of).tolist():
        ground = grounds[workspace_id]
        changes = rule(stays.take(workspace_of == workspace_id), now_ms, ground.policy)
        if len(changes.gone):
            sweeping.was_swept(conn, workspace_id, sweep_cut_ms(now_ms, ground.policy))
        _tell(conn, changes, ground, owners, now_ms)
        sweeping.write(conn, changes)
        changed += len(changes.moved) + len(changes.gone)
    return changed


def _tell(
    conn: sa.Connection,
    changes: Changes,
    ground: _Ground,
    owners: Mapping[int, sweeping.Owner],
    now_ms: int,
) -> None:
    if not ground.webhooks:
        return
    versions = fences.newest(
        conn, {*changes.events.fence_id.tolist(), *changes.closed.fence_id.tolist()}
    )
    left: dict[int, list[Transition]] = defaultdict(list)
    for event in changes.events.listed():
        left[owners[event.device].app_id].append(_transition(event, fence=event.fence_id))
    closed: dict[int, list[ToldVisit]] = defaultdict(list)
    for told in told_visits(changes.closed, fence_of=lambda fence_id: fence_id):
        closed[owners[told.device].app_id].append(told)
    for app_id in sorted({*left, *closed}):
        tell(
            conn,
            app_id=app_id,
            webhooks=ground.webhooks,
            now_ms=now_ms,
            fences=versions,
            policy=ground.policy,
            transitions=left[app_id],
            visits_closed=closed[app_id],
        )


def _presumed(snapshot: Snapshot, stays: Stays, changes: Changes) -> list[Transition]:
    """The presumed dwells as transitions, with the P of the newest fix inside; no rim is known."""
    last_p = {
        (device, fence_id): packed[-_EVIDENCE_BYTES] / P_SCALE
        for device, fence_id, packed in zip(
            stays.device.tolist(), stays.fence_id.tolist(), stays.evidence, strict=True
        )
    }
    found = []
    for event in changes.events.listed():
        fence = _live_row(snapshot, event.fence_id, event.at_ms)
        if fence is not None:  # else it was taken away or shut meanwhile
            p = last_p[event.device, event.fence_id]
            found.append(replace(_transition(event, fence=fence), p=p, rim_m=0.0))
    return found


def _live_row(snapshot: Snapshot, fence_id: int, at_ms: int) -> int | None:
    index = snapshot.index
    for row in index.rows_of(fence_id):
        if index.live_from_ms[row] <= at_ms < index.live_until_ms[row]:
            return row
    return None


def _transition(event: ToldEvent, *, fence: int) -> Transition:
    return Transition(
        device=event.device,
        fence=fence,
        fence_id=event.fence_id,
        ping=_NO_PING,
        kind=event.kind,
        at_ms=event.at_ms,
        seen_ms=event.seen_ms,
        arrived_ms=event.arrived_ms,
        p=event.p,
        rim_m=event.rim_m,
        dwell_s=event.dwell_s,
        cause=event.cause,
    )


def _person(device: Device) -> tuple[str, str | None]:
    return person_of(device_id=device.id, user_id=device.user_id), device.ad_id


def _grounds(conn: sa.Connection) -> dict[int, _Ground]:
    """Every workspace's policy and subscriptions."""
    webhooks = workspaces.all_subscriptions(conn)
    return {
        workspace_id: _Ground(policy=policy, webhooks=webhooks.get(workspace_id, ()))
        for workspace_id, policy in _policies(conn).items()
    }


def _policies(conn: sa.Connection) -> dict[int, PresencePolicy]:
    names = {field.name for field in fields(PresencePolicy)}
    return {
        workspace_id: PresencePolicy(**{n: v for n, v in settings.items() if n in names})
        for workspace_id, settings in workspaces.all_settings(conn).items()
    }
