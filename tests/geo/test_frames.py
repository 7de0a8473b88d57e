"""Layers from files: the four formats, what they lack, and fences as a table."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely

from geo.fences.fence import Fence
from geo.fences.shapes import read_form, read_geojson
from geo.frames import (
    FrameRefused,
    LayerUnreadable,
    fences_to_frame,
    index_of,
    layer_of,
    matched,
    read_frame,
)

SQUARE = shapely.box(126.9, 37.4, 127.0, 37.5)
TIE = shapely.Polygon([(127, 37), (127.1, 37.1), (127.1, 37), (127, 37.08)])
FRAME = geopandas.GeoDataFrame(
    {"이름": ["강남구", "나비"], "code": ["11680", "9"]}, geometry=[SQUARE, TIE], crs=4326
)


def written(path: Path, frame: geopandas.GeoDataFrame, **options: str) -> bytes:
    pyogrio.write_dataframe(frame, path, **options)
    if path.suffix != ".shp":
        return path.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in path.parent.glob(f"{path.stem}.*"):
            archive.write(part, part.name)
    return packed.getvalue()


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "shp", "kml"])
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # GDAL on columns that a format renames
def test_every_format_gives_the_same_layer(ending: str, tmp_path: Path) -> None:
    name = "Name" if ending == "kml" else "name"
    options = {"driver": "KML"} if ending == "kml" else {}
    data = written(tmp_path / f"layer.{ending}", FRAME.rename(columns={"이름": name}), **options)
    layer, repairs = layer_of(read_frame(data), name_column=name)
    assert [area.name for area in layer.areas] == ["강남구", "나비"]
    assert layer.areas[0].geometry.symmetric_difference(SQUARE).area < 1e-12
    assert [repair.name for repair in repairs] == ["나비"]


def test_a_shapefile_in_cp949_is_read_by_saying_so(tmp_path: Path) -> None:
    path = tmp_path / "old.shp"
    pyogrio.write_dataframe(
        FRAME[["이름", "geometry"]].rename(columns={"이름": "NAME"}), path, encoding="cp949"
    )
    (tmp_path / "old.cpg").unlink()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in tmp_path.glob("old.*"):
            archive.write(part, f"folder/{part.name}")
    layer, _ = layer_of(read_frame(packed.getvalue(), encoding="cp949"), name_column="NAME")
    assert layer.areas[0].name == "강남구"


def test_a_projected_layer_is_brought_to_wgs84() -> None:
    layer, _ = layer_of(FRAME.to_crs(5181), name_column="이름", code_column="code")
    assert layer.areas[0].geometry.symmetric_difference(SQUARE).area < 1e-10
    assert [area.code for area in layer.areas] == ["11680", "9"]
    _, rows = layer.holding(lon=np.array([126.95]), lat=np.array([37.45]))
    assert rows.tolist() == [0]


def test_a_frame_without_a_coordinate_system_asks_for_one() -> None:
    bare = FRAME.to_crs(5181).set_crs(None, allow_override=True)
    with pytest.raises(LayerUnreadable, match=r"Name it, for example crs=EPSG:5181") as refused:
        layer_of(bare, name_column="이름")
    assert refused.value.code == "layer_unreadable"
    layer, _ = layer_of(bare, name_column="이름", crs="EPSG:5181")
    assert layer.areas[0].geometry.symmetric_difference(SQUARE).area < 1e-10
    with pytest.raises(LayerUnreadable, match="'EPSG:nine' is no coordinate system"):
        layer_of(bare, name_column="이름", crs="EPSG:nine")


def test_a_missing_column_is_answered_with_those_there_are() -> None:
    with pytest.raises(LayerUnreadable, match=r"no column 'name'\. The file has: 이름, code"):
        layer_of(FRAME, name_column="name")


def test_codes_with_gaps_stay_codes() -> None:
    gaps = FRAME.assign(code=[11680.0, np.nan])
    layer, _ = layer_of(gaps, name_column="이름", code_column="code")
    assert [area.code for area in layer.areas] == ["11680", None]


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_several_layers_must_be_chosen_from(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    pyogrio.write_dataframe(FRAME, path, layer="gu")
    pyogrio.write_dataframe(FRAME[:1], path, layer="dong", append=True)
    with pytest.raises(LayerUnreadable, match="several layers, name one: gu, dong"):
        read_frame(path.read_bytes())
    assert len(read_frame(path.read_bytes(), layer="dong")) == 1
    with pytest.raises(LayerUnreadable):
        read_frame(path.read_bytes(), layer="ri")


VRT = (
    b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/hosts</SrcDataSource>'
    b"</OGRVRTLayer></OGRVRTDataSource>"
)


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"name,lat,lon\na,1,2\n",
        VRT,
        zipped(a_vrt=VRT),
        zipped(a_shp=b"", b_vrt=VRT),
        zipped(a_csv=b"x,y"),
        b"PK\x03\x04 torn",
        b"{",
        b'{"type": "Nothing"}',
        b"SQLite format 3\0 torn",
        b"<kml>",
        zipped(a_shp=b"not a shapefile"),
        zipped(a_shp=b"twice") + b"torn",
    ],
)
def test_other_formats_and_torn_files_are_refused(data: bytes) -> None:
    with pytest.raises(LayerUnreadable) as refused:
        read_frame(data)
    assert "vsimem" not in refused.value.message


def test_a_zip_of_one_name_in_two_folders_is_refused() -> None:
    with pytest.raises(LayerUnreadable, match="several folders"):
        read_frame(zipped(**{"x/a_shp": b"1", "y/a_shp": b"2"}))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geo.frames.MAX_UNZIPPED_BYTES", 1 << 24)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.shp", bytes((1 << 24) + 1))
    assert len(packed.getvalue()) < 1 << 16
    with pytest.raises(LayerUnreadable, match="16,777,217 bytes; at most 16,777,216 are read"):
        read_frame(packed.getvalue())


def test_features_without_a_name_give_an_empty_one() -> None:
    text = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"name": None},
                "geometry": shapely.geometry.mapping(SQUARE),
            },
            {"type": "Feature", "properties": {"name": "b"}, "geometry": None},
        ],
    }
    layer, repairs = layer_of(read_frame(json.dumps(text).encode()), name_column="name")
    assert [area.name for area in layer.areas] == [""]
    assert [repair.name for repair in repairs] == ["b"]


def test_fences_come_as_a_table_with_circles_drawn() -> None:
    circle = Fence(
        name="역삼",
        shape=read_form(lat=37.5, lng=127.04, radius_m=150).shape,
        groups=("a", "b"),
        brand="별",
    )
    area = Fence(
        name="광장",
        shape=read_geojson(shapely.geometry.mapping(SQUARE)).shape,
        external_id="7",
        store="본점",
    )
    frame = fences_to_frame([circle, area])
    assert frame.crs.to_epsg() == 4326
    assert frame["radius_m"].tolist()[0] == 150.0
    assert np.isnan(frame["radius_m"].tolist()[1])
    assert frame["groups"].tolist() == [["a", "b"], []]
    assert frame["external_id"].tolist()[1] == "7"
    assert len(frame.geometry[0].exterior.coords) == 65
    assert frame.geometry[1].equals(SQUARE)


def test_no_fences_give_an_empty_table_with_all_columns() -> None:
    frame = fences_to_frame([])
    assert len(frame) == 0
    assert {"name", "external_id", "groups", "radius_m", "geometry"} <= set(frame.columns)


# --- matching in a notebook --------------------------------------------------------------------------

STORES = geopandas.GeoDataFrame(
    {"m": [100.0, np.nan, 500.0]},
    index=["강남", "square", "far"],
    geometry=[shapely.Point(127.0276, 37.4979), SQUARE, shapely.Point(129.0, 35.1)],
    crs=4326,
)


@pytest.mark.parametrize("epsg", [4326, 5179])
def test_a_frame_is_matched_in_its_own_crs(epsg: int) -> None:
    index = index_of(STORES.to_crs(epsg), radius_column="m")
    people = geopandas.GeoDataFrame(
        index=["in both?", "circle", "square", "nowhere"],
        geometry=geopandas.points_from_xy(
            [126.95, 127.0276, 126.9, 128.0], [37.45, 37.4984, 37.5, 37.0]
        ),
        crs=4326,
    ).to_crs(epsg)
    found = matched(index, people)
    assert index.engine == "cells"
    pairs = [tuple(pair) for pair in found.to_numpy()]
    # a corner that went through another CRS and back may lie a hair outside
    assert [pair for pair in pairs if pair != ("square", 1)] == [("in both?", 1), ("circle", 0)]
    assert (("square", 1) in pairs) or epsg != 4326


def test_a_frame_is_judged_by_accuracies() -> None:
    index = index_of(STORES, radius_column="m")
    people = geopandas.GeoDataFrame(
        {"acc": [10.0, 500.0, np.nan]},
        geometry=[shapely.Point(127.0276, 37.4979)] * 3,
        crs=4326,
    )
    found = matched(index, people, accuracy_column="acc")
    assert found["point"].tolist() == [0, 1, 2]
    assert found["verdict"].tolist() == [1, 0, 1]
    assert found["p"].round(3).tolist() == [1.0, 0.045, 1.0]
    assert found["rim_m"].round(6).tolist() == [-100.0] * 3


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (STORES.drop(columns="m"), "Row 강남 is a point without a radius"),
        (STORES.assign(m=np.nan), "Row 강남 is a point without a radius"),
        (FRAME, "Row 1: "),
        (geopandas.GeoDataFrame(geometry=[shapely.Polygon()], crs=4326), "Row 0 has no geometry"),
    ],
)
def test_a_row_that_is_no_fence_is_named(frame: geopandas.GeoDataFrame, told: str) -> None:
    with pytest.raises(FrameRefused, match=told):
        index_of(frame, radius_column="m" if "m" in frame else None)
