"""Every table, one MetaData. Times are ms since the epoch (UTC). Indexes name the query they serve."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite counts rows by INTEGER only
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Ms = sa.BigInteger
Body = sa.LargeBinary


def _serial(name: str = "id") -> sa.Column[int]:
    return sa.Column(name, Serial, primary_key=True, autoincrement=True)


def _refers(name: str, to: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, Serial, sa.ForeignKey(to), nullable=nullable)


# --- who owns what ------------------------------------------------------------------------------

#: things of the whole installation: the secret that signs links, the replay clock
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

workspace = sa.Table(
    "workspace",
    metadata,
    _serial(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    # what differs from the policies' defaults, by the policy's field names
    sa.Column("settings", sa.JSON, nullable=False),
    # grows with each edit that a snapshot must show; readers compare it with the one they hold
    sa.Column("version", sa.BigInteger, nullable=False, default=1),
    sa.Column("created_ms", Ms, nullable=False),
)

app = sa.Table(
    "app",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("bundle_id", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    # grows with each change of what a known device says of itself; see device.words_version
    sa.Column("words_version", sa.BigInteger, nullable=False, default=0),
    sa.Column("created_ms", Ms, nullable=False),
    sa.UniqueConstraint("workspace_id", "bundle_id"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    _refers("app_id", "app.id", nullable=True),  # null: all apps
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),  # SHA-256
    sa.Column("hint", sa.Text, nullable=False),  # the first characters, to tell keys apart
    sa.Column("scopes", sa.JSON, nullable=False),
    # the key's owner declares that it holds each user's location consent (product P9)
    sa.Column("holds_location_consent", sa.Boolean, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("revoked_ms", Ms),
)

audit = sa.Table(
    "audit",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),  # key:<id> or cli
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Index("ix_audit_of_workspace", "workspace_id", "id"),  # GET /v1/audit, newest first
)

#: answers of resource writes, kept 24 h for a repeated Idempotency-Key
idempotency = sa.Table(
    "idempotency",
    metadata,
    _refers("workspace_id", "workspace.id"),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("request_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("status", sa.Integer),  # null: still running
    sa.Column("answer", sa.LargeBinary),
    sa.Column("created_ms", Ms, nullable=False),
    sa.PrimaryKeyConstraint("workspace_id", "key"),
)

# --- fences -------------------------------------------------------------------------------------

fence = sa.Table(
    "fence",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("external_id", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    # the campaign that a shape was given in; such a fence is not in the lists
    sa.Column("campaign_id", Serial),
    sa.Column("area_km2", sa.Float, nullable=False),
    sa.Column("west", sa.Float, nullable=False),  # box, unwrapped: east may pass 180
    sa.Column("south", sa.Float, nullable=False),
    sa.Column("east", sa.Float, nullable=False),
    sa.Column("north", sa.Float, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("updated_ms", Ms, nullable=False),
    sa.Column("deleted_ms", Ms),
    # one living fence per external id: PUT /v1/fences/{external_id}
    sa.Index(
        "uq_fence_external",
        "workspace_id",
        "external_id",
        unique=True,
        sqlite_where=sa.text("deleted_ms is null and external_id is not null"),
        postgresql_where=sa.text("deleted_ms is null and external_id is not null"),
    ),
    sa.Index("ix_fence_of_workspace", "workspace_id", "deleted_ms", "id"),  # GET /v1/fences
)

fence_version = sa.Table(
    "fence_version",
    metadata,
    _refers("fence_id", "fence.id"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("until_ms", Ms, nullable=False),  # MAX_MS while it is the newest
    sa.Column("live_from_ms", Ms, nullable=False),  # cut to valid_from/until; empty if disabled
    sa.Column("live_until_ms", Ms, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    sa.Column("lon", sa.Float),  # a circle has lon, lat, radius_m; a polygon has wkb
    sa.Column("lat", sa.Float),
    sa.Column("radius_m", sa.Float),
    sa.Column("wkb", sa.LargeBinary),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("fence_id", "version"),
    sa.Index("ix_fence_version_live", "live_until_ms"),  # what a snapshot loads
)

fence_group = sa.Table(
    "fence_group",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.UniqueConstraint("workspace_id", "name"),
)

fence_group_member = sa.Table(
    "fence_group_member",
    metadata,
    _refers("group_id", "fence_group.id"),
    _refers("fence_id", "fence.id"),
    sa.PrimaryKeyConstraint("group_id", "fence_id"),
    sa.Index("ix_fence_group_member_fence", "fence_id"),  # the groups of a fence
)

area_layer = sa.Table(
    "area_layer",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # region or trade_area
    sa.Column("created_ms", Ms, nullable=False),
    sa.UniqueConstraint("workspace_id", "name"),
    sqlite_autoincrement=True,  # the serial of a deleted row is not given again
)

area = sa.Table(
    "area",
    metadata,
    _serial(),
    _refers("layer_id", "area_layer.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("code", sa.Text),
    sa.Column("wkb", sa.LargeBinary, nullable=False),
    sa.Index("ix_area_of_layer", "layer_id"),
    sqlite_autoincrement=True,  # nights keep the serial of an area that is deleted
)

fence_area = sa.Table(
    "fence_area",
    metadata,
    _refers("fence_id", "fence.id"),
    _refers("area_id", "area.id"),
    sa.PrimaryKeyConstraint("fence_id", "area_id"),
    sa.Index("ix_fence_area_area", "area_id"),  # the fences of a region
)

# --- uploads ------------------------------------------------------------------------------------

#: a file on its way to become a reviewed change (product U4)
upload = sa.Table(
    "upload",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("kind", sa.Text, nullable=False),  # fences
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("file_bytes", sa.BigInteger, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),  # what the user says about the file
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stage", sa.Text),  # what is being done, and how much of the whole is done
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),  # rows by state
    sa.Column("report", sa.JSON, nullable=False),  # sheets, mappings, kinds of problems
    sa.Column("error", sa.JSON),  # why the last step failed: code and messages
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("updated_ms", Ms, nullable=False),
    sa.Column("applied_ms", Ms),
    sa.Column("undone_ms", Ms),
    # who works on it and until when; by the wall's clock
    sa.Column("lease_holder", sa.Text),
    sa.Column("lease_until_ms", Ms, nullable=False),
    # how often this step was begun: a file that ends the process must not end every one after it
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Index("ix_upload_of_workspace", "workspace_id", "id"),  # GET /v1/uploads
    sa.Index("ix_upload_due", "state", "lease_until_ms"),  # what waits for work
    sqlite_autoincrement=True,  # the serial of a deleted row is not given again
)

#: the file as it came; gone before the upload is
upload_file = sa.Table(
    "upload_file",
    metadata,
    sa.Column("upload_id", Serial, sa.ForeignKey("upload.id"), primary_key=True, autoincrement=False),
    sa.Column("body", Body, nullable=False),
)

#: the lines of the review by state, and what was applied, some hundred a piece
upload_part = sa.Table(
    "upload_part",
    metadata,
    _refers("upload_id", "upload.id"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("first", sa.Integer, nullable=False),  # index of its first line among those of its kind
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("body", Body, nullable=False),  # msgpack, see uploads.py
    sa.PrimaryKeyConstraint("upload_id", "kind", "first"),
)

#: how a user mapped headings, for the next file that has the same ones (product U3)
heading_mapping = sa.Table(
    "heading_mapping",
    metadata,
    _refers("workspace_id", "workspace.id"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("mapping", sa.JSON, nullable=False),  # heading -> column, or null: not used
    sa.Column("used_ms", Ms, nullable=False),
    sa.PrimaryKeyConstraint("workspace_id", "kind", "signature"),
)

# --- devices, pings, presence, visits --------------------------------------------------------------

device = sa.Table(
    "device",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    sa.Column("key", sa.Text, nullable=False),  # device_id, else adid:<ad id>
    sa.Column("ad_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("location_consent", sa.Boolean),
    sa.Column("marketing_consent", sa.Boolean),
    sa.Column("night_consent", sa.Boolean),
    # when the newest of these words was said: an older one fills only what nobody has said
    sa.Column("said_ms", Ms, nullable=False, default=0),
    # the app's words_version of the last change, 0: as it was first met
    sa.Column("words_version", sa.BigInteger, nullable=False, default=0),
    sa.Column("first_seen_ms", Ms, nullable=False),
    sa.UniqueConstraint("app_id", "key"),
    sa.Index("ix_device_ad_id", "app_id", "ad_id"),  # explain and test ids by ad id
    sa.Index("ix_device_user", "app_id", "user_id"),  # explain by person
    # what other processes have changed since a process last looked
    sa.Index(
        "ix_device_words",
        "app_id",
        "words_version",
        sqlite_where=sa.text("words_version > 0"),
        postgresql_where=sa.text("words_version > 0"),
    ),
)

# What every group of pings writes (presence, chunks, visits, and below decisions and deliveries) names
# devices and fences without foreign keys: PostgreSQL would ask for and lock a device and a fence with
# each row, several times the price of the row itself.

#: the newest evidence of a device at a fence and where its live transitions stand
presence = sa.Table(
    "presence",
    metadata,
    sa.Column("device_id", Serial, nullable=False),
    sa.Column("fence_id", Serial, nullable=False),
    sa.Column("inside", sa.Boolean, nullable=False),
    sa.Column("told_ms", Ms, nullable=False),  # longest dwell told, -1: enter still to come
    sa.Column("presumed_ms", Ms, nullable=False),  # longest dwell presumed, -1: none
    sa.Column("arrived_ms", Ms, nullable=False),  # the newest visit …
    sa.Column("left_ms", Ms, nullable=False),
    sa.Column("fixes", sa.Integer, nullable=False),
    sa.Column("p_sum", sa.Integer, nullable=False),
    sa.Column("out_first_ms", Ms, nullable=False),  # … and the run of out fixes since, 0 = none
    sa.Column("out_last_ms", Ms, nullable=False),
    sa.Column("out_fixes", sa.Integer, nullable=False),
    sa.Column("out_far", sa.Integer, nullable=False),
    sa.Column("out_lon", sa.Float, nullable=False),
    sa.Column("out_lat", sa.Float, nullable=False),
    sa.Column("evidence", Body, nullable=False),  # little-endian int64, ascending
    sa.PrimaryKeyConstraint("device_id", "fence_id"),
    sqlite_with_rowid=False,
)

#: older evidence, in pieces
evidence_chunk = sa.Table(
    "evidence_chunk",
    metadata,
    sa.Column("device_id", Serial, nullable=False),
    sa.Column("fence_id", Serial, nullable=False),
    sa.Column("first_ms", Ms, nullable=False),
    sa.Column("last_ms", Ms, nullable=False),
    sa.Column("evidence", Body, nullable=False),
    sa.PrimaryKeyConstraint("device_id", "fence_id", "first_ms"),
    sqlite_with_rowid=False,
)

#: the newest visit's end, fixes and p_sum stand in `presence` while it may still grow
visit = sa.Table(
    "visit",
    metadata,
    sa.Column("device_id", Serial, nullable=False),
    sa.Column("fence_id", Serial, nullable=False),
    sa.Column("arrived_ms", Ms, nullable=False),
    sa.Column("left_ms", Ms, nullable=False),
    sa.Column("fixes", sa.Integer, nullable=False),
    sa.Column("p_sum", sa.Integer, nullable=False),
    # the longest dwell told of it, -1: its enter was never told
    sa.Column("told_ms", Ms, nullable=False),
    sa.PrimaryKeyConstraint("device_id", "fence_id", "arrived_ms"),
    sa.Index("ix_visit_at_fence", "fence_id", "arrived_ms"),  # visits after exposure, GET /v1/visits
    sqlite_with_rowid=False,
)

#: every ping that was taken, one row a transaction, columns packed by `ping_log.py`, until it is sealed
ping_log = sa.Table(
    "ping_log",
    metadata,
    _serial("seq"),
    _refers("app_id", "app.id"),
    sa.Column("pings", sa.Integer, nullable=False),
    sa.Column("held", sa.Integer, nullable=False),  # so many of them are quarantined
    sa.Column("first_ms", Ms, nullable=False),
    sa.Column("last_ms", Ms, nullable=False),
    sa.Column("seen_ms", Ms, nullable=False),  # the clock when the last of them was taken
    sa.Column("body", Body, nullable=False),  # see ping_log.py
    # explain: the pings of an app around an instant
    sa.Index("ix_ping_log_time", "app_id", "last_ms", "first_ms"),
    sqlite_autoincrement=True,  # sealing empties it, and readers go on behind the last row they saw
)

#: sealed pings of one app and UTC day: a Parquet file, see ping_files.py
ping_file = sa.Table(
    "ping_file",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("name", sa.Text, nullable=False, unique=True),  # below the folder of all files
    sa.Column("aside", sa.Text),  # the name it was written under, until it was given its own
    sa.Column("going", sa.Boolean, nullable=False),  # retention is deleting it: nobody reads it any more
    sa.Column("first_seq", Serial, nullable=False),  # rows of the log that were sealed with it
    sa.Column("last_seq", Serial, nullable=False),
    sa.Column("pings", sa.Integer, nullable=False),
    sa.Column("held", sa.Integer, nullable=False),
    sa.Column("first_ms", Ms, nullable=False),
    sa.Column("last_ms", Ms, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sealed_ms", Ms, nullable=False),
    sa.Index("ix_ping_file_time", "app_id", "last_ms", "first_ms"),  # the files of a time
    sa.Index("ix_ping_file_seq", "last_seq"),  # what was sealed behind a row of the log
)

#: where a device was between 00:00 and 06:00 of a day in the workspace's zone (product P12)
night = sa.Table(
    "night",
    metadata,
    sa.Column("device_id", Serial, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("area_id", Serial),  # the smallest region; null: none holds any of its fixes
    sa.Column("minutes", sa.Integer, nullable=False),
    sa.Column("fixes", sa.Integer, nullable=False),
    sa.PrimaryKeyConstraint("device_id", "day"),
    sa.Index("ix_night_day", "day"),  # retention; who was where in a month
    sqlite_with_rowid=False,
)

#: nights whose pings were sealed since they were last worked out
night_due = sa.Table(
    "night_due",
    metadata,
    _refers("app_id", "app.id"),
    sa.Column("day", sa.Date, nullable=False),
    sa.PrimaryKeyConstraint("app_id", "day"),
)

#: what was deleted because its time was over (product P10)
retention_report = sa.Table(
    "retention_report",
    metadata,
    _serial(),
    _refers("workspace_id", "workspace.id"),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("from_ms", Ms, nullable=False),  # the oldest and the newest instant of what went
    sa.Column("until_ms", Ms, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Index("ix_retention_report_of", "workspace_id", "id"),  # GET /v1/retention
)

# --- campaigns, decisions, deliveries ----------------------------------------------------------------

campaign = sa.Table(
    "campaign",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("updated_ms", Ms, nullable=False),
    sa.Column("period_start_ms", Ms, nullable=False),
    sa.Column("period_end_ms", Ms, nullable=False),
    sa.Index("ix_campaign_of_app", "app_id", "state", "id"),  # lists and snapshots
    sqlite_autoincrement=True,  # the serial of a deleted row is not given again
)

campaign_version = sa.Table(
    "campaign_version",
    metadata,
    _refers("campaign_id", "campaign.id"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("campaign_id", "version"),
)

#: each move of a campaign's life, so that explain can say what it was at an instant
campaign_move = sa.Table(
    "campaign_move",
    metadata,
    _serial(),
    _refers("campaign_id", "campaign.id"),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("from_state", sa.Text, nullable=False),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Index("ix_campaign_move_of", "campaign_id", "at_ms"),
)

test_device = sa.Table(
    "test_device",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    sa.Column("ad_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.UniqueConstraint("app_id", "ad_id"),
    sqlite_autoincrement=True,  # the serial of a deleted row is not given again
)

webhook = sa.Table(
    "webhook",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # whsec_<base64>, shown once
    # what it is told without any campaign, `campaigns.messages.events` (product P13)
    sa.Column("events", sa.JSON, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("deleted_ms", Ms),
)

decision = sa.Table(
    "decision",
    metadata,
    _refers("campaign_id", "campaign.id"),
    sa.Column("device_id", Serial, nullable=False),
    sa.Column("fence_id", Serial, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("trigger_ms", Ms, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("value", sa.Text),  # what the deciding gate saw, and its bound
    sa.Column("bound", sa.Text),
    sa.Column("is_test", sa.Boolean, nullable=False),
    sa.Column("initial", sa.Boolean, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),  # why the trigger is known: fix, presumed, crossing
    sa.Column("new_visit", sa.Boolean, nullable=False),
    sa.Column("p", sa.Float, nullable=False),
    sa.Column("rim_m", sa.Float, nullable=False),
    sa.Column("decided_ms", Ms, nullable=False),
    sa.Column("campaign_version", sa.Integer, nullable=False),
    sa.Column("fence_version", sa.Integer, nullable=False),
    sa.Column("snapshot_version", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("campaign_id", "device_id", "fence_id", "kind", "trigger_ms"),
    sa.Index("ix_decision_report", "campaign_id", "trigger_ms"),  # reports by day
    sa.Index("ix_decision_device", "device_id", "trigger_ms"),  # explain, and what was decided before
    sqlite_with_rowid=False,
)

#: one row a (campaign, person, window): whoever inserts it may send (product C5, quality Q8)
send_slot = sa.Table(
    "send_slot",
    metadata,
    _refers("campaign_id", "campaign.id"),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("window", sa.Text, nullable=False),
    sa.Column("taken_ms", Ms, nullable=False),
    sa.PrimaryKeyConstraint("campaign_id", "person", "window"),
    sqlite_with_rowid=False,
)

#: the outbox: a message commits with its decision and leaves later
delivery = sa.Table(
    "delivery",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    _refers("campaign_id", "campaign.id"),
    sa.Column("device_id", Serial, nullable=False),
    sa.Column("fence_id", Serial, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("trigger_ms", Ms, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("is_test", sa.Boolean, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    _refers("webhook_id", "webhook.id", nullable=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("image", sa.Text),
    sa.Column("link", sa.Text),  # the target; phones get a tracked one
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("state_reason", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("not_before_ms", Ms, nullable=False),
    sa.Column("lease_until_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("handed_ms", Ms),  # taken by the provider
    sa.Column("fetched_ms", Ms),  # read by the app, or returned in a ping's answer
    sa.Column("clicked_ms", Ms),  # the first click
    # one key per decision (product M9)
    sa.UniqueConstraint("campaign_id", "device_id", "fence_id", "kind", "trigger_ms"),
    sa.Index("ix_delivery_due", "state", "webhook_id", "not_before_ms"),  # the worker's lease
    sa.Index("ix_delivery_inbox", "device_id", "channel", "expires_ms"),  # GET /v1/inbox
)

#: what a webhook is told without any campaign: a transition or a visit (product P13)
notice = sa.Table(
    "notice",
    metadata,
    _serial(),
    _refers("app_id", "app.id"),
    _refers("webhook_id", "webhook.id"),
    sa.Column("key", sa.Text, nullable=False),  # the webhook-id: a repeat has the same one
    _refers("device_id", "device.id"),
    _refers("fence_id", "fence.id"),
    sa.Column("body", Body, nullable=False),  # JSON as it is sent
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("state_reason", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    # those made before somebody asked for it again; back-off begins anew from there
    sa.Column("attempts_before", sa.Integer, nullable=False),
    sa.Column("created_ms", Ms, nullable=False),
    sa.Column("not_before_ms", Ms, nullable=False),
    sa.Column("lease_until_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("handed_ms", Ms),
    sa.UniqueConstraint("webhook_id", "key"),
    sa.Index("ix_notice_due", "state", "webhook_id", "not_before_ms"),  # the worker's lease
    sa.Index("ix_notice_told", "webhook_id", "created_ms"),  # asked for again, forgotten
    sa.Index(  # whether an earlier one of the same device and fence is still on its way
        "ix_notice_open",
        "device_id",
        "fence_id",
        "webhook_id",
        sqlite_where=sa.text("state in ('queued', 'leased')"),
        postgresql_where=sa.text("state in ('queued', 'leased')"),
    ),
)

#: each time a message or a notice was tried at an endpoint
attempt = sa.Table(
    "attempt",
    metadata,
    _serial(),
    _refers("webhook_id", "webhook.id"),
    _refers("delivery_id", "delivery.id", nullable=True),  # one of the two
    _refers("notice_id", "notice.id", nullable=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("permanent", sa.Boolean, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("ix_attempt_at", "webhook_id", "id"),  # GET /v1/webhooks/{id}/attempts
    sa.Index("ix_attempt_delivery", "delivery_id"),
    sa.Index("ix_attempt_notice", "notice_id"),
)

click = sa.Table(
    "click",
    metadata,
    _serial(),
    _refers("delivery_id", "delivery.id"),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Index("ix_click_of", "delivery_id"),
)
