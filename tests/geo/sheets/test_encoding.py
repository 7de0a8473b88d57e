"""Bytes → text: which encoding, and never a wrong one quietly."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.sheets.encoding import ENCODINGS, decode
from geo.sheets.problems import SheetRefused

KOREAN = "이름,위도,경도\r\n강남역점,37.4979,127.0276\r\n"


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (KOREAN.encode(), KOREAN, "utf-8"),
        (codecs.BOM_UTF8 + KOREAN.encode(), KOREAN, "utf-8-sig"),
        (KOREAN.encode("cp949"), KOREAN, "cp949"),
        (KOREAN.encode("euc-kr"), KOREAN, "cp949"),
        (KOREAN.encode("utf-16"), KOREAN, "utf-16"),
        (codecs.BOM_UTF16_BE + KOREAN.encode("utf-16-be"), KOREAN, "utf-16"),
        (KOREAN.encode("utf-16-le"), KOREAN, "utf-16-le"),
        (KOREAN.encode("utf-16-be"), KOREAN, "utf-16-be"),
        (b"name,lat\n", "name,lat\n", "utf-8"),
        ("name\nZürich café\n".encode("cp1252"), "name\nZürich café\n", "cp1252"),
    ],
)
def test_encoding_is_found(data: bytes, text: str, encoding: str) -> None:
    decoded = decode(data)
    assert (decoded.text, decoded.encoding) == (text, encoding)


@pytest.mark.parametrize("word", ["똠방각하", "펲시콜라", "뷁", "갂"])
def test_syllables_outside_euc_kr_survive_cp949(word: str) -> None:
    # Python's euc_kr codec writes 똠 and 펲 as 8-byte made-up sequences
    assert decode(f"{word},1\n".encode("cp949")).text == f"{word},1\n"


@given(st.lists(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=2, max_size=2))
def test_two_syllables_in_utf8_are_never_read_as_cp949(syllables: list[str]) -> None:
    word = "".join(syllables)
    assert decode(word.encode()).text == word


def test_a_named_encoding_overrules_what_would_be_found() -> None:
    for text, codec, name in (
        ("名前,緯度\r\n新宿,35.6\r\n", "cp932", "Shift_JIS"),
        ("Название;Широта\nМосква\n", "cp1251", "cp1251"),
    ):
        data = text.encode(codec)
        # CP949 takes these bytes too, which is why what was found is shown
        assert decode(data).encoding == "cp949"
        assert decode(data, encoding=name).text == text
    assert decode(KOREAN.encode("cp949"), encoding="EUC-KR").encoding == "cp949"


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_named_encoding_exists(name: str) -> None:
    assert decode("a,1\n".encode(ENCODINGS[name]), encoding=name).text == "a,1\n"


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        (b"a,b", "klingon", "'klingon'"),
        (b"abc\xff", "utf-8", "(utf-8, byte 4)"),
        (codecs.BOM_UTF16_LE + b"a", None, "(utf-16, byte 3)"),
    ],
)
def test_what_fits_no_encoding_is_refused_with_the_place(
    data: bytes, encoding: str | None, said: str
) -> None:
    with pytest.raises(SheetRefused) as refused:
        decode(data, encoding=encoding)
    assert refused.value.code == "unknown_encoding"
    assert said in refused.value.message
    assert said in refused.value.text("ko")


def _code(data: bytes) -> str | None:
    try:
        decoded = decode(data)
    except SheetRefused as refused:
        return refused.code
    # what was found is what decodes the bytes, to the last one
    assert decoded.text == data.decode(decoded.encoding)
    return None


@given(st.binary(max_size=400))
def test_any_bytes_give_text_or_a_refusal(data: bytes) -> None:
    assert _code(data) in (None, "unknown_encoding", "not_a_sheet")
