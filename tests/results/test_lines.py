"""A line is counted by one way and shown by another; both must come to the same outcome."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_batch_tools.results.lines import InvalidLine, LineFacts, decode_line, parse_line
from mcp_batch_tools.results.summary import ResultSummary
from tests.support.seeds import rounds

HOSTILE = [
    b"null",
    b"true",
    b"0",
    b"-1",
    b"-0",
    b"1.0",
    b"1e3",
    b"1e999",
    b"01",
    b"1.",
    b"9" * 30,
    b"9" * 5000,
    b"NaN",
    b"-Infinity",
    b'""',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\u12G4"',
    b'"\\x"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc3\xa4 \xf0\x9f\x98\x80"',
    b'"\x00"',
    b'"\x7f\\u0000"',
    b"[]",
    b"{}",
    b"[1,]",
    b"[" * 250 + b"]" * 250,
    b"[" * 20_000,
    b'"succeeded"',
    b'"errored"',
    b'"canceled"',
    b'"lost"',
    b'"refusal"',
    b'"a"',
    b"12",
    b"nonsense",
]
NAMES = [
    "custom_id",
    "custom\\u005fid",
    "result",
    "type",
    "message",
    "error",
    "model",
    "usage",
    "content",
    "stop_reason",
    "details",
    "error_code",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    "inference_geo",
    "server_tool_use",
    "web_search_requests",
    "iterations",
    "stop_reason",
    "\\ud800",
]
SUCCEEDED = b"""{"custom_id": "a", "result": {"type": "succeeded", "message": {"model": "claude-haiku-4-5", "content": [
    {"type": "text", "text": "Hello."}], "stop_reason": "end_turn", "usage": {"input_tokens": 12, "output_tokens": 3,
    "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 2,
    "ephemeral_1h_input_tokens": 3}}}}}""".replace(b"\n", b"")
ADVISED = SUCCEEDED.replace(
    b'"input_tokens": 12',
    b'"inference_geo": "us", "server_tool_use": {"web_search_requests": 2}, "iterations": [{"model": "claude-opus-5", '
    b'"input_tokens": 7}, {"output_tokens": 8}], "input_tokens": 12',
)
ERRORED = b"""{"custom_id": "b", "result": {"type": "errored", "error": {"type": "error", "error": {"type":
    "invalid_request_error", "message": "max_tokens: Field required", "details": {"error_code": "some_limit"}},
    "request_id": null}}}""".replace(b"\n", b"")

REPLACED = [b'"a"', b'"b"', b'"succeeded"', b'"errored"', b'"claude-haiku-4-5"', b"12", b"5", b'"Hello."', b"null"]
REPLACED += [b'"invalid_request_error"', b'"max_tokens: Field required"', b'"end_turn"', b'"type"', b'"message"']

hostile = st.sampled_from(HOSTILE)
values = st.recursive(
    hostile,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda held: b"[" + b",".join(held) + b"]"),
        st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=4).map(
            lambda held: b"{" + b",".join(f'"{name}":'.encode() + value for name, value in held) + b"}"
        ),
    ),
    max_leaves=6,
)


def spliced(line: bytes, start: int, length: int, piece: bytes) -> bytes:
    start %= len(line) + 1
    return line[:start] + piece + line[start + length :]


def with_value(line: bytes, name: str, value: bytes) -> bytes:
    """The line with one more value of that name before the first, so that a key is there twice."""
    at = line.find(b'"' + name.encode() + b'"')
    return line if at < 0 else line[:at] + f'"{name}":'.encode() + value + b"," + line[at:]


def replaced(line: bytes, old: bytes, value: bytes) -> bytes:
    return line.replace(old, value)


ordinary = st.sampled_from([SUCCEEDED, ERRORED, ADVISED])
lines = st.one_of(
    values,
    st.builds(spliced, ordinary, st.integers(0, 500), st.integers(0, 12), st.one_of(st.binary(max_size=3), values)),
    st.builds(with_value, ordinary, st.sampled_from(NAMES), values),
    st.builds(
        replaced,
        ordinary,
        st.sampled_from(REPLACED),
        values,
    ),
    st.builds(lambda line, before, after: before + line + after, ordinary, hostile, hostile),
    st.builds(lambda line: b"\xef\xbb\xbf" + line, ordinary),
    st.builds(lambda line, end: line[:end], ordinary, st.integers(0, 600)),
)


def outcome_of(line: LineFacts) -> tuple[Any, ...]:
    summary = ResultSummary()
    summary.add(line)
    return line.custom_id, line.outcome, line.error_code, summary.groups, summary.errors, summary.stop_reasons


def counted(line: bytes) -> Any:
    try:
        return outcome_of(decode_line(line, 7))
    except InvalidLine as error:
        return str(error)


def shown(line: bytes) -> Any:
    try:
        return outcome_of(parse_line(line, 7).facts)
    except InvalidLine as error:
        return str(error)


@settings(max_examples=rounds(1000))
@given(lines)
@example(SUCCEEDED)
@example(ADVISED)
@example(ADVISED.replace(b'"us"', b"5"))
@example(ADVISED.replace(b'{"output_tokens": 8}', b"null"))
@example(ADVISED.replace(b'"claude-opus-5"', b"null"))
@example(ADVISED.replace(b"2}", b"-2}"))
@example(ERRORED)
@example(SUCCEEDED.replace(b'"Hello."', b'"\xff\xfe"'))
@example(SUCCEEDED.replace(b'"Hello."', b"9" * 5000))
@example(SUCCEEDED.replace(b'"Hello."', b'"\\ud800"'))
@example(SUCCEEDED.replace(b"12", b"9" * 30))
@example(SUCCEEDED.replace(b"12", b"-12"))
@example(SUCCEEDED.replace(b"12", b"true"))
@example(SUCCEEDED.replace(b'"model": "claude-haiku-4-5"', b'"model": null'))
@example(SUCCEEDED.replace(b'"end_turn"', b"[5]"))
@example(SUCCEEDED.replace(b'"end_turn"', b'"refusal"'))
@example(ERRORED.replace(b'"some_limit"', b"5"))
@example(ERRORED.replace(b"errored", b"succeeded"))
@example(ERRORED.replace(b"invalid_request_error", b""))
@example(SUCCEEDED.replace(b"succeeded", b"errored"))
@example(ERRORED.replace(b'"message": "max_tokens: Field required", ', b""))
def test_counting_a_line_and_parsing_it_whole_come_to_the_same(line: bytes) -> None:
    assert counted(line) == shown(line)


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (SUCCEEDED, ("a", "succeeded")),
        (ERRORED, ("b", "errored")),
        (SUCCEEDED.replace(b"succeeded", b"lost"), ("a", "lost")),
        (b"\xef\xbb\xbf" + SUCCEEDED, ("a", "succeeded")),
        (b'{"result": {"type": "expired"}, "custom_id": "c"}\r', ("c", "expired")),
        (SUCCEEDED.replace(b'"Hello."', b"1" * 5000), ("a", "succeeded")),
        (SUCCEEDED.replace(b'"a"', b'"\\ud800"'), ("\ud800", "succeeded")),
        (SUCCEEDED.replace(b'"Hello."', b"[" * 300 + b"]" * 300), ("a", "succeeded")),
    ],
)
def test_what_json_allows_is_a_line(line: bytes, facts: tuple[str, str]) -> None:
    found = decode_line(line, 1)
    assert (found.custom_id, found.outcome) == facts


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (SUCCEEDED.replace(b'"Hello."', b'"\xff"'), "line 7 is not JSON"),
        (SUCCEEDED.replace(b'"Hello."', b"NaN"), "line 7 is not JSON"),
        (SUCCEEDED.replace(b'"Hello."', b'"\x01"'), "line 7 is not JSON"),
        (b"[" * 100_000, "line 7 is not JSON"),
        (b"", "line 7 is not JSON"),
        (b"[1]", "line 7 is not an object"),
        (SUCCEEDED.replace(b'"a"', b'""'), "line 7 has no custom_id"),
        (SUCCEEDED.replace(b'"a"', b"5"), "line 7 has no custom_id"),
        (SUCCEEDED.replace(b'"succeeded"', b"null"), "line 7 has no outcome"),
        (SUCCEEDED.replace(b"succeeded", b""), "line 7 has no outcome"),
        (b"\xef\xbb\xbf\xef\xbb\xbf" + SUCCEEDED, "line 7 is not JSON"),
    ],
)
def test_what_is_no_line_is_refused_with_its_number(line: bytes, why: str) -> None:
    with pytest.raises(InvalidLine) as refused:
        decode_line(line, 7)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 3, "output_tokens": 4}, (3, 0, 0, 0, 4)),
        ({"cache_creation_input_tokens": 9, "cache_read_input_tokens": 2}, (0, 9, 0, 2, 0)),
        ({"cache_creation_input_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 4}}, (0, 5, 4, 0, 0)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 4}}, (0, 6, 4, 0, 0)),
        ({"input_tokens": 10**33, "output_tokens": -5}, (10**12, 0, 0, 0, 0)),
        ({"input_tokens": None, "output_tokens": "many", "cache_creation": None}, (0, 0, 0, 0, 0)),
        ({"input_tokens": True, "output_tokens": 2.0}, (0, 0, 0, 0, 0)),
    ],
)
def test_tokens_are_counted_by_what_is_paid_for_them(usage: dict[str, Any], expected: tuple[int, ...]) -> None:
    message = {"model": "claude-haiku-4-5", "usage": usage}
    line = json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}).encode()
    summary = ResultSummary()
    summary.add(decode_line(line, 1))
    tokens = summary.tokens["claude-haiku-4-5"]
    assert (tokens.input, tokens.cache_write_5m, tokens.cache_write_1h, tokens.cache_read, tokens.output) == expected
    whole = parse_line(line, 1).tokens
    assert tokens == whole
