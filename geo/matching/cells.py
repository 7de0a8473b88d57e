"""The cell index: which fences hold a ping, mostly without looking at a fence.

An R-tree of boxes finds a handful of candidates for a ping and asks the geometry of each. But where
fences are, most pings lie well inside or well outside of them, and what the answer is there can be
written down beforehand. So the world is cut into cells, the finer the more rims cross there, and each
cell says: these fences cover me, these circles and these few edges of polygons cross me. A ping costs
four or five look-ups and, in one cell of three, a circle's polynomial or two or three edges.

**What it costs** (100,000 fences, 30 % of them polygons of 100 corners; docs/matching.md has the rest):
3 kB and 30 µs to build for each fence, that is 300 MB, where an R-tree takes a tenth of both. It pays
from about 10,000 pings on. A fence that changes costs the blocks it meets, half a millisecond as a rule;
the index before the change stays as it was for those who still read it.

**Exact**: the answer is that of `PlainIndex` for every ping. Circles within a band of a micrometre to a
metre about their rim are measured by geodesic (`cell_circles` proves the band); edges by arithmetic that
does not round (`sides`); poles, 180° and shapes larger than a country have rules of their own below.

The files: `cell_layout` how it lies in memory, `cell_circles` and `cell_polygons` the two tests,
`cell_draw`, `cell_records` and `cell_update` how blocks are written, `cell_one`, `cell_match`,
`cell_near`, `cell_rims` and `cell_around` how they are read.
"""

from __future__ import annotations

import threading
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geo.matching import (
    cell_around,
    cell_match,
    cell_near,
    cell_one,
    cell_records,
    cell_rows,
    cell_update,
)
from geo.matching.cell_columns import ShapeColumns
from geo.matching.cell_directory import Directory
from geo.matching.cell_draw import Rows
from geo.matching.cell_layout import BLOCK_DEG, TILE_DEG, Cells, Desk, Hand, larger_desk
from geo.matching.cell_records import ARENA_FULL, DESK_FULL, Plan
from geo.matching.cell_store import SHAPE_COLUMNS, Store, cells_of, desk_of, rows_of
from geo.matching.growing import Growing, larger

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Row32 = NDArray[np.int32]
Column = TypeVar("Column", np.float64, np.int64, np.int32)

#: 2 fences that may cross a cell: measured in docs/matching.md
PLAN = Plan(crossed=2.0, most_blocks=20_000)
_NO_PLACES = np.empty((0, 3), np.int64)
#: what an arena begins with; memory that is not written to costs nothing, moving it page by page does
_WORDS_A_FENCE = 1024
_PER_REACH = cell_near.degrees_by_reach()
#: unused words of the arena are let be up to this share of the used ones, or …
_WASTE = 0.5
#: … up to so many
_WASTE_WORDS = 1 << 21


class BadPing(ValueError):
    """A ping, given by its number, is no place on earth."""

    def __init__(self, ping: int) -> None:
        super().__init__(ping)
        self.ping = ping


