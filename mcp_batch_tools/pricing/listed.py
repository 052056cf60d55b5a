"""The rates that Anthropic publishes, as the library `genai-prices` has them.

To import the library takes half a second, and 15 MiB for good or 70 for a moment. So it is imported when the first
price is needed, by a process of its own (`python -m` this module), which prints the rates of all models.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from mcp_batch_tools.pricing.rates import Rates, without_date
from mcp_batch_tools.results.tokens import PROMPT_STEP

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, TieredPrices

    Price = Decimal | TieredPrices | None

_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
_TIMES_INPUT = {"cache_read": Decimal(1), "cache_write_5m": Decimal("1.25"), "cache_write_1h": Decimal(2)}
"""For models that the library has no such price for."""
_LONGEST = 60.0
"""Seconds that the process may take on a busy machine."""
_asking = Lock()


def source() -> str:
    """`genai-prices 0.2.3`: the data of the library carry no date, so its version stands for them."""
    return f"genai-prices {version('genai-prices')}"


def listed_rates() -> Mapping[str, list[Rates]]:
    """The rates of all models by name, without the dates of snapshots; it takes a second once, so call it in a thread.

    The library itself knows a model by how its name begins, and would take `claude-haiku-4-5-nonsense` for one.
    """
    with _asking:
        return _listed_rates()


@cache
def _listed_rates() -> Mapping[str, list[Rates]]:
    command = [sys.executable, "-P", "-m", __name__]  # nothing is imported from the folder that the server runs in
    try:
        asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_LONGEST)  # noqa: S603
        table = asked.stdout
    except (OSError, subprocess.SubprocessError):  # no processes here: then at the price of the memory
        table = _table()
    return TypeAdapter(dict[str, list[Rates]]).validate_json(table)


def _table() -> bytes:
    from genai_prices.data import providers

    table: dict[str, list[dict[str, str]]] = {}
    for model in next(provider for provider in providers if provider.id == "anthropic").models:
        name = without_date(model.id)
        table[name] = table[name.removesuffix("-0")] = [
            {"from": day.isoformat(), **rates} for day in _days(model) for rates in _rates(model, day)
        ]
    return json.dumps(table).encode()


def _days(model: "ModelInfo") -> list[date]:
    """The days from which on a model has other prices than before."""
    constraints = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    return sorted({date.min, *(getattr(constraint, "start_date", date.min) for constraint in constraints)})


def _rates(model: "ModelInfo", day: date) -> list[dict[str, str]]:
    """The rates of a day in a batch, by length of the prompt.

    Where the library has no batch rate, it gives the list price without a word: then half of that counts.
    """
    when = datetime.combine(day, time(), UTC)
    listed, batch = model.get_prices(when), model.get_prices(when, {"processing": "batch"})
    prices: dict[str, tuple[Price, Price]] = {
        name: (getattr(listed, key), getattr(batch, key)) for name, key in _KEYS.items()
    }
    starts = {0, *(tier.start for pair in prices.values() for price in pair for tier in getattr(price, "tiers", ()))}
    rows = []
    for start in sorted(starts):
        found: dict[str, Decimal] = {}
        for name, (of_list, of_batch) in prices.items():
            price = _at(of_batch, start)
            if price is None:
                found[name] = found["input"] * _TIMES_INPUT[name]
            else:
                found[name] = price / 2 if of_batch == of_list else price
        above = start // PROMPT_STEP * PROMPT_STEP
        rows.append({"above": str(above), **{name: str(rate) for name, rate in found.items()}})
    return rows


def _at(price: "Price", start: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if start >= tier.start), price.base)


if __name__ == "__main__":
    sys.stdout.buffer.write(_table())
