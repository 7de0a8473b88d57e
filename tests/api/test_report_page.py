"""The page at `/`: every number with its base, nothing unescaped, nothing a strict policy refuses."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest

from api.console.picture import MapFence, map_svg
from campaigns.deciding.gates import SENDS, Reason

CONSOLE = Path(__file__).parents[2] / "api" / "console"
VOID = {"meta", "link"}


class Reader(HTMLParser):
    """The page's text and elements; fails on tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def sample(**changes: Any) -> dict[str, Any]:
    fence = MapFence(name="명동1호점", lon=126.985, lat=37.5636, radius_m=100.0, value=12.0)
    return {
        "lang": "ko",
        "static_url": "/static",
        "docs_url": "/docs",
        "other_lang_url": "/?lang=en",
        "demo": True,
        "campaign": {"name": "가을 쿠폰", "state": "running"},
        "period": "2026-11-23 – 2026-11-24",
        "as_of": "2026-11-24 14:02:10 KST",
        "totals": {
            "people_seen": 18_530,
            "targets": 1_204,
            "receivers": 1_100,
            "clickers": 143,
            "visits": 77,
            "visitors": 61,
            "response_low": 0.111,
            "response_high": 0.151,
        },
        "per_day": [
            {"day": date(2026, 11, 23), "targets": 900, "receivers": 800, "clickers": 90, "visits": 40},
            {"day": date(2026, 11, 24), "targets": 700, "receivers": 400, "clickers": 53, "visits": 20},
        ],
        "per_fence": [
            {
                "name": "명동1호점",
                "brand": None,
                "targets": 9,
                "receivers": 8,
                "clickers": 2,
                "visits": 4,
            },
            {
                "name": "성수2호점",
                "brand": "소담결",
                "targets": 3,
                "receivers": 0,
                "clickers": 0,
                "visits": 1,
            },
        ],
        "fences_total": 317,
        "reasons": [{"code": "frequency_capped", "count": 300}, {"code": "outside_hours", "count": 75}],
        "decisions_total": 1_500,
        "downloads": [
            {"label": "XLSX", "url": "/report.xlsx?a=1&b=2"},
            {"label": "CSV", "url": "/r.csv"},
        ],
        "map_svg": map_svg(fences=[fence]),
        **changes,
    }


def render(**changes: Any) -> str:
    # what Flask does, and stricter: a variable that the page needs and nobody gives fails here
    loader = jinja2.FileSystemLoader(CONSOLE / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return pages.get_template("report.html").render(sample(**changes))


def test_the_headline_numbers_carry_their_base() -> None:
    text = Reader(render()).text.replace("\xa0", " ")
    for said in (
        *("1,204", "이 기간에 위치가 온 18,530명 중", "6.5 %"),
        *("1,100", "타깃 1,204명 중", "91.4 %"),
        *("143", "수신 1,100명 중"),
        *("13.0 %", "클릭 143명 ÷ 수신 1,100명", "95 % 구간 11.1 % – 15.1 %"),
        *("77", "수신 1,100명 중 61명이 방문"),
        *("2026-11-24 14:02:10 KST 기준", "판단 1,500건 중 375건 (25.0 %)", "2곳 / 전체 317곳"),
    ):
        assert said in text


def test_english_says_the_same() -> None:
    page = render(lang="en", other_lang_url="/?lang=ko")
    text = Reader(page).text.replace("\xa0", " ")
    for said in (
        *("of 18,530 people seen in the period", "of 1,204 targets", "by 61 of 1,100 receivers"),
        *("as of 2026-11-24 14:02:10 KST", "375 of 1,500 decisions (25.0 %)", "한국어"),
    ):
        assert said in text
    assert '<html lang="en">' in page


def test_no_interval_where_none_is_known() -> None:
    totals = {**sample()["totals"], "response_low": None, "response_high": None}
    assert "구간" not in render(totals=totals)


def test_nothing_given_by_a_user_becomes_markup() -> None:
    evil = "<script>alert('x')</script>\"><img src=x onerror=y>"
    row = {"name": evil, "brand": evil, "targets": 1, "receivers": 1, "clickers": 1, "visits": 1}
    picture = map_svg(fences=[MapFence(name=evil, lon=127.0, lat=37.5, radius_m=100.0, value=1.0)])
    page = render(
        campaign={"name": evil, "state": evil},
        period=evil,
        as_of=evil,
        per_fence=[row],
        reasons=[{"code": evil, "count": 1}],
        downloads=[{"label": evil, "url": evil}],
        docs_url=evil,
        map_svg=picture,
    )
    reader = Reader(page)
    assert not {tag for tag, _ in reader.seen} & {"script", "img"}
    assert evil in "".join(reader.words)


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_the_page_passes_a_policy_without_unsafe_inline(lang: str) -> None:
    for tag, attributes in Reader(render(lang=lang)).seen:
        assert tag not in {"script", "style", "iframe", "form"}
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            assert not (attributes.get(name) or "").startswith(("http", "//", "data:", "javascript:"))


def test_bars_are_as_long_as_their_numbers() -> None:
    bars = [
        a for tag, a in Reader(render()).seen if tag == "rect" and "bar-fill" in (a.get("class") or "")
    ]
    widths = [float(bar["width"] or "nan") for bar in bars]
    # by day receivers and visits in turn, then reasons, then fences
    assert widths == [100.0, 100.0, 50.0, 50.0, 100.0, 25.0, 100.0, 25.0]


def test_a_campaign_without_results_says_what_to_expect() -> None:
    nothing = dict.fromkeys(("people_seen", "targets", "receivers", "clickers", "visits", "visitors"), 0)
    page = render(
        totals={**nothing, "response_low": None, "response_high": None},
        per_day=[],
        per_fence=[],
        reasons=[],
        downloads=[],
        demo=False,
        decisions_total=0,
        map_svg=map_svg(fences=[]),
    )
    text = Reader(page).text
    assert "아직 기록이 없어요" in text
    assert "아직 방문이 없어요" in text
    assert "보내지 않은 판단이 없어요" in text
    assert "데모" not in text
    assert "–" in text


def test_days_without_any_count_draw_no_bar() -> None:
    quiet = {"day": date(2026, 11, 23), "targets": 0, "receivers": 0, "clickers": 0, "visits": 0}
    bars = [
        attributes["width"]
        for tag, attributes in Reader(render(per_day=[quiet], reasons=[], per_fence=[])).seen
        if tag == "rect" and "bar-fill" in (attributes.get("class") or "")
    ]
    assert bars == ["0.0", "0.0"]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_every_reason_we_give_has_words(lang: str) -> None:
    codes = [reason.value for reason in Reason if reason not in SENDS]
    page = render(lang=lang, reasons=[{"code": code, "count": 1} for code in codes])
    cells = re.findall(r'<th scope="row">([^<]*)<code>([^<]*)</code>', page)
    assert [code for _, code in cells] == codes
    assert all(words and words != code for words, code in cells)


def test_the_stylesheet_knows_every_class_and_fetches_nothing() -> None:
    css = (CONSOLE / "static" / "console.css").read_text()
    assert "url(" not in css
    assert "@import" not in css
    named = set(re.findall(r"\.([a-z][a-z0-9-]*)", css))
    page = render(map_svg=map_svg(fences=[MapFence(name="가", lon=127.0, lat=37.5, radius_m=100.0)]))
    used = {name for _, a in Reader(page).seen for name in (a.get("class") or "").split()}
    assert used <= named
    defined = set(re.findall(r"^ +(--[a-z0-9-]+):", css, re.MULTILINE))
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", css)) <= defined
