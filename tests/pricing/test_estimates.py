"""What is promised before a create is never less than what is billed afterwards, but for what the answer names."""

import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY, Connect
from tests.support.requests import request, write
from tests.support.seeds import dice, rounds
from tests.support.upstream import creates

pytestmark = pytest.mark.anyio

MODELS = [
    "claude-fable-5-2",
    "claude-fable-5-1",
    "claude-opus-5-5",
    "claude-opus-5",
    "claude-opus-4-6",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-haiku-4-5",
]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 3_000_000}}


def said(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*content, {"type": "text", "text": "What is this?"}]}]


async def estimated(connect: Connect, requests_dir: Path, *requests: dict[str, Any], **more: Any) -> dict[str, Any]:
    async with connect() as assistant:
        name = write(requests_dir, list(requests))
        return await assistant.call("create_message_batch", requests_file=name, dry_run=True, **more)


def like(count: int, **params: Any) -> list[dict[str, Any]]:
    return [request(f"r{number}", **params) for number in range(count)]


async def test_large_images_count_as_much_as_an_image_can_though_few_of_them_are_counted(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    requests = like(20, model="claude-opus-5-5", max_tokens=10, messages=said(PICTURE))
    name = write(requests_dir, requests)
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name, max_cost_usd=0.08)
    assert answer["reason"] == "too_expensive"
    assert answer["estimate"]["max_cost_usd"] == pytest.approx(0.19, abs=0.01)
    assert answer["estimate"]["input_tokens_by"].startswith("the API's count of 1 request")
    assert creates(sandbox) == 0


@pytest.mark.parametrize(("model", "tokens"), [("claude-opus-4-7", 4784), ("claude-opus-4-6", 1600)])
async def test_an_image_that_nobody_counted_has_the_most_tokens_that_the_model_gives_it(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, model: str, tokens: int
) -> None:
    sandbox.faults.append(Fault("count_tokens", status=403, times=9))
    answer = await estimated(connect, requests_dir, *like(10, model=model, messages=said(PICTURE)))
    assert answer["estimate"]["models"][0]["input_tokens"] == pytest.approx(10 * tokens, rel=0.2)


async def test_images_are_not_taken_for_small_because_the_counted_ones_are(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    sandbox.faults.append(Fault("count_tokens", body=b'{"input_tokens": 80}', times=9))
    answer = await estimated(connect, requests_dir, *like(30, model="claude-opus-5-5", messages=said(PICTURE)))
    assert answer["estimate"]["input_tokens_by"].startswith("the API's count of")
    assert answer["estimate"]["models"][0]["input_tokens"] >= 30 * 4784


async def test_texts_that_are_unlike_each_other_are_not_taken_for_what_the_counted_ones_are(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    sandbox.faults += [Fault("count_tokens", body=b'{"input_tokens": %d}' % tokens) for tokens in (1, 20, 40)]
    sandbox.faults.append(Fault("count_tokens", status=403, times=99))
    requests = [request(f"r{number}", system="word " * 10 * number) for number in range(30)]
    answer = await estimated(connect, requests_dir, *requests)
    by_rule = sum(len(json.dumps(one["params"], separators=(",", ":"))) for one in requests) / 3
    assert answer["estimate"]["models"][0]["input_tokens"] >= by_rule


@pytest.mark.parametrize(("characters", "rate"), [(360_000, 0.05), (440_000, 0.25)])
async def test_a_long_prompt_of_haiku_is_estimated_at_its_own_rate(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, characters: int, rate: float
) -> None:
    long = request("long", model="claude-haiku-5-5", max_tokens=1000, system="x" * characters)
    answer = await estimated(connect, requests_dir, long)
    tokens = answer["estimate"]["models"][0]["input_tokens"]
    assert answer["estimate"]["max_cost_usd"] == pytest.approx((tokens + 5 * 1000) * rate / 1e6)


async def test_a_long_prompt_makes_only_the_long_ones_dear(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    short = like(50, model="claude-haiku-5-5", max_tokens=1000)
    cheap = await estimated(connect, requests_dir, *short)
    long = request("long", model="claude-haiku-5-5", max_tokens=1000, system="x" * 600_000)
    both = await estimated(connect, requests_dir, *short, long)
    added = both["estimate"]["max_cost_usd"] - cheap["estimate"]["max_cost_usd"]
    assert added == pytest.approx((150_000 * 0.25 + 1000 * 1.25) / 1e6, rel=0.4)


async def test_a_region_costs_more_before_as_afterwards(connect: Connect, requests_dir: Path) -> None:
    costs = {}
    for model in ("claude-opus-5-5", "claude-opus-4-5"):
        for geo in ("us", "global", None):
            answer = await estimated(connect, requests_dir, request("a", model=model, inference_geo=geo))
            costs[model, geo] = answer["estimate"]["max_cost_usd"]
    assert costs["claude-opus-5-5", "us"] == pytest.approx(costs["claude-opus-5-5", "global"] * 1.1)
    assert costs["claude-opus-5-5", None] == costs["claude-opus-5-5", "global"]
    assert costs["claude-opus-4-5", "us"] == costs["claude-opus-4-5", None]


async def test_the_schema_of_an_answer_is_counted(connect: Connect, sandbox: Sandbox, requests_dir: Path) -> None:
    schema = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(500)}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = await estimated(connect, requests_dir, request("a", output_config=config))
    assert answer["estimate"]["models"][0]["input_tokens"] > len(json.dumps(schema)) / 5


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, ["web_search"]),
        ({"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]}, ["code_execution"]),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}]}, ["advisor"]),
        ({"mcp_servers": [{"type": "url", "name": "x", "url": "https://example.com"}]}, ["mcp_servers"]),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, ["context_management"]),
        ({"tools": [{"name": "own", "input_schema": {"type": "object"}}]}, []),
    ],
)
async def test_what_nobody_can_know_before_is_named(
    connect: Connect, requests_dir: Path, params: dict[str, Any], names: list[str]
) -> None:
    answer = await estimated(connect, requests_dir, request("a", **params), request("b"))
    assert answer["estimate"]["not_included"] == names
    assert (f"and without what {' and '.join(names)} may add" in answer["message"]) == bool(names)


