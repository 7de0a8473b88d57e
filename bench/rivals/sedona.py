"""SedonaDB, one machine: a spatial join in SQL, circles drawn as 64-gons."""

from __future__ import annotations

import geopandas
import numpy as np
import pyarrow as pa
import sedonadb

from bench._workload import Fences, Ints, Pings
from bench.rivals._shapes import drawn

JOIN = "SELECT p.id, f.fid FROM p JOIN f ON ST_Intersects(f.geometry, p.geometry)"


class Matcher:
    """The fences as a table in memory; the pings as a view over a GeoDataFrame."""

    def __init__(self, fences: Fences) -> None:
        rows = {"fid": np.arange(len(fences))}
        self.frame = geopandas.GeoDataFrame(rows, geometry=drawn(fences), crs=4326)

    def build(self) -> None:
        self.db = sedonadb.connect()
        self.db.create_data_frame(self.frame).to_memtable().to_view("f", overwrite=True)

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        points = geopandas.points_from_xy(pings.lon, pings.lat)
        frame = geopandas.GeoDataFrame({"id": np.arange(len(pings))}, geometry=points, crs=4326)
        self.db.create_data_frame(frame).to_view("p", overwrite=True)
        found = pa.table(self.db.sql(JOIN))
        return found["id"].to_numpy(), found["fid"].to_numpy()
