"""`POST /v1/pings`: bytes to columns and a receipt to JSON. A raw route: msgspec, no pydantic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from flask import Blueprint, Response, request

from api import ping_bodies
from api.answers import body_bytes, rfc3339
from api.auth import Principal, needs, principal
from api.ping_bodies import Decoded, PingBatch, PingIn, on_earth
from api.wiring import House, house
from campaigns.deciding.snapshot import Snapshot
from geo.matching.pings import Outcome
from geo.matching.presence import Transition
from nearcast import failpoints
from nearcast.services.ids import public
from nearcast.services.manage_workspace import Scope
from nearcast.services.raw_pings import RawPings
from nearcast.services.read_inbox import message_json
from nearcast.services.take_pings import Receipt, match_only, take_pings
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction, reading

bp = Blueprint("pings", __name__)


class OutcomeOut(msgspec.Struct, omit_defaults=True):
    """What became of one ping of the batch."""

    index: int
    outcome: str
    ping_id: str | None = None
    reason: str | None = None
    detail: str | None = None


class FenceRef(msgspec.Struct):
    """The fence of a transition."""

    id: str
    external_id: str | None
    name: str
    tags: list[str]
    version: int


class TransitionOut(msgspec.Struct, omit_defaults=True):
    """Something that happened between a device and a fence."""

    ping_index: int
    kind: str
    fence: FenceRef
    at: str
    probability: float
    distance_m: float
    by: str
    initial: bool = False
    dwell_s: int | None = None


class PingsTaken(msgspec.Struct):
    """The receipt of a batch."""

    counts: dict[str, int]
    outcomes: list[OutcomeOut]
    transitions: list[TransitionOut]
    messages: list[dict[str, Any]]
    warnings: list[str]


class MatchOut(msgspec.Struct):
    """One fence near one ping."""

    ping_index: int
    fence: FenceRef
    verdict: str
    probability: float
    distance_m: float


class ContextOut(msgspec.Struct):
    """What `POST /v1/context` matched."""

    matches: list[MatchOut]
    warnings: list[str]


_answer = msgspec.json.Encoder()
_VERDICTS = {1: "in", 0: "undecided", -1: "out"}


@dataclass(frozen=True, kw_only=True)
class _AppBatch:
    """The items of one app: their rows in the request, and their columns."""

    app_id: int
    rows: Sequence[int]
    raw: RawPings


@bp.post("/v1/pings")
@needs("ingest")
def post_pings() -> Response:
    """Take pings: outcomes, transitions and messages come back (api.md, Pings)."""
    home, who = house(), principal()
    backfill = request.args.get("mode") == "backfill"
    if backfill:
        who.require(Scope.MANAGE)
    decoded = _decoded()
    apps = reading(home.engine, lambda conn: workspaces.apps_of(conn, who.workspace_id))
    batches = list(_by_app(decoded, who, apps, home))
    snapshot = home.snapshots.current(who.workspace_id, now_ms=home.clock.now_ms())
    receipts = _take(home, who, batches, snapshot, backfill=backfill)
    counts_only = request.args.get("detail") == "counts"
    taken = _taken(home, decoded, batches, receipts, snapshot, counts_only=counts_only)
    answer = _answer.encode(taken)
    failpoints.hit("ingest.before_answer")
    return Response(answer, mimetype="application/json")


@bp.post("/v1/context")
@needs("ingest")
def post_context() -> Response:
    """Match pings without keeping anything."""
    home, who = house(), principal()
    decoded = _decoded()
    readable = [row for row, item in enumerate(decoded.items) if item is not None and on_earth(item)]
    raw = ping_bodies.columns(decoded, readable, clock=home.clock)
    snapshot = home.snapshots.current(who.workspace_id, now_ms=home.clock.now_ms())
    hits, judged = match_only(raw, snapshot)
    columns = (hits.ping, hits.fence, judged.verdict, judged.p, judged.rim_m)
    matches = [
        MatchOut(
            ping_index=readable[ping],
            fence=_fence_ref(snapshot, fence),
            verdict=_VERDICTS[verdict],
            probability=round(p, 4),
            distance_m=round(rim_m, 2),
        )
        for ping, fence, verdict, p, rim_m in zip(*(c.tolist() for c in columns), strict=True)
    ]
    lost = dict.fromkeys(set(range(len(decoded.items))) - set(readable), "it lies outside the world")
    unreadable = [f"item {n} left out: {why}" for n, why in sorted((lost | decoded.faults).items())]
    out = ContextOut(matches=matches, warnings=unreadable + ping_bodies.warnings(decoded))
    return Response(_answer.encode(out), mimetype="application/json")


def openapi(spec: dict[str, Any]) -> None:
    """Add these routes, which APIFlask does not see, to the OpenAPI document."""
    models = [PingIn, PingBatch, PingsTaken, ContextOut]
    shown, components = msgspec.json.schema_components(
        models, ref_template="#/components/schemas/{name}"
    )
    spec.setdefault("components", {}).setdefault("schemas", {}).update(components)
    ping, batch, taken, context = shown
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [batch, ping]}},
            ping_bodies.NDJSON: {"schema": {"type": "string"}},
        },
    }
    for path, summary, answer in (
        ("/v1/pings", "Take pings", taken),
        ("/v1/context", "Match pings without keeping anything", context),
    ):
        spec["paths"].setdefault(path, {}).setdefault("post", {}).update(
            {
                "summary": summary,
                "tags": ["Pings"],
                "requestBody": body,
                "responses": {
                    "200": {
                        "description": "Taken",
                        "content": {"application/json": {"schema": answer}},
                    }
                },
            }
        )


def _decoded() -> Decoded:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    return ping_bodies.decode(ping_bodies.unpacked(body_bytes(), encoding), request.mimetype)


def _by_app(
    decoded: Decoded, who: Principal, apps: Mapping[str, int], home: House
) -> Iterator[_AppBatch]:
    """The items by app: mostly one; a key for all apps may mix them.

    Items that name no app of this key's are refused; they travel with the first app's.
    """
    only = next(iter(apps.values())) if len(apps) == 1 else None
    default = who.app_id or only
    host = default or next(iter(apps.values()))
    rows: dict[int, list[int]] = {}
    strangers = set()
    for row, item in enumerate(decoded.items):
        app_id = default if item is None or item.app is None else apps.get(item.app)
        if app_id is None or (who.app_id is not None and app_id != who.app_id):
            strangers.add(row)
            app_id = host
        rows.setdefault(app_id, []).append(row)
    for app_id, listed in rows.items():
        raw = ping_bodies.columns(decoded, listed, clock=home.clock, strangers=frozenset(strangers))
        yield _AppBatch(app_id=app_id, rows=listed, raw=raw)


def _take(
    home: House,
    who: Principal,
    batches: Sequence[_AppBatch],
    snapshot: Snapshot,
    *,
    backfill: bool,
) -> list[Receipt]:
    """All apps of a request in one transaction: a batch is applied whole or not at all."""

    def verb(conn: sa.Connection) -> list[Receipt]:
        recent = home.recent.catch_up(conn)
        return [
            take_pings(
                conn,
                batch.raw,
                app_id=batch.app_id,
                snapshot=snapshot,
                recent=recent,
                key_holds_consent=who.holds_location_consent,
                backfill=backfill,
            )
            for batch in batches
        ]

    receipts = in_transaction(home.engine, verb)
    failpoints.hit("ingest.after_commit")
    for batch, receipt in zip(batches, receipts, strict=True):
        taken = batch.raw.at_ms[receipt.admission.counts]
        if len(taken):
            home.clock.saw(int(taken.max()))
    return receipts


def _taken(
    home: House,
    decoded: Decoded,
    batches: Sequence[_AppBatch],
    receipts: Sequence[Receipt],
    snapshot: Snapshot,
    *,
    counts_only: bool,
) -> PingsTaken:
    outcomes: list[OutcomeOut] = []
    transitions: list[TransitionOut] = []
    messages: list[dict[str, Any]] = []
    counts = Counter({outcome.name.lower(): 0 for outcome in reversed(Outcome)})
    for batch, receipt in zip(batches, receipts, strict=True):
        listed = list(_outcomes(decoded, batch, receipt))
        counts.update(out.outcome for out in listed)
        outcomes += [out for out in listed if not counts_only or out.outcome == "rejected"]
        if not counts_only:
            transitions += [_transition(batch, snapshot, t) for t in receipt.transitions]
            messages += [
                message_json(row, link_secret=home.link_secret, public_url=home.public_url)
                for row in receipt.messages
            ]
    return PingsTaken(
        counts=dict(counts),
        outcomes=sorted(outcomes, key=lambda out: out.index),
        transitions=transitions,
        messages=messages,
        warnings=ping_bodies.warnings(decoded),
    )


def _outcomes(decoded: Decoded, batch: _AppBatch, receipt: Receipt) -> Iterator[OutcomeOut]:
    admission = receipt.admission
    for place, (row, code) in enumerate(zip(batch.rows, admission.outcome.tolist(), strict=True)):
        item = decoded.items[row]
        reason = admission.reason.get(place)
        yield OutcomeOut(
            index=row,
            outcome=Outcome(code).name.lower(),
            ping_id=item.ping_id if item is not None else None,
            reason=reason.value if reason is not None else None,
            detail=decoded.faults.get(row),
        )


def _transition(batch: _AppBatch, snapshot: Snapshot, found: Transition) -> TransitionOut:
    return TransitionOut(
        ping_index=batch.rows[found.ping],
        kind=found.kind.value,
        fence=_fence_ref(snapshot, found.fence),
        at=rfc3339(found.at_ms),
        probability=round(found.p, 4),
        distance_m=round(found.rim_m, 2),
        by=found.cause.value,
        initial=found.initial,
        dwell_s=found.dwell_s,
    )


def _fence_ref(snapshot: Snapshot, row: int) -> FenceRef:
    version = snapshot.index.versions[row]
    return FenceRef(
        id=public("fnc", version.fence_id),
        external_id=version.fence.external_id,
        name=version.fence.name,
        tags=list(version.fence.tags),
        version=version.version,
    )
