"""The level of the probabilities: the newest landmarks of the same month of a quarter set it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.calibration import Calibrator
from sales_pipeline.models.candidates import Sample
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Linear
from sales_pipeline.models.evaluation import Prepared
from sales_pipeline.models.matrix import Encoded
from sales_pipeline.models.windows import MIN_LEVEL_ROWS, set_level

BLIND = Linear(np.zeros(1), 0.0, np.zeros(1))
AS_OF = datetime(2026, 7, 1, tzinfo=UTC)
"""The end of the last day of a quarter: what is open then goes into the first month of the next one."""


def _taught(rates: dict[datetime, float], rows: int = 400) -> Prepared:
    """So many rows at each instant, of which that share is won."""
    instants = np.repeat([when.timestamp() * 1e6 for when in rates], rows)
    won = np.concatenate([np.arange(rows) < round(rate * rows) for rate in rates.values()]).astype(np.float64)
    keys = pd.DataFrame({"as_of_us": instants, "opportunity_id": [f"o{n}" for n in range(len(won))]})
    return Prepared(Encoding((), ()), Sample(Encoded(np.zeros((len(won), 1)), keys, np.zeros(1, np.int64)), won))


def _level(taught: Prepared, as_of: datetime | None) -> float:
    when = as_of.timestamp() * 1e6 if as_of else None
    return float(set_level(Calibrator(), BLIND, taught, when).apply(np.zeros(1))[0])


def test_a_first_month_of_a_quarter_has_the_level_of_first_months() -> None:
    taught = _taught({datetime(2026, month, 10, tzinfo=UTC): rate for month, rate in ((4, 0.2), (5, 0.3), (6, 0.4))})
    assert _level(taught, AS_OF) == pytest.approx(0.2, abs=0.005)
    assert _level(taught, AS_OF - timedelta(days=40)) == pytest.approx(0.3, abs=0.005)
    assert _level(taught, None) == pytest.approx(0.3, abs=0.005)


def test_the_end_of_a_day_is_the_next_one_in_every_zone() -> None:
    taught = _taught({datetime(2026, 4, 10, tzinfo=UTC): 0.2, datetime(2026, 6, 10, tzinfo=UTC): 0.4})
    for hours in (-11, 11):
        assert _level(taught, AS_OF + timedelta(hours=hours)) == pytest.approx(0.2, abs=0.005)


def test_what_is_older_than_a_year_does_not_count() -> None:
    old, new = datetime(2025, 4, 10, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC)
    assert _level(_taught({old: 0.6, new: 0.2}), AS_OF) == pytest.approx(0.2, abs=0.005)


def test_too_few_rows_of_the_month_leave_it_to_the_whole_year() -> None:
    few = MIN_LEVEL_ROWS // 2
    taught = _taught({datetime(2026, 4, 10, tzinfo=UTC): 0.0, datetime(2026, 6, 10, tzinfo=UTC): 0.5}, rows=few)
    assert _level(taught, AS_OF) == pytest.approx(0.25, abs=0.01)
