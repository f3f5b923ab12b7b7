"""What is open at an as-of, as the forecast counts it: who owns it, how likely it is won by the end of each month, what it brings.

At the published horizons (30 days, 90 days, ever) the chance of having won is what the score says. Between and beyond them it is spread as past wins of that age lay;
where there are too few of those, or the age is not known, hazards are constant, as the model's own are (`models.timing`), and the last one goes on. Without
closing times all of the chance lies in the month of the CRM's close date.

Belongs here: reading scored opportunities into arrays. Does not belong here: drawing from them (`simulate`), what is closed (`deals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.models.matrix import DAY, Floats
from sales_pipeline.sales_management.currency import Exchange
from sales_pipeline.sales_management.deals import Known, whole, whole_cents
from sales_pipeline.sales_management.new_pipeline import wins_by_age
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.periods import Horizon, days_until

Texts = npt.NDArray[np.object_]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Z80 = 1.2815515655446004
"""The 90 % quantile of the normal distribution: 80 % lie within plus and minus so many standard deviations."""
OMISSIONS = {
    "no_score": "without a win probability",
    "no_amount": "without an expected amount",
    "no_rate": "in a currency without an exchange rate",
    "no_time": "without closing times or a CRM close date ahead",
}
"""Why an open opportunity is not counted, in words; the first that holds."""
LEAST_ALIKE = 10
"""Past wins of the age below which they do not tell how wins lie."""
_SURE = 1e-9


@dataclass(frozen=True)
class Pipeline:
    """Open opportunities, sorted by id; leads are only counted (`lead_count`).

    `wins` (rows, months + 1): chance of having won by the start of the horizon's first month, then by the end of each, never falling; 0 for past instants.
    `cents`: expected amount if won, cents of the corporate currency; `log_spread`: standard deviation of its logarithm. `close_month`: position of the month
    of the predicted close date, -1 where it lies in none. `omission`: why a row is not counted, "" where it is; such a row has no chances and no cents. `p`:
    chance of winning ever.
    """

    opportunity_id: Texts
    owner: Texts
    p: Floats
    wins: Floats
    cents: Floats
    log_spread: Floats
    close_month: Ints
    omission: Texts
    lead_count: int
    by_crm_date: int

    def __len__(self) -> int:
        return len(self.opportunity_id)

    @property
    def counted(self) -> Flags:
        """Rows that enter the figures."""
        return np.asarray(self.omission == "")

    def by_span(self, begins: Sequence[int]) -> Pipeline:
        """With the months from each of these positions to the next taken together."""
        return replace(self, wins=self.wins[:, [*begins, self.wins.shape[1] - 1]])

    def expected_cents(self) -> Ints:
        """Expected to be won per row and month, whole cents."""
        return whole_cents(np.diff(self.wins, axis=1) * self.cents[:, None])


def read_pipeline(scored: pa.Table, horizon: Horizon, exchange: Exchange, past: PastWins) -> Pipeline:
    """The pipeline of SCORED_OPPORTUNITIES, or of REPLAY rows of one date: they share the columns that are read (`SCORED_COLUMNS`)."""
    leads = pc.sum(pc.equal(scored.column("kind"), "lead")).as_py() or 0
    rows = (
        scored.select(SCORED_COLUMNS)
        .filter(pc.equal(scored.column("kind"), "opportunity"))
        .sort_by([("opportunity_id", "ascending")])
    )
    numbers = {name: _numbers(rows, name) for name in _NUMBERS}
    p = numbers["win_probability"]
    factors = exchange.factors(_texts(rows, "currency"))
    amount = numbers["expected_amount"] * factors
    days = days_until(horizon.edges_us, horizon.as_of)
    timed = np.isfinite(numbers["win_probability_90d"])
    ids = _texts(rows, "opportunity_id")
    wins = won_by(p, numbers["win_probability_30d"], numbers["win_probability_90d"], days, past.ages_of(ids), past)
    crm_day = _whole(rows.column("crm_close_date").cast(pa.int32()), -1)
    by_date = ~timed & np.isfinite(p) & (crm_day > _day_number(horizon.as_of.day(horizon.zone)))
    edges = np.array([_day_number(day) for day in horizon.edges])
    wins[by_date] = p[by_date, None] * (crm_day[by_date, None] < edges[None, :])
    omission = np.full(rows.num_rows, "", dtype=object)
    for name, problem in (
        ("no_time", ~timed & ~by_date),
        ("no_rate", ~np.isfinite(factors)),
        ("no_amount", ~np.isfinite(numbers["expected_amount"])),
        ("no_score", ~np.isfinite(p)),
    ):
        omission[problem] = name
    counted = omission == ""
    close_month = month_positions(rows.column("predicted_close_date"), horizon)
    return Pipeline(
        opportunity_id=ids,
        owner=_texts(rows, "owner_id"),
        p=np.where(counted, p, 0.0),
        wins=np.where(counted[:, None], wins, 0.0),
        cents=np.where(counted, whole(amount * 100.0), 0.0),
        log_spread=np.where(counted, log_spread(numbers["expected_amount_low"], numbers["expected_amount_high"]), 0.0),
        close_month=np.where(timed, close_month, month_positions(rows.column("crm_close_date"), horizon)),
        omission=omission,
        lead_count=int(leads),
        by_crm_date=int(by_date[counted].sum()),
    )


@dataclass(frozen=True)
class PastWins:
    """Ages in days at past wins, ascending, with the chance that a deal becomes a win of that age, and the deals as known at the instant; None: none."""

    win_ages: Floats
    shares: Floats
    known: Known | None = None

    @classmethod
    def of(cls, known: Known, params: ForecastParams) -> PastWins:
        """As known at an instant."""
        age, _, share = wins_by_age(known, params)
        order = np.argsort(age, kind="stable")
        return cls(age[order], share[order], known)

    def ages_of(self, ids: Texts) -> Floats:
        """Age of each opportunity in days; NaN where its creation is not recorded."""
        if self.known is None:
            return np.full(len(ids), np.nan)
        deals = self.known.deals
        created = np.append(deals.created[deals.is_first], np.nan)
        return np.asarray((self.known.instant_us - created[deals.numbers_of(ids)]) / DAY)

    def share_between(self, age: Floats, first: float, last: float, days: Floats) -> Floats:
        """Of wins that come between two numbers of days from now, the share that come within each of `days`, (rows, days); NaN where too few are known."""
        reached = np.concatenate([[0.0], np.cumsum(self.shares)])

        def place(ages: Floats) -> Ints:
            return np.searchsorted(self.win_ages, ages, side="right").astype(np.int64)

        start, end = age + first, age + last
        places = place(start), place(end)
        before, whole_share = reached[places[0]], reached[places[1]] - reached[places[0]]
        known = np.isfinite(age) & (places[1] - places[0] >= LEAST_ALIKE) & (whole_share > 0)
        come = reached[place(np.clip(age[:, None] + days[None, :], start[:, None], end[:, None]))] - before[:, None]
        return np.where(known[:, None], come / np.where(known, whole_share, 1.0)[:, None], np.nan)


def won_by(p: Floats, p30: Floats, p90: Floats, days: Floats, age: Floats, past: PastWins) -> Floats:
    """Chance of having won within each number of days, (rows, days); NaN where a horizon is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = -np.log1p(-np.clip(p30 / p, 0.0, 1.0 - _SURE))
        second = -np.log1p(-np.clip(p90 / p, 0.0, 1.0 - _SURE))
    first = np.where(p > 0, first, 0.0)[:, None]
    second = np.maximum(np.where(p > 0, second, 0.0)[:, None], first)
    early = first * np.minimum(days, 30.0)[None, :] / 30.0
    late = (second - first) * np.maximum(days - 30.0, 0.0)[None, :] / 60.0
    wins = p[:, None] * -np.expm1(-(early + late))
    until_second = np.minimum(p90, p)
    brackets = ((0.0, 30.0, 0.0 * p, p30), (30.0, 90.0, p30, until_second), (90.0, np.inf, until_second, p))
    for start, end, reached, ever in brackets:
        inside = (days > start) & (days <= end)
        shares = past.share_between(age, start, end, days[inside])
        alike = reached[:, None] + np.maximum(ever - reached, 0.0)[:, None] * shares
        wins[:, inside] = np.where(np.isfinite(alike), alike, wins[:, inside])
    return np.asarray(wins)


