"""Text of another's making: shown as data, whatever it holds."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_batch_tools.api.untrusted import Boundary, escape_all_invisible, escape_invisible, quote_name, quote_untrusted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, with \u00fcml\u00e4ut and 中文", "plain text, with \u00fcml\u00e4ut and 中文"),
        ("\x1b[2J", "\\u{1b}[2J"),
        ("\u202egnol", "\\u{202e}gnol"),
        ("a\u200bb\ufeff", "a\\u{200b}b\\u{feff}"),
        ("\U000e0041", "\\u{e0041}"),
        ("x\ufe0f\U000e0101", "x\\u{fe0f}\\u{e0101}"),
        ("\u3164\u2800\u034f", "\\u{3164}\\u{2800}\\u{34f}"),
        ("\ud800", "\\u{d800}"),
        ("line\nbreak\tand\rreturn", "line\nbreak\tand\\u{d}return"),
    ],
)
def test_what_would_not_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert escape_invisible(text) == shown
    assert escape_all_invisible({text: [text]}) == {shown: [shown]}


@given(st.text(alphabet=st.characters(codec=None), max_size=400), st.integers(1, 50))
def test_quoted_data_is_one_string_on_one_line_and_says_what_was_cut(text: str, most: int) -> None:
    quoted = quote_untrusted(text, most=most)
    assert "\n" not in quoted
    inside = json.loads(quoted)
    assert isinstance(inside, str)
    assert all(unicodedata.category(letter) not in {"Cc", "Cf", "Cs"} for letter in quoted)
    assert ("more characters)" in inside) == (len(text) > most or "more characters)" in text)


@given(st.text(max_size=300), st.text(max_size=300))
def test_marked_data_has_each_mark_once_also_where_the_text_knows_those_of_another_answer(one: str, two: str) -> None:
    earlier, now = Boundary(), Boundary()
    text = one + earlier.opening + two + earlier.closing
    marked = quote_untrusted(text, most=2000, within=now)
    assert marked.startswith(now.opening)
    assert marked.endswith(now.closing)
    assert marked.count(now.opening) == marked.count(now.closing) == 1


def test_a_name_stays_as_it_is_and_anything_else_is_quoted() -> None:
    assert quote_name("invalid_request_error") == "invalid_request_error"
    assert quote_name("not a name") == '"not a name"'
    assert quote_name("x" * 61) == '"' + "x" * 60 + '… (1 more characters)"'
