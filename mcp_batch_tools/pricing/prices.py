"""The prices in force: negotiated rates from a file of the user's, and the published ones for every other model."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.pricing.listed import listed_rates, source
from mcp_batch_tools.pricing.rates import Rates, cost_of, without_date
from mcp_batch_tools.results.tokens import Group, Tokens

_MOST_TOLD = 400
_OLD_TIMES_INPUT = {"cache_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2"}


def _has_base(rates: list[Rates]) -> list[Rates]:
    if {rate.since for rate in rates} != {rate.since for rate in rates if not rate.above}:
        raise ValueError("an entry without `above` is missing")
    return rates


class _OwnRates(BaseModel):
    model_config = ConfigDict(extra="forbid")

    date: date
    models: Mapping[str, Annotated[list[Rates], Field(min_length=1), AfterValidator(_has_base)]]


class Prices:
    """What models cost. `own` are rates that go before the published ones; a model that neither has no price."""

    def __init__(self, own: _OwnRates | None = None) -> None:
        self._own = own
        self.source = source() if own is None else f"{own.date} (--prices) and of {source()}"
        """What is told of where the prices come from, after "the prices of"."""

    def cost(self, group: Group, tokens: Tokens, day: date) -> Decimal | None:
        """USD for what a group of inferences used in batches of that day; None where its model has no price."""
        rates = self._rates(group.model, day)
        return cost_of(group, tokens, rates) if rates else None

    def prepare(self) -> None:
        """Find the published prices in the background: a first cost is worked out at once then."""
        Thread(target=listed_rates, name="find-prices", daemon=True).start()

    def _rates(self, model: str, day: date) -> list[Rates]:
        own = {} if self._own is None else self._own.models
        return _in_force(own, model, day) or _in_force(listed_rates(), model, day)


def _in_force(models: Mapping[str, list[Rates]], model: str, day: date) -> list[Rates]:
    rates = [rate for rate in models.get(model) or models.get(without_date(model)) or () if rate.since <= day]
    newest = max((rate.since for rate in rates), default=None)
    return sorted((rate for rate in rates if rate.since == newest), key=lambda rate: rate.above)


@cache
def load_prices(path: Path | None) -> Prices:
    """The prices in force; `path` is the file of the user's own rates, where there is one.

    Raises:
        InvalidPrices: the file cannot be used.
    """
    if path is None:
        return Prices()
    try:
        raw = path.read_bytes()
        _refuse_old_form(path, raw)
        return Prices(_OwnRates.model_validate_json(raw))
    except OSError as error:
        raise InvalidPrices("unreadable", path=str(path), detail=error.strerror or str(error)) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPrices("invalid", path=str(path), detail=f"{where}: {first['msg']}") from error


def _refuse_old_form(path: Path, raw: bytes) -> None:
    """Earlier versions took `{"date", "models": {name: [input, output]}, "times_input": {…}}`."""
    try:
        held: Any = json.loads(raw, parse_float=str)
        name, (of_input, of_output) = next(iter(held["models"].items()))
        factors = _OLD_TIMES_INPUT | held.get("times_input", {})
        rates = {"input": Decimal(of_input), "output": Decimal(of_output)}
        rates |= {kind: Decimal(of_input) * Decimal(factors[kind]) for kind in _OLD_TIMES_INPUT}
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, InvalidOperation, RecursionError):
        return
    now = {name: [{kind: f"{rate:f}" for kind, rate in rates.items()}]}
    raise InvalidPrices("old_form", path=str(path), detail=json.dumps(now)[1:-1][:_MOST_TOLD])
