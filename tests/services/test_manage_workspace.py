"""The installation, keys, apps, test devices, webhooks: what holds whatever door calls."""

from __future__ import annotations

import base64
import threading

import pytest
import sqlalchemy as sa

from campaigns.campaign.plans import Feature, Plan
from nearcast.services import manage_workspace
from nearcast.services.errors import Forbidden, Invalid, NotFound, PlanRequired, Unauthorized
from nearcast.services.manage_workspace import Principal, Scope
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import api_key, app, workspace
from tests.world import World

DAY_MS = 86_400_000
AD_ID = "38400000-8CF0-11BD-B23E-10B96E40000D"


def _key(engine: sa.Engine, *, app_id: int | None = None, scopes: tuple[str, ...] = ("ingest",)) -> str:
    return in_transaction(
        engine,
        lambda conn: manage_workspace.create_key(
            conn,
            workspace_id=1,
            app_id=app_id,
            name="k",
            scopes=scopes,
            holds_location_consent=False,
            now_ms=0,
            actor="cli",
        ),
    )[1]


def _who(engine: sa.Engine, text: str) -> Principal:
    return reading(engine, lambda conn: manage_workspace.authenticate(conn, text))


def test_an_installation_is_founded_once(engine: sa.Engine) -> None:
    found = [
        in_transaction(engine, lambda c: manage_workspace.found_installation(c, now_ms=5))
        for _ in range(3)
    ]
    row = reading(engine, lambda conn: workspaces.get(conn, found[0]))

    assert len(set(found)) == 1
    assert (row["plan"], row["time_zone"]) == ("premium", "Asia/Seoul")
    assert list(reading(engine, lambda c: workspaces.apps_of(c, found[0]))) == ["default"]


def test_processes_that_start_at_once_found_one_installation(engine: sa.Engine) -> None:
    found: list[int] = []

    def start() -> None:
        found.append(in_transaction(engine, lambda c: manage_workspace.found_installation(c, now_ms=5)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [
        reading(
            engine,
            lambda conn, table=table: conn.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one(),
        )
        for table in (workspace, app)
    ]

    assert len(found) == 8
    assert len(set(found)) == 1
    assert counts == [1, 1]


def test_the_link_secret_is_drawn_once(engine: sa.Engine) -> None:
    first, again = (in_transaction(engine, manage_workspace.link_secret) for _ in range(2))

    assert first == again
    assert len(first) == 32


def test_a_key_says_who_calls_and_its_text_is_kept_nowhere(engine: sa.Engine) -> None:
    world = World(engine)
    text = _key(engine, app_id=world.app_id, scopes=("ingest", "test", "ingest"))
    who = _who(engine, text)
    row = reading(engine, lambda conn: conn.execute(sa.select(api_key)).mappings().one())

    assert (who.workspace_id, who.app_id) == (world.workspace_id, world.app_id)
    assert who.scopes == {Scope.INGEST, Scope.TEST}
    assert (who.holds_location_consent, who.plan) == (False, Plan.PREMIUM)
    assert who.actor == f"key_{who.key_id}"
    assert text not in str(dict(row))
    assert len(set(text.removeprefix("nck_"))) > 10


def test_any_other_text_is_nobody(sqlite_engine: sa.Engine) -> None:
    for text in ["", "nck_", "nck_wrong", "\ud800", "x" * 10_000]:
        World(sqlite_engine)
        _key(sqlite_engine)
        with pytest.raises(Unauthorized):
            _who(sqlite_engine, text)


def test_scopes_and_plans_are_required_by_name(sqlite_engine: sa.Engine) -> None:
    World(sqlite_engine)
    ingest = _who(sqlite_engine, _key(sqlite_engine))
    admin = _who(sqlite_engine, _key(sqlite_engine, scopes=("admin",)))

    ingest.require("ingest")
    admin.require("manage")
    with pytest.raises(Forbidden, match="manage"):
        ingest.require("manage")
    ingest.require_plan(Feature.FENCE_GROUPS)
    in_transaction(sqlite_engine, lambda c: c.execute(sa.update(workspace).values(plan="lite")))
    lite = _who(sqlite_engine, _key(sqlite_engine))
    with pytest.raises(PlanRequired, match="Basic"):
        lite.require_plan(Feature.FENCE_GROUPS)
    lite.require_plan(Feature.TEST_DEVICES)


def test_which_app_a_call_is_about(engine: sa.Engine) -> None:
    world = World(engine)
    everywhere = _who(engine, _key(engine))

    def app_of(who: Principal, named: str | None) -> int:
        return reading(engine, lambda conn: manage_workspace.app_of(conn, who, named))

    assert app_of(everywhere, None) == world.app_id  # the only one there is
    assert app_of(everywhere, "default") == app_of(everywhere, f"app_{world.app_id}") == world.app_id
    admin = _who(engine, _key(engine, scopes=("admin",)))
    second = in_transaction(
        engine,
        lambda c: manage_workspace.add_app(
            c, who=admin, name="S", bundle_id="s", time_zone="UTC", now_ms=0
        ),
    )
    with pytest.raises(Invalid) as refused:
        app_of(everywhere, None)
    assert (refused.value.errors[0].pointer, refused.value.errors[0].code) == ("/app", "required")
    bound = _who(engine, _key(engine, app_id=second))
    assert app_of(bound, None) == app_of(bound, "s") == second
    for who, named in ((bound, "default"), (everywhere, "nobody"), (everywhere, "app_99")):
        with pytest.raises(NotFound):
            app_of(who, named)


def test_a_test_id_expires_after_30_days(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    now_ms = world.clock.now_ms()
    world.test_device(AD_ID)
    snapshot = world.snapshots.current(world.workspace_id, now_ms=now_ms)

    assert snapshot.test_ids == {world.app_id: {AD_ID.lower(): now_ms + 30 * DAY_MS}}
    with pytest.raises(Invalid):
        world.test_device("00000000-0000-0000-0000-000000000000")


@pytest.mark.parametrize(
    ("url", "allow_http", "taken"),
    [
        ("https://a.example/x", False, True),
        ("http://a.example/x", False, False),
        ("http://127.0.0.1:9/x", True, True),
        ("https://a.example/x", True, True),
        ("file:///etc/passwd", True, False),
        ("https://u:p@a.example/", True, False),
    ],
)
def test_webhooks_go_to_https_unless_allowed_otherwise(
    sqlite_engine: sa.Engine, url: str, allow_http: bool, taken: bool
) -> None:
    world = World(sqlite_engine)

    def add() -> tuple[int, str]:
        return in_transaction(
            sqlite_engine,
            lambda conn: manage_workspace.add_webhook(
                conn,
                app_id=world.app_id,
                workspace_id=world.workspace_id,
                name="n",
                url=url,
                allow_http=allow_http,
                now_ms=0,
                actor="t",
            ),
        )

    if not taken:
        with pytest.raises(Invalid):
            add()
        return
    _, secret = add()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
