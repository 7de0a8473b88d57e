"""The live machine over many pairs at once: the n-th new fix of every pair is one round.

The same rules as `presence.step`, its plain twin, as columns. A city's batch is nearly always one
round: most devices have one fix in it. When only few pairs have fixes left, the plain step goes on with
them.
"""

from __future__ import annotations

import numpy as np

from geo.matching.presence import (
    CAUSES,
    KINDS,
    Cause,
    DwellsOf,
    Event,
    ExitRules,
    Fix,
    Kind,
    Live,
    PresencePolicy,
    step,
)
from geo.matching.stay_columns import Events, JudgedFixes
from geo.matching.stay_pairs import Pairs
from geo.matching.tables import Bools, Ints
from geo.matching.visits import P_SCALE

WORTH_A_ROUND = 32  # fewer pairs than this cost less by the plain step

_ENTER, _DWELL, _EXIT = (KINDS.index(kind) for kind in (Kind.ENTER, Kind.DWELL, Kind.EXIT))
_FIX, _SILENCE = (CAUSES.index(cause) for cause in (Cause.FIX, Cause.SILENCE))
#: of one fix: the exit by silence before its enter, that before its dwells
_ORDER = np.array([{Kind.EXIT: 0, Kind.ENTER: 1, Kind.DWELL: 2}[kind] for kind in KINDS])
_NO_LIMIT = np.iinfo(np.int64).max


