"""Late evidence of one pair: which visits and chunks it changes (notes/spine.md §2, §4).

Visits are the connected components of evidence under the gap. So one new instant touches only the
visits within a gap of it: it grows one, joins two, or is one by itself. Whether it is new at all stands
in the tail or in the one chunk whose span holds it. Nothing else needs to be read.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from struct import pack, unpack

from geo.matching.stay_columns import TAIL, History
from geo.matching.visits import Visit

_P_BITS = 8
_P_MASK = 255


@dataclass(kw_only=True)
class _Chunk:
    """Evidence of one chunk; `key_ms` is the key it was written under, None for a new one."""

    key_ms: int | None
    items: list[int]
    changed: bool = False


@dataclass(kw_only=True)
class _Stretch:
    """A visit at work."""

    arrived_ms: int
    left_ms: int
    fixes: int
    p_sum: int
    told_ms: int = -1

    def visit(self) -> Visit:
        return Visit(
            arrived_ms=self.arrived_ms,
            left_ms=self.left_ms,
            fixes=self.fixes,
            p_sum=self.p_sum,
            told_ms=self.told_ms,
        )


@dataclass(kw_only=True)
class Amended:
    """What late evidence made of one pair.

    Attributes:
        newest: the visit that the stay holds (or takes up again) as it is now; None: no stay.
        is_new: the newest visit has no row yet.
        tail: the stay's evidence, None where it is as it was.
        new, over, gone: visit rows to insert, to update, and arrivals to delete; not the newest.
        joined: the newest visit took in one that was over.
        chunks, chunks_gone: to write, and keys to delete.
        known: instants whose evidence was there before.
    """

    newest: Visit | None = None
    is_new: bool = False
    tail: bytes | None = None
    new: list[Visit] = field(default_factory=list)
    over: list[Visit] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    joined: bool = False
    chunks: list[bytes] = field(default_factory=list)
    chunks_gone: list[int] = field(default_factory=list)
    known: set[int] = field(default_factory=set)


def amend(
    late: Sequence[int],
    history: History,
    *,
    newest: Visit | None,
    tail: bytes,
    takes_up_ms: int | None,
    gap_ms: int,
    forgotten_ms: int,
) -> Amended:
    """Join late evidence to one pair.

    Args:
        late: evidence, one an instant; not newer than `newest.left_ms`.
        newest, tail: the stay's visit and evidence; None and empty where the pair has no stay.
        takes_up_ms: where the pair has no stay: the instant of a newer in fix that opens one, which
            goes on with the last visit if that ended within the gap.
        forgotten_ms: older evidence is not kept any more. What lies in a visit there counts as known,
            so that the same history loaded twice is counted once.
    """
    work = _Work(history, newest, tail, gap_ms)
    for item in late:
        work.take(item, forgotten_ms)
    return work.result(takes_up_ms)


class _Work:
    """One pair's visits, chunks and tail while evidence joins."""

    def __init__(self, history: History, newest: Visit | None, tail: bytes, gap_ms: int) -> None:
        self._gap_ms = gap_ms
        self._own = newest
        self._tail = _items(tail)
        self._tail_changed = False
        self._known: set[int] = set()
        rows = {visit.arrived_ms: visit for visit in history.visits}
        if newest is not None:
            rows[newest.arrived_ms] = newest
        self._before = rows
        self._visits = [
            _Stretch(
                arrived_ms=v.arrived_ms,
                left_ms=v.left_ms,
                fixes=v.fixes,
                p_sum=v.p_sum,
                told_ms=v.told_ms,
            )
            for v in rows.values()
        ]
        listed = sorted((_items(packed) for packed in history.chunks), key=lambda c: c[0])
        self._chunks = [_Chunk(key_ms=items[0] >> _P_BITS, items=items) for items in listed]

    def take(self, item: int, forgotten_ms: int) -> None:
        """One evidence: known, surer than before, or new."""
        at_ms = item >> _P_BITS
        items, chunk = self._shelf(at_ms)
        place = bisect_left(items, at_ms << _P_BITS)
        if place < len(items) and items[place] >> _P_BITS == at_ms:
            self._known.add(at_ms)
            more = (item & _P_MASK) - (items[place] & _P_MASK)
            if more > 0:
                items[place] = item
                self._mark(chunk)
                self._surer(at_ms, more)
        elif at_ms < forgotten_ms and self._covers(at_ms):
            self._known.add(at_ms)
        else:
            self._keep(item, chunk)
            self._grow(at_ms, item & _P_MASK)

    def _shelf(self, at_ms: int) -> tuple[list[int], _Chunk | None]:
        """Where evidence of this instant would be: in the tail, or in the chunk around it."""
        if self._in_tail(at_ms):
            return self._tail, None
        for chunk in self._chunks:
            if chunk.items[0] >> _P_BITS <= at_ms <= chunk.items[-1] >> _P_BITS:
                return chunk.items, chunk
        return [], None

    def _in_tail(self, at_ms: int) -> bool:
        return bool(self._tail) and at_ms >= self._tail[0] >> _P_BITS

    def _mark(self, chunk: _Chunk | None) -> None:
        if chunk is None:
            self._tail_changed = True
        else:
            chunk.changed = True

    def _surer(self, at_ms: int, more: int) -> None:
        for visit in self._visits:
            if visit.arrived_ms <= at_ms <= visit.left_ms:
                visit.p_sum += more

    def _covers(self, at_ms: int) -> bool:
        return any(visit.arrived_ms <= at_ms <= visit.left_ms for visit in self._visits)

    def _keep(self, item: int, around: _Chunk | None) -> None:
        """Into the tail, the chunk around it, a neighbour with room, or a chunk of its own.

        A neighbour is no further than the gap: a chunk between them would have been asked for.
        """
        at_ms = item >> _P_BITS
        if self._in_tail(at_ms):
            insort(self._tail, item)
            self._tail_changed = True
            return
        chunk = around or self._roomy(at_ms)
        if chunk is None:
            chunk = _Chunk(key_ms=None, items=[])
            self._chunks.append(chunk)
        insort(chunk.items, item)
        chunk.changed = True

    def _roomy(self, at_ms: int) -> _Chunk | None:
        last, first = at_ms - self._gap_ms, at_ms + self._gap_ms
        before = [c for c in self._chunks if last <= c.items[-1] >> _P_BITS < at_ms]
        after = [c for c in self._chunks if at_ms < c.items[0] >> _P_BITS <= first]
        near = [max(before, key=lambda c: c.items[-1])] if before else []
        near += [min(after, key=lambda c: c.items[0])] if after else []
        return next((chunk for chunk in near if len(chunk.items) < TAIL), None)

    def _grow(self, at_ms: int, p: int) -> None:
        """A new instant joins all visits within a gap of it into one."""
        gap_ms = self._gap_ms
        near = [v for v in self._visits if v.arrived_ms - gap_ms <= at_ms <= v.left_ms + gap_ms]
        self._visits = [v for v in self._visits if all(v is not other for other in near)]
        near.append(_Stretch(arrived_ms=at_ms, left_ms=at_ms, fixes=1, p_sum=p))
        self._visits.append(
            _Stretch(
                arrived_ms=min(v.arrived_ms for v in near),
                left_ms=max(v.left_ms for v in near),
                fixes=sum(v.fixes for v in near),
                p_sum=sum(v.p_sum for v in near),
                told_ms=max(v.told_ms for v in near),
            )
        )

    def result(self, takes_up_ms: int | None) -> Amended:
        """What has changed."""
        found = Amended(known=self._known)
        if self._tail_changed:
            found.tail = _packed(self._tail)
        self._put_chunks(found)
        visits = sorted((v.visit() for v in self._visits), key=lambda v: v.arrived_ms)
        found.newest = self._newest(visits, takes_up_ms)
        self._compare(visits, found)
        return found

    def _newest(self, visits: Sequence[Visit], takes_up_ms: int | None) -> Visit | None:
        if self._own is not None or (
            takes_up_ms is not None and visits and takes_up_ms - visits[-1].left_ms <= self._gap_ms
        ):
            return visits[-1]  # nothing late is newer than the stay's own visit
        return None

    def _compare(self, visits: Iterable[Visit], found: Amended) -> None:
        newest, own = found.newest, self._own
        kept = {visit.arrived_ms for visit in visits}
        found.gone = [arrived for arrived in self._before if arrived not in kept]
        for visit in visits:
            before = self._before.get(visit.arrived_ms)
            if visit is newest:
                found.is_new = before is None
                found.joined = own is not None and before is not None and before is not own
            elif before is None:
                found.new.append(visit)
            elif before != visit:
                found.over.append(visit)

    def _put_chunks(self, found: Amended) -> None:
        for chunk in self._chunks:
            if not chunk.changed:
                continue
            parts = _pieces(chunk.items)
            if chunk.key_ms is not None and chunk.key_ms != chunk.items[0] >> _P_BITS:
                found.chunks_gone.append(chunk.key_ms)
            found.chunks += [_packed(part) for part in parts]


def _pieces(items: list[int]) -> list[list[int]]:
    """As few equal pieces of at most `TAIL` as there can be, so that all have room again."""
    count = -(-len(items) // TAIL)
    size = -(-len(items) // count)
    return [items[at : at + size] for at in range(0, len(items), size)]


def _items(packed: bytes) -> list[int]:
    return list(unpack(f"<{len(packed) // 8}q", packed))


def _packed(items: list[int]) -> bytes:
    return pack(f"<{len(items)}q", *items)
