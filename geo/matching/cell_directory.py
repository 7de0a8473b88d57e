"""From a place to its block word: root → region → tile, copied where they change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import (
    BLOCKS_EAST,
    REGION_EAST,
    REGION_NORTH,
    ROOT_SIDE,
    TILE_SIDE,
    TILES_EAST,
)
from geo.matching.growing import Growing

Ints = NDArray[np.int64]

_IN_REGION = REGION_EAST * REGION_NORTH
_IN_TILE = TILE_SIDE * TILE_SIDE


class Directory:
    """The newest directory. Numbers 0 are the region and the tile where nothing is.

    Until `publish`, a region or tile that was not made since the last one is copied before it changes.

    Attributes:
        root: int32, numbers of regions; another array after each change.
        regions, tiles, wide: columns of whole regions and tiles, see `cell_layout`.
    """

    def __init__(self) -> None:
        self.root = np.zeros(ROOT_SIDE * ROOT_SIDE, np.int32)
        self.regions = Growing(np.zeros(_IN_REGION, np.int32))
        self.tiles = Growing(np.zeros(_IN_TILE, np.int64))
        self.wide = Growing(np.zeros(1, np.int64))
        self._shared_regions = 1
        self._shared_tiles = 1

    @property
    def columns(self) -> tuple[Growing, ...]:
        """All that grows."""
        return self.regions, self.tiles, self.wide

    def words(self, places: Ints, *, wide: bool) -> Ints:
        """The words of blocks (tiles where wide), 0 where there is nothing."""
        tile, inner = _tile_of(places, wide=wide)
        number = self._entries(tile) >> 1
        if wide:
            return self.wide.whole[number]
        return self.tiles.whole[number * _IN_TILE + inner]

    def put(self, places: Ints, words: Ints, *, wide: bool) -> None:
        """Set the words of blocks (tiles where wide)."""
        tile, inner = _tile_of(places, wide=wide)
        tiles, which = np.unique(tile, return_inverse=True)
        number = self._own_tiles(tiles)
        if wide:
            self.wide.whole[number[which]] = words
            self._flag(tiles, number)
        else:
            self.tiles.whole[number[which] * _IN_TILE + inner] = words

    def publish(self) -> None:
        """What is there now may be read by others: from now on it is copied before it changes."""
        self._shared_regions = self.regions.used // _IN_REGION
        self._shared_tiles = self.wide.used
        self.root = self.root.copy()

    def all_words(self) -> tuple[Ints, Ints]:
        """Copies of all block words and all tiles' own words that can be reached; others are 0."""
        live = np.zeros(self.wide.used, bool)
        regions = self.regions.whole.reshape(-1, _IN_REGION)
        live[(regions[self.root[self.root > 0]] >> 1).ravel()] = True
        tiles = self.tiles.whole[: self.tiles.used].reshape(-1, _IN_TILE) * live[:, None]
        return tiles.ravel(), self.wide.whole[: self.wide.used] * live

    def replace_words(self, words: tuple[Ints, Ints]) -> None:
        """Take these words in place of all; into columns of their own."""
        self.tiles, self.wide = Growing(words[0]), Growing(words[1])

    def _entries(self, tile: Ints) -> Ints:
        root, inner = _region_of(tile)
        region = self.root[root].astype(np.int64)
        return self.regions.whole[region * _IN_REGION + inner].astype(np.int64)

    def _own_tiles(self, tiles: Ints) -> Ints:
        """Numbers of these (different) tiles, all of them free to be changed."""
        self._own_regions(tiles)
        entry = self._entries(tiles)
        number = entry >> 1
        shared = np.flatnonzero(number < self._shared_tiles)
        if len(shared):
            fresh = self.wide.used + np.arange(len(shared))
            old = number[shared]
            self.tiles.append(self.tiles.whole[: self.tiles.used].reshape(-1, _IN_TILE)[old].ravel())
            self.wide.append(self.wide.whole[old])
            number[shared] = fresh
            self._flag(tiles, number)
        return number

    def _own_regions(self, tiles: Ints) -> None:
        roots = np.unique(_region_of(tiles)[0])
        region = self.root[roots].astype(np.int64)
        shared = region < self._shared_regions
        if shared.any():
            fresh = self.regions.used // _IN_REGION + np.arange(int(shared.sum()))
            whole = self.regions.whole[: self.regions.used].reshape(-1, _IN_REGION)
            self.regions.append(whole[region[shared]].ravel())
            self.root = self.root.copy()
            self.root[roots[shared]] = fresh

    def _flag(self, tiles: Ints, number: Ints) -> None:
        """Write the numbers of tiles to their regions, with the flag of a record of their own."""
        root, inner = _region_of(tiles)
        at = self.root[root].astype(np.int64) * _IN_REGION + inner
        self.regions.whole[at] = number * 2 + (self.wide.whole[number] != 0)


def _tile_of(places: Ints, *, wide: bool) -> tuple[Ints, Ints]:
    """The tiles of places, and where a block stands in its tile."""
    if wide:
        return places, np.zeros(len(places), np.int64)
    east, north = places % BLOCKS_EAST, places // BLOCKS_EAST
    tile = (north // TILE_SIDE) * TILES_EAST + east // TILE_SIDE
    return tile, (north % TILE_SIDE) * TILE_SIDE + east % TILE_SIDE


def _region_of(tiles: Ints) -> tuple[Ints, Ints]:
    """Where the region of a tile stands in the root, and the tile in its region."""
    east, north = tiles % TILES_EAST, tiles // TILES_EAST
    root = (north // REGION_NORTH) * ROOT_SIDE + east // REGION_EAST
    return root, (north % REGION_NORTH) * REGION_EAST + east % REGION_EAST