def log_spread(low: Floats, high: Floats) -> Floats:
    """Standard deviation of the logarithm of the amount whose 80 % interval is given; 0 where there is none or it is not positive."""
    usable = np.isfinite(low) & np.isfinite(high) & (low > 0) & (high > low)
    ratio = np.where(usable, high, 1.0) / np.where(usable, low, 1.0)
    return np.asarray(np.where(usable, np.log(ratio) / (2.0 * Z80), 0.0))


def month_positions(days: pa.ChunkedArray, horizon: Horizon) -> Ints:
    """Position of each day's month in the horizon; -1 where it lies in none or there is no day."""
    year = _whole(pc.year(days), -(10**6))
    number = _whole(pc.month(days), 1)
    first = horizon.months[0]
    position = (year - first.year) * 12 + number - first.number
    return np.where((position >= 0) & (position < len(horizon.months)), position, -1).astype(np.int64)


def _day_number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


_NUMBERS = (
    "win_probability",
    "win_probability_30d",
    "win_probability_90d",
    "expected_amount",
    "expected_amount_low",
    "expected_amount_high",
)
SCORED_COLUMNS = [
    "opportunity_id",
    "kind",
    "owner_id",
    "currency",
    "crm_close_date",
    "predicted_close_date",
    *_NUMBERS,
]
"""What is read of scored opportunities."""


def _numbers(rows: pa.Table, name: str) -> Floats:
    return np.asarray(rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _texts(rows: pa.Table, name: str) -> Texts:
    return np.asarray(rows.column(name).to_numpy(zero_copy_only=False), dtype=object)


def _whole(values: pa.ChunkedArray, missing: int) -> Ints:
    return np.asarray(pc.fill_null(values, missing).to_numpy(zero_copy_only=False), dtype=np.int64)
