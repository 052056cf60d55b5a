"""A request that is nested too deeply is told as such, in the same words on every version of Python."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp_types import TextContent

from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.plan import build_plan
from mcp_batch_tools.requests.sources import FileSource, InlineSource
from mcp_batch_tools.sandbox import Clock
from tests.conftest import Connect

pytestmark = pytest.mark.anyio

TOO_DEEP = "it is nested too deeply"


def request(custom_id: str, **params: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello."}]
    return {
        "custom_id": custom_id,
        "params": {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": messages, **params},
    }


def nested(custom_id: str, levels: int, opening: str = "[", closing: str = "]") -> str:
    """A request with `levels` lists or objects inside each other, those of every request included."""
    inner = levels - 2  # `params`, and the object that holds them
    text = json.dumps(request(custom_id, metadata={"x": "HERE"}))
    return text.replace('"HERE"', opening * inner + "1" + closing * inner)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"y":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize(
    ("levels", "problem"),
    [(100, None), (200, None), (201, TOO_DEEP), (254, TOO_DEEP), (600, TOO_DEEP), (980, TOO_DEEP), (100_000, TOO_DEEP)],
)
@pytest.mark.parametrize("spelling", ["plain", "with half a pair of surrogates"])
def test_how_deep_is_too_deep_does_not_depend_on_how_it_is_read(
    tmp_path: Path, levels: int, problem: str | None, opening: str, closing: str, spelling: str
) -> None:
    text = nested("deep", levels, opening, closing)
    if spelling != "plain":
        text = text.replace("Hello.", "\\ud800")
    (tmp_path / "deep.jsonl").write_text(text)
    source = FileSource(tmp_path / "deep.jsonl")
    if problem is None:
        assert build_plan(source, anthropic_version="2026-10-21").requests == 1
    else:
        with pytest.raises(InvalidRequests) as caught:
            build_plan(source, anthropic_version="2026-10-21")
        assert [str(found) for found in caught.value.problems] == [f"line 1: {problem}"]


def test_what_is_given_inline_is_held_to_the_same_depth() -> None:
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(InvalidRequests) as caught:
        build_plan(InlineSource([request("a", metadata=deep)]), anthropic_version="2026-10-21")
    assert [str(found) for found in caught.value.problems] == [f"request 1: {TOO_DEEP}"]


@pytest.mark.parametrize("retry", [False, True], ids=["create", "retry"])
@pytest.mark.parametrize("levels", [600, 980, 100_000])
async def test_the_tool_says_so_and_sends_nothing(
    connect: Connect, clock: Clock, tmp_path: Path, levels: int, retry: bool
) -> None:
    requests = [json.dumps(request("good")), json.dumps(request("expired-1"))]
    place = tmp_path / "r.jsonl"
    place.write_text("\n".join(requests))
    async with connect(requests_dir=tmp_path) as assistant:
        made = await assistant.call("create_message_batch", requests_file="r.jsonl")
        clock.advance(3600)
        place.write_text("\n".join([*requests, nested("deep", levels)]))
        more = {"retry_of": made["batches"][0]["id"]} if retry else {}
        result = await assistant.client.call_tool("create_message_batch", {"requests_file": "r.jsonl", **more})
        listed = await assistant.call("list_message_batches")
    text = "".join(block.text for block in result.content if isinstance(block, TextContent))
    assert f"line 3: {TOO_DEEP}" in text
    assert len(listed["batches"]) == 1


@pytest.mark.parametrize("levels", [100, 200])
async def test_what_is_not_too_deep_is_priced_and_sent(connect: Connect, tmp_path: Path, levels: int) -> None:
    (tmp_path / "r.jsonl").write_text(nested("deep", levels))
    async with connect(requests_dir=tmp_path) as assistant:
        made = await assistant.call("create_message_batch", requests_file="r.jsonl")
    assert made["type"] == "message_batch_created"
