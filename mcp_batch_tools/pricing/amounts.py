"""Amounts of money as people read them."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

_CENT = Decimal("0.01")
_HUNDREDTH_OF_A_CENT = Decimal("0.0001")
_DIGITS_OF_SMALL_AMOUNTS = 2


def format_usd(amount: Decimal) -> str:
    """`1,234.50 USD`. Less than a dollar has up to four decimals, and less than a cent two significant digits.

    So nothing that costs something is told as nothing.
    """
    if amount >= 1 or not amount:
        return f"{amount.quantize(_CENT, ROUND_HALF_UP):,} USD"
    if amount >= _CENT:
        step = _HUNDREDTH_OF_A_CENT
    else:
        step = Decimal(1).scaleb(amount.adjusted() - _DIGITS_OF_SMALL_AMOUNTS + 1)
    digits = f"{amount.quantize(step, ROUND_HALF_UP):f}".rstrip("0")
    return f"{digits.ljust(len('0.00'), '0')} USD"


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of amounts; None where one of them is not known."""
    known = list(amounts)
    return None if None in known else sum((amount for amount in known if amount is not None), Decimal(0))


def as_number(amount: Decimal | None) -> float | None:
    """An amount as JSON has it: not rounded."""
    return None if amount is None else float(amount)
