"""The command line: what it prints, what it writes, how it ends; no error shows a trace."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from click.testing import CliRunner, Result

from api.cli import main
from api.settings import Settings
from api.wiring import build
from campaigns.deciding.gates import Reason
from nearcast.store.engine import in_transaction, make_engine
from nearcast.store.migrate import newest
from nearcast.store.workspaces import audit_of
from tests.doors import client_of
from tests.postgres import Postgres
from tests.server import ROOT, Server, free_port

Run = Callable[..., Result]
STORES = ROOT / "fixtures" / "demo" / "stores.xlsx"
WALK = "lat,lng,datetime,uid\n" + "".join(
    f"37.4979,127.02{n:02},2020-01-0{1 + n % 2}T00:00:{n:02}Z,phone {n % 3}\n" for n in range(60)
)


@pytest.fixture
def run(sqlite_url: str) -> Run:
    """Run a command on a fresh, migrated database; `database=` for another one."""

    def call(*args: str, ends: int = 0, database: str = sqlite_url, text: str | None = None) -> Result:
        env = {"NEARCAST_DATABASE_URL": database, "COLUMNS": "120"}
        result = CliRunner().invoke(main, list(args), env=env, input=text)
        assert result.exit_code == ends, result.output
        assert "Traceback" not in result.output
        if ends:  # told by us, not by an exception that escaped
            assert isinstance(result.exception, SystemExit)
        return result

    return call


@pytest.fixture(scope="module")
def imported(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the demo's stores, imported once."""
    path = tmp_path_factory.mktemp("imported") / "nearcast.db"
    shutil.copyfile(sqlite_template, path)
    env = {"NEARCAST_DATABASE_URL": f"sqlite:///{path}"}
    args = ["import", str(STORES), "--group", "데모", "--apply"]
    assert CliRunner().invoke(main, args, env=env).exit_code == 0
    return path


@pytest.fixture
def stores(imported: Path, sqlite_url: str) -> None:
    """The database of `run` holds the demo's stores."""
    shutil.copyfile(imported, sqlite_url.removeprefix("sqlite:///"))


def _json(result: Result) -> Any:
    return json.loads(result.stdout)


# --- migrate ------------------------------------------------------------------------------------------


