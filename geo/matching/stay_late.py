"""A batch's fixes by pair, parted into those in time order and late evidence, and the latter joined.

What rests on what:
    - A stay's tail is newer than all evidence of its pair in chunks.
    - A pair without a stay has no evidence at or after `swept_ms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from geo.matching.stay_amend import Amended, amend
from geo.matching.stay_columns import (
    EVIDENCE,
    History,
    JudgedFixes,
    Key,
    Span,
    Stays,
    key_codes,
    span_ms,
)
from geo.matching.stay_pairs import Pairs
from geo.matching.tables import Bools, Ints
from geo.matching.visits import P_SCALE, Visit, pack

Load = Callable[[Sequence[Span]], Mapping[Key, History]]
_SIZE = EVIDENCE.itemsize


@dataclass(kw_only=True)
class Batch:
    """The fixes by (pair, instant), the surest of each instant.

    Attributes:
        pair: of each fix.
        new: fixes that go on in time order; late: evidence no newer than its stay's, or so old that
            a swept visit may be near.
        twins: (ping, fix) of in fixes that another of their instant stands for.
    """

    fixes: JudgedFixes
    pair: Ints
    pairs: Pairs
    new: Bools
    late: Bools
    twins: tuple[Ints, Ints]

    @classmethod
    def of(cls, stays: Stays, fixes: JudgedFixes, *, gap_ms: int, swept_ms: int) -> Batch:
        """The batch beside what was kept."""
        fixes, twins = _sorted(fixes)
        code = key_codes(fixes.device, fixes.fence_id)
        begins = np.append(np.ones(min(len(code), 1), bool), code[1:] != code[:-1])
        first = np.flatnonzero(begins)
        pair = np.cumsum(begins) - 1
        pairs = Pairs.of(stays, fixes.device[first], fixes.fence_id[first])
        is_in = fixes.verdict > 0
        left_ms = pairs.left_ms[pair]
        seen_ms = np.where(is_in, left_ms, np.maximum(left_ms, pairs.out_last_ms[pair]))
        has_stay = pairs.known[pair]
        back = is_in & ~has_stay & (fixes.at_ms - gap_ms <= swept_ms)
        new = (fixes.at_ms > seen_ms) & ~(back & (fixes.at_ms < swept_ms))
        late = (is_in & ~new) | back
        return cls(fixes=fixes, pair=pair, pairs=pairs, new=new, late=late, twins=twins)

    def moving(self) -> Ints:
        """New fixes that can change something: of pairs that are inside or come in."""
        is_in = self.new & (self.fixes.verdict > 0)
        lively = self.pairs.inside.copy()
        lively[self.pair[is_in]] = True
        return np.flatnonzero(self.new & lively[self.pair])

    def key(self, pair: int) -> Key:
        """Device and fence id of a pair."""
        return int(self.pairs.device[pair]), int(self.pairs.fence_id[pair])


def _sorted(fixes: JudgedFixes) -> tuple[JudgedFixes, tuple[Ints, Ints]]:
    code = key_codes(fixes.device, fixes.fence_id)
    order = np.lexsort((fixes.at_ms, code))
    code, at_ms = code[order], fixes.at_ms[order]
    again = (code[1:] == code[:-1]) & (at_ms[1:] == at_ms[:-1])
    none = np.empty(0, np.int64)
    if not again.any():
        return fixes.take(order), (none, none)
    # the surest of an instant comes last, of equals the one that came first, and stands for it
    by_pair = key_codes(fixes.device, fixes.fence_id)
    order = np.lexsort((-fixes.ping, fixes.fresh, fixes.p, fixes.verdict, fixes.at_ms, by_pair))
    last = np.append(~again, True)
    stands_for = (np.cumsum(last) - last)[~last]
    others = order[~last]
    is_in = fixes.verdict[others] > 0
    return fixes.take(order[last]), (fixes.ping[others[is_in]], stands_for[is_in])


class Late:
    """Late evidence of a batch: what of it is known, and what the rest changes."""

    def __init__(self, batch: Batch, stays: Stays, *, gap_ms: int) -> None:
        self._batch = batch
        self._stays = stays
        self._gap_ms = gap_ms
        self._todo = batch.late.copy()
        self._known: list[Ints] = []
        self.tails: dict[int, bytes] = {}
        self.amended: list[tuple[int, Amended]] = []

    @property
    def known(self) -> Ints:
        """Ping rows whose evidence was there before."""
        fixes = self._batch.fixes
        rows = np.concatenate([np.empty(0, np.int64), *self._known])
        pings, stands_for = self._batch.twins
        twins = pings[np.isin(stands_for, rows)] if len(pings) else pings
        return np.unique(np.concatenate([fixes.ping[rows], twins]))

    def find_in_tails(self) -> None:
        """Take off what is known from the tails alone: a batch posted again ends here."""
        batch = self._batch
        row = np.flatnonzero(batch.late & (batch.pairs.row[batch.pair] >= 0))
        if not len(row):
            return
        pairs, place = np.unique(batch.pair[row], return_inverse=True)
        packed = [self._stays.evidence[at] for at in batch.pairs.row[pairs].tolist()]
        evidence = np.frombuffer(b"".join(packed), EVIDENCE).astype(np.int64)
        of = np.repeat(np.arange(len(packed)), [len(tail) // _SIZE for tail in packed])
        there, kept_p = _looked_up(of, evidence, place, batch.fixes.at_ms[row])
        self._known.append(row[there & (kept_p >= 0)])
        p = np.rint(batch.fixes.p[row] * P_SCALE).astype(np.int64)
        self._todo[row[there & (p <= kept_p)]] = False

    def amend(self, load: Load, forgotten_ms: int) -> None:
        """Join what may say something new, pair by pair."""
        tasks = self._tasks()
        wanted = [span for task in tasks for span in task.spans(self._gap_ms)]
        histories = load(wanted) if wanted else {}
        nothing, known = History(), []
        for task in tasks:
            found = amend(
                task.late,
                histories.get(task.key, nothing),
                newest=task.newest,
                tail=task.tail,
                takes_up_ms=task.newer_ms,
                gap_ms=self._gap_ms,
                forgotten_ms=forgotten_ms,
            )
            known += [row for row, at_ms in task.rows if at_ms in found.known]
            self.amended.append((task.pair, found))
            if found.tail is not None:
                self.tails[task.pair] = found.tail
        self._known.append(np.array(known, np.int64))
        self._put([(task, found) for task, (_, found) in zip(tasks, self.amended, strict=True)])

    def _tasks(self) -> list[_Task]:
        """What there is to do, as plain values: many small arrays would cost more than the work."""
        batch = self._batch
        rows = np.flatnonzero(self._todo)
        if not len(rows):
            return []
        pair, at_ms = batch.pair[rows], batch.fixes.at_ms[rows]
        items, newer = pack(at_ms, batch.fixes.p[rows]).tolist(), batch.new[rows].tolist()
        listed = list(zip(rows.tolist(), at_ms.tolist(), items, newer, strict=True))
        begins = np.append(0, np.flatnonzero(np.diff(pair)) + 1)
        ends = [*begins[1:].tolist(), len(rows)]
        chosen = pair[begins]
        kept = batch.pairs.visits(chosen).rows()
        of = zip(chosen.tolist(), batch.pairs.row[chosen].tolist(), begins.tolist(), ends, strict=True)
        return [
            self._task(number, stay, visit, listed[begin:end])
            for (number, stay, begin, end), visit in zip(of, kept, strict=True)
        ]

    def _task(
        self, pair: int, stay: int, kept: tuple[int, ...], rows: Sequence[tuple[int, int, int, bool]]
    ) -> _Task:
        device, fence_id, arrived_ms, left_ms, fixes, p_sum, told_ms = kept
        newest = Visit(arrived_ms=arrived_ms, left_ms=left_ms, fixes=fixes, p_sum=p_sum, told_ms=told_ms)
        return _Task(
            pair=pair,
            key=(device, fence_id),
            rows=[(row, at_ms) for row, at_ms, _, _ in rows],
            late=[item for _, _, item, new in rows if not new],
            newer_ms=next((at_ms for _, at_ms, _, new in rows if new), None),
            newest=newest if stay >= 0 else None,
            tail=self._stays.evidence[stay] if stay >= 0 else b"",
        )

    def _put(self, done: Sequence[tuple[_Task, Amended]]) -> None:
        """The newest visits as they are now; a stay is written only if it has changed."""
        pairs = self._batch.pairs
        for task, found in done:
            pair, now = task.pair, found.newest
            if now is None or (now == task.newest and found.tail is None):
                continue
            pairs.known[pair] = pairs.changed[pair] = True
            pairs.arrived_ms[pair], pairs.left_ms[pair] = now.arrived_ms, now.left_ms
            pairs.fixes[pair], pairs.p_sum[pair] = now.fixes, now.p_sum
            pairs.told_ms[pair], pairs.unwritten[pair] = now.told_ms, found.is_new


class _Task(NamedTuple):
    """Late evidence of one pair; `rows` are its fixes with their instants.

    `newer_ms`: of a pair without a stay, the first fix that opens one.
    """

    pair: int
    key: Key
    rows: list[tuple[int, int]]
    late: list[int]
    newer_ms: int | None
    newest: Visit | None
    tail: bytes

    def spans(self, gap_ms: int) -> list[Span]:
        """Around which instants the pair's history is needed; none where its stay tells all."""
        at_ms = [at for _, at in self.rows]
        if self.newest is not None:
            tail_ms, _ = span_ms(self.tail)
            told_from_ms = max(tail_ms, self.newest.arrived_ms)
            at_ms = [at for at in at_ms if at < told_from_ms]
        found: list[Span] = []
        for at in at_ms:
            if found and at - gap_ms <= found[-1].last_ms:
                found[-1] = found[-1]._replace(last_ms=at + gap_ms)
            else:
                found.append(Span(self.key, at - gap_ms, at + gap_ms))
        return found


def _looked_up(of: Ints, evidence: Ints, wanted_of: Ints, wanted_ms: Ints) -> tuple[Bools, Ints]:
    """Which of the wanted instants stand in evidence of the same number, and with which p.

    Args:
        of, evidence: ascending by both.
    """
    at_ms = evidence >> 8
    base_ms = min(int(at_ms.min()), int(wanted_ms.min()))
    width = max(int(at_ms.max()), int(wanted_ms.max())) - base_ms + 1
    if width * (int(of[-1]) + 1) >= 1 << 62:  # centuries apart: nothing is taken as known here
        return np.zeros(len(wanted_ms), bool), np.full(len(wanted_ms), -1, np.int64)
    codes = of * width + (at_ms - base_ms)
    wanted = wanted_of * width + (wanted_ms - base_ms)
    place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    there = codes[place] == wanted
    return there, np.where(there, evidence[place] & P_SCALE, -1)
