"""The fence index: which fence versions hold a ping, at its instant (product F8, P2).

It answers by one of two engines, exactly alike:

* **rtree**: R-trees of boxes find the candidates, exact geometry settles them. Ready as soon as it is
  built, on every machine. shapely's STRtree answers columns of pings; `rtree` single boxes.
* **cells**: the compiled index of `cells`, some forty times faster. `compile` makes it from the other,
  aside; from that moment on it answers. Its kernels take seconds to compile on a machine that never ran
  them, so a server starts with the R-tree and switches when they are ready (`kernels`).

An index is never changed: `changed` makes the next one, which shares with it what stayed the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon
from geo.fences.fence import FenceVersion
from geo.matching.boxes import RowsByFence, Trees
from geo.matching.growing import Gone
from geo.matching.hits import CLOSE, Around, Hits, Pairs
from geo.matching.index_columns import BadCoordinates, IndexColumns, Lineage, no_place, places_of

if TYPE_CHECKING:
    from geo.matching.cells import CellIndex

__all__ = ["BadCoordinates", "FenceIndex", "Hits", "Pairs"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: P(inside) ≥ 0.5 reaches at most sqrt(2 ln 2) = 1.1774 sigma outside of any shape (certainty.md §4);
#: sigma is at most accuracy / sqrt(2) (iOS), or the floor of 3 m. For Android it is 0.78 × accuracy.
ENTER_REACH = 1.1775 / np.sqrt(2.0)
_LEAST_REACH_M = 1.1775 * 3.0
#: a fix coarser than this enters only fences so large that missing it outside costs nothing
_MOST_REACH_M = 2_000.0
#: after so many changes, and if as many rows are gone as are left, everything is built anew
_CHANGES_MOST = 1_024
#: more edited fences than this, and than a twentieth of all, are indexed by building anew
_EDITS_MOST = 256


class FenceIndex:
    """Fence versions, indexed. Build with `FenceIndex.build`; reading is thread-safe.

    Attributes:
        columns: of all rows; `versions`, `fence_id`, `live_from_ms`, `live_until_ms`, `is_circle`,
            `circles` and `polygons` are its columns. A row of the index is a position in them.
        gone: rows that were taken out by `changed`: nothing finds them any more.
    """

    def __init__(self, columns: IndexColumns, *, gone: Gone | None = None) -> None:
        self.columns = columns
        self.gone = Gone.none(len(columns.versions)) if gone is None else gone
        self.versions = columns.versions
        self.fence_id = columns.fence_id
        self.live_from_ms = columns.live_from_ms
        self.live_until_ms = columns.live_until_ms
        self.is_circle = columns.is_circle
        self.circles = columns.circles
        self.polygons = columns.polygons
        self._cells: CellIndex | None = None
        self._lineage = Lineage()

    @classmethod
    def build(cls, versions: Sequence[FenceVersion]) -> FenceIndex:
        """An index of these versions by R-tree, ready for many threads.

        Raises:
            BadCoordinates: a shape has a coordinate or radius that is no finite number.
        """
        index = cls(IndexColumns.of(tuple(versions)))
        index._trees.all  # noqa: B018 - built now, not by the first of several readers
        return index

    def __len__(self) -> int:
        return len(self.versions)

    @property
    def engine(self) -> str:
        """What answers: "rtree", or "cells" once `compile` is done."""
        return "rtree" if self._cells is None else "cells"

    @property
    def used_bytes(self) -> int:
        """Memory of the cells, the shapes in them included; 0 by R-tree."""
        return 0 if self._cells is None else self._cells.used_bytes

    def compile(self) -> FenceIndex:
        """Make the cells and answer by them from now on; returns this index.

        Takes some 30 µs a fence, and seconds where the kernels were never compiled before.
        Meanwhile others go on reading by R-tree.
        """
        if self._cells is None:
            from geo.matching.cell_columns import ShapeColumns  # numba comes with it: not before
            from geo.matching.cells import CellIndex

            shapes = ShapeColumns.of(
                circles=self.circles, polygons=self.polygons, is_circle=self.is_circle
            )
            self._cells = CellIndex.build(shapes)
        return self

    def rows_of(self, fence_id: int) -> tuple[int, ...]:
        """The rows of a fence's versions, in the order given; empty for one that is not indexed."""
        return self._rows.of_fence(fence_id)

    def rows_of_fences(self, fence_ids: Ints) -> tuple[Ints, Ints]:
        """Every version of many fences: position in `fence_ids` × row, as two ascending columns."""
        return self._rows.of_fences(fence_ids)

    def match(self, *, lon: Floats, lat: Floats, at_ms: Ints | None = None) -> Hits:
        """The fence versions that contain each ping and are live at its instant.

        Args:
            lon, lat: WGS84 degrees, finite, |lat| ≤ 90; any longitude, 180 and -180 are one place.
            at_ms: instants of the pings; None matches whatever the time.
        Returns:
            Pairs sorted by (ping, fence). A circle holds what is within its radius + 1e-6 m by
            geodesic; a polygon's edges are straight in longitude and latitude; rims belong to both.
        Raises:
            BadCoordinates: a coordinate is NaN, infinite or out of range.
        """
        if self._cells is not None:
            return self.pairs(lon=lon, lat=lat, at_ms=at_ms).hits()
        lon, lat = places_of(lon, lat)
        trees = self._trees
        ping, fence = trees.all.holding(lon, lat)
        if at_ms is not None:
            ping, fence = self._live(at_ms, ping, fence)
        held = self.hold(lon=lon, lat=lat, ping=ping, fence=fence)
        return Hits.sorted_from(ping[held], fence[held], fences=len(self), unique=trees.all.has_twins)

    def pairs(self, *, lon: Floats, lat: Floats, at_ms: Ints | None = None) -> Pairs:
        """`match` in its leanest form, as the cells write it."""
        cells = self._cells
        if cells is None:
            return Pairs.of(self.match(lon=lon, lat=lat, at_ms=at_ms), pings=len(lon))
        from geo.matching.cells import BadPing, keep_live

        lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
        try:
            offsets, fence, doubts = cells.match(lon=lon, lat=lat)
        except BadPing as bad:
            raise no_place(bad.ping, lon, lat) from None
        found = Pairs(offsets=offsets, fence=fence)
        if len(doubts):
            found = found.losing(*self._let_go(lon, lat, doubts))
        if at_ms is None or self._all_live(at_ms):
            return found
        offsets, fence = keep_live(
            found.offsets, found.fence, at_ms, self.live_from_ms, self.live_until_ms
        )
        return Pairs(offsets=offsets, fence=fence)

    def match_one(self, lon: float, lat: float, *, at_ms: int | None = None) -> list[int]:
        """Rows of the fences that contain one place, ascending; as `match`."""
        if self._cells is None:
            return self._one_by_rtree(lon, lat, at_ms)
        if not (abs(lat) <= 90 and math.isfinite(lon)):
            raise no_place(0, np.array([lon]), np.array([lat]))
        found, unsure = self._cells.one(lon if -180 <= lon < 180 else float(normalize_lon(lon)), lat)
        if unsure:
            found = self.pairs(lon=np.array([lon]), lat=np.array([lat])).fence.tolist()
        if at_ms is None:
            return found
        return [row for row in found if self.live_from_ms[row] <= at_ms < self.live_until_ms[row]]

    def candidates(self, *, lon: Floats, lat: Floats, at_ms: Ints | None, accuracy_m: Floats) -> Hits:
        """`match`, and the fences that a fix outside of them may still be in with P ≥ 0.5.

        Only concave, holed and multi-part fences can be (certainty.md §4): those that come within
        0.83 × accuracy (that much on iOS; less elsewhere), at most 2 km; by R-tree, whose box does. A
        fix without accuracy (NaN or 0) gets no more than `match`.
        """
        accuracy_m = np.asarray(accuracy_m, np.float64)
        with np.errstate(invalid="ignore"):
            reach_m = np.clip(ENTER_REACH * accuracy_m, _LEAST_REACH_M, _MOST_REACH_M)
        reach_m = np.where(accuracy_m > 0, reach_m, np.nan)
        return self.around(lon=lon, lat=lat, at_ms=at_ms, reach_m=reach_m).pairs.hits()

    def around(self, *, lon: Floats, lat: Floats, at_ms: Ints | None, reach_m: Floats) -> Around:
        """`match`, with the odd fences that lie within reach beside a place, and which rims come near.

        Args:
            reach_m: of each place; NaN asks for nothing.
        Returns:
            By R-tree no pair is sure; by cells only those whose rim may come within reach are not.
        """
        cells = self._cells
        lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
        if cells is None:
            pairs = self.pairs(lon=lon, lat=lat, at_ms=at_ms)
            found = Around.of(pairs, np.full(len(pairs), CLOSE, np.int8))
            far = np.flatnonzero(reach_m > 0)
        else:
            found, far = self._around_by_cells(cells, lon, lat, at_ms, reach_m)
        if not len(far):
            return found
        ping, fence = self._beside(far, lon, lat, np.minimum(reach_m, _MOST_REACH_M))
        if at_ms is not None:
            ping, fence = self._live(at_ms, ping, fence)
        return found.with_beside(ping, fence)

    def _around_by_cells(
        self, cells: CellIndex, lon: Floats, lat: Floats, at_ms: Ints | None, reach_m: Floats
    ) -> tuple[Around, Ints]:
        """What the cells know, and the places that they do not look around."""
        from geo.matching.cells import BadPing

        timed = at_ms is not None and not self._all_live(at_ms)
        live = {"live_from_ms": self.live_from_ms, "live_until_ms": self.live_until_ms}
        try:
            got = cells.around(lon=lon, lat=lat, reach_m=reach_m, at_ms=at_ms if timed else None, **live)
        except BadPing as bad:
            raise no_place(bad.ping, lon, lat) from None
        pairs = Pairs(offsets=got.offsets, fence=got.rows)
        found = Around(pairs=pairs, state=got.state, asked=got.asked, asked_by=got.asked_by)
        if len(got.doubts):
            ping, row = self._let_go(lon, lat, got.doubts)
            if at_ms is not None:
                ping, row = self._live(at_ms, ping, row)
            found = found.losing(ping, row)
        return found, got.far

    def _beside(self, some: Ints, lon: Floats, lat: Floats, reach_m: Floats) -> tuple[Ints, Ints]:
        """Pairs of these places and the odd fences whose box comes within reach."""
        lon, lat = places_of(np.asarray(lon)[some], np.asarray(lat)[some])
        near, fence = self._trees.odd_reached(lon, lat, np.asarray(reach_m)[some])
        return some[near], fence

    def in_box(self, west: float, south: float, east: float, north: float) -> list[int]:
        """Rows whose box meets this one, ascending; edges count. `west > east` is across 180°.

        The box of a circle is a little larger than the circle.

        Raises:
            BadCoordinates: a bound is no finite number, or south lies north of north.
        """
        # before any call: NaN makes libspatialindex crash or match everything (quality.md §2)
        if not np.isfinite([west, south, east, north]).all() or south > north:
            raise BadCoordinates(
                f"The box {west}, {south}, {east}, {north} is no box: give finite degrees as west, "
                "south, east, north, south at most north."
            )
        return self._trees.in_box(west, south, east, north)

    def hold(self, *, lon: Floats, lat: Floats, ping: Ints, fence: Ints) -> Bools:
        """Whether each pair's fence contains its ping, exactly, whatever the time.

        Args:
            lon, lat: columns of the pings, longitudes in [-180, 180).
            ping, fence: pairs of a row of those columns and a row of this index.
        """
        of_circle = self.is_circle[fence]
        held = np.zeros(len(ping), bool)
        for shapes, chosen in ((self.circles, of_circle), (self.polygons, ~of_circle)):
            some = np.flatnonzero(chosen)
            held[some] = shapes.hold(lon=lon, lat=lat, ping=ping[some], fence=fence[some])
        return held

    # --- changing ---------------------------------------------------------------------------------

    def changed(self, *, added: Sequence[FenceVersion] = (), removed: Sequence[int] = ()) -> FenceIndex:
        """The next index: these versions behind its rows, the removed rows found no more.

        Rows keep their numbers, except where everything is built anew: after many changes, by R-tree,
        and where another index was made from this one before. So ask the new index for its rows.

        Args:
            added: versions; a fence that moves is its old row removed and its new version added.
            removed: rows of this index.
        Raises:
            BadCoordinates: an added shape has a coordinate or radius that is no finite number.
        """
        with self._lineage.lock:
            leaving = {row for row in removed if row not in self.gone}
            gone = self.gone.count + len(leaving)
            worn = gone > _CHANGES_MOST and 2 * gone > len(self)
            if self._cells is None or worn or not self._cells.is_newest:
                return self._anew(added, leaving)
            return self._with(added, np.array(sorted(leaving), np.int64))

    def _anew(self, added: Sequence[FenceVersion], leaving: set[int]) -> FenceIndex:
        kept = [v for row, v in enumerate(self.versions) if row not in leaving and row not in self.gone]
        index = FenceIndex.build([*kept, *added])
        return index if self._cells is None else index.compile()

    def _with(self, added: Sequence[FenceVersion], removed: Ints) -> FenceIndex:
        """The next index by cells; what only some readers ask for is left for them to compute."""
        from geo.matching.cell_columns import ShapeColumns

        lineage, cells = self._lineage, self._cells
        assert cells is not None
        columns = self.columns
        if added:
            more = IndexColumns.of(added)
            next_cells = cells.changed(
                ShapeColumns.of(circles=more.circles, polygons=more.polygons, is_circle=more.is_circle),
                removed,
            )
            columns = lineage.growing(self.columns).with_(more)
        else:
            next_cells = cells.changed(None, removed)
        index = FenceIndex(
            columns, gone=lineage.leaving(self.gone, len(self)).after(self.gone, removed, len(added))
        )
        index._cells, index._lineage = next_cells, lineage
        if len(index) - self._rows.rows < _CHANGES_MOST:
            index._rows = self._rows.changed(index.fence_id, index.gone)
            index._trees = self._trees.changed(columns, index.gone)
        index._trees, index._rows  # noqa: B018 - made anew where they were not taken over
        return index

    def following(self, versions: Sequence[FenceVersion]) -> FenceIndex:
        """The index of exactly these versions, made from this one where little differs.

        A version is known by its fence, number and live time. Rows of a fence keep the order given.
        """
        wanted = {_identity(v) for v in versions}
        held = {_identity(v): row for row, v in enumerate(self.versions) if row not in self.gone}
        edited = {fence for fence, *_ in held.keys() ^ wanted}
        if len(edited) > max(_EDITS_MOST, len(self) // 20):
            index = FenceIndex.build(versions)
            return index if self._cells is None else index.compile()
        if not edited:
            return self
        removed = [row for name, row in held.items() if name[0] in edited]
        return self.changed(added=[v for v in versions if v.fence_id in edited], removed=removed)

    # --- inside -----------------------------------------------------------------------------------

    @cached_property
    def _trees(self) -> Trees:
        return Trees.of(self.columns, self.gone)

    @cached_property
    def _rows(self) -> RowsByFence:
        return RowsByFence.of(self.fence_id, self.gone)

    @cached_property
    def _always_live(self) -> tuple[int, int]:
        """`[from, until)` in which every row is live."""
        if not len(self):
            return -(1 << 62), 1 << 62
        return int(self.live_from_ms.max()), int(self.live_until_ms.min())

    def _all_live(self, at_ms: Ints) -> bool:
        first, last = self._always_live
        return not len(at_ms) or bool(first <= np.min(at_ms) and np.max(at_ms) < last)

    def _let_go(self, lon: Floats, lat: Floats, doubts: Ints) -> tuple[Ints, Ints]:
        """Pairs of a circle, with a rim so near that only the geodesic knows, that do not hold."""
        doubts.sort()
        ping, row = doubts >> 32, doubts & 0xFFFFFFFF
        here = np.arange(len(ping))
        held = self.circles.hold(lon=normalize_lon(lon[ping]), lat=lat[ping], ping=here, fence=row)
        return ping[~held], row[~held]

    def _one_by_rtree(self, lon: float, lat: float, at_ms: int | None) -> list[int]:
        lons, lats = places_of(np.array([lon]), np.array([lat]))
        x, y = float(lons[0]), float(lats[0])
        fence = np.array(self.in_box(x, y, x, y), np.int64)
        ping = np.zeros(len(fence), np.int64)
        if at_ms is not None:
            ping, fence = self._live(np.array([at_ms]), ping, fence)
        held = self.hold(lon=lons, lat=lats, ping=ping, fence=fence)
        found: list[int] = fence[held].tolist()
        return found

    def _live(self, at_ms: Ints, ping: Ints, fence: Ints) -> tuple[Ints, Ints]:
        at = np.asarray(at_ms, np.int64)[ping]
        live = (self.live_from_ms[fence] <= at) & (at < self.live_until_ms[fence])
        return ping[live], fence[live]


def _identity(version: FenceVersion) -> tuple[int, int, int, int]:
    return version.fence_id, version.version, version.live_from_ms, version.live_until_ms
