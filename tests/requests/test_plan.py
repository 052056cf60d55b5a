"""Requests are read in every form that people have them in, checked whole, and cut into batches."""

import gzip
import hashlib
import json
import os
import re
import socket
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_batch_tools.requests.errors import InvalidRequests, SourceChanged
from mcp_batch_tools.requests.plan import Plan, body, body_length, build_plan
from mcp_batch_tools.requests.sources import LONGEST, FileSource, InlineSource, Source

NEW, OLD = "2026-10-21", "2023-06-01"
MEGABYTE = 1024 * 1024


def request(custom_id: str = "a", **params: Any) -> dict[str, Any]:
    """A request that is right; what is given replaces its params, and None takes them away."""
    whole = {
        "model": "claude-haiku-4-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "Hello."}],
        **params,
    }
    return {"custom_id": custom_id, "params": {name: value for name, value in whole.items() if value is not None}}


def lines(*requests: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in requests)


def problems_of(source: Source, version: str = NEW, **more: Any) -> list[str]:
    with pytest.raises(InvalidRequests) as caught:
        build_plan(source, anthropic_version=version, **more)
    problems = [str(problem) for problem in caught.value.problems]
    assert str(caught.value) == "; ".join(problems)
    return problems


def problems_in(folder: Path, content: bytes, name: str = "requests.jsonl", **more: Any) -> list[str]:
    (folder / name).write_bytes(content)
    return problems_of(FileSource(folder / name), **more)


def sent(source: Source, plan: Plan, piece: int = MEGABYTE) -> list[Any]:
    """All requests as they would arrive, checked against what the plan promises."""
    requests: list[Any] = []
    for part in plan.parts:
        content = b"".join(body(source, part, piece=piece))
        assert len(content) == body_length(part)
        inner = content.removeprefix(b'{"requests":[').removesuffix(b"]}")
        assert hashlib.sha256(inner).hexdigest() == part.sha256
        assert len(inner) == part.bytes
        arrived = json.loads(content)["requests"]
        assert len(arrived) == part.requests
        assert len(requests) == part.first
        requests += arrived
    return requests


GOOD = lines(request())
WRONG_FILES: list[tuple[bytes, list[str]]] = [
    (b"", ["there are no requests in it"]),
    (b"\n \r\n\n", ["there are no requests in it"]),
    (b"\xef\xbb\xbf", ["there are no requests in it"]),
    (b"[]", ["there are no requests in it"]),
    (b'{"requests": []}', ["there are no requests in it"]),
    (GOOD + b"\n{nonsense}\n", ["line 3: it is not JSON"]),
    (GOOD + b'{"custom_id": "\xff"}\n', ["line 2: it is not UTF-8"]),
    (GOOD + b"\0\0\0\n", ["line 2: it contains NUL bytes"]),
    (GOOD + b'{"a": NaN}\n', ["line 2: it is not JSON"]),
    (GOOD + b"[" * 100_000 + b"]" * 100_000, ["line 2: it is nested too deeply"]),
    (b"5\n" + GOOD + b"[1]\n", ["lines 1 and 3: it is not an object"]),
    (GOOD[:40], ["line 1: it is not JSON"]),
    (GOOD[:40] + b"\n" + GOOD, ["line 1: it is not JSON"]),
    (GOOD + GOOD + GOOD, ["duplicate `custom_id`: lines 1 and 2, lines 1 and 3"]),
    (
        lines({"custom_id": "a"}, {"custom_id": "a"}),
        ["duplicate `custom_id`: lines 1 and 2", "lines 1 and 2: `params` is missing"],
    ),
    (GOOD.decode().encode("utf-16"), ["line 1 starts with the mark of UTF-16: save the file as UTF-8"]),
    (GOOD.decode().encode("utf-16-le"), ["lines 1 and 2: it contains NUL bytes"]),
    (gzip.compress(GOOD * 9, mtime=0)[:-9], ["the file is cut off: its gzip data has no end"]),
    (gzip.compress(GOOD, mtime=0)[:12] + b"\xff" * 50, ["the gzip data of the file is damaged"]),
    (b"\x89PNG\r\n", ["line 1: it is not UTF-8"]),
    (
        GOOD + b"nonsense\n" + GOOD,
        ["duplicate `custom_id`: lines 1 and 3", "line 2: it is not JSON"],
    ),
    (b"[" + GOOD + b"," + GOOD[:50], ["after request 1: the JSON document has no end"]),
    (b"[" + GOOD + b"," + b'"abc', ["after request 1: the JSON document has no end, or a value is missing in it"]),
    (b"[" + GOOD + b",]", ["after request 1: the JSON document has no end, or a value is missing in it"]),
    (b"[" + GOOD + GOOD + b"]", ["after request 1: the JSON document lacks , or ] where one must be"]),
    (b"[" + GOOD + b"] x", ["after request 1: something follows behind the end of the JSON document"]),
    (b"[" + GOOD + b', 5, "x", {"a" "b"}]', ["requests 2 and 3: it is not an object", "request 4: it is not JSON"]),
    (b'{"requests": [' + GOOD, ["after request 1: the JSON document has no end"]),
    (b'{"requests": [' + GOOD + b"]", ["after request 1: the JSON document has no end"]),
    (b'{"requests":\n5}', ["the JSON document lacks [ where one must be"]),
    (b'{\n5: "x"}', ["a key is missing where one must be in the JSON document"]),
    (b'{\n"a": 5}', ['a JSON document must be {"requests": […]}, and this one has no `requests`']),
    (b"{\n}", ['a JSON document must be {"requests": […]}, and this one has no `requests`']),
    (b"{}", ["line 1: `custom_id` is missing", "line 1: `params` is missing"]),
    (
        b'{"a": [1, {"b": "]"}], "requests": [' + GOOD + b'], "c": 5, "requests": [], "d": "\\"", "e": 1, "f": 2}',
        [
            "after request 1: a document holds `requests` once and nothing else, "
            "and this one has `a`, `c`, `requests`, `d`, `e`"
        ],
    ),
    (lines({"method": "POST", **request()}), ["line 1: `method` does not belong beside `custom_id` and `params`"]),
]


