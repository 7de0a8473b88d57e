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
`cell_draw`, `cell_records` and `cell_update` how blocks are written, `cell_match`, `cell_near` and
`cell_rims` how they are read.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geo.matching import cell_match, cell_near, cell_records, cell_rims, cell_rows, cell_update
from geo.matching.cell_columns import ShapeColumns
from geo.matching.cell_directory import Directory
from geo.matching.cell_draw import Rows
from geo.matching.cell_layout import BLOCK_DEG, TILE_DEG, Cells, Desk, Hand, larger_desk
from geo.matching.cell_records import ARENA_FULL, DESK_FULL, Plan
from geo.matching.growing import Growing, larger
from geo.matching.sides import PARTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Row32 = NDArray[np.int32]
Column = TypeVar("Column", np.float64, np.int64, np.int32)

#: 2 fences that may cross a cell: measured in docs/matching.md
PLAN = Plan(crossed=2.0, most_blocks=20_000)
_NO_PLACES = np.empty((0, 3), np.int64)
_PER_REACH = cell_near.degrees_by_reach()
_FIRST_RECORDS = 1 << 20
_FIRST_GRID = 1 << 22
#: so few changed rows share a desk
_FEW = 16
#: unused words of the arena are let be up to this share of the used ones, or …
_WASTE = 0.5
#: … up to so many
_WASTE_WORDS = 1 << 21


class BadPing(ValueError):
    """A ping, given by its number, is no place on earth."""

    def __init__(self, ping: int) -> None:
        super().__init__(ping)
        self.ping = ping


