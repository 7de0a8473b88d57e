"""`python -m bench upload`: how long 100,000 rows take from the file to the fences (bar U1).

The file goes the product's way: over HTTP to a real server, checked and applied by its process aside;
the clock runs from the first byte sent until the state is seen to have changed, polled every 20 ms.
Memory is the peak of all processes that worked on it, added up. The rival reads only: openpyxl.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import httpx
import numpy as np
import openpyxl

from geo.sheets.workbook import to_csv, to_xlsx
from nearcast.services import manage_workspace
from nearcast.store.engine import in_transaction, make_engine
from nearcast.store.migrate import upgrade
from tests.postgres import Postgres
from tests.server import Server

SEED = 7
ROWS = 100_000
POLL_S = 0.02
WAIT_S = 120.0
MIB = 1 << 20
#: figure → bound; seconds, and MB of memory
BOUNDS = {
    "xlsx_check_s": 6.0,
    "csv_check_s": 3.0,
    "apply_s": 6.0,
    "xlsx_check_mb": 600.0,
    "csv_check_mb": 600.0,
    "apply_mb": 600.0,
}
HEADINGS = ["지점명", "매장코드", "위도", "경도", "반경", "브랜드", "카테고리", "주소", "그룹"]


def table(rows: int) -> list[list[object]]:
    """Stores that are made up: nine columns, as head office would send them."""
    rng = np.random.default_rng(SEED)
    lat, lng = rng.uniform(33.2, 38.4, rows), rng.uniform(126.2, 129.4, rows)
    radius = rng.integers(50, 500, rows)
    brands = ("온새담커피", "밀빛새담", "가온마트")
    lines: list[list[object]] = [list(HEADINGS)]
    for n in range(rows):
        brand = brands[n % 3]
        where = f"서울특별시 강남구 가상로 {n % 997 + 1}"
        place = [float(lat[n]), float(lng[n]), float(radius[n])]
        lines.append([f"{brand} {n}호점", f"S{n:06d}", *place, brand, "카페", where, "전국"])
    return lines


class Watch:
    """Adds to the figures the peak of a step's memory in MB, all processes at work on it together."""

    def __init__(self, figures: dict[str, float], step: str) -> None:
        self.figures, self.name = figures, f"{step}_mb"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.figures[self.name] = max(self.figures.get(self.name, 0.0), sum(_aside_mb()))


