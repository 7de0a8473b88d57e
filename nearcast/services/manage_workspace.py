"""Workspaces, keys, test devices and webhooks (product W1–W3, T1)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from campaigns.campaign.plans import Feature, Plan
from campaigns.messages.events import WebhookEvent
from campaigns.people.identity import normal_ad_id
from nearcast.services.addresses import is_web_address
from nearcast.services.check_policies import CERTAINTY_BOUNDS, PRESENCE_BOUNDS, policy_faults
from nearcast.services.countries import unknown_countries
from nearcast.services.edit_fences import require_plan
from nearcast.services.errors import (
    AlreadyExists,
    FieldError,
    Forbidden,
    Invalid,
    NotAllowedNow,
    NotFound,
    Unauthorized,
)
from nearcast.services.ids import public
from nearcast.services.run_campaigns import Author
from nearcast.store import campaigns, workspaces

KEY_PREFIX = "nck_"
TEST_DEVICE_DAYS = 30  # product T1
_DAY_MS = 86_400_000
_LINK_SECRET = "link_secret"  # noqa: S105 - the name of a row, not a secret


class Scope(StrEnum):
    """What a key opens (product W3)."""

    INGEST = "ingest"
    MANAGE = "manage"
    TEST = "test"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who calls: a key, its workspace and what it may do.

    Attributes:
        app_id: the one app the key is bound to, None for all of the workspace.
        holds_location_consent: the key's owner declares to hold each user's location consent.
    """

    key_id: int
    workspace_id: int
    app_id: int | None
    scopes: frozenset[Scope]
    holds_location_consent: bool
    plan: Plan
    time_zone: str

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return public("key", self.key_id)

    def require(self, scope: str) -> None:
        """Refuse unless the key has a scope; `admin` has all."""
        if Scope(scope) not in self.scopes and Scope.ADMIN not in self.scopes:
            raise Forbidden(f"This needs a key with the scope '{scope}'.")

    def require_plan(self, feature: Feature) -> None:
        """Refuse unless the workspace's plan opens a feature."""
        require_plan(self.plan, feature)


def found_installation(conn: sa.Connection, *, now_ms: int) -> int:
    """The default workspace (Premium) with its app, made when there is none; returns its serial."""
    # the row of the secret stands before the workspace: of two processes that start, one waits here
    workspaces.kept(conn, _LINK_SECRET, secrets.token_hex(32))
    first = workspaces.first(conn)
    if first is not None:
        return first
    zone = "Asia/Seoul"
    workspace_id = workspaces.add(
        conn, name="Default", plan=Plan.PREMIUM.value, time_zone=zone, now_ms=now_ms
    )
    workspaces.add_app(
        conn,
        workspace_id=workspace_id,
        name="Default app",
        bundle_id="default",
        time_zone=zone,
        now_ms=now_ms,
    )
    return workspace_id


def link_secret(conn: sa.Connection) -> bytes:
    """What signs tracked links; one for the installation."""
    return bytes.fromhex(workspaces.kept(conn, _LINK_SECRET, secrets.token_hex(32)))


def create_key(
    conn: sa.Connection,
    *,
    workspace_id: int,
    app_id: int | None,
    name: str,
    scopes: Sequence[str],
    holds_location_consent: bool,
    now_ms: int,
    actor: str,
) -> tuple[int, str]:
    """A new key: its serial, and its text, which is never shown again."""
    unknown = sorted(set(scopes) - {scope.value for scope in Scope})
    if unknown or not scopes:
        message = f"scopes must be some of {', '.join(Scope)}; given: {', '.join(unknown) or 'none'}."
        raise Invalid(errors=[FieldError(pointer="/scopes", code="unknown_scope", message=message)])
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    key_id = workspaces.add_key(
        conn,
        workspace_id=workspace_id,
        app_id=app_id,
        name=name,
        digest=_digest(text),
        hint=text[:10],
        scopes=sorted(set(scopes)),
        holds_location_consent=holds_location_consent,
        created_ms=now_ms,
    )
    _note(conn, workspace_id, now_ms, actor, "key.created", public("key", key_id))
    return key_id, text


def revoke_key(conn: sa.Connection, key_id: int, *, workspace_id: int, now_ms: int, actor: str) -> None:
    """Revoke a key; every process refuses it within 2 s (quality Q13)."""
    if not workspaces.revoke_key(conn, workspace_id=workspace_id, key_id=key_id, now_ms=now_ms):
        raise NotFound(f"There is no living key '{public('key', key_id)}'.")
    _note(conn, workspace_id, now_ms, actor, "key.revoked", public("key", key_id))


def keys_for(conn: sa.Connection, who: Principal) -> list[sa.RowMapping]:
    """The keys that a key may see: all of its workspace, or those of its one app."""
    rows = workspaces.keys_of(conn, who.workspace_id)
    return [row for row in rows if who.app_id is None or row["app_id"] == who.app_id]


