"""Amounts are told so that nothing that costs something looks as if it were free."""

from decimal import Decimal

import pytest

from mcp_batch_tools.pricing.amounts import format_usd


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00 USD"),
        ("0.0000", "0.00 USD"),
        ("0.00002", "0.00002 USD"),
        ("0.0000204", "0.00002 USD"),
        ("0.00002449", "0.000024 USD"),
        ("0.0000000123", "0.000000012 USD"),
        ("0.0000996", "0.0001 USD"),
        ("0.004", "0.004 USD"),
        ("0.00999", "0.01 USD"),
        ("0.01", "0.01 USD"),
        ("0.0668", "0.0668 USD"),
        ("0.06684", "0.0668 USD"),
        ("0.1", "0.10 USD"),
        ("0.5", "0.50 USD"),
        ("0.99996", "1.00 USD"),
        ("1", "1.00 USD"),
        ("2.5", "2.50 USD"),
        ("13.2", "13.20 USD"),
        ("26.655", "26.66 USD"),
        ("1234567.891", "1,234,567.89 USD"),
        ("1E+3", "1,000.00 USD"),
    ],
)
def test_an_amount_in_dollars(amount: str, text: str) -> None:
    assert format_usd(Decimal(amount)) == text
