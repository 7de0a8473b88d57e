"""Tracked links: which delivery a click belongs to, signed so that none can be made up (product M6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from geo.errors import NearcastError

#: a token is this version, 8 bytes of delivery serial and 16 bytes of HMAC-SHA256 over both
VERSION = 1
_SERIAL_BYTES = 8
_MAC_BYTES = 16  # truncated to 128 bits: RFC 2104 §5 asks for at least 80
_TOKEN_BYTES = 1 + _SERIAL_BYTES + _MAC_BYTES
#: the secret signs other things too; what is signed here says that it is a link
_PURPOSE = b"nearcast tracked link"


class BadLink(NearcastError):
    """This link was not made here, or it was damaged on the way."""

    code = "bad_link"


def token_of(delivery_id: int, secret: bytes) -> str:
    """The token of a delivery's tracked link: 34 URL-safe characters, the same each time.

    Args:
        delivery_id: serial, 0 up to 2**63 - 1.
        secret: the installation's link secret, at least 16 bytes.
    """
    head = bytes([VERSION]) + delivery_id.to_bytes(_SERIAL_BYTES, "big")
    return base64.urlsafe_b64encode(head + _mac(head, secret)).rstrip(b"=").decode("ascii")


def delivery_of(token: str, secret: bytes) -> int:
    """The delivery that a token names.

    Raises:
        BadLink: no token of ours: another length, alphabet, version, signature, or a second spelling
            of a good one (base64 leaves four bits unused).
    """
    try:
        raw = base64.b64decode(token.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise BadLink from None
    if len(raw) != _TOKEN_BYTES or raw[0] != VERSION:
        raise BadLink
    head = raw[: 1 + _SERIAL_BYTES]
    delivery_id = int.from_bytes(head[1:], "big")
    # comparing whole tokens, not MACs, also refuses a second spelling
    if not hmac.compare_digest(token_of(delivery_id, secret), token):
        raise BadLink
    return delivery_id


def tracked_link(delivery_id: int, *, link: str | None, secret: bytes, public_url: str) -> str | None:
    """What people are given in place of a link: it counts the click and leads on to the link.

    Args:
        link: the target; without one there is nothing to track, and the answer is None.
        public_url: where this service is reached from outside, with or without a slash at its end.
    """
    if not link:
        return None
    return f"{public_url.rstrip('/')}/r/{token_of(delivery_id, secret)}"


def _mac(head: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + head, hashlib.sha256)[:_MAC_BYTES]
