"""Bills against sums made by hand, against the library called directly, and against the documentation's examples."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage as LibraryUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from mcp_batch_tools.pricing.bills import bill_of
from mcp_batch_tools.pricing.prices import load_prices
from mcp_batch_tools.results.lines import decode_line
from mcp_batch_tools.results.summary import ResultSummary
from mcp_batch_tools.results.tokens import PROMPT_STEP
from tests.support.results import line
from tests.support.seeds import dice, rounds

TODAY = datetime(2026, 11, 25, tzinfo=UTC)
ANTHROPIC = get_snapshot().find_provider(None, "anthropic", None)
CURRENT = [model.id for model in ANTHROPIC.models if model.price_variants]
MILLION = 1_000_000


def cost(*messages: dict[str, Any], day: datetime = TODAY) -> float | None:
    summary = ResultSummary()
    for number, message in enumerate(messages):
        summary.add(decode_line(line(f"r{number}", **message), 1))
    whole = bill_of(summary.groups, load_prices(None), day.date()).cost
    return None if whole is None else float(whole)


# USD a million in a batch: input, output, cache reads.
BY_HAND: dict[str, tuple[float, float, float]] = {
    "claude-fable-5-2": (4, 20, 0.10),
    "claude-mythos-5-2": (4, 20, 0.10),
    "claude-fable-5-1": (5, 25, 0.125),
    "claude-fable-5": (5, 25, 0.50),
    "claude-opus-5-5": (2, 10, 0.10),
    "claude-opus-5": (2.5, 12.5, 0.25),
    "claude-opus-4-8": (2.5, 12.5, 0.25),
    "claude-opus-4-7": (2.5, 12.5, 0.25),
    "claude-opus-4-6": (2.5, 12.5, 0.25),
    "claude-opus-4-5": (2.5, 12.5, 0.25),
    "claude-sonnet-5-5": (1, 5, 0.05),
    "claude-sonnet-5": (1, 5, 0.10),
    "claude-sonnet-4-6": (1.5, 7.5, 0.15),
    "claude-sonnet-4-5": (1.5, 7.5, 0.15),
    "claude-haiku-5-5": (0.05, 0.25, 0.005),
    "claude-haiku-4-5": (0.5, 2.5, 0.05),
}


def test_the_sums_by_hand_are_of_all_current_models() -> None:
    assert set(BY_HAND) == set(CURRENT)


@pytest.mark.parametrize("model", BY_HAND)
def test_each_kind_of_token_costs_what_the_price_page_says(model: str) -> None:
    of_input, of_output, of_read = BY_HAND[model]
    written = {"ephemeral_5m_input_tokens": 3_000, "ephemeral_1h_input_tokens": 2_000}
    usage = {
        "input_tokens": 10_000,
        "output_tokens": 7_000,
        "cache_read_input_tokens": 40_000,
        "cache_creation_input_tokens": 5_000,
        "cache_creation": written,
    }
    by_hand = of_input * (10_000 + 1.25 * 3_000 + 2 * 2_000) + of_output * 7_000 + of_read * 40_000
    message = {"model": model, "usage": usage}
    assert cost(message) == pytest.approx(by_hand / MILLION, rel=1e-12)
    assert cost(*[message] * 1000) == pytest.approx(by_hand / 1000, rel=1e-12)
    american = {"model": model, "usage": usage | {"inference_geo": "us"}}
    times = 1 if model.endswith("4-5") else 1.1
    assert cost(american) == pytest.approx(by_hand * times / MILLION, rel=1e-12)


MIXED = {"input_tokens": 412, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 89}
ADVISED = {
    "input_tokens": 1760,
    "cache_read_input_tokens": 412,
    "output_tokens": 531,
    "iterations": [
        {"type": "message", **MIXED},
        {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 823, "output_tokens": 1612},
        {"type": "message", "input_tokens": 1348, "cache_read_input_tokens": 412, "output_tokens": 442},
    ],
}
LONG = {"input_tokens": 150_000, "output_tokens": 1000}
EXAMPLES: dict[str, tuple[str, dict[str, Any], int, float | None]] = {
    "cache reads of Opus 5.5": ("claude-opus-5-5", {"cache_read_input_tokens": MILLION}, 100, 10),
    "cache reads of Fable 5.1": ("claude-fable-5-1", {"cache_read_input_tokens": MILLION}, 100, 12.5),
    "a long prompt of Haiku 5.5": ("claude-haiku-5-5", LONG, 1, 0.15 * 0.25 + 0.001 * 1.25),
    "as long as it may be": ("claude-haiku-5-5", {"input_tokens": 100_000}, 10, 0.05),
    "longer by one token": ("claude-haiku-5-5", {"input_tokens": 100_001}, 1, 0.100_001 * 0.25),
    "longer by what is read": (
        "claude-haiku-5-5",
        {"input_tokens": 60_000, "cache_read_input_tokens": 60_000},
        1,
        (0.06 * 0.25 + 0.06 * 0.025),
    ),
    "in the US": (
        "claude-opus-5-5",
        {"input_tokens": MILLION, "output_tokens": MILLION, "inference_geo": "us"},
        1,
        13.2,
    ),
    "anywhere": (
        "claude-opus-5-5",
        {"input_tokens": MILLION, "output_tokens": MILLION, "inference_geo": "global"},
        1,
        12,
    ),
    "an advisor": ("claude-sonnet-5", ADVISED, 1000, 26.6637),
    "compaction": (
        "claude-opus-5-5",
        {
            "input_tokens": 100,
            "output_tokens": 10,
            "iterations": [
                {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
                {"type": "message", "input_tokens": 100, "output_tokens": 10},
            ],
        },
        1,
        (180_100 * 2 + 3510 * 10) / MILLION,
    ),
    "an advisor without a price": (
        "claude-sonnet-5",
        {"iterations": [{"type": "advisor_message", "model": "claude-of-tomorrow", "input_tokens": 1}]},
        1,
        None,
    ),
    "no iterations": ("claude-sonnet-5", {"input_tokens": MILLION, "iterations": []}, 1, 1),
    "searches": ("claude-opus-5-5", {"server_tool_use": {"web_search_requests": 3}}, 100, 3),
    "searches in the US": (
        "claude-opus-5-5",
        {"inference_geo": "us", "input_tokens": MILLION, "server_tool_use": {"web_search_requests": 3}},
        1,
        2.23,
    ),
    "without a batch rate": ("claude-opus-4-1-20250805", {"input_tokens": MILLION, "output_tokens": MILLION}, 1, 45),
    "with a date": ("claude-sonnet-4-20250514", {"input_tokens": MILLION}, 1, 1.5),
    "an alias": ("claude-3-5-haiku-latest", {"input_tokens": MILLION}, 1, 0.4),
    "a name that goes on": ("claude-haiku-4-5-nonsense", {"input_tokens": 1}, 1, None),
    "a name that goes on before its date": ("claude-haiku-4-5-nonsense-20251001", {"input_tokens": 1}, 1, None),
    "a model of another house": ("gpt-5", {"input_tokens": 1}, 1, None),
    "Mythos 5.1": ("claude-mythos-5-1", {"input_tokens": 1}, 1, None),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_bill_is_the_sum_that_the_documentation_comes_to(name: str) -> None:
    model, usage, times, expected = EXAMPLES[name]
    assert cost(*[{"model": model, "usage": usage}] * times) == (expected and pytest.approx(expected, rel=1e-9))


@pytest.mark.parametrize("iterations", [None, [MIXED | {"output_tokens": 0}]])
def test_a_refusal_costs_something_only_after_some_output(iterations: Any) -> None:
    refused = {"model": "claude-opus-5-5", "stop_reason": "refusal"}
    usage = {"input_tokens": MILLION, "output_tokens": 0, "iterations": iterations}
    assert cost(refused | {"usage": usage}) == 0
    assert cost(refused | {"usage": usage | {"output_tokens": MILLION, "iterations": None}}) == 12
    assert cost({"model": "claude-opus-5-5", "usage": usage | {"iterations": None}}) == 2


@pytest.mark.parametrize(
    ("model", "day", "expected"),
    [
        ("claude-opus-5-5", datetime(2026, 10, 13, tzinfo=UTC), 2),  # before the library has batch rates
        ("claude-opus-4-6", datetime(2026, 3, 12, tzinfo=UTC), 5),  # long prompts cost more then
        ("claude-opus-4-6", datetime(2026, 3, 13, tzinfo=UTC), 2.5),
    ],
)
def test_the_rates_of_the_day_count_and_half_of_the_list_price_where_there_is_no_batch_rate(
    model: str, day: datetime, expected: float
) -> None:
    assert cost({"model": model, "usage": {"input_tokens": MILLION}}, day=day) == expected


def test_prompts_are_told_apart_at_every_length_from_which_a_model_costs_more() -> None:
    for model in ANTHROPIC.models:
        for price in (model.prices, *(variant.prices for variant in model.price_variants or ())):
            for entry in price if isinstance(price, list) else [price]:
                prices = getattr(entry, "prices", entry)
                for value in vars(prices).values():
                    assert not any(tier.start % PROMPT_STEP for tier in getattr(value, "tiers", ()))


@pytest.mark.random
def test_bills_are_those_of_the_library_called_for_each_message() -> None:
    chance = dice("bills")
    for _ in range(rounds(1000)):
        messages, expected = [], 0.0
        for _ in range(chance.randrange(1, 5)):
            model = chance.choice(CURRENT)
            size = chance.choice([100, 100_000, 300_000])
            given, read, short, long, output, searches = (chance.randrange(size) for _ in range(6))
            searches %= 5
            geo = chance.choice([None, "us", "global"])
            written = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
            usage = {
                "input_tokens": given,
                "output_tokens": output,
                "cache_read_input_tokens": read,
                "cache_creation_input_tokens": short + long,
                "cache_creation": written,
                "inference_geo": geo,
                "server_tool_use": {"web_search_requests": searches},
            }
            messages.append({"model": model, "usage": usage})
            found = calc_price(
                LibraryUsage(
                    input_tokens=given + read + short + long,
                    cache_read_tokens=read,
                    cache_write_tokens=short + long,
                    cache_write_1h_tokens=long,
                    output_tokens=output,
                ),
                model,
                provider_id="anthropic",
                genai_request_timestamp=TODAY,
                price_context={"processing": "batch"},
            ).total_price
            expected += float(found) * (1.1 if geo == "us" and not model.endswith("4-5") else 1) + searches / 100
        assert cost(*messages) == pytest.approx(expected, abs=1e-6), json.dumps(messages)


def test_the_library_is_never_imported_by_the_server_itself() -> None:
    code = """
