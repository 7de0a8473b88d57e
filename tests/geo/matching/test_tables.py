"""Tables of columns."""

from __future__ import annotations

import numpy as np
import pytest

from geo.matching.stay_columns import Chunks, Events, Stays, VisitKeys, key_codes, span_ms
from geo.matching.visits import pack

ROWS = [(1, 2, 30, 40, b"a" * 8), (1, 3, 31, 41, b"b" * 8), (2, 1, 32, 42, b"c" * 8)]


def test_rows_go_in_and_out():
    chunks = Chunks.from_rows(ROWS)
    assert len(chunks) == 3
    assert list(chunks.rows()) == ROWS
    assert chunks.first_ms.dtype == np.int64


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True])])
def test_taking_keeps_lists_and_arrays_together(rows):
    taken = sorted(Chunks.from_rows(ROWS).take(rows).rows())
    assert taken == [ROWS[0], ROWS[2]]


def test_an_empty_table_has_its_kinds():
    for table in (Stays, Events, Chunks, VisitKeys):
        empty = table.empty()
        assert len(empty) == len(table.joined([empty, empty])) == len(table.joined([])) == 0
        assert [column.dtype for column in empty.columns() if not isinstance(column, list)] == [
            column.dtype
            for column in table.from_rows([[0] * len(table.names())]).columns()
            if not isinstance(column, list)
        ]
        assert list(empty.take(np.empty(0, np.int64)).rows()) == []


def test_joined_tables_stand_one_after_the_other():
    chunks = Chunks.from_rows(ROWS)
    assert list(Chunks.joined([chunks, Chunks.empty(), chunks]).rows()) == ROWS + ROWS


def test_codes_ascend_with_their_keys():
    largest = (1 << 31) - 1
    keys = [(0, 0), (0, largest), (1, 0), (largest, 0), (largest, largest)]
    codes = key_codes(*(np.array(column) for column in zip(*keys, strict=True)))
    assert (np.diff(codes) > 0).all()


@pytest.mark.parametrize("at_ms", [-62_135_596_800_000, -1, 0, 253_402_300_799_999])
def test_the_span_of_packed_evidence_holds_from_year_1_to_9999(at_ms):
    evidence = pack(np.array([at_ms, at_ms + 1]), np.array([1.0, 0.5]))
    assert span_ms(evidence.astype("<i8").tobytes()) == (at_ms, at_ms + 1)