class Rounds:
    """Judged fixes in the order (pair, instant) and what listens to them."""

    def __init__(
        self,
        pairs: Pairs,
        fixes: JudgedFixes,
        pair: Ints,
        *,
        policy: PresencePolicy,
        rules: ExitRules | None,
        dwells_s: DwellsOf,
    ) -> None:
        self._pairs = pairs
        self._fixes = fixes
        self._pair = pair  # of each fix
        self._policy = policy
        self._gap_ms = policy.gap_s * 1000
        self._rules = rules
        self._dwells_s = dwells_s
        self._told: list[Events] = []
        self._said: list[tuple[Fix, Event]] = []  # by the plain step

    def run(self, rows: Ints) -> Events:
        """Take these fixes, in their order, and tell what happened."""
        if len(rows):
            nth = _places(self._pair[rows])
            if not nth.any():
                rounds = [rows]
            else:
                by_round = np.argsort(nth, kind="stable")
                rounds = np.split(rows[by_round], np.cumsum(np.bincount(nth))[:-1])
            for at, chosen in enumerate(rounds):
                if len(chosen) < WORTH_A_ROUND:
                    self._plainly(rows[nth >= at])
                    break
                self._round(chosen)
        return self._in_order()

    def _round(self, rows: Ints) -> None:
        goes_in = self._fixes.verdict[rows] > 0
        self._go_in(rows[goes_in])
        beside = rows[~goes_in]
        self._go_out(beside[self._pairs.inside[self._pair[beside]]])

    # --- in fixes -----------------------------------------------------------------------------------

    def _go_in(self, row: Ints) -> None:
        pairs, pair = self._pairs, self._pair[row]
        at_ms, fresh = self._fixes.at_ms[row], self._fixes.fresh[row]
        begins = at_ms - pairs.left_ms[pair] > self._gap_ms
        if begins.any():
            self._begin(row[begins])
        told_ms, dwell_ms = pairs.told_ms[pair], at_ms - pairs.arrived_ms[pair]
        enters = fresh & (told_ms < 0)
        if enters.any():
            new = row[enters]
            self._tell(new, _ENTER, _FIX, self._fixes.at_ms[new])
        self._tell_dwells(row, told_ms, np.where(fresh, dwell_ms, -1))
        pairs.told_ms[pair] = np.where(fresh, np.maximum(told_ms, dwell_ms), told_ms)
        pairs.left_ms[pair] = at_ms
        pairs.fixes[pair] += 1
        pairs.p_sum[pair] += np.rint(self._fixes.p[row] * P_SCALE).astype(np.int64)
        pairs.inside[pair] = pairs.known[pair] = pairs.changed[pair] = True
        pairs.out_last_ms[pair] = pairs.out_first_ms[pair] = 0
        pairs.out_fixes[pair] = pairs.out_far[pair] = 0
        pairs.out_lon[pair] = pairs.out_lat[pair] = 0.0

    def _begin(self, row: Ints) -> None:
        """A new visit; whoever was still inside left in silence."""
        pairs, pair = self._pairs, self._pair[row]
        was = pairs.known[pair]
        if was.any():
            silent = was & pairs.inside[pair] & (pairs.told_ms[pair] >= 0) & self._fixes.fresh[row]
            self._tell(row[silent], _EXIT, _SILENCE, pairs.left_ms[pair[silent]])
            pairs.end_visits(pair[was])
        pairs.arrived_ms[pair] = self._fixes.at_ms[row]
        pairs.told_ms[pair] = pairs.presumed_ms[pair] = -1
        pairs.fixes[pair] = pairs.p_sum[pair] = 0
        pairs.unwritten[pair] = True

    def _tell_dwells(self, row: Ints, told_ms: Ints, dwell_ms: Ints) -> None:
        """Every threshold passed by a fresh fix and not told before; dwell -1: not fresh."""
        longer = np.flatnonzero(dwell_ms > told_ms)
        if not len(longer):
            return
        listening, limit_ms = _limits(self._fixes.fence[row[longer]], self._dwells_s)
        if not len(listening):
            return
        heard = longer[listening]
        row, told_ms, dwell_ms = row[heard], told_ms[heard], dwell_ms[heard]
        passed = (told_ms[:, None] < limit_ms) & (limit_ms <= dwell_ms[:, None])
        of, which = np.nonzero(passed)
        if len(of):
            new, limit = row[of], limit_ms[of, which]
            again = limit <= self._pairs.presumed_ms[self._pair[new]]
            self._tell(new, _DWELL, _FIX, self._fixes.at_ms[new], dwell_s=limit // 1000, again=again)

    # --- out and undecided fixes of those inside ----------------------------------------------------

    def _go_out(self, row: Ints) -> None:
        if not len(row):
            return
        pairs, pair = self._pairs, self._pair[row]
        at_ms = self._fixes.at_ms[row]
        left_ms = pairs.left_ms[pair]
        ran = pairs.out_fixes[pair] > 0
        heard_ms = np.where(ran, np.maximum(left_ms, pairs.out_last_ms[pair]), left_ms)
        silent = at_ms - heard_ms > self._gap_ms
        tells = self._fixes.fresh[row] & (pairs.told_ms[pair] >= 0)
        self._tell(row[silent & tells], _EXIT, _SILENCE, left_ms[silent & tells])
        leaves = self._extend(row, pair, ran, ~silent & (self._fixes.verdict[row] < 0))
        gone = row[leaves & tells]
        self._tell(gone, _EXIT, _FIX, pairs.out_first_ms[self._pair[gone]])
        pairs.inside[pair] = ~(leaves | silent)
        pairs.changed[pair] = True

    def _extend(self, row: Ints, pair: Ints, ran: Bools, out: Bools) -> Bools:
        """The run with this fix: longer by an out one, ended by any other; whether it is an exit."""
        pairs, fixes = self._pairs, self._fixes
        at_ms, lon, lat = fixes.at_ms[row], fixes.lon[row], fixes.lat[row]
        rules = self._rules_at(fixes.fence[row])
        ran = ran & out
        # a cached fix sent again says nothing new (product P8); it counts once
        cached = ran & (pairs.out_lon[pair] == lon) & (pairs.out_lat[pair] == lat)
        says = out & ~cached
        far = fixes.rim_m[row] >= np.maximum(rules.far_sigma * fixes.sigma_m[row], rules.far_m)
        first_ms = np.where(ran, pairs.out_first_ms[pair], np.where(out, at_ms, 0))
        count = np.where(ran, pairs.out_fixes[pair], 0) + says
        were_far = np.where(ran, pairs.out_far[pair], 0)
        in_a_row = np.where(says, np.where(far, were_far + 1, 0), were_far)
        pairs.out_first_ms[pair], pairs.out_last_ms[pair] = first_ms, at_ms
        pairs.out_fixes[pair], pairs.out_far[pair] = count, in_a_row
        pairs.out_lon[pair], pairs.out_lat[pair] = np.where(out, lon, 0.0), np.where(out, lat, 0.0)
        long = (count >= rules.fixes) & (at_ms - first_ms >= rules.span_ms)
        leaves: Bools = out & ((in_a_row >= 2) | long)
        return leaves

    def _rules_at(self, fence: Ints) -> ExitRules:
        if self._rules is None:
            return ExitRules.of(self._policy, len(fence), {})
        return self._rules.take(fence)

    # --- the rest -----------------------------------------------------------------------------------

    def _plainly(self, rows: Ints) -> None:
        """The plain step for all these fixes of few pairs."""
        pair = self._pair[rows]
        for some in np.split(rows, np.flatnonzero(np.diff(pair)) + 1):
            self._step(int(self._pair[some[0]]), some)

    def _step(self, pair: int, rows: Ints) -> None:
        pairs = self._pairs
        live = pairs.live(pair)
        fixes, p_sum = int(pairs.fixes[pair]), int(pairs.p_sum[pair])
        of_rows = np.rint(self._fixes.p[rows] * P_SCALE).astype(np.int64).tolist()
        for fix, p in zip(self._listed(rows), of_rows, strict=True):
            was = live
            live, events = step(
                was, [fix], policy=self._policy, dwells_s=self._dwells_s, rules=self._rules
            )
            self._said.extend((fix, event) for event in events)
            if fix.verdict > 0 and live is not None:
                if was is None or live.arrived_ms != was.arrived_ms:
                    self._end(pair, was, fixes, p_sum)
                    fixes = p_sum = 0
                fixes, p_sum = fixes + 1, p_sum + p
            if live is not None and live != was:
                pairs.changed[pair] = True
        if live is not None and pairs.changed[pair]:
            pairs.put_live(pair, live)
            pairs.fixes[pair], pairs.p_sum[pair] = fixes, p_sum

    def _end(self, pair: int, live: Live | None, fixes: int, p_sum: int) -> None:
        """Another visit begins; the one before, if any, is over."""
        pairs = self._pairs
        if live is not None:
            at = np.array([pair])
            pairs.arrived_ms[pair], pairs.left_ms[pair] = live.arrived_ms, live.left_ms
            pairs.fixes[pair], pairs.p_sum[pair] = fixes, p_sum
            pairs.told_ms[pair] = live.told_ms
            pairs.end_visits(at)
        pairs.unwritten[pair] = True

    def _listed(self, rows: Ints) -> list[Fix]:
        fixes = self._fixes
        columns = (
            rows,
            fixes.at_ms[rows],
            fixes.verdict[rows],
            fixes.p[rows],
            fixes.rim_m[rows],
            fixes.sigma_m[rows],
            fixes.lon[rows],
            fixes.lat[rows],
            fixes.fresh[rows],
            fixes.fence[rows],
        )
        return [Fix(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]

    # --- telling ------------------------------------------------------------------------------------

    def _tell(
        self,
        row: Ints,
        kind: int,
        cause: int,
        at_ms: Ints,
        *,
        dwell_s: Ints | None = None,
        again: Bools | None = None,
    ) -> None:
        count = len(row)
        if not count:
            return
        fixes = self._fixes
        self._told.append(
            Events(
                ping=fixes.ping[row],
                device=fixes.device[row],
                fence_id=fixes.fence_id[row],
                fence=fixes.fence[row],
                kind=np.full(count, kind, np.int8),
                cause=np.full(count, cause, np.int8),
                at_ms=at_ms,
                seen_ms=fixes.at_ms[row],
                arrived_ms=self._pairs.arrived_ms[self._pair[row]],
                dwell_s=np.full(count, -1, np.int64) if dwell_s is None else dwell_s,
                p=fixes.p[row],
                rim_m=fixes.rim_m[row],
                again=np.zeros(count, bool) if again is None else again,
            )
        )

    def _in_order(self) -> Events:
        """All that was told, by the fix that showed it."""
        events = Events.joined([*self._told, Events.from_rows(map(self._row, self._said))])
        if not len(events):
            return events
        kind = _ORDER[events.kind]
        return events.take(np.lexsort((events.dwell_s, kind, events.ping, events.seen_ms)))

    def _row(self, said: tuple[Fix, Event]) -> tuple[object, ...]:
        fix, event = said
        row = fix.ping  # the fix's place here, see `_listed`
        return (
            self._fixes.ping[row],
            self._fixes.device[row],
            self._fixes.fence_id[row],
            fix.fence,
            KINDS.index(event.kind),
            CAUSES.index(event.cause),
            event.at_ms,
            fix.at_ms,
            event.arrived_ms,
            -1 if event.dwell_s is None else event.dwell_s,
            fix.p,
            fix.rim_m,
            event.again,
        )


def _places(pair: Ints) -> Ints:
    """How many fixes of the same pair stand before each one; pairs stand together."""
    at = np.arange(len(pair))
    begins = np.append(True, pair[1:] != pair[:-1])
    return at - np.maximum.accumulate(np.where(begins, at, 0))


def _limits(fence: Ints, dwells_s: DwellsOf) -> tuple[Ints, Ints]:
    """Which fixes lie where somebody listens, and the thresholds there in ms.

    The thresholds of each ascend, filled up with what no dwell reaches.
    """
    rows = fence.tolist()
    asked = {row: dwells_s(row) for row in set(rows)}
    listed = {row: sorted({1000 * n for n in seconds}) for row, seconds in asked.items() if seconds}
    if not listed:
        return np.empty(0, np.int64), np.empty((0, 0), np.int64)
    listening = [at for at, row in enumerate(rows) if row in listed]
    limit_ms = np.full((len(listening), max(map(len, listed.values()))), _NO_LIMIT)
    for at, of in enumerate(listening):
        limits = listed[rows[of]]
        limit_ms[at, : len(limits)] = limits
    return np.array(listening), limit_ms
