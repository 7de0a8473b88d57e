"""Who a ping names (product W0, P9)."""

from __future__ import annotations

import pytest

from campaigns.people.identity import identify, normal_ad_id, person_of

AD_ID = "38400000-8cf0-11bd-b23e-10b96e40000d"


@pytest.mark.parametrize(
    "raw",
    [None, "", "  ", "0", "0000", "00000000-0000-0000-0000-000000000000", "-", "0-0", " 00000000-0000 "],
)
def test_zeros_and_nothing_are_no_ad_id(raw):
    assert normal_ad_id(raw) is None
    assert identify(device_id=None, ad_id=raw).key is None


def test_an_ad_id_has_one_form():
    assert normal_ad_id(f" {AD_ID.upper()} ") == AD_ID
    assert normal_ad_id("x" * 100) == "x" * 64


def test_a_device_id_wins_over_the_ad_id():
    who = identify(device_id=" phone ", ad_id=AD_ID, user_id=" ")
    assert (who.key, who.ad_id, who.user_id) == ("phone", AD_ID, None)
    assert identify(device_id=" ", ad_id=AD_ID).key == f"adid:{AD_ID}"


def test_a_person_is_the_user_where_there_is_one():
    assert person_of(device_id=7, user_id="u") == "u:u"
    assert person_of(device_id=7, user_id=None) == "d:7"
