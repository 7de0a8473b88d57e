"""One file of pings, written table by table: Parquet or CSV."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nearcast.store.ping_files import COMPRESSION_LEVEL, Table


class TableFile:
    """A file that takes tables of `ping_files.table_of`, one after the other.

    Parquet by the ending `.parquet`, else CSV with a line of headings.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, table: Table) -> None:
        """Add the rows of a table; the first one says what the columns are."""
        if self._path.suffix == ".parquet":
            import pyarrow.parquet as parquet

            self._writer = self._writer or parquet.ParquetWriter(
                self._path, table.schema, compression="zstd", compression_level=COMPRESSION_LEVEL
            )
            self._writer.write_table(table)
            return
        from pyarrow import csv

        plain = table.cast(_plain(table.schema))
        self._writer = self._writer or csv.CSVWriter(self._path, plain.schema)
        self._writer.write_table(plain)


def _plain(schema: Any) -> Any:
    """The schema with words instead of codes: CSV has no dictionaries."""
    import pyarrow as pa

    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    return pa.schema(fields)
