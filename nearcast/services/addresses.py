"""Web addresses that users give: links, images, webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

MAX_ADDRESS = 2_048


def is_web_address(text: str, *, schemes: Sequence[str] = ("http", "https")) -> bool:
    """Whether a text is an absolute address with a host, without user name, blanks and controls."""
    if len(text) > MAX_ADDRESS or any(c <= " " or c == "\x7f" for c in text):
        return False  # urlsplit would drop line breaks without a word
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in schemes
