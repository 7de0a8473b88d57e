"""The city of the ingest benchmark: fences, people who walk among them, and their pings as bytes.

10,000 fences stand on 100 × 100 km; with other counts the city grows or shrinks, so that a ping meets as
many fences as before. Three people in four walk, a minute and some 80 m from ping to ping; of those who
stand, 28 % stand in a fence. Time is compressed: their minutes go by as fast as the server takes
them, and each ping is of the instant at which it is sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SEED = 7
CENTRE = (127.0, 37.5)
SIDE_KM, FENCES = 100.0, 10_000
KM_LAT = 1 / 111.0
KM_LON = 1 / (111.3 * np.cos(np.radians(CENTRE[1])))
WALKING, STANDING_IN_FENCES = 0.75, 0.28
LATE, TWICE = 0.02, 0.01
#: late pings are older than the staleness bound of 10 min
LATE_MS = (11 * 60_000, 20 * 60_000)
DAY_MS = 86_400_000


@dataclass(frozen=True)
class City:
    """Where the fences stand: degrees and metres."""

    lon: np.ndarray
    lat: np.ndarray
    radius_m: np.ndarray
    side_km: float

    @classmethod
    def of(cls, fences: int) -> City:
        """Circles and hexagons of 50 to 140 m, strewn evenly."""
        rng = np.random.default_rng(SEED)
        side_km = SIDE_KM * (fences / FENCES) ** 0.5
        x, y = rng.uniform(-side_km / 2, side_km / 2, (2, fences))
        lon, lat = CENTRE[0] + x * KM_LON, CENTRE[1] + y * KM_LAT
        return cls(lon, lat, rng.uniform(50.0, 140.0, fences), side_km)

    def ring(self, fence: int) -> list[list[float]]:
        """The corners of a hexagon at a fence's place."""
        turn = np.radians(np.arange(0, 360, 60))
        km = self.radius_m[fence] / 1000
        lon = self.lon[fence] + km * KM_LON * np.cos(turn)
        return np.column_stack([lon, self.lat[fence] + km * KM_LAT * np.sin(turn)]).tolist()


@dataclass(frozen=True)
class Fixes:
    """Pings as columns; coordinates and accuracy in whole steps, as they are written out.

    Attributes:
        device: number of the device.
        lon7, lat7: degrees in 1e-7.
        accuracy_dm: metres in tenths.
        at_ms: the instant, ms since the epoch.
    """

    device: np.ndarray
    lon7: np.ndarray
    lat7: np.ndarray
    accuracy_dm: np.ndarray
    at_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.device)

    def columns(self) -> dict[str, np.ndarray]:
        """By name, as they are saved."""
        return vars(self).copy()

    def take(self, rows: np.ndarray) -> Fixes:
        """Some of them."""
        return Fixes(*(column[rows] for column in vars(self).values()))

    @classmethod
    def joined(cls, parts: list[Fixes]) -> Fixes:
        """One after the other."""
        return cls(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))


class Walkers:
    """People of the city. `batches` goes on for ever; all of them ping once in a turn."""

    def __init__(self, town: City, devices: int) -> None:
        rng = self._rng = np.random.default_rng(SEED + 1)
        self._half_km = town.side_km / 2
        self._place = rng.uniform(-self._half_km, self._half_km, (2, devices))
        self._walks = rng.random(devices) < WALKING
        homely = ~self._walks & (rng.random(devices) < STANDING_IN_FENCES)
        at = rng.integers(0, len(town.lon), devices)
        home = np.vstack([(town.lon[at] - CENTRE[0]) / KM_LON, (town.lat[at] - CENTRE[1]) / KM_LAT])
        home = home + rng.normal(0, 0.2, (2, devices)) * town.radius_m[at] / 1000
        self._place = np.where(homely, home, self._place)
        self._heading = rng.uniform(0, 2 * np.pi, devices)
        self._step_km = np.where(self._walks, rng.uniform(0.06, 0.1, devices), 0.0)
        self.devices = devices

    def batches(self, size: int) -> Iterator[Fixes]:
        """Batches of different devices, dated now; 1 % of each are pings that were sent before."""
        sent = Fixes(*(np.zeros(self.devices, np.int64) for _ in range(5)))
        while True:
            now = self._turn()
            order = self._rng.permutation(self.devices)
            again = self._rng.random(self.devices) < TWICE
            for start in range(0, self.devices, size):
                rows = order[start : start + size]
                twice = sent.take(rows[again[rows] & (sent.at_ms[rows] > 0)])
                own = now.take(rows[len(twice) :])
                own.at_ms[:] += time.time_ns() // 1_000_000
                for name, column in vars(own).items():
                    getattr(sent, name)[own.device] = column
                yield Fixes.joined([twice, own])

    def _turn(self) -> Fixes:
        """A minute passes."""
        rng, count = self._rng, self.devices
        turns = rng.random(count) < 0.1
        self._heading[turns] = rng.uniform(0, 2 * np.pi, int(turns.sum()))
        self._place += self._step_km * np.vstack([np.cos(self._heading), np.sin(self._heading)])
        outside = (np.abs(self._place) > self._half_km).any(axis=0)
        self._heading[outside] += np.pi  # the city ends: back
        np.clip(self._place, -self._half_km, self._half_km, out=self._place)
        accuracy_m = np.clip(rng.lognormal(np.log(12), 0.5, count), 1.0, 900.0)
        seen = self._place + rng.normal(0, 1, (2, count)) * accuracy_m / 1510
        late_ms = np.where(rng.random(count) < LATE, rng.integers(*LATE_MS, count), 0)
        return Fixes(
            device=np.arange(count),
            lon7=np.rint((CENTRE[0] + seen[0] * KM_LON) * 1e7).astype(np.int64),
            lat7=np.rint((CENTRE[1] + seen[1] * KM_LAT) * 1e7).astype(np.int64),
            accuracy_dm=np.rint(accuracy_m * 10).astype(np.int64),
            at_ms=-late_ms - rng.integers(0, 20, count),  # to be dated when they are sent
        )


