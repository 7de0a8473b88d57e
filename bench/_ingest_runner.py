"""Runs one case of the ingest benchmark: a database, a server, the client, and the audit afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench import _ingest_client
from bench._city import City, Fixes, Walkers
from bench._ingest_bars import Case
from bench._ingest_client import ARROW, Task
from bench._ingest_world import Audit, build, database, in_fences
from nearcast import stages
from tests.server import Server

BODIES = 16
TICKS = os.sysconf("SC_CLK_TCK")


#: Python answers on one core at a time; staying on it leaves the other to client and database
OPTIONS = ("--core=0",) if (os.cpu_count() or 1) > 1 else ()


class MeasuredServer(Server):
    """A server whose stages may be watched."""

    def __init__(self, url: str, folder: Path, *, watched: bool) -> None:
        self.stages = folder / "stages.json"
        self._watched = watched
        super().__init__(url, folder, options=OPTIONS)

    @property
    def env(self) -> dict[str, str]:
        return super().env | ({stages.VARIABLE: str(self.stages)} if self._watched else {})

    def totals(self) -> dict[str, dict[str, int]]:
        """Of the stages so far; the newest may be 0.2 s old."""
        return json.loads(self.stages.read_text()) if self.stages.exists() else {}


def measured(case: Case, *, seconds: float, watched: bool = False) -> dict[str, Any]:
    """Figures of one run; what keeps it from being measured is told as `skipped`, never raised."""
    town = City.of(case.fences)
    with database(case.database) as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = build(url, town)
        audit = Audit(url)
        try:
            with MeasuredServer(url, folder, watched=watched) as server:
                task = _task(case, server.port, key, seconds, folder)
                try:
                    found = _posted(task, server)
                except Unmeasured as reason:
                    return {"skipped": str(reason)}
            if case.context:
                wrong = _wrong_contexts(case, audit, Path(task.kept))
                return found | {"wrong_answers": found["wrong_answers"] + wrong}
            with np.load(task.kept) as kept:
                return found | {"database": _audited(audit, Fixes(**kept), found)}
        finally:
            audit.close()


class Unmeasured(Exception):
    """The server does not do what the case asks."""


def _task(case: Case, port: int, key: str, seconds: float, folder: Path) -> Task:
    bodies = _context_bodies(case, folder) if case.context else ()
    return Task(
        port=port,
        key=key,
        path="/v1/context" if case.context else "/v1/pings",
        format=case.format,
        fences=case.fences,
        devices=case.devices,
        batch=case.batch,
        connections=case.connections,
        seconds=seconds,
        kept=str(folder / "kept.npz"),
        bodies=bodies,
        accept=ARROW if case.context and case.format == "arrow" else "application/json",
    )


def _posted(task: Task, server: MeasuredServer) -> dict[str, Any]:
    """Run the client; what it says, with the CPU and the stages of its measured phase."""
    found: dict[str, Any] = {}
    client = subprocess.Popen(
        [sys.executable, "-m", "bench._ingest_client"],
        env=_ingest_client.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with client:
        client.stdin.write(_ingest_client.told_to(task))
        client.stdin.close()
        before: dict[str, Any] = {}
        for line in client.stdout:
            told = json.loads(line)
            found |= told
            if "warm" in told:
                time.sleep(2 * stages.WRITE_S)
                before = {"cpu_s": _cpu_s(client.pid), "stages": server.totals()}
            if "known_devices" in told:
                found["server_cpu_us"] = _per_ping(_cpu_s(client.pid) - before["cpu_s"], told)
                time.sleep(2 * stages.WRITE_S)
                found["stages"] = _spent(before["stages"], server.totals(), told)
        said = client.stderr.read()
    if client.returncode:
        if "Wrong: 415" in said:
            raise Unmeasured(f"the server does not take {task.format} yet")
        raise click.ClickException(f"the client failed:\n{said}\n{server.log()[-3000:]}")
    found["wrong_answers"] = found.pop("samples_wrong")
    return found


def _per_ping(seconds: float, told: dict[str, Any]) -> float:
    return round(seconds / told["known_devices"]["pings"] * 1e6, 2)


def _cpu_s(client: int) -> float:
    """CPU time so far of all that serves: the processes that we have started, but for the client."""
    parent, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parent[int(entry.name)] = int(fields[1])
        spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    ours, found = {os.getpid()}, {os.getpid(), client}
    while ours := {pid for pid, of in parent.items() if of in ours} - found:
        found |= ours
    return sum(spent[pid] for pid in found - {os.getpid(), client} if pid in spent)


def _spent(
    before: dict[str, dict[str, int]], after: dict[str, dict[str, int]], told: dict[str, Any]
) -> list[dict[str, Any]]:
    """Stages by their CPU time, in µs a ping."""
    pings = told["known_devices"]["pings"]
    zero = {"laps": 0, "wall_ns": 0, "cpu_ns": 0}
    found = [
        {"stage": stage, "laps": total["laps"] - before.get(stage, zero)["laps"]}
        | {
            f"{clock}_us": round(
                (total[f"{clock}_ns"] - before.get(stage, zero)[f"{clock}_ns"]) / pings / 1e3, 3
            )
            for clock in ("cpu", "wall")
        }
        for stage, total in after.items()
    ]
    return sorted(found, key=lambda row: -row["cpu_us"])


def _audited(audit: Audit, acked: Fixes, found: dict[str, Any]) -> dict[str, Any]:
    told = audit.told(acked)
    known = found["known_devices"]
    shares = {
        "transition_share": known["transitions"] / known["pings"],
        "late_share": known["counts"].get("late", 0) / known["pings"],
        "duplicate_share": known["counts"].get("duplicate", 0) / known["pings"],
    }
    return told | {name: round(share, 4) for name, share in shares.items()}


# --- context ------------------------------------------------------------------------------------------


def _context_fixes(case: Case) -> list[Fixes]:
    batches = Walkers(City.of(case.fences), case.devices).batches(case.batch)
    return [next(batches) for _ in range(BODIES)]


def _context_bodies(case: Case, folder: Path) -> tuple[str, ...]:
    """A few bodies of places alone: posted again and again, so that writing them costs nothing."""
    write: Callable[[Fixes], bytes] = {"json": _places_json, "arrow": _places_arrow}[case.format]
    names = []
    for number, fixes in enumerate(_context_fixes(case)):
        path = folder / f"body-{number}"
        path.write_bytes(write(fixes))
        names.append(str(path))
    return tuple(names)


def _places(fixes: Fixes) -> dict[str, np.ndarray]:
    return {"lat": fixes.lat7 / 1e7, "lng": fixes.lon7 / 1e7, "accuracy_m": fixes.accuracy_dm / 10}


def _places_json(fixes: Fixes) -> bytes:
    columns = {name: column.tolist() for name, column in _places(fixes).items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"pings": rows}).encode()


def _places_arrow(fixes: Fixes) -> bytes:
    import pyarrow as pa

    table = pa.table(_places(fixes))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _wrong_contexts(case: Case, audit: Audit, kept: Path) -> int:
    """Bodies whose fences, by a ping's row, are not those that hold it."""
    wrong = 0
    bodies = _context_fixes(case)
    with np.load(kept) as texts:
        # the lines answer in any order: an answer must be that of one of the bodies, each once
        answers = [_held(texts[name].tobytes(), case.format) for name in texts.files]
    for fixes in bodies:
        fresh = Fixes(**fixes.columns() | {"at_ms": np.full(len(fixes), time.time_ns() // 1_000_000)})
        rows, fence_id, _ = in_fences(audit.snapshot, fresh)
        pairs = sorted(zip(rows.tolist(), fence_id.tolist(), strict=True))
        wrong += pairs not in answers
    return wrong


def _held(text: bytes, format_: str) -> list[tuple[int, int]]:
    if format_ == "arrow":
        import pyarrow as pa

        matches = pa.ipc.open_stream(text).read_all().to_pylist()
        pairs = [(m["ping_index"], m["fence_id"]) for m in matches if m["verdict"] == "in"]
    else:
        matches = json.loads(text)["matches"]
        pairs = [(m["ping_index"], m["fence"]["id"]) for m in matches if m["verdict"] == "in"]
    return sorted((row, int(str(name).rpartition("_")[2])) for row, name in pairs)