def _aside_mb() -> Iterator[float]:
    """The memory of each process that works on uploads: the process aside, and the guarded reader."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if not any(word in (b"api.aside", b"nearcast.store.reader") for word in words):
                continue
            fields = dict(
                line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line
            )
            yield int(fields["VmRSS"].split()[0]) / 1024
        except (OSError, KeyError, ValueError):
            continue  # it has just ended


class Desk:
    """A client that uploads and looks until the work is done."""

    def __init__(self, server: Server, key: str) -> None:
        self.http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=WAIT_S
        )

    def check(self, name: str, data: bytes) -> tuple[str, float]:
        """(id, seconds) of a check."""
        began = time.perf_counter()
        answer = self.http.post("/v1/uploads", files={"file": (name, data)})
        answer.raise_for_status()
        upload_id = answer.json()["id"]
        self._until(upload_id, "checked")
        return upload_id, time.perf_counter() - began

    def ask(self, upload_id: str, verb: str, state: str) -> float:
        """Seconds that a verb takes."""
        began = time.perf_counter()
        self.http.post(f"/v1/uploads/{upload_id}:{verb}").raise_for_status()
        self._until(upload_id, state)
        return time.perf_counter() - began

    def counts(self, upload_id: str) -> dict[str, int]:
        return self.http.get(f"/v1/uploads/{upload_id}").json()["counts"]

    def _until(self, upload_id: str, state: str) -> None:
        end = time.monotonic() + WAIT_S
        while (found := self.http.get(f"/v1/uploads/{upload_id}").json())["state"] != state:
            if found["state"] == "failed" or found["error"] or time.monotonic() > end:
                raise RuntimeError(f"the upload is {found['state']}: {found['error']}")
            time.sleep(POLL_S)


def measure(url: str, folder: Path, xlsx: bytes, text: bytes, rows: int) -> dict[str, float]:
    """Seconds and MB of each step, each file into a fresh group of fences."""
    engine = make_engine(url)
    upgrade(engine)
    key = in_transaction(engine, _key)
    engine.dispose()
    figures: dict[str, float] = {}
    with Server(url, folder) as server:
        desk = Desk(server, key)
        with Watch(figures, "xlsx_check"):
            upload_id, figures["xlsx_check_s"] = desk.check("stores.xlsx", xlsx)
        _expect(desk.counts(upload_id), new=rows)
        with Watch(figures, "csv_check"):
            other, figures["csv_check_s"] = desk.check("stores.csv", text)
        _expect(desk.counts(other), new=rows)
        with Watch(figures, "apply"):
            figures["apply_s"] = desk.ask(upload_id, "apply", "applied")
        with Watch(figures, "same_file_again"):
            again, figures["same_file_again_s"] = desk.check("stores.csv", text)
        _expect(desk.counts(again), same=rows)
        with Watch(figures, "undo"):
            figures["undo_s"] = desk.ask(upload_id, "undo", "undone")
    return figures


def _expect(counts: dict[str, int], **wanted: int) -> None:
    given = {state: count for state, count in counts.items() if count}
    if given != wanted:
        raise RuntimeError(f"{given} rows instead of {wanted}")


def _key(conn) -> str:
    workspace_id = manage_workspace.found_installation(conn, now_ms=0)
    return manage_workspace.create_key(
        conn,
        workspace_id=workspace_id,
        app_id=None,
        name="bench",
        scopes=["manage"],
        holds_location_consent=True,
        now_ms=0,
        actor="bench",
    )[1]


def rival(xlsx: bytes, text: bytes) -> dict[str, float]:
    """What openpyxl and Python's csv take to read the cells alone, nothing understood."""
    began = time.perf_counter()
    book = openpyxl.load_workbook(io.BytesIO(xlsx), read_only=True)
    read = sum(1 for _ in book.worksheets[0].iter_rows(values_only=True))
    middle = time.perf_counter()
    also = sum(1 for _ in csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))
    if read != also:
        raise RuntimeError(f"{read} rows and {also} rows")
    return {"openpyxl_reads_s": middle - began, "csv_reads_s": time.perf_counter() - middle}


def bars(figures: dict[str, float], database: str) -> list[dict[str, object]]:
    """Bar U1, figure by figure."""
    return [
        {
            "bar": "U1",
            "case": database,
            "figure": name,
            "value": round(figures[name], 2),
            "bound": bound,
            "holds": figures[name] <= bound,
        }
        for name, bound in BOUNDS.items()
    ]


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/nearcast.db"
        return
    server = Postgres()
    try:
        yield server.url(server.create())
    finally:
        server.stop()


@click.command()
@click.option("--rows", default=ROWS, show_default=True)
@click.option("--db", "databases", multiple=True, type=click.Choice(["sqlite", "postgresql"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(rows: int, databases: tuple[str, ...], as_json: bool) -> None:
    """Seconds from a file to its fences, and the memory that it took."""
    lines = table(rows)
    xlsx, text = to_xlsx(lines), to_csv(lines)
    found: dict[str, dict[str, float]] = {}
    for kind in databases or ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, _database(kind, Path(name)) as url:
            found[kind] = measure(url, Path(name), xlsx, text, rows)
    read = rival(xlsx, text)
    judged = [bar for kind, figures in found.items() for bar in bars(figures, kind)]
    if as_json:
        click.echo(
            json.dumps({"rows": rows, "figures": found, "rivals": read, "bars": judged}, indent=2)
        )
        return
    for kind, figures in found.items():
        click.echo(f"{kind}: " + ", ".join(f"{name} {value:,.2f}" for name, value in figures.items()))
    click.echo("reading alone: " + ", ".join(f"{name} {value:,.2f}" for name, value in read.items()))
    for bar in judged:
        holds = "holds" if bar["holds"] else "DOES NOT HOLD"
        click.echo(f"U1 {bar['case']} {bar['figure']}: {bar['value']} (bound {bar['bound']}) {holds}")
