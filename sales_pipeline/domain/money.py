"""Amounts of money: always decimal with two places, always in the record's own currency."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
AMOUNT_PRECISION = 18
AMOUNT_SCALE = 2
LARGEST_AMOUNT = 10.0 ** (AMOUNT_PRECISION - AMOUNT_SCALE) - 2
"""The largest float that is still an amount: floats of that size are two apart."""


def to_amount(value: float | int | str | Decimal) -> Decimal:
    """Rounded half up to cents, as the SQL engines do for DECIMAL(18, 2)."""
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    return exact.quantize(CENT, rounding=ROUND_HALF_UP)
