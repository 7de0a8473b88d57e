"""How the cell index lies in memory: the grid, and the columns that kernels read.

**The grid.** Degrees are cut into *blocks* of 1/64°, 16 × 16 blocks make a *tile* of 1/4°, 32 × 16
tiles a *region*, 45 × 45 regions the world. All sides are powers of two of a degree, so corners are
exact doubles. A block is cut into 2^k × 2^k *cells*, k from 0 to 6 chosen by how much rim lies in it.

**The way of a ping**: `root` → region → tile → block word → cell word → stream. What is not there costs
nothing: number 0 is the empty region and the empty tile.

    root     int32[45 × 45]   number of the region, 0: nothing there
    regions  int32[512 each]  tile number × 2 + (1 if the tile has a record of its own)
    tiles    int64[256 each]  block words
    wide     int64            block word of a tile as a whole: fences too large for blocks
    arena    int32            records of blocks

A *block word* is 0, or `place in arena << 24 | covering fences << 4 | k` with k = 15 for a block without
cells. The place is that of the covering fences in the block's *record*:

    length of the record | row × 2 + turned of each fence that crosses the block | how many those are |
    rows of the fences that cover the whole block | 4^k cell words | streams

A *cell word* is 0, or `row << 4 | 1` (one fence that covers the cell), `row << 4 | 6` (one circle whose
rim crosses it), or `place << 4 | 3`, place counted from the first cell word to a *stream*; 4 is added
where circles cross the cell, 8 where polygons do:

    counts   sure + circles × 2^11 + pieces × 2^21; or -1 and the three numbers, where one is too large
    sure     rows of the fences that cover the cell
    circles  rows of the circles whose rim crosses it
    pieces   per polygon whose edges touch it: row | runs << 4 + flags | runs × (first vertex, edges)

A piece's flags: 1 the cell's lower right corner lies inside, 2 that is not sure (it lies on an edge),
4 the polygon stands a turn further east (across 180°), 8 the polygon is concave, holed or in parts.

A record is never changed once a reader can see it. Source: `docs/matching.md`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.matching.sides import PARTS

BLOCKS_A_DEGREE = 64.0
BLOCK_DEG = 1.0 / 64.0
TILE_DEG = 0.25
TILE_SIDE = 16  # blocks
BLOCKS_EAST = 360 * 64
BLOCKS_NORTH = 180 * 64
TILES_EAST = 1440
TILES_NORTH = 720
REGION_EAST = 32  # tiles
REGION_NORTH = 16
ROOT_SIDE = 45  # regions

NO_CELLS = 15
K_MOST = 6
#: cells count as touched this share of their side beyond their border: 2e-11°, far more than the
#: rounding of `lon + 180` (3e-14°) that may put a ping into the neighbouring cell
BORDER = 1e-7

#: a cell word: the lowest bits say what it names, the next what crosses the cell, the others where
ONE_SURE, ONE_CIRCLE, STREAM = 1, 2, 3
CIRCLES_CROSS, PIECES_CROSS = 4, 8
CELL_BITS = 4
INSIDE, UNSURE, TURNED, ODD = 1, 2, 4, 8
#: kinds of records on the desk, in the order in which a stream holds them
SURE, CIRCLE, PIECE, EDGE = 0, 1, 2, 3
SURE_BITS, CIRCLE_BITS, PIECE_BITS = 11, 10, 10
#: pings that go through each step together
TOGETHER = 256
#: doubles per circle: lon, lat, a0, a1, b0, b1, b2, band (see `cell_circles`)
CIRCLE_WIDTH = 8


class Cells(NamedTuple):
    """Everything a kernel reads, as flat columns; see the module for the first five.

    Attributes:
        circle: 8 doubles a row of the index.
        vertex: (n, 2) corners of all rings, each ring closed.
        rings: (rows, 2) first ring of a row, and the one after its last.
        ends: (rings, 2) first vertex of a ring, and its last, which equals the first.
        everywhere: rows of shapes larger than an ocean, asked for every ping.
        south, north: rows that hold the pole, ascending: there all longitudes are one place.
    """

    root: NDArray[np.int32]
    regions: NDArray[np.int32]
    tiles: NDArray[np.int64]
    wide: NDArray[np.int64]
    arena: NDArray[np.int32]
    circle: NDArray[np.float64]
    vertex: NDArray[np.float64]
    rings: NDArray[np.int64]
    ends: NDArray[np.int64]
    everywhere: NDArray[np.int32]
    south: NDArray[np.int32]
    north: NDArray[np.int32]


class Desk(NamedTuple):
    """Where records are drawn up before they are written; one thread at a time.

    Attributes:
        record: (n, 4) cell, kind, and two numbers of each thing found in a block.
        order: records by cell.
        touched, parity: per cell of the polygon at hand.
        tally: per cell of the block.
        edge: the edges of a polygon that can matter for the block at hand.
        parts: for `sides.side`.
    """

    record: NDArray[np.int32]
    order: NDArray[np.int32]
    touched: NDArray[np.int8]
    parity: NDArray[np.int8]
    tally: NDArray[np.int32]
    edge: NDArray[np.int64]
    parts: NDArray[np.float64]


def larger_desk(desk: Desk) -> Desk:
    """A desk with twice the room for records."""
    size = 2 * len(desk.record)
    return desk._replace(record=np.empty((size, 4), np.int32), order=np.empty(size, np.int32))


class Hand(NamedTuple):
    """What a reading thread needs beside the answer: scratch of its own, 256 pings wide.

    Attributes:
        place, word, cell_at, cell, who, corner: of the pings that go through a step together.
        home: the block word of each of them, see `cell_match.match_block`.
        doubt: count, then rows, of circles in whose band the ping at hand lies.
        parts: for `sides.side`.
    """

    place: NDArray[np.int64]
    word: NDArray[np.int64]
    cell_at: NDArray[np.int64]
    cell: NDArray[np.int32]
    who: NDArray[np.int64]
    home: NDArray[np.int64]
    corner: NDArray[np.float64]
    doubt: NDArray[np.int32]
    parts: NDArray[np.float64]

    @classmethod
    def make(cls, doubts: int = 63) -> Hand:
        """Scratch for one thread, with room for so many doubts about one ping."""
        place, word, cell_at, who, home = np.empty((5, TOGETHER), np.int64)
        return cls(
            place=place,
            word=word,
            cell_at=cell_at,
            cell=np.empty(TOGETHER, np.int32),
            who=who,
            home=home,
            corner=np.empty((TOGETHER, 2)),
            doubt=np.zeros(doubts + 1, np.int32),
            parts=np.empty(PARTS),
        )
