"""Tracked links: a token names one delivery, and none but ours is taken."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaigns.messages.links import BadLink, delivery_of, token_of, tracked_link

SECRET = b"0123456789abcdef0123456789abcdef"
SERIALS = st.integers(0, 2**63 - 1)


@given(SERIALS)
@example(0)
@example(2**63 - 1)
def test_a_token_leads_back_to_its_delivery(serial: int) -> None:
    token = token_of(serial, SECRET)
    assert delivery_of(token, SECRET) == serial
    assert token == token_of(serial, SECRET)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")


@given(SERIALS, st.integers(0, 33), st.integers(1, 63))
def test_no_character_of_a_token_may_change(serial: int, place: int, step: int) -> None:
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    token = token_of(serial, SECRET)
    other = letters[(letters.index(token[place]) + step) % 64]
    with pytest.raises(BadLink):
        delivery_of(token[:place] + other + token[place + 1 :], SECRET)


def test_the_serial_cannot_be_swapped_under_a_signature() -> None:
    ours = base64.urlsafe_b64decode(token_of(7, SECRET) + "==")
    forged = ours[:1] + (8).to_bytes(8, "big") + ours[9:]
    with pytest.raises(BadLink):
        delivery_of(base64.urlsafe_b64encode(forged).rstrip(b"=").decode(), SECRET)


def test_another_installations_token_is_refused() -> None:
    with pytest.raises(BadLink):
        delivery_of(token_of(7, b"another secret of 32 bytes......"), SECRET)


def test_another_version_is_refused() -> None:
    ours = base64.urlsafe_b64decode(token_of(7, SECRET) + "==")
    with pytest.raises(BadLink):
        delivery_of(base64.urlsafe_b64encode(b"\x02" + ours[1:]).rstrip(b"=").decode(), SECRET)


@pytest.mark.parametrize("text", ["", "x", "한글", "a" * 33, "a" * 10_000, "../../etc", "%00"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadLink):
        delivery_of(text, SECRET)


@pytest.mark.parametrize("more", ["=", "==", " ", "\n", "A"])
def test_nothing_may_stand_behind_a_token(more: str) -> None:
    with pytest.raises(BadLink):
        delivery_of(token_of(7, SECRET) + more, SECRET)


def test_a_message_without_a_link_has_no_tracked_one() -> None:
    assert tracked_link(7, link=None, secret=SECRET, public_url="https://near.example") is None
    assert tracked_link(7, link="", secret=SECRET, public_url="https://near.example") is None


@pytest.mark.parametrize("base", ["https://near.example/geo", "https://near.example/geo/"])
def test_a_tracked_link_stands_below_the_public_url(base: str) -> None:
    found = tracked_link(7, link="https://shop.example/?utm_source=x", secret=SECRET, public_url=base)
    assert found == f"https://near.example/geo/r/{token_of(7, SECRET)}"
