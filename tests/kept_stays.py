"""What a store keeps of stays, as plain values in memory, and walks drawn to hit the rules' edges."""

from __future__ import annotations

import random

import numpy as np

from geo.matching.presence import Fix, PresencePolicy, no_dwells, step
from geo.matching.stay_columns import (
    Changes,
    History,
    JudgedFixes,
    Key,
    Span,
    Stays,
    ToldEvent,
    span_ms,
    unpack,
)
from geo.matching.stay_timers import silent, sweep_cut_ms, swept
from geo.matching.stays import advance, backfilled
from geo.matching.visits import Visit, instants, visits_plain

START_MS = 1_790_000_000_000


class KeptStays:
    """Stays, chunks and visits as a database holds them; every write is checked like its keys."""

    def __init__(self, policy: PresencePolicy, *, rules=None, dwells_s=no_dwells, talkative=False):
        self.policy, self.rules, self.dwells_s = policy, rules, dwells_s
        self.talkative = talkative  # it loads more than it is asked for
        self.stays: dict[Key, tuple] = {}
        self.visits: dict[tuple[int, int, int], Visit] = {}
        self.chunks: dict[tuple[int, int, int], bytes] = {}
        self.events: list[ToldEvent] = []
        self.closed: list[tuple] = []
        self.amended: list[tuple] = []
        self.swept_ms = 0
        self.loads = 0
        self.loaded_chunks = 0

    # --- what a service does ------------------------------------------------------------------------

    def take(self, fixes: JudgedFixes, *, backfill: bool = False) -> Changes:
        before = self.of(fixes)
        changes = advance(
            before,
            fixes,
            policy=self.policy,
            swept_ms=self.swept_ms,
            load=self.load,
            rules=self.rules,
            dwells_s=self.dwells_s,
        )
        if backfill:
            changes = backfilled(changes, before)
        self.write(changes)
        return changes

    def sweep(self, now_ms: int) -> Changes:
        changes = swept(self.all(), now_ms, self.policy)
        self.swept_ms = max(self.swept_ms, sweep_cut_ms(now_ms, self.policy))
        self.write(changes)
        return changes

    def silence(self, now_ms: int) -> Changes:
        changes = silent(self.all(), now_ms, self.policy)
        self.write(changes)
        return changes

    # --- what a store does --------------------------------------------------------------------------

    def all(self) -> Stays:
        return Stays.from_rows(self.stays[key] for key in sorted(self.stays))

    def of(self, fixes: JudgedFixes) -> Stays:
        """The stays of the batch's devices that are inside, and those of its pairs."""
        pairs = set(zip(fixes.device.tolist(), fixes.fence_id.tolist(), strict=True))
        devices = set(fixes.device.tolist())
        return Stays.from_rows(
            row
            for key, row in sorted(self.stays.items())
            if key in pairs or (key[0] in devices and row[2])
        )

    def load(self, spans) -> dict[Key, History]:
        self.loads += 1
        found: dict[Key, History] = {}
        for key, first_ms, last_ms in map(self._widened, spans):
            had = found.get(key, History())
            chunks = [
                packed
                for (*owner, _), packed in self.chunks.items()
                if tuple(owner) == key
                and span_ms(packed)[0] <= last_ms
                and span_ms(packed)[1] >= first_ms
            ]
            visits = [
                visit
                for (*owner, _), visit in self.visits.items()
                if tuple(owner) == key and visit.arrived_ms <= last_ms and visit.left_ms >= first_ms
            ]
            self.loaded_chunks += len(chunks)
            found[key] = History(
                visits=list({v.arrived_ms: v for v in [*had.visits, *visits]}.values()),
                chunks=list(dict.fromkeys([*had.chunks, *chunks])),
            )
        return found

    def _widened(self, span: Span) -> Span:
        assert span.first_ms <= span.last_ms
        return Span(span.key, -(1 << 60), 1 << 60) if self.talkative else span

    def write(self, changes: Changes) -> None:
        for row in changes.gone.rows():
            del self.stays[row[:2]]
        for row in changes.opened.rows():
            assert row[:2] not in self.stays, "opened where there is one"
            self.stays[row[:2]] = row
        for row in changes.moved.rows():
            assert row[:2] in self.stays, "moved where there is none"
            self.stays[row[:2]] = row
        for key in changes.visits_gone.rows():
            del self.visits[key]
        for row in changes.visits_new.rows():
            assert row[:3] not in self.visits, "inserted where there is one"
            self.visits[row[:3]] = _visit(row)
        over = [row[:3] for row in changes.visits_over.rows()]
        assert len(set(over)) == len(over), "a visit row twice in one update"
        for row in changes.visits_over.rows():
            assert row[:3] in self.visits, "updated where there is none"
            self.visits[row[:3]] = _visit(row)
        for key in changes.chunks_gone.rows():
            del self.chunks[key]
        keys = [row[:3] for row in changes.chunks.rows()]
        assert len(set(keys)) == len(keys), "a chunk twice in one write"
        for row in changes.chunks.rows():
            assert row[2:4] == span_ms(row[4])
            self.chunks[row[:3]] = row[4]
        self.events += changes.events.listed()
        self.closed += list(changes.closed.rows())
        self.amended += list(changes.amended.rows())

    # --- what a reader sees -------------------------------------------------------------------------

    def read(self) -> dict[Key, list[Visit]]:
        """All visits: the newest one's end stands in the stay."""
        seen = dict(self.visits)
        for row in self.all().visits().rows():
            assert row[:3] in seen, "an open visit has its row"
            seen[row[:3]] = _visit(row)
        found: dict[Key, list[Visit]] = {}
        for key in sorted(seen):
            found.setdefault(key[:2], []).append(seen[key])
        return found

    def evidence(self) -> dict[Key, dict[int, int]]:
        """All evidence as instant → p; nothing stands twice, chunks do not overlap."""
        found: dict[Key, dict[int, int]] = {}
        for key in sorted({key[:2] for key in self.chunks} | set(self.stays)):
            parts = [packed for of, packed in sorted(self.chunks.items()) if of[:2] == key]
            if key in self.stays:
                parts.append(self.stays[key][-1])
            items = np.concatenate([unpack(packed) for packed in parts])
            at_ms = instants(items)
            assert (np.diff(at_ms) > 0).all(), "chunks ascend and the tail is newer"
            found[key] = dict(zip(at_ms.tolist(), (items & 255).tolist(), strict=True))
        return found


