"""Floors beside the figures of ingest: what a bare store takes that does far less.

None of them knows fences, visits, order, duplicates or messages: they only keep positions, durably.
A service that does all of that cannot be expected to reach them; they show what the machine can do.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from bench._city import City, Fixes, Ink, Walkers
from tests.postgres import Postgres

BATCH = 1_000
DEVICES = 100_000


def measured(seconds: float) -> list[dict[str, Any]]:
    """Each floor: what it is, its pings a second, or why there is none."""
    floors: list[tuple[str, str, Callable[[float], float]]] = [
        (
            "PostgreSQL, one COPY and commit a batch of 1,000",
            "appends five columns without an index; one connection, no HTTP",
            _copy,
        ),
        (
            "SQLite WAL FULL, one insert and commit a batch of 1,000",
            "appends five columns without an index; in process, no HTTP",
            _sqlite,
        ),
        (
            "Redis GEOADD, 1,000 in a pipeline, appendfsync always",
            "keeps the last place of each device, no time, no accuracy; a Unix socket",
            _redis,
        ),
    ]
    found = []
    for name, does, floor in floors:
        try:
            found.append({"name": name, "does": does, "pings_per_s": round(floor(seconds))})
        except FileNotFoundError as missing:
            found.append({"name": name, "does": does, "skipped": str(missing)})
    return found


def _batches() -> Iterator[Fixes]:
    return Walkers(City.of(10_000), DEVICES).batches(BATCH)


def _rate(work: Callable[[Any], None], bodies: list[Any], seconds: float) -> float:
    """Pings a second; the bodies are made before, and used again when there are too few."""
    began, done = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        work(bodies[done % len(bodies)])
        done += 1
    return done * BATCH / took


def _rows(fixes: Fixes, keys: list[str]) -> list[tuple[Any, ...]]:
    columns = (fixes.lon7 / 1e7, fixes.lat7 / 1e7, fixes.accuracy_dm / 10, fixes.at_ms)
    return list(zip([keys[n] for n in fixes.device], *(c.tolist() for c in columns), strict=True))


def _copy(seconds: float) -> float:
    keys = Ink(DEVICES).keys
    lines = [
        "".join("\t".join(map(str, row)) + "\n" for row in _rows(fixes, keys)).encode()
        for fixes in islice(_batches(), 300)
    ]
    server = Postgres()
    try:
        url = server.url(server.create()).replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(
                "create table p (device text, lon float8, lat float8, accuracy float8, at int8)"
            )

            def work(body: bytes) -> None:
                with conn.cursor().copy("copy p from stdin") as copy:
                    copy.write(body)

            return _rate(work, lines, seconds)
    finally:
        server.stop()


def _sqlite(seconds: float) -> float:
    keys = Ink(DEVICES).keys
    rows = [_rows(fixes, keys) for fixes in islice(_batches(), 300)]
    with tempfile.TemporaryDirectory() as folder:
        conn = sqlite3.connect(Path(folder) / "n.db", isolation_level=None)
        conn.execute("pragma journal_mode=wal")
        conn.execute("pragma synchronous=full")
        conn.execute("create table p (device text, lon real, lat real, accuracy real, at integer)")

        def work(body: list[tuple[Any, ...]]) -> None:
            conn.execute("begin immediate")
            conn.executemany("insert into p values (?,?,?,?,?)", body)
            conn.execute("commit")

        rate = _rate(work, rows, seconds)
        conn.close()
        return rate


def _redis(seconds: float) -> float:
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is not installed (Debian: apt-get install redis-server)")
    keys = Ink(DEVICES).keys
    bodies = [b"".join(_geoadd(row) for row in _rows(fixes, keys)) for fixes in islice(_batches(), 300)]
    with tempfile.TemporaryDirectory(prefix="nc-redis-", dir="/tmp") as folder:
        path = f"{folder}/s"
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = [program, "--port", "0", "--unixsocket", path, "--dir", folder, *durable]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                sock = _joined(path)

                def work(body: bytes) -> None:
                    sock.sendall(body)
                    answers = 0
                    while answers < BATCH:
                        answers += sock.recv(1 << 16).count(b"\n")

                return _rate(work, bodies, seconds)
            finally:
                process.terminate()


def _geoadd(row: tuple[Any, ...]) -> bytes:
    words = [b"GEOADD", b"pings", str(row[1]).encode(), str(row[2]).encode(), row[0].encode()]
    return b"*5\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _joined(path: str) -> socket.socket:
    until = time.monotonic() + 10
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