async def test_one_of_each_kind_is_counted_however_large_it_is_and_however_rare(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    paper = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 2_500_000}}
    requests = [*like(300), request("picture", messages=said(PICTURE)), request("paper", messages=said(paper))]
    answer = await estimated(connect, requests_dir, *requests)
    assert answer["estimate"]["input_tokens_by"] == "the API's count of 5 requests"


def random_text(chance: Random) -> str:
    alphabet = chance.choice(["abcdefgh ", "abc de\n", "0123456789", "{}[]:,'", "éüñ ", "日本語 ", "🙂 "])
    return "".join(chance.choices(alphabet, k=chance.choice([5, 50, 500, 5000])))


def random_block(chance: Random) -> dict[str, Any]:
    size = chance.choice([100, 10_000, 200_000])
    link = {"type": "url", "url": f"https://example.com/{chance.random()}"}
    block: dict[str, Any] = {"type": "text", "text": random_text(chance)}
    match chance.randrange(5):
        case 0:
            data = {"type": "base64", "media_type": "image/png", "data": f"{chance.random()}" + "A" * size}
            block = {"type": "image", "source": chance.choice([data, link])}
        case 1:
            data = {"type": "base64", "media_type": "application/pdf", "data": "A" * size}
            block = {"type": "document", "source": chance.choice([data, data, data, link])}
    if chance.random() < 0.2:
        block["cache_control"] = {"type": "ephemeral", **chance.choice([{}, {"ttl": "5m"}, {"ttl": "1h"}])}
    return block


def random_requests(chance: Random) -> list[dict[str, Any]]:
    """A few requests that are alike in some things, and each by chance in the others."""
    models = chance.sample(MODELS, chance.choice([1, 1, 2]))
    with_blocks, with_regions = chance.random() < 0.5, chance.random() < 0.3
    requests = []
    for number in range(chance.choice([1, 2, 5, 12, 30])):
        content: Any = random_text(chance)
        if with_blocks:
            content = [random_block(chance) for _ in range(chance.randrange(1, 4))]
        params: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
        if with_regions:
            params["inference_geo"] = chance.choice(["us", "global"])
        if chance.random() < 0.2:
            params["tools"] = [{"name": "look", "input_schema": {"type": "object", "title": random_text(chance)}}]
        elif chance.random() < 0.1:
            params["tools"] = [{"type": "web_search_20260318", "name": "web_search"}]
        if chance.random() < 0.05:
            params["system"] = "x" * 450_000
        params["max_tokens"] = chance.randrange(1, 40)
        requests.append(request(f"r{number}", model=chance.choice(models), **params))
    return requests


@pytest.mark.random
async def test_no_batch_costs_more_than_was_promised_and_the_bill_is_the_apis(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, tmp_path: Path
) -> None:
    chance = dice("promises")
    created = 0
    async with connect(ask_above_usd=10_000, destructive="allow") as assistant:
        for _ in range(rounds(60)):
            requests = random_requests(chance)
            name = write(requests_dir, requests)
            limit = chance.choice([10.0, chance.random() * 0.1])
            answer = await assistant.call(
                "create_message_batch", requests_file=name, max_cost_usd=limit, allow_duplicate=True
            )
            if answer["type"] == "message_batch_not_created":
                assert answer["reason"] == "too_expensive"
                assert answer["estimate"]["max_cost_usd"] > limit
                continue
            created += 1
            batch, promised = answer["batches"][0]["id"], answer["estimate"]["max_cost_usd"]
            clock.advance(3600)
            saved = await assistant.call("save_message_batch_results", message_batch_id=batch)
            billed = sandbox.bill(batch, key=KEY)
            assert saved["cost_usd"] == pytest.approx(float(billed), rel=1e-9)
            searches = sum(model["web_searches"] for model in saved["tokens"])
            assert not searches or answer["estimate"]["not_included"] == ["web_search"]
            assert billed - searches * Decimal("0.01") <= Decimal(str(promised)) <= Decimal(str(limit))
            await assistant.call("delete_message_batch", message_batch_id=batch)
    assert created > rounds(60) / 4
