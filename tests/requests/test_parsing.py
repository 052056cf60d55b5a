"""Ordinary requests are checked on a shorter way than unusual ones, with the same outcome."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.ordinary import CheckedRequest
from mcp_batch_tools.requests.parsing import InvalidRequest, canonical, parse, parse_strictly
from mcp_batch_tools.requests.plan import Plan, build_plan
from mcp_batch_tools.requests.validation import RequestChecker
from tests.support.seeds import rounds

VERSIONS = ("2023-06-01", "2026-10-21")


class Lines:
    """Requests as they are."""

    name = "lines"

    def __init__(self, *raw: str) -> None:
        self.unit: Any = "line"
        self._raw = raw

    def open(self) -> Any:
        return enumerate((one.encode(errors="surrogatepass") for one in self._raw), 1)


def plan_of(*raw: str, version: str = VERSIONS[0]) -> Plan:
    return build_plan(Lines(*raw), anthropic_version=version)


def problems_of(*raw: str) -> list[str]:
    with pytest.raises(InvalidRequests) as caught:
        plan_of(*raw)
    return [str(problem) for problem in caught.value.problems]


def request(params: str = "", around: str = "", custom_id: str = "a") -> str:
    """The text of a request; `params` and `around` are more members, at the end of `params` and of all."""
    members = '"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello."}]'
    return f'{{"custom_id": "{custom_id}", "params": {{{members}{params}}}{around}}}'


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (request(', "max_tokens": 128000'), "max_tokens"),
        (request(', "model": "claude-opus-4-6"'), "model"),
        (request(', "messages": [{"role": "user", "content": "Other."}]'), "messages"),
        (request(around=', "params": {}'), "params"),
        (request(around=', "custom_id": "a"'), "custom_id"),
        (request(', "max_tokens": 10'), "max_tokens"),
        (request(', "max\\u005ftokens": 10'), "max_tokens"),
        (request(', "max_tokens" : 10, "system": "\\u0022\\u0022"'), "max_tokens"),
        (request(', "metadata": {"a": {"b": 1, "b": 2}}'), "b"),
        (request(', "metadata": {"": null, "": null}'), ""),
        (request(', "unknown": {"\\u0000": 1, "\\u0000": 1}'), "\\\\x00"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_with_its_line(raw: str, key: str) -> None:
    shown = key.replace("\\\\", "\\")
    assert problems_of(request(custom_id="first"), raw) == [f"line 2: duplicate key `{shown}`"]


@pytest.mark.parametrize(
    "member", ['"model":"x"', '"system":""', '"max_tokens":1', '"messages":[{"role":"user","content":""}]']
)
def test_the_shortest_key_that_is_there_twice_is_found_in_the_shortest_spelling(member: str) -> None:
    shortest = '{"model":"x","max_tokens":1,"messages":[{"role":"user","content":""}],"system":""'
    raw = f'{{"custom_id":"a","params":{shortest},{member}}}}}'
    assert problems_of(raw) == [f"line 1: duplicate key `{member.split(chr(34))[1]}`"]
    assert plan_of(raw.replace(f",{member}}}}}", "}}")).requests == 1
    for version in VERSIONS:
        again = raw.replace('"role":"user"', '"role":"user","role":"user"').replace(f",{member}}}}}", "}}")
        assert RequestChecker(version, ()).check_ordinary(again.encode()) is None


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400 + ".5"])
@pytest.mark.parametrize("params", [', "temperature": {}', ', "metadata": {{"x": [null, {}]}}', ', "unknown": {}'])
def test_a_number_out_of_range_is_refused(number: str, params: str) -> None:
    assert problems_of(request(params.format(number))) == ["line 1: a number is out of range"]


SAME = [
    ['{"a": 1, "b": "é/"}', '{"b":"\\u00e9\\/","a":1}', ' { "b" : "\\u00E9/" ,\n "a" : 1 } '],
    ['{"x": 1e2}', '{"x": 100.0}', '{"x": 1.0E+2}'],
    ['{"x": "\\ud83d\\ude00\\n"}', '{"x": "\U0001f600\\u000a"}'],
    ['{"x": "\\ud800"}', '{"x": "\\uD800"}'],
    ['{"x": 123456789012345678901234567890}', '{"\\u0078": 123456789012345678901234567890}'],
    ['{"\U0001f600": 1, "\uffff": 2, "": 3}', '{"": 3, "\uffff": 2, "\U0001f600": 1}'],
    ['{"x": -0}', '{"x": 0}'],
]
DIFFERENT = [
    "{}",
    '{"x": null}',
    '{"x": 1}',
    '{"x": 1.0}',
    '{"x": "1"}',
    '{"x": true}',
    '{"x": [1]}',
    '{"x": -0.0}',
    '{"x": 0.0}',
    '{"x": 123456789012345678901234567891}',
    '{"x": 9007199254740993}',
    '{"x": 9007199254740993.0}',
    '{"x": "\\ud800"}',
    '{"x": "\\udc00"}',
    '{"x": "\\\\ud800"}',
    '{"x": "?"}',
    '{"x": "e\\u0301"}',
    '{"x": "\\u00e9"}',
    '{"X": 1}',
    *(spellings[0] for spellings in SAME[:1]),
]


@pytest.mark.parametrize("spellings", SAME)
def test_the_same_content_has_one_canonical_form_in_every_spelling(spellings: list[str]) -> None:
    assert len({canonical(parse(raw.encode())) for raw in spellings}) == 1
    prints = {plan_of(request(f', "metadata": {raw}')).fingerprint for raw in spellings}
    assert len(prints) == 1


def test_different_content_has_different_canonical_forms() -> None:
    assert len({canonical(parse(raw.encode())) for raw in DIFFERENT}) == len(DIFFERENT)
    assert len({plan_of(request(f', "metadata": {raw}')).fingerprint for raw in DIFFERENT}) == len(DIFFERENT)


TEXTS = st.text(max_size=12) | st.sampled_from(['"', '\\"', "null", "cache_control", "\ud800", "é", "[{", "\0"])
NUMBERS = (
    st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, 1.0, -0.0])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}, optional={"cache_control": VALUES}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["image", "document", "tool_result"]),
            "source": st.fixed_dictionaries({"type": st.sampled_from(["base64", "url"]), "data": TEXTS}),
        }
    ),
    VALUES,
)
MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": TEXTS | st.lists(BLOCKS, max_size=3)},
        optional={"name": VALUES},
    ),
    VALUES,
)
PARAMS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-haiku-4-5", "claude-opus-4-6", "", "a\nb"]),
        "max_tokens": st.sampled_from([1, 10, 128_000, 128_001, 0, -1, 1.0, True, "10", 10**30]),
        "messages": st.lists(MESSAGES, min_size=1, max_size=3) | VALUES,
    },
    optional={
        "system": TEXTS | st.lists(BLOCKS, max_size=2) | VALUES,
        "temperature": NUMBERS | VALUES,
        "top_k": VALUES,
        "stream": st.booleans() | st.none(),
        "speed": VALUES,
        "metadata": VALUES,
        "tools": st.lists(st.fixed_dictionaries({"type": TEXTS | st.just("web_search_20250305")}), max_size=2) | VALUES,
        "stop_sequences": st.lists(TEXTS, max_size=2),
        "cache_control": VALUES,
        "unknown": VALUES,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"custom_id": st.sampled_from(["a", "a-1_B", "x" * 64, "x" * 65, "a\n", "é"]), "params": PARAMS},
    optional={"method": VALUES},
)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """The text of a request, spelled in some way, and often damaged: a key twice, a number out of range, a cut."""
    found: Any = draw(REQUESTS)
    raw = json.dumps(
        found,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")])),
    )
    damage = draw(st.sampled_from(["", "", "twice", "range", "cut", "number", "escape", "literal"]))
    at = draw(st.integers(0, len(raw)))
    match damage:
        case "twice":
            name, value = draw(st.sampled_from([*found["params"].items()]))
            return raw.replace(json.dumps(name), f"{json.dumps(name)}: {json.dumps(value)}, {json.dumps(name)}", 1)
        case "range":
            return raw.replace("10", "1e999", 1)
        case "cut":
            return raw[:at]
        case "number":
            return raw.replace("1", draw(st.sampled_from(["1.0", "1e0", "01", "NaN", "-0", "1E400"])), 1)
        case "escape":
            return raw.replace("a", "\\u0061").replace('\\"', "\\u0022")
        case "literal":
            return raw[:at] + draw(st.sampled_from(["null", '"', "[", "}", "\0", "\\", ","])) + raw[at:]
        case _:
            return raw


@settings(max_examples=rounds(134))
@given(raw=spelled(), version=st.sampled_from(VERSIONS))
@example(raw=request(', "metadata": {"a": 1e999}'), version=VERSIONS[0])
@example(raw=request(', "max_tokens": 1, "system": "\\u0022"'), version=VERSIONS[0])
@example(raw=request(', "temperature": 1'), version=VERSIONS[0])
@example(raw=request(', "temperature": 1.0'), version=VERSIONS[1])
@example(raw=request(', "system": "cache_control"'), version=VERSIONS[0])
@example(raw=request(', "system": null'), version=VERSIONS[1])
@example(raw=request(', "max_tokens": 1').replace("Hello.", "\\u0022"), version=VERSIONS[0])
def test_the_short_way_and_the_strict_one_have_the_same_outcome(raw: str, version: str) -> None:
    checker = RequestChecker(version, ())
    encoded = raw.encode(errors="surrogatepass")
    ordinary = checker.check_ordinary(encoded)
    assert ordinary is None or ordinary == checker.check_strictly(encoded)


@settings(deadline=None)
@given(raw=spelled())
def test_whatever_can_be_parsed_says_the_same_on_both_ways(raw: str) -> None:
    encoded = raw.encode(errors="surrogatepass")
    try:
        strict = parse_strictly(encoded)
    except InvalidRequest as error:
        with pytest.raises(InvalidRequest, match=str(error)):
            parse(encoded)
    else:
        assert canonical(parse(encoded)) == canonical(strict)


@pytest.mark.parametrize(
    "params",
    [
        "",
        ', "system": "You are kind."',
        ', "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]',
        ', "tools": [{"name": "t", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}',
        ', "thinking": {"type": "enabled", "budget_tokens": 5}, "stop_sequences": ["x"], "metadata": {"user_id": "u"}',
    ],
)
@pytest.mark.parametrize("content", ['"Hello."', '[{"type": "text", "text": "{"}, {"type": "image", "source": {}}]'])
def test_what_people_send_takes_the_short_way(params: str, content: str) -> None:
    raw = request(params).replace('"Hello."', content).encode()
    checker = RequestChecker(VERSIONS[1], ())
    assert isinstance(checker.check_ordinary(raw), CheckedRequest)