def _visit(row) -> Visit:
    _, _, arrived_ms, left_ms, fixes, p_sum, told_ms = row
    return Visit(arrived_ms=arrived_ms, left_ms=left_ms, fixes=fixes, p_sum=p_sum, told_ms=told_ms)


# --- the plain way ----------------------------------------------------------------------------------


def oracle(fixes: JudgedFixes, gap_ms: int) -> dict[Key, list[Visit]]:
    """The O(n²) visits of every pair."""
    of: dict[Key, list[tuple[int, int]]] = {}
    for row in fixes.rows():
        _, device, fence_id, _, at_ms, verdict, p, *_ = row
        if verdict > 0:
            of.setdefault((device, fence_id), []).append((at_ms, round(p * 255)))
    return {key: visits_plain(pairs, gap_ms=gap_ms) for key, pairs in sorted(of.items())}


def evidence_of(fixes: JudgedFixes) -> dict[Key, dict[int, int]]:
    of: dict[Key, dict[int, int]] = {}
    for row in fixes.rows():
        _, device, fence_id, _, at_ms, verdict, p, *_ = row
        if verdict > 0:
            kept = of.setdefault((device, fence_id), {})
            kept[at_ms] = max(kept.get(at_ms, 0), round(p * 255))
    return of


def told_plainly(fixes: JudgedFixes, policy: PresencePolicy, *, rules=None, dwells_s=no_dwells):
    """The events of `step` over all fixes of each pair in time order, as `said` shows them."""
    best: dict[Key, dict[int, tuple]] = {}
    for row in fixes.rows():
        ping, device, fence_id, fence, at_ms, verdict, p, rim, sigma, lon, lat, fresh = row
        fix = Fix(ping, at_ms, verdict, p, rim, sigma, lon, lat, fresh, fence)
        kept = best.setdefault((device, fence_id), {})
        if at_ms not in kept or (verdict, p, fresh) > _rank(kept[at_ms]):  # of equals the first
            kept[at_ms] = fix
    found = []
    for (device, fence_id), by_instant in best.items():
        ordered = [by_instant[at_ms] for at_ms in sorted(by_instant)]
        _, events = step(None, ordered, policy=policy, rules=rules, dwells_s=dwells_s)
        found += [
            (
                device,
                fence_id,
                e.kind,
                e.cause,
                e.at_ms,
                e.fix.at_ms,
                e.arrived_ms,
                e.dwell_s,
                e.fix.fence,
                e.fix.ping,
            )
            for e in events
        ]
    return sorted(found, key=lambda told: told[:2])