import sys
from datetime import date
from mcp_batch_tools.pricing.prices import load_prices
from mcp_batch_tools.results.tokens import Group, Tokens
from mcp_batch_tools.tools import create_message_batch, save_message_batch_results

assert load_prices(None).cost(Group("claude-opus-5", False, 1), Tokens(1_000_000), date.today()) == 2.5
sys.exit("genai_prices" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_processes_the_prices_are_the_same() -> None:
    code = """
import subprocess, sys
from mcp_batch_tools.pricing.listed import listed_rates

def refused(*arguments, **options):
    raise PermissionError

if sys.argv[1] == "without":
    subprocess.run = refused
print(listed_rates())
sys.exit(("genai_prices" in sys.modules) != (sys.argv[1] == "without"))
"""
    found = {
        subprocess.run([sys.executable, "-c", code, how], check=True, capture_output=True).stdout
        for how in ("with", "without")
    }
    assert len(found) == 1


@pytest.mark.slow
def test_the_rates_are_read_by_a_process_of_their_own_that_imports_nothing_from_the_folder_it_runs_in(
    tmp_path: Path,
) -> None:
    for name in ("genai_prices", "json", "decimal"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'imported')!r}, 'w').close()\nraise SystemExit(3)\n"
        )
    program = (
        "import sys; from mcp_batch_tools.pricing.listed import listed_rates; "
        "print(len(listed_rates()) > 10, 'genai_prices' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"], done.stderr
    assert not (tmp_path / "imported").exists()
