"""Uploads from file to fences and back: what is checked, what is written, what stands in the way."""

from __future__ import annotations

import io
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa

from campaigns.campaign.plans import Plan
from geo.fences.fence import CircleShape, Fence
from geo.sheets.changes import RowState
from nearcast.services import (
    edit_fences,
    group_fences,
    upload,
    upload_job,
    upload_steps,
    work_uploads,
)
from nearcast.services.errors import Invalid, NotAllowedNow, NotFound, PlanRequired
from nearcast.services.export_fences import Format
from nearcast.services.upload_options import UploadOptions
from nearcast.services.work_uploads import work_off
from nearcast.store import groups, uploads, workspaces
from tests.desk import CLOCK, STORES, Desk


@pytest.fixture
def desk(engine: sa.Engine) -> Desk:
    return Desk(engine)


@pytest.fixture
def one_desk(sqlite_engine: sa.Engine) -> Desk:
    return Desk(sqlite_engine)


def _circle(name: str, lon: float = 127.0, lat: float = 37.0, **more: Any) -> Fence:
    return Fence(name=name, shape=CircleShape(lon=lon, lat=lat, radius_m=100.0), **more)


# --- check -----------------------------------------------------------------------------------------


def test_u4_a_check_says_what_would_happen_and_writes_no_fence(desk: Desk) -> None:
    serial = desk.check(STORES)
    row = desk.row(serial)

    assert row["state"] == "checked"
    assert row["counts"] == {"new": 2, "changed": 0, "same": 0, "refused": 1, "missing": 0}
    assert desk.fences() == {}
    (sheet,) = row["report"]["sheets"]
    assert (sheet["encoding"], sheet["delimiter"], sheet["heading_row"]) == ("cp949", ",", 1)
    assert sheet["mapping"]["external_id"] == "매장코드"
    assert sheet["mapping_source"] == "found"
    (kind,) = row["report"]["problems"]
    assert (kind["code"], kind["count"], kind["acceptable"]) == ("swapped", 1, 1)
    assert kind["rows"] == [{"sheet": None, "row": 4}]


def test_u4_applied_fences_are_those_of_the_file(desk: Desk) -> None:
    row = desk.apply(desk.check(STORES))

    assert (row["state"], row["error"]) == ("applied", None)
    found = desk.fences()
    assert set(found) == {"강남점", "역삼점"}
    assert found["강남점"].groups == ("카페", "강남")
    assert found["역삼점"].shape == CircleShape(lon=127.0365, lat=37.5007, radius_m=1_500.0)


