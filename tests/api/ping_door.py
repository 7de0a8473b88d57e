"""What the tests of ping bodies share: a client that many cases use, and ways to write bodies."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
PLACE = {"lat": 37.4979, "lng": 127.0276}


def as_json(items: list[Any], **envelope: Any) -> bytes:
    """A batch."""
    return json.dumps({"pings": items} | envelope).encode()


def as_lines(items: list[Any]) -> bytes:
    """NDJSON."""
    return b"\n".join(json.dumps(item).encode() for item in items)


def as_stream(table: pa.Table, *, rows: int | None = None, **options: Any) -> bytes:
    """An Arrow IPC stream, in batches of so many rows."""
    sink = pa.BufferOutputStream()
    chosen = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(sink, table.schema, options=chosen) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()


def columns(count: int = 3, **more: Any) -> pa.Table:
    """A table of pings; `more` are further columns, or others in the place of these; None: none."""
    plain = {
        "device_id": pa.array([f"d{n}" for n in range(count)]),
        "lat": pa.array([37.5] * count, pa.float64()),
        "lng": pa.array([127.0] * count, pa.float64()),
    }
    return pa.table({name: column for name, column in (plain | more).items() if column is not None})
