"""Uploads at their borders: two at once, faults that never pass, odd options, clocks that are pings."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa

from campaigns.campaign.plans import Plan
from geo.fences.fence import CircleShape, Fence
from geo.sheets.changes import RowState
from nearcast.services import edit_fences, upload, upload_job, upload_steps, work_uploads
from nearcast.services.clocks import ReplayClock
from nearcast.services.edit_fences import Wanted
from nearcast.services.errors import Invalid
from nearcast.services.upload_options import RowAccepts, UploadOptions
from nearcast.services.work_uploads import work_off
from nearcast.store import bulk, fences, groups, uploads
from nearcast.store.engine import json_text, passes, reading
from nearcast.store.tables import fence_group, workspace
from tests.desk import CLOCK, STORES, Desk

pytestmark = pytest.mark.slow

NAMELESS = "지점명,위도,경도\n강남점,37.4979,127.0276\n"


@pytest.fixture
def desk(engine: sa.Engine) -> Desk:
    return Desk(engine)


@pytest.fixture
def one_desk(sqlite_engine: sa.Engine) -> Desk:
    return Desk(sqlite_engine)


# --- two at once -----------------------------------------------------------------------------------


def test_two_processes_that_apply_one_file_at_once_do_not_make_its_fences_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    serials = [desk.check(NAMELESS, radius_m=100.0, group="카페") for _ in range(2)]
    for serial in serials:
        desk.write(lambda c, n=serial: upload.apply(c, n, author=desk.author))
    both = threading.Barrier(2, timeout=1.0)
    real = upload_steps._write

    def met(*args: Any) -> Any:
        if not both.broken:
            with suppress(threading.BrokenBarrierError):
                both.wait()  # both have compared, neither has written: if they get so far
        return real(*args)

    monkeypatch.setattr(upload_steps, "_write", met)
    workers = [
        threading.Thread(target=work_off, args=(desk.engine, CLOCK), kwargs={"only": n}) for n in serials
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(desk.read(lambda c: fences.all_of(c, workspace_id=desk.workspace_id))) == 1
    assert {desk.row(n)["state"] for n in serials} == {"applied", "checked"}


def test_an_edit_while_an_upload_is_written_is_not_lost(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.apply(desk.check(STORES))
    serial = desk.check(STORES.replace("1.5km", "2km"))
    desk.write(lambda c: upload.apply(c, serial, author=desk.author))
    edit = threading.Thread(target=_give_brand, args=(desk, desk.stored("역삼점").id, "직접 고침"))
    real = upload_steps._write

    def edited_meanwhile(*args: Any) -> Any:
        if not edit.ident:
            edit.start()
            edit.join(timeout=0.7)
        return real(*args)

    monkeypatch.setattr(upload_steps, "_write", edited_meanwhile)
    desk.work()
    edit.join()
    assert desk.stored("역삼점").fence.brand == "직접 고침"


def _give_brand(desk: Desk, fence_id: int, brand: str) -> None:
    """As `PATCH /v1/fences/{id}` does it: read and written in one transaction."""

    def verb(conn: sa.Connection) -> None:
        before = fences.get(conn, workspace_id=desk.workspace_id, fence_ids=[fence_id])[fence_id]
        edit_fences.save_fences(
            conn,
            [Wanted(fence=replace(before.fence, brand=brand), area_km2=before.area_km2, before=before)],
            workspace_id=desk.workspace_id,
            plan=desk.plan,
            now_ms=CLOCK.now_ms(),
            actor="key:2",
        )

    desk.write(verb)


def test_a_beat_that_the_database_missed_is_not_the_last(
    one_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_desk.receive(STORES)
    row = one_desk.write(lambda c: uploads.lease(c, holder="me", wall_ms=1, until_ms=2))
    job = upload_job.Job(engine=one_desk.engine, clock=CLOCK, row=row, holder="me")
    beaten = threading.Event()
    beats = iter([sa.exc.OperationalError("", None, Exception("away")), None])

    def beat() -> None:
        fault = next(beats)
        if fault is not None:
            raise fault
        beaten.set()
        raise uploads.LeaseLost

    monkeypatch.setattr(upload_job, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(job, "beat", beat)
    with upload_job.kept_alive(job):
        assert beaten.wait(5.0)


# --- faults that never pass --------------------------------------------------------------------------


def test_a_fault_of_the_database_that_never_passes_ends_the_step(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = desk.check(STORES)

    def broken(conn: sa.Connection, *_: Any) -> Any:
        conn.exec_driver_sql("select nothing from nowhere")

    monkeypatch.setattr(upload_steps, "_write", broken)
    row = desk.apply(serial)
    assert (row["state"], row["error"]["code"]) == ("checked", "internal")


def test_a_database_that_is_away_leaves_the_step_to_the_next_process(
    one_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = one_desk.receive(STORES)

    def away(*_: Any, **__: Any) -> Any:
        raise sa.exc.OperationalError("select", None, Exception("server closed the connection"))

    monkeypatch.setattr(upload_steps, "_countries", away)
    with pytest.raises(sa.exc.OperationalError):
        one_desk.work()
    assert one_desk.row(serial)["state"] == "checking"


def test_rows_that_cannot_be_copied_are_a_fault_as_any_other_statements(engine: sa.Engine) -> None:
    row = {"workspace_id": 999, "name": "g", "created_ms": 0}
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as conn:
        bulk.insert_many(conn, fence_group, [row])
    with pytest.raises(sa.exc.DBAPIError) as found, engine.begin() as conn:
        bulk.insert_many(conn, fence_group, [row | {"created_ms": "never", "name": None}])
    assert not passes(found.value)


def test_long_headings_are_remembered_too(desk: Desk) -> None:
    signs = [chr(0x4E00 + 7 * n % 20_000) for n in range(8_000)]  # they do not compress
    headings = ["".join(signs[n : n + 200]) for n in range(0, len(signs), 200)]
    mapping: dict[str, str | None] = dict(zip(headings, ["name", "lat", "lng"], strict=False))
    text = ",".join(headings) + "\n강남점,37.4979,127.0276\n"
    row = desk.apply(desk.check(text.encode(), mapping=mapping, radius_m=100.0, group="카페"))
    assert (row["state"], row["error"]) == ("applied", None)
    again = desk.row(desk.check(text.encode(), radius_m=100.0, group="카페"))
    assert again["counts"]["same"] == 1
    assert again["report"]["sheets"][0]["mapping_source"] == "remembered"


@pytest.mark.parametrize(
    ("heading", "text", "code"),
    [
        ("지점명", "n" * 201, "too_long"),
        ("매장코드", "S" * 129, "too_long"),
        ("그룹", "g" * 201, "too_long"),
        ("그룹", ";".join(f"g{n}" for n in range(51)), "too_many"),
        ("tags", "t" * 129, "too_long"),
        ("브랜드", "b" * 1_001, "too_long"),
        ("비고", "m" * 1_001, "too_long"),
    ],
)
def test_u5_a_text_longer_than_a_fence_may_have_is_refused_with_its_cell(
    one_desk: Desk, heading: str, text: str, code: str
) -> None:
    row = {"위도": "37.5", "경도": "127.0", "지점명": "긴점"} | {heading: text}
    good = {"위도": "37.5", "경도": "127.0", "지점명": "강남점", heading: text[:-1]}
    good |= {heading: "g0;g1"} if code == "too_many" else {}
    lines = [list(row), list(row.values()), [good[name] for name in row]]
    file = "\n".join(",".join(line) for line in lines) + "\n"
    serial = one_desk.check(file.encode(), radius_m=99.0)

    counts = one_desk.row(serial)["counts"]
    assert (counts["new"], counts["refused"]) == (1, 1)
    (refused,) = one_desk.lines(serial, RowState.REFUSED)
    (problem,) = refused.problems
    letter = "ABCDE"[list(row).index(heading)]
    assert (problem.code, problem.cell, problem.heading) == (code, f"{letter}2", heading)
    assert problem.ko != problem.en
    assert len(problem.value or "") == 80 or code == "too_many"
    assert one_desk.apply(serial)["state"] == "applied"


def test_a_text_too_long_for_a_key_is_no_fence_at_any_door(desk: Desk) -> None:
    long = "".join(chr(0x4E00 + 7 * n % 20_000) for n in range(5_000))  # it does not compress
    shape = CircleShape(lon=127.0, lat=37.0, radius_m=100.0)
    for said in ({"external_id": long}, {"groups": (long,)}):
        with pytest.raises(Invalid, match="강남점"):
            desk.save(Fence(name="강남점", shape=shape, **said))


def test_a_report_of_endless_headings_is_short(one_desk: Desk) -> None:
    headings = ["지점명", "위도", "경도", *(f"{n}" + "x" * 50_000 for n in range(100))]
    row = one_desk.row(
        one_desk.check(f"{','.join(headings)}\n강남점,37.5,127.0\n".encode(), radius_m=99.0)
    )
    assert row["counts"]["new"] == 1
    assert len(json_text(row["report"])) < 1 << 20


def test_a_report_of_many_wide_sheets_is_short(one_desk: Desk) -> None:
    book = openpyxl.Workbook()
    for n in range(60):
        sheet = book.create_sheet(f"s{n}")
        sheet.append(["지점명", "위도", "경도", *(f"h{c}" for c in range(250))])
        sheet.append([f"점{n}", 37.5, 127.0, *["v" * 80] * 250])
    out = io.BytesIO()
    book.save(out)
    row = one_desk.row(one_desk.check(out.getvalue(), radius_m=99.0))
    assert row["counts"]["new"] == 60
    assert len(row["report"]["sheets"]) == 60
    assert row["report"]["sheets"][0]["samples"]["h0"] == ["v" * 80]
    assert len(json_text(row["report"])) < 3 << 19


def test_a_check_that_fails_shows_nothing_of_the_one_before(one_desk: Desk) -> None:
    serial = one_desk.check(STORES)
    options = UploadOptions(sheets=("없는 시트",))
    one_desk.write(lambda c: upload.check_again(c, serial, options=options, author=one_desk.author))
    one_desk.work()
    row = one_desk.row(serial)
    assert (row["state"], row["counts"], row["report"]) == ("failed", {}, {})
    assert one_desk.lines(serial) == []
    one_desk.write(
        lambda c: upload.check_again(c, serial, options=UploadOptions(), author=one_desk.author)
    )
    one_desk.work()
    assert one_desk.row(serial)["counts"]["new"] == 2


# --- options -----------------------------------------------------------------------------------------


def test_a_row_named_twice_takes_the_proposals_of_both(one_desk: Desk) -> None:
    accepted = (RowAccepts(row=4, codes=("swapped",)), RowAccepts(row=4, codes=("other",)))
    row = one_desk.row(one_desk.check(STORES, accept_rows=accepted))
    assert row["report"]["mended"] == {"swapped": 1}


def test_blank_defaults_say_nothing(one_desk: Desk) -> None:
    blank: dict[str, Any] = {"group": " ", "brand": "", "category": " ", "store": "", "tags": ("", " ")}
    one_desk.apply(one_desk.check(NAMELESS, radius_m=100.0, **blank))
    found = one_desk.fences()["강남점"]
    assert (found.groups, found.brand, found.category, found.store, found.tags) == (
        (),
        None,
        None,
        None,
        (),
    )


@pytest.mark.parametrize("radius_m", [float("nan"), float("inf")])
def test_a_default_radius_that_is_no_number_is_refused_at_the_door(
    one_desk: Desk, radius_m: float
) -> None:
    with pytest.raises(Invalid, match="radius_m"):
        one_desk.receive(STORES, radius_m=radius_m)


# --- undo --------------------------------------------------------------------------------------------


def test_a_group_that_a_campaign_names_stays_after_undo(desk: Desk) -> None:
    serial = desk.check(STORES)
    desk.apply(serial)
    desk.world.campaign(targeting={"groups": ["카페"]})
    desk.undo(serial)
    left = {g["name"] for g in desk.read(lambda c: groups.listed(c, desk.workspace_id))}
    assert left == {"카페"}


def test_undo_brings_back_the_version_before_however_many_came_first(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    for radius in ("2km", "3km"):
        desk.apply(desk.check(STORES.replace("1.5km", radius)))
    serial = desk.check(STORES.replace("1.5km", "4km").replace("100m", "200m"))
    desk.apply(serial)
    desk.undo(serial)
    shapes = {name: found.shape for name, found in desk.fences().items()}
    assert shapes["역삼점"] == CircleShape(lon=127.0365, lat=37.5007, radius_m=3_000.0)
    assert shapes["강남점"] == CircleShape(lon=127.0276, lat=37.4979, radius_m=100.0)


def test_uploads_are_undone_in_the_order_opposite_to_theirs(desk: Desk) -> None:
    one = desk.check(STORES)
    desk.apply(one)
    two = desk.check(STORES.replace("1.5km", "2km"))
    desk.apply(two)
    review = desk.read(lambda c: upload.review_undo(c, one, workspace_id=desk.workspace_id))
    assert [name for _, name in review.edited] == ["역삼점"]
    desk.undo(two)
    review = desk.read(lambda c: upload.review_undo(c, one, workspace_id=desk.workspace_id))
    assert [name for _, name in review.edited] == ["역삼점"], "undoing makes a version, too"


def test_undo_stays_open_in_a_smaller_plan(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    serial = desk.check(STORES.replace("1.5km", "2km"))
    desk.apply(serial)
    desk.plan = Plan.LITE
    assert desk.undo(serial)["state"] == "undone"
    assert desk.stored("역삼점").fence.groups == ("카페",)


@pytest.mark.parametrize("step", ["apply", "undo", "plan"])
def test_what_stands_in_the_way_is_told_in_korean_too(one_desk: Desk, step: str) -> None:
    (fence_id,) = one_desk.save(
        Fence(name="폐점", shape=CircleShape(lon=127.0, lat=37.0, radius_m=99.0), groups=("카페",))
    )
    serial = one_desk.check(STORES, missing="delete")
    if step == "undo":
        one_desk.apply(serial)
        one_desk.write(lambda c: upload.undo(c, serial, leave_edited=True, author=one_desk.author))
        one_desk.world.campaign(targeting={"fence_ids": [one_desk.stored("역삼점").id]})
    else:
        one_desk.write(lambda c: upload.apply(c, serial, author=one_desk.author))
        if step == "apply":
            one_desk.world.campaign(targeting={"fence_ids": [fence_id]})
        else:
            lite = sa.update(workspace).values(plan=Plan.LITE.value)
            one_desk.write(lambda c: c.execute(lite))
    one_desk.work()
    error = one_desk.row(serial)["error"]
    assert error["code"] == ("plan_required" if step == "plan" else "not_allowed_now")
    assert error["ko"] != error["en"]
    assert "요." in error["ko"]
    assert step == "plan" or "cmp_" in error["ko"]


# --- clocks -----------------------------------------------------------------------------------------


def test_a_replay_clock_sees_pings_of_other_processes_before_fences_are_written(
    one_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ReplayClock(1_000)
    serial = one_desk.check(STORES)
    one_desk.write(lambda c: upload.apply(c, serial, author=one_desk.author))
    monkeypatch.setattr("nearcast.services.upload_job.ping_log.newest_ms", lambda _: 90_000)
    work_off(one_desk.engine, clock, only=serial)
    found = one_desk.stored("역삼점")
    assert found.created_ms == 90_000
    versions = reading(one_desk.engine, lambda c: fences.versions_of(c, found.id))
    assert [v["from_ms"] for v in versions] == [90_000]
    assert work_uploads.any_due(one_desk.engine) is False