def test_migrate_makes_the_folder_the_tables_and_the_installation(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/folder/nearcast.db"
    told = run("migrate", database=url)
    assert f"revision {newest()}." in told.output
    assert "nearcast keys create" in told.output
    assert run("keys", "list", "--json", database=url).stdout.strip() == "[]"
    assert _json(run("migrate", "--json", database=url)) == {
        "database": url,
        "before": newest(),
        "revision": newest(),
    }


def test_commands_say_what_to_do_before_migrate(run: Run, tmp_path: Path) -> None:
    told = run("keys", "list", ends=1, database=f"sqlite:///{tmp_path}/empty.db")
    assert told.output.strip() == "Error: The database has no tables yet. Run: nearcast migrate"


def test_commands_refuse_the_tables_of_another_version(run: Run, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "nearcast.db") as conn:
        conn.execute("update alembic_version set version_num = '0000'")
    conn.close()
    assert "Run: nearcast migrate" in run("keys", "list", ends=1).output


def test_migrate_on_postgres_hides_the_password(run: Run, postgres: Postgres) -> None:
    name = postgres.create()
    url = postgres.url(name).replace("nearcast@", "nearcast:secret@")
    told = run("migrate", database=url)
    assert "secret" not in told.output
    assert newest() in told.output
    postgres.drop(name)


# --- keys ---------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_opens_what_it_says(run: Run) -> None:
    made = _json(run("keys", "create", "--scope", "ingest", "--holds-consent", "--json"))
    assert made["id"] == "key_1"
    assert made["scopes"] == ["ingest"]
    listed = _json(run("keys", "list", "--json"))
    assert listed[0]["scopes"] == ["ingest"]
    assert listed[0]["holds_location_consent"] is True
    assert made["key"] not in run("keys", "list", "--json").output
    assert made["key"].startswith(listed[0]["begins"])


def test_quiet_prints_the_key_alone(run: Run) -> None:
    first = run("keys", "create", "--quiet").stdout
    assert first.startswith("nck_")
    assert len(first.split()) == 1
    assert first != run("keys", "create", "--quiet").stdout


def test_a_revoked_key_is_revoked_once(run: Run) -> None:
    run("keys", "create")
    assert "key_1 is revoked" in run("keys", "revoke", "key_1").output
    assert _json(run("keys", "list", "--json"))[0]["revoked"] is True
    assert "no living key 'key_1'" in run("keys", "revoke", "key_1", ends=1).output
    assert "looks like key_12" in run("keys", "revoke", "fnc_1", ends=1).output


def test_a_key_of_an_unknown_app_is_refused_with_the_known_ones(run: Run) -> None:
    assert "There are: default." in run("keys", "create", "--app", "kr.nobody", ends=1).output
    assert _json(run("keys", "list", "--json")) == []


def test_usage_errors_end_with_2(run: Run) -> None:
    run("keys", "create", "--scope", "everything", ends=2)
    run("no-such-command", ends=2)
    run("serve", "--port", "0", ends=2)


# --- import and export --------------------------------------------------------------------------------


def test_import_only_checks_unless_told_to_write(run: Run) -> None:
    told = run("import", str(STORES), "--group", "데모", text="y\n")
    assert "317" in told.output
    assert "Nothing was written" in told.output, "only a terminal can agree"
    assert _json(run("import", str(STORES), "--group", "데모", "--json"))["counts"]["new"] == 317
    assert "317 fences written" in run("import", str(STORES), "--group", "데모", "--apply").output
    again = _json(run("import", str(STORES), "--group", "데모", "--json", "--apply"))
    assert again["counts"] == {"new": 0, "changed": 0, "same": 317, "refused": 0, "missing": 0}
    assert again["applied"] is False


def test_import_names_every_problem_and_writes_the_rest(run: Run, tmp_path: Path) -> None:
    sheet = tmp_path / "stores.csv"
    sheet.write_text(
        "지점명,위도,경도\n강남점,37.4979,127.0276\n역삼점,127.0361,37.5007\n,37.5,127.0\n",
        encoding="cp949",
    )
    args = ("import", str(sheet), "--group", "카페", "--radius", "100", "--brand", "온새담")
    told = run(*args, "--apply", "--lang", "ko")
    assert "바뀐" in told.output, "swapped latitude and longitude are proposed in Korean"
    assert "1 fences written" in told.output
    found = _json(run(*args, "--json"))
    assert {(p["row"], p["heading"]) for p in found["problems"]} >= {(4, "지점명")}
    assert found["counts"]["same"] == 1
    assert found["counts"]["refused"] == 2


def test_import_refuses_a_radius_out_of_bounds_before_it_reads(run: Run) -> None:
    told = run("import", str(STORES), "--group", "g", "--radius", "49.99", ends=1)
    assert "49.99" in told.output
    assert "50" in told.output


def test_import_refuses_what_is_no_sheet(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "stores.xlsx"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "Error:" in run("import", str(picture), "--group", "g", ends=1).output


@pytest.mark.usefixtures("stores")
def test_import_is_audited_as_the_command_lines(run: Run, sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    applied, saved = in_transaction(engine, lambda conn: audit_of(conn, 1, limit=2))
    assert (applied["actor"], applied["action"]) == ("cli", "upload.applied")
    assert applied["detail"] == {"file": "stores.xlsx", "fences": 317}
    assert (saved["actor"], saved["action"]) == ("cli", "fence.saved")
    assert saved["detail"] == {"new": 317, "changed": 0}
    engine.dispose()


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("ending", ["xlsx", "csv"])
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_an_export_imports_again_without_a_change(
    run: Run, tmp_path: Path, ending: str, lang: str
) -> None:
    file = tmp_path / f"out.{ending}"
    assert "317 fences" in run("export", str(file), "--lang", lang).output
    counts = _json(run("import", str(file), "--group", "데모", "--json"))["counts"]
    assert counts == {"new": 0, "changed": 0, "same": 317, "refused": 0, "missing": 0}


@pytest.mark.usefixtures("stores")
def test_geojson_export_bears_circles_as_they_are(run: Run, tmp_path: Path) -> None:
    run("export", str(tmp_path / "out.geojson"))
    features = json.loads((tmp_path / "out.geojson").read_text(encoding="utf-8"))["features"]
    assert len(features) == 317
    first = features[0]
    assert first["id"] == "fnc_1"
    assert first["geometry"]["type"] == "Polygon"
    assert first["properties"]["radius_m"] >= 50
    assert abs(first["geometry"]["coordinates"][0][0][0] - first["properties"]["lng"]) < 1


@pytest.mark.usefixtures("stores")
def test_export_of_one_group_holds_that_group(run: Run, tmp_path: Path) -> None:
    run("export", str(tmp_path / "all.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text(encoding="utf-8-sig"))))
    group = rows[0]["group"]
    told = run("export", str(tmp_path / "one.csv"), "--group", group)
    assert f"{sum(row['group'] == group for row in rows)} fences" in told.output
    run("export", str(tmp_path / "out.pdf"), ends=2)


# --- replay, serve, worker ----------------------------------------------------------------------------


def test_replay_posts_every_ping_and_says_what_became_of_them(
    run: Run, server: Server, tmp_path: Path
) -> None:
    key = run("keys", "create", "--holds-consent", "--quiet").stdout.strip()
    walk = tmp_path / "walk.csv"
    walk.write_text(WALK)
    args = ("replay", str(walk), "--url", server.url, "--key", key, "--batch", "7", "--json")
    told = _json(run(*args, "--backfill"))
    assert told["pings"] == 60
    assert told["requests"] == 9
    assert sum(told["counts"].values()) == 60
    assert told["counts"]["rejected"] == 0
    old = _json(run(*args))["counts"]
    assert old["rejected"] == 60, "without --backfill pings of 2020 are too old"


@pytest.mark.slow
def test_replay_under_the_replay_clock_takes_old_pings(
    run: Run, sqlite_url: str, tmp_path: Path
) -> None:
    key = run("keys", "create", "--holds-consent", "--quiet").stdout.strip()
    walk = tmp_path / "walk.csv"
    walk.write_text(WALK)
    with Server(sqlite_url, tmp_path, clock="replay") as server:
        args = ("replay", str(walk), "--url", server.url, "--key", key, "--json")
        assert _json(run(*args))["counts"]["accepted"] == 60


def test_replay_stops_at_a_refusal_and_tells_it(run: Run, server: Server, tmp_path: Path) -> None:
    walk = tmp_path / "walk.csv"
    walk.write_text(WALK)
    told = run("replay", str(walk), "--url", server.url, "--key", "nck_nobody", ends=1)
    assert "Pings 1 to 60 were not taken. 401: " in told.output
    run("replay", str(walk), "--url", server.url, ends=2)
    run("replay", str(walk), "--key", "k", "--zone", "Mars/Olympus", ends=2)


@pytest.mark.slow
def test_replay_waits_for_a_server_that_comes_back(run: Run, server: Server, tmp_path: Path) -> None:
    key = run("keys", "create", "--holds-consent", "--quiet").stdout.strip()
    walk = tmp_path / "walk.csv"
    walk.write_text(WALK)
    server.kill()
    command = [sys.executable, "-m", "api.cli", "replay", str(walk), "--backfill", "--json"]
    replay = subprocess.Popen(
        [*command, f"--url={server.url}", f"--key={key}"], env=server.env, stdout=subprocess.PIPE
    )
    with pytest.raises(subprocess.TimeoutExpired):
        replay.wait(1.5)
    server.start()
    out, _ = replay.communicate(timeout=60)
    assert replay.returncode == 0
    assert json.loads(out)["counts"]["rejected"] == 0


def test_the_server_ends_when_asked_to(server: Server) -> None:
    assert server.stop() == 0


def test_serve_tells_a_fault_of_the_settings_at_once(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="The database has no tables yet"):
        Server(f"sqlite:///{tmp_path}/none.db", tmp_path)


def test_the_worker_ends_when_nothing_is_due(run: Run) -> None:
    before = {caught: signal.getsignal(caught) for caught in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert "0 messages handed over." in run("worker", "--once").output
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)


@pytest.mark.slow
def test_the_worker_ends_on_a_signal(sqlite_url: str, tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "worker"],
        env={"NEARCAST_DATABASE_URL": sqlite_url, "PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(3)
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=20)
    assert worker.returncode == 0, err.decode()
    assert out == b"0 messages handed over.\n"


# --- demo, report -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A small demo's database and what the command said about it."""
    database = tmp_path_factory.mktemp("demo") / "demo.db"
    args = ["demo", "--no-serve", "--json", f"--database={database}", "--devices=60", "--days=1"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    return database, json.loads(result.stdout)


def test_demo_tells_all_it_did(played: tuple[Path, Any]) -> None:
    _, told = played
    assert told["stores"] == 317
    assert sum(told["outcomes"].values()) == told["pings"] > 1_000
    first = told["reports"][0]
    assert first["campaign_id"] == "cmp_1"
    assert 0 < first["totals"]["receivers"] <= first["totals"]["targets"] <= 60
    assert sum(day["visits"] for day in first["per_day"]) == first["totals"]["visits"] > 0
    assert {reason["code"] for reason in first["reasons"]} <= set(Reason)


def test_report_prints_and_writes_the_same_figures(
    run: Run, played: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCAST_CLOCK", "replay")  # the demo's phones walked in its own time
    database, told = played
    url, totals = f"sqlite:///{database}", told["reports"][0]["totals"]
    assert _json(run("report", "cmp_1", "--json", database=url))["totals"] == totals
    assert str(totals["targets"]) in run("report", "cmp_1", database=url).output
    files = ("--xlsx", str(tmp_path / "r.xlsx"), "--csv", str(tmp_path / "r.csv"))
    run("report", "cmp_1", *files, database=url)
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    total = next(csv.DictReader(io.StringIO(text)))
    assert int(total["visits"]) == totals["visits"]
    summary = dict(openpyxl.load_workbook(tmp_path / "r.xlsx")["summary"].values)
    assert summary["visits"] == totals["visits"]


def test_report_says_what_the_http_interface_says(
    run: Run, played: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCAST_CLOCK", "replay")
    url = f"sqlite:///{played[0]}"
    house = build(Settings(database_url=url, clock="replay"))
    answer = client_of(house).get("/v1/campaigns/cmp_1/report").get_json()
    house.engine.dispose()
    assert _json(run("report", "cmp_1", "--json", database=url)) == answer


def test_report_of_what_is_no_campaign(run: Run) -> None:
    assert "no campaign 'cmp_7'" in run("report", "cmp_7", ends=1).output
    assert "looks like cmp_12" in run("report", "fnc_7", ends=1).output


def test_explain_tells_why_a_phone_got_the_message(
    run: Run, played: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCAST_CLOCK", "replay")
    url = f"sqlite:///{played[0]}"
    house = build(Settings(database_url=url, clock="replay"))
    sent = client_of(house).get("/v1/campaigns/cmp_1/decisions?reason=sent").get_json()["items"][0]
    house.engine.dispose()
    args = ("explain", "cmp_1", "--device", sent["device_id"], "--at", sent["at"])
    found = _json(run(*args, "--json", database=url))
    assert found["reason"] == "sent"
    assert found["decision"]["fence"] == sent["fence"]
    assert found["sentence"]["ko"] in run(*args, "--lang", "ko", database=url).output
    assert "No device" in run("explain", "cmp_1", "--device", "nobody", ends=1, database=url).output
    assert "exactly one" in run("explain", "cmp_1", ends=1, database=url).output
    run("explain", "cmp_1", "--device", "x", "--at", "yesterday", ends=2, database=url)
    run("explain", "cmp_1", "--device", "x", "--at", "2026-11-16T09:00", ends=2, database=url)


@pytest.mark.slow
def test_demo_serves_its_page(tmp_path: Path) -> None:
    port = free_port()
    args = ["demo", f"--port={port}", "--devices=20", "--days=1"]
    demo = subprocess.Popen(
        [sys.executable, "-m", "api.cli", *args],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        page = _page(f"http://127.0.0.1:{port}/", demo)
        assert "따뜻한 한 잔" in page
        assert (tmp_path / "var" / "demo.db").exists()
        taken = CliRunner().invoke(main, ["demo", f"--port={port}"])
        assert taken.exit_code == 1
        assert "Say another with --port" in taken.output
    finally:
        demo.terminate()
        assert demo.wait(20) == 0


def _page(url: str, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            return httpx.get(url, timeout=10).raise_for_status().text
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"{url} did not answer")


# --- openapi, doctor ----------------------------------------------------------------------------------


def test_openapi_prints_the_document_without_a_database(run: Run, tmp_path: Path) -> None:
    document = _json(run("openapi", database=f"sqlite:///{tmp_path}/none.db"))
    assert document["openapi"].startswith("3.1")
    assert "/v1/pings" in document["paths"]
    assert not (tmp_path / "none.db").exists()


def test_doctor_finds_a_sound_installation(run: Run) -> None:
    found = {f["what"]: f for f in _json(run("doctor", "--json"))["findings"]}
    assert found["synchronous"]["value"] == "2"
    assert found["journal_mode"]["value"] == "wal"
    assert found["migrated"]["value"] == f"at {newest()}"
    assert found["last ping"]["value"] == "never"
    assert found["fences live"]["value"] == "0"
    assert all(f["ok"] is not False for f in found.values())


@pytest.mark.usefixtures("stores")
def test_doctor_counts_what_is_there(run: Run) -> None:
    run("keys", "create")
    found = {f["what"]: f["value"] for f in _json(run("doctor", "--json"))["findings"]}
    assert (found["fences"], found["fences live"], found["keys"]) == ("317", "317", "1")
    assert "317" in run("doctor").output


def test_doctor_on_postgres_finds_durable_settings(run: Run, postgres_url: str) -> None:
    found = {f["what"]: f for f in _json(run("doctor", "--json", database=postgres_url))["findings"]}
    assert (found["synchronous_commit"]["value"], found["fsync"]["value"]) == ("on", "on")
    assert found["database server"]["value"].startswith("PostgreSQL ")


def test_doctor_ends_with_1_and_says_how_to_mend(run: Run, tmp_path: Path, postgres: Postgres) -> None:
    absent = run("doctor", ends=1, database=f"sqlite:///{tmp_path}/none.db")
    assert "Run: nearcast migrate" in absent.output
    assert not (tmp_path / "none.db").exists(), "looking makes nothing"
    (tmp_path / "empty.db").touch()
    assert "at nothing" in run("doctor", ends=1, database=f"sqlite:///{tmp_path}/empty.db").output
    gone = postgres.url("no_such_database")
    assert "no_such_database" in run("doctor", ends=1, database=gone).output
    assert "does not answer" in run("keys", "list", ends=1, database=gone).output


def test_every_command_says_what_it_is_for(run: Run) -> None:
    assert "Usage:" in run("--help").output
    assert version("nearcast") in run("--version").output
    for name, command in main.commands.items():
        assert command.help, f"{name} says nothing about itself"
