"""Recorded pings in files: CSV, NDJSON, GPX and Parquet (each also as .gz) to pings in time order."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from geo.errors import NearcastError

#: ping field → the headings it goes by in recordings
ALIASES: dict[str, tuple[str, ...]] = {
    "lat": ("lat", "latitude", "y", "위도"),
    "lng": ("lng", "lon", "long", "longitude", "x", "경도"),
    "at": ("at", "taken_at", "datetime", "time", "timestamp", "t", "recorded_at"),
    "device_id": ("device_id", "uid", "user", "device", "trackid"),
    "ad_id": ("ad_id", "adid", "idfa"),
    "user_id": ("user_id",),
    "accuracy_m": ("accuracy_m", "accuracy"),
    "platform": ("platform",),
    "app": ("app",),
    "mocked": ("mocked",),
}
NEEDED = ("lat", "lng", "at")
_BY_AD_ID = "adid:"
_NUMBERS = ("lat", "lng", "accuracy_m")
Ping = dict[str, Any]


class UnreadableRecording(NearcastError):
    """The file holds no pings that can be read."""

    code = "unreadable_recording"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Pings of a file in time order, as `POST /v1/pings` takes them.

    Attributes:
        untimed: points left out because they bear no time.
    """

    pings: list[Ping] = field(repr=False)
    untimed: int = 0


def read(path: Path, *, zone: tzinfo = UTC, device_id: str | None = None) -> Recording:
    """Read a recording by its file name's ending.

    Args:
        zone: of times that name none.
        device_id: of pings that name no device; default the file's name.

    Raises:
        UnreadableRecording: names the file, the line and what is wrong there.
    """
    kinds = [suffix.lower().lstrip(".") for suffix in path.suffixes]
    data = path.read_bytes()
    if kinds and kinds[-1] == "gz":
        data = _unpacked(path, data)
        kinds.pop()
    kind = kinds[-1] if kinds else ""
    if kind not in _READERS:
        endings = ", ".join(sorted(_READERS))
        raise UnreadableRecording(f"{path.name}: no recording by its name; it may end in {endings}.")
    stem = device_id or path.name.split(".", 1)[0]
    timed: list[tuple[datetime, Ping]] = []
    untimed = 0
    for place, row in _READERS[kind](path, data):
        if not row.get("at"):
            untimed += 1
            continue
        at = _time(path, place, row["at"], zone)
        ping = {name: value for name, value in row.items() if value not in (None, "")}
        _name_device(ping, stem)
        ping["at"] = at.isoformat(timespec="milliseconds")
        timed.append((at, ping))
    if not timed:
        raise UnreadableRecording(f"{path.name}: no point with a time ({untimed} without).")
    timed.sort(key=lambda item: item[0])  # stable: equal times stay in the file's order
    return Recording(pings=[ping for _, ping in timed], untimed=untimed)


def _name_device(ping: Ping, stem: str) -> None:
    """Sealed pings of a phone without a device id name it by its ad id, as `adid:<ad id>`."""
    known = str(ping.get("device_id", ""))
    if known.startswith(_BY_AD_ID):
        ping["ad_id"] = known.removeprefix(_BY_AD_ID)
        del ping["device_id"]
    elif not known and "ad_id" not in ping:
        ping["device_id"] = stem


def _unpacked(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise UnreadableRecording(f"{path.name}: the gzip file is damaged: {error}.") from error


def _time(path: Path, place: str, value: Any, zone: tzinfo) -> datetime:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        raise UnreadableRecording(
            f"{path.name}, {place}: '{value}' is no time; write it like 2026-11-23T09:05:00+09:00."
        ) from error
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _csv(path: Path, data: bytes) -> Iterator[tuple[str, Ping]]:
    text = _text(path, data)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    names = _fields(path, next(reader, []))
    for row in reader:
        if any(cell.strip() for cell in row):
            place = f"line {reader.line_num}"
            if len(row) <= max(names):
                raise UnreadableRecording(f"{path.name}, {place}: {len(row)} cells; was it cut?")
            yield place, _ping(path, place, {name: row[n].strip() for n, name in names.items()})


def _delimiter(text: str) -> str:
    heading = text.split("\n", 1)[0]
    return max(",;\t|", key=heading.count)


def _ndjson(path: Path, data: bytes) -> Iterator[tuple[str, Ping]]:
    for number, line in enumerate(_text(path, data).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UnreadableRecording(f"{path.name}, line {number}: no JSON: {error}.") from error
        if not isinstance(value, dict):
            raise UnreadableRecording(f"{path.name}, line {number}: no JSON object.")
        yield f"line {number}", value


def _gpx(path: Path, data: bytes) -> Iterator[tuple[str, Ping]]:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(data)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise UnreadableRecording(f"{path.name}: no XML that can be read: {error}.") from error
    points = [item for item in root.iter() if str(item.tag).rpartition("}")[2] == "trkpt"]
    for number, point in enumerate(points, 1):
        times = [child.text for child in point if str(child.tag).rpartition("}")[2] == "time"]
        row = {"lat": point.get("lat"), "lng": point.get("lon"), "at": times[0] if times else None}
        yield f"point {number}", _ping(path, f"point {number}", row)


def _parquet(path: Path, data: bytes) -> Iterator[tuple[str, Ping]]:
    import pyarrow.parquet as parquet  # here: other commands need not wait for it

    table = parquet.read_table(io.BytesIO(data))
    names = _fields(path, table.column_names)
    table = table.select(list(names)).rename_columns(list(names.values()))
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"row {number}", _ping(path, f"row {number}", row)


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableRecording(f"{path.name}: not UTF-8 at byte {error.start}.") from error


def _fields(path: Path, headings: Iterable[str]) -> dict[int, str]:
    """Column number → ping field; the first heading that fits a field has it."""
    found: dict[int, str] = {}
    for number, heading in enumerate(headings):
        name = next((f for f, known in ALIASES.items() if heading.strip().lower() in known), None)
        if name is not None and name not in found.values():
            found[number] = name
    missing = [name for name in NEEDED if name not in found.values()]
    if missing:
        needed = "; ".join(f"{name} ({', '.join(ALIASES[name])})" for name in missing)
        raise UnreadableRecording(f"{path.name}: no column for {needed}.")
    return found


def _ping(path: Path, place: str, row: Mapping[str, Any]) -> Ping:
    ping = dict(row)
    if isinstance(mocked := ping.pop("mocked", None), str):
        mocked = mocked.lower() in ("true", "1", "t", "yes")
    if mocked:
        ping["mocked"] = True
    for name in _NUMBERS:
        if ping.get(name) in (None, ""):
            continue
        try:
            ping[name] = float(ping[name])
        except (TypeError, ValueError) as error:
            raise UnreadableRecording(
                f"{path.name}, {place}: {name} is '{ping[name]}', not a number."
            ) from error
    return ping


_READERS = {
    "csv": _csv,
    "txt": _csv,
    "ndjson": _ndjson,
    "jsonl": _ndjson,
    "gpx": _gpx,
    "parquet": _parquet,
}
