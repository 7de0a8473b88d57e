"""`POST /v1/pings`: bytes to columns and a receipt to JSON. A raw route: msgspec, no pydantic."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import numpy as np
import sqlalchemy as sa
from flask import Blueprint, Response, request

from api.auth import Principal, needs, principal
from api.problems import BodyTooLarge, MalformedBody
from api.wiring import House, house
from campaigns.people.identity import Identity, identify
from geo.matching.pings import Outcome, PingReason, Platform
from geo.matching.presence import Transition
from nearcast.services.ids import public
from nearcast.services.read_inbox import message_json
from nearcast.services.take_pings import RawPings, Receipt, match_only, take_pings
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction, reading

MAX_BODY_BYTES = 8 << 20  # quality Q5, on the wire and unpacked
MAX_PINGS = 10_000
MAX_DEPTH = 32
NDJSON = "application/x-ndjson"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_PLATFORMS = {"android": Platform.ANDROID, "ios": Platform.IOS, "web": Platform.WEB}

bp = Blueprint("pings", __name__)


class Consent(msgspec.Struct, gc=False):
    """What the person has agreed to, as this ping says it; absent = nothing said."""

    location: bool | None = None
    marketing: bool | None = None
    night: bool | None = None


class PingIn(msgspec.Struct, gc=False):
    """One ping as a backend posts it."""

    lat: float
    lng: float
    device_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    ad_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    ad_id_type: Annotated[str, msgspec.Meta(max_length=16)] | None = None
    app: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    ping_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    accuracy_m: float | None = None
    platform: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    speed_mps: float | None = None
    mocked: bool = False
    user_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    consent: Consent | None = None


class _StrictConsent(Consent, forbid_unknown_fields=True, gc=False): ...


class _StrictPing(PingIn, forbid_unknown_fields=True, gc=False):
    consent: _StrictConsent | None = None


class PingBatch(msgspec.Struct):
    """Up to 10,000 pings; `sent_at` is taken and never moves `at`."""

    pings: Annotated[list[PingIn], msgspec.Meta(max_length=MAX_PINGS)]
    sent_at: str | None = None


class _StrictBatch(msgspec.Struct, forbid_unknown_fields=True):
    pings: list[_StrictPing]
    sent_at: str | None = None


class _RawBatch(msgspec.Struct):
    pings: list[msgspec.Raw]


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


class MessageOut(msgspec.Struct):
    """A message for the app to show."""

    delivery_id: str
    campaign_id: str
    channel: str
    title: str
    body: str
    image: str | None
    link: str | None


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


@dataclass
class _Decoded:
    """The items of a body; an unreadable one is None and has its fault in `faults`."""

    items: Sequence[PingIn | None]
    faults: dict[int, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)


_strict_batch = msgspec.json.Decoder(_StrictBatch)
_raw_batch = msgspec.json.Decoder(_RawBatch)
_one = msgspec.json.Decoder(PingIn)
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw])
_answer = msgspec.json.Encoder()
_KNOWN = frozenset(PingIn.__struct_fields__)


@bp.post("/v1/pings")
@needs("ingest")
def post_pings() -> Response:
    """Take pings: outcomes, transitions and messages come back (api.md, Pings)."""
    home, who = house(), principal()
    backfill = request.args.get("mode") == "backfill"
    if backfill:
        who.require("manage")
    decoded = _decode(_body())
    apps = reading(home.engine, lambda conn: workspaces.apps_of(conn, who.workspace_id))
    batches = list(_by_app(decoded, who, apps, home))
    receipts = _take(home, who, batches, backfill=backfill)
    counts_only = request.args.get("detail") == "counts"
    taken = _taken(home, decoded, batches, receipts, counts_only=counts_only)
    return Response(_answer.encode(taken), mimetype="application/json")


@bp.post("/v1/context")
@needs("ingest")
def post_context() -> Response:
    """Match pings without keeping anything."""
    home, who = house(), principal()
    decoded = _decode(_body())
    raw = _columns(decoded, range(len(decoded.items)), home)
    snapshot = home.snapshots.current(who.workspace_id, now_ms=home.clock.now_ms())
    hits, judged = match_only(raw, snapshot)
    verdicts = {1: "in", 0: "undecided", -1: "out"}
    matches = [
        MatchOut(
            ping_index=ping,
            fence=_fence_ref(snapshot, fence),
            verdict=verdicts[verdict],
            probability=round(p, 4),
            distance_m=round(rim_m, 2),
        )
        for ping, fence, verdict, p, rim_m in zip(
            hits.ping.tolist(),
            hits.fence.tolist(),
            judged.verdict.tolist(),
            judged.p.tolist(),
            judged.rim_m.tolist(),
            strict=True,
        )
    ]
    out = ContextOut(matches=matches, warnings=_warnings(decoded))
    return Response(_answer.encode(out), mimetype="application/json")


# --- bytes to items ---------------------------------------------------------------------------------


def _body() -> bytes:
    """The body, unpacked; both sizes are bounded, and nothing is cut silently."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise BodyTooLarge
    body = request.stream.read(MAX_BODY_BYTES + 1)
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "gzip":
        body = _gunzip(body)
    elif encoding != "identity":
        raise MalformedBody(f"Content-Encoding '{encoding}' is not known here; send gzip or none.")
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    return body


