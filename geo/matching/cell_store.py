"""What all versions of a cell index share, and the tuples in which kernels read it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geo.matching import cell_update
from geo.matching.cell_directory import Directory
from geo.matching.cell_draw import Rows
from geo.matching.cell_layout import Cells, Desk
from geo.matching.growing import Growing
from geo.matching.sides import PARTS

Row32 = NDArray[np.int32]

#: of `ShapeColumns`, kept in `Store.shapes`
SHAPE_COLUMNS = ("circle", "vertex", "rings", "ends", "is_polygon", "is_odd", "bounds", "rim_m")
_FIRST_RECORDS = 1 << 20
_FIRST_GRID = 1 << 22
#: so few changed rows share a desk
_FEW = 16


@dataclass
class Store:
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

    def compact(self) -> None:
        """Copy what is still named into an arena of its own; older versions keep theirs."""
        words = self.directory.all_words()
        live = sum(cell_update.live_words(self.arena.whole, w) for w in words)
        target = np.empty(int(live * 1.5) + (1 << 20), np.int32)
        place = 1
        for column in words:
            place = cell_update.copy_records(self.arena.whole, column, target, place)
        self.directory.replace_words(words)
        self.arena = Growing(target)
        self.arena.used = place
        self.wasted = 0


def cells_of(store: Store, everywhere: Row32, south: Row32, north: Row32) -> Cells:
    """What readers see: the columns as they are, and these rows of all pings and of the poles."""
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


def rows_of(store: Store) -> Rows:
    """What building needs to know of each row."""
    return Rows(*(store.shapes[name].whole for name in ("is_polygon", "is_odd", "bounds", "rim_m")))


def desk_of(store: Store, changes: int) -> Desk:
    """A desk for so many changed rows; a small one is kept."""
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
