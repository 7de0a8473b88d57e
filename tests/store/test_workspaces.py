"""Workspaces, apps, keys, the audit log: over both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from nearcast.store import workspaces
from nearcast.store.engine import in_transaction, reading

DIGEST = bytes(range(32))


def _add(conn: sa.Connection, name: str = "W", **more: object) -> int:
    values = {"plan": "premium", "time_zone": "Asia/Seoul", "now_ms": 7} | more
    return workspaces.add(conn, name=name, **values)  # type: ignore[arg-type]


def _app(conn: sa.Connection, workspace_id: int, bundle_id: str) -> int:
    return workspaces.add_app(
        conn,
        workspace_id=workspace_id,
        name=bundle_id,
        bundle_id=bundle_id,
        time_zone="Asia/Tokyo",
        now_ms=7,
    )


def _key(conn: sa.Connection, workspace_id: int, digest: bytes = DIGEST) -> int:
    return workspaces.add_key(
        conn,
        workspace_id=workspace_id,
        app_id=None,
        name="k",
        digest=digest,
        hint="nck_ab",
        scopes=["ingest"],
        holds_location_consent=True,
        created_ms=7,
    )


def test_the_oldest_workspace_is_the_default_one(engine: sa.Engine) -> None:
    assert reading(engine, workspaces.first) is None
    ids = in_transaction(engine, lambda conn: [_add(conn, name) for name in "ab"])

    assert reading(engine, workspaces.first) == ids[0]
    assert reading(engine, workspaces.serials) == ids
    assert reading(engine, lambda conn: workspaces.get(conn, ids[1]))["name"] == "b"


def test_the_version_grows_by_one_an_edit(engine: sa.Engine) -> None:
    workspace_id = in_transaction(engine, _add)
    before = reading(engine, lambda conn: workspaces.version(conn, workspace_id))
    for _ in range(3):
        in_transaction(engine, lambda conn: workspaces.bump(conn, workspace_id))

    assert reading(engine, lambda conn: workspaces.version(conn, workspace_id)) == before + 3


def test_settings_are_replaced_as_a_whole(engine: sa.Engine) -> None:
    workspace_id = in_transaction(engine, _add)
    assert reading(engine, lambda conn: workspaces.settings(conn, workspace_id)) == {}
    in_transaction(engine, lambda c: workspaces.set_settings(c, workspace_id, {"gap_s": 60}))

    assert reading(engine, lambda c: workspaces.settings(c, workspace_id)) == {"gap_s": 60}


def test_apps_by_bundle_id_the_oldest_first(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> tuple[int, int]:
        mine, other = _add(conn), _add(conn, "other")
        return mine, [_app(conn, mine, "b"), _app(conn, mine, "a"), _app(conn, other, "b")][0]

    workspace_id, first = in_transaction(engine, verb)
    apps = reading(engine, lambda conn: workspaces.apps_of(conn, workspace_id))

    assert list(apps) == ["b", "a"]
    assert apps["b"] == first
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as conn:
        _app(conn, workspace_id, "a")


def test_a_key_is_found_by_its_digest_until_it_is_revoked(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> tuple[int, int]:
        workspace_id = _add(conn, plan="lite")
        return workspace_id, _key(conn, workspace_id)

    workspace_id, key_id = in_transaction(engine, verb)
    row = reading(engine, lambda conn: workspaces.key_by_digest(conn, DIGEST))

    assert row is not None
    assert (row["id"], row["plan"], row["time_zone"]) == (key_id, "lite", "Asia/Seoul")
    assert row["scopes"] == ["ingest"]
    assert reading(engine, lambda conn: workspaces.key_by_digest(conn, b"x" * 32)) is None

    def revoke(owner: int) -> bool:
        return in_transaction(
            engine,
            lambda conn: workspaces.revoke_key(conn, workspace_id=owner, key_id=key_id, now_ms=9),
        )

    assert not revoke(workspace_id + 1)
    assert revoke(workspace_id)
    assert not revoke(workspace_id)
    assert reading(engine, lambda conn: workspaces.key_by_digest(conn, DIGEST)) is None
    assert reading(engine, lambda c: workspaces.keys_of(c, workspace_id))[0]["revoked_ms"] == 9


def test_the_first_value_of_the_installation_stays(engine: sa.Engine) -> None:
    assert in_transaction(engine, lambda conn: workspaces.kept(conn, "k", "first")) == "first"
    assert in_transaction(engine, lambda conn: workspaces.kept(conn, "k", "second")) == "first"


def test_the_audit_log_newest_first(engine: sa.Engine) -> None:
    workspace_id = in_transaction(engine, _add)
    for n in range(3):
        in_transaction(
            engine,
            lambda conn, n=n: workspaces.note(
                conn, workspace_id=workspace_id, at_ms=n, actor="a", action="x", what=f"o{n}"
            ),
        )
    lines = reading(engine, lambda conn: workspaces.audit_of(conn, workspace_id, limit=2))

    assert [line["object"] for line in lines] == ["o2", "o1"]
    assert lines[0]["detail"] == {}


def test_a_test_id_is_renewed_not_doubled(engine: sa.Engine) -> None:
    app_id = in_transaction(engine, lambda conn: _app(conn, _add(conn), "a"))

    def put(name: str, expires_ms: int) -> int:
        return in_transaction(
            engine,
            lambda conn: workspaces.put_test_device(
                conn, app_id=app_id, ad_id="x", name=name, created_ms=1, expires_ms=expires_ms
            ),
        )

    assert put("a", 10) == put("b", 20)
    (row,) = reading(engine, lambda conn: workspaces.test_devices_of(conn, [app_id]))
    assert (row["name"], row["created_ms"], row["expires_ms"]) == ("b", 1, 20)
    in_transaction(engine, lambda conn: workspaces.delete_test_device(conn, row["id"]))
    assert reading(engine, lambda conn: workspaces.test_devices_of(conn, [app_id])) == []


def test_a_webhook_that_is_gone_is_kept_for_its_deliveries(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> tuple[int, int]:
        app_id = _app(conn, _add(conn), "a")
        values = {
            "name": "n",
            "events": [],
            "url": "https://a.example",
            "secret": "whsec_x",
            "created_ms": 1,
        }
        return app_id, workspaces.add_webhook(conn, app_id=app_id, **values)

    app_id, webhook_id = in_transaction(engine, verb)
    in_transaction(engine, lambda conn: workspaces.delete_webhook(conn, webhook_id, 5))

    assert reading(engine, lambda conn: workspaces.webhooks_of(conn, [app_id])) == []
    count = sa.text("select count(*) from webhook where deleted_ms = 5")
    assert reading(engine, lambda conn: conn.execute(count).scalar_one()) == 1