def revoke_key_of(conn: sa.Connection, key_id: int, *, who: Principal, now_ms: int) -> None:
    """Revoke a key that another one may see."""
    if key_id not in {row["id"] for row in keys_for(conn, who)}:
        raise NotFound(f"There is no living key '{public('key', key_id)}'.")
    revoke_key(conn, key_id, workspace_id=who.workspace_id, now_ms=now_ms, actor=who.actor)


def add_app(
    conn: sa.Connection, *, who: Principal, name: str, bundle_id: str, time_zone: str, now_ms: int
) -> int:
    """A new app of the caller's workspace; returns its serial. A key of one app makes no other."""
    if who.app_id is not None:
        raise Forbidden("This key is for one app; adding apps needs a key for all of them.")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"'{time_zone[:60]}' is no IANA time zone, such as Asia/Seoul."
        fault = FieldError(pointer="/time_zone", code="unknown_time_zone", message=message)
        raise Invalid(errors=[fault]) from error
    if bundle_id in workspaces.apps_of(conn, who.workspace_id):
        raise AlreadyExists(f"There is an app '{bundle_id}' already.")
    serial = workspaces.add_app(
        conn,
        workspace_id=who.workspace_id,
        name=name,
        bundle_id=bundle_id,
        time_zone=time_zone,
        now_ms=now_ms,
    )
    _note(conn, who.workspace_id, now_ms, who.actor, "app.added", public("app", serial))
    return serial