def test_u4_the_same_file_twice_changes_nothing(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    version = desk.read(lambda c: workspaces.version(c, desk.workspace_id))
    serial = desk.check(STORES)
    assert desk.row(serial)["counts"]["same"] == 2
    assert desk.apply(serial)["state"] == "applied"
    assert desk.read(lambda c: workspaces.version(c, desk.workspace_id)) == version


def test_u4_changed_fields_are_named_with_what_is_there(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    serial = desk.check(STORES.replace("강남점,S1", "강남본점,S1").replace("1.5km", "2km"))

    assert desk.row(serial)["counts"]["changed"] == 2
    named, moved = desk.lines(serial, RowState.CHANGED)
    assert named.before == {"name": "강남점"}
    assert named.attributes is not None
    assert named.attributes["name"] == "강남본점"
    assert moved.before == {"shape": {"lat": 37.5007, "lng": 127.0365, "radius_m": 1_500.0}}
    assert moved.circle == (127.0365, 37.5007, 2_000.0)


def test_u4_fences_missing_from_the_file_stay_unless_told(desk: Desk) -> None:
    desk.save(_circle("폐점", groups=("카페",)), _circle("남의것", groups=("다른",)))
    serial = desk.check(STORES)
    assert [line.name for line in desk.lines(serial, RowState.MISSING)] == ["폐점"]
    desk.apply(serial)
    assert "폐점" in desk.fences()

    desk.apply(desk.check(STORES, missing="delete"))
    assert set(desk.fences()) == {"강남점", "역삼점", "남의것"}


def test_u5_accepted_proposals_are_taken_and_counted(one_desk: Desk) -> None:
    serial = one_desk.check(STORES)
    options = UploadOptions(accept=("swapped",))
    one_desk.write(lambda c: upload.check_again(c, serial, options=options, author=one_desk.author))
    one_desk.work()
    row = one_desk.row(serial)

    assert row["counts"] | {} == {"new": 3, "changed": 0, "same": 0, "refused": 0, "missing": 0}
    assert row["report"]["mended"] == {"swapped": 1}
    (mended,) = [line for line in one_desk.lines(serial, RowState.NEW) if line.mended]
    assert (mended.row, mended.mended) == (4, ("swapped",))
    assert mended.circle == (127.0276, 37.4979, 100.0)


def test_u3_a_given_mapping_is_remembered_once_applied(desk: Desk) -> None:
    odd = "가게이름표,세로값,가로값\n강남점,37.4979,127.0276\n"
    mapping = {"가게이름표": "name", "세로값": "lat", "가로값": "lng"}
    first = desk.check(odd, mapping=mapping, radius_m=100.0, group="카페")
    assert desk.row(first)["counts"]["new"] == 1
    untold = desk.check(odd, radius_m=100.0, group="카페")
    assert desk.row(untold)["counts"]["new"] == 0, "a check that is not applied teaches nothing"

    desk.apply(first)
    again = desk.row(desk.check(odd, radius_m=100.0, group="카페"))
    assert again["counts"]["same"] == 1
    assert again["report"]["sheets"][0]["mapping_source"] == "remembered"
    forgetful = desk.check(odd, radius_m=100.0, group="카페", remembered=False)
    assert desk.row(forgetful)["counts"]["same"] == 0


def test_a_file_that_is_no_sheet_fails_with_what_to_do(desk: Desk) -> None:
    serial = desk.check(b"\x89PNG\r\n\x1a\n" + bytes(100))
    row = desk.row(serial)
    assert row["state"] == "failed"
    assert row["error"]["code"] == "not_a_sheet"
    assert "XLSX" in row["error"]["ko"]
    with pytest.raises(NotAllowedNow):
        desk.write(lambda c: upload.apply(c, serial, author=desk.author))


def test_a_default_radius_out_of_bounds_is_told(one_desk: Desk) -> None:
    row = one_desk.row(one_desk.check(STORES, radius_m=49.0))
    assert (row["state"], row["error"]["code"]) == ("failed", "radius_too_small")


def test_uploads_need_basic(engine: sa.Engine) -> None:
    with pytest.raises(PlanRequired, match="Basic"):
        Desk(engine, Plan.LITE).receive(STORES)


def test_an_empty_file_is_refused_at_the_door(one_desk: Desk) -> None:
    with pytest.raises(Invalid, match="empty"):
        one_desk.receive(b"")


def test_another_workspaces_upload_is_not_there(desk: Desk) -> None:
    serial = desk.check(STORES)
    with pytest.raises(NotFound):
        desk.read(lambda c: upload.load(c, serial, workspace_id=desk.workspace_id + 1))


def test_a_file_name_is_no_path(one_desk: Desk) -> None:
    serial = one_desk.receive(STORES, name="../../etc/\x07매장.csv")
    assert one_desk.row(serial)["file_name"] == "매장.csv"


# --- apply -------------------------------------------------------------------------------------------


def test_what_was_edited_since_the_check_is_checked_again_and_nothing_written(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    serial = desk.check(STORES.replace("1.5km", "2km"))
    before = desk.stored("역삼점")
    edited = edit_fences.with_groups(before, ["카페", "새그룹"])
    desk.save(edited)
    row = desk.apply(serial)

    assert row["state"] == "checked"
    assert row["error"]["code"] == "changed_since_check"
    assert "바뀌었어요" in row["error"]["ko"]
    assert desk.stored("역삼점").version == before.version + 1, "the edit stands, the upload does not"
    assert desk.apply(serial)["state"] == "applied"
    assert desk.stored("역삼점").fence.groups == ("카페", "새그룹")


def test_two_uploads_of_one_file_do_not_make_its_fences_twice(desk: Desk) -> None:
    nameless = "지점명,위도,경도\n강남점,37.4979,127.0276\n"
    one, other = (desk.check(nameless, radius_m=100.0, group="카페") for _ in range(2))
    desk.apply(one)
    row = desk.apply(other)
    assert (row["state"], row["error"]["code"]) == ("checked", "changed_since_check")
    assert row["counts"]["same"] == 1
    assert len(desk.fences()) == 1


def test_a_fence_that_a_campaign_names_is_not_deleted_by_its_absence(desk: Desk) -> None:
    (fence_id,) = desk.save(_circle("폐점", groups=("카페",)))
    desk.world.campaign(targeting={"fence_ids": [fence_id]})
    serial = desk.check(STORES, missing="delete")
    row = desk.apply(serial)
    assert row["state"] == "checked"
    assert row["error"]["code"] == "not_allowed_now"
    assert "cmp_" in row["error"]["en"]
    assert set(desk.fences()) == {"폐점"}


def test_applying_is_audited(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    newest, saved = desk.read(lambda c: workspaces.audit_of(c, desk.workspace_id, limit=2))
    assert (newest["action"], newest["detail"]) == (
        "upload.applied",
        {"file": "stores.csv", "fences": 2},
    )
    assert (saved["action"], saved["actor"]) == ("fence.saved", "key:1")


# --- undo ----------------------------------------------------------------------------------------------


def test_undo_brings_back_byte_equal_fences(desk: Desk) -> None:
    desk.apply(desk.check(STORES))
    desk.save(_circle("폐점", groups=("카페",), external_id="S9", metadata={"층": "2"}))
    before = {kind: desk.exported(kind) for kind in (Format.CSV, Format.GEOJSON)}
    changed = STORES.replace("강남점,S1", "강남본점,S1").replace("1.5km", "2km")
    serial = desk.check(changed + "신촌점,S4,37.55,126.93,100,신규\n", missing="delete")
    assert desk.apply(serial)["state"] == "applied"
    assert set(desk.fences()) == {"강남본점", "역삼점", "신촌점"}

    row = desk.undo(serial)
    assert (row["state"], row["error"]) == ("undone", None)
    assert {kind: desk.exported(kind) for kind in before} == before
    names = {g["name"] for g in desk.read(lambda c: groups.listed(c, desk.workspace_id))}
    assert names == {"카페", "강남"}, "the group that came with the upload is gone"


def test_undo_names_what_was_edited_since_and_leaves_it_if_told(desk: Desk) -> None:
    serial = desk.check(STORES)
    desk.apply(serial)
    desk.save(edit_fences.with_groups(desk.stored("강남점"), ["카페"]))

    with pytest.raises(NotAllowedNow, match="강남점"):
        desk.undo(serial)
    assert set(desk.fences()) == {"강남점", "역삼점"}
    assert desk.undo(serial, leave_edited=True)["state"] == "undone"
    assert set(desk.fences()) == {"강남점"}


def test_undo_names_fences_that_a_running_campaign_uses(desk: Desk) -> None:
    serial = desk.check(STORES)
    desk.apply(serial)
    used = desk.stored("역삼점").id
    desk.world.campaign(targeting={"fence_ids": [used]})

    review = desk.read(lambda c: upload.review_undo(c, serial, workspace_id=desk.workspace_id))
    assert [(fence_id, name) for fence_id, name, *_ in review.used] == [(used, "역삼점")]
    with pytest.raises(NotAllowedNow, match="역삼점"):
        desk.undo(serial, leave_edited=True)
    assert set(desk.fences()) == {"강남점", "역삼점"}


def test_a_campaign_that_names_the_group_is_told_but_stands_in_nobodys_way(desk: Desk) -> None:
    serial = desk.check(STORES)
    desk.apply(serial)
    campaign_id = desk.world.campaign(targeting={"groups": ["카페"]})
    review = desk.read(lambda c: upload.review_undo(c, serial, workspace_id=desk.workspace_id))
    assert [(group, found) for group, found, _ in review.groups] == [("카페", campaign_id)]
    assert desk.undo(serial)["state"] == "undone"


def test_a_deleted_fences_key_taken_by_another_stands_in_the_way(desk: Desk) -> None:
    desk.save(_circle("폐점", groups=("카페",), external_id="S9"))
    serial = desk.check(STORES, missing="delete")
    desk.apply(serial)
    desk.save(_circle("새점", external_id="S9"))
    with pytest.raises(NotAllowedNow, match="폐점"):
        desk.undo(serial)
    assert desk.undo(serial, leave_edited=True)["state"] == "undone"
    assert set(desk.fences()) == {"새점"}


def test_only_an_applied_upload_can_be_undone_and_an_undone_one_checked_again(desk: Desk) -> None:
    serial = desk.check(STORES)
    with pytest.raises(NotAllowedNow):
        desk.undo(serial)
    desk.apply(serial)
    desk.undo(serial)
    with pytest.raises(NotAllowedNow):
        desk.undo(serial)
    desk.write(lambda c: upload.check_again(c, serial, options=None, author=desk.author))
    desk.work()
    assert desk.apply(serial)["state"] == "applied"
    assert set(desk.fences()) == {"강남점", "역삼점"}


def test_a_group_that_somebody_filled_stays_after_undo(desk: Desk) -> None:
    serial = desk.check(STORES)
    desk.apply(serial)
    (own,) = desk.save(_circle("내것"))
    found = desk.read(lambda c: groups.listed(c, desk.workspace_id))
    group_id = next(g["id"] for g in found if g["name"] == "강남")
    desk.write(lambda c: group_fences.add_members(c, group_id, [own], author=desk.author))
    desk.undo(serial)
    left = {g["name"] for g in desk.read(lambda c: groups.listed(c, desk.workspace_id))}
    assert left == {"강남"}


# --- who works, and how far ------------------------------------------------------------------------


def test_progress_goes_forward_from_reading_to_the_end(one_desk: Desk) -> None:
    told: list[tuple[str, float]] = []
    rows = "".join(f"점{n},37.5,127.0\n" for n in range(3_000))
    serial = one_desk.receive("지점명,위도,경도\n" + rows, radius_m=100.0, group="g")
    work_off(one_desk.engine, CLOCK, told=lambda _, stage, share: told.append((stage, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["reading", "rows", "comparing", "keeping"]
    assert sum(stage == "rows" for stage, _ in told) > 2
    assert one_desk.row(serial)["progress"] == 1.0


def test_a_process_that_died_is_followed_by_another_once_its_lease_runs_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = desk.receive(STORES)
    now_ms = upload_job.wall_ms()
    until_ms = now_ms + upload_job.LEASE_MS
    desk.write(lambda c: uploads.lease(c, holder="dead", wall_ms=now_ms, until_ms=until_ms))
    assert desk.work() == 0, "the lease is kept"

    monkeypatch.setattr(work_uploads, "wall_ms", lambda: until_ms)
    assert desk.work() == 1
    assert desk.row(serial)["state"] == "checked"


def test_a_file_that_ends_every_process_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = desk.receive(STORES)
    now_ms = upload_job.wall_ms()
    for n in range(work_uploads.MAX_ATTEMPTS):  # each process dies in the midst of the step
        later_ms = now_ms + n * (upload_job.LEASE_MS + 1)
        until_ms = later_ms + upload_job.LEASE_MS
        taken = desk.write(
            lambda c, at=later_ms, to=until_ms: uploads.lease(c, holder="x", wall_ms=at, until_ms=to)
        )
        assert taken["id"] == serial
    monkeypatch.setattr(work_uploads, "wall_ms", lambda: until_ms + 1)
    desk.work()
    row = desk.row(serial)
    assert (row["state"], row["error"]["code"]) == ("failed", "gave_up")
    assert "나누어" in row["error"]["ko"]

    monkeypatch.undo()
    desk.write(lambda c: upload.check_again(c, serial, options=None, author=desk.author))
    desk.work()
    assert desk.row(serial)["state"] == "checked", "whoever asks again is heard"


def test_who_lost_the_lease_writes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = desk.check(STORES)
    desk.write(lambda c: upload.apply(c, serial, author=desk.author))
    real = upload_steps._write

    def robbed(conn: sa.Connection, *args: Any) -> Any:
        uploads.change(conn, serial, lease_holder="another")
        return real(conn, *args)

    monkeypatch.setattr(upload_steps, "_write", robbed)
    heard: list[Exception | None] = []
    work_off(desk.engine, CLOCK, only=serial, ended=lambda *step: heard.append(step[3]))
    assert isinstance(heard[0], uploads.LeaseLost)
    assert desk.fences() == {}
    assert desk.row(serial)["state"] == "applying"


def test_a_fault_of_ours_ends_the_step_once_and_keeps_its_details_to_itself(
    one_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(upload_steps, "read_file", broken)
    serial = one_desk.check(STORES)
    row = one_desk.row(serial)
    assert (row["state"], row["error"]["code"]) == ("failed", "internal")
    assert "secret" not in str(dict(row["error"]))


def test_forgetting_an_upload_leaves_its_fences(desk: Desk) -> None:
    serial = desk.check(STORES)
    desk.apply(serial)
    desk.write(lambda c: upload.forget(c, serial, author=desk.author))
    assert set(desk.fences()) == {"강남점", "역삼점"}
    with pytest.raises(NotFound):
        desk.row(serial)


def test_old_uploads_are_forgotten_and_those_at_work_are_not(desk: Desk) -> None:
    old, waiting = desk.check(STORES), desk.receive(STORES)
    later_ms = CLOCK.now_ms() + 1
    assert desk.write(lambda c: uploads.forget_before(c, later_ms)) == 1
    left, total = desk.read(
        lambda c: uploads.listed(c, workspace_id=desk.workspace_id, after_id=0, limit=5)
    )
    assert ([row["id"] for row in left], total) == ([waiting], 1)
    assert old != waiting


# --- pages -------------------------------------------------------------------------------------------


def test_pages_cover_every_line_once_in_their_order(one_desk: Desk) -> None:
    good = "".join(f"점{n},37.5,127.0\n" for n in range(1_203))
    bad = "".join(f"나쁜점{n},,127.0\n" for n in range(40))
    serial = one_desk.check("지점명,위도,경도\n" + good + bad, radius_m=100.0, group="g")

    def page(start: int, code: str | None = None) -> Any:
        return one_desk.read(
            lambda c: upload.lines(
                c,
                serial,
                workspace_id=one_desk.workspace_id,
                states=list(RowState),
                code=code,
                start=start,
                limit=100,
            )
        )

    seen: list[int | None] = []
    start: int | None = 0
    while start is not None:
        found, total, start = page(start)
        assert total == 1_243
        seen += [line.row for _, line in found]
    assert seen == [*range(1_205, 1_245), *range(2, 1_205)]
    only, _, more = page(0, code="missing")
    assert (len(only), more) == (40, None)
    assert page(0, code="no_such")[0] == []


def test_u6_an_export_uploads_again_with_nothing_changed(desk: Desk) -> None:
    desk.apply(desk.check(STORES, accept=("swapped",)))
    for kind in (Format.XLSX, Format.CSV):
        row = desk.row(desk.check(desk.exported(kind)))
        assert row["counts"] == {"new": 0, "changed": 0, "same": 3, "refused": 0, "missing": 0}


def test_a_workbook_of_two_sheets_is_one_change(one_desk: Desk) -> None:
    book = openpyxl.Workbook()
    for n, name in enumerate(("서울", "부산")):
        page = book.active if n == 0 else book.create_sheet()
        page.title = name
        page.append(["지점명", "위도", "경도"])
        page.append([f"{name}점", 37.5 - n, 127.0])
    out = io.BytesIO()
    book.save(out)
    serial = one_desk.check(out.getvalue(), radius_m=100.0, group="g")
    assert [(line.sheet, line.row) for line in one_desk.lines(serial)] == [("서울", 2), ("부산", 2)]
    only = one_desk.check(out.getvalue(), radius_m=100.0, group="g", sheets=("부산",))
    assert [line.name for line in one_desk.lines(only)] == ["부산점"]
    taken = {s["name"]: s["taken"] for s in one_desk.row(only)["report"]["file_sheets"]}
    assert taken == {"서울": False, "부산": True}