@pytest.mark.parametrize(("content", "problems"), WRONG_FILES)
def test_a_wrong_file_gets_a_sentence_that_says_where(tmp_path: Path, content: bytes, problems: list[str]) -> None:
    assert problems_in(tmp_path, content) == problems


TEXT = {"type": "text", "text": "x"}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}}
GONE_SINCE = "is refused by version 2026-10-21 of the API and later ones"


def said(role: Any = "user", *blocks: Any) -> list[Any]:
    return [{"role": role, "content": list(blocks)}]


WRONG_REQUESTS: list[tuple[Any, str | None]] = [
    ({"params": request()["params"]}, "`custom_id` is missing"),
    (request("a b"), "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"),
    (request("a\n"), "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"),
    (request("é"), "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"),
    (request(""), "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"),
    (request("x" * 65), "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"),
    (request("x" * 64), None),
    ({"custom_id": 5, "params": request()["params"]}, "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"),
    ({"custom_id": "a"}, "`params` is missing"),
    ({"custom_id": "a", "params": "x"}, "`params` is not an object"),
    (request(model=None), "`model` is missing"),
    (request(model=""), "`model` is not the name of a model"),
    (request(model=5), "`model` is not the name of a model"),
    (request(max_tokens=None), "`max_tokens` is missing"),
    (request(max_tokens=0), "`max_tokens` is less than 1"),
    (request(max_tokens=True), "`max_tokens` is not an integer"),
    (request(max_tokens=1.5), "`max_tokens` is not an integer"),
    (request(max_tokens="10"), "`max_tokens` is not an integer"),
    (request(max_tokens=128_000), None),
    (request(max_tokens=128_001), "`max_tokens` is more than 128,000, which needs the beta output-300k-2026-03-24"),
    (request(max_tokens=300_001), "`max_tokens` is more than 300,000"),
    (request(stream=True), "`stream` is not possible in a batch"),
    (request(stream=False), None),
    (request(speed="fast"), "`speed` is not possible in a batch"),
    (request(temperature=0.5), f"`temperature` {GONE_SINCE}"),
    (request(top_p=0.5), f"`top_p` {GONE_SINCE}"),
    (request(top_k=5), f"`top_k` {GONE_SINCE}"),
    (request(messages=None), "`messages` is missing"),
    (request(messages={}), "`messages` is not a list"),
    (request(messages=[]), "`messages` is empty"),
    (request(messages=["Hello."]), "a message is not an object"),
    (request(messages=said("system", TEXT)), "the role of a message is neither `user` nor `assistant`"),
    (request(messages=said([], TEXT)), "the role of a message is neither `user` nor `assistant`"),
    (request(messages=[{"role": "user"}]), "a message has no `content`"),
    (request(messages=said()), "the `content` of a message is empty"),
    (
        request(messages=[{"role": "user", "content": None}]),
        "the `content` of a message is neither a string nor a list of blocks",
    ),
    (request(messages=said("user", "x")), "a content block is not an object with a `type`"),
    (request(messages=said("user", {"type": 5})), "a content block is not an object with a `type`"),
    (request(messages=said("user", {"type": "text"})), "a text block has no `text`"),
    (request(messages=said("user", DOCUMENT)), None),
    (request(messages=said("user", {**TEXT, "citations": []})), None),
    (request(messages=said("assistant", {**TEXT, "citations": [{}]})), None),
    (
        request(messages=said("assistant", DOCUMENT)),
        "a document in a message of the assistant is refused by version 2026-10-21 and later ones",
    ),
    (
        request(messages=said("user", {**TEXT, "citations": [{}]})),
        "`citations` on a text block of the user are refused by version 2026-10-21 and later ones",
    ),
]


