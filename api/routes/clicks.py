"""`GET /r/<token>`: a tracked link. No key: the token is signed (product M6, quality Q15)."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, redirect, request

from api.wiring import house
from campaigns.messages.links import BadLink
from nearcast.services.errors import NotFound
from nearcast.services.take_clicks import take_click, target_of
from nearcast.store.engine import in_transaction, reading

bp = APIBlueprint("clicks", __name__, tag="Links")

#: headers by which browsers say that nobody has clicked yet
_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
#: a link with line breaks would break its header; browsers leave these out as well (WHATWG URL)
_DROPPED = dict.fromkeys(map(ord, "\t\r\n"))


@bp.get("/r/<token>")
@bp.doc(responses={302: "To where the message's link leads"})
def follow(token: str) -> Response:
    """Open a message's link: the click is counted once, then the link is followed

    Its target is what the campaign stored, whatever the address says. A HEAD and a prefetch count
    nothing.
    """
    home = house()
    try:
        serial, target = reading(
            home.engine, lambda conn: target_of(conn, token, secret=home.link_secret)
        )
    except BadLink as error:
        raise NotFound("This link leads nowhere: it was damaged on the way, or never ours.") from error
    if _is_click():
        now_ms = home.clock.now_ms()
        in_transaction(home.engine, lambda conn: take_click(conn, serial, now_ms=now_ms))
    answer = Response(status=302)
    answer.headers["Location"] = redirect(target.translate(_DROPPED)).headers["Location"]
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _is_click() -> bool:
    """Whether somebody opens the link now, as far as the request tells."""
    said = " ".join(request.headers.get(name, "") for name in _PURPOSES).lower()
    return request.method == "GET" and not any(
        word in said for word in ("prefetch", "prerender", "preview")
    )
