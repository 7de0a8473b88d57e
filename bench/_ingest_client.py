"""`python -m bench._ingest_client`: the client of the ingest benchmark, a process of its own.

Reads what to do as JSON from stdin, posts over connections that stay open, prints a line of JSON when a
phase is over. One thread, one epoll, bodies without an object a ping: it takes the machine's cores from
the server it measures, so it must be cheap. Every answer is checked: its status, its counts, and one
outcome a ping; a sample is kept whole and read as JSON when the time is over.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._city import City, Fixes, Ink, Walkers

ARROW = "application/vnd.apache.arrow.stream"
MIMETYPES = {"json": "application/json", "ndjson": "application/x-ndjson", "arrow": ARROW}
SAMPLES = 40
ROOM = 1 << 20
#: glibc gives freed pages back at once, and asking for them anew costs as much as a ping's bytes
KEEP_PAGES = {"MALLOC_TRIM_THRESHOLD_": "2000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
_COUNTS = re.compile(rb'"(accepted|duplicate|late|quarantined|rejected)":\s*(\d+)')


@dataclass(frozen=True)
class Task:
    """What to do.

    Attributes:
        seconds: of the measured phase; before it each device pings once, which counts apart.
        batch: pings of a request; 1 posts them as single objects.
        kept: where the acknowledged pings go (.npz).
        bodies: post these files in turn, dated as they are, instead of the city's pings.
    """

    port: int
    key: str
    path: str
    format: str
    fences: int
    devices: int
    batch: int
    connections: int
    seconds: float
    kept: str
    bodies: tuple[str, ...] = ()
    accept: str = "application/json"


@dataclass
class Request:
    """A body on its way, and the pings in it."""

    body: bytes
    fixes: Fixes | None
    first: int


class Wrong(Exception):
    """An answer is not what it must be."""


class Line:
    """A connection that stays open: one request, one answer, the next."""

    def __init__(self, task: Task) -> None:
        self.sock = socket.create_connection(("127.0.0.1", task.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self._head = (
            f"POST {task.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {task.key}\r\n"
            f"Content-Type: {MIMETYPES[task.format]}\r\nAccept: {task.accept}\r\nContent-Length: "
        ).encode()
        self._out = memoryview(b"")
        self._in = bytearray(ROOM)
        self._got, self._whole = 0, 0
        self.request: Request | None = None
        self.began = 0.0

    def send(self, request: Request) -> None:
        """Begin to send."""
        self.request = request
        self.began = time.perf_counter()
        self._out = memoryview(self._head + b"%d\r\n\r\n" % len(request.body) + request.body)
        self._got = self._whole = 0
        self.push()

    def push(self) -> bool:
        """Send on; whether there is more to send."""
        try:
            while self._out:
                self._out = self._out[self.sock.send(self._out) :]
        except BlockingIOError:
            return True
        return False

    @property
    def is_sending(self) -> bool:
        return bool(self._out)

    def pull(self) -> tuple[int, memoryview] | None:
        """Read on; status and body when the answer is whole."""
        try:
            count = self.sock.recv_into(memoryview(self._in)[self._got :])
        except BlockingIOError:
            return None
        if not count:
            raise Wrong("the server has closed a connection")
        self._got += count
        if not self._whole:
            end = self._in.find(b"\r\n\r\n", 0, self._got)
            if end < 0:
                return None
            self._body_at = end + 4
            found = re.search(rb"content-length: *(\d+)", bytes(self._in[:end]), re.IGNORECASE)
            if found is None:
                raise Wrong("an answer does not tell its length")
            self._whole = self._body_at + int(found[1])
        if len(self._in) <= self._whole:
            self._in.extend(bytes(2 * self._whole - len(self._in)))
        if self._got < self._whole:
            return None
        return int(self._in[9:12]), memoryview(self._in)[self._body_at : self._whole]


class Client:
    """Keeps its lines busy; what was measured stands in its columns."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._lines = [Line(task) for _ in range(task.connections)]
        self._events = selectors.DefaultSelector()
        for line in self._lines:
            self._events.register(line.sock, selectors.EVENT_READ, line)
        self.counts: dict[str, int] = {}
        self.transitions = 0
        self.took_s: list[float] = []
        self.marks: list[tuple[float, int]] = []  # seconds since the phase began, pings answered
        self.acked: list[Fixes] = []
        self._samples: list[tuple[Request, bytes]] = []

    def run(self, requests: Iterator[Request], seconds: float, most: int = 1 << 60) -> dict[str, object]:
        """Post for so long, or so many requests; what was measured."""
        self.counts, self.transitions = {}, 0
        self.took_s, self.marks = [], []
        began, cpu_s = time.perf_counter(), time.process_time()
        done = sent = pings = 0
        free = list(self._lines)
        while True:
            until = time.perf_counter() - began < seconds
            while free and until and sent < most:
                self._send(free.pop(), next(requests))
                sent += 1
            if done == sent:
                break
            for key, mask in self._events.select():
                line: Line = key.data
                if mask & selectors.EVENT_WRITE and not line.push():
                    self._events.modify(line.sock, selectors.EVENT_READ, line)
                if mask & selectors.EVENT_READ and (answer := line.pull()) is not None:
                    now = time.perf_counter()
                    self.took_s.append(now - line.began)
                    pings += self._check(line.request, *answer)
                    self.marks.append((now - began, pings))
                    done += 1
                    free.append(line)
        return self._told(pings, time.perf_counter() - began, time.process_time() - cpu_s)

    def _send(self, line: Line, request: Request) -> None:
        line.send(request)
        if line.is_sending:
            self._events.modify(line.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, line)

    def _check(self, request: Request | None, status: int, body: memoryview) -> int:
        if request is None or status != 200:
            raise Wrong(f"{status} {bytes(body[:500])!r}")
        if request.fixes is None:  # context: its few bodies are compared one by one when all is over
            if len(self._samples) < len(self.task.bodies):
                self._samples.append((request, bytes(body)))
            return request.first
        text = bytes(body)
        counts = {name.decode(): int(count) for name, count in _COUNTS.findall(text, 0, 200)}
        sent = len(request.fixes)
        if sum(counts.values()) != sent or counts["rejected"] or counts["quarantined"]:
            raise Wrong(f"{counts} for {sent} pings: {text[:500]!r}")
        if "counts" not in self.task.path:
            accepted = text.count(b'"outcome":"accepted"')
            if text.count(b'"outcome":"') != sent or accepted != counts["accepted"]:
                raise Wrong(f"{accepted} outcomes are accepted, {counts}")
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.transitions += text.count(b'"ping_index":')
        self.acked.append(request.fixes)
        if len(self._samples) < SAMPLES and len(self.took_s) % 29 == 1:
            self._samples.append((request, text))
        return sent

    def _told(self, pings: int, took_s: float, cpu_s: float) -> dict[str, object]:
        ms = np.array(self.took_s) * 1000
        return {
            "pings": pings,
            "requests": len(ms),
            "seconds": round(took_s, 3),
            "pings_per_s": round(pings / took_s),
            "requests_per_s": round(len(ms) / took_s),
            "p50_ms": round(float(np.percentile(ms, 50)), 2),
            "p99_ms": round(float(np.percentile(ms, 99)), 2),
            "client_us_per_ping": round(cpu_s / pings * 1e6, 3),
            "growth": growth(self.marks),
            "counts": self.counts,
            "transitions": self.transitions,
        }

    def samples(self) -> list[bytes]:
        """The answers kept, of context one a body."""
        return [text for _, text in self._samples]

    def samples_wrong(self) -> int:
        """How many of the answers kept are not, item by item, what they must be."""
        told = [(request, text) for request, text in self._samples if request.fixes is not None]
        return sum(not _is_right(request, json.loads(text)) for request, text in told)


