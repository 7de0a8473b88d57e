"""Recorded pings are read in time order from every form they come in, or refused with the place."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet
import pytest

from api.commands.recordings import UnreadableRecording, read

GPX = """<?xml version="1.0"?>
<gpx xmlns="http://www.topografix.com/GPX/1/1"><metadata><time>2001-01-01T00:00:00Z</time></metadata>
<wpt lat="1" lon="2"><time>2026-01-01T00:00:00Z</time></wpt>
<trk><trkseg/><trkseg>
<trkpt lat="37.5" lon="127.1"><ele>3</ele><time>2026-01-01T00:01:00Z</time></trkpt>
<trkpt lat="37.6" lon="127.2"/>
<trkpt lat="37.4" lon="127.0"><time>2026-01-01T00:00:00Z</time></trkpt>
</trkseg></trk></gpx>"""


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv_comes_in_time_order_and_equal_times_as_in_the_file(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "walk.csv",
        "\ufefflat,lng,datetime,uid\n"
        "2,20,2008-10-23 05:53:06,b\n"
        "1,10,2008-10-23 05:53:05,a\n"
        "3,30,2008-10-23 05:53:05,c\n\n",
    )
    assert [(p["device_id"], p["lat"], p["lng"]) for p in read(path).pings] == [
        ("a", 1.0, 10.0),
        ("c", 3.0, 30.0),
        ("b", 2.0, 20.0),
    ]


def test_order_is_that_of_instants_not_of_clock_faces(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "walk.ndjson",
        '{"lat":1,"lng":1,"at":"2026-01-01T09:00:01+09:00","device_id":"late"}\n'
        '{"lat":1,"lng":1,"at":"2026-01-01T00:00:00Z","device_id":"early"}\n',
    )
    assert [p["device_id"] for p in read(path).pings] == ["early", "late"]


@pytest.mark.parametrize(
    ("zone", "at"),
    [(UTC, "2008-10-23T05:53:05.000+00:00"), (ZoneInfo("Asia/Seoul"), "2008-10-23T05:53:05.000+09:00")],
)
def test_a_time_without_zone_is_read_in_the_zone_asked_for(
    tmp_path: Path, zone: ZoneInfo, at: str
) -> None:
    path = _file(tmp_path, "walk.csv", "lat,lng,datetime\n1,1,2008-10-23 05:53:05\n")
    assert read(path, zone=zone).pings[0]["at"] == at


def test_optional_columns_travel_along_and_empty_cells_do_not(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "walk.csv",
        "latitude;longitude;time;ad_id;accuracy;platform;speed\n"
        "1;2;2026-01-01T00:00:00Z;aa;12.5;ios;3\n1;2;2026-01-01T00:00:01Z;;;;\n",
    )
    first, second = read(path).pings
    assert first == {
        "lat": 1.0,
        "lng": 2.0,
        "at": "2026-01-01T00:00:00.000+00:00",
        "ad_id": "aa",
        "accuracy_m": 12.5,
        "platform": "ios",
    }
    assert second.keys() == {"lat", "lng", "at", "device_id"}
    assert second["device_id"] == "walk"


def test_gpx_gives_its_track_points_and_counts_those_without_a_time(tmp_path: Path) -> None:
    found = read(_file(tmp_path, "trip.gpx", GPX), device_id="phone")
    assert [(p["lat"], p["device_id"]) for p in found.pings] == [(37.4, "phone"), (37.5, "phone")]
    assert found.untimed == 1


def test_parquet_is_read_with_its_timestamps(tmp_path: Path) -> None:
    table = pa.table(
        {
            "lon": [127.0],
            "lat": [37.0],
            "timestamp": [datetime(2026, 1, 1, tzinfo=UTC)],
            "uid": ["a"],
            "extra": [1],
        }
    )
    pa.parquet.write_table(table, tmp_path / "walk.parquet")
    at = "2026-01-01T00:00:00.000+00:00"
    assert read(tmp_path / "walk.parquet").pings == [
        {"lng": 127.0, "lat": 37.0, "at": at, "device_id": "a"}
    ]


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    line = json.dumps({"lat": 1.0, "lng": 2.0, "at": "2026-01-01T00:00:00Z", "device_id": "a"})
    path = _file(tmp_path, "walk.ndjson.gz", gzip.compress(line.encode()))
    assert read(path).pings[0]["device_id"] == "a"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("walk.pdf", "x", "it may end in csv, gpx"),
        ("walk", "x", "it may end in csv, gpx"),
        ("walk.csv", "", "no column for lat"),
        ("walk.csv", "lat,lng\n1,2\n", "no column for at"),
        ("walk.csv", "lat,lng,at\n1,2,yesterday\n", "line 2: 'yesterday' is no time"),
        ("walk.csv", "lat,lng,at\n1,x,2026-01-01T00:00:00Z\n", "line 2: lng is 'x'"),
        ("walk.csv", "lat,lng,at\n1,2\n", "line 2: 2 cells"),
        ("walk.csv", "lat,lng,at\n", "no point with a time"),
        ("walk.csv", b"lat,lng,at\n\xb0\xad", "not UTF-8 at byte 11"),
        ("walk.ndjson", "{}\n{", "line 2: no JSON"),
        ("walk.ndjson", "[1]", "line 1: no JSON object"),
        ("walk.gpx", "<gpx>", "no XML that can be read"),
        ("walk.gpx", '<!DOCTYPE g [<!ENTITY a "b">]><g>&a;</g>', "no XML that can be read"),
        ("walk.gpx", "<gpx><trkpt lat='1' lon='2'/></gpx>", r"no point with a time \(1 without\)"),
        ("walk.csv.gz", b"\x1f\x8bno", "the gzip file is damaged"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    with pytest.raises(UnreadableRecording, match=told):
        read(_file(tmp_path, name, content))