def authenticate(conn: sa.Connection, text: str) -> Principal:
    """Who presents this key; `Unauthorized` for any but a living one."""
    row = workspaces.key_by_digest(conn, _digest(text))
    if row is None:
        raise Unauthorized
    return Principal(
        key_id=row["id"],
        workspace_id=row["workspace_id"],
        app_id=row["app_id"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        holds_location_consent=row["holds_location_consent"],
        plan=Plan(row["plan"]),
        time_zone=row["time_zone"],
    )


def app_of(conn: sa.Connection, who: Principal, named: str | None) -> int:
    """The app that a call is about: the key's own, the one named, or the only one there is."""
    apps = workspaces.apps_of(conn, who.workspace_id)
    by_name = apps | {public("app", serial): serial for serial in apps.values()}
    if named is not None:
        found = by_name.get(named)
        if found is None or (who.app_id is not None and found != who.app_id):
            raise NotFound(f"There is no app '{named[:60]}' for this key.")
        return found
    if who.app_id is not None:
        return who.app_id
    if len(apps) == 1:
        return next(iter(apps.values()))
    message = f"This key is for all apps; name one of {', '.join(apps)} in 'app'."
    raise Invalid(errors=[FieldError(pointer="/app", code="required", message=message)])


def apps_for(conn: sa.Connection, who: Principal) -> list[int]:
    """The apps whose objects a key may see."""
    if who.app_id is not None:
        return [who.app_id]
    return list(workspaces.apps_of(conn, who.workspace_id).values())


def register_test_device(
    conn: sa.Connection,
    *,
    app_id: int,
    workspace_id: int,
    ad_id: str,
    name: str,
    now_ms: int,
    actor: str,
) -> int:
    """Register an ADID or IDFA for tests, or renew it for 30 days; returns its serial."""
    normal = normal_ad_id(ad_id)
    if normal is None:
        message = "An ad id of zeros is no identity: the phone's owner has refused tracking."
        raise Invalid(errors=[FieldError(pointer="/ad_id", code="zero_ad_id", message=message)])
    serial = workspaces.put_test_device(
        conn,
        app_id=app_id,
        ad_id=normal,
        name=name,
        created_ms=now_ms,
        expires_ms=now_ms + TEST_DEVICE_DAYS * _DAY_MS,
    )
    workspaces.bump(conn, workspace_id)
    _note(conn, workspace_id, now_ms, actor, "test_device.registered", public("tst", serial))
    return serial


def remove_test_device(
    conn: sa.Connection,
    serial: int,
    *,
    app_ids: Sequence[int],
    workspace_id: int,
    now_ms: int,
    actor: str,
) -> None:
    """Take a test registration back."""
    if serial not in {row["id"] for row in workspaces.test_devices_of(conn, list(app_ids))}:
        raise NotFound(f"There is no test device '{public('tst', serial)}'.")
    workspaces.delete_test_device(conn, serial)
    workspaces.bump(conn, workspace_id)
    _note(conn, workspace_id, now_ms, actor, "test_device.removed", public("tst", serial))


def add_webhook(
    conn: sa.Connection,
    *,
    app_id: int,
    workspace_id: int,
    name: str,
    url: str,
    allow_http: bool,
    now_ms: int,
    actor: str,
    events: Sequence[WebhookEvent] = (),
) -> tuple[int, str]:
    """A new endpoint: its serial, and the secret that signs what is sent there, shown once.

    Args:
        events: what it is told without any campaign.
    """
    _check_address(url, allow_http=allow_http)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    serial = workspaces.add_webhook(
        conn,
        app_id=app_id,
        name=name,
        url=url,
        secret=secret,
        events=sorted({event.value for event in events}),
        created_ms=now_ms,
    )
    workspaces.bump(conn, workspace_id)
    _note(conn, workspace_id, now_ms, actor, "webhook.added", public("whk", serial))
    return serial, secret


def change_webhook(
    conn: sa.Connection,
    row: sa.RowMapping,
    *,
    name: str | None = None,
    url: str | None = None,
    events: Sequence[WebhookEvent] | None = None,
    allow_http: bool,
    author: Author,
) -> None:
    """Change what is given of an endpoint; its secret stays.

    What waits already goes to the new address, whatever the events are now.
    """
    given: dict[str, Any] = {"name": name, "url": url}
    if events is not None:
        given["events"] = sorted({event.value for event in events})
    if url is not None:
        _check_address(url, allow_http=allow_http)
    changes = {key: value for key, value in given.items() if value not in (None, row[key])}
    if not changes:
        return
    workspaces.change_webhook(conn, row["id"], **changes)
    workspaces.bump(conn, author.workspace_id)
    workspaces.note(
        conn,
        workspace_id=author.workspace_id,
        at_ms=author.now_ms,
        actor=author.actor,
        action="webhook.changed",
        what=public("whk", row["id"]),
        detail={key: value for key, value in changes.items() if key != "url"},  # it may hold a token
    )


def webhook_of(conn: sa.Connection, serial: int, *, app_ids: Sequence[int]) -> sa.RowMapping:
    """A living endpoint of some apps; `NotFound` for any other."""
    for row in workspaces.webhooks_of(conn, list(app_ids)):
        if row["id"] == serial:
            return row
    raise NotFound(f"There is no webhook '{public('whk', serial)}'.")


def remove_webhook(
    conn: sa.Connection,
    serial: int,
    *,
    app_ids: Sequence[int],
    workspace_id: int,
    now_ms: int,
    actor: str,
) -> None:
    """Remove an endpoint; one that a living campaign sends to is kept, and the campaign is named."""
    webhook_of(conn, serial, app_ids=app_ids)
    users = campaigns.using_webhook(conn, serial)
    if users:
        names = ", ".join(f"{public('cmp', row['id'])} ({row['name']})" for row in users)
        raise NotAllowedNow(f"Used by {names}. End the campaign, or give it another webhook.")
    workspaces.delete_webhook(conn, serial, now_ms)
    workspaces.bump(conn, workspace_id)
    _note(conn, workspace_id, now_ms, actor, "webhook.removed", public("whk", serial))


def _check_address(url: str, *, allow_http: bool) -> None:
    schemes = ("https", "http") if allow_http else ("https",)
    if not is_web_address(url, schemes=schemes):
        message = f"A webhook is an address such as {schemes[0]}://shop.example/hook, no user name."
        raise Invalid(errors=[FieldError(pointer="/url", code="bad_url", message=message)])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _note(
    conn: sa.Connection, workspace_id: int, now_ms: int, actor: str, action: str, what: str
) -> None:
    workspaces.note(conn, workspace_id=workspace_id, at_ms=now_ms, actor=actor, action=action, what=what)


def set_countries(conn: sa.Connection, codes: Sequence[str], *, author: Author) -> None:
    """Say in which countries the workspace's places lie; none: anywhere.

    Raises:
        Invalid: names each code that is none of ISO 3166.
    """
    faults = unknown_countries(codes)
    if faults:
        raise Invalid(errors=faults)
    settings = workspaces.settings(conn, author.workspace_id)
    chosen = sorted(set(codes))
    workspaces.set_settings(conn, author.workspace_id, settings | {"countries": chosen})
    workspaces.note(
        conn,
        workspace_id=author.workspace_id,
        at_ms=author.now_ms,
        actor=author.actor,
        action="workspace.changed",
        what=public("wsp", author.workspace_id),
        detail={"countries": chosen},
    )


def set_policies(
    conn: sa.Connection,
    *,
    presence: Mapping[str, Any],
    certainty: Mapping[str, Any],
    author: Author,
) -> None:
    """Set some of the workspace's policies; None is the default again, what is absent stays.

    They hold for what comes: visits that are written are not cut anew.

    Raises:
        Invalid: names each setting that is unknown or out of its bounds.
    """
    faults = [
        *policy_faults(presence, PRESENCE_BOUNDS, pointer="/presence"),
        *policy_faults(certainty, CERTAINTY_BOUNDS, pointer="/certainty"),
    ]
    if faults:
        raise Invalid(errors=faults)
    before = workspaces.settings(conn, author.workspace_id)
    said = {**presence, **certainty}
    after = {name: value for name, value in (before | said).items() if value is not None}
    if after == before:
        return
    workspaces.set_settings(conn, author.workspace_id, after)
    workspaces.bump(conn, author.workspace_id)
    workspaces.note(
        conn,
        workspace_id=author.workspace_id,
        at_ms=author.now_ms,
        actor=author.actor,
        action="workspace.changed",
        what=public("wsp", author.workspace_id),
        detail={name: {"from": before.get(name), "to": value} for name, value in said.items()},
    )