class CellIndex:
    """Shapes, indexed by cells. Never changes; `changed` makes the next one. Safe for many threads."""

    def __init__(self, store: Store, cells: Cells, plan: Plan, number: int) -> None:
        self._store = store
        self.cells = cells
        self._plan = plan
        self._number = number
        self._own = threading.local()
        self._with_wide = bool(cells.wide[: store.directory.wide.used].any())

    @classmethod
    def build(cls, shapes: ShapeColumns, *, plan: Plan = PLAN) -> CellIndex:
        """An index of these shapes; row i is shape i."""
        store = Store(
            shapes={name: Growing(getattr(shapes, name)) for name in SHAPE_COLUMNS},
            directory=Directory(),
            arena=Growing(np.zeros(1, np.int32), room=max(1 << 20, _WORDS_A_FENCE * len(shapes))),
        )
        none = np.zeros(0, np.int32)
        index = cls(store, cells_of(store, np.zeros(0, np.int32), none, none), plan, 0)
        return index._next(shapes, np.zeros(0, np.int64), 0)

    # --- reading --------------------------------------------------------------------------------

    def match(self, *, lon: Floats, lat: Floats) -> tuple[Ints, Row32, Ints]:
        """Rows that hold each ping, and which of them only may.

        Returns:
            offsets (pings + 1) and rows, ascending per ping: ping i has those from offsets[i] on.
            And the pairs, as ping << 32 | row, whose circle's rim is so near that the geodesic decides.
        Raises:
            BadPing: a coordinate is not finite, or a latitude beyond a pole.
        """
        lon, lat = plain_column(lon), plain_column(lat)
        offsets = np.empty(len(lon) + 1, np.int64)
        offsets[0] = 0
        out = np.empty(6 * len(lon) + 1024, np.int32)
        doubts = np.zeros(64 + len(lon) // 16, np.int64)
        hand = Hand.make()
        done = count = 0
        while True:
            done, count, why = cell_match.match_many(
                self.cells, lon, lat, offsets, out, hand, doubts, done, count
            )
            if why == cell_match.DONE:
                return offsets, out[:count], doubts[1 : doubts[0] + 1]
            if why == cell_match.BAD_PING:
                raise BadPing(done)
            out = larger(out)
            doubts = larger(doubts)
            hand = Hand.make(2 * len(hand.doubt))

    def one(self, lon: float, lat: float) -> tuple[list[int], bool]:
        """Rows that hold one place (longitude in [-180, 180)), and whether any of them is in doubt."""
        own = self._own
        if not hasattr(own, "hand"):
            own.hand, own.out = Hand.make(), np.empty(1024, np.int32)
        hand: Hand = own.hand
        hand.doubt[0] = 0
        count = cell_one.match_place(self.cells, lon, lat, own.out, 0, hand)
        while count < 0:
            own.out = np.empty(2 * len(own.out), np.int32)
            hand.doubt[0] = 0
            count = cell_one.match_place(self.cells, lon, lat, own.out, 0, hand)
        return own.out[:count].tolist(), bool(hand.doubt[0])

    def around(
        self,
        *,
        lon: Floats,
        lat: Floats,
        reach_m: Floats,
        at_ms: Ints | None,
        live_from_ms: Ints,
        live_until_ms: Ints,
    ) -> cell_around.Found:
        """`match`, with the odd polygons beside each place, and which rims come near: see `cell_around`.

        Args:
            reach_m: of each place; NaN asks for nothing.
            at_ms: their instants; None where all rows are live.
            live_from_ms, live_until_ms: by row.
        Returns:
            Columns cut to what was found, without the counts of doubts and far.
        Raises:
            BadPing: as `match`.
        """
        fixes = cell_around.Fixes(
            lon=plain_column(lon),
            lat=plain_column(lat),
            reach_m=plain_column(np.asarray(reach_m, np.float64)),
            at_ms=plain_column(np.asarray(() if at_ms is None else at_ms, np.int64)),
            live_from_ms=plain_column(live_from_ms),
            live_until_ms=plain_column(live_until_ms),
        )
        found = cell_around.Found(
            offsets=np.empty(len(lon) + 1, np.int64),
            rows=np.empty(6 * len(lon) + 1024, np.int32),
            state=np.empty(6 * len(lon) + 1024, np.int8),
            asked=np.empty(2 * len(lon) + 1024, np.int64),
            asked_by=np.empty(2 * len(lon) + 1024, np.int64),
            doubts=np.zeros(64 + len(lon) // 16, np.int64),
            far=np.zeros(len(lon) + 1, np.int64),
            extra=np.zeros(1024, np.int64),
        )
        found.offsets[0] = 0
        hand, tray = Hand.make(), cell_near.Tray.make()
        done = count = asks = 0
        while True:
            done, count, asks, why = cell_around.around_many(
                self.cells, fixes, found, _PER_REACH, self._with_wide, hand, tray, done, count, asks
            )
            if why == cell_match.DONE:
                return found.cut(count, asks)
            if why == cell_match.BAD_PING:
                raise BadPing(done)
            found = found.larger()
            hand = Hand.make(2 * len(hand.doubt))

    @property
    def used_bytes(self) -> int:
        """Memory in use, shapes included, room for growth not."""
        store = self._store
        columns = [*store.shapes.values(), store.arena, *store.directory.columns]
        return sum(c.used * c.whole.itemsize * int(np.prod(c.whole.shape[1:])) for c in columns)

    # --- changing -------------------------------------------------------------------------------

    @property
    def is_newest(self) -> bool:
        """Whether nothing was made from it yet; only then `changed` may be called."""
        return self._number == self._store.newest

    def changed(self, shapes: ShapeColumns | None, removed: Ints) -> CellIndex:
        """The index with these shapes behind its rows and without the removed rows, ascending.

        Raises:
            ValueError: another index was made from this one before.
        """
        with self._store.lock:
            if not self.is_newest:
                raise ValueError("This cell index was changed before; change the newest one.")
            first = self._store.shapes["bounds"].used
            if shapes is not None:
                self._grow(shapes)
            return self._next(shapes, removed, first)

    def _grow(self, shapes: ShapeColumns) -> None:
        held = self._store.shapes
        rings, vertices = held["ends"].used, held["vertex"].used
        shifts = {"rings": rings, "ends": vertices}
        for name in SHAPE_COLUMNS:
            more = getattr(shapes, name)
            held[name].append(more + shifts[name] if name in shifts else more)

    def _next(self, shapes: ShapeColumns | None, removed: Ints, first: int) -> CellIndex:
        """Blocks of the new rows and of the removed ones, written anew; the directory, copied."""
        store = self._store
        added = np.arange(first, store.shapes["bounds"].used)
        cells = self._with_rows(shapes, removed, first)
        rows, desk = rows_of(store), desk_of(store, len(added) + len(removed))
        wide_ones = self._is_wide(self.cells, rows, removed), self._is_wide(cells, rows, added)
        for wide in (False, True):
            if wide and not any(flags.any() for flags in wide_ones):
                break
            side_deg = TILE_DEG if wide else BLOCK_DEG
            leaving, coming = removed[wide_ones[0] == wide], added[wide_ones[1] == wide]
            gone, desk = self._places(cells, rows, desk, leaving, wide=wide)
            come, desk = self._places(cells, rows, desk, coming, wide=wide)
            places = np.unique(np.concatenate([gone[:, 1], come[:, 1]]))
            if not len(places):
                continue
            come = np.ascontiguousarray(come[np.argsort(come[:, 1], kind="stable")])
            before = store.directory.words(places, wide=wide)
            after = self._write(cells, rows, desk, places, before, come, removed, side_deg)
            store.wasted += cell_update.live_words(store.arena.whole, before)
            store.directory.put(places, after, wide=wide)
            cells = cells_of(store, cells.everywhere, cells.south, cells.north)
        store.directory.publish()
        if store.wasted > max(_WASTE * store.arena.used, _WASTE_WORDS):
            store.compact()
        store.newest = self._number + 1
        cells = cells_of(store, cells.everywhere, cells.south, cells.north)
        return CellIndex(store, cells, self._plan, store.newest)

    def _with_rows(self, shapes: ShapeColumns | None, removed: Ints, first: int) -> Cells:
        found = []
        for name in ("everywhere", "south", "north"):
            kept = getattr(self.cells, name)
            if len(kept) and len(removed):
                kept = kept[~np.isin(kept, removed)]
            if shapes is not None and (new := np.flatnonzero(getattr(shapes, name))).size:
                kept = np.concatenate([kept, first + new]).astype(np.int32)
            found.append(kept)
        return cells_of(self._store, *found)

    def _is_wide(self, cells: Cells, rows: Rows, some: Ints) -> NDArray[np.int8]:
        """1 for rows that stand in tiles' records, 0 for blocks, 2 for those that stand in neither."""
        if not len(some):
            return np.zeros(0, np.int8)
        kind = (cell_records.blocks_met(rows, some) > self._plan.most_blocks).astype(np.int8)
        if len(cells.everywhere):
            kind[np.isin(some, cells.everywhere)] = 2
        return kind

    def _places(
        self, cells: Cells, rows: Rows, desk: Desk, some: Ints, *, wide: bool
    ) -> tuple[Ints, Desk]:
        """(row, place, flags) of the blocks, or tiles, that these rows meet."""
        if not len(some):
            return _NO_PLACES, desk
        found = np.empty((4 * len(some) + 1024, 3), np.int64)
        done = count = 0
        while done < len(some):
            args = cells, rows, desk, some, wide, found, done, count
            done, count, why = cell_records.all_places(*args)
            if why == cell_records.FOUND_FULL:
                found = larger(found)
            elif why == cell_records.DESK_FULL:
                desk = larger_desk(desk)
        return found[:count], desk

    def _write(
        self,
        cells: Cells,
        rows: Rows,
        desk: Desk,
        places: Ints,
        before: Ints,
        come: Ints,
        removed: Ints,
        side_deg: float,
    ) -> Ints:
        """The new words of these blocks, their records written to the arena."""
        arena = self._store.arena
        starts = np.searchsorted(come[:, 1], np.append(places, np.iinfo(np.int64).max))
        after = np.zeros(len(places), np.int64)
        done = 0
        while True:
            done, arena.used, why = cell_update.change_blocks(
                cells, rows, desk, self._plan, places, before, come, starts, removed, side_deg, after,
                done, arena.used,
            )  # fmt: skip
            if why == DESK_FULL:
                desk = larger_desk(desk)
            elif why == ARENA_FULL:
                arena.reserve(len(arena.whole))
                cells = cells._replace(arena=arena.whole)
            else:
                return after


def keep_live(
    offsets: Ints, rows: Row32, at_ms: Ints, live_from_ms: Ints, live_until_ms: Ints
) -> tuple[Ints, Row32]:
    """Offsets and rows of the pairs whose row is live at its ping's instant; overwrites both."""
    at_ms = plain_column(np.asarray(at_ms, np.int64))
    left = cell_rows.keep_in_time(
        offsets, rows, at_ms, plain_column(live_from_ms), plain_column(live_until_ms), 0, len(at_ms)
    )
    return offsets, rows[:left]


def plain_column(column: NDArray[Column]) -> NDArray[Column]:
    """A column as kernels take it: contiguous and writeable (they do not write to it)."""
    column = np.ascontiguousarray(column)
    return column if column.flags.writeable else column.copy()