def growth(marks: list[tuple[float, int]]) -> float | None:
    """By how much a ping of the last third costs more than one of the first third, by the wall."""
    if len(marks) < 9:
        return None
    at, pings = np.array([m[0] for m in marks]), np.array([m[1] for m in marks])
    first, last = np.searchsorted(pings, [pings[-1] / 3, pings[-1] * 2 / 3])
    early = at[first] / pings[first]
    late = (at[-1] - at[last]) / max(pings[-1] - pings[last], 1)
    return round(float(late / early) - 1, 3)


def _is_right(request: Request, answer: dict[str, Any]) -> bool:
    outcomes = answer["outcomes"]
    told = [(item["index"], item.get("ping_id")) for item in outcomes]
    counts = dict.fromkeys(answer["counts"], 0)
    for item in outcomes:
        counts[item["outcome"]] += 1
    numbers = range(request.first, request.first + len(request.fixes))
    wanted = [(n, f"{number:08x}-0000-7000-8000-000000000000") for n, number in enumerate(numbers)]
    return told == wanted and counts == answer["counts"]


def requests_of(task: Task) -> Iterator[Request]:
    """The bodies to post, written as they are asked for."""
    if task.bodies:
        bodies = [Path(name).read_bytes() for name in task.bodies]
        while True:
            for body in bodies:
                yield Request(body, None, task.batch)
    ink = Ink(task.devices)
    write: Callable[[Fixes, int], bytes] = getattr(ink, task.format)
    first = 0
    size = task.batch if task.batch > 1 else 256
    for fixes in Walkers(City.of(task.fences), task.devices).batches(size):
        if task.batch > 1:
            yield Request(write(fixes, first), fixes, first)
        else:
            yield from _singles(ink, fixes, first)
        first += len(fixes)


def _singles(ink: Ink, fixes: Fixes, first: int) -> Iterator[Request]:
    page = ink.rows(fixes, first)
    columns = list(vars(fixes).values())
    for row in range(len(fixes)):
        own = Fixes(*(column[row : row + 1] for column in columns))
        yield Request(page[row, :-1].tobytes(), own, first + row)


def main() -> None:
    """Do what stdin says."""
    task = Task(**json.load(sys.stdin))
    client = Client(task)
    requests = requests_of(task)
    if not task.bodies:
        fresh = client.run(requests, 600, most=-(-task.devices // task.batch))
        _say({"new_devices": fresh})
    client.run(requests, 600, most=4 * task.connections)  # all has been used once
    _say({"warm": True})
    told = client.run(requests, task.seconds)
    _say({"known_devices": told})
    if client.acked:
        np.savez(task.kept, **Fixes.joined(client.acked).columns())
    else:
        np.savez(task.kept, *[np.frombuffer(text, np.uint8) for text in client.samples()])
    _say({"samples_wrong": client.samples_wrong()})


def _say(told: dict[str, object]) -> None:
    print(json.dumps(told), flush=True)


def environment() -> dict[str, str]:
    """Of the client's process."""
    return os.environ | KEEP_PAGES | {"PYTHONPATH": str(Path(__file__).parents[1])}


def told_to(task: Task) -> str:
    """What the client's process reads."""
    return json.dumps(asdict(task))


if __name__ == "__main__":
    main()