@pytest.mark.parametrize(("wrong", "problem"), WRONG_REQUESTS)
def test_what_would_fail_hours_later_is_told_before_it_is_sent(wrong: Any, problem: str | None) -> None:
    if problem is None:
        assert build_plan(InlineSource([wrong]), anthropic_version=NEW).requests == 1
    else:
        assert problems_of(InlineSource([request("right"), wrong])) == [f"request 2: {problem}"]


@pytest.mark.parametrize(("wrong", "problem"), WRONG_REQUESTS)
def test_the_older_version_takes_what_only_the_newer_one_refuses(wrong: Any, problem: str | None) -> None:
    if problem and "2026-10-21" not in problem:
        assert problems_of(InlineSource([wrong]), OLD) == [f"request 1: {problem}"]
    else:
        assert build_plan(InlineSource([wrong]), anthropic_version=OLD).requests == 1


def test_the_beta_for_long_output_raises_the_limit() -> None:
    source = InlineSource([request(max_tokens=300_000)])
    assert problems_of(source)
    assert build_plan(source, anthropic_version=NEW, betas=["x", "output-300k-2026-03-24"]).requests == 1


def test_problems_are_grouped_by_kind_and_told_together(tmp_path: Path) -> None:
    many = [request(f"r{n}", max_tokens=None, stream=n < 2) for n in range(500)]
    many[7]["params"]["messages"] = 2 * said("system", TEXT)
    assert problems_in(tmp_path, lines(request("first"), *many) + b"x\ny\nz") == [
        "lines 2, 3, 4 and 497 more: `max_tokens` is missing",
        "lines 2 and 3: `stream` is not possible in a batch",
        "line 9: the role of a message is neither `user` nor `assistant`",
        "lines 502, 503 and 504: it is not JSON",
    ]


def test_no_more_than_twenty_kinds_are_listed(tmp_path: Path) -> None:
    listed = problems_in(tmp_path, lines({**request(), **{f"key{n:02}": 1 for n in range(25)}}))
    assert listed[19:] == [
        "line 1: `key19` does not belong beside `custom_id` and `params`",
        "and 5 other kinds of problems",
    ]
    assert problems_in(tmp_path, lines({**request(), **{f"key{n:02}": 1 for n in range(21)}}))[20:] == [
        "and 1 other kind of problems"
    ]
    endless = problems_in(tmp_path, lines({**request(), **{f"key{n}": 1 for n in range(5000)}}))
    assert endless[20:] == ["and 981 other kinds of problems"]