def _gunzip(packed: bytes) -> bytes:
    unpack = zlib.decompressobj(wbits=31)
    try:
        body = unpack.decompress(packed, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise MalformedBody(f"The gzip body is damaged: {error}.") from error
    if not unpack.eof and len(body) <= MAX_BODY_BYTES:
        raise MalformedBody("The gzip body ends too early; was it cut on the way?")
    return body


def _decode(body: bytes) -> _Decoded:
    """The items of a JSON object, a JSON batch or NDJSON lines."""
    if request.mimetype == NDJSON:
        lines = [line for line in body.split(b"\n") if line.strip()]
        return _decode_items([msgspec.Raw(line) for line in lines])
    try:
        return _Decoded(items=_bounded(_strict_batch.decode(body).pings))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _decode_loosely(body)


def _decode_loosely(body: bytes) -> _Decoded:
    """Item by item, so that one bad item spoils nothing but itself."""
    try:
        envelope = _keys.decode(body)
        if "pings" not in envelope:
            return _decode_items([msgspec.Raw(body)])
        decoded = _decode_items(_raw_batch.decode(body).pings)
    except msgspec.ValidationError as error:
        raise MalformedBody(f"The body is not a ping or a batch of pings: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The body is no JSON: {error}.") from error
    except RecursionError as error:
        raise MalformedBody(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
    decoded.unknown.update(set(envelope) - {"pings", "sent_at"})
    return decoded


def _decode_items(raws: Sequence[msgspec.Raw]) -> _Decoded:
    decoded = _Decoded(items=[])
    items: list[PingIn | None] = []
    for index, raw in enumerate(_bounded(raws)):
        try:
            items.append(_one.decode(raw))
            decoded.unknown.update(_keys.decode(raw).keys() - _KNOWN)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            items.append(None)
            decoded.faults[index] = str(error)
    decoded.items = items
    return decoded


def _bounded(items: Sequence[Any]) -> Sequence[Any]:
    if len(items) > MAX_PINGS:
        raise BodyTooLarge(
            f"{len(items):,} pings in one request; send at most {MAX_PINGS:,} and split the rest."
        )
    return items


# --- items to columns -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _AppBatch:
    app_id: int
    rows: Sequence[int]
    raw: RawPings


def _by_app(
    decoded: _Decoded, who: Principal, apps: dict[str, int], home: House
) -> Iterator[_AppBatch]:
    """The batch by app: mostly one; a key for all apps may mix them."""
    own = who.app_id or (next(iter(apps.values())) if len(apps) == 1 else None)
    rows: dict[int | None, list[int]] = {}
    for row, item in enumerate(decoded.items):
        named = apps.get(item.app) if item is not None and item.app is not None else own
        foreign = named is None or (who.app_id is not None and named != who.app_id)
        rows.setdefault(None if foreign else named, []).append(row)
    strangers = rows.pop(None, [])
    if strangers and not rows:
        rows[own or next(iter(apps.values()))] = []
    for place, (app_id, listed) in enumerate(rows.items()):
        if app_id is None:
            continue
        taken = sorted(listed + strangers) if place == 0 else listed
        raw = _columns(decoded, taken, home, strangers=frozenset(strangers))
        yield _AppBatch(app_id=app_id, rows=taken, raw=raw)


def _columns(
    decoded: _Decoded,
    rows: Sequence[int],
    home: House,
    strangers: frozenset[int] = frozenset(),
) -> RawPings:
    items = [decoded.items[row] for row in rows]
    refused = {
        place: PingReason.INVALID_ITEM if item is None else PingReason.APP_UNKNOWN
        for place, (row, item) in enumerate(zip(rows, items, strict=True))
        if item is None or row in strangers
    }
    filled = [item or PingIn(lat=0.0, lng=0.0) for item in items]
    wall_ms = home.clock.now_ms()
    at_ms = np.array(
        [wall_ms if item.at is None else (item.at - _EPOCH) // _MS for item in filled], np.int64
    )
    readable = np.array([item is not None for item in items], bool)
    seen_ms = np.where(readable, at_ms, at_ms.min(initial=wall_ms))
    return RawPings(
        who=[_who(item) for item in filled],
        lon=np.array([item.lng for item in filled], np.float64),
        lat=np.array([item.lat for item in filled], np.float64),
        accuracy_m=np.array(
            [np.nan if item.accuracy_m is None else item.accuracy_m for item in filled], np.float64
        ),
        at_ms=at_ms,
        now_ms=home.clock.as_seen(seen_ms),
        platform=np.array(
            [_PLATFORMS.get((item.platform or "").lower(), Platform.ANDROID) for item in filled],
            np.int8,
        ),
        mocked=np.array([item.mocked for item in filled], bool),
        refused=refused,
    )


def _who(item: PingIn) -> Identity:
    said = item.consent or Consent()
    return identify(
        device_id=item.device_id,
        ad_id=item.ad_id,
        user_id=item.user_id,
        location=said.location,
        marketing=said.marketing,
        night=said.night,
    )


# --- take and answer --------------------------------------------------------------------------------


def _take(
    home: House, who: Principal, batches: Sequence[_AppBatch], *, backfill: bool
) -> list[Receipt]:
    """All apps of a request in one transaction: a batch is applied whole or not at all."""
    snapshot = home.snapshots.current(who.workspace_id, now_ms=home.clock.now_ms())

    def verb(conn: sa.Connection) -> list[Receipt]:
        return [
            take_pings(
                conn,
                batch.raw,
                app_id=batch.app_id,
                snapshot=snapshot,
                recent=home.recent,
                key_holds_consent=who.holds_location_consent,
                backfill=backfill,
            )
            for batch in batches
        ]

    receipts = in_transaction(home.engine, verb)
    for batch, receipt in zip(batches, receipts, strict=True):
        taken = batch.raw.at_ms[receipt.admission.counts]
        if len(taken):
            home.clock.saw(int(taken.max()))
    return receipts


def _taken(
    home: House,
    decoded: _Decoded,
    batches: Sequence[_AppBatch],
    receipts: Sequence[Receipt],
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
            transitions += [_transition(batch, receipt, home, t) for t in receipt.transitions]
            messages += [
                message_json(row, link_secret=home.link_secret, public_url=home.public_url)
                for row in receipt.messages
            ]
    return PingsTaken(
        counts=dict(counts),
        outcomes=sorted(outcomes, key=lambda out: out.index),
        transitions=transitions,
        messages=messages,
        warnings=_warnings(decoded),
    )


def _outcomes(decoded: _Decoded, batch: _AppBatch, receipt: Receipt) -> Iterator[OutcomeOut]:
    admission = receipt.admission
    for place, (row, code) in enumerate(
        zip(batch.rows, admission.outcome.tolist(), strict=True)
    ):
        item = decoded.items[row]
        reason = admission.reason.get(place)
        yield OutcomeOut(
            index=row,
            outcome=Outcome(code).name.lower(),
            ping_id=item.ping_id if item is not None else None,
            reason=reason.value if reason is not None else None,
            detail=decoded.faults.get(row),
        )


def _transition(
    batch: _AppBatch, receipt: Receipt, home: House, found: Transition
) -> TransitionOut:
    return TransitionOut(
        ping_index=batch.rows[found.ping],
        kind=found.kind.value,
        fence=_fence_ref(receipt.snapshot, found.fence),
        at=_rfc3339(found.at_ms),
        probability=round(found.p, 4),
        distance_m=round(found.rim_m, 2),
        by=found.cause.value,
        initial=found.initial,
        dwell_s=found.dwell_s,
    )


def _fence_ref(snapshot: Any, row: int) -> FenceRef:
    version = snapshot.index.versions[row]
    return FenceRef(
        id=public("fnc", version.fence_id),
        external_id=version.fence.external_id,
        name=version.fence.name,
        tags=list(version.fence.tags),
        version=version.version,
    )


def _rfc3339(at_ms: int) -> str:
    return (_EPOCH + at_ms * _MS).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _warnings(decoded: _Decoded) -> list[str]:
    return [
        f"unknown field '{name}' in {times} item{'s' if times > 1 else ''}: left out"
        for name, times in sorted(decoded.unknown.items())
    ]
