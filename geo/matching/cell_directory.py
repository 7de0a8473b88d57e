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
from geo.matching.compiled import kernel
from geo.matching.growing import Growing

Ints = NDArray[np.int64]
Words = NDArray[np.int32]

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
        return _words(self.root, self.regions.whole, self.tiles.whole, self.wide.whole, places, wide)

    def put(self, places: Ints, words: Ints, *, wide: bool) -> None:
        """Set the words of blocks (tiles where wide)."""
        self.root = self.root.copy()
        done = 0
        while True:
            done, self.regions.used, self.tiles.used, self.wide.used = _put(
                self.root, self.regions.whole, self.tiles.whole, self.wide.whole,
                self.regions.used // _IN_REGION, self.wide.used,
                self._shared_regions, self._shared_tiles,
                places, words, wide, done,
            )  # fmt: skip
            if done == len(places):
                return
            # one more of each: twice the room where there is too little
            self.regions.reserve(_IN_REGION)
            self.tiles.reserve(_IN_TILE)
            self.wide.reserve(1)

    def publish(self) -> None:
        """What is there now may be read by others: from now on it is copied before it changes."""
        self._shared_regions = self.regions.used // _IN_REGION
        self._shared_tiles = self.wide.used

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


@kernel
def _tile_of(place: int, wide: bool) -> tuple[int, int]:
    """The tile of a place, and where a block stands in its tile."""
    if wide:
        return place, 0
    east, north = place % BLOCKS_EAST, place // BLOCKS_EAST
    tile = (north // TILE_SIDE) * TILES_EAST + east // TILE_SIDE
    return tile, (north % TILE_SIDE) * TILE_SIDE + east % TILE_SIDE


@kernel
def _region_of(tile: int) -> tuple[int, int]:
    """Where the region of a tile stands in the root, and the tile in its region."""
    east, north = tile % TILES_EAST, tile // TILES_EAST
    root = (north // REGION_NORTH) * ROOT_SIDE + east // REGION_EAST
    return root, (north % REGION_NORTH) * REGION_EAST + east % REGION_EAST


@kernel
def _words(root: Words, regions: Words, tiles: Ints, wides: Ints, places: Ints, wide: bool) -> Ints:
    found = np.empty(len(places), np.int64)
    for which in range(len(places)):
        tile, inner = _tile_of(places[which], wide)
        at, in_region = _region_of(tile)
        number = np.int64(regions[np.int64(root[at]) * _IN_REGION + in_region] >> 1)
        found[which] = wides[number] if wide else tiles[number * _IN_TILE + inner]
    return found


@kernel
def _put(
    root: Words,
    regions: Words,
    tiles: Ints,
    wides: Ints,
    region_count: int,
    tile_count: int,
    shared_regions: int,
    shared_tiles: int,
    places: Ints,
    words: Ints,
    wide: bool,
    begin: int,
) -> tuple[int, int, int, int]:
    """Set words `begin` and on while there is room: (words set, then what is used of each column)."""
    done = begin
    while done < len(places):
        tile, inner = _tile_of(places[done], wide)
        at, in_region = _region_of(tile)
        if root[at] < shared_regions:
            if (region_count + 1) * _IN_REGION > len(regions):
                break
            old, new = np.int64(root[at]) * _IN_REGION, region_count * _IN_REGION
            regions[new : new + _IN_REGION] = regions[old : old + _IN_REGION]
            root[at] = region_count
            region_count += 1
        entry = np.int64(root[at]) * _IN_REGION + in_region
        number = np.int64(regions[entry] >> 1)
        if number < shared_tiles:
            if (tile_count + 1) * _IN_TILE > len(tiles) or tile_count + 1 > len(wides):
                break
            old, new = number * _IN_TILE, tile_count * _IN_TILE
            tiles[new : new + _IN_TILE] = tiles[old : old + _IN_TILE]
            wides[tile_count] = wides[number]
            number = np.int64(tile_count)
            tile_count += 1
        if wide:
            wides[number] = words[done]
        else:
            tiles[number * _IN_TILE + inner] = words[done]
        regions[entry] = number * 2 + (1 if wides[number] != 0 else 0)
        done += 1
    return done, region_count * _IN_REGION, tile_count * _IN_TILE, tile_count