def test_an_id_that_is_there_again_at_the_far_end_is_found(tmp_path: Path) -> None:
    content = lines(*(request(f"r{n}") for n in range(99_999)))
    problems = problems_in(tmp_path, content + lines(request("r0")))
    assert problems == ["duplicate `custom_id`: lines 1 and 100000"]
    (tmp_path / "right.jsonl").write_bytes(content + lines(request("other")))
    assert build_plan(FileSource(tmp_path / "right.jsonl"), anthropic_version=NEW).requests == 100_000


def test_only_the_first_pairs_of_the_same_id_are_named(tmp_path: Path) -> None:
    content = lines(*(request(f"r{n % 10}", stream=n == 15) for n in range(20))) + b"{}\nnonsense\n"
    assert problems_in(tmp_path, content) == [
        "duplicate `custom_id`: lines 1 and 11, lines 2 and 12, lines 3 and 13, 7 more",
        "line 16: `stream` is not possible in a batch",
        "line 21: `custom_id` is missing",
        "line 21: `params` is missing",
        "line 22: it is not JSON",
    ]


def folder(place: Path) -> None:
    place.mkdir()


def pipe(place: Path) -> None:
    os.mkfifo(place)


def listening(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (folder, "this is a folder, not a file"),
        (pipe, "this is not a regular file"),
        (listening, "the file cannot be read: No such device or address"),
        (lambda place: place.symlink_to("/dev/zero"), "this is not a regular file"),
        (lambda place: place.symlink_to(place), "the file cannot be read: Too many levels of symbolic links"),
        (lambda place: None, "the file cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_file_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket must be short
    make(Path("place"))
    assert problems_of(FileSource(Path("place"))) == [problem]
    assert "cannot be read: " in problems_of(FileSource(Path("a\0b")))[0]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").touch(0)
    assert problems_of(FileSource(tmp_path / "secret.jsonl")) == ["the file cannot be read: Permission denied"]


def test_a_name_that_promises_gzip_is_held_to_it(tmp_path: Path) -> None:
    assert problems_in(tmp_path, GOOD, "a.jsonl.gz") == ["the file is named .gz, and is not packed with gzip"]
    assert problems_in(tmp_path, b"", "b.jsonl.gz") == ["there are no requests in it"]


def test_a_gzip_that_is_cut_off_says_after_which_line(tmp_path: Path) -> None:
    content = b"".join(lines(request(f"r{n}", system=os.urandom(5000).hex())) for n in range(1000))
    problems = problems_in(tmp_path, gzip.compress(content)[:-2_000_000])
    assert problems[0].startswith("after line ")
    assert problems[0].endswith(": the file is cut off: its gzip data has no end")


PARAMS = request()["params"]
OURS = "here a request is an object of `custom_id` and `params`"


@pytest.mark.parametrize(
    ("line", "whose"),
    [
        ({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": PARAMS}, "OpenAI's"),
        ({"recordId": "a", "modelInput": {"anthropic_version": "bedrock-2023-05-31", **PARAMS}}, "Bedrock's"),
        ({"key": "a", "request": {"contents": [{"parts": [{"text": "Hello."}]}]}}, "Gemini's"),
        ({"request": {"contents": [{"parts": [{"text": "Hello."}]}]}}, "Gemini's"),
    ],
)
def test_a_line_for_another_service_gets_one_sentence(tmp_path: Path, line: Any, whose: str) -> None:
    other = {**line, "custom_id": "b"} if "custom_id" in line else line
    assert problems_in(tmp_path, lines(line, other)) == [f"lines 1 and 2: this is {whose} batch format; {OURS}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\n" * 12_000_000, "more than 10,000,000 of its lines are blank"),
        (GOOD + b"\r\n" * 12_000_000, "after line 1: more than 10,000,000 of its lines are blank"),
        (b"[" + b" " * 280_000_000, "more than 268,435,456 bytes of it are blank"),
    ],
    ids=["newlines", "behind a request", "in a document"],
)
def test_blank_space_without_end_is_not_read_to_its_end(tmp_path: Path, content: bytes, problem: str) -> None:
    packed = gzip.compress(content, 1)
    del content
    assert problems_in(tmp_path, packed, "blank.gz") == [problem]


LONG = b'{"custom_id": "' + b"x" * (50 * MEGABYTE) + b'"}\n'


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (GOOD + LONG + b"nonsense\n", ["line 2: it is longer than 33,554,432 bytes", "line 3: it is not JSON"]),
        (LONG[:-1], ["line 1: it is longer than 33,554,432 bytes"]),
        (b"[" + GOOD + b"," + LONG + b"]", ["request 2: it is longer than 33,554,432 bytes"]),
        (
            b"[" + GOOD + b"," + 2 * LONG[:-3] + b"]",
            ["after request 1: what follows is longer than 33,554,432 bytes, and nothing behind it was read"],
        ),
        (
            b"x" * (300 * MEGABYTE),
            ["after line 1: nothing behind the start of it was read", "line 1: it is longer than 33,554,432 bytes"],
        ),
    ],
    ids=["in the middle", "alone", "in a document", "very long in a document", "without an end"],
)
def test_a_long_line_is_told_without_being_kept(tmp_path: Path, content: bytes, problems: list[str]) -> None:
    packed = gzip.compress(content, 1)
    (tmp_path / "bomb.gz").write_bytes(packed)
    tracemalloc.start()
    try:
        assert problems_of(FileSource(tmp_path / "bomb.gz")) == problems
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * LONGEST


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 8_000):
        for name, content in (
            ("a.jsonl", lines(*(request(f"r{n}", system="x" * 2000) for n in range(count)))),
            ("a.json", json.dumps({"requests": [request(f"r{n}", system="x" * 2000) for n in range(count)]}).encode()),
        ):
            (tmp_path / name).write_bytes(content)
            del content
            source = FileSource(tmp_path / name)
            tracemalloc.start()
            try:
                plan = build_plan(source, anthropic_version=NEW)
                assert sum(len(piece) for piece in body(source, plan.parts[0])) == body_length(plan.parts[0])
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert max(peaks) < 16 * MEGABYTE
    assert max(peaks[2:]) < max(peaks[:2]) + 2 * MEGABYTE