def _rank(fix: Fix):
    return fix.verdict, fix.p, fix.fresh


def said(events: list[ToldEvent]):
    """Events by pair, in their order, without what a plain twin does not know."""
    return sorted(
        (
            (
                e.device,
                e.fence_id,
                e.kind,
                e.cause,
                e.at_ms,
                e.seen_ms,
                e.arrived_ms,
                e.dwell_s,
                e.fence,
                e.ping,
            )
            for e in events
        ),
        key=lambda told: told[:2],
    )


# --- walks ------------------------------------------------------------------------------------------


def day(chance: random.Random, *, policy: PresencePolicy, devices: int, fences: int, fixes: int):
    """Judged fixes whose instants lie gaps of exactly G−1, G, G+1 and exit spans apart, in time order.

    Instants repeat with another p or verdict, coordinates repeat (cached fixes), fences change their
    version (row 2·id, then 2·id + 1), some fixes are not fresh.
    """
    gap_ms, span = policy.gap_s * 1000, policy.exit_span_s * 1000
    steps = [0, 1, gap_ms - 1, gap_ms, gap_ms + 1, gap_ms // 2, span - 1, span, span + 1]
    steps += [60_000, 60_000, 60_000, 30_000]
    rows = []
    for device in range(devices):
        at_ms = START_MS + chance.randrange(3_600_000)
        edit_ms = at_ms + chance.randrange(20) * gap_ms // 2
        for _ in range(fixes // devices):
            at_ms += chance.choice(steps)
            place = chance.choice([0.1, 0.2, float(at_ms)])
            for fence_id in chance.sample(range(fences), chance.choice([0, 1, 1, min(2, fences)])):
                verdict = chance.choice([1, 1, 1, -1, -1, 0])
                rows.append(
                    (
                        len(rows),
                        device,
                        fence_id,
                        2 * fence_id + (at_ms >= edit_ms),
                        at_ms,
                        verdict,
                        chance.choice([0.5, 0.502, 0.75, 1.0]) if verdict > 0 else 0.0,
                        chance.choice([30.0, 99.9, 100.0, 250.0]) if verdict < 0 else -5.0,
                        chance.choice([3.0, 25.0, 30.0]),
                        place,
                        37.0,
                        chance.random() < 0.9,
                    )
                )
    chance.shuffle(rows)
    rows.sort(key=lambda row: row[4])
    fixed = [(at, *row[1:]) for at, row in enumerate(rows)]
    return JudgedFixes.from_rows(fixed)


def fix_rows(rows) -> JudgedFixes:
    """Judged fixes from tuples in the order of their columns."""
    return JudgedFixes.from_rows(rows)


def posted(fixes: JudgedFixes, rows: list[int]) -> JudgedFixes:
    return fixes.take(np.array(rows, np.int64))
