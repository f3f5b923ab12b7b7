"""Amounts of several currencies in the one the company reports in.

Belongs here: which currency that is, and rates at a day. Does not belong here: rounding (`domain.money`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.models.matrix import Floats


@dataclass(frozen=True)
class Exchange:
    """The corporate currency and, per currency, its units for one unit of that. A currency without a rate cannot be counted."""

    currency: str
    rates: Mapping[str, float]

    def factors(self, currencies: npt.NDArray[np.object_] | pa.ChunkedArray) -> Floats:
        """What an amount of each currency is multiplied by; NaN where there is no rate."""
        known = {name: 1.0 / rate for name, rate in self.rates.items() if rate > 0} | {self.currency: 1.0}
        if isinstance(currencies, pa.ChunkedArray):
            told = currencies.combine_chunks()
        else:
            told = pa.array(currencies, pa.string(), from_pandas=True)
        coded = told.dictionary_encode()
        factors = np.array([*(known.get(name, np.nan) for name in coded.dictionary.to_pylist()), np.nan])
        return np.asarray(factors[coded.indices.fill_null(len(factors) - 1).to_numpy(zero_copy_only=False)])


def exchange_at(
    exchange_rates: pa.Table,
    currencies: pa.ChunkedArray,
    day: date,
    *,
    wanted: str | None = None,
    spoken_for: str | None = None,
) -> Exchange:
    """The exchange of a day: rates valid on it, and the corporate currency.

    `currencies` are those of the opportunities; `wanted` is the configured one. Without it: the only currency there is; else the one whose rate is 1 (of several
    the most frequent); else the most frequent. A tie is decided by the alphabet. `spoken_for` is what a company without opportunities counts in.
    """
    rates = _rates(exchange_rates.to_pylist(), day)
    counts = Counter({row["values"]: row["counts"] for row in pc.value_counts(currencies).to_pylist()})
    if wanted is not None:
        return Exchange(wanted, _relative(rates, wanted))
    if len(counts) == 1:
        (only,) = counts
        return Exchange(only, _relative(rates, only))
    corporate = [name for name, rate in rates.items() if rate == 1.0]
    among = corporate or list(counts) or ([spoken_for] if spoken_for else ["USD"])
    chosen = min(among, key=lambda name: (-counts[name], name))
    return Exchange(chosen, _relative(rates, chosen))


def _rates(rows: list[dict[str, Any]], day: date) -> dict[str, float]:
    valid = sorted((row["valid_from"], row["currency"], row["rate"]) for row in rows if row["valid_from"] <= day)
    return {currency: float(rate) for _, currency, rate in valid}


def _relative(rates: Mapping[str, float], currency: str) -> dict[str, float]:
    """Rates per unit of the currency chosen, where it has one itself; rates that cannot be related to it are of no use."""
    base = rates.get(currency)
    if base is None or base <= 0:
        return {}
    return {name: rate / base for name, rate in rates.items() if rate > 0}
