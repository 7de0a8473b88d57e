"""Arrays for PostgreSQL that are packed already; psycopg hands them on as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format


@dataclass(frozen=True, slots=True)
class BinaryArray:
    """An array in the server's binary form."""

    packed: bytes


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> Buffer:
        return obj.packed


#: element type → the class of its arrays, and their number in the server's catalogue
_NUMBERS = {"int8": 1016, "int4": 1007, "float8": 1022, "bool": 1000, "bytea": 1001, "text": 1009}
ARRAYS: dict[str, type[BinaryArray]] = {
    kind: type(f"{kind.title()}Array", (BinaryArray,), {}) for kind in _NUMBERS
}


def teach(connection: psycopg.Connection[Any]) -> None:
    """Let a connection send the classes of `ARRAYS`."""
    for kind, oid in _NUMBERS.items():
        dumper = type(f"_{kind.title()}Dumper", (_AsItIs,), {"oid": oid})
        connection.adapters.register_dumper(ARRAYS[kind], dumper)