class Ink:
    """Writes pings as bytes, without an object a ping: rows of one width, whose digits are put in."""

    _ROW = (
        b'{"ping_id":"pppppppp-0000-7000-8000-000000000000","device_id":"dddddddd-0000-4000-8000-dddddddddddd",'
        b'"lat":yy.yyyyyyy,"lng":xxx.xxxxxxx,"accuracy_m":aaaaaa,"at":"ttttttttttttttttttttttt+00:00"},'
    )

    def __init__(self, devices: int) -> None:
        row = np.frombuffer(self._ROW, np.uint8)
        self._rows = np.tile(row, (devices, 1))
        self.keys = [device_key(n) for n in range(devices)]
        self.key_bytes = np.frombuffer("".join(self.keys).encode(), np.uint8).reshape(devices, 36)
        key_at = self._ROW.index(b"dddddddd")
        self._rows[:, key_at : key_at + 36] = self.key_bytes
        self._at = {letter: self._ROW.index(letter.encode() * 2) for letter in "pyxat"}
        self._two, self._three, self._four = (_digits(n) for n in (2, 3, 4))
        tenths = "".join(f"{n / 10:6.1f}" for n in range(10_000)).encode()
        self._accuracy = np.frombuffer(tenths, np.uint8).reshape(10_000, 6)
        clock = "".join(
            f"T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}." for s in range(86_400)
        ).encode()
        self._clock = np.frombuffer(clock, np.uint8).reshape(86_400, 10)
        hexes = "".join(f"{n:02x}" for n in range(256)).encode()
        self._hex = np.frombuffer(hexes, np.uint8).reshape(256, 2)

    def rows(self, fixes: Fixes, first: int) -> np.ndarray:
        """One row of bytes a ping, each with a comma behind it; pings are numbered from `first`."""
        page, at = self._rows[fixes.device], self._at
        self._put_decimal(page, at["y"], fixes.lat7, self._two, 2)
        self._put_decimal(page, at["x"], fixes.lon7, self._three, 3)
        page[:, at["a"] : at["a"] + 6] = self._accuracy[fixes.accuracy_dm]
        day, ms = np.divmod(fixes.at_ms, DAY_MS)
        for one in np.unique(day).tolist():
            date = np.datetime64(one, "D").astype(str).encode()
            page[day == one, at["t"] : at["t"] + 10] = np.frombuffer(date, np.uint8)
        second, ms = np.divmod(ms, 1000)
        page[:, at["t"] + 10 : at["t"] + 20] = self._clock[second]
        page[:, at["t"] + 20 : at["t"] + 23] = self._three[ms]
        number = np.arange(first, first + len(fixes)).astype(">u4").view(np.uint8)
        page[:, at["p"] : at["p"] + 8] = self._hex[number].reshape(len(fixes), 8)
        return page

    def _put_decimal(
        self, page: np.ndarray, at: int, value7: np.ndarray, whole: np.ndarray, width: int
    ) -> None:
        degrees, rest = np.divmod(value7, 10_000_000)
        page[:, at : at + width] = whole[degrees]
        page[:, at + width + 1 : at + width + 4] = self._three[rest // 10_000]
        page[:, at + width + 4 : at + width + 8] = self._four[rest % 10_000]

    def json(self, fixes: Fixes, first: int) -> bytes:
        """A batch as a JSON body."""
        return b'{"pings":[' + self.rows(fixes, first).tobytes()[:-1] + b"]}"

    def ndjson(self, fixes: Fixes, first: int) -> bytes:
        """A batch as lines."""
        page = self.rows(fixes, first)
        page[:, -1] = ord("\n")
        return page.tobytes()

    def arrow(self, fixes: Fixes, first: int) -> bytes:
        """A batch as an Arrow IPC stream."""
        import pyarrow as pa

        number = np.arange(first, first + len(fixes)).astype(">u4").view(np.uint8)
        at = self._at["p"]
        numbers = np.tile(np.frombuffer(self._ROW[at : at + 36], np.uint8), (len(fixes), 1))
        numbers[:, :8] = self._hex[number].reshape(len(fixes), 8)
        table = pa.table(
            {
                "ping_id": _texts(numbers),
                "device_id": _texts(self.key_bytes[fixes.device]),
                "lat": fixes.lat7 / 1e7,
                "lng": fixes.lon7 / 1e7,
                "accuracy_m": fixes.accuracy_dm / 10,
                "at": pa.array(fixes.at_ms, pa.timestamp("ms", tz="UTC")),
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue().to_pybytes()


def device_key(number: int) -> str:
    """What a device calls itself."""
    return f"{number:08X}-0000-4000-8000-{number:012X}"


def device_number(key: str) -> int:
    """Which device calls itself so."""
    return int(key[:8], 16)


def _digits(width: int) -> np.ndarray:
    text = "".join(f"{n:0{width}}" for n in range(10**width)).encode()
    return np.frombuffer(text, np.uint8).reshape(10**width, width)


def _texts(rows: np.ndarray):
    import pyarrow as pa

    count, width = rows.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(rows.tobytes()))