@dataclass
class _Store:
    """What the versions of an index share: columns that grow, and who may make them grow.

    Attributes:
        newest: number of the newest version; only that one may be changed further.
        desk: kept from change to change, where it is small.
        wasted: words of the arena that the newest version does not name.
    """

    shapes: dict[str, Growing]
    directory: Directory
    arena: Growing
    wasted: int = 0
    newest: int = 0
    desk: Desk | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class CellIndex:
    """Shapes, indexed by cells. Never changes; `changed` makes the next one. Safe for many threads."""

    def __init__(self, store: _Store, cells: Cells, plan: Plan, number: int) -> None:
        self._store = store
        self.cells = cells
        self._plan = plan
        self._number = number
        self._own = threading.local()
        self._with_wide = bool(cells.wide[: store.directory.wide.used].any())

    @classmethod
    def build(cls, shapes: ShapeColumns, *, plan: Plan = PLAN) -> CellIndex:
        """An index of these shapes; row i is shape i."""
        store = _Store(
            shapes={name: Growing(getattr(shapes, name)) for name in _SHAPE_COLUMNS},
            directory=Directory(),
            arena=Growing(np.zeros(1, np.int32), room=max(1 << 20, 512 * len(shapes))),
        )
        none = np.zeros(0, np.int32)
        index = cls(store, _cells(store, np.zeros(0, np.int32), none, none), plan, 0)
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
        count = cell_match.match_place(self.cells, lon, lat, own.out, 0, hand)
        while count < 0:
            own.out = np.empty(2 * len(own.out), np.int32)
            hand.doubt[0] = 0
            count = cell_match.match_place(self.cells, lon, lat, own.out, 0, hand)
        return own.out[:count].tolist(), bool(hand.doubt[0])

    def near(
        self, *, lon: Floats, lat: Floats, reach_m: Floats, offsets: Ints, rows: Row32
    ) -> tuple[NDArray[np.bool_], Ints, Ints]:
        """Which pairs of `match` have their rim within reach of the ping; see `cell_near`.

        Args:
            reach_m: of each ping; NaN asks for nothing.
        Returns:
            A flag per pair; further pairs, as ping << 32 | row, of odd polygons beside a ping; and pings
            that have to be looked at by other means, whose pairs are all flagged.
        """
        close = np.empty(len(rows), np.int8)
        extra = np.empty(64 + len(lon) // 4, np.int64)
        far = np.empty(len(lon) + 1, np.int64)
        tray = cell_near.Tray.make()
        lon, lat = plain_column(np.asarray(lon, np.float64)), plain_column(np.asarray(lat, np.float64))
        reach_m = plain_column(np.asarray(reach_m, np.float64))
        while True:
            cell_near.near_many(
                self.cells,
                lon,
                lat,
                reach_m,
                offsets,
                rows,
                close,
                extra,
                far,
                _PER_REACH,
                self._with_wide,
                tray,
            )
            if extra[0] < len(extra):
                return close == cell_rims.CLOSE, extra[1 : extra[0] + 1], far[1 : far[0] + 1]
            extra = np.empty(2 * int(extra[0]), np.int64)

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
        for name in _SHAPE_COLUMNS:
            more = getattr(shapes, name)
            held[name].append(more + shifts[name] if name in shifts else more)

    def _next(self, shapes: ShapeColumns | None, removed: Ints, first: int) -> CellIndex:
        """Blocks of the new rows and of the removed ones, written anew; the directory, copied."""
        store = self._store
        added = np.arange(first, store.shapes["bounds"].used)
        cells = self._with_rows(shapes, removed, first)
        rows, desk = _rows(store), _desk(store, len(added) + len(removed))
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
            cells = _cells(store, cells.everywhere, cells.south, cells.north)
        store.directory.publish()
        if store.wasted > max(_WASTE * store.arena.used, _WASTE_WORDS):
            self._compact()
        store.newest = self._number + 1
        cells = _cells(store, cells.everywhere, cells.south, cells.north)
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
        return _cells(self._store, *found)

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

    def _compact(self) -> None:
        """Copy what is still named into an arena of its own; older versions keep theirs."""
        store = self._store
        words = store.directory.all_words()
        live = sum(cell_update.live_words(store.arena.whole, w) for w in words)
        target = np.empty(int(live * 1.5) + (1 << 20), np.int32)
        place = 1
        for column in words:
            place = cell_update.copy_records(store.arena.whole, column, target, place)
        store.directory.replace_words(words)
        store.arena = Growing(target)
        store.arena.used = place
        store.wasted = 0


def keep_live(
    offsets: Ints, rows: Row32, at_ms: Ints, live_from_ms: Ints, live_until_ms: Ints
) -> tuple[Ints, Row32]:
    """Offsets and rows of the pairs whose row is live at its ping's instant; overwrites both."""
    at_ms = plain_column(np.asarray(at_ms, np.int64))
    left = cell_rows.keep_in_time(
        offsets, rows, at_ms, plain_column(live_from_ms), plain_column(live_until_ms)
    )
    return offsets, rows[:left]


_SHAPE_COLUMNS = ("circle", "vertex", "rings", "ends", "is_polygon", "is_odd", "bounds", "rim_m")


def plain_column(column: NDArray[Column]) -> NDArray[Column]:
    """A column as kernels take it: contiguous and writeable (they do not write to it)."""
    column = np.ascontiguousarray(column)
    return column if column.flags.writeable else column.copy()


def _cells(store: _Store, everywhere: Row32, south: Row32, north: Row32) -> Cells:
    shapes, directory = store.shapes, store.directory
    return Cells(
        root=directory.root,
        regions=directory.regions.whole,
        tiles=directory.tiles.whole,
        wide=directory.wide.whole,
        arena=store.arena.whole,
        circle=shapes["circle"].whole,
        vertex=shapes["vertex"].whole,
        rings=shapes["rings"].whole,
        ends=shapes["ends"].whole,
        everywhere=everywhere,
        south=south,
        north=north,
    )


def _rows(store: _Store) -> Rows:
    return Rows(*(store.shapes[name].whole for name in ("is_polygon", "is_odd", "bounds", "rim_m")))


def _desk(store: _Store, changes: int) -> Desk:
    edges = store.shapes["vertex"].used
    kept = store.desk
    if kept is not None and changes < _FEW and len(kept.edge) >= edges:
        return kept
    size = min(_FIRST_RECORDS, 4096 * max(changes, 16))
    made = Desk(
        record=np.empty((size, 4), np.int32),
        order=np.empty(size, np.int32),
        touched=np.empty(_FIRST_GRID, np.int8),
        parity=np.empty(_FIRST_GRID, np.int8),
        tally=np.empty(4**7, np.int32),
        edge=np.empty(2 * edges + 1, np.int64),
        parts=np.empty(PARTS),
    )
    if changes < _FEW:
        store.desk = made
    return made
