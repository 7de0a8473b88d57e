"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: SQLite counts rows by INTEGER only
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "evidence_chunk",
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "device_id", "fence_id", "first_ms", name=op.f("pk_evidence_chunk")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "night",
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("area_id", Serial, nullable=True),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("fixes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "day", name=op.f("pk_night")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_night_day", "night", ["day"], unique=False)
    op.create_table(
        "presence",
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("inside", sa.Boolean(), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.Column("presumed_ms", sa.BigInteger(), nullable=False),
        sa.Column("arrived_ms", sa.BigInteger(), nullable=False),
        sa.Column("left_ms", sa.BigInteger(), nullable=False),
        sa.Column("fixes", sa.Integer(), nullable=False),
        sa.Column("p_sum", sa.Integer(), nullable=False),
        sa.Column("out_first_ms", sa.BigInteger(), nullable=False),
        sa.Column("out_last_ms", sa.BigInteger(), nullable=False),
        sa.Column("out_fixes", sa.Integer(), nullable=False),
        sa.Column("out_far", sa.Integer(), nullable=False),
        sa.Column("out_lon", sa.Float(), nullable=False),
        sa.Column("out_lat", sa.Float(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "fence_id", name=op.f("pk_presence")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "visit",
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("arrived_ms", sa.BigInteger(), nullable=False),
        sa.Column("left_ms", sa.BigInteger(), nullable=False),
        sa.Column("fixes", sa.Integer(), nullable=False),
        sa.Column("p_sum", sa.Integer(), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "fence_id", "arrived_ms", name=op.f("pk_visit")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_visit_at_fence", "visit", ["fence_id", "arrived_ms"], unique=False)
    op.create_table(
        "workspace",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
    )
    op.create_table(
        "app",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("bundle_id", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("words_version", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_app_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app")),
        sa.UniqueConstraint(
            "workspace_id", "bundle_id", name=op.f("uq_app_workspace_id_bundle_id")
        ),
    )
    op.create_table(
        "area_layer",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_area_layer_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_area_layer")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_area_layer_workspace_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_audit_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_of_workspace", "audit", ["workspace_id", "id"], unique=False)
    op.create_table(
        "fence",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("campaign_id", Serial, nullable=True),
        sa.Column("area_km2", sa.Float(), nullable=False),
        sa.Column("west", sa.Float(), nullable=False),
        sa.Column("south", sa.Float(), nullable=False),
        sa.Column("east", sa.Float(), nullable=False),
        sa.Column("north", sa.Float(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_fence_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fence")),
    )
    op.create_index(
        "ix_fence_of_workspace", "fence", ["workspace_id", "deleted_ms", "id"], unique=False
    )
    op.create_index(
        "uq_fence_external",
        "fence",
        ["workspace_id", "external_id"],
        unique=True,
        sqlite_where=sa.text("deleted_ms is null and external_id is not null"),
        postgresql_where=sa.text("deleted_ms is null and external_id is not null"),
    )
    op.create_table(
        "fence_group",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_fence_group_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fence_group")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_fence_group_workspace_id_name")),
    )
    op.create_table(
        "heading_mapping",
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_heading_mapping_workspace_id")
        ),
        sa.PrimaryKeyConstraint(
            "workspace_id", "kind", "signature", name=op.f("pk_heading_mapping")
        ),
    )
    op.create_table(
        "idempotency",
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_idempotency_workspace_id")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "retention_report",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_retention_report_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_report")),
    )
    op.create_index(
        "ix_retention_report_of", "retention_report", ["workspace_id", "id"], unique=False
    )
    op.create_table(
        "upload",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("applied_ms", sa.BigInteger(), nullable=True),
        sa.Column("undone_ms", sa.BigInteger(), nullable=True),
        sa.Column("lease_holder", sa.Text(), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_upload_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_upload_due", "upload", ["state", "lease_until_ms"], unique=False)
    op.create_index("ix_upload_of_workspace", "upload", ["workspace_id", "id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("workspace_id", Serial, nullable=False),
        sa.Column("app_id", Serial, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("holds_location_consent", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_api_key_app_id")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_api_key_workspace_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    op.create_table(
        "area",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("layer_id", Serial, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("wkb", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["area_layer.id"], name=op.f("fk_area_layer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_area")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_area_of_layer", "area", ["layer_id"], unique=False)
    op.create_table(
        "campaign",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("period_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("period_end_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_campaign_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_campaign_of_app", "campaign", ["app_id", "state", "id"], unique=False)
    op.create_table(
        "device",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("ad_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("location_consent", sa.Boolean(), nullable=True),
        sa.Column("marketing_consent", sa.Boolean(), nullable=True),
        sa.Column("night_consent", sa.Boolean(), nullable=True),
        sa.Column("said_ms", sa.BigInteger(), nullable=False),
        sa.Column("words_version", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_device_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("app_id", "key", name=op.f("uq_device_app_id_key")),
    )
    op.create_index("ix_device_ad_id", "device", ["app_id", "ad_id"], unique=False)
    op.create_index("ix_device_user", "device", ["app_id", "user_id"], unique=False)
    op.create_index(
        "ix_device_words",
        "device",
        ["app_id", "words_version"],
        unique=False,
        sqlite_where=sa.text("words_version > 0"),
        postgresql_where=sa.text("words_version > 0"),
    )
    op.create_table(
        "fence_group_member",
        sa.Column("group_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.ForeignKeyConstraint(
            ["fence_id"], ["fence.id"], name=op.f("fk_fence_group_member_fence_id")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["fence_group.id"], name=op.f("fk_fence_group_member_group_id")
        ),
        sa.PrimaryKeyConstraint("group_id", "fence_id", name=op.f("pk_fence_group_member")),
    )
    op.create_index("ix_fence_group_member_fence", "fence_group_member", ["fence_id"], unique=False)
    op.create_table(
        "fence_version",
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("live_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("live_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("radius_m", sa.Float(), nullable=True),
        sa.Column("wkb", sa.LargeBinary(), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["fence_id"], ["fence.id"], name=op.f("fk_fence_version_fence_id")),
        sa.PrimaryKeyConstraint("fence_id", "version", name=op.f("pk_fence_version")),
    )
    op.create_index("ix_fence_version_live", "fence_version", ["live_until_ms"], unique=False)
    op.create_table(
        "night_due",
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_night_due_app_id")),
        sa.PrimaryKeyConstraint("app_id", "day", name=op.f("pk_night_due")),
    )
    op.create_table(
        "ping_file",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("aside", sa.Text(), nullable=True),
        sa.Column("going", sa.Boolean(), nullable=False),
        sa.Column("first_seq", Serial, nullable=False),
        sa.Column("last_seq", Serial, nullable=False),
        sa.Column("pings", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sealed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_ping_file_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ping_file")),
        sa.UniqueConstraint("name", name=op.f("uq_ping_file_name")),
    )
    op.create_index("ix_ping_file_seq", "ping_file", ["last_seq"], unique=False)
    op.create_index(
        "ix_ping_file_time", "ping_file", ["app_id", "last_ms", "first_ms"], unique=False
    )
    op.create_table(
        "ping_log",
        sa.Column("seq", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("pings", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_ping_log_app_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ping_log")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ping_log_time", "ping_log", ["app_id", "last_ms", "first_ms"], unique=False)
    op.create_table(
        "test_device",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("ad_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_test_device_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_device")),
        sa.UniqueConstraint("app_id", "ad_id", name=op.f("uq_test_device_app_id_ad_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "upload_file",
        sa.Column("upload_id", Serial, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["upload.id"], name=op.f("fk_upload_file_upload_id")
        ),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_upload_file")),
    )
    op.create_table(
        "upload_part",
        sa.Column("upload_id", Serial, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["upload.id"], name=op.f("fk_upload_part_upload_id")
        ),
        sa.PrimaryKeyConstraint("upload_id", "kind", "first", name=op.f("pk_upload_part")),
    )
    op.create_table(
        "webhook",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_webhook_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_table(
        "campaign_move",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("campaign_id", Serial, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_move_campaign_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_move")),
    )
    op.create_index("ix_campaign_move_of", "campaign_move", ["campaign_id", "at_ms"], unique=False)
    op.create_table(
        "campaign_version",
        sa.Column("campaign_id", Serial, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_version_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "version", name=op.f("pk_campaign_version")),
    )
    op.create_table(
        "decision",
        sa.Column("campaign_id", Serial, nullable=False),
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trigger_ms", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("bound", sa.Text(), nullable=True),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("initial", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("new_visit", sa.Boolean(), nullable=False),
        sa.Column("p", sa.Float(), nullable=False),
        sa.Column("rim_m", sa.Float(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("campaign_version", sa.Integer(), nullable=False),
        sa.Column("fence_version", sa.Integer(), nullable=False),
        sa.Column("snapshot_version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_decision_campaign_id")
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id", "device_id", "fence_id", "kind", "trigger_ms", name=op.f("pk_decision")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_decision_device", "decision", ["device_id", "trigger_ms"], unique=False)
    op.create_index("ix_decision_report", "decision", ["campaign_id", "trigger_ms"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("campaign_id", Serial, nullable=False),
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trigger_ms", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("webhook_id", Serial, nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("handed_ms", sa.BigInteger(), nullable=True),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=True),
        sa.Column("clicked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_delivery_app_id")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_delivery_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_delivery_webhook_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "campaign_id",
            "device_id",
            "fence_id",
            "kind",
            "trigger_ms",
            name=op.f("uq_delivery_campaign_id_device_id_fence_id_kind_trigger_ms"),
        ),
    )
    op.create_index(
        "ix_delivery_due", "delivery", ["state", "webhook_id", "not_before_ms"], unique=False
    )
    op.create_index(
        "ix_delivery_inbox", "delivery", ["device_id", "channel", "expires_ms"], unique=False
    )
    op.create_table(
        "fence_area",
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("area_id", Serial, nullable=False),
        sa.ForeignKeyConstraint(["area_id"], ["area.id"], name=op.f("fk_fence_area_area_id")),
        sa.ForeignKeyConstraint(["fence_id"], ["fence.id"], name=op.f("fk_fence_area_fence_id")),
        sa.PrimaryKeyConstraint("fence_id", "area_id", name=op.f("pk_fence_area")),
    )
    op.create_index("ix_fence_area_area", "fence_area", ["area_id"], unique=False)
    op.create_table(
        "notice",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("app_id", Serial, nullable=False),
        sa.Column("webhook_id", Serial, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("device_id", Serial, nullable=False),
        sa.Column("fence_id", Serial, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempts_before", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("handed_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_notice_app_id")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_notice_device_id")),
        sa.ForeignKeyConstraint(["fence_id"], ["fence.id"], name=op.f("fk_notice_fence_id")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_notice_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("webhook_id", "key", name=op.f("uq_notice_webhook_id_key")),
    )
    op.create_index(
        "ix_notice_due", "notice", ["state", "webhook_id", "not_before_ms"], unique=False
    )
    op.create_index(
        "ix_notice_open",
        "notice",
        ["device_id", "fence_id", "webhook_id"],
        unique=False,
        sqlite_where=sa.text("state in ('queued', 'leased')"),
        postgresql_where=sa.text("state in ('queued', 'leased')"),
    )
    op.create_index("ix_notice_told", "notice", ["webhook_id", "created_ms"], unique=False)
    op.create_table(
        "send_slot",
        sa.Column("campaign_id", Serial, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_send_slot_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "person", "window", name=op.f("pk_send_slot")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempt",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("webhook_id", Serial, nullable=False),
        sa.Column("delivery_id", Serial, nullable=True),
        sa.Column("notice_id", Serial, nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_attempt_delivery_id")
        ),
        sa.ForeignKeyConstraint(["notice_id"], ["notice.id"], name=op.f("fk_attempt_notice_id")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_attempt_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
    )
    op.create_index("ix_attempt_at", "attempt", ["webhook_id", "id"], unique=False)
    op.create_index("ix_attempt_delivery", "attempt", ["delivery_id"], unique=False)
    op.create_index("ix_attempt_notice", "attempt", ["notice_id"], unique=False)
    op.create_table(
        "click",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("delivery_id", Serial, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_click_delivery_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_click")),
    )
    op.create_index("ix_click_of", "click", ["delivery_id"], unique=False)
