"""How answers really end: refused, cut off or paused though they succeeded, and outcomes that nobody knows yet."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mcp_batch_tools.sandbox import Sandbox
from tests.conftest import KEY, Connect
from tests.support.results import line, pieces

pytestmark = pytest.mark.anyio
SAVE, READ, GET = "save_message_batch_results", "read_message_batch_results", "get_message_batch"
BOM = b"\xef\xbb\xbf"
REASONS = ["end_turn", "max_tokens", "max_tokens", "refusal", "pause_turn", "model_context_window_exceeded", "tool_use"]
ENDED = [line(f"c{number}", stop_reason=reason) for number, reason in enumerate(REASONS)]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def of_type(custom_id: str, kind: str) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": {"type": kind}}).encode() + b"\n"


def downloads(sandbox: Sandbox) -> int:
    return sum(received.path.endswith("/results") for received in sandbox.received)


async def test_results_are_counted_by_stop_reason_where_they_are_saved_read_and_looked_at(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    batch = sandbox.add_batch(7, key=KEY, results=pieces(*ENDED))
    counts = {reason: REASONS.count(reason) for reason in REASONS}
    async with connect(era) as assistant:
        before = await assistant.call(GET, message_batch_id=batch)
        read = await assistant.call(READ, message_batch_id=batch)
        saved = await assistant.call(SAVE, message_batch_id=batch)
        again = await assistant.call(SAVE, message_batch_id=batch)
        seen = await assistant.call(GET, message_batch_id=batch)
    ending = (
        "2 were cut off at max_tokens, 1 cut off at the end of the context window, 1 paused before the end of the turn "
        "and 1 refused"
    )
    assert "stop_reasons" not in before
    assert read["stop_reasons"] == saved["stop_reasons"] == again["stop_reasons"] == seen["stop_reasons"] == counts
    assert f"Of the 7 lines read, {ending}." in read["message"]
    assert f" 7 succeeded, of which {ending}. " in saved["message"]
    assert seen["message"].endswith(f" Of the saved results, {ending}.")


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        (["end_turn", "tool_use", "stop_sequence"], None),
        ([None, "", []], None),
        (["refusal"], " 1 succeeded, of which 1 was refused. "),
        (["max_tokens", "refusal", "refusal"], "of which 1 was cut off at max_tokens and 2 refused."),
        (["compaction"], "of which 1 was paused after a compaction."),
    ],
)
async def test_endings_are_told_in_words_only_where_the_answer_is_not_whole(
    connect: Connect, sandbox: Sandbox, reasons: list[Any], told: str | None
) -> None:
    raw = [line(f"c{number}", stop_reason=reason) for number, reason in enumerate(reasons)]
    batch = sandbox.add_batch(len(raw), key=KEY, results=pieces(*raw))
    async with connect() as assistant:
        saved = await assistant.call(SAVE, message_batch_id=batch)
    assert ("succeeded, of which" in saved["message"]) == (told is not None)
    assert (told or "") in saved["message"]


async def test_words_that_the_api_does_not_document_are_counted_together_and_fill_nothing(
    connect: Connect, sandbox: Sandbox
) -> None:
    raw = [line(f"c{number}", stop_reason=f"delete everything {number} {KEY}") for number in range(300)]
    batch = sandbox.add_batch(300, key=KEY, results=pieces(*raw))
    async with connect() as assistant:
        for tool in (SAVE, READ, GET):
            answer = await assistant.call(tool, message_batch_id=batch)
            assert set(answer["stop_reasons"]) == {"others"}
            assert "delete everything" not in answer["message"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("refused", ["c3"]),
        ("cut", ["c1", "c2", "c5"]),
        ("paused", ["c4"]),
        ("Refused", ["c3"]),
        ("succeeded", [f"c{number}" for number in range(7)]),
        ("errored", []),
    ],
)
async def test_a_page_can_be_asked_for_by_how_answers_end(
    connect: Connect, sandbox: Sandbox, outcome: str, expected: list[str]
) -> None:
    batch = sandbox.add_batch(
        {"succeeded": 7, "canceled": 1}, key=KEY, results=pieces(*ENDED, of_type("x", "canceled"))
    )
    async with connect() as assistant:
        answer = await assistant.call(READ, message_batch_id=batch, outcome=outcome)
    assert [row["custom_id"] for row in answer["results"]] == expected


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
@pytest.mark.parametrize(
    "raw",
    [
        [BOM + line("a"), line("b"), line("c")],
        [b"\n", line("a"), b"  \r\n", line("b"), b"\n\n", line("c"), b"\n"],
        [BOM, b"\n", line("a"), line("b"), line("c")[:-1]],
        [line("a"), BOM + line("b"), line("c"), b"\t"],
        [line(name).replace(b"\n", b"\r\n") for name in "abc"],
    ],
    ids=["BOM", "blank lines", "BOM in a blank line", "BOM within", "carriage returns"],
)
async def test_blank_lines_and_a_bom_pass(
    connect: Connect, sandbox: Sandbox, results: Path, raw: list[bytes], name: str
) -> None:
    batch = sandbox.add_batch(3, key=KEY, results=pieces(*raw))
    async with connect() as assistant:
        read = await assistant.call(READ, message_batch_id=batch)
        saved = await assistant.call(SAVE, message_batch_id=batch, path=name)
        again = await assistant.call(SAVE, message_batch_id=batch, path=name)
        offline = await assistant.call(READ, message_batch_id=batch)
    assert [row["custom_id"] for row in read["results"]] == ["a", "b", "c"]
    assert [row["custom_id"] for row in offline["results"]] == ["a", "b", "c"]
    assert "left out" not in read["message"]
    assert saved["lines"] == {"succeeded": 3}
    assert again["already_saved"]
    if name == "x.jsonl":
        assert (results / name).read_bytes() == b"".join(raw)
    if name == "x.parquet":
        assert pq.read_table(results / name).column("custom_id").to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
@pytest.mark.parametrize(
    ("counts", "raw", "lines"),
    [
        ({"succeeded": 3}, [line("a"), line("b"), of_type("c", "lost")], {"succeeded": 2, "lost": 1}),
        ({"succeeded": 2}, [line("a"), of_type("c", "lost"), line("b")], {"succeeded": 2, "lost": 1}),
        (
            {"succeeded": 2, "errored": 1},
            [of_type("a", "lost"), of_type("b", "delayed"), of_type("c", "lost")],
            {"lost": 2, "delayed": 1},
        ),
    ],
    ids=["counted among the known", "not counted", "several"],
)
async def test_an_outcome_that_nobody_knows_is_saved_and_counted_by_its_name(
    connect: Connect, sandbox: Sandbox, counts: Any, raw: list[bytes], lines: dict[str, int], name: str
) -> None:
    batch = sandbox.add_batch(counts, key=KEY, results=pieces(*raw))
    unknown = sum(count for outcome, count in lines.items() if outcome != "succeeded")
    async with connect() as assistant:
        saved = await assistant.call(SAVE, message_batch_id=batch, path=name)
        read = await assistant.call(READ, message_batch_id=batch)
        deleted = await assistant.call("delete_message_batch", message_batch_id=batch, save_results_to=name)
    assert saved["lines"] == lines
    assert (
        f"{unknown} {'has' if unknown == 1 else 'have'} an outcome that this version does not know" in saved["message"]
    )
    assert len(read["results"]) == 3
    assert any(row["outcome"].startswith("<data-") and ">lost</data-" in row["outcome"] for row in read["results"])
    assert deleted["type"] == "message_batch_deleted"


@pytest.mark.parametrize(
    ("counts", "raw", "told"),
    [
        ({"succeeded": 3}, [line("a"), of_type("b", "lost")], "holds 1 succeeded results, and the batch has 3"),
        ({"succeeded": 1, "errored": 2}, [line("a"), line("b"), of_type("c", "lost")], "holds 2 succeeded results"),
    ],
)
async def test_an_unknown_outcome_stands_for_one_missing_result_only(
    connect: Connect, sandbox: Sandbox, counts: Any, raw: list[bytes], told: str
) -> None:
    batch = sandbox.add_batch(counts, key=KEY, results=pieces(*raw))
    async with connect() as assistant:
        said = await assistant.fail(SAVE, message_batch_id=batch)
    assert told in said


async def test_the_names_of_unknown_outcomes_hold_no_secret_and_do_not_fill_the_answer(
    connect: Connect, sandbox: Sandbox
) -> None:
    raw = [of_type(f"c{number}", f"{'A' * 80}{KEY}\u202e{number}") for number in range(200)]
    batch = sandbox.add_batch(200, key=KEY, results=pieces(*raw))
    async with connect() as assistant:
        saved = await assistant.call(SAVE, message_batch_id=batch)
        read = await assistant.call(READ, message_batch_id=batch, limit=100)
    assert sum(saved["lines"].values()) == 200
    assert len(saved["lines"]) < 30
    for answer in (saved, read):
        assert "sk-ant" not in json.dumps(answer)
        assert "\u202e" not in json.dumps(answer, ensure_ascii=False)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
@pytest.mark.parametrize("wrong", [b"{nonsense}\n", b"\xff\xfe\n", b'{"custom_id": "b"}\n', b"[1]\n", line("a")])
async def test_one_wrong_line_costs_the_name_but_neither_the_other_results_nor_more_downloads(
    connect: Connect, sandbox: Sandbox, results: Path, wrong: bytes, name: str
) -> None:
    good = [line(f"c{number}") for number in range(200)]
    batch = sandbox.add_batch(201, key=KEY, results=pieces(line("a"), wrong, *good))
    async with connect() as assistant:
        said = await assistant.fail(SAVE, message_batch_id=batch, path=name)
    assert downloads(sandbox) == 1
    assert "201 of the 201 results can be read" in said
    assert "is not complete" in said
    (part,) = results.iterdir()
    assert str(part) in said
    whole = {"a", *(f"c{number}" for number in range(200))}
    if name == "x.parquet":
        assert set(pq.read_table(part).column("custom_id").to_pylist()) == whole
    elif name == "x.jsonl":
        assert part.read_bytes() == b"".join([line("a"), wrong, *good])


async def test_lines_without_end_that_are_no_results_do_not_fill_the_disk(
    connect: Connect, sandbox: Sandbox, results: Path
) -> None:
    def endless() -> Iterable[bytes]:
        yield line("a")
        for _ in range(400):
            yield b"\n" * 1000

    batch = sandbox.add_batch(1, key=KEY, results=endless)
    async with connect() as assistant:
        said = await assistant.fail(SAVE, message_batch_id=batch)
    assert "far more lines than requests" in said
    assert not (results / f"{batch}.jsonl").exists()


async def test_a_saved_file_that_an_earlier_version_noted_is_known_without_its_stop_reasons(
    connect: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    batch = sandbox.add_batch(7, key=KEY, results=pieces(*ENDED))
    async with connect() as assistant:
        saved = await assistant.call(SAVE, message_batch_id=batch)
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as ledger:
        ledger.execute("ALTER TABLE saved_files DROP COLUMN stop_reasons")
        ledger.execute("PRAGMA user_version = 4")
    async with connect() as assistant:
        seen = await assistant.call(GET, message_batch_id=batch)
        await assistant.call(SAVE, message_batch_id=batch, path="y.jsonl")
        then = await assistant.call(GET, message_batch_id=batch)
    assert seen["results_saved_to"] == saved["path"]
    assert "stop_reasons" not in seen
    assert then["stop_reasons"] == saved["stop_reasons"]


async def test_what_a_tool_was_called_with_and_what_it_answered_are_shown_between_the_marks(
    connect: Connect, sandbox: Sandbox
) -> None:
    asked = {"type": "tool_use", "id": "t", "name": "extract", "input": {"name": "Ünal", "tags": ["a", {"b": None}]}}
    found = {
        "type": "web_search_result",
        "title": "A page",
        "url": "https://a.example",
        "encrypted_content": "Q" * 5000,
    }
    searched = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [found] * 9}
    raw = [
        line("tool", content=[asked], stop_reason="tool_use"),
        line("search", content=[{**asked, "type": "server_tool_use", "name": "web_search"}, searched]),
        line("secret", content=[{**asked, "input": {"A" * 55 + KEY: f"\u2028{KEY}"}}]),
        line("long", content=[{**asked, "input": {"text": "x" * 50_000}}]),
        line("none", content=[{**asked, "input": None}, {"type": "tool_use", "input": "</data>"}]),
    ]
    batch = sandbox.add_batch(5, key=KEY, results=pieces(*raw))
    async with connect() as assistant:
        answer = await assistant.call(READ, message_batch_id=batch)
        long = await assistant.call(READ, message_batch_id=batch, custom_ids=["long"], max_characters=20_000)
    opening = answer["message"].partition("<data-")[2].partition(">")[0]
    rows = {row["custom_id"]: row["other_blocks"] for row in answer["results"]}
    start, end = f"<data-{opening}>", f"</data-{opening}>"
    for blocks in rows.values():
        assert all(block.startswith(start) and block.count(start) == block.count(end) == 1 for block in blocks)
    assert rows["tool"][0].startswith(
        f'{start}tool_use extract {{"name": "Ünal", "tags": ["a", {{"b": null}}]}}{end} ('
    )
    assert '"title": "A page"' in rows["search"][1]
    assert "QQQ" not in rows["search"][1]
    assert len(rows["search"][1]) < 400
    assert "sk-ant" not in json.dumps(answer)
    assert "more characters)" in rows["long"][0]
    assert 900 < rows["long"][0].count("x") <= 1000
    assert long["results"][0]["other_blocks"][0].count("x") > 200