JSON_TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(['\\"', '"},{"', "\\\\", "]}", "é\n"])
REQUESTS = st.lists(
    st.builds(
        lambda text, blocks, system: request(
            messages=[{"role": "user", "content": text}, *said("assistant", *({**TEXT, "text": t} for t in blocks))],
            system=system,
        ),
        JSON_TEXT,
        st.lists(JSON_TEXT, min_size=1, max_size=3),
        JSON_TEXT,
    ),
    min_size=1,
    max_size=12,
).map(lambda found: [{**each, "custom_id": f"r-{n}"} for n, each in enumerate(found)])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=REQUESTS, spelled=st.booleans(), block=st.integers(1, 200), most=st.integers(1, 12))
def test_the_same_requests_in_any_form_are_the_same_bodies(
    tmp_path: Path, requests: list[Any], spelled: bool, block: int, most: int
) -> None:
    raw = [json.dumps(each, ensure_ascii=spelled).encode() for each in requests]
    forms = {
        "lines": b"\n".join(raw),
        "windows": b"\xef\xbb\xbf" + b"\r\n\r\n".join(raw) + b"\r\n",
        "document": b'{"requests":[' + b" , ".join(raw) + b"]}\n",
        "printed": b'\xef\xbb\xbf{\n  "requests": [\n    ' + b",\n    ".join(raw) + b"\n  ]\n}\n",
        "array": b" [" + b",\n".join(raw) + b"]",
    }
    plans = []
    for name, content in forms.items():
        for packed in (False, True):
            place = tmp_path / (f"{name}.gz" if packed else name)
            place.write_bytes(gzip.compress(content) if packed else content)
            source = FileSource(place, block=max(block, 120))
            plan = build_plan(source, anthropic_version=NEW, most_requests=most)
            assert sent(source, plan, piece=block) == requests
            plans.append(plan)
    assert all(plan == plans[0] for plan in plans)
    assert plans[0].requests == len(requests)
    assert len(plans[0].parts) == -(-len(requests) // most)


@settings(deadline=None)
@given(requests=REQUESTS, most=st.integers(1, 2000))
def test_batches_are_as_few_and_as_full_as_fit(requests: list[Any], most: int) -> None:
    source = InlineSource(requests)
    raw = [len(entry) for _, entry in source.open()]
    limit = max(raw) + 15 + most
    plan = build_plan(source, anthropic_version=NEW, most_bytes=limit)
    assert sent(source, plan) == requests
    assert plan.bytes == sum(part.bytes for part in plan.parts)
    for part, following in zip(plan.parts, plan.parts[1:], strict=False):
        assert body_length(part) <= limit < body_length(part) + 1 + raw[following.first]
    assert problems_of(source, most_bytes=max(raw) + 14)[0].endswith(f"it is longer than {max(raw) - 1:,} bytes")


def test_a_batch_is_filled_to_the_last_byte_and_no_further() -> None:
    source = InlineSource([request("a"), request("b")])
    exact = body_length(build_plan(source, anthropic_version=NEW).parts[0])
    assert len(build_plan(source, anthropic_version=NEW, most_bytes=exact).parts) == 1
    assert len(build_plan(source, anthropic_version=NEW, most_bytes=exact - 1).parts) == 2


def test_a_document_printed_over_many_lines_is_sent_as_it_is(tmp_path: Path) -> None:
    requests = [request("a", system='}\\"]'), request("b", system="\\")]
    place = tmp_path / "requests.json"
    for document in ({"requests": requests}, requests):
        place.write_text(json.dumps(document, indent=2))
        source = FileSource(place)
        assert sent(source, build_plan(source, anthropic_version=NEW)) == requests


def test_half_a_pair_of_surrogates_is_json_and_is_sent(tmp_path: Path) -> None:
    odd = request(system="\ud800")
    (tmp_path / "odd.jsonl").write_bytes(lines(odd))
    for source in (FileSource(tmp_path / "odd.jsonl"), InlineSource([odd])):
        plan = build_plan(source, anthropic_version=NEW)
        assert sent(source, plan) == [odd]
        assert plan.sample == [odd["params"]]


def test_the_same_requests_are_known_again_in_any_spelling_and_order(tmp_path: Path) -> None:
    requests = [request(f"r{n}", system=f"é {n}") for n in range(5)]
    turned = [json.loads(json.dumps(one, sort_keys=True)) for one in requests]
    turned = [{"params": dict(reversed(one["params"].items())), "custom_id": one["custom_id"]} for one in turned]
    spellings = {
        "plain": "\n".join(json.dumps(one) for one in requests),
        "compact": "\n".join(json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in requests),
        "printed": json.dumps({"requests": requests}, indent=2),
        "turned": "\n".join(json.dumps(one) for one in reversed(turned)),
    }
    plans = []
    for name, content in spellings.items():
        (tmp_path / name).write_text(content)
        plans.append(build_plan(FileSource(tmp_path / name), anthropic_version=NEW))
    assert len({plan.fingerprint for plan in plans}) == 1
    swapped = [request("r0", system="é 1"), request("r1", system="é 0"), *requests[2:]]
    for others in (requests[:4], swapped, [*requests[:4], request("r4", system="é 4", max_tokens=11)]):
        other = build_plan(InlineSource(others), anthropic_version=NEW)
        assert other.fingerprint != plans[0].fingerprint


def test_the_plan_adds_up_by_model_with_attachments_by_rule_and_what_may_be_written_to_a_cache_apart() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 1000}}
    link = {"type": "image", "source": {"type": "url", "url": "https://example.com"}}
    inside = {"type": "document", "source": {"type": "content", "content": [picture, "x"]}}
    outcome = {"type": "tool_result", "tool_use_id": "t", "content": [picture, inside]}
    paper = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD" * 50_000}}
    short = {"type": "text", "text": "x" * 3000, "cache_control": {"type": "ephemeral"}}
    long = {"type": "text", "text": "x" * 3000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    told = {"type": "text", "text": json.dumps(long)}
    requests = [
        request("a", system="x" * 3000),
        request("b", messages=said("user", told), max_tokens=5),
        request("c", messages=said("user", picture, link, outcome), model="claude-opus-4-6"),
        request("C", messages=said("user", picture, link, outcome), model="claude-opus-4-7"),
        request("d", messages=said("user", paper), model="claude-opus-4-5"),
        request("e", messages=said("user", short), model="claude-sonnet-4-5"),
        request("f", messages=said("user", long), model="claude-sonnet-4-5"),
    ]
    models = build_plan(InlineSource(requests), anthropic_version=NEW).models
    haiku = models["claude-haiku-4-5"]
    assert (haiku.requests, haiku.max_tokens) == (2, 15)
    told_of = {
        name: {kind[:2]: round(held.tokens, -2) for (kind, _), held in plan.sums.items()}
        for name, plan in models.items()
    }
    assert told_of == {
        "claude-haiku-4-5": {("", ""): 2100},
        "claude-opus-4-6": {("images", ""): 6600},
        "claude-opus-4-7": {("images", ""): 19_300},
        "claude-opus-4-5": {("documents", ""): 76_600},
        "claude-sonnet-4-5": {("", "5m"): 1000, ("", "1h"): 1100},
    }


def test_what_is_more_than_any_model_reads_counts_as_much_as_it_reads() -> None:
    link = {"type": "document", "source": {"type": "url", "url": "https://example.com/x.pdf"}}
    plan = build_plan(InlineSource([request(messages=said("user", link, link))]), anthropic_version=NEW)
    assert [held.tokens for held in plan.models["claude-haiku-4-5"].sums.values()] == [1_000_000]


def test_the_sample_is_small_and_the_same_each_time() -> None:
    many = InlineSource([request(f"r{n}", system=f"{n}") for n in range(1000)])
    first = build_plan(many, anthropic_version=NEW).sample
    assert first == build_plan(many, anthropic_version=NEW).sample
    assert len(first) == len({params["system"] for params in first}) == 20
    assert max(int(params["system"]) for params in first) > 500
    large = [request(f"r{n}", system="x" * 300_000) for n in range(30)] + [request("z", system="x" * 3 * MEGABYTE)]
    sample = build_plan(InlineSource(large), anthropic_version=NEW).sample
    assert [params for params in sample if len(params["system"]) == 3 * MEGABYTE]
    assert 3 * MEGABYTE < len(json.dumps(sample)) < 5 * MEGABYTE + 1000


@pytest.mark.parametrize("count", [3, 3000])
def test_a_file_that_changed_since_it_was_checked_is_never_sent_whole(tmp_path: Path, count: int) -> None:
    requests = [request(f"r{n}", system="x" * 1000) for n in range(count)]
    place = tmp_path / "requests.jsonl"
    place.write_bytes(lines(*requests))
    source = FileSource(place)
    plan = build_plan(source, anthropic_version=NEW)
    assert sent(source, plan) == requests
    longer = request("r0", system="x" * 3 * MEGABYTE)
    for changed in ([*requests[:-1], request("other", system="x" * 1000)], requests[1:], [longer, *requests[1:]], []):
        place.write_bytes(lines(*changed))
        given_out: list[bytes] = []
        with pytest.raises(SourceChanged, match=re.escape(str(place))):
            given_out.extend(body(source, plan.parts[0]))
        content = b"".join(given_out)
        assert len(content) < body_length(plan.parts[0])
        assert not content.endswith(b"]}")
        assert bool(content) == (count > 3 and bool(changed))
    place.write_bytes(lines(*requests, request("more")))
    assert sent(source, plan) == requests


def test_a_body_comes_in_pieces_of_a_megabyte() -> None:
    source = InlineSource([request(f"r{n}", system="x" * 5_000_000 * (n == 1)) for n in range(5)])
    plan = build_plan(source, anthropic_version=NEW)
    pieces = [len(piece) for piece in body(source, plan.parts[0])]
    assert sum(pieces) == body_length(plan.parts[0])
    assert max(pieces) <= MEGABYTE
    assert problems_of(InlineSource([request(system="x" * LONGEST)])) == [
        "request 1: it is longer than 33,554,432 bytes"
    ]


def test_a_run_of_backslashes_is_taken_apart_wherever_the_file_is_cut(tmp_path: Path) -> None:
    requests = [request(f"r{n}", system="\\" * n + '"') for n in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(requests))
    for block in range(1, 30):
        source = FileSource(tmp_path / "a.json", block=block)
        assert sent(source, build_plan(source, anthropic_version=NEW)) == requests
    (tmp_path / "a.json").write_bytes(b'["\\')
    assert problems_of(source) == ["the JSON document has no end, or a value is missing in it"]
